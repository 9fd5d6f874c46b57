"""How fast the server is, beside a reference measured in the same run: `just bench`.

Each bench is some rounds in which reference and server take turns, after one to warm up, so that
whatever else the machine is doing falls on both. The ratio is what counts; milliseconds belong to a
machine. `of rounds` shows how far single rounds differ, and so how far to trust a ratio. Goals are
shown as met or missed, and nothing fails for one.

========== ================================================ ======================================
bench      the server                                       beside
========== ================================================ ======================================
cue        one engine sends a cue to one seat, waits for    the round trip of the same frame
           its answer and its report, sends the next        through a bare trio-websocket echo
busy       100 cues/s for a seat each, of 500 (open loop)   one cue at a time; echoes likewise
pipelined  one engine keeps a window of cues under way      as many echoes under way
fan-out    from sending a cue until the last of an          `send_message` of trio-websocket, one
           audience of goggles has its event                after the other; bare writes; Mosquitto
scheduled  how late cues are dispatched that came before    how late `trio.sleep_until` wakes
everywhere one cue to all of 500 and 2,000 seats            -
gatt       one engine sends a cue to one seat, and to all   as many writes by bleak to devices
           24, until all are written to their devices       on the same kind of radio
idle       memory of goggles that only listen; start-up     -
allocate   16 shops order a line each, of 1 and 10 products empty requests to the same HTTP server
orders     4 shops place orders of 100 lines                -
bus        64 askers in the server's process, 1 and 100     SQLite, given the same rows in as large
           products                                         groups
grown      a line of a product with 100,000 lines           one of a product with none
restart    a server starts on 200,000 lines                 one on an empty database
together   100 cues/s while 50 orders/s come (open loops)   100 cues/s alone
========== ================================================ ======================================

Server and reference each run in a process of their own, the server as anybody starts it:
`scentrt serve`. The loads run here, and so take none of the server's interpreter: blocking sockets
with frames and requests made beforehand. Whatever they take on top is added to both sides, and
would only bring them closer together. Where rates are measured it is counted how much of a
processor a load takes itself; from four fifths on, a remark says so. Two loads run elsewhere: the
orders of `together` in a process of their own, since they would get in the way of the cues, and the
askers of `bus` and `grown` in that of the stock room, since nobody reaches its bus from outside.

Goggles are waited for with epoll, without reading; `audience.py` says how.

`cue to driver` is one way: from sending the cue to its dispenser's being told. That moment is told
by the server itself. A cue's `accepted` carries `due`, when it was received, and its `report` how
long after that it was dispatched (`lateness_ms`) and how long after that the last dispenser was
told (`last_ms`). The sum is a moment on the server's clock, which `offset.py` translates into ours.
`received to driver` is the part of it after the server has read the frame, and `cue to answer` the
round trip to `accepted`.

For `gatt`, dispensers are on a simulated radio, once with the server and once with bleak alone, and
being told means that bleak has returned from `write_gatt_char`. Over Bumble, the devices live in
the process that writes to them, so both sides pay for what the devices do. Over BlueZ, they are in
another process and beyond the D-Bus, as BlueZ itself is on a real machine. `first to last` is from
the end of the first write to that of the last one. What a cue has to come through before bleak is
measured alone, too, at the same pace: `echo alone` is the round trip of the same frame through a
bare echo, and `crossing alone` the way into the thread in which bleak lives. `the three` is both of
them and bleak's write, added up.

Where load is the subject, it is an open loop: each cue has its moment, comes at that however late
the answers are, and is timed from that. So a pause of the server counts for everybody who comes
meanwhile. Everything else is a closed loop, in which it counts once.

Not every goal is met, and `just profile NAME` shows what stands in the way:

* `busy`, 2 to 5 times idle at p99. A bare echo at that pace is 3 to 5 times slower than one echo
  after the other: processes that have slept for ten milliseconds wake up cold.
* `fan-out`, a third of the loop where Python is fast beside the kernel, and a fifth to a quarter
  where it is not. Three quarters of the time are the kernel's: to hand the same frame to as many
  sockets, with nothing else to do (`bare writes`), takes a fifth to a quarter of the loop itself.
* `gatt`. The bare echo alone takes about twice as long as bleak's write over Bumble. A cue to one
  seat takes less than `the three` alone, since it wakes up once, and a cue to 24 seats 1.3 to 1.5
  times as long: what is decided for them, and written for each, shares an interpreter.
* `allocate`, 0.46 to 0.58 of the empty requests, and so on either side of its goal. Of the
  processor time of an allocation of ten products, more than half is HTTP, a seventh the product and
  its unit of work, a fifth the thread that writes. HTTP that decides nothing and orders without
  HTTP, each alone, take three quarters of what both take together: they share the interpreter and
  the caches. With the transaction on the main thread instead, tried, it is the same.
* `start`, `orders` and `bus` with 100 products have goals in seconds, not ratios: a machine meets
  them when it is quiet, and another, on which everything takes twice as long, does not.
"""

"""How fast the server is, beside a reference measured in the same run: `just bench`.

Four benches, each a handful of rounds in which reference and server take turns, so that whatever
else the machine is doing falls on both. The ratio is what counts; milliseconds belong to a machine.

========== ================================================ ======================================
bench      the server                                       beside
========== ================================================ ======================================
cue        one engine sends a cue to one seat, waits for    the round trip of the same frame
           its answer and its report, sends the next        through a bare trio-websocket echo
pipelined  one engine keeps a window of cues under way      as many echoes under way
fan-out    from sending a cue until the last of an          `send_message` of trio-websocket to
           audience of goggles has its event                as many, one after the other
gatt       one engine sends a cue to one seat, and to all   as many writes by bleak to devices
           24, until all are written to their devices       on the same kind of radio
========== ================================================ ======================================

Server and reference each run in a process of their own, the server as anybody starts it:
`scentrt serve --simulate`. The client, here, is a blocking socket with frames made beforehand:
whatever it takes on top is added to both sides, and would only bring them closer together.

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
the end of the first write to that of the last one. bleak alone is timed from the call on, while a
cue also waits for what else its server is doing just then.

The load is a closed loop: nothing is sent while an answer is late, so a pause of the server counts
once and not for every cue that would have come meanwhile.
"""

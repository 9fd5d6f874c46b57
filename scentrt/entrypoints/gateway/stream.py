"""The bytes of one connection: what is said to a client never waits for that client.

trio-websocket writes its own frames (handshake, pings, pongs, close) to a `FrameStream`; what it
reads from it, `turnstile` says. Everything else is pushed: one frame, encoded once, is written
straight to each socket, about ten times cheaper than a message sent through trio-websocket, and a
client who does not read harms nobody but himself.
"""

import socket
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import Final, Self

import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from scentrt.entrypoints.gateway.wire import CLOSE, encode_frame

# About a thousand events, or eight of the largest frames: more than a busy show says in the time
# that a client may stall, so nobody is cut for a hiccup, and small enough to have for each client.
MAX_WAITING: Final = 256 * 1024
# What the kernel holds cannot be taken back, and a stop waits behind it. Left alone, it holds
# megabytes. (Linux doubles this number, for its own bookkeeping.)
SEND_BUFFER: Final = 64 * 1024
# Nor may a client whose bytes are let in slowly fill the kernel with them.
RECEIVE_BUFFER: Final = 64 * 1024
# How many frames may go out without a look at what else there is to do.
BURST: Final = 32
# How often to look whether a peer who seems to have stalled has accepted something after all.
LOOKS_PER_STALL: Final = 6
RECEIVE_SIZE: Final = 64 * 1024
# How long a peer who was cut has to begin reading, and so to learn why: games stall for seconds. It
# costs a socket with what is in it, and a crowd gains nothing: who reads may keep a place for good.
# The end of the server does not wait for it.
FAREWELL_S: Final = 6.0

CLOSE_BYTE: Final = bytes((0x80 | CLOSE,))
TOO_SLOW: Final = encode_frame(CLOSE, (1013).to_bytes(2, "big") + b"too slow")


class _Once:
    """The key of a frame that nothing replaces.

    `begun` says that the kernel has its beginning, so that the rest must follow; `handed` is set
    for whoever waits until the kernel has all of it.
    """

    __slots__ = ("begun", "handed")

    def __init__(self, handed: trio.Event | None = None, *, begun: bool = False) -> None:
        self.handed = handed
        self.begun = begun

    def wake(self) -> None:
        """Let whoever waits for this frame go on, be it sent or given up."""
        if self.handed is not None:
            self.handed.set()


class FrameStream(trio.abc.Stream):
    """A socket to which whole frames can be pushed beside a stream's usual ways.

    Frames arrive whole and in the order in which they were given, whoever gave them and whoever was
    cancelled. After a close frame nothing more is taken. `run` has to run as long as the stream is
    used, since it writes what could not be written at once.

    A peer is cut who leaves more than `max_waiting` bytes waiting, or accepts not one byte for
    `stall_s`: `stalled` is set, whoever reads or sends gets `trio.BrokenResourceError`, what waits
    gives way to a close frame with code 1013, and after `FAREWELL_S` at most the socket is closed.

    `peer` is the other end's address, for logs.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        max_waiting: int = MAX_WAITING,
        stall_s: float = 3.0,
        grace_s: float = 0.5,
    ) -> None:
        sock.settimeout(0)
        # macOS refuses all of it for a peer who is gone; what is not TCP has no Nagle to turn off.
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = _peer_of(sock)
        self.stalled = trio.Event()
        self._sock = sock
        self._max_waiting = max_waiting
        self._stall_s = stall_s
        self._grace_s = grace_s
        self._waiting: OrderedDict[Hashable, bytes | memoryview] = OrderedDict()
        self._size = 0
        self._work = trio.Event()
        self._taking = True
        self._lost = False
        self._end: type[trio.ClosedResourceError | trio.BrokenResourceError] | None = None
        self._parting = False
        self._gone = trio.Event()

    @classmethod
    def adopt(
        cls,
        stream: trio.SocketStream,
        *,
        max_waiting: int = MAX_WAITING,
        stall_s: float = 3.0,
        grace_s: float = 0.5,
    ) -> Self:
        """Take the socket out of a stream that nobody uses; that stream is closed by it."""
        tcp = stream.socket
        sock = socket.socket(tcp.family, tcp.type, tcp.proto, fileno=tcp.detach())
        return cls(sock, max_waiting=max_waiting, stall_s=stall_s, grace_s=grace_s)

    def __repr__(self) -> str:
        return f"<FrameStream to {self.peer}>"

    @property
    def waiting(self) -> int:
        """How many bytes have not gone out yet; what the kernel has is not among them."""
        return self._size

    # --- Pushing: synchronous, and never anybody's trouble but the peer's.

    def push(self, frame: bytes) -> None:
        """Send one whole frame as soon as can be.

        Never blocks, and raises for no peer: to one who is gone or cut it does nothing.
        """
        if self._taking:
            self._put(None, frame)

    def push_latest(self, key: Hashable, frame: bytes) -> None:
        """Send one whole frame, in place of one with the same key if that still waits.

        It takes over the other's place in the line. Where it must not overtake what was pushed in
        between (a level and a stop), `forget` the key first. Otherwise as `push`.
        """
        if not self._taking:
            return
        replaced = self._waiting.get(key)
        if replaced is None:
            self._put(key, frame)
        else:
            self._waiting[key] = frame
            self._size += len(frame) - len(replaced)

    def forget(self, key: Hashable) -> None:
        """Drop the frame that waits under this key, if none of it has gone out."""
        dropped = self._waiting.pop(key, None)
        if dropped is not None:
            self._size -= len(dropped)

    def forget_latest(self) -> None:
        """Drop what waits under any key."""
        for key in [key for key in self._waiting if not isinstance(key, _Once)]:
            self.forget(key)

    async def run(self) -> None:
        """Write what waits, until the stream is closed or broken."""
        with suppress(trio.ClosedResourceError):  # closed by `aclose`, or cut by a push
            while self._end is None and not self._lost:
                await self._work.wait()
                await self._write_out()
                self._work = trio.Event()
        if self.stalled.is_set():
            await self._part()

    async def wait_gone(self) -> None:
        """Wait until `run` has closed the socket of a peer who was cut."""
        await self._gone.wait()

    # --- A stream.

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes that are one frame, or none yet (the handshake), in order with what is pushed.

        Returns when the kernel has them. Cancelled while it waits for that, it leaves them in the
        line, to be sent all the same. Unlike with other streams, several tasks may send at once.
        """
        self._check_sending()
        await trio.lowlevel.checkpoint_if_cancelled()
        frame = bytes(data)
        handed = trio.Event()
        self._put(_Once(handed), frame)
        # Nothing that is not a frame begins so: a handshake begins with "HTTP".
        if frame.startswith(CLOSE_BYTE):
            self._taking = False
        self._check_sending()
        if handed.is_set():
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await handed.wait()
            self._check_sending()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until everything that was given so far has gone out."""
        await self.send_all(b"")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has arrived, at least one byte; b"" when the peer has ended its side.

        What a peer said before the connection was lost can still be read.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._end is not None:
            raise self._error()
        try:
            data = await self._receive(max_bytes or RECEIVE_SIZE)
        except trio.ClosedResourceError as error:
            raise self._error() from error
        except OSError as error:
            self._lose()
            raise self._error() from error
        if not data and self._lost:
            raise self._error()
        return data

    async def aclose(self) -> None:
        """Close the stream; whoever waits on it gets `trio.ClosedResourceError` at once.

        What still waits may go out, and the peer read it, for `grace_s`: a socket that is closed
        with something unread in it takes back what its peer has not read either, the reason for
        closing above all. Who was cut has `FAREWELL_S` for it. If cancelled, closes at once.
        """
        self._end = trio.ClosedResourceError
        try:
            if not self._parting:
                notify_closing(self._sock.fileno())
                self._wake_all()
            await self._part()
            await trio.lowlevel.checkpoint()
        finally:
            self._shut()

    # --- Inside.

    def _check_sending(self) -> None:
        if self._end is not None or self._lost:
            raise self._error()

    def _error(self) -> Exception:
        return (self._end or trio.BrokenResourceError)(f"the connection to {self.peer} is gone")

    def _put(self, key: Hashable | None, frame: bytes) -> None:
        sent = 0
        if not self._waiting:
            sent = self._send(frame)
            if sent == len(frame):
                if isinstance(key, _Once):
                    key.wake()
                return
            if self._lost:
                return
            self._work.set()
        self._waiting[_Once() if key is None else key] = frame
        self._size += len(frame)
        if sent:
            self._begin(next(iter(self._waiting)), sent)
        if self._size > self._max_waiting:
            self._cut()

    def _begin(self, key: Hashable, sent: int) -> None:
        """Note that the first frame has gone out in part."""
        rest = memoryview(self._waiting.pop(key))[sent:]
        self._size -= sent
        begun = _Once(key.handed if isinstance(key, _Once) else None, begun=True)
        self._waiting[begun] = rest
        self._waiting.move_to_end(begun, last=False)

    def _send(self, data: bytes | memoryview) -> int:
        """Return how many bytes the kernel took. An error means that the connection is lost."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return 0

    def _write(self) -> bool:
        """Write what the kernel takes, up to a burst; return whether it took anything."""
        progress = False
        for _ in range(BURST):
            if not self._waiting:
                break
            key, frame = next(iter(self._waiting.items()))
            sent = self._send(frame)
            progress = progress or sent > 0
            if sent < len(frame):
                if sent:
                    self._begin(key, sent)
                break
            self._waiting.pop(key, None)
            self._size -= sent
            if isinstance(key, _Once):
                key.wake()
        return progress

    async def _write_out(self) -> None:
        patience = trio.current_time() + self._stall_s
        while self._waiting and self._end is None:
            # A socket counts as writable only when a good part of its buffer is free. To a peer who
            # reads slowly, but reads, something may go out even where that was never told.
            with trio.move_on_after(self._stall_s / LOOKS_PER_STALL):
                await wait_writable(self._sock.fileno())
            if self._write():
                patience = trio.current_time() + self._stall_s
            elif trio.current_time() >= patience:
                self._cut()

    async def _receive(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        with suppress(BlockingIOError):
            data = self._sock.recv(max_bytes)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        while True:
            await wait_readable(self._sock.fileno())
            with suppress(BlockingIOError):
                return self._sock.recv(max_bytes)

    def _cut(self) -> None:
        """Give a peer up who does not read: what `_part` sends is the rest of a frame, and why."""
        self._wake_all()
        key, rest = next(iter(self._waiting.items()))
        begun = isinstance(key, _Once) and key.begun
        is_closing = not self._taking and len(self._waiting) == 1
        self._waiting.clear()
        if begun:
            self._waiting[key] = rest
        if not (begun and is_closing):
            self._waiting[_Once()] = TOO_SLOW
        self._size = sum(map(len, self._waiting.values()))
        self._taking = False
        self._end = trio.BrokenResourceError
        self.stalled.set()
        notify_closing(self._sock.fileno())

    def _lose(self) -> None:
        """Note that the connection is lost: nothing can be sent, and reading comes to an end."""
        self._lost = True
        self._taking = False
        self._wake_all()
        self._drop_all()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _wake_all(self) -> None:
        for key in self._waiting:
            if isinstance(key, _Once):
                key.wake()
        self._work.set()

    def _drop_all(self) -> None:
        self._waiting.clear()
        self._size = 0

    async def _part(self) -> None:
        """Say what is left to say, wait in bounds for the peer to close, and close."""
        self._taking = False
        if self._parting:
            await self._gone.wait()
            return
        self._parting = True
        patience = trio.move_on_after(FAREWELL_S if self.stalled.is_set() else self._grace_s)
        try:
            with suppress(trio.ClosedResourceError, OSError), patience:
                while self._waiting:
                    await wait_writable(self._sock.fileno())
                    self._write()
                self._sock.shutdown(socket.SHUT_WR)
                patience.deadline = min(patience.deadline, trio.current_time() + self._grace_s)
                while await self._receive(RECEIVE_SIZE):
                    pass
        finally:
            self._shut()

    def _shut(self) -> None:
        """Close the socket now."""
        if not self._gone.is_set():
            notify_closing(self._sock.fileno())
            self._sock.close()
            self._drop_all()
            self._gone.set()


def _peer_of(sock: socket.socket) -> str:
    try:
        address = sock.getpeername()
    except OSError:
        return "a peer that is gone"
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return "a local peer"

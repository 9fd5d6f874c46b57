"""Raw connections that keep no rule, and a witness who must notice nothing of them."""

import logging
import os
import queue
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from logging.handlers import QueueHandler
from time import process_time
from urllib.parse import urlsplit

import trio

from tests.e2e.speaking import JSON, Speaker, enter

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

HEADERS = {
    "Host": "127.0.0.1:8765",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}

PROMPT_S = 0.4
"""How much work may be done before a cue that comes meanwhile is answered and told of.

In seconds of the processor: a machine that is paused or busy otherwise lets them pass no faster.
"""

ENDS_WITHIN_S = 30.0
"""When a connection is over that a deadline of some seconds ends, on the slowest machine."""

GONE_WITHIN_S = 30.0
"""When a connection is over that its client has ended, on the slowest machine."""


def request(
    line: str = "GET / HTTP/1.1",
    *,
    headers: dict[str, str] | None = None,
    without: str | None = None,
    end: str = "\r\n",
) -> bytes:
    """Return an upgrade request, with headers added or changed, or one left out.

    Characters up to U+00FF are the bytes of that number.
    """
    lines = [line]
    lines += [f"{n}: {v}" for n, v in {**HEADERS, **(headers or {})}.items() if n != without]
    return "".join(line + end for line in [*lines, ""]).encode("latin-1")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return a frame as clients send them, or ought not to; `length` is what it says of itself."""
    size = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    head = bytes((fin << 7 | reserved << 4 | opcode,))
    if size < 126:
        head += bytes((mask | size,))
    elif size < 65_536:
        head += bytes((mask | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((mask | 127,)) + size.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload  # a mask of zeros changes nothing


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of the frames that the server sent, as far as they are whole."""
    while size := _size_of_frame(data):
        payload = data[:size][2 if data[1] < 126 else 4 if data[1] == 126 else 10 :]
        yield data[0] & 0x0F, payload
        data = data[size:]


def _size_of_frame(data: bytes) -> int:
    """Return how long the first frame is with its header; 0 while it is not whole."""
    if len(data) < 2:
        return 0
    size, head = data[1], 2
    if size >= 126:
        head = 4 if size == 126 else 10
        size = int.from_bytes(data[2:head], "big")
    return head + size if len(data) >= head + size else 0


def close_code(answer: bytes) -> int | None:
    """Return the code of the close frame in what the server has said, if there is one."""
    for opcode, payload in frames(answer):
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big")
    return None


def hello(role: str = "engine", name: str = "mallory") -> bytes:
    """Return a hello that is in order, as one frame."""
    text = f'{{"type":"hello","id":1,"protocol":1,"role":"{role}","name":"{name}"}}'
    return frame(TEXT, text.encode())


class Peer:
    """One TCP connection to the gateway."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._early = b""

    async def send(self, data: bytes) -> bool:
        """Send bytes; False where the server has ended the connection before it took them all."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def drip(self, data: bytes, pause_s: float) -> None:
        """Send one byte after the other, for as long as somebody takes them."""
        for byte in data:
            if not await self.send(bytes((byte,))):
                return
            await trio.sleep(pause_s)

    async def repeat(self, data: bytes, pause_s: float = 0) -> None:
        """Send the same again and again, until the server has ended the connection."""
        while await self.send(data):  # noqa: ASYNC110 (there is no event to wait for)
            await trio.sleep(pause_s)

    async def read(self) -> bytes:
        """Return what has arrived; b"" at the end, however the connection ended."""
        if self._early:
            data, self._early = self._early, b""
            return data
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def read_past(self, mark: bytes) -> bytes:
        """Return what comes up to a mark and with it."""
        got = b""
        while mark not in got:
            data = await self.read()
            assert data, f"the connection ended before {mark!r}, after {got!r}"
            got += data
        got, mark, self._early = got.partition(mark)
        return got + mark

    async def read_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        got = b""
        while not (size := _size_of_frame(got)):
            data = await self.read()
            assert data, f"the connection ended in a frame: {got!r}"
            got += data
        self._early = got[size:]
        return next(frames(got))

    async def read_to_the_end(self, within_s: float = ENDS_WITHIN_S) -> bytes:
        """Return everything up to the end of the connection, which must come in time."""
        got = b""
        with trio.fail_after(within_s):
            while data := await self.read():
                got += data
        return got

    async def upgrade(self, subprotocol: str = JSON) -> None:
        """Do the handshake as one should."""
        await self.send(request(headers={"Sec-WebSocket-Protocol": subprotocol}))
        head = await self.read_past(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")

    async def enter(self, role: str = "engine", name: str = "mallory") -> None:
        """Do the handshake, and say hello."""
        await self.upgrade()
        await self.send(hello(role, name))
        opcode, welcome = await self.read_frame()
        while opcode != TEXT:
            opcode, welcome = await self.read_frame()
        assert welcome.startswith(b'{"type":"welcome"')

    async def end(self) -> None:
        """Say that nothing more will come, and go on reading."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()

    def reset(self) -> None:
        """Be gone at once, with a reset."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()


@asynccontextmanager
async def attack(url: str, *, receive_buffer: int | None = None) -> AsyncIterator[Peer]:
    """Connect to a gateway, and no more than that."""
    parts = urlsplit(url)
    with trio.socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect((parts.hostname, parts.port))
        yield Peer(trio.SocketStream(sock))


class Witness:
    """An engine whose cues are answered, and an onlooker who hears of them.

    `worked_s` says for each cue how long this process worked, on whatever it was, until both had
    happened. Where the server runs in it, that is how much went before the cue.
    """

    def __init__(self, engine: Speaker, onlooker: Speaker) -> None:
        self._engine = engine
        self._onlooker = onlooker
        self._numbers = count(1)
        self._stopped = trio.Event()
        self._one_at_a_time = trio.Lock()
        self.worked_s: list[float] = []

    async def check(self) -> None:
        """Send a cue: the answer and the event must come."""
        id = f"w-{next(self._numbers)}"
        async with self._one_at_a_time:
            before_s = process_time()
            # How prompt the answer is, is judged below, and not by a time to live.
            answer = await self._engine.cue(id, intensity=0.001, duration_ms=1, ttl_ms=10_000)
            assert answer["type"] == "accepted", answer
            assert answer["targets"] > 0, answer
            await self._onlooker.hear_until("scent", cue=id)
            self.worked_s.append(process_time() - before_s)
            await trio.sleep(0.002)  # the seats are busy for the millisecond that they spray

    async def watch(self) -> None:
        """Check over and over, until `stop`."""
        while not self._stopped.is_set():
            await self.check()
            with trio.move_on_after(0.03):
                await self._stopped.wait()

    def stop(self) -> None:
        """Have seen enough."""
        self._stopped.set()


@asynccontextmanager
async def witness(url: str) -> AsyncIterator[Witness]:
    """Have a witness watch for as long as the block lasts, and once more behind it."""
    async with enter(url, "engine", "witness") as engine, enter(url, "goggles", "eve") as onlooker:
        subscribed = await onlooker.ask("subscribe", events=["scent"])
        assert subscribed["type"] == "subscribed"
        seen = Witness(engine, onlooker)
        await seen.check()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seen.watch)
            yield seen
            seen.stop()
        await seen.check()
        # One odd one says nothing: some virtual machines count a pause of theirs as work.
        assert sorted(seen.worked_s)[-2] < PROMPT_S


@asynccontextmanager
async def undisturbed(url: str) -> AsyncIterator[Witness]:
    """Have a witness watch, and see to it that what the block has begun is over soon behind it.

    The server runs in this process: its tasks are counted, the open files, and what it logs.
    """
    async with witness(url) as seen:
        before = _burden()
        with _short_log():
            yield seen
        with trio.move_on_after(GONE_WITHIN_S):
            while _is_more(_burden(), before):  # noqa: ASYNC110 (nobody tells when a task ends)
                await trio.sleep(0.02)
        assert not _is_more(_burden(), before), f"{before} tasks and files became {_burden()}"


@contextmanager
def _short_log() -> Iterator[None]:
    """See to it that nobody can fill the log: no tracebacks, and no lines of a page each."""
    log = queue.SimpleQueue[logging.LogRecord]()
    handler = QueueHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    while not log.empty():
        text = log.get().getMessage()  # a QueueHandler has put the traceback in
        assert "Traceback" not in text
        assert len(text) < 300


def _burden() -> tuple[int, int]:
    return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/dev/fd"))  # noqa: PTH208


def _is_more(burden: tuple[int, int], before: tuple[int, int]) -> bool:
    return burden[0] > before[0] or burden[1] > before[1]

"""A client that says and hears frames as they are, and holds the server to their form.

Whatever it hears must have the form of the page: under 32 KiB, in the frames of its subprotocol,
with `re` where it answers a request that still waits, without where it was not asked for. When a
conversation ends, every request in it has had its one reply.
"""

import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

Message: TypeAlias = dict[str, Any]

JSON = "scentrt.v1.json"
MSGPACK = "scentrt.v1.msgpack"

PATIENCE_S = 30.0
"""How long something that must come may take, however busy the machine is."""

REPLIES = {
    "welcome",
    "pong",
    "accepted",
    "cancelled",
    "stopped",
    "panicked",
    "released",
    "subscribed",
    "unsubscribed",
    "state",
    "error",
}
UNASKED = {
    "report",
    "level-state",
    "scent",
    "scent-end",
    "scent-level",
    "stock",
    "zone",
    "spray",
    "level",
    "stop",
}

ZONE_A: Message = {"zones": ["A"]}


class Line(trio.abc.Stream):
    """A connection to the server that can be held up, cut, and fed with bytes of any kind."""

    def __init__(self, tcp: trio.SocketStream) -> None:
        self._tcp = tcp
        self._flowing = trio.Event()
        self._flowing.set()

    def hold(self) -> None:
        """Take nothing more from the server, not even its pings, until `let_go`."""
        self._flowing = trio.Event()

    def let_go(self) -> None:
        """Take again what the server sends."""
        self._flowing.set()

    def cut(self) -> None:
        """Break the connection without a word: the server gets a reset."""
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._tcp.socket.close()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._tcp.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._tcp.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._tcp.receive_some(max_bytes)
        await self._flowing.wait()
        return bytes(data)

    async def aclose(self) -> None:
        await self._tcp.aclose()


class Speaker:
    """One connection; `connect` and `enter` make it."""

    def __init__(self, ws: WebSocketConnection, line: Line) -> None:
        self.line = line
        self.welcome: Message = {}
        self.subprotocol = ws.subprotocol
        self._ws = ws
        self._binary = ws.subprotocol == MSGPACK
        self._numbers = count(1)
        self._unanswered: Counter[str | int] = Counter()
        self._kept: list[Message] = []

    @property
    def session(self) -> str:
        """The session's id, to come back with."""
        return str(self.welcome["session"])

    async def say(self, type: str, **fields: Any) -> None:
        """Send a message; where it has an id, its reply is owed from now on."""
        if "id" in fields:
            self.owes(fields["id"])
        await self.say_frame(self._write({"type": type, **fields}))

    def owes(self, id: str | int) -> None:
        """Note that a reply to this request is to come."""
        self._unanswered[id] += 1

    async def say_frame(self, frame: str | bytes) -> None:
        """Send one frame, whatever is in it: text or binary by its type."""
        await self._ws.send_message(frame)

    async def ask(self, type: str, **fields: Any) -> Message:
        """Send a request, under an id of its own unless it has one, and return its reply."""
        id = fields.setdefault("id", next(self._numbers))
        await self.say(type, **fields)
        return await self.reply_to(id)

    async def ask_or_end(self, type: str, **fields: Any) -> Message | None:
        """Do as `ask`; None where the server has closed instead."""
        try:
            return await self.ask(type, **fields)
        except ConnectionClosed:
            return None

    async def cue(
        self, id: str | int, scent: str = "sea-breeze", to: Message = ZONE_A, **more: Any
    ) -> Message:
        """Ask for a cue, half a second at half intensity where nothing else is said."""
        fields = {"intensity": 0.5, "duration_ms": 500, **more}
        return await self.ask("cue", id=id, scent=scent, to=to, **fields)

    async def now(self) -> float:
        """Return what the server's clock says."""
        return float((await self.ask("ping", t0=0))["t2"])

    async def reply_to(self, id: str | int) -> Message:
        """Return the reply to a request."""
        return await self._pick(lambda message: message.get("re") == id, f"a reply to {id!r}")

    async def hear(self, *types: str) -> Message:
        """Return the next message of these types; what comes before it is kept for others."""
        return await self._pick(lambda message: message["type"] in types, " or ".join(types))

    async def hear_until(self, type: str, **fields: Any) -> list[Message]:
        """Return the messages of a type up to the first that has these fields."""
        heard: list[Message] = []
        while True:
            heard.append(await self.hear(type))
            if all(heard[-1].get(name) == value for name, value in fields.items()):
                return heard

    async def hear_all(self, *types: str) -> list[Message]:
        """Return what has come of these types, up to the answer to a ping."""
        await self.ask("ping", t0=0)
        heard = [message for message in self._kept if message["type"] in types]
        self._kept = [message for message in self._kept if message["type"] not in types]
        return heard

    async def hear_nothing_of(self, *types: str) -> None:
        """Check that nothing of these types has come, up to the answer to a ping."""
        assert await self.hear_all(*types) == []

    async def hear_the_end(self) -> int:
        """Return the code with which the server closes; what comes before it is kept."""
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    self._kept.append(await self._receive())
                except ConnectionClosed:
                    return self.close_code or 0

    async def close(self, code: int = 1000) -> None:
        """Take leave as one should."""
        with trio.fail_after(PATIENCE_S):
            await self._ws.aclose(code)

    @property
    def close_code(self) -> int | None:
        """With which code the connection was closed; None while it is open."""
        return None if self._ws.closed is None else self._ws.closed.code

    async def settle(self) -> None:
        """Wait until nothing is owed, and check that nothing comes twice."""
        with trio.fail_after(PATIENCE_S):
            while self._unanswered.total():
                self._kept.append(await self._receive())
        await self.ask("ping", t0=0)

    async def _pick(self, wanted: Callable[[Message], bool], words: str) -> Message:
        for n, message in enumerate(self._kept):
            if wanted(message):
                return self._kept.pop(n)
        with trio.move_on_after(PATIENCE_S):
            while True:
                message = await self._receive()
                if wanted(message):
                    return message
                self._kept.append(message)
        raise AssertionError(f"{words} did not come, but {self._kept}")

    async def _receive(self) -> Message:
        frame = await self._ws.get_message()
        message = self._read(frame)
        self._check(message)
        return message

    def _read(self, frame: str | bytes) -> Message:
        assert isinstance(frame, bytes) == self._binary
        data = frame if isinstance(frame, bytes) else frame.encode()
        assert len(data) < 32 * 1024
        read = msgspec.msgpack.decode if self._binary else msgspec.json.decode
        return read(data, type=Message)

    def _write(self, message: Message) -> str | bytes:
        if self._binary:
            return msgspec.msgpack.encode(message)
        return msgspec.json.encode(message).decode()

    def _check(self, message: Message) -> None:
        assert message["type"] in REPLIES | UNASKED
        if "re" in message:
            assert message["type"] in REPLIES
            assert self._unanswered[message["re"]] > 0, f"nobody asked for {message}"
            self._unanswered[message["re"]] -= 1
        else:
            assert message["type"] in UNASKED | {"error"}


@asynccontextmanager
async def connect(
    url: str, subprotocol: str | None = JSON, *, origin: str | None = None
) -> AsyncIterator[Speaker]:
    """Open a WebSocket, over which nothing has been said yet."""
    offered = [] if subprotocol is None else [subprotocol]
    async with connect_offering(url, offered, origin=origin) as speaker:
        yield speaker


@asynccontextmanager
async def connect_offering(
    url: str, subprotocols: Sequence[str], *, origin: str | None = None
) -> AsyncIterator[Speaker]:
    """Open a WebSocket that offers these subprotocols."""
    parts = urlsplit(url)
    tcp = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    async with Line(tcp) as line, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery,
            line,  # type: ignore[arg-type]  # any stream does, though it does not say so
            parts.netloc,
            parts.path,
            subprotocols=subprotocols,
            extra_headers=[] if origin is None else [(b"Origin", origin.encode())],
            message_queue_size=100_000,
        )
        speaker = Speaker(ws, line)
        yield speaker
        if speaker.close_code is None:
            await speaker.settle()
            await speaker.close()
        nursery.cancel_scope.cancel()


async def refused_with(url: str, *, origin: str) -> int:
    """Return the HTTP status with which an upgrade is refused, or 101 where it is not."""
    try:
        async with connect(url, origin=origin):
            return 101
    except* ConnectionRejected as group:
        (rejected,) = group.exceptions
        assert isinstance(rejected, ConnectionRejected)
        status = rejected.status_code
    return status


@asynccontextmanager
async def enter(
    url: str,
    role: str = "engine",
    name: str = "game",
    *,
    subprotocol: str | None = JSON,
    **hello: Any,
) -> AsyncIterator[Speaker]:
    """Connect and say hello."""
    async with connect(url, subprotocol) as speaker:
        speaker.welcome = await speaker.ask("hello", protocol=1, role=role, name=name, **hello)
        assert speaker.welcome["type"] == "welcome", speaker.welcome
        yield speaker


async def until(true: Callable[[], object]) -> None:
    """Wait for something that the server does and tells nobody."""
    with trio.fail_after(PATIENCE_S):
        while not true():  # noqa: ASYNC110 (there is no event of which the test could know)
            await trio.sleep(0.005)

"""One WebSocket connection that carries messages: frames in, frames out, and how it ends.

The one place that knows wsproto and msgspec. It has no task of its own: who receives also answers
pings. What can go wrong here and in `client.py`::

    ClientError
    ├── NotConnected   no connection came about: nobody answers, or the upgrade was refused
    ├── Refused        the server answered a request with an error
    └── Closed         the connection is over, and why
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

Message: TypeAlias = dict[str, Any]
"""The fields as the protocol gives them: what one reads there is what one writes here."""

JSON = "scentrt.v1.json"
MSGPACK = "scentrt.v1.msgpack"

CONNECT_WITHIN_S = 5.0
WRITE_WITHIN_S = 5.0
GOODBYE_WITHIN_S = 0.5
"""To say goodbye, and as long again to hear the server's."""


class ClientError(Exception):
    """The root of what a client raises on purpose."""


class NotConnected(ClientError):
    """No connection came about; `status` is the HTTP status of a refusal, where there was one."""

    def __init__(self, url: str, problem: str, status: int | None = None) -> None:
        super().__init__(f"{url} {problem}")
        self.url = url
        self.status = status


class Refused(ClientError):
    """The server answered with an error; `retry_after_ms` is None where it named no time."""

    def __init__(
        self, code: str, message: str, *, retryable: bool, retry_after_ms: float | None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms


class Closed(ClientError):
    """The connection is over: `code` is the WebSocket close code, 1006 where it just broke."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Codec:
    """How a message becomes the event of its frame, and what a frame held becomes a message.

    `decode` raises `msgspec.DecodeError`.
    """

    encode: Callable[[Message], Event]
    decode: Callable[[bytes], Message]


_JSON_CODEC = Codec(
    lambda message: TextMessage(msgspec.json.encode(message).decode()),
    msgspec.json.Decoder(Message).decode,
)
_CODECS: dict[str | None, Codec] = {
    None: _JSON_CODEC,  # what a server speaks that chose no subprotocol
    JSON: _JSON_CODEC,
    MSGPACK: Codec(
        lambda message: BytesMessage(msgspec.msgpack.encode(message)),
        msgspec.msgpack.Decoder(Message).decode,
    ),
}


class Connection:
    """Messages over a WebSocket; `open_connection` makes it.

    Many tasks may send, one at a time may receive.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._codec = _JSON_CODEC
        self._events: deque[Event] = deque()
        self._held = bytearray()
        """What has come of a message whose last frame has not."""
        self._writing = trio.Lock()
        self._closed: Closed | None = None

    async def upgrade(self, url: str, subprotocol: str) -> None:
        """Make a WebSocket of the stream; raises `NotConnected`."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            with trio.fail_after(CONNECT_WITHIN_S):
                await self._write(Request(parts.netloc, target, subprotocols=[subprotocol]))
                answer = await self._next_event()
        except (Closed, trio.TooSlowError) as error:
            raise NotConnected(url, "does not answer as a WebSocket server") from error
        match answer:
            case AcceptConnection(subprotocol=chosen):
                self._codec = _CODECS[chosen]
            case RejectConnection(status_code=status):
                raise NotConnected(url, f"refuses the WebSocket with HTTP {status}", status)

    async def send(self, message: Message) -> None:
        """Send a message whole or not at all; raises `Closed`.

        A cancel before the first byte sends nothing, and one later waits for the last byte, at
        most 5 s: half a frame would garble all that follow. A server that reads nothing for so
        long is given up.
        """
        event = self._codec.encode(message)
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._write(event)

    async def receive(self) -> Message:
        """Wait for the next message, and answer pings that come before it.

        Cancelling loses nothing. Raises `Closed`, also after a frame that holds no message.
        """
        while True:
            match await self._next_event():
                case TextMessage(data=text, message_finished=finished):
                    self._held += text.encode()
                    if finished:
                        return await self._message()
                case BytesMessage(data=data, message_finished=finished):
                    self._held += data
                    if finished:
                        return await self._message()
                case Ping() as ping:
                    # Where it cannot go out any more, what came in before the end is told first.
                    with suppress(Closed):
                        await self._write(ping.response())
                case CloseConnection(code=code, reason=reason) as close:
                    self._closed = Closed(code, reason or "")
                    with suppress(Closed):
                        await self._write(close.response(), GOODBYE_WITHIN_S)
                    raise self._over()

    async def vanish(self) -> None:
        """Break the connection without a word, as a pulled cable does."""
        await trio.aclose_forcefully(self._stream)

    async def aclose(self, code: int = 1000) -> None:
        """Close, waiting at most a second for the server's part; nobody may be receiving.

        That second is given also when cancelled. Again is nothing.
        """
        if self._closed is None:
            with suppress(Closed):
                await self._write(CloseConnection(code), GOODBYE_WITHIN_S)
                with trio.move_on_after(GOODBYE_WITHIN_S, shield=True):
                    while not isinstance(await self._next_event(), CloseConnection):
                        pass
            self._closed = Closed(code, "this side has left")
        await trio.aclose_forcefully(self._stream)

    async def _message(self) -> Message:
        held, self._held = bytes(self._held), bytearray()
        try:
            return self._codec.decode(held)
        except msgspec.DecodeError as error:
            await self.aclose(1007)
            raise Closed(1007, f"the server sent what is no message: {error}") from error

    async def _next_event(self) -> Event:
        while not self._events:
            try:
                data = await self._stream.receive_some()
                if not data:
                    raise self._over()
                self._websocket.receive_data(bytes(data))
                self._events.extend(self._websocket.events())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise self._over() from None
            except RemoteProtocolError as error:
                raise Closed(1002, f"the server speaks no WebSocket: {error}") from error
        return self._events.popleft()

    async def _write(self, event: Event, within_s: float = WRITE_WITHIN_S) -> None:
        with trio.move_on_after(within_s, shield=True):
            async with self._writing:
                try:
                    await self._stream.send_all(self._websocket.send(event))
                except (trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
                    # wsproto's error: our close frame has gone out, and nothing may follow it.
                    raise self._over() from None
            return
        await self.vanish()
        raise Closed(1006, "the server reads nothing")

    def _over(self) -> Closed:
        """Return a fresh error for each who asks: a shared one would collect their tracebacks."""
        if self._closed is None:
            return Closed(1006, "the connection broke")
        return Closed(self._closed.code, self._closed.reason)


@asynccontextmanager
async def open_connection(url: str, subprotocol: str = JSON) -> AsyncIterator[Connection]:
    """Connect and upgrade; leaving the block closes cleanly. Raises `NotConnected`."""
    connection = Connection(await _dial(url))
    try:
        await connection.upgrade(url, subprotocol)
        yield connection
    finally:
        await connection.aclose()


async def _dial(url: str) -> trio.abc.Stream:
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise NotConnected(url, "is not a WebSocket address such as ws://127.0.0.1:8765/")
    try:
        with trio.fail_after(CONNECT_WITHIN_S):
            if parts.scheme == "ws":
                return await trio.open_tcp_stream(parts.hostname, parts.port or 80)
            return await trio.open_ssl_over_tcp_stream(
                parts.hostname, parts.port or 443, https_compatible=True
            )
    except (OSError, trio.TooSlowError) as error:
        raise NotConnected(url, "does not answer; is the server running?") from error

"""The way in for a client's bytes: the opening handshake alone, and then nobody in too much haste.

trio-websocket means well with whoever it reads from, so what it reads of a connection comes
through here.
"""

import re as regex
from typing import Final

import trio
from trio_websocket import WebSocketConnection

from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.wire import CLOSE, encode_frame

SLICE: Final = 512
"""How much is read at once: of the smallest frames, a millisecond of work."""

OVERHEAD: Final = 14
"""What the header of one frame takes at most (RFC 6455, section 5.2)."""

# Pings, pongs and the headers of fragments cost time and memory that no limit on messages knows
# of. A ping a millisecond, or the largest message in pieces of a few bytes, stays below this.
NOISE_PER_S: Final = 8 * 1024
MOST_NOISE: Final = 256 * 1024

# As h11 finds it.
_END_OF_HEAD = regex.compile(rb"\n\r?\n")
# wsproto decodes these: a byte beyond ASCII raises, and a host name that is made for it keeps the
# decoder busy for a tenth of a second. (A folded line could hide either.)
_UNREADABLE = regex.compile(
    rb"^host:.{300}|^(?:host|connection|sec-websocket-\w+):.*[^\t\r\n -~]|\n[ \t]",
    regex.IGNORECASE | regex.MULTILINE,
)
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
_FAILED: Final = frozenset({1002, 1007})


class Turnstile(trio.abc.Stream):
    """What trio-websocket reads of a connection, and when.

    First the request, and it alone. What comes right behind it, a hello in the same segment
    perhaps, waits for `open`: until the request is answered, it would be taken for a part of it.
    One that trio-websocket cannot read is refused here. Where none will come any more, `waiting`
    is cancelled, or the handshake would wait on.

    Then frames. Of what belongs to no message, only so much is let in a second.
    """

    __slots__ = (
        "_asked",
        "_early",
        "_head",
        "_noise",
        "_noted_at",
        "_opened",
        "_stream",
        "_waiting",
        "_ws",
    )

    def __init__(self, stream: FrameStream, waiting: trio.CancelScope) -> None:
        self._stream = stream
        self._waiting = waiting
        self._head = bytearray()
        self._early = b""
        self._asked = False
        self._ws: WebSocketConnection | None = None
        self._opened = trio.Event()
        self._noise = 0.0
        self._noted_at = trio.current_time()

    def open(self, ws: WebSocketConnection) -> None:
        """Let in what comes behind the request, now that it has been accepted."""
        self._ws = ws
        self._opened.set()

    def excuse(self, size: int) -> None:
        """Note that so many of the bytes that came in were a message."""
        self._noise = max(0.0, self._noise - size - OVERHEAD)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send as `FrameStream` does."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as `FrameStream` does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has arrived and may come in, at least one byte; b"" at the end."""
        if not self._asked:
            return await self._receive_request(max_bytes)
        await self._opened.wait()
        if self._early:
            size = max_bytes or len(self._early)
            data, self._early = self._early[:size], self._early[size:]
        else:
            data = await self._stream.receive_some(max_bytes)
        await self._pace(len(data))
        return data

    async def aclose(self) -> None:
        """Close the connection; to a peer who has broken the WebSocket protocol, say so before."""
        closed = self._ws and self._ws.closed
        if closed and closed.code in _FAILED:
            self._stream.push(encode_frame(CLOSE, closed.code.to_bytes(2, "big")))
        try:
            await self._stream.aclose()
        finally:
            self._waiting.cancel()

    async def _receive_request(self, max_bytes: int | None) -> bytes:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            await self.aclose()
            return data
        self._head += data
        end = _END_OF_HEAD.search(self._head, max(0, len(self._head) - len(data) - 2))
        if end is None:
            return data  # h11 refuses a request that grows too long
        self._asked = True
        if _UNREADABLE.search(self._head, 0, end.end()):
            await self._stream.send_all(_BAD_REQUEST)
            await self.aclose()
            return b""
        self._early = bytes(self._head[end.end() :])
        self._head.clear()
        return data[: len(data) - len(self._early)]

    async def _pace(self, size: int) -> None:
        now = trio.current_time()
        drained = (now - self._noted_at) * NOISE_PER_S
        self._noise = max(0.0, self._noise - drained) + size
        self._noted_at = now
        if self._noise > MOST_NOISE:
            await trio.sleep((self._noise - MOST_NOISE) / NOISE_PER_S)

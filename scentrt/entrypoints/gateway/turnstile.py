"""The way in for a client's bytes: to the session what is plainly a message, the rest to a library.

trio-websocket means well with whoever it reads from, so what it reads of a connection comes
through here: the opening handshake alone, and then nobody in too much haste.
"""

import re as regex
from typing import Final

import trio
from trio_websocket import WebSocketConnection

from scentrt.entrypoints.gateway.sieve import Sieve
from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.wire import CLOSE, encode_frame

SLICE: Final = 512
"""How much trio-websocket gets at once: of the smallest frames, a millisecond of work."""

READ_SIZE: Final = 4096
"""How much is read at once otherwise: some thirty cues, or a millisecond of the smallest frames."""

MESSAGES_PER_TURN: Final = 8
"""How many the session gets before other tasks have their turn."""

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
    """What is read of a connection, by whom, and when.

    First the request, by trio-websocket, and it alone. What comes right behind it, a hello in the
    same segment perhaps, waits for `open`: until the request is answered, it would be taken for a
    part of it. One that trio-websocket cannot read is refused here. Where none will come any more,
    `waiting` is cancelled, or the handshake would wait on.

    Then frames, by whoever asks for a `message`. What no message is, trio-websocket gets before
    anything more is read, and of that only so much is let in a second. Once the sieve is open, or
    after `step_aside`, trio-websocket reads by itself, and has the messages, too.
    """

    __slots__ = (
        "_asked",
        "_came",
        "_head",
        "_is_aside",
        "_left",
        "_noise",
        "_noted_at",
        "_sieve",
        "_stream",
        "_taken",
        "_turn",
        "_waiting",
        "_ws",
    )

    def __init__(self, stream: FrameStream, waiting: trio.CancelScope) -> None:
        self._stream = stream
        self._waiting = waiting
        self._head = bytearray()
        self._asked = False
        self._ws: WebSocketConnection | None = None
        self._sieve = Sieve()
        self._left = b""  # what trio-websocket is to have
        self._came = trio.Event()
        self._taken = trio.Event()  # all of it
        self._is_aside = False
        self._turn = 0
        self._noise = 0.0
        self._noted_at = trio.current_time()

    def open(self, ws: WebSocketConnection) -> None:
        """Let in what comes behind the request, now that it has been accepted."""
        self._ws = ws

    async def message(self) -> str | bytes:
        """Return the next message.

        Raises `ConnectionClosed` where none will come any more.
        """
        sieve = self._sieve
        while not sieve.messages:
            if sieve.is_open:
                return await self._message_from_library()
            if sieve.rest:
                await self._hand_over()
                continue
            try:
                data = await self._stream.receive_some(READ_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if data:
                sieve.sift(data)
            else:
                sieve.open()
        self._turn = (self._turn + 1) % MESSAGES_PER_TURN
        if self._turn == 0:
            await trio.lowlevel.checkpoint()
        return sieve.messages.pop(0)

    def step_aside(self) -> None:
        """Let trio-websocket read by itself from now on: to take leave, or to learn of the end."""
        self._sieve.open()
        self._is_aside = True
        self._left += self._sieve.rest
        self._sieve.rest = b""
        self._came.set()
        self._taken.set()

    async def _hand_over(self) -> None:
        """Let trio-websocket have what is no message, and wait until it has taken it."""
        self._left, self._sieve.rest = self._sieve.rest, b""
        self._taken = trio.Event()
        self._came.set()
        await self._taken.wait()

    async def _message_from_library(self) -> str | bytes:
        assert self._ws is not None
        self.step_aside()
        message = await self._ws.get_message()
        size = len(message.encode() if isinstance(message, str) else message)
        self._noise = max(0.0, self._noise - size - OVERHEAD)
        return message

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send as `FrameStream` does."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.step_aside()  # trio-websocket takes nothing more after that
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as `FrameStream` does."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has arrived and may come in, at least one byte; b"" at the end."""
        if not self._asked:
            return await self._receive_request(max_bytes)
        while not (self._left or self._is_aside):
            await self._came.wait()
            self._came = trio.Event()
        if self._left:
            size = max_bytes or len(self._left)
            data, self._left = self._left[:size], self._left[size:]
        else:
            data = await self._stream.receive_some(max_bytes)
        if not self._left:
            self._taken.set()
        await self._pace(len(data))
        return data

    async def aclose(self) -> None:
        """Close the connection; to a peer who has broken the WebSocket protocol, say so before."""
        self.step_aside()
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
        early = bytes(self._head[end.end() :])
        self._head.clear()
        self._sieve.sift(early)
        return data[: len(data) - len(early)]

    async def _pace(self, size: int) -> None:
        now = trio.current_time()
        drained = (now - self._noted_at) * NOISE_PER_S
        self._noise = max(0.0, self._noise - drained) + size
        self._noted_at = now
        if self._noise > MOST_NOISE:
            await trio.sleep((self._noise - MOST_NOISE) / NOISE_PER_S)

"""One WebSocket connection: its handshake, its signs of life, and its end."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Final

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.doorkeeper import Doorkeeper
from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.turnstile import SLICE, Turnstile
from scentrt.entrypoints.gateway.wire import Codec, choose_codec

MAX_MESSAGE: Final = 64 * 1024
CLOSE_WITHIN_S: Final = 1.0
"""How long a peer has for the closing handshake before its socket is simply closed."""

PINGS_PER_SILENCE: Final = 3

NOTED_EVERY_S: Final = 0.01
"""How often a sign of life puts the end off: not with each of a thousand messages a second."""

GOING_AWAY, POLICY, TOO_LARGE, INTERNAL = 1001, 1008, 1009, 1011

BROKEN: Final = frozenset({1002, 1006, 1007, TOO_LARGE})
"""Codes with which no client takes its leave: the connection was lost or had to be ended."""


class Hangup(Exception):
    """End this connection with a close code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Caller:
    """A client at the other end of a WebSocket, whoever it may turn out to be."""

    __slots__ = (
        "_hangup",
        "_max_silence_s",
        "_note_at",
        "_turnstile",
        "_ws",
        "codec",
        "left_cleanly",
        "scope",
        "stream",
    )

    def __init__(
        self,
        ws: WebSocketConnection,
        turnstile: Turnstile,
        stream: FrameStream,
        codec: Codec,
        max_silence_s: float,
    ) -> None:
        self.stream = stream
        self.codec = codec
        self.scope = trio.CancelScope()
        """What talks with this client runs in here, so that anybody can end it, and silence does.

        A whole message counts as a sign of life, and so does a pong.
        """
        self.left_cleanly = False
        self._ws = ws
        self._turnstile = turnstile
        self._max_silence_s = max_silence_s
        self._note_at = 0.0
        self._hangup: Hangup | None = None
        self._note_life()

    def tell(self, message: say.ServerMessage) -> None:
        """Say something; never waits."""
        self.stream.push(self.codec.encode(message))

    async def receive(self) -> str | bytes:
        """Return the payload of the next message.

        Raises `ConnectionClosed`, and `Hangup` for a message that is too large.
        """
        data = await self._turnstile.message()
        self._note_life()
        # trio-websocket counts characters, the contract bytes.
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        if size > MAX_MESSAGE:
            raise Hangup(TOO_LARGE, f"a message of more than {MAX_MESSAGE} bytes")
        return data

    async def keep_alive(self) -> None:
        """Ping the client now and then, and wait for one pong after the other, however long.

        The pings are empty, since so is the pong of a client that sends one unasked.
        """
        with suppress(ConnectionClosed):
            while True:
                await self._ws.ping(b"")
                self._note_life()
                await trio.sleep(self._max_silence_s / PINGS_PER_SILENCE)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Expect no sign of life while it is the client who waits for us, and nobody listens."""
        self.scope.deadline = inf
        yield
        self._note_at = 0.0
        self._note_life()

    def _note_life(self) -> None:
        now = trio.current_time()
        if now >= self._note_at:
            self._note_at = now + NOTED_EVERY_S
            self.scope.deadline = self._note_at + self._max_silence_s

    def hang_up(self, code: int, reason: str) -> None:
        """End the connection, from whatever task; the first reason counts."""
        self._hangup = self._hangup or Hangup(code, reason)
        self.scope.cancel()

    def hung_up(self, hangup: Hangup) -> None:
        """Note why the connection ends from our side."""
        self._hangup = self._hangup or hangup

    def closed(self, closed: ConnectionClosed) -> None:
        """Note how the connection ended from the other side."""
        self.left_cleanly = closed.reason is not None and closed.reason.code not in BROKEN

    async def close(self) -> None:
        """Take leave with the code of the hang-up, for a second at most whatever the peer does.

        One who was cut because he did not read is left to the stream, which tells him why.
        """
        if self.stream.stalled.is_set():
            return
        hangup = self._hangup or Hangup(GOING_AWAY, "")
        if self._hangup is None and self.scope.cancelled_caught:
            hangup = Hangup(POLICY, f"nothing was heard for {self._max_silence_s:g} s")
        self._turnstile.step_aside()
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await self._ws.aclose(hangup.code, hangup.reason)
            # After a message that is too large, a peer that still sends it must be let finish, or
            # the reset of its connection would overtake the close frame that says why.
            with suppress(
                trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError
            ):
                while await self.stream.receive_some():
                    pass
            await self.stream.aclose()


async def shake_hands(
    nursery: trio.Nursery, stream: FrameStream, doorkeeper: Doorkeeper, max_silence_s: float
) -> Caller | None:
    """Do the opening handshake; None where it was refused, or given up by the other side.

    May raise anything: what hostile bytes bring about in the libraries below is not foreseeable.
    """
    request = None
    with trio.CancelScope() as waiting:
        turnstile = Turnstile(stream, waiting)
        request = await wrap_server_stream(
            nursery,
            turnstile,
            message_queue_size=1,
            max_message_size=MAX_MESSAGE,
            receive_buffer_size=SLICE,
        )
    if request is None:
        return None
    if not doorkeeper.allows_origin(_origin(request)):
        await request.reject(403, body=b"This origin is not allowed.\n")
        await stream.aclose()
        return None
    codec, subprotocol = choose_codec(request.proposed_subprotocols)
    ws = await request.accept(subprotocol=subprotocol)
    turnstile.open(ws)
    return Caller(ws, turnstile, stream, codec, max_silence_s)


def _origin(request: WebSocketRequest) -> str | None:
    for name, value in request.headers:
        if name.lower() == b"origin":
            return value.decode("latin-1")
    return None

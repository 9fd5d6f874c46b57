"""Redis, through coredis: the outbox's way to its channels, and a subscriber that comes back.

Both hold a connection of their own, and not a pool of coredis: a pool opens a new connection
unsaid, and here it matters when that happens, since Redis keeps nothing for a subscriber who is
away. A pool of coredis 6.9 also loses a place with each connection that breaks while in use.
"""

import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec
import trio
from anyio import BrokenResourceError, connect_tcp, fail_after
from anyio.abc import ByteStream, SocketAttribute
from coredis import TCPConnection
from coredis.connection import TCPLocation
from coredis.exceptions import RedisError, ResponseError

from scentrt.actors.backoff import Backoff
from scentrt.errors import DeliveryFailed, Undeliverable
from scentrt.service_layer.deliveries import Delivery

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0

SUBSCRIBERS_BACK_WITHIN_S = 3.0
"""How long a new connection waits for the subscribers that the last one had: when Redis starts
again, they too have to find that out, and what is published before they have, they never get."""

LOOK_FOR_SUBSCRIBERS_EVERY_S = 0.05

MAX_MESSAGE_BYTES = 1_000_000
"""A subscriber ends a connection on which a longer message comes."""

_KEEP_ALIVE = (
    {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
    if sys.platform == "linux"
    else {}
)
"""When the kernel finds out that the other end of a silent connection is gone, in seconds. A PING
would not do: its answer is not read while a handler has to wait."""

Handler = Callable[[str, bytes], Awaitable[None]]

_TURNS_TO_TAKE = 4
"""Of trio's scheduler, for a task to take the next of several messages; it needs two."""

_FAILURES = RedisError, OSError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and how long it may take over an answer."""

    host: str
    port: int = 6379
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 5.0

    def __str__(self) -> str:
        return f"Redis at {self.host}:{self.port}"


class _Publication(msgspec.Struct, frozen=True):
    """What a ``redis`` delivery of the outbox holds."""

    channel: str
    message: dict[str, msgspec.Raw]


class RedisChannel:
    """The outbox's way to the channels of Redis, while `run` runs.

    A delivery's payload is ``{"channel": …, "message": {…}}``; what is published is the message,
    with the ``event_id`` of the delivery in it.

    On a new connection the first message waits until the channel has as many subscribers as it
    had, or one at least, for `SUBSCRIBERS_BACK_WITHIN_S` at most.
    """

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._nursery: trio.Nursery | None = None
        self._connection: TCPConnection | None = None
        self._subscribers: dict[str, int] = {}  # of each channel, when last published to

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Hold the connection that `deliver` makes, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def deliver(self, delivery: Delivery) -> None:
        """Publish a message; Redis has given it to the subscribers when this returns.

        Raises:
          DeliveryFailed: Redis is away, does not answer or refuses.
          Undeliverable: the payload is not of the shape above.
        """
        try:
            publication = msgspec.json.decode(delivery.payload, type=_Publication)
        except msgspec.DecodeError as error:
            raise Undeliverable(f"it holds nothing to publish: {error}") from error
        event_id = msgspec.Raw(msgspec.json.encode(delivery.event_id))
        message = msgspec.json.encode({**publication.message, "event_id": event_id})
        try:
            connection = await self._connected(publication.channel)
            subscribers = await connection.create_request(
                b"PUBLISH", publication.channel, message, disconnect_on_cancellation=True
            )
        except _FAILURES as error:
            raise DeliveryFailed(f"{self._address}: {_reason(error)}") from error
        if isinstance(subscribers, int):
            self._subscribers[publication.channel] = subscribers

    async def _connected(self, channel: str) -> TCPConnection:
        if self._connection is None or not self._connection.usable:
            if self._nursery is None:
                raise DeliveryFailed(f"{self._address} is not used yet, or no more")
            connection = _Connection(self._address, await _open_stream(self._address))
            await _start(connection, self._nursery)
            try:
                await self._await_subscribers(connection, channel)
            except BaseException:
                connection.invalidate()
                raise
            self._connection = connection
        return self._connection

    async def _await_subscribers(self, connection: TCPConnection, channel: str) -> None:
        expected = max(1, self._subscribers.get(channel, 0))
        # Somebody may be allowed to publish, and not to look who listens.
        with trio.move_on_after(SUBSCRIBERS_BACK_WITHIN_S), suppress(ResponseError):
            while True:
                match await connection.create_request(b"PUBSUB NUMSUB", channel):
                    case [_, int() as count] if count < expected:
                        await trio.sleep(LOOK_FOR_SUBSCRIBERS_EVERY_S)
                    case _:
                        return


class RedisSubscriber:
    """Listen to channels of Redis, also to one that goes away and comes back.

    `connected` says whether every channel is subscribed to, as far as that is known.
    """

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._away_since: float | None = None
        self.connected = False

    async def listen(self, channels: Sequence[str], handle: Handler) -> NoReturn:
        """Have `handle` called with channel and data of every message, one by one, in order.

        Goes on until cancelled. While Redis is away it tries to connect again, with pauses that
        grow to `LAST_RETRY_S`; what is published meanwhile is lost, since Redis keeps nothing for
        those who are not there. While `handle` takes its time nothing more is read: what comes
        waits in Redis, which ends the connection when that is too much (by default, with 32 MB).
        A `handle` that raises ends it too, and the traceback is logged.
        """
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    await self._receive(nursery, channels, handle)
                except _FAILURES as error:
                    self._note_loss(error)
                except Exception as error:
                    log.exception("a bug ends the connection to %s", self._address)
                    self._note_loss(error)
                await trio.sleep(self._backoff.next_s())

    async def _receive(
        self, nursery: trio.Nursery, channels: Sequence[str], handle: Handler
    ) -> None:
        """Connect, subscribe, and hand over what comes, until the connection breaks."""
        pace = _Pace()
        stream = _PacedStream(await _open_stream(self._address), pace)
        connection = _Connection(self._address, stream)
        await _start(connection, nursery)
        try:
            async with aclosing(connection.push_messages) as pushes:
                connection.send_command(b"SUBSCRIBE", *channels)
                with trio.move_on_after(self._address.timeout_s) as in_time:
                    for _ in channels:
                        await anext(pushes)  # says that it is subscribed to, before any message
                if in_time.cancelled_caught:
                    # A refusal comes as an answer to no request, so that it shows by silence only.
                    raise RedisError("it does not let us subscribe")
                self._note_connection(channels)
                async for push in pushes:
                    with pace.taking():
                        match push:
                            case [b"message", bytes() as channel, bytes() as data]:
                                await handle(channel.decode(errors="replace"), data)
                            case _:
                                pass
        finally:
            self.connected = False
            connection.invalidate()

    def _note_connection(self, channels: Sequence[str]) -> None:
        self.connected = True
        self._backoff.reset()
        log.info("listening to %s of %s", ", ".join(channels), self._address)
        if self._away_since is not None:
            seconds = trio.current_time() - self._away_since
            self._away_since = None
            log.warning("%s is back, after %.1f s", self._address, seconds)

    def _note_loss(self, error: Exception) -> None:
        if self._away_since is None:
            self._away_since = trio.current_time()
            log.error("%s is away, and is tried again: %s", self._address, _reason(error))


def _reason(error: Exception) -> str:
    return str(error) or "it does not answer"


class _Connection(TCPConnection):
    """A connection over a stream that is there already.

    One of coredis that cannot connect leaves its buffers open, and one that can reads whatever
    comes, and keeps without bound what nobody has taken yet; `_PacedStream` sees to that.
    """

    def __init__(self, address: RedisAddress, stream: ByteStream) -> None:
        super().__init__(
            TCPLocation(address.host, address.port),
            stream_timeout=address.timeout_s,
            password=address.password,
        )
        self._connected = stream

    async def _connect(self) -> ByteStream:
        return self._connected


async def _open_stream(address: RedisAddress) -> ByteStream:
    """Connect to Redis, without a word yet; raises `OSError`."""
    with fail_after(address.timeout_s):
        stream = await connect_tcp(address.host, address.port)
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE.items():
        raw.setsockopt(socket.IPPROTO_TCP, option, value)
    return stream


async def _start(connection: _Connection, nursery: trio.Nursery) -> None:
    """Let a connection live in `nursery`; Redis has said hello on return. Raises `RedisError`."""
    # What coredis logs it also raises, and we say it once and not at each attempt.
    logging.getLogger("coredis").setLevel(logging.CRITICAL)
    await nursery.start(connection.run)


class _Pace:
    """Tells a stream when what it gave has been taken, so that it may give more."""

    def __init__(self) -> None:
        self.taken = 0
        self._idle = trio.Event()
        self._idle.set()

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Take one message, and be busy with it while the block lasts."""
        self.taken += 1
        self._idle = trio.Event()
        try:
            yield
        finally:
            self._idle.set()

    async def wait_all_taken(self) -> None:
        """Wait until whoever takes waits for more."""
        while True:
            await self._idle.wait()
            taken = self.taken
            for _ in range(_TURNS_TO_TAKE):
                await trio.lowlevel.checkpoint()
            if self._idle.is_set() and self.taken == taken:
                return


class _PacedStream(ByteStream):
    """A stream that gives no more before what it gave was taken, nor a message without an end."""

    def __init__(self, stream: ByteStream, pace: _Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._taken = 0
        self._untaken_bytes = 0

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        await self._pace.wait_all_taken()
        if self._taken != self._pace.taken:
            self._taken = self._pace.taken
            self._untaken_bytes = 0
        data = await self._stream.receive(max_bytes)
        self._untaken_bytes += len(data)
        if self._untaken_bytes > MAX_MESSAGE_BYTES:
            log.error("a message from Redis has more than %d bytes", MAX_MESSAGE_BYTES)
            raise BrokenResourceError
        return data

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

"""A client for ScentRT's WebSocket protocol, small enough to read and to copy.

::

    async with open_client("ws://127.0.0.1:8765/", role="engine", name="my-game") as client:
        answer = await client.cue("sea-breeze", {"zones": ["A"]}, intensity=0.8, duration_ms=1500)
        print(answer["targets"], "seats smell the sea")

Messages are dicts with the fields that the protocol gives them, so that what one reads there is
what one writes here. What can go wrong is `NotConnected`, `Refused` or `Closed`, each of them a
`ClientError`.
"""

import itertools
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Self, TypeAlias, cast

import trio

from simulators.connection import (
    JSON,
    MSGPACK,
    ClientError,
    Closed,
    Connection,
    Message,
    NotConnected,
    Refused,
    open_connection,
)

__all__ = [
    "JSON",
    "MSGPACK",
    "Client",
    "ClientError",
    "Closed",
    "Message",
    "NotConnected",
    "Refused",
    "Role",
    "ServerClock",
    "open_client",
    "plain_nursery",
]

Role: TypeAlias = Literal["engine", "goggles", "operator"]

PROTOCOL = 1
CLOCK_SAMPLES = 8
EVENT_BUFFER = 4096
"""Some ten seconds of a lively house; who falls further behind wants the newest, not all."""


class ServerClock:
    """The server's clock as this side knows it, from the round trips so far; pure.

    Of the last few samples the one with the shortest round trip counts: what made the others
    longer made them less certain too (the clock filter of NTP, RFC 5905, section 10).
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=CLOCK_SAMPLES)

    def learn(self, t0: float, t1: float, t2: float, t3: float) -> None:
        """Take one round trip: sent and arrived (t0, t3) here, received and answered there, ms."""
        self._samples.append(((t3 - t0) - (t2 - t1), ((t1 - t0) + (t2 - t3)) / 2))

    @property
    def round_trip_ms(self) -> float:
        """The shortest recent round trip; the clock is right to half of it."""
        return min(self._samples)[0]

    def at(self, here_ms: float) -> float:
        """Return the server's Unix milliseconds at this moment of the local clock."""
        return here_ms + min(self._samples)[1]


class _Reply:
    """What one request waits for; None once the connection is over."""

    __slots__ = ("message", "settled")

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.message: Message | None = None

    def settle(self, message: Message | None) -> None:
        self.message = message
        self.settled.set()


class Client:
    """One session with the server; `open_client` makes it.

    Any number of tasks may use it at once. A message goes out whole or not at all: cancelling a
    call before it is written sends nothing, and cancelling it later only forgets the reply.
    """

    def __init__(self, connection: Connection, event_buffer: int = EVENT_BUFFER) -> None:
        self._connection = connection
        # A resumed session remembers the ids of the connection before, so each has its own.
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._waiting: dict[str | int, _Reply] = {}
        self._inlet, self._unasked = trio.open_memory_channel[Message](event_buffer)
        self.clock = ServerClock()
        self.welcome: Message = {}
        self.closed: Closed | None = None
        self.missed = 0
        """How many events were dropped, the oldest first, because nobody took them in time."""

    @property
    def session(self) -> str:
        """The session's id, to come back with as `resume`."""
        return cast("str", self.welcome["session"])

    @property
    def zones(self) -> list[Message]:
        """The zones as the welcome told them: `zone`, `seats`, `scents`."""
        return cast("list[Message]", self.welcome["zones"])

    def server_now(self) -> float:
        """Return the server's time in Unix milliseconds, as exact as the best recent `ping`."""
        return self.clock.at(_here_ms())

    async def request(self, message: Message) -> Message:
        """Send a request, with an id of its own unless it has one, and return its reply.

        Requests may be pipelined: any number of tasks may wait at once, each under an id of its
        own. Raises `Refused` for an error reply, and `Closed`.
        """
        asked = message if "id" in message else {**message, "id": self._new_id()}
        if self.closed:
            raise self._over()
        if asked["id"] in self._waiting:
            raise ValueError(f"a request {asked['id']!r} still waits for its reply")
        reply = self._waiting[asked["id"]] = _Reply()
        try:
            await self._connection.send(asked)
            await reply.settled.wait()
        finally:
            del self._waiting[asked["id"]]
        if reply.message is None:
            raise self._over()
        if reply.message.get("type") == "error":
            raise _refusal(reply.message)
        return reply.message

    async def send(self, message: Message) -> None:
        """Send a message that has no reply, or whose reply is to come among the `events`."""
        await self._connection.send(message)

    def events(self) -> Self:
        """Return what the server says unasked, to iterate over with `async for`, in order.

        One stream for the whole client: each message goes to one taker. Where nobody takes them,
        the oldest are dropped and counted in `missed`, so that replies never wait for events.
        Raises `Closed` when the connection is over and the last has been taken.
        """
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self._unasked.receive()
        except trio.EndOfChannel:
            raise self._over() from None

    async def cue(
        self,
        scent: str,
        to: Message,
        *,
        intensity: float = 1.0,
        duration_ms: float = 1000.0,
        at: float | None = None,
        ttl_ms: float | None = None,
        priority: int | None = None,
        mix: bool | None = None,
        report: bool | None = None,
        cue_id: str | int | None = None,
    ) -> Message:
        """Release a scent once and return the `accepted`; its `re` is the cue's id, to cancel by.

        `at` is on the server's clock (`server_now() + …`). With `report`, one comes as an event.
        """
        fields = _given(at=at, ttl_ms=ttl_ms, priority=priority, mix=mix, report=report, id=cue_id)
        cue = {"type": "cue", "scent": scent, "intensity": intensity, "duration_ms": duration_ms}
        return await self.request({**cue, "to": to, **fields})

    async def level(
        self, scent: str, intensity: float, to: Message, *, ttl_ms: float | None = None
    ) -> None:
        """Say how strong a continuous source is now, as often as every frame; 0 ends it."""
        level = {"type": "level", "scent": scent, "intensity": intensity, "to": to}
        await self.send({**level, **_given(ttl_ms=ttl_ms)})

    async def cancel(self, cue: str | int) -> int:
        """Take a cue back, and return how many of its sprays were stopped."""
        return int((await self.request({"type": "cancel", "cue": cue}))["stopped"])

    async def stop(self, to: Message | None = None) -> int:
        """Stop what is ours (an operator: everything), there or everywhere; return how many."""
        return int((await self.request({"type": "stop", **_given(to=to)}))["stopped"])

    async def panic(self) -> Message:
        """Stop everything, and have cues refused until `release` (operators)."""
        return await self.request({"type": "panic"})

    async def release(self) -> Message:
        """Take cues again after a `panic` (operators)."""
        return await self.request({"type": "release"})

    async def subscribe(
        self,
        *events: str,
        zones: list[str] | None = None,
        seats: list[str] | None = None,
        scents: list[str] | None = None,
    ) -> str:
        """Ask for events of these kinds (`scent`, `zone`, `stock`); return the subscription."""
        filters = _given(zones=zones, seats=seats, scents=scents)
        reply = await self.request({"type": "subscribe", "events": list(events), **filters})
        return cast("str", reply["subscription"])

    async def unsubscribe(self, subscription: str) -> None:
        """End a subscription; events that were under way may still arrive."""
        await self.request({"type": "unsubscribe", "subscription": subscription})

    async def state(self, zone: str) -> Message:
        """Return a zone's state with the seats of all its pages.

        `revision` is the first page's. What changed while the later ones were read comes, to a
        subscriber, in events of higher revisions.
        """
        state = await self.request({"type": "state", "zone": zone})
        for page in range(2, state["pages"] + 1):
            more = await self.request({"type": "state", "zone": zone, "page": page})
            state["seats"] += more["seats"]
        return state

    async def ping(self) -> float:
        """Compare clocks with the server, and return the round trip in milliseconds."""
        t0 = _here_ms()
        pong = await self.request({"type": "ping", "t0": t0})
        t3 = _here_ms()
        self.clock.learn(t0, pong["t1"], pong["t2"], t3)
        return t3 - t0

    async def vanish(self) -> None:
        """Break the connection without a word, as a pulled cable does; the session may resume."""
        await self._connection.vanish()

    async def greet(self, hello: Message) -> None:
        """Say hello, and keep the welcome; raises `Refused` and `Closed`."""
        t0 = _here_ms()
        self.welcome = await self.request({"type": "hello", "protocol": PROTOCOL, **hello})
        at = self.welcome["server_time"]
        self.clock.learn(t0, at, at, _here_ms())

    async def run(self) -> None:
        """Take what the server says until the connection is over."""
        gone = Closed(1000, "this side has left")
        try:
            while True:
                self._take(await self._connection.receive())
        except Closed as error:
            gone = error
        finally:
            self.closed = gone
            for reply in self._waiting.values():
                reply.settle(None)
            self._inlet.close()

    def _take(self, message: Message) -> None:
        reply = self._waiting.get(message.get("re", ""))
        if reply and not reply.settled.is_set():
            reply.settle(message)
            return
        try:
            self._inlet.send_nowait(message)
        except trio.WouldBlock:
            self._unasked.receive_nowait()
            self.missed += 1
            self._inlet.send_nowait(message)

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers)}"

    def _over(self) -> Closed:
        """Return a fresh error for each who asks: a shared one would collect their tracebacks."""
        assert self.closed is not None
        return Closed(self.closed.code, self.closed.reason)


@asynccontextmanager
async def open_client(
    url: str,
    *,
    role: Role,
    name: str,
    token: str | None = None,
    resume: str | None = None,
    subprotocol: str = JSON,
    dispenser: Message | None = None,
    event_buffer: int = EVENT_BUFFER,
) -> AsyncIterator[Client]:
    """Connect, say hello, and yield the `Client`; leaving the block closes cleanly within 1 s.

    `dispenser` is `{"slots": […]}` for goggles that spray by themselves, and `event_buffer` how
    many untaken events are kept. Pings are answered as long as the block runs. Raises
    `NotConnected`, `Refused` where hello is refused, and `Closed`.
    """
    hello = _given(role=role, name=name, token=token, resume=resume, dispenser=dispenser)
    async with open_connection(url, subprotocol) as connection, plain_nursery() as nursery:
        client = Client(connection, event_buffer)
        nursery.start_soon(client.run)
        await client.greet(hello)
        yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def plain_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery out of which a single error comes as itself, not as a group of one.

    Its user thus writes `except Refused`, and need not know that there are tasks behind it. A
    connection that ends is a single error, however many tasks were waiting for it.
    """
    alone: BaseException
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
        return
    except BaseExceptionGroup as group:
        errors = group.subgroup(lambda error: not isinstance(error, trio.Cancelled)) or group
        if len(errors.exceptions) > 1 and not all(isinstance(e, Closed) for e in errors.exceptions):
            raise
        alone = errors.exceptions[0]
    raise alone


def _given(**fields: object) -> Message:
    """Return the fields that were given; what is left out gets the server's defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def _refusal(error: Message) -> Refused:
    return Refused(
        error["code"],
        error["message"],
        retryable=error["retryable"],
        retry_after_ms=error.get("retry_after_ms"),
    )


def _here_ms() -> float:
    return trio.current_time() * 1000

"""Who is told what: subscriptions, and one task that serves them all.

An event is encoded once for each subprotocol and written to every subscriber's socket without
waiting for any. Cues do not wait behind an audience: zones only put events into the queue, and
the task that empties it stands aside after every few dozen writes.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, assert_never

import trio
from msgspec import UNSET

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.events import (
    LevelChanged,
    PublicEvent,
    ScentEnded,
    ScentLevelled,
    ScentReleased,
    StockEvent,
    ZoneChanged,
)
from scentrt.domain.vials import Catalogue
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.messages import EventKind
from scentrt.entrypoints.gateway.stock_news import stock_changed
from scentrt.entrypoints.gateway.wire import BYTES_PER_CHARACTER, ROOM, Codec

T = TypeVar("T")

log = logging.getLogger(__name__)

BURST = 32
"""Writes between two looks at what else there is to do: about a tenth of a millisecond."""

QUEUE_CAPACITY = 10_000
"""Several seconds of events. They pile up only where the processor is overloaded; then the newest
are dropped and counted, and a gap in the revisions tells the subscribers."""


class Subscriber(Protocol):
    """A connection that can be told something."""

    @property
    def codec(self) -> Codec:
        """How this connection wants things said."""
        ...

    def push(self, frame: bytes) -> None:
        """Send a frame; never blocks and never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one subscriber wants to hear; a filter that is None lets everything through.

    `seat_zones` are the zones in which the wanted seats are.
    """

    kinds: frozenset[EventKind]
    zones: frozenset[str] | None
    seats: frozenset[str] | None
    scents: frozenset[str] | None
    seat_zones: frozenset[ZoneId] = frozenset()

    def wants(self, event: PublicEvent) -> bool:
        """Say whether an event passes all filters."""
        if self.zones is not None and event.zone not in self.zones:
            return False
        kind: EventKind
        scent: Scent | None = None
        match event:
            case ZoneChanged(seat=seat, scent=scent):
                kind, seats = "zone", None if seat is None else (seat,)
            case ScentReleased(scent=scent, seats=seats) | ScentEnded(scent=scent, seats=seats):
                kind = "scent"
            case ScentLevelled(scent=scent, seats=seats):
                kind = "level"
            case _:
                assert_never(event)
        if kind not in self.kinds:
            return False
        if scent is not None and self.scents is not None and scent not in self.scents:
            return False
        if self.seats is None:
            return True
        if seats is None:
            return event.zone in self.seat_zones
        return not self.seats.isdisjoint(seats)

    def wants_stock(self, scent: Scent | None) -> bool:
        """Say whether what happens to stock of this scent is wanted, None where it has none.

        Stock is in no zone and at no seat.
        """
        return "stock" in self.kinds and (self.scents is None or scent in self.scents)


class FanOut:
    """Serve all subscribers, in the order of each zone's revisions.

    What happens in the stock is told when no event of a zone waits, in its own order. `catalogue`
    says of which scent it is.
    """

    def __init__(
        self, tell_level: Callable[[ZoneId, LevelChanged], None], catalogue: Catalogue | None = None
    ) -> None:
        self.tell_level = tell_level
        """Tell the sender of a level what becomes of it in a zone."""
        self._audience: dict[Subscriber, dict[say.SubscriptionId, Subscription]] = {}
        # Most of an audience wants the same, and is asked about an event only once. Who has the
        # same subscription twice stands there as long as he has either.
        self._wishes: dict[Subscription, dict[Subscriber, None]] = {}
        self._queue: deque[PublicEvent] = deque()
        self._catalogue = catalogue or Catalogue()
        self._stock: deque[tuple[StockEvent, float]] = deque()
        self._stock_is_wanted = False
        self._work = trio.Event()
        self._quiet = trio.Event()  # while nothing is to be told
        self._quiet.set()
        self.dropped = 0
        """Events that nobody was told, because too many waited."""

    def subscribe(
        self, subscriber: Subscriber, id: say.SubscriptionId, subscription: Subscription
    ) -> None:
        """Tell a subscriber of the events that happen from now on."""
        self._audience.setdefault(subscriber, {})[id] = subscription
        self._wishes.setdefault(subscription, {})[subscriber] = None
        self._stock_is_wanted |= "stock" in subscription.kinds

    def unsubscribe(self, subscriber: Subscriber, id: say.SubscriptionId) -> bool:
        """End one subscription; False where there is none of this id."""
        theirs = self._audience.get(subscriber, {})
        subscription = theirs.pop(id, None)
        if subscription is None:
            return False
        if subscription not in theirs.values():
            del self._wishes[subscription][subscriber]
            if not self._wishes[subscription]:
                del self._wishes[subscription]
                self._stock_is_wanted = any("stock" in wish.kinds for wish in self._wishes)
        if not theirs:
            del self._audience[subscriber]
        return True

    def count(self, subscriber: Subscriber) -> int:
        """Return how many subscriptions a subscriber has."""
        return len(self._audience.get(subscriber, {}))

    def leave(self, subscriber: Subscriber) -> None:
        """End all of a subscriber's subscriptions."""
        for id in list(self._audience.get(subscriber, ())):
            self.unsubscribe(subscriber, id)

    def publish(self, event: PublicEvent) -> None:
        """Queue an event for whoever wants it. Never waits."""
        if self._audience:
            self._put(self._queue, event)

    def hear_stock(self, event: StockEvent, at_ms: float) -> None:
        """Queue what has happened in the stock for whoever wants it. Never waits."""
        if self._stock_is_wanted:
            self._put(self._stock, (event, at_ms))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        task_status.started()
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._queue or self._stock:
                if self._queue:
                    event = self._queue.popleft()
                    await self._serve(partial(_wants, event), _parts(event))
                else:
                    await self._serve_stock(*self._stock.popleft())
            self._quiet.set()

    async def wait_told(self) -> None:
        """Wait until whatever has been published has been told."""
        await self._quiet.wait()

    def _put(self, queue: deque[T], event: T) -> None:
        if len(queue) >= QUEUE_CAPACITY:
            if self.dropped == 0:
                log.warning("Events are dropped: subscribers are told slower than things happen")
            self.dropped += 1
            return
        queue.append(event)
        self._work.set()
        if self._quiet.is_set():
            self._quiet = trio.Event()

    async def _serve_stock(self, event: StockEvent, at_ms: float) -> None:
        kind = self._catalogue.kind(event.sku)
        scent = None if kind is None else kind.scent
        told = stock_changed(event, at_ms)
        await self._serve(lambda wish: wish.wants_stock(scent), [told])

    async def _serve(
        self, is_wanted: Callable[[Subscription], bool], parts: Iterable[say.ServerMessage]
    ) -> None:
        told: dict[Subscriber, None] = {}
        for subscription, subscribers in self._wishes.items():
            if is_wanted(subscription):
                told.update(subscribers)
        messages = tuple(parts) if told else ()
        frames: dict[Codec, list[bytes]] = {}
        for writes, subscriber in enumerate(told, start=1):
            codec = subscriber.codec
            if codec not in frames:
                frames[codec] = [codec.encode(part) for part in messages]
            for frame in frames[codec]:
                subscriber.push(frame)
            if writes % BURST == 0:
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()


def _wants(event: PublicEvent, subscription: Subscription) -> bool:
    return subscription.wants(event)


def _parts(event: PublicEvent) -> Iterator[say.ServerMessage]:
    match event:
        case ScentReleased():
            for seats in _by_frame(event.seats):
                yield say.ScentReleased(
                    zone=event.zone,
                    revision=event.revision,
                    cue=event.cue.id,
                    scent=event.scent,
                    intensity=event.intensity,
                    duration_ms=event.duration_ms,
                    seats=seats,
                    at=event.at_ms,
                )
        case ScentEnded():
            for seats in _by_frame(event.seats):
                yield say.ScentEnded(
                    zone=event.zone,
                    revision=event.revision,
                    cue=event.cue.id,
                    scent=event.scent,
                    seats=seats,
                    reason=event.reason,
                )
        case ScentLevelled():
            for seats in _by_frame(event.seats):
                yield say.ScentLevelled(
                    zone=event.zone,
                    revision=event.revision,
                    scent=event.scent,
                    intensity=event.intensity,
                    ttl_ms=event.ttl_ms,
                    seats=seats,
                    at=event.at_ms,
                )
        case ZoneChanged():
            yield say.ZoneChanged(
                zone=event.zone,
                revision=event.revision,
                change=event.change,
                seat=event.seat,
                at=event.at_ms,
                scent=UNSET if event.scent is None else event.scent,
            )
        case _:
            assert_never(event)


def _by_frame(seats: tuple[SeatId, ...] | None) -> Iterator[tuple[SeatId, ...] | None]:
    """Divide seats that are too many for one frame among several, of one revision."""
    if seats is None:
        yield None
        return
    longest = max(map(len, seats), default=0)
    size = ROOM // (BYTES_PER_CHARACTER * longest + len('"",'))
    for start in range(0, len(seats), size):
        yield seats[start : start + size]

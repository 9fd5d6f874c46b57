"""What one client says, after its hello: each message to whoever decides it, each answer back.

Nothing here waits for a zone. Answers are pushed in the zone's own turn, so a stop that comes
right behind a cue is sent on at once, however much waits before them.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, TypeVar, assert_never

from msgspec import UNSET, json

from scentrt.actors.actor import Message
from scentrt.actors.clock import ServerClock
from scentrt.actors.house import House
from scentrt.actors.messages import (
    CancelCue,
    Page,
    ReadPage,
    SetLevel,
    Stop,
    TakeCue,
)
from scentrt.domain.cues import EVERYWHERE, Cue, CueKey, Level, LevelKey, Scent, SeatId, ZoneId
from scentrt.domain.decisions import Accepted, Verdict
from scentrt.domain.doses import Limits
from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.answers import Collector, Reports, merge_verdicts
from scentrt.entrypoints.gateway.fanout import FanOut, Subscription
from scentrt.entrypoints.gateway.goggles import Headset, Headsets
from scentrt.entrypoints.gateway.refusals import busy, internal, panic
from scentrt.entrypoints.gateway.session import KnownCue, Session
from scentrt.entrypoints.gateway.state_pages import page_of_state, seats_per_page
from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.wire import ROOM, Codec
from scentrt.errors import (
    ActorError,
    Busy,
    PanicAgain,
    StoreUnavailable,
    UnknownGoggles,
    UnknownName,
    UnknownScent,
    UnknownSeat,
    UnknownZone,
)

T = TypeVar("T")

DAY_MS: Final = 24 * 3_600_000.0
MOST_SUBSCRIPTIONS: Final = 100

MAY: Final[dict[type[hear.ClientMessage], frozenset[hear.Role]]] = {
    hear.SendCue: frozenset({"engine", "operator"}),
    hear.CancelCue: frozenset({"engine", "operator"}),
    hear.SetLevel: frozenset({"engine"}),
    hear.Stop: frozenset({"engine", "operator"}),
    hear.Panic: frozenset({"operator"}),
    hear.Release: frozenset({"operator"}),
    hear.Sprayed: frozenset({"goggles"}),
}
"""Which roles may say what; what is not here, everybody may."""


class Refusal(Exception):
    """A request that cannot be done; `code` and `message` as in the error that answers it."""

    def __init__(self, code: say.ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: say.ErrorCode = code
        self.message = message


class Connection:
    """One client's connection after its hello: decide nothing here, send everything on.

    Its session outlives it; what is pushed after the connection has ended is lost without harm.
    """

    __slots__ = (
        "_clock",
        "_fanout",
        "_headsets",
        "_house",
        "_limits",
        "_subscriptions",
        "codec",
        "headset",
        "push",
        "session",
        "stream",
    )

    def __init__(
        self,
        session: Session,
        stream: FrameStream,
        codec: Codec,
        *,
        house: House,
        fanout: FanOut,
        headsets: Headsets,
        clock: ServerClock,
        limits: Limits,
    ) -> None:
        self.session = session
        self.stream = stream
        self.codec = codec
        self.push = stream.push
        self._house = house
        self._fanout = fanout
        self._headsets = headsets
        self._clock = clock
        self._limits = limits
        self.headset: Headset | None = None
        """Where this connection is goggles that dispense: their device."""
        self._subscriptions = count(1)

    def tell(self, message: say.ServerMessage) -> None:
        """Tell the client something; never waits."""
        self.push(self.codec.encode(message))

    async def handle(self, message: hear.ClientMessage, received_ms: float) -> None:
        """Do what a message asks, and see to it that a request is answered exactly once.

        Waits only where an operator calls or ends a panic.
        """
        allowed = MAY.get(type(message))
        if allowed is not None and self.session.role not in allowed:
            kind = type(message).__struct_config__.tag
            self._refuse(message, "forbidden", f"{self.session.role} may not send {kind}")
            return
        try:
            await self._handle(message, received_ms)
        except Refusal as refusal:
            self._refuse(message, refusal.code, refusal.message)
        except UnknownName as error:
            self._refuse(message, _code_of(error), str(error))

    async def _handle(self, message: hear.ClientMessage, received_ms: float) -> None:
        match message:
            case hear.SendCue():
                self._cue(message, received_ms)
            case hear.SetLevel():
                self._level(message, received_ms)
            case hear.CancelCue():
                self._cancel(message, received_ms)
            case hear.Stop():
                self._stop(message, received_ms)
            case hear.Panic(id=id):
                self.tell(say.Panicked(re=id, stopped=await self._house.panic()))
            case hear.Release(id=id):
                await self._release(id)
            case hear.Ping(id=id, t0=t0):
                self.tell(say.Pong(re=id, t0=t0, t1=received_ms, t2=self._clock.now_ms()))
            case hear.Subscribe():
                self._subscribe(message)
            case hear.Unsubscribe(id=id, subscription=name):
                subscription = say.SubscriptionId(name)
                if not self._fanout.unsubscribe(self, subscription):
                    raise Refusal("bad-message", f"subscription: there is no {name!r}")
                self.tell(say.Unsubscribed(re=id, subscription=subscription))
            case hear.ReadState():
                self._state(message)
            case hear.Sprayed(cue=cue, ok=ok):
                self._headsets.sprayed(SeatId(self.session.name), cue, ok=ok)
            case hear.Hello():
                raise Refusal("bad-message", "type: hello was said already")
            case _:
                assert_never(message)

    # Cues and levels

    def _cue(self, message: hear.SendCue, received_ms: float) -> None:
        session, now_ms = self.session, self._clock.now_ms()
        known = session.cue(message.id, now_ms)
        if known is not None:
            self._repeat(known)
            return
        cue = self._read_cue(message, received_ms, now_ms)
        parts = self._house.parts(message.to.target())
        if self._house.panicked:
            self.tell(panic(message.id))
            return
        known = KnownCue(now_ms, tuple(parts))
        session.remember(message.id, known)
        reports = Reports(message.id, session.tell) if message.report else None

        def answer(verdicts: dict[ZoneId, Verdict | ActorError]) -> None:
            merged = merge_verdicts(
                message.id, verdicts, lambda zone: self._house.seats_meant(zone, parts[zone])
            )
            if isinstance(merged, say.Accepted):
                known.answer = merged
            else:
                session.forget(message.id)
            session.tell(merged)
            for _ in range(known.repeats):
                session.tell(known.repeated() or merged)
            if reports is not None:
                reports.expect(sum(isinstance(v, Accepted) for v in verdicts.values()))

        collector: Collector[Verdict] = Collector(len(parts), answer)
        for zone, seats in parts.items():
            part = cue._replace(seats=seats)
            self._request(zone, TakeCue(part, None if reports is None else reports.put), collector)

    def _read_cue(self, message: hear.SendCue, received_ms: float, now_ms: float) -> Cue:
        longest_ms = self._limits.max_spray_ms
        if message.duration_ms > longest_ms:
            raise Refusal("bad-message", f"duration_ms: expected 1 to {longest_ms:g}")
        due_ms = received_ms if message.at is None else message.at
        if due_ms > now_ms + DAY_MS:
            raise Refusal("bad-message", "at: expected a moment within the next 24 hours")
        scent = Scent(message.scent)
        self._house.check_scent(scent)
        return Cue(
            key=CueKey(self.session.id, message.id),
            scent=scent,
            intensity=message.intensity,
            duration_ms=message.duration_ms,
            due_ms=due_ms,
            ttl_ms=message.ttl_ms,
            asked_ms=received_ms,
            priority=message.priority,
            mix=message.mix,
        )

    def _repeat(self, known: KnownCue) -> None:
        again = known.repeated()
        if again is None:
            known.repeats += 1
        else:
            self.session.tell(again)

    def _cancel(self, message: hear.CancelCue, received_ms: float) -> None:
        known = self.session.cue(message.cue, self._clock.now_ms())
        key = CueKey(self.session.id, message.cue)

        def answer(stopped: list[int]) -> say.ServerMessage:
            if known is None and not stopped:
                problem = f"this session has sent no cue {message.cue!r}"
                return say.Error(re=message.id, code="unknown-cue", message=problem)
            return say.Cancelled(re=message.id, cue=message.cue, stopped=sum(stopped))

        # One that is for tomorrow may be forgotten here, and wait in its zones all the same.
        zones = self._house.zones.keys() if known is None else known.zones
        self._count(zones, lambda _: CancelCue(key, received_ms), answer)

    def _level(self, message: hear.SetLevel, received_ms: float) -> None:
        target = message.to.target()
        key = LevelKey(self.session.id, Scent(message.scent), target)
        if len(json.encode(message.to)) > ROOM:  # it is repeated in each level-state
            raise Refusal("bad-message", f"to: expected at most {ROOM} bytes of names")
        try:
            self._house.check_scent(key.scent)
            parts = self._house.parts(target)
        except UnknownName as error:
            # Sixty times a second the same would be said: once is enough, until it changes.
            if self.session.level_changed(key, None, _code_of(error)) is not None:
                raise
            return
        if message.intensity > 0:
            self.session.level_sent(key, len(parts))
        for zone, seats in parts.items():
            level = Level(key, message.intensity, received_ms, message.ttl_ms, seats)
            with suppress(ActorError):  # the next frame brings a newer one
                self._house.zone(zone).tell_newest(key, SetLevel(level))

    # Stopping

    def _stop(self, message: hear.Stop, received_ms: float) -> None:
        target = EVERYWHERE if message.to is None else message.to.target()
        parts = self._house.parts(target)
        owner = None if self.session.role == "operator" else self.session.id
        self._count(
            parts.keys(),
            lambda zone: Stop(owner, parts[zone], received_ms),
            lambda stopped: say.Stopped(re=message.id, stopped=sum(stopped)),
        )

    async def _release(self, id: str | int) -> None:
        try:
            await self._house.release()
        except PanicAgain:
            self.tell(panic(id))
        except StoreUnavailable:
            self.tell(internal(id, "the database cannot be written, so the panic remains"))
        else:
            self.tell(say.Released(re=id))

    # Looking on

    def _subscribe(self, message: hear.Subscribe) -> None:
        if self._fanout.count(self) >= MOST_SUBSCRIPTIONS:
            raise Refusal("bad-message", f"more than {MOST_SUBSCRIPTIONS} subscriptions")
        for zone in message.zones or ():
            self._house.zone(ZoneId(zone))
        for scent in message.scents or ():
            self._house.check_scent(Scent(scent))
        seat_zones = frozenset(self._house.zone_of(SeatId(seat)) for seat in message.seats or ())
        subscription = Subscription(
            kinds=frozenset(message.events),
            zones=_filter(message.zones),
            seats=_filter(message.seats),
            scents=_filter(message.scents),
            seat_zones=seat_zones,
        )
        id = say.SubscriptionId(f"sub-{next(self._subscriptions)}")
        self.tell(say.Subscribed(re=message.id, subscription=id))
        self._fanout.subscribe(self, id, subscription)

    def _state(self, message: hear.ReadState) -> None:
        id = ZoneId(message.zone)
        zone = self._house.zone(id)

        def answer(page: Page | ActorError) -> None:
            if isinstance(page, ActorError):
                self.tell(internal(message.id, str(page)))
            elif message.page > page.pages:
                self._refuse(message, "bad-message", f"page: expected 1 to {page.pages}")
            else:
                self.tell(page_of_state(message, page, self._clock.now_ms()))

        try:
            zone.request(ReadPage(message.page, partial(seats_per_page, self._house, id)), answer)
        except Busy as error:
            self.tell(busy(message.id, error.retry_after_ms))
        except ActorError as error:
            answer(error)

    # What all have in common

    def _request(
        self,
        zone: ZoneId,
        message: Message[T],
        collector: Collector[T],
        *,
        urgent: bool = False,
    ) -> None:
        try:
            self._house.zone(zone).request(message, partial(collector.put, zone), urgent=urgent)
        except ActorError as error:
            collector.put(zone, error)

    def _count(
        self,
        zones: Collection[ZoneId],
        message: Callable[[ZoneId], Message[T]],
        answer: Callable[[list[int]], say.ServerMessage],
    ) -> None:
        """Stop something in some zones, and answer with how many sprays that stopped in each.

        A zone that crashes meanwhile has closed its dispensers, so it counts as done.
        """

        def done(counts: dict[ZoneId, T | ActorError]) -> None:
            self.tell(answer([count for count in counts.values() if isinstance(count, int)]))

        collector: Collector[T] = Collector(len(zones), done)
        for zone in zones:
            self._request(zone, message(zone), collector, urgent=True)

    def _refuse(self, message: hear.ClientMessage, code: say.ErrorCode, problem: str) -> None:
        re = getattr(message, "id", UNSET)
        self.tell(say.Error(re=re, code=code, message=problem))


def _code_of(error: UnknownName) -> say.ErrorCode:
    match error:
        case UnknownZone():
            return "unknown-zone"
        case UnknownSeat():
            return "unknown-seat"
        case UnknownGoggles():
            return "unknown-goggles"
        case UnknownScent():
            return "unknown-scent"
        case _:
            raise error


def _filter(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)

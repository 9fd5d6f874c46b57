"""A zone under watch: what it orders is carried out, and held against what was promised.

It is judged by its orders alone, by what dispensers did that know nothing else.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from scentrt.domain.cues import Cue, CueKey, Level, LevelKey, OwnerId, Scent, SeatId, ZoneId
from scentrt.domain.decisions import Accepted, Refusal, Refused, Release
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.events import (
    ACTIVE,
    ENDED,
    CueDispatched,
    Event,
    LevelChanged,
    PublicEvent,
    ScentEnded,
    ScentReleased,
    SpraysDropped,
)
from scentrt.domain.seat_settings import MOST_DELAY_MS, SeatChange, SeatSettings
from scentrt.domain.seats import Seat
from scentrt.domain.theatre import Zone
from tests.unit.devices import Breath, Devices

ROUNDING_MS = 1e-3
"""Unix milliseconds as floats are some quarter of a microsecond apart."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scent came from: a cue, or somebody's levels."""

    scent: Scent
    owner: OwnerId
    priority: int
    is_level: bool
    mix: bool = False


@dataclass(frozen=True, slots=True)
class Delayed:
    """A spray that is to begin later, and what was set for its seat when it was decided."""

    begins_ms: float
    settings: SeatSettings


class Promises:
    """The zone, its dispensers, and all that has to be remembered to tell right from wrong."""

    def __init__(self, seats: Iterable[Seat], limits: Limits, now: float) -> None:
        self.now = now
        self.limits = limits
        self.zone = Zone(ZoneId("A"), seats, limits)
        self.devices = Devices()
        self.revision = 0
        self.settings: dict[SeatId, SeatChange] = {}
        self.most_gain: dict[SeatId, float] = defaultdict(lambda: 1.0)
        # Where vials have got something back, since somebody looked last.
        self.given_back: set[SeatId] = set()
        self._begin()

    def _begin(self) -> None:
        # The last source of each slot; and those of dispensers that were replaced, until when.
        self.sources: dict[tuple[SeatId, int], Source] = {}
        self.air: dict[SeatId, list[tuple[Source, float]]] = defaultdict(list)
        # Cues as they were asked and first answered, where they went, and which may not.
        self.cues: dict[CueKey, Cue] = {}
        self.answers: dict[CueKey, Accepted] = {}
        self.sprayed: dict[CueKey, set[SeatId]] = defaultdict(set)
        self.delayed: dict[tuple[CueKey, SeatId], Delayed] = {}
        self.dispatched_ms: dict[CueKey, float] = {}
        self.begun: dict[CueKey, int] = defaultdict(int)
        self.dropped: dict[CueKey, int] = defaultdict(int)
        self.ended: dict[CueKey, set[SeatId]] = defaultdict(set)
        self.forbidden: set[CueKey] = set()
        self.stops: list[tuple[float, OwnerId | None, tuple[SeatId, ...] | None]] = []
        self.away: set[OwnerId] = set()
        # Levels as they were set last, and what their senders were told last.
        self.levels: dict[LevelKey, Level] = {}
        self.states: dict[LevelKey, str] = {}

    def restart(self, seats: Iterable[Seat]) -> None:
        """Put a new zone in the place of the old one.

        It knows no cue, no stop and no owner who is away, nor what is in the air; who sends a cue
        again is known to the session.
        """
        self.zone = Zone(
            ZoneId("A"),
            seats,
            self.limits,
            panicked=self.zone.panicked,
            revision=self.zone.revision,
        )
        self.zone.restore_settings(self.settings)
        self._begin()

    def replace_dispenser(self, seat: SeatId) -> None:
        """Keep in mind what is in the air at a seat whose slots will be others."""
        for place, source in list(self.sources.items()):
            last = self.devices.last(*place)
            if place[0] == seat and last is not None:
                self.air[seat].append((source, last.closes_ms))
                del self.sources[place]

    # What is asked

    def accept(self, cue: Cue) -> None:
        """Ask for a cue, and judge the answer."""
        self.cues[cue.key] = cue
        before = set(self.sprayed[cue.key])
        with self.deciding():
            verdict = self.zone.accept(cue, self.now)
        match verdict:
            case Accepted(duplicate=True):
                assert self.sprayed[cue.key] == before
                assert verdict == self.answers[cue.key]._replace(duplicate=True)
            case Accepted():
                assert cue.key not in self.answers
                self.answers[cue.key] = verdict
                if not self.zone.waits(cue.key):
                    assert verdict.targets == len(self.sprayed[cue.key])
                if cue.seats is None:
                    counted = verdict.targets + sum(verdict.skipped.values())
                    assert counted <= len(self.zone.seats)
            case Refused(Refusal.PANIC):
                assert self.zone.panicked
            case Refused(reason):
                assert reason == Refusal.TOO_LATE
                assert self.now > cue.due_ms + cue.ttl_ms

    def hold(self, level: Level) -> None:
        """Set a level, and see that it does not outdo a stop."""
        if self.now < level.asked_ms + level.ttl_ms:  # else it comes too late to mean anything
            self.levels[level.key] = level
        before = len(self.devices.breaths)
        with self.deciding(levels_of=level.key.owner):
            self.zone.level(level, self.now)
        if level.intensity > 0:
            for breath in self.devices.breaths[before:]:
                assert not self._is_stopped(level, breath.seat)

    def stop(
        self, owner: OwnerId | None, seats: tuple[SeatId, ...] | None, asked_ms: float
    ) -> None:
        """Stop, and see that what was meant has stopped."""
        with self.deciding():
            self.zone.stop(owner, seats, asked_ms, self.now)
        self.stops.append((asked_ms, owner, seats))
        for breath in self.reachable():
            mine = owner in (None, self.sources[breath.seat, breath.slot].owner)
            assert not (mine and (seats is None or breath.seat in seats))

    def lose(self, seat: SeatId) -> None:
        """Lose the link to a dispenser: what was to begin there later will not."""
        self.devices.lose(seat)
        self.delayed = {place: one for place, one in self.delayed.items() if place[1] != seat}

    def set_seat(self, id: SeatId, change: SeatChange) -> None:
        """Set something for a seat, and see that nothing is open there that is not wanted."""
        seat = self.zone.seat(id)
        with self.deciding():
            said = self.zone.set_seat(id, change, self.now)
        assert (said is None) == (seat is None)
        if said is None or seat is None:
            return
        assert said == change.after(self.settings.get(id, SeatChange()))
        self.settings[id], settings = said, seat.settings
        assert settings == said.of(SeatSettings())
        self.most_gain[id] = max(self.most_gain[id], settings.gain)
        for breath in self.reachable():
            if breath.seat == id:
                assert not settings.refuses(self.sources[id, breath.slot].scent)

    def cancel(self, key: CueKey) -> None:
        """Cancel a cue, and see that nothing of it is left."""
        with self.deciding():
            self.zone.cancel(key, self.now, self.now)
        self.forbidden.add(key)
        assert not [b for b in self.reachable() if b.cue == key]

    def panic(self) -> None:
        """Call a panic, and see that nothing is open."""
        waiting = self.waiting()
        with self.deciding():
            self.zone.panic(self.now, self.now)
        self.forbidden |= waiting
        self.stops.append((self.now, None, None))
        assert not self.reachable()

    def hush(self, owner: OwnerId) -> None:
        """Let an owner be gone, and see that nothing of it is open."""
        with self.deciding():
            self.zone.hush(owner, self.now)
        self.away.add(owner)
        assert owner not in {source.owner for source in self.heard()}

    def welcome_back(self, owner: OwnerId) -> None:
        """Let an owner be back."""
        self.away.discard(owner)
        with self.deciding():
            self.zone.welcome_back(owner, self.now)

    def forget(self, owner: OwnerId) -> None:
        """Let an owner leave for good, and see that it has no levels any more."""
        self.forbidden |= {key for key in self.waiting() if key.owner == owner}
        self.away.discard(owner)
        with self.deciding():
            self.zone.forget(owner, self.now)
        assert owner not in {source.owner for source in self.heard() if source.is_level}

    # What was promised

    @contextmanager
    def deciding(self, *, levels_of: OwnerId | None = None) -> Iterator[None]:
        """Carry out what is decided meanwhile, and judge it."""
        yield
        effects = self.zone.take_effects()
        released: dict[CueKey, set[SeatId]] = defaultdict(set)
        for order in effects.orders:
            if isinstance(order, Release):
                assert not self.zone.panicked
                for seat in order.seats:
                    self._judge_release(order, seat, levels_of)
                if order.spray.cue is not None:
                    assert not released[order.spray.cue].intersection(order.seats)
                    released[order.spray.cue].update(order.seats)
            self.devices.obey([order], self.now)
        for key, seats in released.items():
            self.begun[key] += len(seats)
            for seat in self.sprayed[key] & seats:  # once, and after its delay
                delayed = self.delayed.pop((key, seat))
                assert delayed.begins_ms <= self.now
            self.sprayed[key] |= seats
        self._judge_events(effects.events, released)
        self._judge_levels()
        if self.devices.missed:
            missed, self.devices.missed = self.devices.missed, []
            self.given_back.update(each.seat for each in missed)
            with self.deciding():
                for each in missed:
                    assert each.cue is not None
                    self.zone.give_back(each.cue, [each.seat], self.now)

    def _judge_release(self, order: Release, id: SeatId, levels_of: OwnerId | None) -> None:
        spray, place = order.spray, (id, order.spray.slot)
        seat = self.zone.seat(id)
        assert seat is not None
        scent = seat.slots[spray.slot].scent
        assert not seat.settings.refuses(scent)
        assert id not in self.devices.deaf
        last, before = self.devices.last(*place), self.sources.get(place)
        if last is None or last.closes_ms <= self.now + ROUNDING_MS:
            before = None
        if spray.cue is None:
            assert abs(spray.expires_ms - self.now - spray.duration_ms) <= ROUNDING_MS
            owner = before.owner if before is not None and before.is_level else levels_of
            assert owner is not None
            assert owner not in self.away
            source = Source(scent, owner, -1, is_level=True)
            if before is None:
                self._judge_clearing(id, source)
            else:
                assert before == source
        else:
            cue = self.cues[spray.cue]
            assert scent == cue.scent
            source = Source(scent, cue.key.owner, cue.priority, is_level=False, mix=cue.mix)
            delayed = self.delayed.get((cue.key, id))
            self._judge_cue(cue, order, seat, delayed)
            if not cue.mix:
                self._judge_clearing(id, source, was_decided=delayed is not None)
            if before is not None:
                assert before.priority < cue.priority
        self.sources[place] = source

    def _judge_cue(self, cue: Cue, order: Release, at: Seat, delayed: Delayed | None) -> None:
        seat = at.id
        settings = at.settings if delayed is None else delayed.settings
        delay_ms = 0.0 if delayed is None else settings.delay_ms
        assert delayed is not None or settings.delay_ms == 0
        assert order.spray.intensity == min(1.0, cue.intensity * settings.gain)
        assert abs(order.spray.duration_ms - cue.duration_ms) <= ROUNDING_MS
        assert order.spray.expires_ms == cue.due_ms + cue.ttl_ms + delay_ms
        assert cue.due_ms + delay_ms <= self.now <= cue.due_ms + cue.ttl_ms + delay_ms
        assert cue.seats is None or seat in cue.seats
        assert cue.key not in self.forbidden
        assert cue.key.owner not in self.away
        assert not self._is_stopped(cue, seat)

    def _is_stopped(self, asked: Cue | Level, seat: SeatId) -> bool:
        return any(
            asked_ms >= asked.asked_ms
            and owner in (None, asked.key.owner)
            and (seats is None or seat in seats)
            for asked_ms, owner, seats in self.stops
        )

    def _judge_clearing(self, seat: SeatId, source: Source, *, was_decided: bool = False) -> None:
        """No other scent is or was there too recently, but for levels of the same owner.

        Others may have joined since it was decided, if they may mix.
        """
        others = list(self.air[seat])
        for place, other in self.sources.items():
            last = self.devices.last(*place)
            if place[0] == seat and last is not None:
                others.append((other, last.closes_ms))
        for other, closes_ms in others:
            together = source.is_level and other.is_level and source.owner == other.owner
            joined = was_decided and other.mix
            if other.scent != source.scent and not together and not joined:
                assert closes_ms + self.limits.clearing_ms <= self.now + ROUNDING_MS

    def _judge_levels(self) -> None:
        """Nothing is sprayed for a level that is not active, and no more than all levels give."""
        for breath in self.reachable():
            source = self.sources[breath.seat, breath.slot]
            if source.is_level:
                theirs = [
                    level
                    for key, level in self.levels.items()
                    if (key.owner, key.scent) == (source.owner, source.scent)
                    and (level.seats is None or breath.seat in level.seats)
                ]
                asked = sum(level.intensity for level in theirs) * self.most_gain[breath.seat]
                assert breath.intensity <= min(1.0, asked) + 1e-9
                assert ACTIVE in {self.states.get(level.key) for level in theirs}

    def _judge_events(
        self, events: Sequence[Event], released: Mapping[CueKey, set[SeatId]]
    ) -> None:
        everybody = {seat.id for seat in self.zone.seats}
        targets: dict[CueKey, int] = defaultdict(int)
        for event in events:
            if isinstance(event, PublicEvent):
                self.revision += 1
                assert event.revision == self.revision
            match event:
                case ScentReleased(cue=key, seats=at):
                    seats = everybody if at is None else set(at)
                    assert released[key] <= seats
                    for seat in seats - released[key]:
                        self._delay(key, seat)
                    self.sprayed[key] |= seats
                    targets[key] = len(seats)
                    self.dispatched_ms[key] = self.now
                case ScentEnded(cue=key, seats=at):
                    seats = everybody if at is None else set(at)
                    assert seats <= self.sprayed[key]
                    assert not seats & self.ended[key]
                    self.ended[key] |= seats
                case CueDispatched(cue=key):
                    assert event.targets == targets[key]
                case SpraysDropped(cue=key, withdrawn=withdrawn, failed=failed, expired=expired):
                    assert withdrawn + failed + expired > 0
                    self.dropped[key] += withdrawn + failed + expired
                case LevelChanged(level=level, state=state):
                    assert state != self.states.get(level)
                    self.states[level] = state
                    if state == ENDED:
                        del self.levels[level]
                case _:
                    pass
        assert self.zone.revision == self.revision

    def _delay(self, key: CueKey, id: SeatId) -> None:
        seat = self.zone.seat(id)
        assert seat is not None
        assert seat.settings.delay_ms > 0
        self.delayed[key, id] = Delayed(self.now + seat.settings.delay_ms, seat.settings)

    def judge_what_was_to_come(self) -> None:
        """What was dispatched a delay ago has begun, or its owner heard that it will not."""
        for key, seats in self.sprayed.items():
            if self.dispatched_ms.get(key, self.now) + MOST_DELAY_MS <= self.now:
                assert self.begun[key] + self.dropped[key] == len(seats)

    def judge_what_is_open(self, but_for: set[SeatId]) -> None:
        """What the zone believes to be open is open, and nothing else."""
        believed = {
            (seat.id, slot.number): slot.run.intensity
            for seat in self.known(self.devices.seats())
            for slot in seat.slots
            if slot.run is not None and not slot.is_kept and slot.until_ms > self.now + ROUNDING_MS
        }
        really = {
            (b.seat, b.slot): b.intensity
            for b in self.devices.open(self.now).values()
            if b.closes_ms > self.now + ROUNDING_MS and b.seat not in but_for
        }
        assert believed == really

    def judge_doses(self) -> None:
        """No seat ever got more than its limits, wherever one begins to count."""
        for seat in self.devices.seats():
            breaths = self.devices.of(seat)
            rounding_s = 1e-6 * len(breaths)
            minute_s, hour_s = most_s(breaths, 60_000), most_s(breaths, 3_600_000)
            assert minute_s <= self.limits.dose_per_minute_us / US_PER_S + rounding_s
            assert hour_s <= self.limits.dose_per_hour_us / US_PER_S + rounding_s

    # What can be seen from outside

    def known(self, ids: Iterable[SeatId]) -> list[Seat]:
        """Return the seats of these ids that the zone knows."""
        return [seat for id in ids if (seat := self.zone.seat(id)) is not None]

    def waiting(self) -> set[CueKey]:
        """Return the cues that wait."""
        return {key for key in self.cues if self.zone.waits(key)}

    def reachable(self) -> list[Breath]:
        """Return what is open where a stop can be heard."""
        return [b for b in self.devices.open(self.now).values() if b.seat not in self.devices.deaf]

    def heard(self) -> list[Source]:
        """Return where this comes from."""
        return [self.sources[b.seat, b.slot] for b in self.reachable()]


def most_s(breaths: Sequence[Breath], span_ms: float) -> float:
    """Return the most dose-seconds that any window of this span holds.

    The dose of a window that slides is greatest where it begins with a breath or ends with one.
    """
    starts = {b.opened_ms for b in breaths} | {b.closes_ms - span_ms for b in breaths}
    return max(sum(b.dose_s(start, start + span_ms) for b in breaths) for start in starts)

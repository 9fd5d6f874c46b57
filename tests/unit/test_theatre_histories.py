"""Whatever is asked of a zone, in whatever order and at whatever times, it keeps its promises.

The zone is judged by its orders alone: by what dispensers did that knew nothing but these.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scentrt.domain.cues import (
    EVERYWHERE,
    Cue,
    CueKey,
    Level,
    LevelKey,
    OwnerId,
    Scent,
    SeatId,
    Target,
    ZoneId,
)
from scentrt.domain.decisions import Accepted, Refusal, Refused, Release
from scentrt.domain.doses import US_PER_S
from scentrt.domain.events import (
    CueDispatched,
    Event,
    LevelChanged,
    PublicEvent,
    ScentEnded,
    ScentReleased,
)
from scentrt.domain.seats import Seat, Slot, Vial
from scentrt.domain.theatre import Zone
from tests.unit.devices import Breath, Devices
from tests.unit.venue import A1, A2, A3, FILM, GAME, NOON, PINE, SEA, TAR, limits

ANN, BOB = SeatId("ann"), SeatId("bob")
ROW = {A1: (SEA, PINE), A2: (SEA, SEA, PINE, TAR), A3: (TAR,)}
"""The seats of the row and their slots; the first slot of each has a vial."""

VIAL_US = 6 * US_PER_S

ROUNDING_MS = 1e-3
"""Unix milliseconds as floats are some quarter of a microsecond apart."""

owners = st.sampled_from([GAME, FILM])
scents = st.sampled_from([SEA, PINE, TAR])
names = st.sampled_from([ANN, BOB])
seats = st.none() | st.lists(
    st.sampled_from([A1, A2, A3, ANN, BOB, SeatId("nobody")]), unique=True, max_size=3
).map(tuple)
intensities = st.sampled_from([0.1, 0.5, 1.0]) | st.floats(0.001, 1)
durations = st.sampled_from([1.0, 200.0, 1_000.0, 10_000.0]) | st.floats(1, 10_000)
delays = st.sampled_from([0.0, 1.0, 20.0]) | st.floats(0, 5_000)
"""How long something was under way from whoever asked for it."""

spans = st.one_of(
    st.sampled_from([0.0, 1.0, 16.0, 250.0, 1_000.0, 2_000.0, 10_000.0]),
    st.floats(0, 3_000),
    st.floats(0, 70_000),
    st.floats(0, 4_000_000),
)
whoms = st.sampled_from(
    [EVERYWHERE, Target(seats=(A1, A2)), Target(seats=(A2,)), Target(goggles=(ANN,))]
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scent came from: a cue, or somebody's levels."""

    scent: Scent
    owner: OwnerId
    priority: int
    is_level: bool


class Histories(RuleBasedStateMachine):
    """A zone with a row of seats and places for goggles, and everything that is asked of it."""

    @initialize(
        minute_s=st.sampled_from([1, 4, 20]),
        hour_s=st.sampled_from([3, 12, 300]),
        clearing_ms=st.sampled_from([0, 500, 2_000]),
    )
    def open(self, minute_s: float, hour_s: float, clearing_ms: float) -> None:
        self.now = NOON
        self.limits = limits(minute_s=minute_s, hour_s=hour_s, clearing_ms=clearing_ms)
        self.devices = Devices()
        self.goggles: dict[SeatId, tuple[Scent, ...] | None] = {}
        self.zone = Zone(ZoneId("A"), self.row(), self.limits)
        self.revision = 0
        self.numbers = 0
        # What the last releases of each slot were, and those of dispensers that were replaced.
        self.sources: dict[tuple[SeatId, int], Source] = {}
        self.air: dict[SeatId, list[tuple[Source, float]]] = defaultdict(list)
        # Cues by key as they were asked; where they were sprayed and where they may not be.
        self.cues: dict[CueKey, Cue] = {}
        self.answers: dict[CueKey, Accepted] = {}
        self.sprayed: dict[CueKey, set[SeatId]] = defaultdict(set)
        self.ended: dict[CueKey, set[SeatId]] = defaultdict(set)
        self.forbidden: set[CueKey] = set()
        self.stops: list[tuple[float, OwnerId | None, tuple[SeatId, ...] | None]] = []
        self.away: set[OwnerId] = set()
        self.states: dict[LevelKey, str] = {}
        # What is on disk, and up to when it is complete.
        self.written: dict[tuple[SeatId, int], int] = {}
        self.written_through = self.now
        # Since the last restart: goggles of which the zone knows nothing, and the first breath.
        self.strangers: set[SeatId] = set()
        self.first_breath = 0

    def row(self) -> list[Seat]:
        row = []
        for id, carried in ROW.items():
            seat = Seat(id, [Slot(n, scent) for n, scent in enumerate(carried)], self.limits)
            seat.slots[0].vial = Vial(VIAL_US)
            row.append(seat)
        return row

    # Time

    @rule(span=spans, on_time=st.booleans())
    def time_passes(self, span: float, on_time: bool) -> None:
        """Time passes, and the zone wakes whenever it wanted to, or not before the end."""
        end = self.now + span
        while on_time and self.zone.next_ms <= end:
            self.now = max(self.now, self.zone.next_ms)
            self.advance()
        self.now = end
        self.advance()

    def advance(self) -> None:
        with self.deciding():
            self.zone.advance(self.now)
        assert self.zone.next_ms > self.now

    # Cues

    @rule(
        owner=owners,
        scent=scents,
        intensity=intensities,
        duration_ms=durations,
        delay_ms=delays,
        wait_ms=st.just(0.0) | st.floats(-2_000, 30_000),
        ttl_ms=st.sampled_from([1.0, 500.0, 60_000.0]) | st.floats(0, 5_000),
        to=seats,
        priority=st.integers(0, 9),
        mix=st.booleans(),
        cancelled=st.sampled_from([False] * 9 + [True]),
    )
    def a_cue_comes(
        self,
        owner: OwnerId,
        scent: Scent,
        intensity: float,
        duration_ms: float,
        delay_ms: float,
        wait_ms: float,
        ttl_ms: float,
        to: tuple[SeatId, ...] | None,
        priority: int,
        mix: bool,
        cancelled: bool,
    ) -> None:
        """A cue comes, perhaps after a cancel that has overtaken it."""
        self.numbers += 1
        asked_ms = self.now - delay_ms
        cue = Cue(
            key=CueKey(owner, self.numbers),
            scent=scent,
            intensity=intensity,
            duration_ms=duration_ms,
            due_ms=asked_ms + wait_ms,
            ttl_ms=ttl_ms,
            asked_ms=asked_ms,
            seats=to,
            priority=priority,
            mix=mix,
        )
        self.cues[cue.key] = cue
        if cancelled:
            self.cancel(cue.key)
        self.ask(cue)

    @precondition(lambda self: self.cues)
    @rule(which=st.integers(0, 1_000))
    def a_cue_comes_again(self, which: int) -> None:
        self.ask(self.pick_cue(which))

    def ask(self, cue: Cue) -> None:
        meant = len(self.zone.seats) if cue.seats is None else len(self.known(cue.seats))
        with self.deciding() as sprayed_before:
            verdict = self.zone.accept(cue, self.now)
        match verdict:
            case Accepted(duplicate=True):
                assert not self.sprayed[cue.key] - sprayed_before.get(cue.key, set())
                assert verdict == replace(self.answers[cue.key], duplicate=True)
            case Accepted():
                assert cue.key not in self.answers
                self.answers[cue.key] = verdict
                assert verdict.targets + sum(verdict.skipped.values()) <= meant
                if not self.zone.waits(cue.key):
                    assert verdict.targets == len(self.sprayed[cue.key])
            case Refused(reason):
                assert (reason == Refusal.PANIC) == self.zone.panicked
                assert reason == Refusal.PANIC or self.now > cue.expires_ms

    @precondition(lambda self: self.cues)
    @rule(which=st.integers(0, 1_000))
    def a_cue_is_cancelled(self, which: int) -> None:
        self.cancel(self.pick_cue(which).key)

    def cancel(self, key: CueKey) -> None:
        with self.deciding():
            self.zone.cancel(key, self.now, self.now)
        self.forbidden.add(key)
        assert not [b for b in self.reachable() if b.cue == key]

    def pick_cue(self, which: int) -> Cue:
        return list(self.cues.values())[-1 - which % len(self.cues)]

    # Levels

    @rule(
        owner=owners,
        scent=scents,
        whom=whoms,
        intensity=st.just(0.0) | intensities,
        delay_ms=delays,
        ttl_ms=st.sampled_from([50.0, 500.0]) | st.floats(1, 20_000),
        frames=st.integers(1, 4),
    )
    def a_level_comes(
        self,
        owner: OwnerId,
        scent: Scent,
        whom: Target,
        intensity: float,
        delay_ms: float,
        ttl_ms: float,
        frames: int,
    ) -> None:
        for frame in range(frames):
            if frame:
                self.now += 16
            to = whom.seats or whom.goggles or None
            key = LevelKey(owner, scent, whom)
            level = Level(key, intensity, self.now - delay_ms, ttl_ms, to)
            with self.deciding(levels_of=owner):
                self.zone.level(level, self.now)

    # Stopping

    @rule(owner=st.none() | owners, to=seats, delay_ms=delays)
    def a_stop_comes(
        self, owner: OwnerId | None, to: tuple[SeatId, ...] | None, delay_ms: float
    ) -> None:
        asked_ms = self.now - delay_ms
        with self.deciding():
            self.zone.stop(owner, to, asked_ms, self.now)
        self.stops.append((asked_ms, owner, to))
        for breath in self.reachable():
            source = self.sources[breath.seat, breath.slot]
            assert owner not in (None, source.owner) or not (to is None or breath.seat in to)

    @rule()
    def there_is_a_panic(self) -> None:
        with self.deciding():
            self.zone.panic(self.now, self.now)
        self.forbidden |= self.waiting()
        self.stops.append((self.now, None, None))
        assert not self.reachable()

    @rule()
    def the_panic_is_over(self) -> None:
        with self.deciding():
            self.zone.release(self.now)

    # Owners

    @rule(owner=owners)
    def an_owner_is_gone(self, owner: OwnerId) -> None:
        with self.deciding():
            self.zone.hush(owner, self.now)
        self.away.add(owner)
        assert owner not in self.heard_now()

    @rule(owner=owners)
    def an_owner_is_back(self, owner: OwnerId) -> None:
        self.away.discard(owner)
        with self.deciding():
            self.zone.welcome_back(owner, self.now)

    @rule(owner=owners)
    def an_owner_is_forgotten(self, owner: OwnerId) -> None:
        self.away.discard(owner)
        with self.deciding():
            self.zone.forget(owner, self.now)
        self.forbidden |= {key for key in self.waiting() if key.owner == owner}
        assert owner not in self.heard_now(levels_alone=True)

    # Dispensers

    @rule(seat=st.sampled_from(sorted(ROW)))
    def a_link_breaks(self, seat: SeatId) -> None:
        self.devices.lose(seat)
        with self.deciding():
            self.zone.connect(seat, self.now, online=False)

    @rule(seat=st.sampled_from(sorted(ROW)))
    def a_link_is_there_again(self, seat: SeatId) -> None:
        if seat in self.devices.deaf:
            self.devices.find(seat, self.now)
        with self.deciding():
            self.zone.connect(seat, self.now, online=True)

    @rule(name=names, brought=st.sampled_from([None, (SEA,), (PINE, SEA), (TAR, TAR)]))
    def goggles_come(self, name: SeatId, brought: tuple[Scent, ...] | None) -> None:
        self.devices.find(name, self.now)
        self.strangers.discard(name)
        for (seat, slot), source in list(self.sources.items()):
            last = self.devices.last(seat, slot)
            if seat == name and last is not None:
                self.air[seat].append((source, last.closes_ms))
                del self.sources[seat, slot]
        slots = None if brought is None else [Slot(n, s) for n, s in enumerate(brought)]
        with self.deciding():
            assert self.zone.take_place(name, slots, self.now)
        self.goggles[name] = brought

    @rule(name=names)
    def goggles_leave(self, name: SeatId) -> None:
        if name in self.goggles:
            self.devices.lose(name)
            del self.goggles[name]
        with self.deciding():
            self.zone.leave_place(name, self.now)

    # Restarts

    @rule()
    def what_was_had_is_written_down(self) -> None:
        self.written.update(self.zone.take_doses())
        self.written_through = self.now

    @rule(suddenly=st.booleans())
    def the_zone_restarts(self, suddenly: bool) -> None:
        """The zone starts anew from what is on disk; each dispenser hears first to stop all."""
        if not suddenly or {seat for seat, _ in self.sources} - set(ROW):
            # What goggles had in a time that nobody wrote down is not presumed in full.
            self.what_was_had_is_written_down()
        former, self.zone = (
            self.zone,
            Zone(
                ZoneId("A"),
                [*self.row(), *(self.seat_of(name) for name in self.goggles)],
                self.limits,
                panicked=self.zone.panicked,
                revision=self.zone.revision,
            ),
        )
        used: dict[SeatId, dict[int, int]] = defaultdict(dict)
        for (seat, second), dose in self.written.items():
            if second >= int(self.now // 1000) - 3600:
                used[seat][second] = dose
        self.zone.restore(used, self.now)
        self.zone.presume(self.written_through, self.now, self.now)
        self.what_was_had_is_written_down()
        for seat in [*ROW, *self.goggles]:
            self.devices.find(seat, self.now)
        with self.deciding():
            self.zone.restarted(self.now)
        assert former.panicked == self.zone.panicked
        # A zone that starts knows no cue, no level, no stop and no owner who is away, nor what is
        # in the air; whoever sends a cue again is known to the session.
        self.forbidden |= self.cues.keys()
        self.cues.clear()
        self.answers.clear()
        self.states.clear()
        self.stops.clear()
        self.away.clear()
        self.air.clear()
        self.sources.clear()
        self.strangers = set(self.devices.deaf)
        self.first_breath = len(self.devices.breaths)

    def seat_of(self, name: SeatId) -> Seat:
        brought = self.goggles[name]
        slots = [Slot(n, scent) for n, scent in enumerate(brought or ())]
        return Seat(name, slots, self.limits, anything=brought is None)

    # What is so at all times

    @contextmanager
    def deciding(
        self, *, levels_of: OwnerId | None = None
    ) -> Iterator[Mapping[CueKey, set[SeatId]]]:
        """Carry out what is decided meanwhile, and hold it to what was promised."""
        yield {key: set(seats) for key, seats in self.sprayed.items()}
        effects = self.zone.take_effects()
        released: dict[CueKey, set[SeatId]] = defaultdict(set)
        for order in effects.orders:
            if isinstance(order, Release):
                assert not self.zone.panicked
                self.check_release(order, levels_of)
                if order.spray.cue is not None:
                    released[order.spray.cue].update(order.seats)
            self.devices.obey([order], self.now)
        for key, at in released.items():
            assert not self.sprayed[key] & at
            self.sprayed[key] |= at
        self.check_events(effects.events, released)

    def check_release(self, order: Release, levels_of: OwnerId | None) -> None:
        spray = order.spray
        for id in order.seats:
            seat = self.zone.seat(id)
            assert seat is not None
            assert id not in self.devices.deaf
            scent = seat.slots[spray.slot].scent
            last = self.devices.last(id, spray.slot)
            before = self.sources.get((id, spray.slot))
            runs = last is not None and last.closes_ms > self.now + ROUNDING_MS
            if spray.cue is not None:
                cue = self.cues[spray.cue]
                source = Source(scent, cue.key.owner, cue.priority, is_level=False)
                self.check_cue(cue, order)
                if not cue.mix:
                    self.check_cleared(id, source)
            else:
                owner = levels_of
                if owner is None or (before is not None and runs and before.is_level):
                    assert before is not None
                    owner = before.owner
                source = Source(scent, owner, -1, is_level=True)
                assert owner not in self.away
                if not runs:
                    self.check_cleared(id, source)
            if runs and before is not None and before != source:
                assert before.priority < source.priority
            self.sources[id, spray.slot] = source

    def check_cue(self, cue: Cue, order: Release) -> None:
        assert (order.spray.intensity, order.spray.duration_ms) == (
            cue.intensity,
            cue.duration_ms,
        )
        assert cue.due_ms <= self.now <= cue.due_ms + cue.ttl_ms
        assert cue.key not in self.forbidden
        assert cue.key.owner not in self.away
        assert cue.seats is None or set(order.seats) <= set(cue.seats)
        for asked_ms, owner, seats in self.stops:
            if asked_ms >= cue.asked_ms and owner in (None, cue.key.owner):
                assert seats is not None
                assert not set(seats) & set(order.seats)

    def check_cleared(self, seat: SeatId, source: Source) -> None:
        """No other scent is or was there too recently, but for levels of the same owner."""
        others = list(self.air[seat])
        for (id, slot), other in self.sources.items():
            last = self.devices.last(id, slot)
            if id == seat and last is not None:
                others.append((other, last.closes_ms))
        for other, closes_ms in others:
            together = source.is_level and other.is_level and source.owner == other.owner
            if other.scent != source.scent and not together:
                assert closes_ms + self.limits.clearing_ms <= self.now + ROUNDING_MS

    def check_events(self, events: Sequence[Event], released: Mapping[CueKey, set[SeatId]]) -> None:
        everybody = {seat.id for seat in self.zone.seats}
        for event in events:
            if isinstance(event, PublicEvent):
                self.revision += 1
                assert event.revision == self.revision
            match event:
                case ScentReleased(cue=key, seats=at):
                    assert released[key] == (everybody if at is None else set(at))
                case ScentEnded(cue=key, seats=at):
                    places = everybody if at is None else set(at)
                    assert places <= self.sprayed[key]
                    assert not places & self.ended[key]
                    self.ended[key] |= places
                case CueDispatched(cue=key, targets=targets):
                    assert targets == len(released.get(key, ()))
                case LevelChanged(level=key, state=state):
                    assert state != self.states.get(key)
                    self.states[key] = state
                case _:
                    pass

    @invariant()
    def what_the_zone_believes_open_is_open(self) -> None:
        believed = {
            (seat.id, slot.number): slot.run.intensity
            for seat in self.known([*ROW, ANN, BOB])
            for slot in seat.slots
            if slot.run is not None and slot.until_ms > self.now + ROUNDING_MS
        }
        really = {
            (b.seat, b.slot): b.intensity
            for b in self.devices.open(self.now).values()
            if b.closes_ms > self.now + ROUNDING_MS and b.seat not in self.strangers
        }
        assert believed == really

    @invariant()
    def a_vial_has_given_what_came_out_of_its_slot(self) -> None:
        given_s: dict[SeatId, float] = dict.fromkeys(ROW, 0.0)
        for breath in self.devices.breaths[self.first_breath :]:
            if breath.slot == 0 and breath.seat in ROW:
                given_s[breath.seat] += breath.dose_s(breath.opened_ms, breath.closes_ms)
        for seat in self.known(list(ROW)):
            vial = seat.slots[0].vial
            assert vial is not None
            assert 0 <= vial.left_us <= VIAL_US
            rounding_us = len(self.devices.breaths)
            assert VIAL_US - vial.left_us == pytest.approx(
                given_s[seat.id] * US_PER_S, abs=1 + rounding_us
            )

    @invariant()
    def the_revision_is_that_of_the_last_event(self) -> None:
        assert self.zone.revision == self.revision

    def teardown(self) -> None:
        """Whatever happened: no seat ever got more than its limits."""
        if hasattr(self, "devices"):
            for seat in {breath.seat for breath in self.devices.breaths}:
                breaths = self.devices.of(seat)
                for limit_us, span_ms in [
                    (self.limits.dose_per_minute_us, 60_000.0),
                    (self.limits.dose_per_hour_us, 3_600_000.0),
                ]:
                    rounding_s = 1e-6 * len(breaths)
                    assert most_s(breaths, span_ms) <= limit_us / US_PER_S + rounding_s

    # What can be seen from outside

    def known(self, ids: Sequence[SeatId]) -> list[Seat]:
        return [seat for id in ids if (seat := self.zone.seat(id)) is not None]

    def waiting(self) -> set[CueKey]:
        return {key for key in self.cues if self.zone.waits(key)}

    def reachable(self) -> list[Breath]:
        """Return what is open where a stop can be heard."""
        return [b for b in self.devices.open(self.now).values() if b.seat not in self.devices.deaf]

    def heard_now(self, *, levels_alone: bool = False) -> set[OwnerId]:
        """Return whose scents are being released where a stop can be heard."""
        sources = [self.sources[b.seat, b.slot] for b in self.reachable()]
        return {source.owner for source in sources if source.is_level or not levels_alone}


def most_s(breaths: Sequence[Breath], span_ms: float) -> float:
    """Return the most dose-seconds that any window of this span holds.

    The dose of a window that slides is greatest where it begins with a breath or ends with one.
    """
    starts = {b.opened_ms for b in breaths} | {b.closes_ms - span_ms for b in breaths}
    return max(sum(b.dose_s(start, start + span_ms) for b in breaths) for start in starts)


@pytest.mark.soak
def test_no_history_breaks_a_promise() -> None:
    run_state_machine_as_test(
        Histories, settings=settings(settings.default, stateful_step_count=60)
    )

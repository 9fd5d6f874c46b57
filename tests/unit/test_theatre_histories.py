"""Whatever is asked of a zone, in whatever order and at whatever times, it keeps its promises."""

from collections import defaultdict
from dataclasses import dataclass

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
)
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.seat_settings import MOST_DELAY_MS, MOST_GAIN, SeatChange
from scentrt.domain.seats import Seat, Slot, Vial
from tests.unit.bookkeeper import Bookkeeper
from tests.unit.promises import Promises
from tests.unit.venue import A1, A2, A3, FILM, GAME, NOON, PINE, SEA, TAR, limits

ANN, BOB = SeatId("ann"), SeatId("bob")
ROW = {A1: (SEA, PINE), A2: (PINE, SEA, SEA), A3: (SEA, TAR)}
"""The seats of the row and their slots; the first slot of each has a vial."""

VIAL_US = 8 * US_PER_S
OF_VIALS = Sku("IN-VIALS")

owners = st.sampled_from([GAME, FILM])
scents = st.sampled_from([SEA, SEA, PINE, TAR])
names = st.sampled_from([ANN, BOB])
some_seats = st.lists(
    st.sampled_from([A1, A2, A3, ANN, BOB, SeatId("nobody")]), unique=True, max_size=3
).map(tuple)
seats = st.none() | some_seats
intensities = st.sampled_from([0.1, 0.5, 1.0, 1.0]) | st.floats(0.001, 1)
delays = st.sampled_from([0.0] * 6 + [1.0, 20.0, 5_000.0])
"""How long something was under way from whoever asked for it."""

spans = st.one_of(
    st.sampled_from([0.0, 1.0, 16.0, 250.0, 500.0, 1_000.0, 2_000.0]),
    st.floats(0, 3_000),
    st.sampled_from([10_000.0, 30_000.0, 59_000.0, 61_000.0, 600_000.0, 3_540_000.0]),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A cue as it will be asked for, relative to the moment when it comes."""

    owner: OwnerId
    scent: Scent
    intensity: float
    duration_ms: float
    delay_ms: float
    wait_ms: float
    ttl_ms: float
    to: tuple[SeatId, ...] | None
    priority: int
    mix: bool


cues = st.builds(
    Asked,
    owner=owners,
    scent=scents,
    intensity=intensities,
    duration_ms=st.sampled_from([100.0, 500.0, 1_000.0, 3_000.0]) | st.floats(1, 10_000),
    delay_ms=delays,
    wait_ms=st.sampled_from([0.0] * 5 + [-100.0, 50.0, 1_000.0]) | st.floats(-1_000, 20_000),
    ttl_ms=st.sampled_from([1.0, 500.0, 5_000.0, 60_000.0]),
    to=seats,
    priority=st.integers(0, 9),
    mix=st.booleans(),
)

changes = st.builds(
    SeatChange,
    opted_out=st.sampled_from([None, None, False, True]),
    averse_to=st.none() | st.frozensets(st.sampled_from([SEA, PINE]), max_size=2),
    gain=st.none() | st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.01, MOST_GAIN),
    delay_ms=st.none() | st.sampled_from([0.0, 1.0, 400.0, MOST_DELAY_MS]),
)

while_calm = precondition(lambda self: not self.it.zone.panicked)


class Histories(RuleBasedStateMachine):
    """A zone with a row of seats and places for goggles, and everything that is asked of it."""

    @initialize(
        minute_s=st.sampled_from([2, 6, 20]),
        hour_s=st.sampled_from([4, 30, 300]),
        clearing_ms=st.sampled_from([0, 500, 2_000]),
    )
    def open(self, minute_s: float, hour_s: float, clearing_ms: float) -> None:
        self.limits = limits(minute_s=minute_s, hour_s=hour_s, clearing_ms=clearing_ms)
        self.it = Promises(self.row(), self.limits, NOON)
        self.books = Bookkeeper(self.it)
        self.numbers = 0
        self.goggles: dict[SeatId, tuple[Scent, ...] | None] = {}
        # What is on disk, and up to when it is complete.
        self.written: dict[tuple[SeatId, int], int] = {}
        self.written_through = NOON
        # Since the last restart: goggles of which the zone knows nothing, and the first breath.
        self.strangers: set[SeatId] = set()
        self.first_breath = 0

    def row(self) -> list[Seat]:
        row = []
        for id, carried in ROW.items():
            seat = Seat(id, [Slot(n, scent) for n, scent in enumerate(carried)], self.limits)
            seat.slots[0].vial = Vial(VIAL_US, OF_VIALS, BatchRef("batch"))
            row.append(seat)
        return row

    def seat_of(self, name: SeatId) -> Seat:
        brought = self.goggles[name]
        slots = [Slot(n, scent) for n, scent in enumerate(brought or ())]
        return Seat(name, slots, self.limits, anything=brought is None)

    # Time

    @rule(span=spans, on_time=st.booleans())
    def time_passes(self, span: float, on_time: bool) -> None:
        """Time passes, and the zone wakes whenever it wanted to, or not before the end."""
        it = self.it
        end = it.now + span
        while on_time and it.zone.next_ms <= end:
            it.now = max(it.now, it.zone.next_ms)
            self.advance()
        it.now = end
        self.advance()

    def advance(self) -> None:
        with self.it.deciding():
            self.it.zone.advance(self.it.now)
        assert self.it.zone.next_ms > self.it.now

    # Cues and levels

    @rule(show=st.lists(st.tuples(cues, spans), min_size=1, max_size=6))
    def cues_come_one_after_the_other(self, show: list[tuple[Asked, float]]) -> None:
        for asked, span in show:
            self.it.accept(self.cue(asked))
            self.time_passes(span, on_time=True)

    @rule(asked=st.lists(cues, min_size=1, max_size=4))
    def cues_come_at_once(self, asked: list[Asked]) -> None:
        for one in asked:
            self.it.accept(self.cue(one))

    @rule(asked=cues, seat=st.sampled_from(sorted(ROW)))
    def a_dispenser_does_not_take_a_cue(self, asked: Asked, seat: SeatId) -> None:
        self.it.devices.jammed.add(seat)
        self.it.accept(self.cue(asked))
        self.it.devices.jammed.clear()

    @rule(asked=cues)
    def a_cancel_overtakes_its_cue(self, asked: Asked) -> None:
        cue = self.cue(asked)
        self.it.cancel(cue.key)
        self.it.accept(cue)

    @precondition(lambda self: self.it.cues)
    @rule(which=st.integers(0, 20))
    def a_cue_comes_again(self, which: int) -> None:
        self.it.accept(self.recent(which))

    @precondition(lambda self: self.it.cues)
    @rule(which=st.integers(0, 20))
    def a_cue_is_cancelled(self, which: int) -> None:
        self.it.cancel(self.recent(which).key)

    @rule(
        owner=owners,
        scent=scents,
        whom=st.sampled_from([EVERYWHERE, Target(seats=(A2,)), Target(goggles=(ANN,))]),
        values=st.lists(st.just(0.0) | intensities, min_size=1, max_size=4),
        delay_ms=delays,
        ttl_ms=st.sampled_from([50.0, 500.0, 3_000.0]) | st.floats(1, 20_000),
        frame_ms=st.sampled_from([0.0, 16.0, 300.0]),
    )
    def a_level_comes_frame_by_frame(
        self,
        owner: OwnerId,
        scent: Scent,
        whom: Target,
        values: list[float],
        delay_ms: float,
        ttl_ms: float,
        frame_ms: float,
    ) -> None:
        it = self.it
        key = LevelKey(owner, scent, whom)
        for intensity in values:
            level = Level(
                key, intensity, it.now - delay_ms, ttl_ms, whom.seats or whom.goggles or None
            )
            it.hold(level)
            it.now += frame_ms

    def cue(self, asked: Asked) -> Cue:
        self.numbers += 1
        return Cue(
            key=CueKey(asked.owner, self.numbers),
            scent=asked.scent,
            intensity=asked.intensity,
            duration_ms=asked.duration_ms,
            due_ms=self.it.now + asked.wait_ms,
            ttl_ms=asked.ttl_ms,
            asked_ms=self.it.now - asked.delay_ms,
            seats=asked.to,
            priority=asked.priority,
            mix=asked.mix,
        )

    def recent(self, which: int) -> Cue:
        return list(self.it.cues.values())[-1 - which % len(self.it.cues)]

    # Stops and owners

    @while_calm
    @rule(owner=st.none() | owners, to=seats, delay_ms=delays)
    def a_stop_comes(
        self, owner: OwnerId | None, to: tuple[SeatId, ...] | None, delay_ms: float
    ) -> None:
        self.it.stop(owner, to, self.it.now - delay_ms)

    @while_calm
    @rule(vain=st.lists(cues, max_size=2))
    def there_is_a_panic(self, vain: list[Asked]) -> None:
        self.it.panic()
        self.cues_come_at_once(vain)

    @precondition(lambda self: self.it.zone.panicked)
    @rule()
    def the_panic_is_over(self) -> None:
        with self.it.deciding():
            self.it.zone.release(self.it.now)

    @while_calm
    @precondition(lambda self: not self.it.away)
    @rule(owner=owners)
    def an_owner_is_gone(self, owner: OwnerId) -> None:
        self.it.hush(owner)

    @precondition(lambda self: self.it.away)
    @rule(owner=owners)
    def an_owner_is_back(self, owner: OwnerId) -> None:
        self.it.welcome_back(owner)

    @while_calm
    @rule(owner=owners)
    def an_owner_is_forgotten(self, owner: OwnerId) -> None:
        self.it.forget(owner)

    # Seats

    @rule(seat=st.sampled_from([*ROW, *ROW, ANN, BOB]), change=changes)
    def a_seat_is_set(self, seat: SeatId, change: SeatChange) -> None:
        self.it.set_seat(seat, change)

    @rule(change=changes, show=st.lists(st.tuples(cues, spans), min_size=1, max_size=4))
    def all_seats_are_set_and_cues_come(
        self, change: SeatChange, show: list[tuple[Asked, float]]
    ) -> None:
        for seat in ROW:
            self.it.set_seat(seat, change)
        self.cues_come_one_after_the_other(show)

    # Dispensers

    @while_calm
    @precondition(lambda self: not self.it.devices.deaf.intersection(ROW))
    @rule(seat=st.sampled_from(sorted(ROW)))
    def a_link_breaks(self, seat: SeatId) -> None:
        self.it.lose(seat)
        with self.it.deciding():
            self.it.zone.connect(seat, self.it.now, online=False)

    @precondition(lambda self: self.it.devices.deaf.intersection(ROW))
    @rule()
    def the_link_is_there_again(self) -> None:
        for seat in self.it.devices.deaf.intersection(ROW):
            self.it.devices.find(seat, self.it.now)
            with self.it.deciding():
                self.it.zone.connect(seat, self.it.now, online=True)

    @while_calm
    @rule(name=names, brought=st.sampled_from([None, (SEA,), (PINE, SEA), (TAR, TAR)]))
    def goggles_come(self, name: SeatId, brought: tuple[Scent, ...] | None) -> None:
        it = self.it
        it.devices.find(name, it.now)
        it.replace_dispenser(name)
        slots = None if brought is None else [Slot(n, s) for n, s in enumerate(brought)]
        with it.deciding():
            assert it.zone.take_place(name, slots, it.now)
        self.goggles[name] = brought
        self.strangers.discard(name)

    @while_calm
    @precondition(lambda self: self.goggles)
    @rule(name=names)
    def goggles_leave(self, name: SeatId) -> None:
        if self.goggles.pop(name, ()) != ():
            self.it.lose(name)
        with self.it.deciding():
            self.it.zone.leave_place(name, self.it.now)

    # Restarts

    @rule()
    def what_was_had_is_written_down(self) -> None:
        self.written.update(self.it.zone.take_doses(self.it.now))
        self.written_through = self.it.now

    @rule(suddenly=st.booleans())
    def the_zone_restarts(self, suddenly: bool) -> None:
        """The zone starts anew from what is on disk; each dispenser hears first to stop all."""
        it = self.it
        if not suddenly or not it.devices.seats() <= ROW.keys():
            # What goggles had in a time that nobody wrote down is not presumed in full.
            self.what_was_had_is_written_down()
        it.restart([*self.row(), *map(self.seat_of, self.goggles)])
        used: dict[SeatId, dict[int, int]] = defaultdict(dict)
        for (seat, second), dose in self.written.items():
            if second >= int(it.now // 1000) - 3600:
                used[seat][second] = dose
        it.zone.restore(used, it.now)
        it.zone.presume(self.written_through, it.now, it.now)
        self.what_was_had_is_written_down()
        for seat in [*ROW, *self.goggles]:
            it.devices.find(seat, it.now)
        with it.deciding():
            it.zone.restarted(it.now)
        self.strangers = set(it.devices.deaf)
        self.first_breath = len(it.devices.breaths)
        self.books = Bookkeeper(it)

    @rule()
    def the_journal_is_held_against_what_came_out(self) -> None:
        self.books.judge_cues()
        self.books.judge_levels()

    # What is so at all times

    @invariant()
    def what_the_zone_believes_open_is_open(self) -> None:
        self.it.judge_what_is_open(but_for=self.strangers)

    @invariant()
    def a_vial_has_given_what_came_out_of_its_slot(self) -> None:
        given_s = dict.fromkeys(ROW, 0.0)
        breaths = self.it.devices.breaths[self.first_breath :]
        for breath in breaths:
            if breath.slot == 0 and breath.seat in ROW:
                given_s[breath.seat] += breath.dose_s(breath.opened_ms, breath.closes_ms)
        for seat in self.it.known(ROW):
            slot = seat.slots[0]
            assert slot.vial is not None
            assert 0 <= slot.vial.left_us <= VIAL_US
            left_us = slot.vial.left_us
            if slot.is_kept:
                left_us += slot.unreleased_us(self.it.now)
            assert abs(VIAL_US - left_us - given_s[seat.id] * US_PER_S) <= 1 + len(breaths)

    @invariant()
    def the_journal_says_what_is_gone_from_the_vials(self) -> None:
        places = [(seat, seat.slots[0]) for seat in self.it.known(ROW)]
        self.books.judge_vials(OF_VIALS, places, VIAL_US)

    def teardown(self) -> None:
        if hasattr(self, "it"):
            self.time_passes(MOST_DELAY_MS, on_time=True)
            self.it.judge_what_was_to_come()
            self.the_journal_is_held_against_what_came_out()
            self.it.judge_doses()


@pytest.mark.soak
def test_no_history_breaks_a_promise() -> None:
    run_state_machine_as_test(Histories, settings=settings(stateful_step_count=40))

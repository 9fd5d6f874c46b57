"""After a crash at any moment, a vial holds what was last handed on, and no decision is half told.

The zone, its vial book and the disk beside it, without tasks: what is between them fails at will.
"""

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

from scentrt.actors.vial_book import VialBook, ZoneVials
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.layout import ZonePlan
from scentrt.domain.theatre import Zone
from scentrt.domain.vials import DEFAULT_LOW, Place, ScentSupply, SeatedVial, VialId
from tests.unit.venue import A1, A2, NOON, PINE, SEA, Venue, key, limits
from tests.vials import CATALOGUE, seated

ZONE = ZoneId("A")
GENEROUS = limits(minute_s=1_000_000, hour_s=1_000_000, clearing_ms=0)
PLACES = [(A1, 0), (A1, 2), (A2, 0)]
spans = st.sampled_from([0.0, 1.0, 40.0, 500.0, 1_000.0, 3_000.0])
durations = st.sampled_from([1.0, 100.0, 1_000.0, 4_000.0, 10_000.0])
intensities = st.sampled_from([0.001, 0.3, 1.0])


class Crashes(RuleBasedStateMachine):
    """A zone with vials that soon run low, and whatever may become of what it writes down."""

    @initialize(left_s=st.sampled_from([1.0, 5.0, 20.0]))
    def open(self, left_s: float) -> None:
        self.disk = {
            VialId(n): seated(n, seat, slot, left_s=left_s, capacity_s=20.0)
            for n, (seat, slot) in enumerate(PLACES)
        }
        self.ids = len(self.disk)
        self.cues = 0
        self.book = VialBook(ZONE)
        self.in_flight: ZoneVials | None = None
        self.reopen(list(self.disk.values()), NOON)
        # What each vial held when it was last handed on, and when that last got to the disk.
        self.recorded = self.levels()
        self.landed = dict(self.recorded)

    def reopen(self, vials: list[SeatedVial], now_ms: float) -> None:
        seats = ZonePlan(ZONE, 1, 2, (SEA, PINE, SEA)).seats(GENEROUS, online=True)
        zone = Zone(ZONE, seats, GENEROUS, catalogue=CATALOGUE)
        assert zone.rack.restore(vials, now_ms) == 0
        self.venue = Venue(zone=zone)
        self.venue.now = now_ms - NOON

    def levels(self) -> dict[VialId, int]:
        """Return what the zone has decided to be left in each vial."""
        return {
            slot.vial.id: slot.vial.left_us
            for seat in self.venue.zone.seats
            for slot in seat.slots
            if slot.vial is not None and slot.vial.id is not None
        }

    # What is asked

    @rule(span=spans)
    def time_passes(self, span: float) -> None:
        self.venue.at(self.venue.now + span)

    @rule(intensity=intensities, lasts=durations, mix=st.booleans(), priority=st.integers(0, 9))
    def a_cue_comes(self, intensity: float, lasts: float, mix: bool, priority: int) -> None:
        self.cues += 1
        self.venue.cue(self.cues, intensity=intensity, lasts=lasts, mix=mix, priority=priority)

    @rule(intensity=intensities, ttl=durations)
    def a_level_comes(self, intensity: float, ttl: float) -> None:
        self.venue.level(intensity, ttl=ttl)

    @rule()
    def all_is_stopped(self) -> None:
        self.venue.stop()

    @precondition(lambda self: self.cues)
    @rule(which=st.integers(0, 5), seats=st.sampled_from([(A1,), (A1, A2)]))
    def a_cue_was_not_told(self, which: int, seats: tuple[SeatId, ...]) -> None:
        """Also one that was stopped, displaced, heard of twice or never there."""
        with self.venue.acting():
            self.venue.zone.give_back(key(self.cues - which), seats, self.venue.clock)

    @rule(online=st.booleans())
    def a_link_comes_or_goes(self, online: bool) -> None:
        self.venue.connect(A1, online=online)

    # Vials; the stock's transaction comes after they were taken out and before they are put in

    @rule(at=st.sampled_from(PLACES), left_s=st.sampled_from([0.5, 20.0]))
    def a_vial_is_changed(self, at: tuple[SeatId, int], left_s: float) -> None:
        before = self.levels()
        with self.venue.acting():
            taken = self.venue.zone.take_vials([Place(ZONE, *at)], self.venue.clock)
        for vial in taken:
            assert 0 <= vial.left_us <= vial.capacity_us
            assert vial.left_us >= before[vial.id]
            del self.disk[vial.id], self.recorded[vial.id], self.landed[vial.id]
        new = seated(self.ids, *at, left_s=left_s, capacity_s=20.0)
        self.ids += 1
        self.disk[new.id] = new
        with self.venue.acting():
            self.venue.zone.put_vials([new], self.venue.clock)
        assert self.levels()[new.id] == new.left_us
        self.recorded[new.id] = self.landed[new.id] = new.left_us

    # What becomes of what is written down

    @rule()
    def a_second_is_over(self) -> None:
        self.book.record(self.venue.zone.rack.take_levels(), (), now=0.0)
        self.recorded = self.levels()

    @precondition(lambda self: self.in_flight is None and self.book.waits)
    @rule()
    def a_commit_begins(self) -> None:
        self.in_flight = self.book.take(1_000, now=0.0)

    @precondition(lambda self: self.in_flight is not None)
    @rule(lands=st.booleans())
    def it_ends(self, lands: bool) -> None:
        if lands:
            self.land()
        self.in_flight = None

    def land(self) -> None:
        assert self.in_flight is not None
        for level in self.in_flight.levels:
            vial = self.disk.get(level.id)
            if vial is not None:
                assert vial.place == level.place
                self.disk[level.id] = vial.with_left(level.left_us)
                self.landed[level.id] = level.left_us
        self.book.stored(self.in_flight)

    @rule()
    def the_zone_crashes(self) -> None:
        self.reopen(list(self.book.laid_over(self.disk.values())), self.venue.clock)
        assert self.levels() == self.recorded

    @rule(landed=st.booleans())
    def the_server_dies(self, landed: bool) -> None:
        if landed and self.in_flight is not None:
            self.land()
        self.in_flight, self.book = None, VialBook(ZONE)
        self.reopen(list(self.disk.values()), self.venue.clock)
        assert self.levels() == self.landed
        self.recorded = dict(self.landed)

    # What is so at all times

    @invariant()
    def a_vial_holds_something_that_it_can_hold(self) -> None:
        for seat in self.venue.zone.seats:
            for slot in seat.slots:
                left_us = slot.left_us(self.venue.clock)
                if slot.vial is not None and left_us is not None:
                    assert slot.vial.capacity_us is not None
                    assert 0 <= slot.vial.left_us <= left_us <= slot.vial.capacity_us

    @invariant()
    def the_supply_is_what_is_in_the_vials(self) -> None:
        now_ms = self.venue.clock
        expected = []
        for scent in sorted((SEA, PINE)):
            vials = [
                (left_us, slot.vial.capacity_us, slot.vial.id)
                for seat in self.venue.zone.seats
                for slot in seat.slots
                if slot.scent == scent and slot.vial is not None
                if (left_us := slot.left_us(now_ms)) is not None
                if slot.vial.capacity_us is not None and slot.vial.id is not None
            ]
            if vials:
                left_us, capacity_us = (
                    sum(left for left, _, _ in vials),
                    sum(c for _, c, _ in vials),
                )
                low = sum(left < DEFAULT_LOW * capacity for left, capacity, _ in vials)
                ids = frozenset(id for _, _, id in vials)
                expected.append(ScentSupply(scent, left_us, capacity_us, ids, low))
        assert self.venue.zone.rack.supply(now_ms) == tuple(expected)

    @invariant()
    def the_stock_and_the_zone_know_of_the_same_vials(self) -> None:
        assert self.levels().keys() == self.disk.keys()


def test_no_crash_makes_a_vial_hold_more_or_less_than_what_was_handed_on() -> None:
    run_state_machine_as_test(Crashes, settings=settings(max_examples=100, stateful_step_count=40))

"""Vials come and go, run low and are doubted; whoever looks on is told, and no dose is lost."""

import pytest

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.events import Change, Ended, LevelChanged, ScentEnded, ZoneChanged
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import Place, ScentSupply, SeatedVial, VialId
from tests.unit.venue import A1, A2, A3, PINE, SEA, TAR, Venue, key, skipped, targets
from tests.vials import seated


def vial(
    id: int = 1,
    seat: SeatId = A1,
    slot: int = 0,
    *,
    left_s: float = 100,
    capacity_s: float = 100,
    sku: str = "SEABREEZE",
) -> SeatedVial:
    return seated(id, seat, slot, left_s=left_s, capacity_s=capacity_s, sku=sku)


def put(venue: Venue, *vials: SeatedVial) -> None:
    with venue.acting():
        venue.zone.put_vials(vials, venue.clock)


def take(venue: Venue, *places: tuple[SeatId, int]) -> tuple[SeatedVial, ...]:
    with venue.acting():
        return venue.zone.take_vials([Place(ZoneId("A"), *at) for at in places], venue.clock)


def hear(venue: Venue, left_s: float | None, seat: SeatId = A1) -> None:
    """Let a device say what is left in its first slot."""
    with venue.acting():
        heard = {} if left_s is None else {0: round(left_s * US_PER_S)}
        venue.zone.hear_slots(seat, heard, venue.clock)


def changes(venue: Venue) -> list[tuple[Change, SeatId | None, Scent | None]]:
    return [(each.change, each.seat, each.scent) for each in venue.heard(ZoneChanged)]


def left_s(venue: Venue, seat: SeatId = A1, slot: int = 0) -> float | None:
    """Return what is in a vial at this moment."""
    left_us = venue.seat(seat).slots[slot].left_us(venue.clock)
    return None if left_us is None else left_us / US_PER_S


def stored_s(venue: Venue) -> list[float]:
    """Return the levels that are to be written, in dose-seconds."""
    return [level.left_us / US_PER_S for level in venue.zone.rack.take_levels()]


class TestComingAndGoing:
    def test_vials_that_are_put_in_are_told_of_by_scent(self) -> None:
        venue = Venue(SEA, PINE, seats=2)
        put(venue, vial(1), vial(2, A2), vial(3, A2, 1, sku="PINE"))
        assert changes(venue) == [
            (Change.VIALS_LOADED, None, SEA),
            (Change.VIALS_LOADED, A2, PINE),
        ]
        slot = venue.seat().slots[0]
        assert slot.vial is not None
        assert (slot.vial.id, slot.vial.sku, slot.vial.batchref) == (1, "SEABREEZE", "b-1")
        assert venue.seat().slots[1].vial is None

    def test_a_vial_that_stands_there_already_is_left_alone(self) -> None:
        venue = Venue(SEA)
        put(venue, vial())
        venue.cue(lasts=1_000)
        changes(venue)
        put(venue, vial())
        venue.at(1_000)
        assert changes(venue) == []
        assert left_s(venue) == 99
        assert not venue.heard(ScentEnded)

    def test_a_vial_that_has_no_place_here_is_left_out(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(1, SeatId("A-9-9")), vial(2, A1, 7), vial(3))
        assert left_s(venue) == 100
        assert [supply.vials for supply in venue.zone.rack.supply(venue.clock)] == [{3}]

    def test_what_is_taken_out_is_what_is_left_and_the_slot_never_runs_empty_then(self) -> None:
        venue = Venue(SEA, seats=2)
        put(venue, vial(1, left_s=3), vial(2, A2))
        venue.cue(1, lasts=2_500)
        venue.at(3_000)
        changes(venue)
        [taken] = take(venue, (A1, 0), (A3, 0), (A1, 5))
        assert taken == vial(1, left_s=0.5)
        assert changes(venue) == [(Change.VIALS_UNLOADED, A1, SEA)]
        assert targets(venue.cue(2, lasts=2_500)) == 2
        assert left_s(venue) is None
        assert take(venue, (A1, 0)) == ()

    def test_taking_a_vial_closes_its_slot_and_keeps_what_was_not_released(self) -> None:
        venue = Venue(SEA, seats=2)
        put(venue, vial(1), vial(2, A2))
        venue.cue(lasts=4_000)
        venue.at(1_000)
        [taken] = take(venue, (A1, 0))
        assert taken.left_us == 99 * US_PER_S
        assert venue.open() == {(A2, 0): 1.0}
        [ended] = venue.heard(ScentEnded)
        assert (ended.seats, ended.reason) == ((A1,), Ended.VIAL_CHANGED)
        venue.stop()
        assert venue.seat().slots[0].vial is None
        assert left_s(venue, A2) == 99

    def test_a_vial_that_comes_while_its_slot_is_open_does_not_pay_for_that(self) -> None:
        venue = Venue(SEA)
        venue.cue(1, lasts=4_000)
        venue.at(1_000)
        put(venue, vial(left_s=10, capacity_s=10))
        assert venue.open() == {}
        venue.stop()
        assert left_s(venue) == 10

    @pytest.mark.parametrize("ends", ["comes back", "is stopped"])
    def test_a_vial_that_is_changed_at_a_seat_that_is_away_gets_nothing_of_the_formers(
        self, ends: str
    ) -> None:
        venue = Venue(SEA)
        put(venue, vial(1))
        venue.cue(1, lasts=8_000)
        venue.at(1_000)
        venue.connect(A1, online=False)
        [taken] = take(venue, (A1, 0))
        assert taken.left_us == 92 * US_PER_S  # it goes on to its end, for all that we know
        put(venue, vial(2, left_s=50))
        venue.at(2_000)
        if ends == "comes back":
            venue.connect(A1, online=True)
        venue.stop()
        assert left_s(venue) == 50

    def test_a_level_goes_on_with_the_next_vial(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(1))
        venue.level(0.5)
        venue.at(100)
        assert [each.left_us for each in take(venue, (A1, 0))] == [100 * US_PER_S - 50_000]
        assert venue.open() == {}
        put(venue, vial(2, left_s=20))
        venue.level(0.5)
        assert venue.open() == {(A1, 0): 0.5}
        venue.at(700)
        assert [change.state for change in venue.heard(LevelChanged)] == ["active", "ended"]
        assert left_s(venue) == 20 - 0.25

    def test_where_the_stock_says_another_vial_stands_it_stands(self) -> None:
        venue = Venue(SEA, SEA)
        put(venue, vial(1), vial(2, A1, 1))
        put(venue, vial(1, A1, 1, left_s=7))
        assert (left_s(venue), left_s(venue, slot=1)) == (None, 7)
        [supply] = venue.zone.rack.supply(venue.clock)
        assert supply.vials == {1}


class TestScents:
    def test_a_slot_smells_of_the_vial_that_stands_in_it(self) -> None:
        venue = Venue(PINE, SEA)
        put(venue, vial())
        assert skipped(venue.cue(1, PINE)) == {"no-such-scent": 1}
        assert targets(venue.cue(2, SEA)) == 1
        assert venue.open() == {(A1, 0): 1.0}, "the slot without a vial is a hole"
        assert changes(venue) == [(Change.VIALS_LOADED, A1, SEA)]
        assert [supply.scent for supply in venue.zone.rack.supply(venue.clock)] == [SEA]

    def test_whoever_is_averse_to_what_the_vial_holds_is_left_in_peace(self) -> None:
        venue = Venue(PINE)
        put(venue, vial())
        with venue.acting():
            venue.zone.set_seat(A1, SeatChange(averse_to=frozenset({SEA})), venue.clock)
        assert skipped(venue.cue(1, SEA)) == {"opted-out": 1}

    def test_an_unloaded_slot_has_its_planned_scent_again(self) -> None:
        venue = Venue(PINE)
        put(venue, vial())
        take(venue, (A1, 0))
        assert [targets(venue.cue(1, PINE)), skipped(venue.cue(2, SEA))] == [
            1,
            {"no-such-scent": 1},
        ]
        assert venue.zone.rack.remarks() == []

    def test_another_vial_in_its_place_is_what_it_is_too(self) -> None:
        venue = Venue(PINE)
        put(venue, vial())
        put(venue, vial(2, sku="TAR"))
        assert targets(venue.cue(1, TAR)) == 1
        take(venue, (A1, 0))
        assert venue.seat().slots[0].scent == PINE

    def test_of_a_product_in_no_catalogue_nothing_is_sprayed(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(sku="GONE"))
        assert skipped(venue.cue(1, SEA)) == {"no-such-scent": 1}
        assert changes(venue) == [(Change.VIALS_LOADED, A1, None)]
        assert venue.zone.rack.supply(venue.clock) == ()
        (remark,) = venue.zone.rack.remarks()
        assert "GONE in slot 0 of A-1-1 (1 in all)" in remark

    def test_what_another_vial_has_released_there_has_to_clear(self) -> None:
        venue = Venue(SEA)
        put(venue, vial())
        venue.cue(1, lasts=1_000)
        venue.at(1_500)
        put(venue, vial(2, sku="PINE"))
        assert skipped(venue.cue(2, PINE)) == {"clearing": 1}
        venue.at(3_000)
        assert targets(venue.cue(3, PINE)) == 1

    def test_a_vial_that_stands_elsewhere_now_leaves_nothing_running_behind(self) -> None:
        venue = Venue(SEA, PINE)
        put(venue, vial())
        venue.cue(1, lasts=5_000)
        venue.at(1_000)
        put(venue, vial(1, slot=1, left_s=99))
        assert venue.open() == {}
        assert [slot.scent for slot in venue.seat().slots] == [SEA, SEA]

    def test_what_stands_in_the_wrong_slot_is_remarked_on(self) -> None:
        venue = Venue(PINE, seats=2)
        put(venue, vial(), vial(2, A2))
        (remark,) = venue.zone.rack.remarks()
        assert "SEABREEZE in slot 0 of A-1-1 (2 in all)" in remark

    def test_beside_a_vial_a_slot_of_its_scent_without_one_is_not_used(self) -> None:
        venue = Venue(SEA, SEA)
        put(venue, vial(1), vial(2, slot=1))
        take(venue, (A1, 0))
        venue.cue(1)
        assert venue.open() == {(A1, 1): 1.0}
        venue.at(4_000)
        venue.level(0.5)
        assert venue.open() == {(A1, 1): 0.5}
        take(venue, (A1, 1))
        assert targets(venue.cue(2)) == 1, "as long as there are none, all slots are used"


class TestLevels:
    def test_a_new_vial_is_written_once_and_then_whenever_it_has_given(self) -> None:
        venue = Venue(SEA, seats=2)
        put(venue, vial(1), vial(2, A2))
        assert stored_s(venue) == [100, 100]
        assert stored_s(venue) == []
        venue.cue(1, lasts=2_000, to=(A2,))
        assert stored_s(venue) == [98]  # as decided
        venue.at(500)
        venue.stop()
        assert stored_s(venue) == [99.5]

    def test_a_vial_that_stood_here_before_a_restart_is_neither_written_nor_told_of(self) -> None:
        venue = Venue(SEA)
        with venue.acting():
            venue.zone.rack.restore([vial(left_s=40)], venue.clock)
        assert left_s(venue) == 40
        assert stored_s(venue) == []
        assert changes(venue) == []

    def test_what_is_shown_falls_while_it_is_released_and_never_rises_again(self) -> None:
        venue = Venue(SEA)
        put(venue, vial())
        venue.cue(1, lasts=4_000)
        assert left_s(venue) == 100
        venue.at(1_000)
        assert left_s(venue) == 99
        venue.stop()
        assert left_s(venue) == 99
        venue.at(1_001)
        venue.level(0.5)
        assert left_s(venue) == 99
        venue.at(1_201)
        assert left_s(venue) == 98.9


class TestRunningDry:
    def test_a_seat_whose_vial_does_not_last_for_a_cue_is_empty_and_the_others_are_not(
        self,
    ) -> None:
        venue = Venue(SEA, seats=2)
        put(venue, vial(1, left_s=1.5), vial(2, A2))
        assert targets(venue.cue(1, lasts=1_000)) == 2
        venue.at(1_000)
        assert skipped(venue.cue(2, lasts=501)) == {"empty": 1}
        venue.at(2_000)
        assert targets(venue.cue(3, lasts=500)) == 2
        assert left_s(venue) == 0.5  # not yet
        venue.at(3_000)
        assert left_s(venue) == 0

    def test_another_slot_of_the_scent_takes_over_and_both_are_accounted_for(self) -> None:
        venue = Venue(SEA, PINE, SEA)
        put(venue, vial(1, left_s=1.5), vial(2, A1, 2, left_s=5))
        for number in range(5):
            assert targets(venue.cue(number, lasts=1_000)) == 1
            venue.at(venue.now + 1_000)
        assert (left_s(venue), left_s(venue, slot=2)) == (0.5, 1)
        assert skipped(venue.cue("more", lasts=1_100)) == {"empty": 1}

    def test_a_level_moves_on_to_another_slot_of_the_scent_when_its_vial_runs_dry(self) -> None:
        venue = Venue(SEA, PINE, SEA)
        put(venue, vial(1, left_s=0.6), vial(2, A1, 2, left_s=1.0))
        slots: set[tuple[SeatId, int]] = set()
        while venue.now < 1_100:
            venue.level(1.0)
            slots |= venue.open().keys()
            venue.at(venue.now + 50)
        assert slots == {(A1, 0), (A1, 2)}
        assert [change.state for change in venue.heard(LevelChanged)][:2] == ["active", "empty"]
        assert (left_s(venue) or 0) + (left_s(venue, slot=2) or 0) > 0

    def test_a_scent_is_told_to_be_low_once_and_to_be_restored_when_vials_came(self) -> None:
        venue = Venue(SEA, PINE, seats=2)
        put(venue, vial(1), vial(2, A2), vial(3, A1, 1, sku="PINE"))
        changes(venue)
        low: list[list[tuple[Change, SeatId | None, Scent | None]]] = []
        for number in range(9):
            venue.cue(number, lasts=10_000)
            venue.at(venue.now + 61_000)
            with venue.acting():
                venue.zone.rack.watch(venue.clock)
            low.append(changes(venue))
        assert low == [[], [], [], [], [], [], [], [], [(Change.SUPPLY_LOW, None, SEA)]]
        assert venue.zone.rack.supply(venue.clock)[1] == ScentSupply(
            SEA,
            left_us=20 * US_PER_S,
            capacity_us=200 * US_PER_S,
            vials=frozenset({VialId(1), VialId(2)}),
            low=2,
        )
        take(venue, (A1, 0), (A2, 0))
        with venue.acting():
            assert [each.scent for each in venue.zone.rack.watch(venue.clock)] == [PINE]
        put(venue, vial(4, left_s=20), vial(5, A2, left_s=20))
        changes(venue)
        with venue.acting():
            venue.zone.rack.watch(venue.clock)
        assert changes(venue) == [(Change.SUPPLY_RESTORED, None, SEA)]  # at 20 of 100 it is not low

    def test_what_is_low_stays_so_when_empty_vials_are_taken_out(self) -> None:
        venue = Venue(SEA, seats=2)
        put(venue, vial(1, left_s=3), vial(2, A2, left_s=25))
        with venue.acting():
            venue.zone.rack.watch(venue.clock)
        take(venue, (A1, 0))
        changes(venue)
        for loaded, said in ((), []), ((vial(3),), [(Change.SUPPLY_RESTORED, None, SEA)]):
            put(venue, *loaded)
            changes(venue)
            with venue.acting():
                venue.zone.rack.watch(venue.clock)
            assert changes(venue) == said

    def test_what_is_low_stays_so_when_a_spray_turns_out_to_have_reached_nobody(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(left_s=20))
        changes(venue)
        told = []
        for number in range(2):
            venue.cue(number)
            venue.at(venue.now + 1_000)
            for _ in range(2):
                with venue.acting():
                    venue.zone.rack.watch(venue.clock)
                told += [change for change, _, _ in changes(venue)]
                with venue.acting():
                    venue.zone.give_back(key(number), [A1], venue.clock)
        assert (told, left_s(venue)) == ([Change.SUPPLY_LOW], 20)

    def test_a_level_that_comes_and_goes_does_not_make_the_supply_go_to_and_fro(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(left_s=20.2))
        told = []
        for _ in range(40):
            venue.level(1.0, ttl=500)
            venue.at(venue.now + 5)
            with venue.acting():
                venue.zone.rack.watch(venue.clock)
            venue.level(0.0)
            told += [change for change, _, scent in changes(venue) if scent]
        assert told == [Change.VIALS_LOADED]
        assert venue.zone.rack.supply(venue.clock)[0].left_us == 20 * US_PER_S


class TestDevices:
    def test_a_device_that_says_another_thing_twice_is_told_of_once_until_it_agrees(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(left_s=100, capacity_s=1_000))
        changes(venue)
        for says_s, told in [
            (150, []),
            (151, []),
            (151, [(Change.VIAL_DISAGREES, A1, SEA)]),
            (151, []),
            (200, []),
            (149, [(Change.VIAL_AGREES, A1, SEA)]),
            (10, []),
            (120, []),  # so it was nonsense
            (10, []),
            (10, [(Change.VIAL_DISAGREES, A1, SEA)]),
        ]:
            hear(venue, says_s)
            assert changes(venue) == told
        assert venue.seat().slots[0].reported_us == 10 * US_PER_S

    def test_a_device_may_be_ten_dose_seconds_apart_however_small_the_vial(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(left_s=20, capacity_s=20))
        for says_s in (10, 10, 9.9):
            hear(venue, says_s)
        hear(venue, 9.9)
        assert [each[0] for each in changes(venue)][1:] == [Change.VIAL_DISAGREES]

    def test_a_reading_in_the_middle_of_a_spray_is_held_against_what_is_left_then(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(left_s=100))
        changes(venue)
        venue.cue(1, lasts=10_000)
        venue.level(1.0)
        for second in range(1, 10):
            venue.at(second * 1_000)
            hear(venue, 100 - second + 9.9)
        assert changes(venue) == []

    def test_a_wrong_gauge_does_not_silence_a_seat(self) -> None:
        venue = Venue(SEA)
        put(venue, vial())
        hear(venue, 0)
        hear(venue, 0)
        assert targets(venue.cue(lasts=1_000)) == 1

    def test_what_was_said_of_the_former_vial_says_nothing_of_the_next(self) -> None:
        venue = Venue(SEA)
        put(venue, vial(1))
        hear(venue, 0)
        take(venue, (A1, 0))
        assert venue.seat().slots[0].reported_us is None
        put(venue, vial(2))
        changes(venue)
        hear(venue, 0)
        assert changes(venue) == []
        hear(venue, None)
        assert venue.seat().slots[0].reported_us is None

    def test_a_slot_that_nobody_has_loaded_agrees_with_everything(self) -> None:
        venue = Venue(SEA)
        venue.load(0, 5)
        for _ in range(3):
            hear(venue, 900)
        hear(venue, 900, SeatId("nobody"))
        assert changes(venue) == []
        assert venue.seat().slots[0].reported_us == 900 * US_PER_S

"""What seats have had outlives the zone, as far as it was written down."""

from collections.abc import Mapping

from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.doses import Limits
from scentrt.domain.events import Change, ZoneChanged
from scentrt.domain.layout import ZonePlan
from scentrt.domain.theatre import Zone
from tests.unit.venue import A1, NOON, PINE, SEA, Venue, limits, skipped, targets

SECOND = int(NOON) // 1_000
Doses = Mapping[tuple[SeatId, int], int]


def restarted(venue: Venue, written: Doses, limits: Limits) -> Venue:
    """Return the same venue with a new zone that knows what was written."""
    used: dict[SeatId, dict[int, int]] = {}
    for (seat, second), dose in written.items():
        used.setdefault(seat, {})[second] = dose
    slots = tuple(slot.scent for slot in venue.seat().slots)
    zone = Zone(
        ZoneId("A"),
        ZonePlan(ZoneId("A"), 1, len(venue.zone.seats), slots).seats(limits, online=True),
        limits,
        revision=venue.zone.revision,
    )
    after = Venue(zone=zone)
    after.now = venue.now
    after.zone.restore(used, after.clock)
    return after


def test_what_was_had_is_told_by_seat_and_second() -> None:
    venue = Venue(SEA)
    venue.cue(1, lasts=500)
    venue.at(2_000)
    venue.cue(2, lasts=1_000, intensity=0.5)
    assert venue.zone.take_doses(venue.clock) == {(A1, SECOND): 500_000, (A1, SECOND + 3): 500_000}
    assert venue.zone.take_doses(venue.clock) == {}


def test_a_spray_that_was_cut_short_is_told_again_where_it_ended() -> None:
    venue = Venue(SEA)
    venue.cue(lasts=8_000)
    venue.zone.take_doses(venue.clock)
    venue.at(1_500)
    venue.stop()
    assert venue.zone.take_doses(venue.clock) == {(A1, SECOND + 8): 0, (A1, SECOND + 1): 1_500_000}


def test_what_a_stuck_slot_gives_is_told_while_it_does() -> None:
    venue = Venue(SEA)
    venue.stick(A1, stuck=True)
    venue.at(3_000)
    assert venue.zone.take_doses(venue.clock) == {(A1, SECOND + 3): 2_000_000 + 3_000_000}
    venue.at(5_000)
    venue.stick(A1, stuck=False)
    venue.at(9_000)
    assert venue.zone.take_doses(venue.clock) == {(A1, SECOND + 5): 2_000_000}


def test_what_was_had_is_told_rightly_also_after_a_long_sleep() -> None:
    venue = Venue(SEA)
    venue.cue(1, lasts=1_000)
    venue.at(600_000)
    venue.cue(2, lasts=1_000)
    assert venue.zone.take_doses(venue.clock) == {
        (A1, SECOND + 1): 1_000_000,
        (A1, SECOND + 601): 1_000_000,
    }


def test_what_was_written_counts_after_a_restart() -> None:
    strict = limits(minute_s=2)
    venue = Venue(SEA, limits=strict)
    venue.cue(1, lasts=2_000)
    venue.at(2_000)
    venue = restarted(venue, venue.zone.take_doses(venue.clock), strict)
    assert skipped(venue.cue(2, lasts=1)) == {"dose-limit": 1}
    venue.at(63_000)
    assert targets(venue.cue(3, lasts=2_000)) == 1


def test_what_was_running_counts_to_its_planned_end() -> None:
    strict = limits(minute_s=8)
    venue = Venue(SEA, limits=strict)
    venue.cue(1, lasts=8_000)
    venue.at(1_000)
    venue = restarted(venue, venue.zone.take_doses(venue.clock), strict)
    venue.at(68_999)
    assert skipped(venue.cue(2, lasts=1)) == {"dose-limit": 1}
    venue.at(69_000)
    assert targets(venue.cue(3, lasts=1)) == 1


def test_what_was_written_is_not_told_again_but_added_to() -> None:
    venue = Venue(SEA)
    venue.cue(1, lasts=1_000)
    venue.at(1_000)
    venue = restarted(venue, venue.zone.take_doses(venue.clock), Limits())
    assert venue.zone.take_doses(venue.clock) == {}
    venue.cue(2, lasts=500)
    assert venue.zone.take_doses(venue.clock) == {(A1, SECOND + 1): 1_500_000}


def test_a_clock_that_was_set_back_does_not_lock_a_seat_until_it_has_caught_up() -> None:
    strict = limits(minute_s=2)
    tomorrow = SECOND + 86_400
    venue = restarted(Venue(SEA, limits=strict), {(A1, tomorrow): 2_000_000}, strict)
    assert skipped(venue.cue(1, lasts=1)) == {"dose-limit": 1}
    assert venue.zone.take_doses(venue.clock) == {(A1, tomorrow): 0, (A1, SECOND + 10): 2_000_000}
    venue.at(71_000)
    assert targets(venue.cue(2, lasts=2_000)) == 1


def test_a_time_that_nobody_wrote_down_counts_as_if_every_slot_had_been_open() -> None:
    strict = limits(minute_s=5)
    venue = Venue(SEA, PINE, limits=strict)
    venue.at(2_000)
    venue.zone.presume(NOON, venue.clock, venue.clock)
    assert venue.zone.take_doses(venue.clock) == {(A1, SECOND + 2): 4_000_000}
    assert skipped(venue.cue(1, lasts=1_001)) == {"dose-limit": 1}
    assert targets(venue.cue(2, lasts=1_000)) == 1


def test_no_time_at_all_counts_for_nothing() -> None:
    venue = Venue(SEA)
    venue.zone.presume(NOON, NOON, NOON)
    assert venue.zone.take_doses(venue.clock) == {}


def test_goggles_that_are_not_there_are_remembered_for_when_they_come() -> None:
    strict, name = limits(minute_s=1), SeatId("ann")
    venue = restarted(Venue(SEA, seats=1, limits=strict), {(name, SECOND): 1_000_000}, strict)
    assert skipped(venue.cue(1, to=(name,))) == {"offline": 1}
    venue.zone.take_place(name, None, venue.clock)
    assert skipped(venue.cue(2, to=(name,))) == {"dose-limit": 1}


def test_a_zone_that_was_restarted_says_so_and_goes_on_counting_its_revisions() -> None:
    venue = Venue(SEA)
    venue.cue()
    before = venue.zone.revision
    venue = restarted(venue, {}, Limits())
    with venue.acting():
        venue.zone.restarted(venue.clock)
    [change] = venue.heard(ZoneChanged)
    assert (change.change, change.revision) == (Change.RESTARTED, before + 1)

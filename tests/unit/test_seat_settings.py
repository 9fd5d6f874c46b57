"""What is set for a seat: who wants nothing, or not this, and who gets it stronger or later."""

import pytest

from scentrt.domain.cues import SeatId, Spray
from scentrt.domain.decisions import Halt, Release
from scentrt.domain.doses import US_PER_S
from scentrt.domain.events import (
    Change,
    CueDispatched,
    Ended,
    ScentEnded,
    ScentReleased,
    SpraysDropped,
    ZoneChanged,
)
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.seats import Slot
from tests.unit.venue import A1, A2, GAME, NOON, PINE, SEA, Venue, key, limits, skipped, targets

ANN = SeatId("ann")


def change(
    venue: Venue,
    seat: SeatId = A1,
    *,
    opted_out: bool | None = None,
    averse_to: frozenset[str] | None = None,
    gain: float | None = None,
    delay_ms: float | None = None,
) -> None:
    with venue.acting():
        asked = SeatChange(opted_out, averse_to, gain, delay_ms)  # type: ignore[arg-type] # scents
        assert venue.zone.set_seat(seat, asked, venue.clock) is not None


# Wishes


def test_a_scent_that_somebody_is_averse_to_is_not_released_there() -> None:
    venue = Venue(SEA, PINE, seats=2)
    change(venue, averse_to=frozenset({SEA}))
    assert skipped(venue.cue(1, SEA)) == {"opted-out": 1}
    venue.at(5_000)
    assert targets(venue.cue(2, PINE)) == 2


def test_opting_out_stops_what_runs_there_at_once_and_nothing_else() -> None:
    venue = Venue(SEA, PINE, seats=2)
    venue.cue("c", SEA, lasts=8_000)
    venue.level(0.5, PINE, to=(A1,))
    venue.at(100)
    change(venue, opted_out=True)
    assert venue.open() == {(A2, 0): 1.0}
    [ended] = venue.heard(ScentEnded)
    assert (ended.cue, ended.seats, ended.reason) == (key("c"), (A1,), Ended.STOPPED)
    assert [e.change for e in venue.heard(ZoneChanged)] == [Change.SEAT_CHANGED]


def test_becoming_averse_stops_that_scent_and_leaves_the_others() -> None:
    venue = Venue(SEA, PINE)
    venue.cue("sea", SEA, lasts=8_000)
    venue.cue("pine", PINE, lasts=8_000, mix=True)
    change(venue, averse_to=frozenset({SEA}))
    assert set(venue.open()) == {(A1, 1)}


def test_a_level_that_somebody_is_averse_to_ends_there_and_stays_away() -> None:
    venue = Venue(SEA)
    venue.level(0.5)
    change(venue, averse_to=frozenset({SEA}))
    assert venue.open() == {}
    venue.level(0.5)
    assert venue.open() == {}


def test_what_is_set_again_as_it_was_is_no_news() -> None:
    venue = Venue(SEA)
    change(venue, gain=1.5)
    change(venue, gain=1.5)
    assert len(venue.heard(ZoneChanged)) == 1


def test_nothing_can_be_set_for_a_seat_that_nobody_knows() -> None:
    venue = Venue(SEA)
    assert venue.zone.set_seat(SeatId("A-9-9"), SeatChange(opted_out=True), venue.clock) is None
    assert venue.zone.revision == 0


def test_what_was_set_for_goggles_holds_when_they_come() -> None:
    venue = Venue(SEA)
    venue.zone.restore_settings({ANN: SeatChange(opted_out=True)})
    with venue.acting():
        venue.zone.take_place(ANN, [Slot(0, SEA)], venue.clock)
    assert skipped(venue.cue(to=(ANN,))) == {"opted-out": 1}


# Gain


def test_a_gain_makes_a_cue_stronger_there_to_full_intensity_at_most() -> None:
    venue = Venue(SEA, seats=3)
    change(venue, A1, gain=1.5)
    change(venue, A2, gain=2.0)
    venue.cue(intensity=0.6)
    assert venue.open() == pytest.approx({(A1, 0): 0.9, (A2, 0): 1.0, (SeatId("A-1-3"), 0): 0.6})


def test_doses_and_vials_count_what_comes_out() -> None:
    venue = Venue(SEA, limits=limits(minute_s=1))
    vial = venue.load(0, left_s=10)
    change(venue, gain=0.5)
    venue.cue(1, lasts=1_000)
    venue.at(1_000)
    venue.cue(2, lasts=1_000)
    assert vial.left_us == 9 * US_PER_S
    venue.at(2_000)
    assert skipped(venue.cue(3, lasts=100)) == {"dose-limit": 1}


def test_a_level_takes_the_gain_and_not_the_delay() -> None:
    venue = Venue(SEA)
    change(venue, gain=0.5, delay_ms=1_000)
    venue.level(0.8)
    assert venue.open() == {(A1, 0): 0.4}


# Delay


def delayed(*, seats: int = 1, delay_ms: float = 400, seat: SeatId = A1) -> Venue:
    venue = Venue(SEA, PINE, seats=seats)
    change(venue, seat, delay_ms=delay_ms)
    venue.heard(ZoneChanged)
    return venue


def test_a_seat_with_a_delay_is_decided_with_the_others_and_sprayed_later() -> None:
    venue = delayed(seats=2)
    assert targets(venue.cue("c", lasts=1_000)) == 2
    assert venue.open() == {(A2, 0): 1.0}
    [released], [dispatched] = venue.heard(ScentReleased), venue.heard(CueDispatched)
    assert (released.seats, dispatched.targets) == (None, 2)
    assert venue.zone.next_ms == NOON + 400
    venue.orders.clear()
    venue.at(400)
    assert venue.orders == [Release(Spray(0, 1.0, 1_000, key("c"), NOON + 900), (A1,))]
    venue.at(1_399)
    assert set(venue.open()) == {(A1, 0)}


def test_a_slot_is_taken_from_the_decision_to_the_end() -> None:
    venue = delayed()
    vial = venue.load(0, left_s=1.5)
    venue.cue(1, lasts=1_000)
    assert vial.left_us == 500_000
    assert skipped(venue.cue(2)) == {"busy": 1} if vial.left_us >= US_PER_S else {"empty": 1}
    assert skipped(venue.cue(3, PINE)) == {"clearing": 1}
    assert skipped(venue.cue(4, PINE, due=3_399)) == {"clearing": 1}
    assert targets(venue.cue(5, PINE, due=3_400)) == 1


def test_a_spray_that_begins_a_little_late_is_as_long_as_it_was_to_be() -> None:
    venue = delayed()
    venue.cue(lasts=1_000)
    venue.at(450)
    venue.at(1_449)
    assert set(venue.open()) == {(A1, 0)}
    assert venue.zone.take_doses(venue.clock) == {(A1, int(NOON + 1_450) // 1000): US_PER_S} | {
        (A1, int(NOON + 1_400) // 1000): US_PER_S
    }


def test_a_spray_that_could_begin_too_late_only_is_dropped_and_counted() -> None:
    venue = delayed()
    vial = venue.load(0, left_s=10)
    venue.cue("c", ttl=50)
    venue.at(451)
    assert venue.devices.breaths == []
    assert vial.left_us == 10 * US_PER_S
    assert venue.heard(SpraysDropped) == [SpraysDropped(key("c"), withdrawn=0, failed=0, expired=1)]
    assert venue.zone.late == 1
    [ended] = venue.heard(ScentEnded)
    assert ended.reason == Ended.NOT_SPRAYED


@pytest.mark.parametrize("how", ["stop", "cancel", "panic", "hush", "opt-out", "lost", "back"])
def test_whatever_stops_a_spray_before_it_begins_takes_it_back_whole(how: str) -> None:
    venue = delayed()
    vial = venue.load(0, left_s=10)
    venue.cue("c", lasts=1_000)
    venue.at(399)
    match how:
        case "stop":
            venue.stop(GAME)
        case "cancel":
            assert venue.cancel("c") == 1
        case "panic":
            venue.panic()
        case "hush":
            with venue.acting():
                venue.zone.hush(GAME, venue.clock)
        case "opt-out":
            change(venue, opted_out=True)
        case _:
            venue.connect(A1, online=False)
    if how == "back":
        venue.connect(A1, online=True)
    venue.at(400)
    assert venue.devices.breaths == []
    assert vial.left_us == 10 * US_PER_S
    assert sum(venue.zone.take_doses(venue.clock).values()) == 0
    assert venue.zone.take_journal(venue.clock) == ()
    lost = how == "lost"
    assert venue.heard(SpraysDropped) == [SpraysDropped(key("c"), not lost, lost, expired=0)]
    assert [ended.cue for ended in venue.heard(ScentEnded)] == [key("c")]


def test_a_stop_takes_back_also_what_is_due_already() -> None:
    venue = delayed()
    venue.cue("c", lasts=10)
    venue.now = 500
    assert venue.stop() == 1
    venue.at(600)
    assert venue.devices.breaths == []


def test_what_was_taken_back_is_not_in_the_air() -> None:
    venue = delayed()
    venue.cue("c", SEA)
    venue.at(100)
    venue.cancel("c")
    assert targets(venue.cue("other", PINE)) == 1


def test_a_delayed_cue_closes_at_once_what_it_displaces() -> None:
    venue = Venue(SEA)
    venue.cue("weak", lasts=8_000, priority=1)
    change(venue, delay_ms=500)
    venue.at(1_000)
    venue.cue("strong", lasts=1_000, priority=2)
    assert venue.open() == {}
    assert venue.orders[-1] == Halt(0, (A1,))
    venue.at(1_500)
    assert [b.cue for b in venue.devices.open(venue.clock).values()] == [key("strong")]


def test_a_higher_priority_displaces_a_spray_before_it_begins() -> None:
    venue = delayed(delay_ms=1_000)
    venue.cue("weak", lasts=2_000, priority=1)
    venue.at(500)
    venue.cue("strong", lasts=100, priority=2)
    venue.at(1_550)
    assert [b.cue for b in venue.devices.breaths] == [key("strong")]
    [ended] = venue.heard(ScentEnded)
    assert (ended.cue, ended.reason) == (key("weak"), Ended.DISPLACED)


def test_a_stuck_seat_is_not_sprayed_when_its_delay_is_over() -> None:
    venue = delayed()
    venue.cue()
    venue.stick(A1, stuck=True)
    venue.at(400)
    assert venue.devices.breaths == []

"""Goggles come and go, and their wearer is the same person all the time."""

import pytest

from scentrt.domain import seating
from scentrt.domain.cues import GOGGLES_ZONE, SeatId
from scentrt.domain.decisions import Accepted
from scentrt.domain.doses import Limits
from scentrt.domain.events import Change, Ended, ScentEnded, ScentReleased, ZoneChanged
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.seats import Slot
from scentrt.domain.theatre import Zone
from tests.unit.venue import PINE, SEA, TAR, Venue, limits, skipped, targets

ANN, BOB = SeatId("ann"), SeatId("bob")


def empty(limits: Limits | None = None) -> Venue:
    return Venue(zone=Zone(GOGGLES_ZONE, [], limits or Limits()))


def arrive(venue: Venue, name: SeatId, *scents: str) -> bool:
    """Let goggles come, with slots of their own or, where no scents are named, without."""
    slots = [Slot(n, scent) for n, scent in enumerate(map(type(SEA), scents))] if scents else None
    venue.devices.find(name, venue.clock)
    with venue.acting():
        return venue.zone.take_place(name, slots, venue.clock)


def leave(venue: Venue, name: SeatId) -> None:
    venue.devices.lose(name)
    with venue.acting():
        venue.zone.leave_place(name, venue.clock)


def changes(venue: Venue) -> list[tuple[Change, SeatId | None]]:
    return [(event.change, event.seat) for event in venue.heard(ZoneChanged)]


def test_nobody_is_there_at_first() -> None:
    venue = empty()
    assert venue.cue() == Accepted(venue.clock, 0, {})


def test_goggles_that_have_come_are_reached_and_announced() -> None:
    venue = empty()
    assert arrive(venue, ANN, "sea-breeze")
    assert targets(venue.cue()) == 1
    assert changes(venue) == [(Change.SEAT_ONLINE, ANN)]


def test_goggles_with_slots_have_the_scents_that_they_brought() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze", "pine")
    assert targets(venue.cue(1, PINE)) == 1
    assert venue.open() == {(ANN, 1): 1.0}
    assert skipped(venue.cue(2, TAR)) == {"no-such-scent": 1}


def test_goggles_without_slots_take_any_scent() -> None:
    venue = empty()
    arrive(venue, ANN)
    assert targets(venue.cue(1, PINE)) == 1
    assert skipped(venue.cue(2, TAR)) == {"clearing": 1}
    assert targets(venue.cue(3, TAR, mix=True)) == 1
    assert skipped(venue.cue(4, PINE)) == {"clearing": 1}


def test_goggles_without_slots_get_no_more_than_others() -> None:
    venue = empty(limits(minute_s=1))
    arrive(venue, ANN)
    assert targets(venue.cue(1, SEA, lasts=600)) == 1
    assert skipped(venue.cue(2, TAR, lasts=600, mix=True)) == {"dose-limit": 1}


def test_goggles_that_have_left_are_offline_to_who_names_them_and_nobody_to_others() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    arrive(venue, BOB, "sea-breeze")
    leave(venue, ANN)
    assert skipped(venue.cue(1, to=(ANN,))) == {"offline": 1}
    assert venue.cue(2) == Accepted(venue.clock, 1, {})
    assert [event.seats for event in venue.heard(ScentReleased)] == [None]
    assert changes(venue)[-1] == (Change.SEAT_OFFLINE, ANN)


def test_leaving_twice_is_no_news() -> None:
    venue = empty()
    arrive(venue, ANN)
    leave(venue, ANN)
    leave(venue, ANN)
    leave(venue, BOB)
    assert [change for change, _ in changes(venue)] == [Change.SEAT_ONLINE, Change.SEAT_OFFLINE]


def test_what_a_wearer_had_counts_when_the_goggles_come_back() -> None:
    venue = empty(limits(minute_s=1))
    arrive(venue, ANN, "sea-breeze")
    venue.cue(1)
    venue.at(1_000)
    leave(venue, ANN)
    venue.at(5_000)
    arrive(venue, ANN)
    assert skipped(venue.cue(2)) == {"dose-limit": 1}


def test_what_runs_when_goggles_leave_counts_to_its_end() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    venue.cue(lasts=8_000)
    venue.at(1_000)
    leave(venue, ANN)
    venue.at(60_000)
    assert sum(venue.zone.take_doses(venue.clock).values()) == 8_000_000


def test_what_runs_when_goggles_come_back_is_stopped() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    arrive(venue, BOB, "sea-breeze")
    venue.cue(lasts=8_000, to=(ANN,))
    venue.at(1_000)
    leave(venue, ANN)
    venue.at(3_000)
    arrive(venue, ANN, "sea-breeze")
    assert sum(venue.zone.take_doses(venue.clock).values()) == 3_000_000


def test_what_runs_when_goggles_leave_is_told_to_have_ended_and_not_again_later() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    arrive(venue, BOB, "sea-breeze")
    venue.cue(lasts=8_000)
    venue.at(1_000)
    leave(venue, ANN)
    [ended] = venue.heard(ScentEnded)
    assert (ended.reason, ended.seats) == (Ended.RESTARTED, (ANN,))
    assert changes(venue)[-1] == (Change.SEAT_OFFLINE, ANN)
    venue.at(3_000)
    arrive(venue, ANN, "sea-breeze")
    assert venue.heard(ScentEnded) == []


def test_what_goggles_get_after_their_return_can_end_early_as_ever() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    venue.cue(1, lasts=8_000)
    leave(venue, ANN)
    arrive(venue, ANN, "sea-breeze")
    venue.cue(2, lasts=8_000)
    leave(venue, ANN)
    assert [ended.cue.id for ended in venue.heard(ScentEnded)] == [1, 2]


def test_a_spray_that_had_not_begun_when_goggles_left_is_told_once_to_be_off() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    with venue.acting():
        venue.zone.set_seat(ANN, SeatChange(delay_ms=500), venue.clock)
    venue.cue(lasts=2_000)
    venue.at(100)
    leave(venue, ANN)
    venue.at(200)
    arrive(venue, ANN, "sea-breeze")
    venue.at(600)
    assert len(venue.heard(ScentEnded)) == 1


def test_newer_goggles_of_a_name_take_the_place_of_the_older() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    venue.cue(1, lasts=8_000)
    venue.at(1_000)
    arrive(venue, ANN, "pine")
    assert venue.open() == {}
    assert len(venue.zone.seats) == 1
    assert skipped(venue.cue(2, SEA)) == {"no-such-scent": 1}


def test_a_scent_has_to_clear_though_the_goggles_were_replaced() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    venue.cue(1, SEA, lasts=8_000)
    venue.at(1_000)
    arrive(venue, ANN, "pine")
    venue.at(2_999)
    assert skipped(venue.cue(2, PINE)) == {"clearing": 1}
    venue.at(3_000)
    assert targets(venue.cue(3, PINE)) == 1


def test_a_level_finds_the_goggles_that_have_come_back() -> None:
    venue = empty()
    arrive(venue, ANN, "sea-breeze")
    venue.level(0.5)
    leave(venue, ANN)
    venue.at(16)
    venue.level(0.5)
    arrive(venue, ANN, "pine", "sea-breeze")
    venue.at(32)
    venue.level(0.5)
    assert venue.open() == {(ANN, 1): 0.5}


def test_a_level_for_all_goggles_leaves_those_that_have_left() -> None:
    venue = empty()
    arrive(venue, ANN)
    arrive(venue, BOB)
    venue.level(0.5, SEA)
    leave(venue, ANN)
    venue.at(16)
    venue.level(0.0, SEA)
    assert {seat for seat, _ in venue.open()} == {ANN}
    assert venue.heard(ScentEnded) == []


def test_names_without_end_find_room_as_those_that_had_nothing_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seating, "MOST_KNOWN", 2)
    venue = empty()
    assert arrive(venue, ANN)
    assert arrive(venue, BOB)
    assert not arrive(venue, SeatId("eve"))
    leave(venue, ANN)
    assert arrive(venue, SeatId("eve"))
    assert venue.zone.seat(ANN) is None


def test_who_had_something_within_the_hour_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seating, "MOST_KNOWN", 1)
    venue = empty()
    arrive(venue, ANN)
    venue.cue(lasts=1_000)
    leave(venue, ANN)
    venue.at(3_600_000)
    assert not arrive(venue, BOB)
    venue.at(3_660_000)
    assert arrive(venue, BOB)

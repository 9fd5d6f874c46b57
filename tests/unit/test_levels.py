"""A level is what its sender said last, for as long as it goes on saying so."""

import pytest

from scentrt.domain.cues import Target
from scentrt.domain.events import ACTIVE, ENDED, Ended, LevelChanged, ScentEnded, ScentLevelled
from scentrt.domain.seat_settings import SeatChange, SeatSettings
from tests.unit.venue import A1, A2, FILM, GAME, PINE, SEA, Venue, limits, skipped, targets

FIRST = Target(seats=(A1,))


def states(venue: Venue) -> list[str]:
    return [event.state for event in venue.heard(LevelChanged)]


# The newest value


def test_the_newest_value_takes_the_place_of_the_one_before() -> None:
    venue = Venue(SEA)
    venue.level(0.5)
    venue.at(16)
    venue.level(0.2)
    assert venue.open() == {(A1, 0): 0.2}


def test_a_level_ends_when_its_sender_falls_silent() -> None:
    venue = Venue(SEA)
    venue.level(0.5, ttl=500)
    assert venue.zone.next_ms <= venue.clock + 500
    venue.at(499)
    assert len(venue.open()) == 1
    venue.at(500)
    assert venue.open() == {}
    assert states(venue) == [ACTIVE, ENDED]


def test_each_value_holds_for_its_own_time_from_when_it_was_received() -> None:
    venue = Venue(SEA)
    venue.level(0.5, ttl=5_000)
    venue.at(100)
    venue.level(0.5, ttl=500, asked=90)
    venue.at(590)
    assert venue.open() == {}
    assert states(venue) == [ACTIVE, ENDED]


def test_a_value_that_comes_when_its_time_is_over_means_nothing() -> None:
    venue = Venue(SEA)
    venue.at(1_000)
    venue.level(0.5, ttl=500, asked=500)
    assert venue.devices.breaths == []
    assert states(venue) == []
    assert venue.zone.late == 1


def test_intensity_zero_ends_it_now() -> None:
    venue = Venue(SEA)
    venue.level(0.5)
    venue.at(10)
    venue.level(0)
    assert venue.open() == {}
    assert states(venue) == [ACTIVE, ENDED]


def test_intensity_zero_of_what_does_not_stand_means_nothing() -> None:
    venue = Venue(SEA)
    venue.level(0)
    assert venue.heard(object) == []


def test_a_level_never_holds_longer_than_a_spray_may_last() -> None:
    venue = Venue(SEA)
    venue.level(0.5, ttl=60_000)
    venue.at(10_000)
    assert venue.open() == {}


def test_only_what_was_released_of_each_value_counts() -> None:
    venue = Venue(SEA)
    vial = venue.load(0, left_s=10)
    for frame in range(60):
        venue.at(frame * 16)
        venue.level(0.5)
    venue.at(960)
    venue.level(0)
    assert vial.left_us == 10_000_000 - 480_000
    assert sum(venue.zone.take_doses(venue.clock).values()) == 480_000


# Mixing


def test_levels_of_one_owner_add_up_in_one_slot() -> None:
    venue = Venue(SEA)
    venue.level(0.3)
    venue.level(0.4, target=FIRST, to=(A1,))
    assert venue.open() == {(A1, 0): pytest.approx(0.7)}


def test_levels_add_up_to_full_intensity_at_most() -> None:
    venue = Venue(SEA)
    venue.level(0.8)
    venue.level(0.8, target=FIRST, to=(A1,))
    assert venue.open() == {(A1, 0): 1.0}
    venue.level(0)
    assert venue.open() == {(A1, 0): 0.8}


def test_when_one_of_two_levels_ends_the_other_goes_on() -> None:
    venue = Venue(SEA)
    venue.level(0.3, ttl=1_000)
    venue.level(0.4, target=FIRST, to=(A1,), ttl=500)
    venue.at(500)
    assert venue.open() == {(A1, 0): 0.3}
    venue.at(1_000)
    assert venue.open() == {}


def test_levels_of_one_owner_join_different_scents() -> None:
    venue = Venue(SEA, PINE)
    venue.level(0.3, SEA)
    venue.level(0.4, PINE)
    assert venue.open() == {(A1, 0): 0.3, (A1, 1): 0.4}


def test_a_level_of_another_owner_does_not_join() -> None:
    venue = Venue(SEA, PINE)
    venue.level(0.3, SEA, by=GAME)
    venue.level(0.4, SEA, by=FILM)
    venue.level(0.4, PINE, by=FILM)
    assert venue.open() == {(A1, 0): 0.3}
    assert states(venue) == [ACTIVE, "busy", "clearing"]


def test_a_level_waits_until_a_cue_of_another_scent_has_cleared() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(scent=SEA, by=GAME, lasts=1_000)
    venue.level(0.3, PINE, by=GAME)
    assert states(venue) == ["clearing"]
    venue.at(3_000)
    venue.level(0.3, PINE, by=GAME)
    assert states(venue) == [ENDED, ACTIVE]


def test_an_ended_level_of_another_owner_is_not_mixed_in() -> None:
    venue = Venue(SEA)
    venue.level(0.3, by=GAME, ttl=500)
    venue.now = 600
    venue.level(0.4, by=FILM)
    venue.at(600)
    assert venue.open() == {(A1, 0): 0.4}
    venue.stop(GAME)
    assert venue.open() == {(A1, 0): 0.4}


# What becomes of it


def test_the_sender_is_told_once_for_each_change() -> None:
    venue = Venue(SEA)
    for frame in range(10):
        venue.at(frame * 16)
        venue.level(0.1 + frame / 100)
    venue.connect(A1, online=False)
    for frame in range(10, 20):
        venue.at(frame * 16)
        venue.level(0.5)
    venue.connect(A1, online=True)
    venue.level(0.5)
    assert states(venue) == [ACTIVE, "offline", ACTIVE]


def test_a_level_is_active_if_it_is_anywhere() -> None:
    venue = Venue(SEA, seats=2)
    venue.seat(A1).settle(SeatSettings(opted_out=True))
    venue.level(0.5)
    assert venue.open() == {(A2, 0): 0.5}
    assert states(venue) == [ACTIVE]


@pytest.mark.parametrize("reason", ["opted-out", "offline", "stuck", "no-such-scent"])
def test_a_level_is_refused_for_the_reasons_of_a_cue(reason: str) -> None:
    venue = Venue(SEA)
    seat = venue.seat()
    seat.settle(SeatSettings(opted_out=reason == "opted-out"))
    seat.online = reason != "offline"
    if reason == "stuck":
        seat.stick(venue.clock)
    venue.level(0.5, PINE if reason == "no-such-scent" else SEA)
    assert states(venue) == [reason]
    assert venue.devices.breaths == []


def test_a_level_that_is_refused_stands_on_whatever_is_set_or_stopped_elsewhere() -> None:
    venue = Venue(SEA, seats=2)
    for seat, change in ((A1, SeatChange(opted_out=True)), (A2, SeatChange(gain=1.5))):
        with venue.acting():
            venue.zone.set_seat(seat, change, venue.clock)
        venue.level(0.5, to=(A1,), ttl=3_000)
        venue.at(venue.now + 100)
    assert states(venue) == ["opted-out"]
    venue.stop(to=(A2,))
    assert states(venue) == []


def test_a_level_is_offline_when_the_last_of_its_seats_is_not_with_its_next_value() -> None:
    venue = Venue(SEA, seats=2)
    venue.level(0.5, ttl=5_000)
    venue.connect(A1, online=False)
    assert states(venue) == [ACTIVE]
    venue.connect(A2, online=False)
    assert states(venue) == ["offline"]
    venue.connect(A2, online=True)
    venue.level(0.5, ttl=5_000)
    venue.at(5_000)
    assert states(venue) == [ACTIVE, ENDED]


def test_a_level_for_nobody_is_offline() -> None:
    venue = Venue(SEA, seats=0)
    venue.level(0.5)
    assert states(venue) == ["offline"]


def test_a_level_stops_where_the_budget_ends_and_returns_when_there_is_room() -> None:
    venue = Venue(SEA, limits=limits(minute_s=1))
    now = 0.0
    while venue.devices.open(venue.clock) or now == 0:
        venue.level(1.0, ttl=100)
        now += 50
        venue.at(now)
    assert states(venue) == [ACTIVE, "dose-limit"]
    assert 900 <= now <= 1_000
    venue.at(62_000)
    venue.level(1.0, ttl=100)
    assert states(venue) == [ENDED, ACTIVE]


def test_a_level_stops_where_the_vial_ends() -> None:
    venue = Venue(SEA)
    vial = venue.load(0, left_s=0.25)
    for frame in range(20):
        venue.at(frame * 16)
        venue.level(1.0, ttl=100)
    assert states(venue) == [ACTIVE, "empty"]
    assert 0 <= vial.left_us < 100_000


def test_a_level_that_is_refused_ends_where_it_was() -> None:
    venue = Venue(SEA, limits=limits(minute_s=1))
    venue.level(0.5, ttl=500)
    venue.at(100)
    venue.level(1.0, ttl=5_000)
    assert venue.open() == {}
    assert states(venue) == [ACTIVE, "dose-limit"]


def test_a_level_steps_over_to_another_slot_of_its_scent() -> None:
    venue = Venue(SEA, SEA)
    venue.load(0, left_s=0.1)
    venue.level(1.0, ttl=100)
    venue.at(50)
    venue.level(1.0, ttl=100)
    assert venue.open() == {(A1, 1): 1.0}


def test_a_level_leaves_the_seats_that_it_is_no_longer_for() -> None:
    venue = Venue(SEA, seats=2)
    venue.level(0.5)
    venue.at(16)
    venue.level(0.5, to=(A2,))
    assert venue.open() == {(A2, 0): 0.5}


# Cues


def test_a_cue_of_any_priority_displaces_a_level_which_comes_back_afterwards() -> None:
    venue = Venue(SEA)
    venue.level(0.3)
    venue.at(16)
    assert targets(venue.cue(priority=0, lasts=100)) == 1
    assert venue.open() == {(A1, 0): 1.0}
    venue.at(32)
    venue.level(0.3)
    assert venue.open() == {(A1, 0): 1.0}
    venue.at(116)
    venue.level(0.3)
    assert venue.open() == {(A1, 0): 0.3}
    assert states(venue) == [ACTIVE, "busy", ACTIVE]
    assert venue.heard(ScentEnded) == []


def test_a_displaced_level_that_ends_does_not_end_the_cue() -> None:
    venue = Venue(SEA)
    venue.level(0.3)
    venue.cue(lasts=1_000)
    venue.level(0)
    assert venue.open() == {(A1, 0): 1.0}


def test_a_displaced_level_is_not_mixed_in_when_another_comes() -> None:
    venue = Venue(SEA)
    venue.level(0.3, ttl=5_000)
    venue.cue(lasts=100)
    venue.at(100)
    venue.level(0.4, target=FIRST, to=(A1,))
    assert venue.open() == {(A1, 0): 0.4}


def test_a_cue_of_another_scent_waits_for_a_level_to_clear_unless_it_mixes() -> None:
    venue = Venue(SEA, PINE)
    venue.level(0.3, SEA)
    assert skipped(venue.cue(1, PINE)) == {"clearing": 1}
    assert targets(venue.cue(2, PINE, mix=True)) == 1
    venue.level(0.4, SEA)
    assert venue.open() == {(A1, 0): 0.4, (A1, 1): 1.0}


def test_a_level_that_was_cut_off_by_a_cue_is_not_stopped_with_it() -> None:
    venue = Venue(SEA)
    venue.level(0.3)
    venue.cue("c", lasts=5_000)
    venue.cancel("c")
    venue.at(16)
    venue.level(0.3)
    assert venue.open() == {(A1, 0): 0.3}
    assert [event.reason for event in venue.heard(ScentEnded)] == [Ended.CANCELLED]


# Who looks on


def test_who_looks_on_hears_of_each_other_intensity_and_of_the_end() -> None:
    venue = Venue(SEA, seats=2)
    for frame, intensity in enumerate([0.3, 0.3, 0.4, 0.4, 0.0]):
        venue.at(frame * 16)
        venue.level(intensity, to=(A2,))
    told = venue.heard(ScentLevelled)
    assert [event.intensity for event in told] == [0.3, 0.4, 0.0]
    assert {(event.scent, event.seats) for event in told} == {(SEA, (A2,))}


def test_what_was_told_of_a_steady_level_never_runs_out_before_it_does() -> None:
    venue = Venue(SEA)
    told_until = 500.0
    for frame in range(200):
        venue.at(frame * 16)
        venue.level(0.3, ttl=500)
        for event in venue.heard(ScentLevelled):
            told_until = venue.now + event.ttl_ms
        assert venue.now < told_until
    assert venue.heard(ScentLevelled) == []


def test_who_looks_on_hears_that_nothing_of_a_level_is_left() -> None:
    venue = Venue(SEA)
    venue.level(0.3)
    venue.cue()
    venue.at(16)
    venue.level(0.3)
    assert [event.intensity for event in venue.heard(ScentLevelled)] == [0.3, 0.0]

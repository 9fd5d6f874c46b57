"""Who is sprayed, through which slot, and who is left out and why."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scentrt.domain.cues import Scent, SeatId
from scentrt.domain.events import Change, Ended, ScentEnded, ZoneChanged
from scentrt.domain.seat_settings import SeatSettings
from tests.unit.venue import (
    A1,
    A2,
    FILM,
    GAME,
    PINE,
    SEA,
    TAR,
    Venue,
    key,
    limits,
    skipped,
    targets,
)


def test_a_cue_for_the_zone_reaches_each_seat_with_its_scent() -> None:
    venue = Venue(SEA, PINE, seats=3)
    assert targets(venue.cue(scent=PINE)) == 3
    assert {slot for _, slot in venue.open()} == {1}


def test_a_cue_for_some_seats_reaches_these() -> None:
    venue = Venue(SEA, seats=3)
    assert targets(venue.cue(to=(A2,))) == 1
    assert venue.open() == {(A2, 0): 1.0}


def test_a_seat_that_is_not_there_is_nobody() -> None:
    venue = Venue(SEA)
    verdict = venue.cue(to=(SeatId("A-9-9"),))
    assert (targets(verdict), skipped(verdict)) == (0, {})


# Reasons


def test_who_has_opted_out_is_skipped() -> None:
    venue = Venue(SEA, seats=2)
    venue.seat(A1).settle(SeatSettings(opted_out=True))
    verdict = venue.cue()
    assert (targets(verdict), skipped(verdict)) == (1, {"opted-out": 1})


def test_who_cannot_be_reached_is_skipped() -> None:
    venue = Venue(SEA)
    venue.connect(A1, online=False)
    assert skipped(venue.cue()) == {"offline": 1}


def test_a_stuck_dispenser_is_skipped() -> None:
    venue = Venue(SEA)
    venue.stick(A1, stuck=True)
    assert skipped(venue.cue()) == {"stuck": 1}


def test_a_seat_without_the_scent_is_skipped() -> None:
    assert skipped(Venue(SEA).cue(scent=PINE)) == {"no-such-scent": 1}


def test_a_seat_whose_last_scent_has_not_cleared_is_skipped() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, SEA)
    assert skipped(venue.cue(2, PINE)) == {"clearing": 1}


def test_a_seat_whose_slot_sprays_already_is_skipped() -> None:
    venue = Venue(SEA)
    venue.cue(1)
    assert skipped(venue.cue(2)) == {"busy": 1}


def test_a_seat_whose_vial_has_too_little_left_is_skipped() -> None:
    venue = Venue(SEA)
    venue.load(0, left_s=0.9)
    assert skipped(venue.cue()) == {"empty": 1}


def test_a_seat_that_would_get_too_much_is_skipped() -> None:
    venue = Venue(SEA)
    for n in range(2):
        venue.cue(n, lasts=10_000)
        venue.at(venue.now + 10_000)
    assert skipped(venue.cue("one more")) == {"dose-limit": 1}


# Slots


def test_a_slot_of_the_same_scent_steps_in_for_a_busy_one() -> None:
    venue = Venue(SEA, SEA)
    venue.cue(1)
    assert targets(venue.cue(2)) == 1
    assert set(venue.open()) == {(A1, 0), (A1, 1)}


def test_a_slot_of_the_same_scent_steps_in_for_an_empty_one() -> None:
    venue = Venue(SEA, SEA)
    venue.load(0, left_s=0.5)
    assert targets(venue.cue()) == 1
    assert set(venue.open()) == {(A1, 1)}


def test_a_free_slot_is_taken_before_a_weaker_cue_is_displaced() -> None:
    venue = Venue(SEA, SEA)
    venue.cue("weak", priority=1)
    venue.cue("strong", priority=9)
    assert set(venue.open()) == {(A1, 0), (A1, 1)}
    assert venue.heard(ScentEnded) == []


# Priority


def test_a_higher_priority_displaces_a_lower_one() -> None:
    venue = Venue(SEA)
    venue.cue("weak", priority=5, intensity=0.3)
    venue.at(200)
    assert targets(venue.cue("strong", priority=6)) == 1
    assert venue.open() == {(A1, 0): 1.0}
    [ended] = venue.heard(ScentEnded)
    assert (ended.cue, ended.reason, ended.seats) == (key("weak"), Ended.DISPLACED, None)


@pytest.mark.parametrize("priority", [5, 4])
def test_an_equal_or_lower_priority_does_not_displace(priority: int) -> None:
    venue = Venue(SEA)
    venue.cue("first", priority=5, intensity=0.3)
    assert skipped(venue.cue("second", priority=priority)) == {"busy": 1}
    assert venue.open() == {(A1, 0): 0.3}


def test_a_priority_does_not_outweigh_clearing() -> None:
    venue = Venue(SEA, PINE)
    venue.cue("weak", SEA, priority=0)
    assert skipped(venue.cue("strong", PINE, priority=9)) == {"clearing": 1}


def test_only_what_a_displaced_spray_released_counts() -> None:
    venue = Venue(SEA)
    vial = venue.load(0, left_s=20)
    venue.cue("weak", lasts=10_000, priority=4)
    venue.at(500)
    venue.cue("strong", lasts=2_000, priority=5)
    assert vial.left_us == 17_500_000
    assert sum(venue.zone.take_doses(venue.clock).values()) == 2_500_000


def test_a_cue_may_displace_what_it_needs_the_remainder_of() -> None:
    venue = Venue(SEA)
    venue.load(0, left_s=10)
    venue.cue("weak", lasts=10_000, priority=4)
    venue.at(1_000)
    assert skipped(venue.cue("too long", lasts=9_001, priority=5)) == {"empty": 1}
    assert targets(venue.cue("strong", lasts=9_000, priority=5)) == 1


# Clearing


def test_another_scent_may_follow_when_the_last_has_cleared() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, SEA, lasts=1_000)
    venue.at(2_999)
    assert skipped(venue.cue(2, PINE)) == {"clearing": 1}
    venue.at(3_000)
    assert targets(venue.cue(3, PINE)) == 1


def test_the_same_scent_may_follow_at_once() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, SEA, lasts=1_000)
    venue.at(1_000)
    assert targets(venue.cue(2, SEA)) == 1


def test_a_cue_that_mixes_joins_another_scent() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, SEA)
    assert targets(venue.cue(2, PINE, mix=True)) == 1
    assert set(venue.open()) == {(A1, 0), (A1, 1)}


def test_after_a_mixture_both_scents_have_to_clear() -> None:
    venue = Venue(SEA, PINE, TAR)
    venue.cue(1, SEA, lasts=1_000)
    venue.cue(2, PINE, lasts=2_000, mix=True)
    venue.at(3_500)
    assert skipped(venue.cue(3, SEA)) == {"clearing": 1}
    assert targets(venue.cue(4, PINE, lasts=100)) == 1
    venue.at(5_599)
    assert skipped(venue.cue(5, TAR)) == {"clearing": 1}
    venue.at(5_600)
    assert targets(venue.cue(6, TAR)) == 1


def test_a_scent_that_was_stopped_clears_from_then_on() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, SEA, lasts=10_000)
    venue.at(1_000)
    venue.stop()
    venue.at(2_999)
    assert skipped(venue.cue(2, PINE)) == {"clearing": 1}
    venue.at(3_000)
    assert targets(venue.cue(3, PINE)) == 1


# Vials


def test_a_vial_gives_until_it_is_empty() -> None:
    venue = Venue(SEA)
    vial = venue.load(0, left_s=2)
    assert targets(venue.cue(1)) == 1
    venue.at(1_000)
    assert targets(venue.cue(2)) == 1
    venue.at(2_000)
    assert vial.left_us == 0
    assert skipped(venue.cue(3, lasts=1)) == {"empty": 1}


def test_what_a_stopped_spray_did_not_use_stays_in_the_vial() -> None:
    venue = Venue(SEA)
    vial = venue.load(0, left_s=10)
    venue.cue(lasts=8_000, intensity=0.5)
    assert vial.left_us == 6_000_000
    venue.at(2_000)
    venue.stop()
    assert vial.left_us == 9_000_000


def test_a_slot_without_a_vial_sprays_as_if_it_were_full() -> None:
    venue = Venue(SEA)
    assert venue.seat().slots[0].vial is None
    assert targets(venue.cue(lasts=10_000)) == 1


# A dispenser that cannot be reached


def test_a_dispenser_that_cannot_be_reached_sprays_on_whatever_is_stopped() -> None:
    venue = Venue(SEA)
    venue.cue(lasts=10_000)
    venue.at(1_000)
    venue.connect(A1, online=False)
    assert venue.stop() == 0
    assert venue.cancel("c") == 0
    assert venue.heard(ScentEnded) == []
    assert sum(venue.zone.take_doses(venue.clock).values()) == 10_000_000


def test_a_dispenser_that_is_found_again_is_stopped() -> None:
    venue = Venue(SEA)
    venue.cue(lasts=10_000)
    venue.connect(A1, online=False)
    venue.at(4_000)
    venue.connect(A1, online=True)
    assert venue.open() == {}
    [ended] = venue.heard(ScentEnded)
    assert ended.reason == Ended.RESTARTED
    assert sum(venue.zone.take_doses(venue.clock).values()) == 4_000_000


@pytest.mark.parametrize(("lost_at", "counted_s"), [(3_900, 6), (4_100, 1)])
def test_a_stop_that_a_link_lost_soon_afterwards_may_not_have_told_saves_nothing(
    lost_at: float, counted_s: int
) -> None:
    venue = Venue(SEA)
    venue.cue(1, lasts=6_000)
    venue.at(1_000)
    venue.devices.lose(A1)
    assert venue.stop() == 1
    venue.at(lost_at)
    venue.connect(A1, online=False)
    assert sum(venue.zone.take_doses(venue.clock).values()) == counted_s * 1_000_000
    venue.connect(A1, online=True)
    venue.at(10_000)
    assert skipped(venue.cue(2, lasts=20_001 - counted_s * 1_000)) == {"dose-limit": 1}
    assert targets(venue.cue(3, lasts=19_999 - counted_s * 1_000)) == 1


def test_a_link_that_is_lost_counts_for_each_slot_the_most_that_may_have_gone_on() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, lasts=6_000)
    venue.cue(2, PINE, lasts=3_000, mix=True)
    venue.at(1_000)
    venue.cue(3, lasts=2_000, priority=9, mix=True)
    venue.at(2_000)
    venue.stop()
    venue.at(3_000)
    venue.connect(A1, online=False)
    were_open_s, may_have_gone_on_s = [1, 2, 1], [5, 1]
    everything_s = sum(were_open_s) + sum(may_have_gone_on_s)
    assert sum(venue.zone.take_doses(venue.clock).values()) == everything_s * 1_000_000
    venue.connect(A1, online=True)
    venue.connect(A1, online=False)
    assert venue.zone.take_doses(venue.clock) == {}


Asked = tuple[float, str, float, float, int]
asked = st.tuples(
    st.floats(0, 900),
    st.sampled_from([SEA, PINE, "a level", "a stop"]),
    st.floats(10, 8_000),
    st.sampled_from([0.25, 1.0]),
    st.integers(0, 9),
)


@given(heard=st.lists(asked, max_size=6), unheard=st.lists(asked, max_size=3))
def test_whatever_a_link_did_not_tell_before_it_was_lost_no_dose_is_left_uncounted(
    heard: list[Asked], unheard: list[Asked]
) -> None:
    venue, names = Venue(SEA, PINE, limits=limits(minute_s=100)), count()

    def ask(wait: float, what: str, lasts: float, intensity: float, priority: int) -> None:
        venue.at(venue.now + wait)
        if what == "a stop":
            venue.stop()
        elif what == "a level":
            venue.level(intensity, ttl=lasts)
        else:
            venue.cue(
                next(names),
                Scent(what),
                lasts=lasts,
                intensity=intensity,
                priority=priority,
                mix=True,
            )

    for one in heard:
        ask(*one)
    venue.devices.lose(A1)
    for one in unheard:
        ask(*one)
    venue.connect(A1, online=False)
    venue.at(venue.now + 20_000)
    counted_us = sum(venue.zone.take_doses(venue.clock).values())
    given_s = sum(b.dose_s(b.opened_ms, b.closes_ms) for b in venue.devices.breaths)
    assert given_s * 1_000_000 <= counted_us + len(venue.devices.breaths)


# A dispenser that does not close


def test_a_dispenser_that_sticks_and_comes_loose_is_told_of_once_each() -> None:
    venue = Venue(SEA)
    for stuck in (True, True, False, False):
        venue.stick(A1, stuck=stuck)
    changes = [(event.change, event.seat) for event in venue.heard(ZoneChanged)]
    assert changes == [(Change.SEAT_STUCK, A1), (Change.SEAT_LOOSE, A1)]


def test_what_a_stuck_slot_gave_counts_and_has_to_clear() -> None:
    venue = Venue(SEA, PINE)
    venue.stick(A1, stuck=True)
    venue.at(15_000)
    venue.stick(A1, stuck=False)
    assert sum(venue.zone.take_doses(venue.clock).values()) == 2_000_000 + 15_000_000
    assert skipped(venue.cue(1, PINE)) == skipped(venue.cue(2, SEA)) == {"clearing": 1}
    venue.at(17_000)
    assert skipped(venue.cue(3, lasts=3_100)) == {"dose-limit": 1}
    assert targets(venue.cue(4, lasts=2_900)) == 1


def test_a_slot_that_sticks_counts_from_the_stop_that_it_did_not_follow() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(lasts=6_000)
    venue.at(1_000)
    venue.stop()
    venue.at(2_350)
    venue.stick(A1, stuck=True)
    venue.at(4_000)
    venue.stick(A1, stuck=False)
    assert sum(venue.zone.take_doses(venue.clock).values()) == 4_000_000


def test_a_slot_that_sticks_counts_from_two_seconds_before_where_nothing_was_stopped_since() -> (
    None
):
    venue = Venue(SEA, PINE)
    venue.cue(1, lasts=1_000)
    venue.at(5_000)
    venue.stick(A1, stuck=True)
    assert sum(venue.zone.take_doses(venue.clock).values()) == 3_000_000


def test_which_slot_sticks_is_not_known_so_it_counts_from_the_earliest_that_it_may_be() -> None:
    venue = Venue(SEA, PINE)
    venue.cue(1, lasts=500)
    venue.at(600)
    venue.cue(2, PINE, lasts=3_000, mix=True)
    venue.at(1_500)
    venue.stick(A1, stuck=True)
    assert sum(venue.zone.take_doses(venue.clock).values()) == 500_000 + 3_000_000 + 1_000_000


def test_a_device_that_only_calls_itself_a_seats_raises_an_alarm() -> None:
    venue = Venue(SEA)
    with venue.acting():
        venue.zone.suspect(A1, venue.clock)
        venue.zone.suspect(SeatId("A-9-9"), venue.clock)
    [alarm] = venue.heard(ZoneChanged)
    assert (alarm.change, alarm.seat) == (Change.SEAT_IMPOSTOR, A1)


# Owners


def test_a_cue_of_another_client_displaces_by_the_same_rule() -> None:
    venue = Venue(SEA)
    venue.cue(by=GAME, priority=5)
    assert skipped(venue.cue(by=FILM, priority=5)) == {"busy": 1}
    assert targets(venue.cue("c2", by=FILM, priority=6)) == 1

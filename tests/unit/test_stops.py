"""A stop overtakes what waits, closes what runs, and leaves the rest alone."""

from scentrt.domain.cues import Target
from scentrt.domain.decisions import Accepted, Halt, Refusal, Refused, Withdraw
from scentrt.domain.events import (
    ACTIVE,
    ENDED,
    Change,
    CueDispatched,
    CueExpired,
    Ended,
    LevelChanged,
    ScentEnded,
    ZoneChanged,
)
from tests.unit.venue import A1, A2, A3, FILM, GAME, NOON, PINE, SEA, Venue, key, targets

# Whose, and where


def test_a_stop_closes_everything() -> None:
    venue = Venue(SEA, PINE, seats=2)
    venue.cue(1, SEA, by=GAME, lasts=8_000)
    venue.cue(2, PINE, by=FILM, lasts=8_000, mix=True)
    venue.at(1_000)
    assert venue.stop() == 4
    assert venue.open() == {}
    assert {event.reason for event in venue.heard(ScentEnded)} == {Ended.STOPPED}


def test_a_stop_of_ones_own_leaves_what_others_asked_for() -> None:
    venue = Venue(SEA, PINE)
    venue.cue("mine", SEA, by=GAME)
    venue.cue("theirs", PINE, by=FILM, mix=True)
    assert venue.stop(GAME) == 1
    assert set(venue.open()) == {(A1, 1)}
    assert [event.cue for event in venue.heard(ScentEnded)] == [key("mine", GAME)]


def test_a_stop_at_some_seats_leaves_the_others() -> None:
    venue = Venue(SEA, seats=3)
    venue.cue()
    assert venue.stop(to=(A1, A3)) == 2
    assert set(venue.open()) == {(A2, 0)}
    assert [event.seats for event in venue.heard(ScentEnded)] == [(A1, A3)]


def test_what_is_over_already_is_not_stopped() -> None:
    venue = Venue(SEA)
    venue.cue(lasts=1_000)
    venue.at(1_000)
    assert venue.stop() == 0
    assert venue.heard(ScentEnded) == []


# What waits


def test_a_stop_drops_the_cues_that_wait() -> None:
    venue = Venue(SEA)
    venue.cue("c", due=1_000)
    venue.stop(GAME)
    assert not venue.zone.waits(key("c"))
    venue.at(1_000)
    assert venue.devices.breaths == []


def test_a_stop_of_ones_own_leaves_the_cues_of_others_waiting() -> None:
    venue = Venue(SEA)
    venue.cue("theirs", by=FILM, due=1_000)
    venue.stop(GAME)
    venue.at(1_000)
    assert len(venue.open()) == 1


def test_a_cue_that_waits_is_still_for_the_seats_that_were_not_stopped() -> None:
    venue = Venue(SEA, seats=3)
    venue.cue("c", due=1_000)
    venue.stop(to=(A1,))
    venue.stop(to=(A3,))
    venue.at(1_000)
    assert set(venue.open()) == {(A2, 0)}


def test_a_cue_that_waits_for_stopped_seats_alone_is_dropped() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue("c", due=1_000, to=(A1,))
    venue.stop(to=(A1, A2))
    assert not venue.zone.waits(key("c"))


# What was asked before and comes after


def test_a_cue_that_was_asked_before_a_stop_does_not_come_after_it() -> None:
    venue = Venue(SEA)
    venue.at(10)
    venue.stop(asked=9)
    assert venue.cue("before", asked=8) == Accepted(NOON + 10, 0, {})
    assert [event.targets for event in venue.heard(CueDispatched)] == [0]
    assert targets(venue.cue("after", asked=10)) == 1


def test_a_cue_for_later_that_was_asked_before_a_stop_does_not_come_either() -> None:
    venue = Venue(SEA)
    venue.at(10)
    venue.stop(GAME, asked=9)
    assert targets(venue.cue(asked=8, due=1_000)) == 0
    venue.at(1_000)
    assert venue.devices.breaths == []


def test_a_cue_that_was_asked_before_a_stop_at_some_seats_reaches_the_others() -> None:
    venue = Venue(SEA, seats=3)
    venue.at(10)
    venue.stop(to=(A1, A2), asked=9)
    assert targets(venue.cue(asked=8)) == 1
    assert set(venue.open()) == {(A3, 0)}


def test_a_cue_of_another_client_is_not_held_back_by_a_stop_of_ones_own() -> None:
    venue = Venue(SEA)
    venue.at(10)
    venue.stop(GAME, asked=9)
    assert targets(venue.cue(by=FILM, asked=8)) == 1


def test_a_level_that_was_asked_before_a_stop_does_not_come_after_it() -> None:
    venue = Venue(SEA, seats=2)
    venue.at(10)
    venue.stop(GAME, (A1,), asked=9)
    venue.level(0.5, asked=8)
    assert set(venue.open()) == {(A2, 0)}
    venue.level(0.5, asked=10)
    assert set(venue.open()) == {(A1, 0), (A2, 0)}


def test_a_stop_is_held_against_the_past_for_ten_seconds() -> None:
    venue = Venue(SEA)
    venue.stop(asked=0)
    venue.at(10_001)
    venue.stop(FILM)
    assert targets(venue.cue(asked=0)) == 1


def test_a_stop_that_was_asked_earlier_but_comes_later_takes_nothing_back() -> None:
    venue = Venue(SEA, seats=2)
    venue.at(10)
    venue.stop(GAME, asked=9)
    venue.stop(GAME, asked=5)
    assert targets(venue.cue(asked=7)) == 0


# Levels


def test_a_stop_ends_levels() -> None:
    venue = Venue(SEA)
    venue.level(0.5)
    venue.heard(LevelChanged)
    assert venue.stop() == 1
    assert venue.open() == {}
    assert [event.state for event in venue.heard(LevelChanged)] == [ENDED]


def test_a_level_goes_on_where_it_was_not_stopped() -> None:
    venue = Venue(SEA, seats=2)
    venue.level(0.5)
    venue.heard(LevelChanged)
    venue.stop(to=(A1,))
    assert set(venue.open()) == {(A2, 0)}
    assert venue.heard(LevelChanged) == []


def test_after_a_stop_nothing_of_a_level_is_mixed_in() -> None:
    venue = Venue(SEA, seats=2)
    venue.level(0.3)
    venue.cue(by=FILM)
    venue.stop(GAME)
    venue.stop(FILM)
    venue.at(16)
    venue.level(0.4, target=Target(seats=(A1,)), to=(A1,))
    assert venue.open() == {(A1, 0): 0.4}


# Panic


def test_a_panic_stops_everything_and_refuses_cues_until_it_is_released() -> None:
    venue = Venue(SEA)
    venue.cue(1, lasts=8_000)
    assert venue.panic() == 1
    assert venue.open() == {}
    assert [event.reason for event in venue.heard(ScentEnded)] == [Ended.PANIC]
    assert venue.cue(2) == Refused(Refusal.PANIC)
    venue.at(1)
    with venue.acting():
        venue.zone.release(venue.clock)
    assert targets(venue.cue(3)) == 1
    changes = [event.change for event in venue.heard(ZoneChanged)]
    assert changes == [Change.PANICKED, Change.RELEASED]


def test_what_a_slow_dispenser_still_has_before_it_is_withdrawn_although_nothing_is_open() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue(1, lasts=50, ttl=5_000)
    venue.at(100)
    venue.orders.clear()
    assert venue.cancel(1) == 0
    assert venue.stop(GAME, (A1,)) == 0
    assert venue.stop() == 0
    with venue.acting():
        assert venue.zone.hush(FILM, venue.clock) == 0
    assert venue.orders == [
        Withdraw(key(1), None, None),
        Withdraw(None, GAME, (A1,)),
        Withdraw(None, None, None),
        Withdraw(None, FILM, None),
    ]


def test_a_panic_closes_every_slot_also_those_that_are_not_known_to_be_open() -> None:
    venue = Venue(SEA, PINE, seats=2)
    assert venue.panic() == 0
    assert venue.orders == [Halt(None, (A1, A2))]


def test_a_second_panic_closes_every_slot_again_and_is_no_news() -> None:
    venue = Venue(SEA)
    venue.panic()
    venue.panic()
    assert venue.orders == [Halt(None, (A1,))] * 2
    assert len(venue.heard(ZoneChanged)) == 1


def test_a_panic_drops_all_that_waits_also_what_was_asked_after_it() -> None:
    venue = Venue(SEA)
    venue.at(10)
    venue.cue("asked since", due=1_000)
    venue.panic(asked=5)
    venue.at(1_000)
    assert venue.devices.breaths == []


def test_what_was_asked_before_a_panic_does_not_come_when_it_is_released() -> None:
    venue = Venue(SEA)
    venue.at(10)
    venue.panic()
    with venue.acting():
        venue.zone.release(venue.clock)
    assert targets(venue.cue(asked=9)) == 0


def test_a_zone_may_begin_in_a_panic() -> None:
    venue = Venue(SEA)
    venue.zone.panicked = True
    assert venue.cue() == Refused(Refusal.PANIC)
    with venue.acting():
        venue.zone.release(venue.clock)
    assert targets(venue.cue()) == 1


def test_the_sender_of_a_level_is_told_once_that_there_is_a_panic() -> None:
    venue = Venue(SEA)
    venue.level(0.5)
    venue.panic()
    for frame in range(1, 4):
        venue.at(frame * 16)
        venue.level(0.5)
    assert venue.open() == {}
    with venue.acting():
        venue.zone.release(venue.clock)
    venue.at(64)
    venue.level(0.5)
    assert len(venue.open()) == 1
    assert [event.state for event in venue.heard(LevelChanged)] == [ACTIVE, "panic", ACTIVE]


# An owner who is gone


def test_who_is_gone_without_a_word_sprays_no_more() -> None:
    venue = Venue(SEA, PINE)
    venue.cue("mine", SEA, by=GAME, lasts=8_000)
    venue.cue("theirs", PINE, by=FILM, lasts=8_000, mix=True)
    with venue.acting():
        assert venue.zone.hush(GAME, venue.clock) == 1
    assert set(venue.open()) == {(A1, 1)}
    [ended] = venue.heard(ScentEnded)
    assert (ended.cue, ended.reason) == (key("mine"), Ended.CLIENT_GONE)


def test_the_levels_of_who_is_gone_end_and_none_comes_after() -> None:
    venue = Venue(SEA)
    venue.level(0.5)
    with venue.acting():
        venue.zone.hush(GAME, venue.clock)
    assert venue.open() == {}
    venue.at(5)
    venue.level(0.5)
    assert venue.open() == {}
    assert [event.state for event in venue.heard(LevelChanged)] == [ACTIVE, ENDED]


def test_cues_of_who_is_gone_wait_until_it_is_back() -> None:
    venue = Venue(SEA)
    venue.cue(due=1_000, ttl=3_000)
    with venue.acting():
        venue.zone.hush(GAME, venue.clock)
    venue.at(2_000)
    assert venue.open() == {}
    with venue.acting():
        venue.zone.welcome_back(GAME, venue.clock)
    assert len(venue.open()) == 1


def test_a_cue_that_comes_when_its_owner_is_gone_already_waits_as_well() -> None:
    venue = Venue(SEA)
    with venue.acting():
        venue.zone.hush(GAME, venue.clock)
    assert targets(venue.cue("c")) == 1
    assert venue.open() == {}
    assert venue.zone.waits(key("c"))


def test_cues_that_have_become_too_late_meanwhile_are_dropped() -> None:
    venue = Venue(SEA)
    venue.cue(due=1_000, ttl=500)
    with venue.acting():
        venue.zone.hush(GAME, venue.clock)
    venue.at(2_000)
    with venue.acting():
        venue.zone.welcome_back(GAME, venue.clock)
    assert venue.devices.breaths == []
    assert len(venue.heard(CueExpired)) == 1


def test_who_is_back_twice_sprays_once() -> None:
    venue = Venue(SEA)
    venue.cue(due=1_000, ttl=5_000)
    for _ in range(2):
        venue.zone.hush(GAME, venue.clock)
        venue.zone.welcome_back(GAME, venue.clock)
    venue.at(1_000)
    venue.at(3_000)
    assert len(venue.devices.breaths) == 1


def test_who_leaves_for_good_leaves_what_runs_and_nothing_else() -> None:
    venue = Venue(SEA, PINE, seats=2)
    venue.cue("runs", SEA, lasts=3_000, to=(A1,))
    venue.cue("waits", SEA, due=5_000)
    venue.level(0.5, PINE, to=(A2,))
    with venue.acting():
        venue.zone.forget(GAME, venue.clock)
    assert set(venue.open()) == {(A1, 0)}
    venue.at(5_000)
    assert venue.open() == {}


def test_who_was_forgotten_while_away_is_held_back_no_more() -> None:
    venue = Venue(SEA)
    venue.cue("dropped", due=1_000)
    venue.zone.hush(GAME, venue.clock)
    venue.zone.forget(GAME, venue.clock)
    assert targets(venue.cue("new")) == 1
    assert len(venue.open()) == 1

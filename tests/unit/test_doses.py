"""No more than a minute's and an hour's worth, wherever one begins to count."""

from scentrt.domain.cues import dose_us
from scentrt.domain.doses import US_PER_S, DoseBudget
from tests.unit.venue import A1, NOON, SEA, Venue, limits, skipped, targets


def test_a_dose_is_intensity_times_time() -> None:
    assert dose_us(0.8, 1_500) == 1_200_000
    assert dose_us(1.0, 1_000) == US_PER_S


def test_even_the_least_release_counts_as_something() -> None:
    assert dose_us(1e-9, 1) == 1


def test_what_fits_exactly_fits() -> None:
    budget = DoseBudget(limits(minute_s=20))
    budget.charge(15 * US_PER_S, NOON)
    assert budget.has_room(5 * US_PER_S, NOON)
    assert not budget.has_room(5 * US_PER_S + 1, NOON)


def test_a_release_counts_for_a_minute_after_the_second_in_which_it_ended() -> None:
    budget = DoseBudget(limits(minute_s=20))
    budget.charge(20 * US_PER_S, NOON + 999)
    assert not budget.has_room(1, NOON + 60_999)
    assert budget.has_room(20 * US_PER_S, NOON + 61_000)


def test_a_release_counts_for_an_hour_after_the_minute_in_which_it_ended() -> None:
    budget = DoseBudget(limits(minute_s=20, hour_s=20))
    budget.charge(20 * US_PER_S, NOON + 59_999)
    assert not budget.has_room(1, NOON + 3_659_999)
    assert budget.has_room(20 * US_PER_S, NOON + 3_660_000)


def test_releases_leave_the_window_one_after_the_other() -> None:
    budget = DoseBudget(limits(minute_s=3))
    for second in range(3):
        budget.charge(US_PER_S, NOON + second * 1_000)
    assert not budget.has_room(1, NOON + 60_999)
    assert budget.has_room(1 * US_PER_S, NOON + 61_000)
    assert not budget.has_room(2 * US_PER_S, NOON + 61_999)
    assert budget.has_room(2 * US_PER_S, NOON + 62_000)


def test_a_release_that_was_decided_later_may_end_sooner() -> None:
    budget = DoseBudget(limits(minute_s=3))
    budget.charge(2 * US_PER_S, NOON + 10_000)
    budget.charge(US_PER_S, NOON)
    assert not budget.has_room(1, NOON + 60_999)
    assert budget.has_room(US_PER_S, NOON + 61_000)
    assert not budget.has_room(US_PER_S + 1, NOON + 70_999)


def test_what_is_taken_back_may_be_had_again() -> None:
    budget = DoseBudget(limits(minute_s=3))
    budget.charge(3 * US_PER_S, NOON + 3_000)
    budget.charge(-3 * US_PER_S, NOON + 3_000)
    budget.charge(US_PER_S, NOON)
    assert budget.has_room(2 * US_PER_S, NOON)
    assert not budget.has_room(2 * US_PER_S + 1, NOON)


def test_one_can_look_ahead_without_forgetting_anything() -> None:
    budget = DoseBudget(limits(minute_s=3))
    budget.charge(3 * US_PER_S, NOON)
    assert budget.will_have_room(3 * US_PER_S, NOON + 61_000)
    assert not budget.will_have_room(1, NOON + 60_999)
    assert not budget.has_room(1, NOON)


def test_a_budget_is_whole_again_when_nothing_counts_any_more() -> None:
    budget = DoseBudget(limits())
    assert budget.is_whole(NOON)
    budget.charge(1, NOON)
    assert not budget.is_whole(NOON + 3_659_999)
    assert budget.is_whole(NOON + 3_660_000)


def test_each_change_is_told_once_with_what_the_second_has_now() -> None:
    budget = DoseBudget(limits())
    budget.charge(5, NOON + 100)
    budget.charge(7, NOON + 900)
    budget.charge(9, NOON + 1_000)
    second = int(NOON) // 1_000
    assert budget.take_changed() == {second: 12, second + 1: 9}
    assert budget.take_changed() == {}
    budget.charge(-5, NOON + 100)
    assert budget.take_changed() == {second: 7}


def test_a_change_is_told_rightly_however_late_one_asks() -> None:
    budget = DoseBudget(limits())
    budget.charge(5, NOON)
    assert budget.has_room(1, NOON + 600_000)
    assert budget.take_changed() == {int(NOON) // 1_000: 5}


def test_a_seat_that_has_had_its_minute_is_skipped_until_the_minute_is_over() -> None:
    venue = Venue(SEA, limits=limits(minute_s=2))
    assert targets(venue.cue(1, lasts=2_000)) == 1
    venue.at(62_999)
    assert skipped(venue.cue(2, lasts=1)) == {"dose-limit": 1}
    venue.at(63_000)
    assert targets(venue.cue(3, lasts=2_000)) == 1


def test_a_seat_that_has_had_its_hour_is_skipped_though_its_minute_is_free() -> None:
    venue = Venue(SEA, limits=limits(minute_s=2, hour_s=3))
    assert targets(venue.cue(1, lasts=2_000)) == 1
    venue.at(600_000)
    assert skipped(venue.cue(2, lasts=1_001)) == {"dose-limit": 1}
    assert targets(venue.cue(3, lasts=1_000)) == 1


def test_another_seat_has_a_budget_of_its_own() -> None:
    venue = Venue(SEA, seats=2, limits=limits(minute_s=1))
    venue.cue(1, to=(A1,))
    venue.at(3_000)
    verdict = venue.cue(2)
    assert (targets(verdict), skipped(verdict)) == (1, {"dose-limit": 1})

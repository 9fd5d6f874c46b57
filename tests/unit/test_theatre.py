"""A cue from when it is asked until it is over: once, in time, and as it was asked."""

from scentrt.domain.agenda import REMEMBERED_MS
from scentrt.domain.cues import Spray
from scentrt.domain.decisions import Accepted, Refusal, Refused, Release
from scentrt.domain.events import (
    CueDispatched,
    CueExpired,
    Ended,
    PublicEvent,
    ScentEnded,
    ScentReleased,
)
from tests.unit.venue import A1, A2, FILM, GAME, NOON, PINE, SEA, Venue, key, skipped, targets

# Now


def test_a_cue_that_is_due_goes_out_at_once() -> None:
    venue = Venue(SEA, seats=2)
    assert venue.cue(intensity=0.8, lasts=1_500) == Accepted(NOON, 2, {})
    assert venue.open() == {(A1, 0): 0.8, (A2, 0): 0.8}


def test_dispensers_that_do_the_same_are_told_together() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue("c", intensity=0.8, lasts=1_500, to=(A2, A1))
    spray = Spray(0, 0.8, 1_500, key("c"), NOON + 500)
    assert venue.orders == [Release(spray, (A2, A1))]


def test_who_looks_on_hears_what_was_released_where() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue("all", intensity=0.8, lasts=1_500)
    venue.at(1_500.0)
    venue.cue("one", to=(A2,))
    everywhere, somewhere = venue.heard(ScentReleased)
    assert (everywhere.cue, everywhere.seats) == (key("all"), None)
    assert (everywhere.scent, everywhere.intensity, everywhere.duration_ms) == (SEA, 0.8, 1_500)
    assert everywhere.at_ms == NOON
    assert (somewhere.cue, somewhere.seats) == (key("one"), (A2,))


def test_the_owner_hears_how_late_a_cue_went_out_and_to_how_many() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue(due=100)
    venue.at(130)
    [dispatched] = venue.heard(CueDispatched)
    assert (dispatched.targets, dispatched.late_ms) == (2, 30)


def test_a_cue_that_reaches_nobody_is_no_scent_but_its_owner_hears_of_it() -> None:
    venue = Venue(SEA)
    assert skipped(venue.cue(scent=PINE)) == {"no-such-scent": 1}
    assert venue.heard(ScentReleased) == []
    assert [event.targets for event in venue.heard(CueDispatched)] == [0]


def test_two_cues_that_differ_in_nothing_but_their_key_are_two_sprays() -> None:
    venue = Venue(SEA)
    venue.cue(1)
    venue.at(1_000)
    venue.cue("1")
    venue.at(2_000)
    venue.cue(1, by=FILM)
    assert len(venue.devices.breaths) == 3


# Later


def test_a_cue_for_later_waits_until_it_is_due() -> None:
    venue = Venue(SEA)
    assert targets(venue.cue("c", due=1_000)) == 1
    assert venue.zone.next_ms == NOON + 1_000
    venue.at(999)
    assert venue.open() == {}
    assert venue.zone.waits(key("c"))
    venue.at(1_000)
    assert venue.open() == {(A1, 0): 1.0}
    assert not venue.zone.waits(key("c"))


def test_a_cue_that_waits_is_decided_again_when_it_is_due() -> None:
    venue = Venue(SEA, seats=2)
    assert targets(venue.cue(due=1_000)) == 2
    venue.connect(A1, online=False)
    venue.at(1_000)
    assert [event.targets for event in venue.heard(CueDispatched)] == [1]
    assert venue.open() == {(A2, 0): 1.0}


def test_the_first_answer_foresees_what_will_have_cleared_and_closed_by_then() -> None:
    venue = Venue(SEA, PINE)
    venue.cue("now", SEA)
    assert skipped(venue.cue(1, SEA, due=999)) == {"busy": 1}
    assert targets(venue.cue(2, SEA, due=1_000)) == 1
    assert skipped(venue.cue(3, PINE, due=2_999)) == {"clearing": 1}
    assert targets(venue.cue(4, PINE, due=3_000)) == 1


def test_the_first_answer_foresees_what_the_budget_will_allow() -> None:
    venue = Venue(SEA)
    for n in range(2):
        venue.cue(n, lasts=10_000)
        venue.at(venue.now + 10_000)
    assert skipped(venue.cue("soon", due=60_000)) == {"dose-limit": 1}
    assert targets(venue.cue("later", due=90_000)) == 1


def test_of_cues_that_are_due_together_the_most_important_takes_the_slot() -> None:
    venue = Venue(SEA)
    venue.cue("low", due=1_000, priority=1)
    venue.cue("high", due=1_000, priority=9)
    venue.cue("also high", due=1_000, priority=9)
    venue.at(1_000)
    assert [event.cue.id for event in venue.heard(ScentReleased)] == ["high"]
    assert venue.heard(ScentEnded) == []


def test_a_zone_may_send_out_a_few_cues_at_a_time() -> None:
    venue = Venue(SEA)
    for n in range(3):
        venue.cue(n, due=1_000)
    venue.zone.advance(NOON + 1_000, most=2)
    assert venue.zone.next_ms == NOON + 1_000
    venue.zone.advance(NOON + 1_000, most=2)
    assert venue.zone.next_ms > NOON + 1_000


# Too late


def test_a_cue_is_welcome_to_the_end_of_its_time_to_live() -> None:
    venue = Venue(SEA)
    venue.cue(due=1_000, ttl=500)
    venue.at(1_500)
    assert len(venue.open()) == 1


def test_a_cue_whose_time_to_live_is_over_is_dropped_and_its_owner_hears_of_it() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue("c", due=1_000, ttl=500)
    venue.at(1_501)
    assert venue.devices.breaths == []
    assert venue.heard(CueExpired) == [CueExpired(key("c"), targets=2, late_ms=501)]
    assert venue.zone.late == 1


def test_a_cue_that_comes_too_late_is_refused() -> None:
    venue = Venue(SEA)
    venue.at(2_000)
    assert venue.cue(due=1_000, ttl=500) == Refused(Refusal.TOO_LATE)
    assert venue.devices.breaths == []
    assert venue.zone.late == 1


def test_a_cue_that_comes_late_but_in_time_goes_out() -> None:
    venue = Venue(SEA)
    venue.at(2_000)
    assert targets(venue.cue(due=1_500, ttl=500)) == 1
    assert [event.late_ms for event in venue.heard(CueDispatched)] == [500]


# Twice


def test_a_duplicate_gets_the_first_answer_and_sprays_nothing() -> None:
    venue = Venue(SEA)
    first = venue.cue("c", lasts=100)
    assert isinstance(first, Accepted)
    venue.at(3_000)
    venue.seat().online = False
    assert venue.cue("c", lasts=100) == first._replace(duplicate=True)
    assert len(venue.devices.breaths) == 1


def test_a_duplicate_of_a_cue_that_waits_does_not_wait_as_well() -> None:
    venue = Venue(SEA)
    first = venue.cue("c", due=1_000, lasts=100)
    assert isinstance(first, Accepted)
    assert venue.cue("c", due=1_200) == first._replace(duplicate=True)
    venue.at(5_000)
    assert len(venue.devices.breaths) <= 1


def test_a_duplicate_of_a_cue_that_was_decided_again_still_gets_the_first_answer() -> None:
    venue = Venue(SEA)
    first = venue.cue("c", due=1_000)
    assert isinstance(first, Accepted)
    venue.connect(A1, online=False)
    venue.at(1_000)
    assert first.targets == 1
    assert venue.cue("c") == first._replace(duplicate=True)


def test_an_id_may_be_used_again_after_five_minutes() -> None:
    venue = Venue(SEA)
    venue.cue("c")
    venue.at(REMEMBERED_MS)
    assert venue.cue("c") == Accepted(NOON, 1, {}, duplicate=True)
    venue.at(REMEMBERED_MS + 1)
    assert venue.cue("c") == Accepted(NOON + venue.now, 1, {}, duplicate=False)


def test_a_refused_cue_may_be_tried_again() -> None:
    venue = Venue(SEA)
    venue.panic()
    assert venue.cue("c") == Refused(Refusal.PANIC)
    venue.at(1)
    venue.zone.release(venue.clock)
    assert targets(venue.cue("c")) == 1


# Taken back


def test_a_cue_that_waits_can_be_cancelled() -> None:
    venue = Venue(SEA)
    venue.cue("c", due=1_000)
    assert venue.cancel("c") == 0
    venue.at(1_000)
    assert venue.devices.breaths == []
    assert not venue.zone.waits(key("c"))


def test_a_cue_that_runs_can_be_cancelled_wherever_it_does() -> None:
    venue = Venue(SEA, PINE, seats=2)
    venue.cue("c", SEA, lasts=8_000)
    venue.cue("other", PINE, mix=True)
    venue.at(500)
    assert venue.cancel("c") == 2
    assert set(venue.open()) == {(A1, 1), (A2, 1)}
    [ended] = venue.heard(ScentEnded)
    assert (ended.cue, ended.reason, ended.seats) == (key("c"), Ended.CANCELLED, None)


def test_only_what_was_released_before_a_cancel_counts() -> None:
    venue = Venue(SEA)
    vial = venue.load(0, left_s=10)
    venue.cue("c", lasts=8_000, intensity=0.5)
    venue.at(1_000)
    venue.cancel("c")
    assert vial.left_us == 9_500_000
    assert sum(venue.zone.take_doses(venue.clock).values()) == 500_000


def test_a_cue_that_is_over_cannot_be_cancelled_any_more() -> None:
    venue = Venue(SEA)
    venue.cue("c", lasts=1_000)
    venue.at(1_000)
    assert venue.cancel("c") == 0
    assert venue.heard(ScentEnded) == []


def test_a_cue_is_known_to_be_cancelled_while_it_waits_and_as_long_as_it_may_come_again() -> None:
    venue = Venue(SEA)
    venue.cue("c", due=2 * REMEMBERED_MS)
    venue.at(2 * REMEMBERED_MS - 1)
    assert venue.cancel("c") == 0
    venue.at(3 * REMEMBERED_MS - 1)
    assert venue.cancel("c") == 0
    venue.at(3 * REMEMBERED_MS)
    assert venue.cancel("c") is None


def test_a_cancel_concerns_its_own_cue_alone() -> None:
    venue = Venue(SEA)
    venue.cue("c", by=GAME)
    assert venue.cancel("c", by=FILM) is None
    assert len(venue.open()) == 1


def test_a_cancel_that_overtakes_its_cue_still_prevents_it() -> None:
    venue = Venue(SEA)
    venue.at(10)
    venue.cancel("c", asked=9)
    assert venue.cue("c", asked=8) == Accepted(NOON + 10, 0, {}, duplicate=False)
    assert venue.devices.breaths == []
    assert [event.targets for event in venue.heard(CueDispatched)] == [0]


def test_a_cancelled_cue_stays_known() -> None:
    venue = Venue(SEA)
    venue.cue("c", due=1_000)
    venue.cancel("c")
    venue.at(1_000)
    assert venue.cue("c") == Accepted(NOON + 1_000, 1, {}, duplicate=True)
    assert venue.devices.breaths == []


def test_after_a_cue_was_cancelled_its_key_waits_for_its_new_time() -> None:
    venue = Venue(SEA)
    venue.cue("c", due=REMEMBERED_MS + 2_000)
    venue.cancel("c")
    venue.at(REMEMBERED_MS + 1_000)
    venue.cue("c", due=REMEMBERED_MS + 9_000)
    venue.at(REMEMBERED_MS + 2_000)
    assert venue.open() == {}
    venue.at(REMEMBERED_MS + 9_000)
    assert len(venue.open()) == 1


# What is told


def test_each_public_event_has_the_next_revision() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue("weak", priority=1)
    venue.cue("strong", priority=2, to=(A1,))
    venue.level(0.3, to=(A2,))
    venue.stop()
    venue.panic()
    venue.connect(A1, online=False)
    told = venue.heard(object)
    revisions = [event.revision for event in told if isinstance(event, PublicEvent)]
    assert revisions == list(range(1, len(revisions) + 1))
    assert venue.zone.revision == revisions[-1]

"""What waits comes in its turn, what was dropped does not, and what was decided is known."""

from scentrt.domain import agenda
from scentrt.domain.agenda import MOST_WAITING, REMEMBERED_CUES, REMEMBERED_MS, SLACK, Agenda
from scentrt.domain.cues import Cue, OwnerId
from scentrt.domain.decisions import Accepted, Refusal, Refused
from tests.unit.venue import FILM, GAME, NOON, SEA, Venue, key

TAKEN = Accepted(NOON, 1, {})


def cue(id: str | int, due: float = 0.0, *, priority: int = 5, owner: OwnerId = GAME) -> Cue:
    return Cue(key(id, owner), SEA, 1.0, 1_000, NOON + due, 500, NOON, priority=priority)


def holding(*cues: Cue) -> Agenda:
    kept = Agenda()
    for one in cues:
        kept.wait(one, TAKEN)
    return kept


def due(kept: Agenda, now: float) -> list[str | int]:
    """Return the ids of all that falls due by now, in order."""
    ids: list[str | int] = []
    while (one := kept.due(NOON + now)) is not None:
        ids.append(one.key.id)
    return ids


def test_cues_come_in_the_order_of_their_due_times() -> None:
    kept = holding(cue("late", 30), cue("early", 10), cue("middle", 20))
    assert kept.next_ms == NOON + 10
    assert due(kept, 20) == ["early", "middle"]
    assert kept.next_ms == NOON + 30


def test_of_equal_due_times_the_higher_priority_comes_first_then_the_older() -> None:
    kept = holding(cue(1), cue(2, priority=9), cue(3), cue(4, priority=0), cue(5, priority=9))
    assert due(kept, 0) == [2, 5, 1, 3, 4]


def test_nothing_comes_before_it_is_due() -> None:
    assert due(holding(cue(1, 10)), 9.999) == []


def test_what_was_dropped_does_not_come() -> None:
    kept = holding(cue(1), cue(2))
    assert kept.drop(key(1), NOON)
    assert not kept.drop(key(1), NOON)
    assert due(kept, 0) == [2]


def test_a_dropped_key_may_wait_again_for_another_time() -> None:
    kept = holding(cue(1, 10))
    kept.drop(key(1), NOON)
    kept.wait(cue(1, 20), TAKEN)
    assert due(kept, 10) == []
    assert due(kept, 20) == [1]


def test_dropping_without_end_fills_no_memory() -> None:
    kept = Agenda()
    for n in range(4 * SLACK):
        kept.wait(cue(n, 1_000), TAKEN)
        kept.drop(key(n), NOON)
    kept.wait(cue("last", 1_000), TAKEN)
    assert len(kept._heap) <= SLACK + 2  # noqa: SLF001 (what it is about cannot be seen from outside)
    assert due(kept, 1_000) == ["last"]


def test_a_cue_can_be_narrowed_while_it_waits() -> None:
    kept = holding(cue(1))
    [waiting] = kept.waiting()
    kept.narrow(waiting)
    assert kept.waiting() == [waiting]


def test_cues_of_an_owner_who_is_away_are_held_back_until_it_is_here_again() -> None:
    kept = holding(cue(1, 10), cue(2, 20), cue("other", 10, owner=FILM))
    kept.hold(GAME)
    assert due(kept, 15) == ["other"]
    assert kept.next_ms > NOON + 15
    kept.resume(GAME)
    assert due(kept, 15) == [1]
    assert due(kept, 20) == [2]


def test_what_is_held_back_can_be_dropped() -> None:
    kept = holding(cue(1), cue(2))
    kept.hold(GAME)
    due(kept, 0)
    kept.drop(key(1), NOON)
    kept.resume(GAME)
    assert due(kept, 0) == [2]


def test_forgetting_an_owner_drops_its_cues_and_lets_new_ones_come() -> None:
    kept = holding(cue(1), cue("other", owner=FILM))
    kept.hold(GAME)
    kept.forget(GAME, NOON)
    assert not kept.is_away(GAME)
    kept.wait(cue(2), TAKEN)
    assert due(kept, 0) == ["other", 2]


def test_a_cue_is_known_from_when_it_waits_until_five_minutes_after_it_was_decided() -> None:
    kept = holding(cue(1, 1_000))
    assert kept.answer(key(1), NOON) == TAKEN
    due(kept, 1_000)
    assert kept.answer(key(1), NOON + 1_000 + REMEMBERED_MS) == TAKEN
    assert kept.answer(key(1), NOON + 1_001 + REMEMBERED_MS) is None


def test_of_the_decided_cues_the_last_ten_thousand_are_known() -> None:
    kept = Agenda()
    for n in range(REMEMBERED_CUES + 1):
        kept.remember(key(n), TAKEN, NOON)
    assert kept.answer(key(0), NOON) is None
    assert kept.answer(key(1), NOON) == TAKEN


def test_a_zone_in_which_too_many_cues_wait_is_busy_for_others_but_not_for_the_moment() -> None:
    venue = Venue(SEA)
    for n in range(MOST_WAITING):
        venue.zone._agenda.wait(cue(n, 1_000), TAKEN)  # noqa: SLF001 (deciding each takes long)
    assert venue.cue("one more", due=1_000) == Refused(Refusal.BUSY)
    assert isinstance(venue.cue("now"), Accepted)
    assert agenda.MOST_WAITING == MOST_WAITING

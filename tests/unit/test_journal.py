"""The journal says what was released, out of which vials, and what of it was not after all."""

import pytest

from scentrt.domain import journal
from scentrt.domain.doses import US_PER_S
from scentrt.domain.events import Ended, ScentEnded
from scentrt.domain.journal import JournalEntry
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.seat_settings import SeatSettings
from scentrt.domain.seats import Vial
from tests.unit.venue import A1, A2, A3, FILM, GAME, NOON, PINE, SEA, Venue, key

SKU, B1, B2 = Sku("SEABREEZE"), BatchRef("b-1"), BatchRef("b-2")


def take(venue: Venue) -> list[JournalEntry]:
    return list(venue.zone.take_journal(venue.clock))


def entry(venue: Venue) -> JournalEntry:
    [only] = take(venue)
    return only


def loaded(*batches: BatchRef) -> Venue:
    venue = Venue(SEA, seats=len(batches))
    for seat, batch in zip((A1, A2, A3), batches, strict=False):
        venue.seat(seat).slots[0].vial = Vial(100 * US_PER_S, SKU, batch)
    return venue


def test_a_cue_is_one_entry_for_the_whole_zone() -> None:
    venue = Venue(SEA, seats=2)
    venue.cue("c", intensity=0.5, lasts=1_000)
    assert take(venue) == [
        JournalEntry(NOON, GAME, key("c"), SEA, None, None, None, 2 * 500_000),
    ]
    assert take(venue) == []


def test_a_cue_is_an_entry_for_each_batch_that_it_comes_out_of() -> None:
    venue = loaded(B1, B2, B1)
    venue.cue("c", lasts=1_000)
    assert [(e.sku, e.batchref, e.seats, e.dose_us) for e in take(venue)] == [
        (SKU, B1, (A1, A3), 2 * US_PER_S),
        (SKU, B2, (A2,), US_PER_S),
    ]


def test_slots_of_one_batch_are_in_one_entry() -> None:
    venue = Venue(SEA, SEA, seats=2)
    for slot in (*venue.seat(A1).slots, *venue.seat(A2).slots):
        slot.vial = Vial(100 * US_PER_S, SKU, B1)
    venue.cue("one", to=(A1,), lasts=8_000)
    take(venue)
    venue.cue("all", lasts=1_000)
    assert entry(venue).seats is None


def test_a_dose_is_what_comes_out_after_the_gain_and_after_the_delay() -> None:
    venue = Venue(SEA, seats=2)
    venue.seat(A1).settle(SeatSettings(gain=0.5, delay_ms=400))
    venue.cue("c", lasts=1_000)
    assert [(e.seats, e.dose_us) for e in take(venue)] == [((A2,), US_PER_S)]
    venue.at(410)
    late = entry(venue)
    assert (late.at_ms, late.seats, late.dose_us) == (NOON + 410, (A1,), 500_000)


def test_what_ends_early_is_corrected_with_the_reason() -> None:
    venue = loaded(B1, B1)
    venue.cue("c", lasts=4_000)
    take(venue)
    venue.at(1_000)
    venue.stop(GAME, to=(A2,))
    assert take(venue) == [
        JournalEntry(
            NOON + 1_000, GAME, key("c"), SEA, SKU, B1, (A2,), -3 * US_PER_S, Ended.STOPPED
        )
    ]
    venue.cancel("c")
    assert [(e.dose_us, e.ended) for e in take(venue)] == [(-3 * US_PER_S, Ended.CANCELLED)]


def test_who_is_displaced_gives_back_and_who_displaces_is_noted() -> None:
    venue = loaded(B1)
    venue.cue("weak", lasts=4_000, priority=1)
    take(venue)
    venue.at(1_000)
    venue.cue("strong", lasts=1_000, priority=2)
    assert sorted((e.cue.id, e.dose_us, e.ended) for e in take(venue) if e.cue) == [
        ("strong", US_PER_S, None),
        ("weak", -3 * US_PER_S, Ended.DISPLACED),
    ]


def test_levels_are_summed_by_what_they_have_given_since_the_last_time() -> None:
    venue = loaded(B1, B1)
    for _ in range(60):
        venue.level(0.5, ttl=1_000)
        venue.at(venue.now + 10)
    first = entry(venue)
    assert (first.owner, first.cue, first.scent, first.sku, first.batchref, first.seats) == (
        GAME,
        None,
        SEA,
        SKU,
        B1,
        None,
    )
    assert first.dose_us == pytest.approx(2 * 0.5 * 0.6 * US_PER_S, abs=200)
    assert take(venue) == []
    venue.at(venue.now + 5_000)  # it has ended 990 ms after that
    assert entry(venue).dose_us == pytest.approx(2 * 0.5 * 0.99 * US_PER_S, abs=200)


def test_levels_of_two_owners_are_two_entries() -> None:
    venue = Venue(SEA)
    venue.level(1.0, by=GAME, ttl=100)
    venue.at(200)
    venue.level(1.0, by=FILM, ttl=100)
    venue.at(400)
    assert [(e.owner, e.dose_us) for e in take(venue)] == [(GAME, 100_000), (FILM, 100_000)]


def test_what_a_level_gives_of_another_vial_is_an_entry_of_its_own() -> None:
    venue = loaded(B1)
    venue.level(1.0, ttl=100)
    venue.at(200)
    venue.seat().slots[0].vial = Vial(100 * US_PER_S, SKU, B2)
    venue.at(300)
    venue.level(1.0, ttl=500)
    venue.at(900)
    assert [(e.batchref, e.dose_us) for e in take(venue)] == [(B1, 100_000), (B2, 500_000)]


def test_a_level_that_a_cue_displaces_has_given_what_it_gave_by_then() -> None:
    venue = Venue(SEA)
    venue.level(1.0, ttl=2_000)
    venue.at(300)
    venue.cue("c", lasts=1_000)
    doses = {e.cue: e.dose_us for e in take(venue)}
    assert doses == {None: 300_000, key("c"): US_PER_S}


# What surely was not sprayed


@pytest.mark.parametrize("after_ms", [100, 5_000])
def test_what_surely_was_not_sprayed_is_given_back_whole(after_ms: float) -> None:
    venue = loaded(B1, B1)
    vial = venue.seat(A2).slots[0].vial
    assert vial is not None
    venue.cue("c", lasts=2_000)
    take(venue)
    venue.at(after_ms)
    for _ in range(2):  # once is enough
        with venue.acting():
            venue.zone.give_back(key("c"), [A2], venue.clock)
    assert vial.left_us == 100 * US_PER_S
    assert {seat: us for (seat, _), us in venue.zone.take_doses(venue.clock).items()} == {
        A1: 2 * US_PER_S,
        A2: 0,
    }
    [correction] = take(venue)
    assert (correction.seats, correction.dose_us) == ((A2,), -2 * US_PER_S)
    assert correction.ended == Ended.NOT_SPRAYED
    # Whoever looks on hears of it only where it would still be open.
    assert len(venue.heard(ScentEnded)) == (after_ms < 2_000)


def test_of_what_was_stopped_it_is_given_back_what_counted() -> None:
    venue = loaded(B1)
    venue.cue("c", lasts=2_000)
    venue.at(500)
    venue.cancel("c")
    venue.zone.give_back(key("c"), [A1], venue.clock)
    assert sum(e.dose_us for e in take(venue)) == 0
    assert sum(venue.zone.take_doses(venue.clock).values()) == 0


def test_where_something_else_has_been_sprayed_since_it_is_too_late() -> None:
    venue = loaded(B1)
    venue.cue(1, lasts=1_000)
    venue.at(1_000)
    venue.cue(2, lasts=1_000)
    take(venue)
    venue.zone.give_back(key(1), [A1], venue.clock)
    assert take(venue) == []


def test_long_after_it_the_budget_has_nothing_to_give_back() -> None:
    venue = Venue(SEA)
    venue.cue("c", lasts=10_000)
    venue.at(75_000)
    assert venue.cue("now", PINE, to=(A2,)) is not None
    venue.zone.give_back(key("c"), [A1], venue.clock)
    budget = venue.seat().budget
    assert not budget.has_room(venue.zone.limits.dose_per_minute_us + 1, venue.clock)


# Bounds


def test_what_nobody_takes_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MOST_NAMES", 7)
    venue = Venue(SEA, seats=2)
    venue.zone.take_journal(venue.clock)
    for n in range(4):
        venue.cue(n, lasts=100)
        venue.at(venue.now + 100)
    assert len(take(venue)) == 2
    assert venue.zone.take_journal_lost() == 2
    venue.cue("again", lasts=100)
    assert len(take(venue)) == 1
    assert venue.zone.take_journal_lost() == 0

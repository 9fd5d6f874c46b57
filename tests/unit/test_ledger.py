"""The ledger writes everything that it is given, once it can, and says the truth about it."""

import logging
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import backlog, dose_book
from scentrt.actors.ledger import LAST_FLUSH_S, Ledger, LedgerHealth, StoredDoses, Writes
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.errors import StoreUnavailable
from tests.memory_store import MemoryStore

ZONE, OTHER_ZONE = ZoneId("A"), ZoneId("B")
SEAT, OTHER_SEAT = SeatId("A-1-1"), SeatId("A-1-2")
NOON = 1_764_000_000
"""A Unix second at which these tests play."""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def books(store: MemoryStore, nursery: trio.Nursery) -> AsyncIterator[Ledger]:
    """A ledger whose writer runs."""
    books = Ledger(store)
    await nursery.start(books.run)
    yield books
    nursery.cancel_scope.cancel()


def at(second: int) -> float:
    return second * 1000.0


async def test_what_is_recorded_is_committed_at_once(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_doses(ZONE, {(SEAT, NOON): 700}, at(NOON + 1))
    await wait_all_tasks_blocked()
    assert store.attempted_at == [0]
    assert await store.doses(ZONE, NOON) == StoredDoses(
        {SEAT: {NOON: 700}}, at(NOON + 1), closed=False
    )


async def test_what_waits_while_a_commit_runs_goes_into_the_next_one_together(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await trio.sleep(0.5)
    books.record_doses(ZONE, {(OTHER_SEAT, NOON): 2}, at(NOON))
    books.record_doses(OTHER_ZONE, {(SEAT, NOON): 3}, at(NOON))
    await trio.sleep(2)
    assert store.attempted_at == [0, 1]
    assert [sorted(doses.zone for doses in writes.doses) for writes in store.commits] == [
        ["A"],
        ["A", "B"],
    ]


async def test_of_two_values_for_one_second_the_newer_is_stored(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_doses(ZONE, {(SEAT, NOON): 1, (OTHER_SEAT, NOON): 1}, at(NOON))
    await trio.sleep(0.5)  # in flight
    books.record_doses(ZONE, {(SEAT, NOON): 2}, at(NOON))
    books.record_doses(ZONE, {(SEAT, NOON): 3}, at(NOON))
    await trio.sleep(5)
    stored = await store.doses(ZONE, NOON)
    assert stored.used == {SEAT: {NOON: 3}, OTHER_SEAT: {NOON: 1}}
    assert len(store.commits) == 2


async def test_a_failed_commit_loses_nothing_and_overwrites_nothing_newer(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    store.writable = False
    books.record_doses(ZONE, {(SEAT, NOON): 1, (OTHER_SEAT, NOON): 1}, at(NOON))
    await trio.sleep(0.5)  # in flight, and will fail
    books.record_doses(ZONE, {(SEAT, NOON): 2}, at(NOON + 1))
    await trio.sleep(1)
    store.writable = True
    await trio.sleep(5)
    assert await store.doses(ZONE, NOON) == StoredDoses(
        {SEAT: {NOON: 2}, OTHER_SEAT: {NOON: 1}}, at(NOON + 1), closed=False
    )


async def test_an_idle_ledger_commits_nothing(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_doses(ZONE, {}, at(NOON))
    await trio.sleep(60)
    books.record_doses(ZONE, {}, at(NOON))  # says nothing new
    await trio.sleep(60)
    assert len(store.attempted_at) == 1


async def test_retries_come_after_pauses_that_double_to_two_seconds(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await trio.sleep(7.5)
    assert store.attempted_at == pytest.approx([0, 0.1, 0.3, 0.7, 1.5, 3.1, 5.1, 7.1])


async def test_an_outage_is_logged_once_and_so_is_its_end(
    books: Ledger, store: MemoryStore, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO, logger="scentrt")
    for _ in range(2):
        store.writable = False
        books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
        await trio.sleep(60)
        store.writable = True
        await trio.sleep(60)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"] * 2
    assert "the database is away" in caplog.records[0].getMessage()


async def test_health_tells_how_old_the_oldest_unwritten_row_is(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await wait_all_tasks_blocked()
    assert books.health == LedgerHealth(behind_ms=0, failing=False, lost_rows=0)

    store.writable = False
    books.record_doses(ZONE, {(SEAT, NOON + 1): 1}, at(NOON + 1))
    await trio.sleep(3)
    books.record_doses(ZONE, {(SEAT, NOON + 4): 1}, at(NOON + 4))
    assert books.health == LedgerHealth(behind_ms=3000, failing=True, lost_rows=0)
    with pytest.raises(StoreUnavailable):
        await books.set_panicked(True)
    assert books.health.latch_waits

    store.writable = True
    await trio.sleep(3)
    assert books.health == LedgerHealth(behind_ms=0, failing=False, lost_rows=0)


async def test_a_slow_database_that_keeps_up_is_not_reported_ever_later(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 0.9
    for second in range(100):
        books.record_doses(ZONE, {(SEAT, NOON + second): 1}, at(NOON + second))
        await trio.sleep(0.5)
    assert books.health.behind_ms < 2000


async def test_the_panic_latch_is_on_disk_when_setting_it_returns(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    assert not await books.panicked()
    await books.set_panicked(True)
    assert await store.panicked()
    await books.set_panicked(False)
    assert not await store.panicked()


async def test_the_panic_latch_overtakes_the_doses_that_wait(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await trio.sleep(0.5)  # in flight
    books.record_doses(ZONE, {(SEAT, NOON + 1): 1}, at(NOON + 1))
    await books.set_panicked(True)
    assert store.commits[1:] == [Writes(panicked=True)]


async def test_a_panic_that_could_not_be_written_says_so_and_is_tried_until_it_is(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    with pytest.raises(StoreUnavailable, match="away"):
        await books.set_panicked(True)
    assert await books.panicked()
    assert not await store.panicked()
    store.writable = True
    await trio.sleep(5)
    assert await store.panicked()


async def test_a_newer_setting_of_the_latch_takes_the_place_of_one_not_written(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    for panicked in (True, False):
        with pytest.raises(StoreUnavailable):
            await books.set_panicked(panicked)
    store.writable = True
    await trio.sleep(5)
    assert store.commits == [Writes(panicked=False)]


async def test_a_release_during_the_commit_of_a_panic_is_not_lost(
    books: Ledger, store: MemoryStore, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    nursery.start_soon(partial(books.set_panicked, panicked=True))
    await trio.sleep(0.5)
    await books.set_panicked(False)
    assert store.commits == [Writes(panicked=True), Writes(panicked=False)]


async def test_the_same_setting_twice_at_once_answers_both(
    books: Ledger, store: MemoryStore, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    nursery.start_soon(partial(books.set_panicked, panicked=True))
    await trio.sleep(0.5)
    with trio.fail_after(10):
        await books.set_panicked(True)
    assert await store.panicked()


async def test_an_operator_does_not_wait_for_the_pause_between_two_retries(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await trio.sleep(10)
    store.writable = True
    asked_at = trio.current_time()
    await books.set_panicked(True)
    assert trio.current_time() == asked_at


async def test_a_panic_whose_asker_gave_up_is_written_all_the_same(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 2
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await trio.sleep(0.5)
    with trio.move_on_after(1) as scope:
        await books.set_panicked(True)
    assert scope.cancelled_caught
    await trio.sleep(10)
    assert await store.panicked()


async def test_a_closed_zone_is_on_disk_with_its_last_doses(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await books.close_zone(ZONE, {(SEAT, NOON + 1): 2}, at(NOON + 2))
    assert await store.doses(ZONE, NOON) == StoredDoses(
        {SEAT: {NOON: 1, NOON + 1: 2}}, at(NOON + 2), closed=True
    )


async def test_a_zone_that_records_again_is_open_again(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    await books.close_zone(ZONE, {}, at(NOON))
    books.record_doses(ZONE, {}, at(NOON))
    await wait_all_tasks_blocked()
    assert not (await store.doses(ZONE, NOON)).closed


async def test_closing_a_zone_twice_at_once_answers_both(
    books: Ledger, store: MemoryStore, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    nursery.start_soon(books.close_zone, ZONE, {}, at(NOON))
    await trio.sleep(0.5)
    with trio.fail_after(10):
        await books.close_zone(ZONE, {}, at(NOON))
    assert (await store.doses(ZONE, NOON)).closed


async def test_a_zone_that_cannot_be_closed_on_disk_says_so_and_is_tried_on(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    with pytest.raises(StoreUnavailable):
        await books.close_zone(ZONE, {(SEAT, NOON): 1}, at(NOON))
    store.writable = True
    await trio.sleep(5)
    assert await store.doses(ZONE, NOON) == StoredDoses({SEAT: {NOON: 1}}, at(NOON), closed=True)


async def test_a_zone_that_restarts_gets_what_is_not_written_yet_too(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_doses(ZONE, {(SEAT, NOON): 1, (SEAT, NOON + 1): 1}, at(NOON + 1))
    await wait_all_tasks_blocked()
    store.writable = False
    books.record_doses(ZONE, {(SEAT, NOON + 1): 2, (OTHER_SEAT, NOON + 2): 3}, at(NOON + 3))
    await wait_all_tasks_blocked()
    assert await books.doses(ZONE, NOON + 1) == StoredDoses(
        {SEAT: {NOON + 1: 2}, OTHER_SEAT: {NOON + 2: 3}}, at(NOON + 3), closed=False
    )


async def test_a_zone_that_restarts_during_a_commit_misses_none_of_it(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await trio.sleep(0.5)
    assert (await books.doses(ZONE, NOON)).used == {SEAT: {NOON: 1}}


async def test_of_a_new_zone_nothing_is_known(books: Ledger, autojump_clock: MockClock) -> None:
    assert await books.doses(ZONE, 0) == StoredDoses({}, None, closed=False)


async def test_reading_without_a_database_says_so(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.readable = False
    with pytest.raises(StoreUnavailable):
        await books.doses(ZONE, NOON)
    with pytest.raises(StoreUnavailable):
        await books.panicked()


async def test_in_a_long_outage_rows_older_than_an_hour_are_dropped_and_not_lost(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    for minute in range(90):
        second = NOON + 60 * minute
        books.record_doses(ZONE, {(SEAT, second): 1}, at(second))
    store.writable = True
    await trio.sleep(5)
    stored = await store.doses(ZONE, 0)
    assert min(stored.used[SEAT]) == NOON + 60 * 29
    assert stored.through_ms == at(NOON + 60 * 89)
    assert books.health.lost_rows == 0


async def test_what_is_given_up_in_a_long_outage_is_never_taken_for_unused(
    books: Ledger,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    monkeypatch.setattr(dose_book, "MAX_ROWS_PER_ZONE", 10)
    store.writable = False
    for second in range(NOON, NOON + 15):
        books.record_doses(ZONE, {(SEAT, second): 1}, at(second + 1))
    assert books.health.lost_rows == 5
    assert caplog.text.count("are lost") == 1
    store.writable = True
    with trio.fail_after(10):
        await books.close_zone(ZONE, {}, at(NOON + 15))
    assert await store.doses(ZONE, 0) == StoredDoses(
        {SEAT: dict.fromkeys(range(NOON + 5, NOON + 15), 1)}, at(NOON), closed=False
    )

    an_hour_on = NOON + 3700  # when no budget counts the lost ones any more
    await books.close_zone(ZONE, {}, at(an_hour_on))
    stored = await store.doses(ZONE, 0)
    assert (stored.through_ms, stored.closed) == (at(an_hour_on), True)


async def test_a_backlog_is_written_in_parts_each_of_which_is_true(
    books: Ledger, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(backlog, "MAX_ROWS_PER_COMMIT", 4)
    seats = [SeatId(f"A-1-{number}") for number in range(3)]
    used = {(seat, NOON + second): 1 for seat in seats for second in range(6)}
    with trio.fail_after(10):
        await books.close_zone(ZONE, used, at(NOON + 6))
    written = [doses for writes in store.commits for doses in writes.doses]
    assert [sorted(doses.used) for doses in written] == [
        [NOON, NOON + 1],
        [NOON + 2, NOON + 3],
        [NOON + 4, NOON + 5],
    ]
    assert [(doses.through_ms, doses.closed) for doses in written] == [
        (at(NOON + 2), False),
        (at(NOON + 4), False),
        (at(NOON + 6), True),
    ]


async def test_rows_older_than_an_hour_are_removed_from_the_store(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
    await wait_all_tasks_blocked()
    books.record_doses(ZONE, {(SEAT, NOON + 4000): 1}, at(NOON + 4000))
    await wait_all_tasks_blocked()
    assert (await store.doses(ZONE, 0)).used == {SEAT: {NOON + 4000: 1}}


async def test_a_cancelled_ledger_writes_what_waits_before_it_ends(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    books = Ledger(store)
    store.commit_s = 0.2
    async with trio.open_nursery() as nursery:
        await nursery.start(books.run)
        books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
        await trio.sleep(0.1)  # in flight
        books.record_doses(ZONE, {(SEAT, NOON): 2}, at(NOON))
        books.record_doses(OTHER_ZONE, {(SEAT, NOON): 3}, at(NOON))
        nursery.cancel_scope.cancel()
    assert (await store.doses(ZONE, NOON)).used == {SEAT: {NOON: 2}}
    assert (await store.doses(OTHER_ZONE, NOON)).used == {SEAT: {NOON: 3}}


async def test_a_ledger_that_ends_while_the_database_is_away_for_a_moment_writes_the_rest(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    books = Ledger(store)
    store.writable = False
    async with trio.open_nursery() as nursery:
        await nursery.start(books.run)
        books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
        with pytest.raises(StoreUnavailable):
            await books.set_panicked(True)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(LAST_FLUSH_S / 2)
        store.writable = True
    assert (await store.doses(ZONE, NOON)).used == {SEAT: {NOON: 1}}
    assert await store.panicked()


async def test_a_ledger_that_ends_without_a_database_gives_up_in_time_and_answers_everybody(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    books = Ledger(store)
    store.writable = False
    async with trio.open_nursery() as nursery:
        await nursery.start(books.run)
        books.record_doses(ZONE, {(SEAT, NOON): 1}, at(NOON))
        await trio.sleep(10)
        ended_at = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == ended_at + LAST_FLUSH_S
    assert "not written" in caplog.text
    with pytest.raises(StoreUnavailable):
        await books.set_panicked(True)
    with pytest.raises(StoreUnavailable):
        await books.close_zone(ZONE, {}, at(NOON))


async def test_a_bug_in_the_store_ends_the_ledger_and_answers_who_waits(
    autojump_clock: MockClock,
) -> None:
    class BrokenStore(MemoryStore):
        async def commit(self, writes: Writes) -> None:
            raise ZeroDivisionError

    books = Ledger(BrokenStore())

    async def operator() -> None:
        with pytest.raises(StoreUnavailable):
            await books.set_panicked(True)

    with pytest.RaisesGroup(ZeroDivisionError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operator)
            await nursery.start(books.run)

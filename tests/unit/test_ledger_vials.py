"""What vials hold and have given gets to the disk behind the cues, and what was lost is said."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import backlog, vial_book
from scentrt.actors.ledger import Ledger
from scentrt.domain.cues import CueKey, OwnerId, Scent, SeatId, ZoneId
from scentrt.domain.journal import JournalEntry
from scentrt.domain.vials import VialId, VialLevel
from scentrt.errors import StoreUnavailable
from tests.memory_store import MemoryStore
from tests.vials import seated

ZONE, OTHER_ZONE = ZoneId("A"), ZoneId("B")
SEAT = SeatId("A-1-1")
GAME = OwnerId("s-7f3a0c5e9b1d4f62a8e7c3b5d9f10264")
VIAL = seated(1, SEAT, left_s=100)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.seated[VIAL.id] = VIAL
    return store


@pytest.fixture
async def books(store: MemoryStore, nursery: trio.Nursery) -> AsyncIterator[Ledger]:
    """A ledger whose writer runs, and knows the game."""
    books = Ledger(store, name_of={GAME: "my-game"}.get)
    await nursery.start(books.run)
    yield books
    nursery.cancel_scope.cancel()


def level(left_us: int, id: int = 1) -> VialLevel:
    return VialLevel(VialId(id), VIAL.place, left_us)


def entry(number: int, owner: OwnerId = GAME) -> JournalEntry:
    return JournalEntry(
        0.0, owner, CueKey(owner, number), Scent("sea-breeze"), VIAL.sku, VIAL.batchref, None, 5
    )


def written(store: MemoryStore) -> list[str | int]:
    """Return the cues of the journal, in its order."""
    return [line.entry.cue.id for _, line in store.journal if line.entry.cue is not None]


async def test_levels_and_journal_are_committed_with_the_doses(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_vials(ZONE, [level(90)], [entry(1), entry(2, OwnerId("s-gone"))])
    books.record_doses(ZONE, {(SEAT, 7): 10}, 8_000.0)
    await wait_all_tasks_blocked()
    assert len(store.commits) == 1
    assert store.seated[VIAL.id].left_us == 90
    assert [(zone, line.source, line.session) for zone, line in store.journal] == [
        (ZONE, "my-game", "s-7f3a0c5e"),
        (ZONE, "s-gone", "s-gone"),
    ]


async def test_nothing_to_tell_is_not_committed(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    books.record_vials(ZONE, [], [])
    await wait_all_tasks_blocked()
    assert store.commits == []


async def test_after_an_outage_the_newest_level_is_written_and_the_whole_journal(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    for second in range(60):
        books.record_vials(ZONE, [level(100 - second)], [entry(second)])
        await trio.sleep(1)
    assert books.health.behind_ms == 60_000
    [vial] = await books.vials(ZONE)
    assert vial.left_us == 41
    store.writable = True
    await trio.sleep(5)
    assert store.seated[VIAL.id].left_us == 41
    assert written(store) == list(range(60))
    assert books.health.lost_lines == 0
    assert books.health.behind_ms == 0


async def test_what_is_given_up_of_the_journal_is_counted_and_said_once_and_no_level_is(
    books: Ledger,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    monkeypatch.setattr(vial_book, "MOST_NAMES_WAITING", 10)
    store.writable = False
    for second in range(15):
        books.record_vials(ZONE, [level(second)], [entry(second)])
        await trio.sleep(1)
    assert books.health.lost_lines == 5
    assert caplog.text.count("its journal has a gap") == 1
    store.writable = True
    await trio.sleep(5)
    assert written(store) == list(range(5, 15))
    assert store.seated[VIAL.id].left_us == 14


async def test_a_backlog_is_written_in_parts_in_its_order(
    books: Ledger, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(backlog, "MAX_ROWS_PER_COMMIT", 4)
    books.record_vials(ZONE, [level(1, id) for id in range(1, 7)], map(entry, range(10)))
    books.record_vials(OTHER_ZONE, [], [entry(99)])
    with trio.fail_after(10):
        await books.close_zone(ZONE, {}, 1_000.0)
    await trio.sleep(1)
    assert written(store)[:10] == list(range(10))
    assert written(store)[10:] == [99]
    assert all(sum(v.rows for v in writes.vials) <= 4 for writes in store.commits)
    assert store.seated[VIAL.id].left_us == 1


async def test_a_zone_that_ends_in_good_order_has_its_levels_and_its_journal_on_disk(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_vials(ZONE, [level(7)], [entry(1)])
    await trio.sleep(0.5)  # in flight
    books.record_vials(ZONE, [level(6)], [entry(2)])
    await books.close_zone(ZONE, {}, 1_000.0)
    assert store.seated[VIAL.id].left_us == 6
    assert written(store) == [1, 2]


async def test_one_can_wait_until_what_vials_hold_is_on_disk(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    await books.vials_stored(ZONE)
    books.record_vials(ZONE, [level(7)], [])
    await trio.sleep(0.5)  # in flight
    books.record_vials(ZONE, [level(6)], [])
    await books.vials_stored(ZONE)
    assert store.seated[VIAL.id].left_us == 6
    store.writable = False
    books.record_vials(ZONE, [level(5)], [])
    with pytest.raises(StoreUnavailable):
        await books.vials_stored(ZONE)


async def test_a_zone_that_opens_during_a_commit_sees_the_levels_that_are_in_it(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    books.record_vials(ZONE, [level(7)], [])
    await trio.sleep(0.5)
    assert [vial.left_us for vial in await books.vials(ZONE)] == [7]
    assert await books.vials(OTHER_ZONE) == ()


async def test_vials_that_cannot_be_read_are_not_taken_for_none(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.readable = False
    with pytest.raises(StoreUnavailable):
        await books.vials(ZONE)

"""The ledger stores units of work together, and each that is wrong fails alone."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import backlog
from scentrt.actors.ledger import Ledger, Writes
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.events import BatchCreated
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import StoreUnavailable, UnitRefused
from scentrt.service_layer.changes import Changes, Version
from scentrt.service_layer.deliveries import Kind, Letter, NewDelivery
from tests.memory_store import MemoryStore

ZONE, SEAT = ZoneId("A"), SeatId("A-1-1")
NOON = 1_764_000_000


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def told() -> list[float]:
    """When the ledger said that there is something to be delivered."""
    return []


@pytest.fixture
async def books(
    store: MemoryStore, told: list[float], nursery: trio.Nursery
) -> AsyncIterator[Ledger]:
    """A ledger whose writer runs."""
    books = Ledger(store, lambda: told.append(trio.current_time()))
    await nursery.start(books.run)
    yield books
    nursery.cancel_scope.cancel()


def new_product(name: str, before: int | None = None) -> Changes:
    """Return a unit of work that makes a product known."""
    sku, ref = Sku(name), BatchRef(f"{name}-1")
    return Changes(
        versions={sku: Version(before, 1)}, new_batches={ref: BatchCreated(ref, sku, 10, None)}
    )


def wrong() -> Changes:
    """Return a unit of work that was decided on what is not so."""
    return new_product("tar", before=7)


class Asker:
    """Hands units in, and notes what became of them."""

    def __init__(self, books: Ledger, nursery: trio.Nursery) -> None:
        self._books = books
        self._nursery = nursery
        self.outcomes: dict[str, object] = {}

    async def hand_in(self, name: str, changes: Changes) -> None:
        self._nursery.start_soon(self._commit, name, changes)
        await wait_all_tasks_blocked()

    async def _commit(self, name: str, changes: Changes) -> None:
        try:
            await self._books.commit(changes)
        except StoreUnavailable as error:
            self.outcomes[name] = type(error)
        else:
            self.outcomes[name] = trio.current_time()


@pytest.fixture
def asker(books: Ledger, nursery: trio.Nursery) -> Asker:
    return Asker(books, nursery)


async def test_a_unit_is_stored_when_its_commit_returns(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    await books.commit(new_product("pine"))
    assert trio.current_time() == 1
    assert store.stock.tables.versions == {"pine": 1}


async def test_units_that_wait_are_stored_in_one_transaction_and_doses_with_them(
    books: Ledger, store: MemoryStore, asker: Asker, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    await asker.hand_in("pine", new_product("pine"))
    await trio.sleep(0.5)
    await asker.hand_in("sea", new_product("sea"))
    await asker.hand_in("jungle", new_product("jungle"))
    books.record_doses(ZONE, {(SEAT, NOON): 1}, 1000.0 * NOON)
    await trio.sleep(5)
    assert asker.outcomes == {"pine": 1, "sea": 2, "jungle": 2}
    assert [(len(writes.units), len(writes.doses)) for writes in store.commits] == [(1, 0), (2, 1)]


async def test_who_is_some_steps_behind_goes_into_the_same_transaction(
    books: Ledger, store: MemoryStore, asker: Asker, nursery: trio.Nursery
) -> None:
    async def follow() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        await books.commit(new_product("sea"))

    nursery.start_soon(follow)
    await asker.hand_in("pine", new_product("pine"))
    assert [len(writes.units) for writes in store.commits] == [2]


async def test_cancelling_does_not_end_a_commit(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    with trio.move_on_after(0.5):
        await books.commit(new_product("pine"))
    assert trio.current_time() == 1
    assert store.stock.tables.versions == {"pine": 1}
    store.writable = False
    with trio.CancelScope() as cancelled:
        cancelled.cancel()
        with pytest.raises(StoreUnavailable):
            await books.commit(new_product("sea"))


async def test_the_panic_latch_overtakes_the_units_that_wait(
    books: Ledger, store: MemoryStore, asker: Asker, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    await asker.hand_in("pine", new_product("pine"))
    await trio.sleep(0.5)
    await asker.hand_in("sea", new_product("sea"))
    await wait_all_tasks_blocked()
    await books.set_panicked(True)
    assert store.commits[1:] == [Writes(panicked=True)]
    await trio.sleep(5)
    assert asker.outcomes == {"pine": 1, "sea": 3}


async def test_a_wrong_unit_fails_alone(
    books: Ledger, store: MemoryStore, asker: Asker, autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    await asker.hand_in("pine", new_product("pine"))
    await trio.sleep(0.5)
    await asker.hand_in("sea", new_product("sea"))
    await asker.hand_in("wrong", wrong())
    await asker.hand_in("sea too", new_product("sea"))
    await asker.hand_in("jungle", new_product("jungle"))
    books.record_doses(ZONE, {(SEAT, NOON): 1}, 1000.0 * NOON)
    await trio.sleep(20)
    assert set(store.stock.tables.versions) == {"pine", "sea", "jungle"}
    assert (asker.outcomes["wrong"], asker.outcomes["sea too"]) == (UnitRefused, UnitRefused)
    assert isinstance(asker.outcomes["sea"], float)
    assert isinstance(asker.outcomes["jungle"], float)
    assert (await store.doses(ZONE, NOON)).used == {SEAT: {NOON: 1}}
    assert not books.health.failing


async def test_a_wrong_unit_on_its_own_is_tried_once(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    with pytest.raises(UnitRefused):
        await books.commit(wrong())
    assert len(store.attempted_at) == 1


async def test_doses_that_cannot_be_stored_take_no_unit_with_them(
    asker: Asker, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class NoDoses(MemoryStore):
        async def commit(self, writes: Writes) -> None:
            if writes.doses:
                raise UnitRefused("negative")
            await super().commit(writes)

    store = NoDoses()
    books = Ledger(store)
    await nursery.start(books.run)
    asker = Asker(books, nursery)
    books.record_doses(ZONE, {(SEAT, NOON): -1}, 1000.0 * NOON)
    for name in ("pine", "sea"):
        await asker.hand_in(name, new_product(name))
    await trio.sleep(5)
    assert set(store.stock.tables.versions) == {"pine", "sea"}
    assert all(isinstance(outcome, float) for outcome in asker.outcomes.values())
    assert books.health.failing


async def test_without_a_database_a_unit_is_given_back_at_once_and_not_tried_again(
    books: Ledger, store: MemoryStore, asker: Asker, autojump_clock: MockClock
) -> None:
    store.writable = False
    store.commit_s = 0.1
    await asker.hand_in("pine", new_product("pine"))
    await trio.sleep(0.05)
    await asker.hand_in("sea", new_product("sea"))  # waits behind what fails, and needs not try
    await trio.sleep(0.1)
    assert asker.outcomes == {"pine": StoreUnavailable, "sea": StoreUnavailable}
    store.writable = True
    await trio.sleep(20)
    assert store.stock.tables.versions == {}


async def test_a_unit_does_not_wait_for_the_pause_between_two_retries_of_something_else(
    books: Ledger, store: MemoryStore, autojump_clock: MockClock
) -> None:
    store.writable = False
    books.record_doses(ZONE, {(SEAT, NOON): 1}, 1000.0 * NOON)
    await trio.sleep(10)
    store.writable = True
    asked_at = trio.current_time()
    await books.commit(new_product("pine"))
    assert trio.current_time() == asked_at


async def test_many_units_are_stored_in_parts(
    books: Ledger,
    store: MemoryStore,
    asker: Asker,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    monkeypatch.setattr(backlog, "MAX_ROWS_PER_COMMIT", 5)
    store.commit_s = 1
    for number in range(8):  # of two rows each
        await asker.hand_in(str(number), new_product(f"scent-{number}"))
    await trio.sleep(9)
    assert [len(writes.units) for writes in store.commits] == [1, 3, 3, 1]
    assert len(store.stock.tables.versions) == 8


async def test_who_delivers_is_told_when_there_is_something_to_deliver(
    books: Ledger, store: MemoryStore, told: list[float], autojump_clock: MockClock
) -> None:
    store.commit_s = 1
    await books.commit(new_product("pine"))
    assert told == []
    await books.commit(Changes(deliveries=[NewDelivery("1", Kind.REDIS, "{}", 0.0)]))
    assert told == [2]
    await books.commit(Changes(letters=[Letter("2", OrderId("o-1"), "", "", 0.0)]))
    assert told == [2, 3]
    with pytest.raises(UnitRefused):
        await books.commit(
            Changes(wrong().versions, deliveries=[NewDelivery("3", Kind.REDIS, "{}", 0.0)])
        )
    assert told == [2, 3]


async def test_a_ledger_that_ends_stores_what_waits_and_then_takes_nothing_more(
    store: MemoryStore, autojump_clock: MockClock
) -> None:
    books = Ledger(store)
    store.commit_s = 0.2
    async with trio.open_nursery() as actors:
        async with trio.open_nursery() as writing:
            await writing.start(books.run)
            asker = Asker(books, actors)
            await asker.hand_in("pine", new_product("pine"))
            await trio.sleep(0.1)
            await asker.hand_in("sea", new_product("sea"))
            await wait_all_tasks_blocked()
            writing.cancel_scope.cancel()
        with pytest.raises(StoreUnavailable, match="the ledger has ended"):
            await books.commit(new_product("jungle"))
    assert asker.outcomes == {"pine": 0.2, "sea": 0.4}
    assert set(store.stock.tables.versions) == {"pine", "sea"}


async def test_a_bug_in_the_store_answers_who_waits_for_a_unit(autojump_clock: MockClock) -> None:
    class BrokenStore(MemoryStore):
        async def commit(self, writes: Writes) -> None:
            await trio.sleep(1)
            raise ZeroDivisionError

    books = Ledger(BrokenStore())
    asker = None
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with trio.open_nursery() as actors, trio.open_nursery() as writing:
            await writing.start(books.run)
            asker = Asker(books, actors)
            await asker.hand_in("in flight", new_product("pine"))
            await trio.sleep(0.5)
            actors.cancel_scope.shield = True
            await asker.hand_in("waits", new_product("sea"))
    assert asker is not None
    assert asker.outcomes == {"in flight": StoreUnavailable, "waits": StoreUnavailable}

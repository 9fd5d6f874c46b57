"""What changes very much is stored in parts: others get through, and nothing is lost in between."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import stock_room
from scentrt.actors.product import RETRY_S
from scentrt.domain import model
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchQuantity,
    CreateBatch,
    ImportBatches,
    PlaceOrder,
)
from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import StoreUnavailable
from scentrt.service_layer import handlers, unit_of_work
from scentrt.service_layer.deliveries import Kind
from tests.goods import LATER, PINE, SEA
from tests.memory_store import ENOUGH, MemoryStore
from tests.stock_stage import StockStage, open_stock

B1, B2, B3 = BatchRef("b-1"), BatchRef("b-2"), BatchRef("b-3")
LINES = 40
ORDERS = [OrderId(f"o-{number}") for number in range(LINES)]
TO_NOTHING = ChangeBatchQuantity(B1, 0)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four lines at a time."""
    monkeypatch.setattr(model, "LINES_DISPLACED_PER_STEP", 4)
    monkeypatch.setattr(handlers, "BACK_ORDERS_PER_STEP", 4)
    monkeypatch.setattr(unit_of_work, "ROWS_PER_COMMIT", 4)


@pytest.fixture
async def stage(small_parts: None, autojump_clock: MockClock) -> AsyncIterator[StockStage]:
    """A product whose one batch is full of lines, and another product."""
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, LINES), CreateBatch(B2, PINE, 100))
        await stage.handle(*(Allocate(order, SEA, 1) for order in ORDERS))
        stage.store.commits.clear()
        yield stage


def check(store: MemoryStore) -> None:
    """Every line is in one place; the database sees to it that no batch has too many."""
    tables = store.stock.tables
    places = Counter([*tables.allocations, *tables.back_orders])
    assert places == Counter(dict.fromkeys(tables.lines, 1))
    assert tables.view == tables.allocations


def waiting(stage: StockStage) -> list[OrderId]:
    return [order for _, order in stage.tables.back_orders]


async def test_others_are_written_between_the_parts_and_the_latch_is_too(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("shrink", TO_NOTHING)
    await trio.sleep(2.5)
    began = trio.current_time()
    assert await stage.bus.handle(Allocate(ORDERS[0], PINE, 1)) == B2
    await stage.ledger.set_panicked(True)
    assert trio.current_time() - began <= 4
    assert "shrink" not in stage.outcomes
    await trio.sleep(20)
    assert stage.outcomes["shrink"] is None


async def test_every_part_is_bounded_and_true_by_itself(stage: StockStage) -> None:
    stored = stage.store.stock.commit

    def commit_and_look(units: object) -> None:
        stored(units)  # type: ignore[arg-type]  # passed on
        check(stage.store)
        [batch] = [batch for ref, batch in stage.tables.batches.items() if ref == B1]
        assert batch.qty == len(stage.tables.allocations)

    stage.store.stock.commit = commit_and_look  # type: ignore[method-assign]
    await stage.handle(TO_NOTHING)
    parts = [writes.units[0].rows for writes in stage.store.commits]
    assert len(parts) == LINES // 4
    assert max(parts) == min(parts) + 1, "with a letter to the stock team"


async def test_who_came_first_is_the_first_to_wait_and_to_come_back(stage: StockStage) -> None:
    await stage.handle(CreateBatch(B3, SEA, 10, LATER), TO_NOTHING)
    assert [order for _, order in stage.tables.allocations] == ORDERS[:10]
    assert waiting(stage) == ORDERS[10:]
    await stage.handle(ChangeBatchQuantity(B1, 20))
    assert [order for _, order in stage.tables.allocations] == ORDERS[:30]
    assert waiting(stage) == ORDERS[30:]
    assert len(stage.store.commits) > 10, "in parts as well"


async def test_the_stock_team_is_told_once_that_something_is_missing(stage: StockStage) -> None:
    await stage.handle(TO_NOTHING)
    mails = [d for d in stage.tables.deliveries if d.kind is Kind.EMAIL]
    assert len(mails) == 1


async def test_nobody_who_asks_meanwhile_gets_what_others_wait_for(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(TO_NOTHING)
    stage.store.commit_s = 1
    stage.ask("grow", ChangeBatchQuantity(B1, LINES - 1))
    await trio.sleep(2.5)
    stage.ask("late", Allocate(OrderId("late"), SEA, 1))
    await trio.sleep(30)
    assert stage.outcomes == {"grow": None, "late": None}
    assert waiting(stage) == ORDERS[-1:]


async def test_those_before_it_in_its_unit_are_answered_with_the_part_that_has_them_and_not_redone(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    early = OrderId("early")
    await stage.handle(CreateBatch(B3, SEA, 1))
    stage.store.commit_s = 1
    stage.ask("first", Allocate(early, SEA, 2))  # keeps the unit of the others together
    await wait_all_tasks_blocked()
    stage.ask("early", Allocate(early, SEA, 1))
    await wait_all_tasks_blocked()
    stage.ask("shrink", TO_NOTHING)
    await trio.sleep(2.5)
    assert stage.outcomes["early"] == B3
    assert "shrink" not in stage.outcomes
    # It is cancelled, and what was being decided turns out to be based on an older version.
    await stage.handle(CancelOrder(early), ImportBatches((CreateBatch(BatchRef("b-4"), SEA, 99),)))
    await trio.sleep(30)
    assert stage.outcomes["shrink"] is None
    assert (SEA, early) not in stage.tables.lines
    assert len(stage.tables.allocations) == LINES
    check(stage.store)


@pytest.mark.parametrize("commits", [0, 1, 3])
@pytest.mark.parametrize("qty", [0, 4])
async def test_if_it_is_cut_short_nothing_is_lost_and_to_ask_again_does_the_rest(
    stage: StockStage, commits: int, qty: int
) -> None:
    stage.store.commits_left = commits
    with pytest.raises(StoreUnavailable):
        await stage.handle(ChangeBatchQuantity(B1, qty))
    check(stage.store)
    assert len(stage.tables.lines) == LINES
    assert stage.tables.batches[B1].qty == LINES - 4 * commits
    assert waiting(stage) == ORDERS[qty : qty + 4 * commits]
    stage.store.commits_left = ENOUGH
    await stage.handle(ChangeBatchQuantity(B1, qty))
    check(stage.store)
    assert waiting(stage) == ORDERS[qty:]


async def test_back_orders_that_were_not_filled_for_want_of_a_database_are_filled_with_it(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(TO_NOTHING)
    stage.store.commits_left = 3
    with pytest.raises(StoreUnavailable):
        await stage.handle(ChangeBatchQuantity(B1, LINES))
    check(stage.store)
    assert 0 < len(waiting(stage)) < LINES
    stage.store.commits_left = ENOUGH
    await trio.sleep(2 * RETRY_S)
    check(stage.store)
    assert waiting(stage) == []


async def test_what_a_process_that_died_in_between_has_left_is_done_by_the_next(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(TO_NOTHING)
    stage.store.commits_left = 3
    with pytest.raises(StoreUnavailable):
        await stage.handle(ChangeBatchQuantity(B1, LINES))
    store = MemoryStore()
    store.stock.tables = stage.tables
    async with open_stock(store):
        await wait_all_tasks_blocked()
        check(store)
        assert store.stock.tables.back_orders == {}


async def test_products_do_what_a_big_order_leaves_a_few_at_a_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_room, "SETTLED_AT_ONCE", 3)
    skus = [Sku(f"s-{number}") for number in range(10)]
    async with open_stock() as stage:
        await stage.handle(*(CreateBatch(BatchRef(f"b-{sku}"), sku, 5) for sku in skus))
        stage.store.commit_s = 1
        order = OrderId("big")
        await stage.handle(PlaceOrder(order, tuple(OrderLine(order, sku, 1) for sku in skus)))
        stage.store.commits.clear()
        await trio.sleep(20)
        assert [len(writes.units) for writes in stage.store.commits] == [3, 3, 3, 1]
        assert len(stage.tables.allocations) == 10


async def test_an_order_comes_before_what_is_asked_after_it_was_accepted(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_room, "SETTLED_AT_ONCE", 1)
    skus = [Sku(f"s-{number}") for number in range(10)]
    async with open_stock() as stage:
        await stage.handle(*(CreateBatch(BatchRef(f"b-{sku}"), sku, 5) for sku in skus))
        stage.store.commit_s = 1
        order = OrderId("big")
        await stage.handle(PlaceOrder(order, tuple(OrderLine(order, sku, 3) for sku in skus)))
        for sku in skus:
            stage.ask(sku, Allocate(OrderId("late"), sku, 3))
        await trio.sleep(20)
        assert set(stage.tables.allocations) == {(sku, order) for sku in skus}
        assert set(stage.outcomes.values()) == {None}

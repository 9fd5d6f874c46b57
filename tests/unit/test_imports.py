"""Batches of many products are made known together, and every product takes them into account."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.domain.commands import (
    Allocate,
    ChangeBatchQuantity,
    CheckBatches,
    CreateBatch,
    ImportBatches,
    PlaceOrder,
)
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import (
    ActorStopped,
    BatchConflict,
    Busy,
    ImportConflict,
    InvalidQuantity,
    StoreUnavailable,
)
from tests.goods import LATER, PINE, SEA, TODAY, line
from tests.memory_store import MemoryStore
from tests.stock_stage import StockStage, open_stock

B1, B2, B3 = BatchRef("b-1"), BatchRef("b-2"), BatchRef("b-3")
O1, O2 = OrderId("o-1"), OrderId("o-2")


@pytest.fixture
async def stage() -> AsyncIterator[StockStage]:
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 10))
        yield stage


def delivery(*batches: tuple[BatchRef, Sku, int]) -> ImportBatches:
    return ImportBatches(tuple(CreateBatch(*batch) for batch in batches))


async def test_all_batches_are_known_afterwards_and_how_many_are_new_is_answered(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    before = len(stage.store.commits)
    told = ImportBatches(
        (CreateBatch(B1, SEA, 10), CreateBatch(B2, SEA, 5, TODAY), CreateBatch(B3, PINE, 1, LATER))
    )
    assert await stage.bus.handle(told) == 2
    assert {ref: batch.eta for ref, batch in stage.tables.batches.items()} == {
        B1: None,
        B2: TODAY,
        B3: LATER,
    }
    assert len(stage.store.commits) == before + 1
    assert await stage.bus.handle(told) == 0
    assert await stage.bus.handle(Allocate(O1, PINE, 1)) == B3


async def test_if_one_is_another_batch_none_is_imported_and_all_of_these_are_named(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    told = delivery((B2, SEA, 5), (B1, SEA, 11), (B3, PINE, 1), (B3, PINE, 2))
    with pytest.raises(ImportConflict, match="b-1, b-3 are other ones") as raised:
        await stage.handle(told)
    assert raised.value.refs == (B1, B3)
    with pytest.raises(ImportConflict, match="b-1 is another one"):
        await stage.handle(delivery((B1, PINE, 10)))
    with pytest.raises(InvalidQuantity):
        await stage.handle(delivery((B2, SEA, 5), (B3, PINE, -1)))
    assert list(stage.tables.batches) == [B1]


async def test_to_check_changes_nothing(stage: StockStage, autojump_clock: MockClock) -> None:
    told = delivery((B1, SEA, 10), (B2, SEA, 5), (B3, PINE, 1)).batches
    assert await stage.bus.handle(CheckBatches(told)) == 2
    with pytest.raises(ImportConflict):
        await stage.handle(CheckBatches((CreateBatch(B1, SEA, 11),)))
    assert list(stage.tables.batches) == [B1]


async def test_a_product_in_memory_hears_of_it_before_it_answers_again(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    assert await stage.bus.handle(Allocate(O1, SEA, 11)) is None
    await stage.handle(delivery((B2, SEA, 11)))
    assert await stage.bus.handle(Allocate(O1, SEA, 11)) == B2
    with pytest.raises(BatchConflict):
        await stage.handle(CreateBatch(B2, SEA, 12))


async def test_what_is_decided_meanwhile_is_decided_again_and_neither_is_refused(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(Allocate(O1, SEA, 1))  # so that it is in memory
    stage.store.commit_s = 1
    stage.ask("import", delivery((B2, SEA, 30), (B3, PINE, 1)))
    await wait_all_tasks_blocked()
    stage.ask("small", Allocate(OrderId("o-2"), SEA, 9))
    stage.ask("quantity", ChangeBatchQuantity(B1, 20))
    await trio.sleep(10)
    assert stage.outcomes == {"import": 2, "small": B1, "quantity": None}
    assert await stage.bus.handle(Allocate(OrderId("o-3"), SEA, 30)) == B2


async def test_a_product_that_changes_all_the_time_holds_no_import_up(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 0.1
    for number in range(100):
        stage.ask(f"o-{number}", Allocate(OrderId(f"o-{number}"), SEA, 1))
        if number == 50:
            stage.ask("import", delivery((B2, SEA, 1_000)))
        await trio.sleep(0.05)
    await trio.sleep(1)
    assert stage.outcomes.pop("import") == 1
    assert list(stage.outcomes.values()).count(B2) > 30


async def test_who_waits_for_what_comes_gets_it_without_being_asked_for(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(PlaceOrder(O1, (line("o-1", 12),)), PlaceOrder(O2, (line("o-2", 30),)))
    await wait_all_tasks_blocked()
    await stage.handle(delivery((B2, SEA, 20), (B3, PINE, 1)))
    await wait_all_tasks_blocked()
    assert stage.tables.allocations == stage.tables.view == {(SEA, O1): B2}
    assert stage.tables.back_orders == {(SEA, O2): 30}


async def test_who_waits_longer_is_served_before_who_asks_after_the_import(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(PlaceOrder(O1, (line("o-1", 12),)))
    await wait_all_tasks_blocked()
    stage.store.commit_s = 1
    stage.ask("import", delivery((B2, SEA, 12)))
    await wait_all_tasks_blocked()
    stage.ask("later", Allocate(O2, SEA, 12))
    await trio.sleep(10)
    assert stage.outcomes == {"import": 1, "later": None}
    assert stage.tables.allocations == {(SEA, O1): B2}


async def test_back_orders_that_a_crash_has_left_are_filled_at_the_start(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(PlaceOrder(O1, (line("o-1", 12),)))
    await wait_all_tasks_blocked()
    stage.store.commit_s = 1
    stage.ask("import", delivery((B2, SEA, 20)))
    await trio.sleep(1.5)
    left = stage.tables  # the last that this process does is to import
    assert stage.outcomes == {"import": 1}
    assert left.back_orders == {(SEA, O1): 12}
    store = MemoryStore()
    store.stock.tables = left
    async with open_stock(store):
        await wait_all_tasks_blocked()
        assert store.stock.tables.allocations == {(SEA, O1): B2}


async def test_of_an_import_and_a_batch_that_race_for_a_reference_the_later_is_told(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("batch", CreateBatch(B2, PINE, 5))
    await wait_all_tasks_blocked()
    stage.ask("import", delivery((B2, SEA, 5), (B3, SEA, 5)))
    await trio.sleep(10)
    assert stage.outcomes["batch"] is None
    assert isinstance(stage.outcomes["import"], ImportConflict)
    assert list(stage.tables.batches) == [B1, B2]


async def test_without_a_database_nothing_is_imported(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.writable = False
    with pytest.raises(StoreUnavailable):
        await stage.handle(delivery((B2, SEA, 5)))
    stage.store.writable, stage.store.stock.readable = True, False
    with pytest.raises(StoreUnavailable):
        await stage.handle(delivery((B2, SEA, 5)))
    stage.store.stock.readable = True
    assert await stage.bus.handle(delivery((B2, SEA, 5))) == 1


async def test_a_second_import_at_a_time_is_told_to_come_again(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("first", delivery((B2, SEA, 5)))
    await wait_all_tasks_blocked()
    with pytest.raises(Busy):
        await stage.handle(delivery((B3, SEA, 5)))
    await trio.sleep(2)
    assert await stage.bus.handle(delivery((B3, SEA, 5))) == 1


async def test_who_gives_up_waiting_for_an_import_may_find_it_done_and_the_products_know(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    assert await stage.bus.handle(Allocate(O1, SEA, 11)) is None
    stage.store.commit_s = 1
    asker = stage.ask("import", delivery((B2, SEA, 11)))
    await trio.sleep(0.5)
    asker.cancel()
    await trio.sleep(1)
    assert await stage.bus.handle(Allocate(O1, SEA, 11)) == B2


async def test_a_stock_room_that_closes_answers_truly_what_was_imported(
    autojump_clock: MockClock,
) -> None:
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 10))
        stage.store.commit_s = 1
        stage.ask("import", delivery((B2, SEA, 11)))
        await wait_all_tasks_blocked()
    assert stage.outcomes == {"import": 1}
    assert list(stage.tables.batches) == [B1, B2]


async def test_a_stock_room_that_is_closed_imports_nothing(autojump_clock: MockClock) -> None:
    async with open_stock() as stage:
        pass
    with pytest.raises(ActorStopped):
        await stage.handle(delivery((B2, SEA, 5)))

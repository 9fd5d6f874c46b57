"""An import into a real database, while others are served."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_check import check_file
from scentrt.adapters.theatre_store import open_store
from scentrt.domain.commands import (
    Allocate,
    ChangeBatchQuantity,
    CheckBatches,
    CreateBatch,
    ImportBatches,
    PlaceOrder,
    ReceiveBatch,
)
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import ImportConflict
from scentrt.service_layer.messagebus import MessageBus
from tests.goods import PINE, SEA, TODAY, line
from tests.stock_stage import stock_in_sql
from tests.stored_stock import read_tables

B1 = BatchRef("b-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stock.db"


@pytest.fixture
async def bus(path: Path) -> AsyncIterator[MessageBus]:
    async with (
        AioThread() as aio,
        open_store(aio, path) as store,
        stock_in_sql(store) as bus,
    ):
        yield bus


def delivery(batches: int, skus: int) -> tuple[CreateBatch, ...]:
    """Return so many batches, the first ones of `SEA`."""
    names = [SEA, *(Sku(f"s-{number}") for number in range(1, skus))]
    return tuple(
        CreateBatch(BatchRef(f"d-{number}"), names[number % skus], 10, TODAY)
        for number in range(batches)
    )


async def test_a_product_that_is_much_asked_for_is_imported_with_all_the_others(
    bus: MessageBus, path: Path
) -> None:
    await bus.handle(CreateBatch(B1, SEA, 10**6))
    numbers = count()

    async def ask_on() -> None:
        while True:
            await bus.handle(Allocate(OrderId(f"o-{next(numbers)}"), SEA, 1))

    async with trio.open_nursery() as askers:
        for _ in range(16):
            askers.start_soon(ask_on)
        await trio.sleep(0.1)
        told = delivery(1_200, 600)
        assert await bus.handle(CheckBatches(told)) == 1_200
        assert await bus.handle(ImportBatches(told)) == 1_200
        assert await bus.handle(ImportBatches(told)) == 0
        askers.cancel_scope.cancel()
    assert len(read_tables(path).batches) == 1_201
    assert list(check_file(path)) == []
    assert await bus.handle(Allocate(OrderId("last"), SEA, 10)) == B1
    assert await bus.handle(Allocate(OrderId("last"), Sku("s-599"), 10)) == "d-599"


async def test_it_is_all_or_nothing_on_disk(bus: MessageBus, path: Path) -> None:
    await bus.handle(CreateBatch(BatchRef("d-700"), PINE, 1))
    before = read_tables(path)
    with pytest.raises(ImportConflict) as raised:
        await bus.handle(ImportBatches(delivery(1_200, 3)))
    assert raised.value.refs == ("d-700",)
    assert read_tables(path) == before


async def test_back_orders_are_filled_from_it(bus: MessageBus, path: Path) -> None:
    await bus.handle(CreateBatch(B1, SEA, 1))
    for number in range(3):
        orderid = OrderId(f"o-{number}")
        await bus.handle(PlaceOrder(orderid, (line(orderid, 4 + number),)))
    while read_tables(path).unsettled:  # noqa: ASYNC110  # it is on disk, not here
        await trio.sleep(0.001)
    await bus.handle(ImportBatches(delivery(1, 1)))
    with trio.fail_after(30):
        while len(read_tables(path).allocations) < 2:  # noqa: ASYNC110  # likewise
            await trio.sleep(0.001)
    tables = read_tables(path)
    assert tables.view == {(SEA, "o-0"): "d-0", (SEA, "o-1"): "d-0"}
    assert tables.back_orders == {(SEA, "o-2"): 6}


async def test_what_was_told_at_first_and_what_is_so_by_now_are_both_the_same_batch(
    bus: MessageBus,
) -> None:
    await bus.handle(CreateBatch(B1, SEA, 1, TODAY))
    await bus.handle(ChangeBatchQuantity(B1, 3))
    await bus.handle(ReceiveBatch(B1))
    for command in CreateBatch(B1, SEA, 1, TODAY), CreateBatch(B1, SEA, 3):
        assert await bus.handle(CheckBatches((command,))) == 0
    for command in CreateBatch(B1, SEA, 1), CreateBatch(B1, SEA, 3, TODAY):
        with pytest.raises(ImportConflict):
            await bus.handle(CheckBatches((command,)))

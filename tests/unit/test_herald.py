"""The herald tells what is on disk, in order, and nobody waits for those who listen."""

import pytest
from trio.testing import MockClock

from scentrt.actors.herald import Herald
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchQuantity,
    CreateBatch,
    ImportBatches,
    PlaceOrder,
)
from scentrt.domain.events import (
    Allocated,
    BackOrdered,
    BackOrderFilled,
    BatchCreated,
    BatchQuantityChanged,
    Deallocated,
    LineCancelled,
    OutOfStock,
    StockEvent,
)
from scentrt.domain.names import BatchRef, OrderId
from scentrt.errors import LineConflict
from tests.goods import PINE, SEA, line
from tests.stock_stage import open_stock

B1, B2, O1, O2 = BatchRef("b-1"), BatchRef("b-2"), OrderId("o-1"), OrderId("o-2")


class Ear:
    """Whoever listens to some kinds of events."""

    def __init__(self, herald: Herald, *kinds: type[StockEvent]) -> None:
        self.heard: list[StockEvent] = []
        self.at: list[float] = []
        herald.add(self.hear, *kinds)

    def hear(self, event: StockEvent, at_ms: float) -> None:
        self.heard.append(event)
        self.at.append(at_ms)


EVERYTHING = (
    Allocated,
    BackOrdered,
    BackOrderFilled,
    BatchCreated,
    BatchQuantityChanged,
    Deallocated,
    LineCancelled,
    OutOfStock,
)


async def test_what_happens_to_a_product_is_told_in_order(autojump_clock: MockClock) -> None:
    herald = Herald(lambda: 5.0)
    ear = Ear(herald, *EVERYTHING)
    async with open_stock(proclaim=herald.proclaim) as stage:
        await stage.handle(
            CreateBatch(B1, SEA, 10),
            Allocate(O1, SEA, 6),
            Allocate(O2, SEA, 6),
            ChangeBatchQuantity(B1, 5),
            CreateBatch(B2, SEA, 6),
        )
    assert ear.heard == [
        BatchCreated(B1, SEA, 10, None),
        Allocated(O1, SEA, 6, B1),
        OutOfStock(SEA),
        Deallocated(O1, SEA, 6, B1),
        BatchQuantityChanged(B1, SEA, 5),
        OutOfStock(SEA),
        BackOrdered(O1, SEA, 6),
        BatchCreated(B2, SEA, 6, None),
        BackOrderFilled(O1, SEA, 6, B2),
        Allocated(O1, SEA, 6, B2),
    ]
    assert set(ear.at) == {5.0}


async def test_orders_and_imports_are_told_too(autojump_clock: MockClock) -> None:
    herald = Herald(lambda: 5.0)
    ear = Ear(herald, *EVERYTHING)
    async with open_stock(proclaim=herald.proclaim) as stage:
        await stage.handle(
            ImportBatches((CreateBatch(B1, SEA, 10), CreateBatch(B2, PINE, 10))),
            PlaceOrder(O1, (line("o-1", 6), line("o-1", 7, PINE))),
        )
        await stage.settle()
        await stage.handle(CancelOrder(O1))
    assert ear.heard[:2] == [BatchCreated(B1, SEA, 10, None), BatchCreated(B2, PINE, 10, None)]
    of_sea = [event for event in ear.heard[2:] if event.sku == SEA]
    assert of_sea == [Allocated(O1, SEA, 6, B1), LineCancelled(O1, SEA, 6, B1)]


async def test_what_was_not_stored_is_not_told(autojump_clock: MockClock) -> None:
    herald = Herald(lambda: 5.0)
    async with open_stock(proclaim=herald.proclaim) as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), Allocate(O1, SEA, 1))
        ear = Ear(herald, *EVERYTHING)
        stage.store.writable = False
        stage.ask("o-2", Allocate(O2, SEA, 1))
        await stage.settle()
        stage.store.writable = True
        with pytest.raises(LineConflict):
            await stage.bus.handle(Allocate(O1, SEA, 2))
        assert ear.heard == []
        await stage.handle(Allocate(O2, SEA, 1))
    assert ear.heard == [Allocated(O2, SEA, 1, B1)]


async def test_nobody_is_told_before_it_is_on_disk(autojump_clock: MockClock) -> None:
    herald = Herald(lambda: 5.0)
    async with open_stock(proclaim=herald.proclaim) as stage:
        told_of: list[bool] = []
        herald.add(lambda event, _: told_of.append(event.ref in stage.tables.batches), BatchCreated)
        await stage.handle(CreateBatch(B1, SEA, 10), ImportBatches((CreateBatch(B2, PINE, 10),)))
    assert told_of == [True, True]


async def test_a_listener_that_fails_harms_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    herald = Herald(lambda: 5.0)

    def fail(event: Allocated, at_ms: float) -> None:
        raise ZeroDivisionError

    herald.add(fail, Allocated)
    ear = Ear(herald, Allocated)
    async with open_stock(proclaim=herald.proclaim) as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), Allocate(O1, SEA, 6))
    assert ear.heard == [Allocated(O1, SEA, 6, B1)], "and what it did not ask for, it does not hear"
    assert "ZeroDivisionError" in caplog.text

"""The handler tests of *Architecture Patterns with Python*: a message bus on fakes alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

import pytest
import trio

from scentrt.bootstrap import in_process_bus
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchQuantity,
    Command,
    CreateBatch,
    ImportBatches,
    PlaceOrder,
    RegisterCustomer,
)
from scentrt.domain.model import OrderLine, Product
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.errors import DeliveryFailed, InvalidSku, OrderCancelled
from scentrt.service_layer.unit_of_work import AbstractNotifications
from tests.memory_stock import MemoryStock, MemoryUnitOfWork

CLOCK, CHAIR = Sku("OMINOUS-CLOCK"), Sku("UNCOMFORTABLE-CHAIR")


class FakeNotifications(AbstractNotifications):
    """Keep what is sent, by destination."""

    def __init__(self) -> None:
        self.sent: dict[str, list[str]] = {}
        self.away = False

    async def send(self, destination: str, message: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.away:
            raise DeliveryFailed("away")
        self.sent.setdefault(destination, []).append(message)


@dataclass
class Shop:
    """A bus on fakes."""

    stock: MemoryStock = field(default_factory=MemoryStock)
    notifications: FakeNotifications = field(default_factory=FakeNotifications)
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        new_unit = partial(MemoryUnitOfWork, self.stock)
        self.bus = in_process_bus(new_unit, self.notifications, self.publish)

    async def publish(self, channel: str, message: Mapping[str, str | int]) -> None:
        await trio.lowlevel.checkpoint()
        self.published.append((channel, dict(message)))

    async def handle(self, *commands: Command[Any]) -> None:
        for command in commands:
            await self.bus.handle(command)

    async def product(self, sku: Sku) -> Product:
        async with MemoryUnitOfWork(self.stock) as uow:
            product = await uow.products.get(sku)
        assert product is not None
        return product

    async def available(self, sku: Sku) -> list[int]:
        return [batch.available_quantity for batch in (await self.product(sku)).batches]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def batch(ref: str, sku: Sku, qty: int, eta: date | None = None) -> CreateBatch:
    return CreateBatch(BatchRef(ref), sku, qty, eta)


class TestAddBatch:
    async def test_for_new_product(self, shop: Shop) -> None:
        await shop.handle(batch("b1", CLOCK, 100))
        assert [stored.reference for stored in (await shop.product(CLOCK)).batches] == ["b1"]

    async def test_for_existing_product(self, shop: Shop) -> None:
        await shop.handle(batch("b1", CLOCK, 100), batch("b2", CLOCK, 99))
        assert [stored.reference for stored in (await shop.product(CLOCK)).batches] == ["b1", "b2"]


class TestAllocate:
    async def test_allocates_and_publishes(self, shop: Shop) -> None:
        await shop.handle(batch("b1", CLOCK, 100))
        assert await shop.bus.handle(Allocate(OrderId("o1"), CLOCK, 10)) == "b1"
        assert await shop.available(CLOCK) == [90]
        event = {"orderid": "o1", "sku": CLOCK, "qty": 10, "batchref": "b1"}
        assert shop.published == [("line_allocated", event)]

    async def test_errors_for_invalid_sku(self, shop: Shop) -> None:
        await shop.handle(batch("b1", CLOCK, 100))
        with pytest.raises(InvalidSku, match="Invalid sku NONEXISTENTSKU"):
            await shop.handle(Allocate(OrderId("o1"), Sku("NONEXISTENTSKU"), 10))

    async def test_sends_email_on_out_of_stock_error(self, shop: Shop) -> None:
        await shop.handle(batch("b1", CLOCK, 9), Allocate(OrderId("o1"), CLOCK, 10))
        assert shop.notifications.sent == {"stock@made.com": [f"Out of stock for {CLOCK}"]}
        assert shop.published == []


class TestChangeBatchQuantity:
    async def test_changes_available_quantity(self, shop: Shop) -> None:
        await shop.handle(batch("b1", CLOCK, 100), ChangeBatchQuantity(BatchRef("b1"), 50))
        assert await shop.available(CLOCK) == [50]

    async def test_reallocates_if_necessary(self, shop: Shop) -> None:
        await shop.handle(
            batch("b1", CHAIR, 50),
            batch("b2", CHAIR, 50, date(2030, 1, 1)),
            Allocate(OrderId("o1"), CHAIR, 20),
            Allocate(OrderId("o2"), CHAIR, 20),
        )
        assert await shop.available(CHAIR) == [10, 50]
        await shop.handle(ChangeBatchQuantity(BatchRef("b1"), 25))
        assert await shop.available(CHAIR) == [5, 30]
        assert [message["batchref"] for _, message in shop.published] == ["b1", "b1", "b2"]


class TestWhatTheBookDoesNotHave:
    async def test_what_an_order_leaves_to_be_done_is_done_and_its_customer_is_written_to(
        self, shop: Shop
    ) -> None:
        order = OrderId("o1")
        lines = OrderLine(order, CLOCK, 10), OrderLine(order, CHAIR, 10)
        await shop.handle(
            batch("b1", CLOCK, 100),
            batch("b2", CHAIR, 5),
            RegisterCustomer(CustomerName("Anna"), "Lane 1", "anna@example.com"),
            PlaceOrder(order, lines, CustomerName("Anna")),
            ImportBatches((batch("b3", CHAIR, 10),)),
        )
        assert shop.stock.tables.allocations == {(CLOCK, order): "b1", (CHAIR, order): "b3"}
        letters = shop.notifications.sent["anna@example.com"]
        assert [letter.partition(" is ")[0] for letter in letters] == [
            f"10 {CLOCK}",
            f"10 {CHAIR}",
            f"10 {CHAIR} has come in for you. Expected in our warehouse: now.",
        ]
        await shop.handle(CancelOrder(order))
        assert shop.stock.tables.lines == {}
        with pytest.raises(OrderCancelled):
            await shop.handle(Allocate(order, CLOCK, 1))

    async def test_what_cannot_be_told_is_stored_all_the_same(self, shop: Shop) -> None:
        shop.notifications.away = True
        with pytest.raises(DeliveryFailed):
            await shop.handle(batch("b1", CLOCK, 9), Allocate(OrderId("o1"), CLOCK, 10))
        assert await shop.available(CLOCK) == [9]

"""What the stock room does about each command, and about what follows from it."""

import json
from typing import Any, TypeVar
from uuid import UUID

import pytest

from scentrt.domain.commands import (
    Allocate,
    CancelLine,
    CancelOrder,
    ChangeBatchEta,
    ChangeBatchQuantity,
    Command,
    CreateBatch,
    FillLine,
    PlaceOrder,
    ReceiveBatch,
    RegisterCustomer,
)
from scentrt.domain.model import Batch, OrderLine
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.errors import (
    BatchConflict,
    CustomerConflict,
    InvalidOrder,
    InvalidQuantity,
    InvalidSku,
    LineConflict,
    OrderCancelled,
    OrderConflict,
    OrdersCancelled,
    UnitRefused,
    UnknownBatch,
    UnknownCustomer,
    UnknownOrder,
)
from scentrt.service_layer.deliveries import Kind, Outlets
from scentrt.service_layer.messagebus import work_through
from tests.goods import LATER, PINE, SEA, TODAY, line
from tests.memory_stock import MemoryStock, MemoryUnitOfWork

R = TypeVar("R")

B1, B2, B3 = BatchRef("b-1"), BatchRef("b-2"), BatchRef("b-3")
O1, O2, O3 = OrderId("o-1"), OrderId("o-2"), OrderId("o-3")
ADA = Customer(CustomerName("Ada"), "12 St James's Square", "ada@example.com")


class StockRoom:
    """A stock room that handles one command after the other, each in a unit of work."""

    def __init__(self) -> None:
        self.stock = MemoryStock()
        self.outlets = Outlets()

    async def handle(self, command: Command[R]) -> R:
        async with MemoryUnitOfWork(self.stock, self.outlets) as uow:
            answer = await work_through(command, uow)
            await uow.commit()
            return answer

    async def handle_all(self, *commands: Command[Any]) -> None:
        for command in commands:
            await self.handle(command)

    async def settle(self) -> None:
        """Do what accepted orders have left to be done."""
        orders = MemoryUnitOfWork(self.stock).orders
        for sku in await orders.unsettled_skus():
            for command in await orders.unsettled(sku):
                await self.handle(command)

    async def batches(self, sku: Sku) -> list[Batch]:
        async with MemoryUnitOfWork(self.stock) as uow:
            product = await uow.products.get(sku)
        return [] if product is None else product.batches

    async def available(self, sku: Sku = SEA) -> list[int]:
        return [batch.available_quantity for batch in await self.batches(sku)]

    @property
    def back_ordered(self) -> list[str]:
        return [orderid for _, orderid in self.stock.tables.back_orders]

    @property
    def shown(self) -> dict[str, str]:
        """The read model of the one product, by order."""
        return {orderid: ref for (_, orderid), ref in self.stock.tables.view.items()}

    @property
    def mails(self) -> list[str]:
        deliveries = self.stock.tables.deliveries
        payloads = [json.loads(d.payload) for d in deliveries if d.kind is Kind.EMAIL]
        assert {(mail["to"], mail["subject"]) for mail in payloads} <= {
            (self.outlets.stock_address, "allocation service notification")
        }
        return [mail["body"] for mail in payloads]

    @property
    def published(self) -> list[object]:
        deliveries = self.stock.tables.deliveries
        return [json.loads(d.payload) for d in deliveries if d.kind is Kind.REDIS]

    @property
    def letters(self) -> list[tuple[str, str]]:
        """To whom customers' letters went, and what they say."""
        return [(customer.email, letter.body) for customer, letter in self.stock.tables.letters]


@pytest.fixture
def room() -> StockRoom:
    return StockRoom()


class TestAddBatch:
    async def test_for_new_product(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        assert await room.available() == [100]

    async def test_for_existing_product(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(CreateBatch(B2, SEA, 99, TODAY))
        assert [batch.reference for batch in await room.batches(SEA)] == [B1, B2]

    async def test_the_same_batch_again_changes_nothing(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, TODAY))
        await room.handle(ReceiveBatch(B1))
        before = room.stock.tables
        await room.handle(CreateBatch(B1, SEA, 100, TODAY))
        assert room.stock.tables is before, "nothing was committed"

    @pytest.mark.parametrize(
        "other",
        [
            CreateBatch(B1, SEA, 99, TODAY),
            CreateBatch(B1, SEA, 100),
            CreateBatch(B1, PINE, 100, TODAY),
        ],
    )
    async def test_the_reference_of_another_batch_is_a_conflict(
        self, room: StockRoom, other: CreateBatch
    ) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, TODAY))
        with pytest.raises(BatchConflict):
            await room.handle(other)
        assert list(room.stock.tables.versions) == [SEA]

    async def test_a_quantity_that_is_none_makes_no_product(self, room: StockRoom) -> None:
        with pytest.raises(InvalidQuantity):
            await room.handle(CreateBatch(B1, SEA, -1))
        assert room.stock.tables.versions == {}


class TestAllocate:
    async def test_allocates(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        assert await room.handle(Allocate(O1, SEA, 10)) == B1
        assert await room.available() == [90]

    async def test_errors_for_invalid_sku(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        with pytest.raises(InvalidSku, match=r"^Invalid sku NONEXISTENTSKU$"):
            await room.handle(Allocate(O1, Sku("NONEXISTENTSKU"), 10))

    async def test_commits(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(Allocate(O1, SEA, 10))
        assert room.stock.tables.allocations == {(SEA, O1): B1}
        assert room.stock.tables.versions == {SEA: 2}

    async def test_shows_the_allocation_and_publishes_it(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(Allocate(O1, SEA, 10))
        assert room.shown == {O1: B1}
        assert room.published == [
            {
                "channel": "line_allocated",
                "message": {"orderid": O1, "sku": SEA, "qty": 10, "batchref": B1},
            }
        ]

    async def test_publishes_nothing_where_there_is_no_redis(self, room: StockRoom) -> None:
        room.outlets = Outlets(redis=False)
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(Allocate(O1, SEA, 10))
        assert room.stock.tables.deliveries == []

    async def test_sends_email_on_out_of_stock_error(self, room: StockRoom) -> None:
        room.outlets = Outlets(stock_address="stock@example.com")
        await room.handle(CreateBatch(B1, SEA, 9, None))
        assert await room.handle(Allocate(O1, SEA, 10)) is None
        assert room.mails == ["Out of stock for SEA-BREEZE"]
        assert room.stock.tables.lines == {}, "as in the book, it is not kept"

    async def test_the_same_line_again_changes_nothing(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(Allocate(O1, SEA, 10))
        before = room.stock.tables
        assert await room.handle(Allocate(O1, SEA, 10)) == B1
        assert room.stock.tables is before

    async def test_another_quantity_for_the_same_line_is_a_conflict(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(Allocate(O1, SEA, 10))
        with pytest.raises(LineConflict):
            await room.handle(Allocate(O1, SEA, 11))


class TestChangeBatchQuantity:
    async def test_changes_available_quantity(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 100, None))
        await room.handle(ChangeBatchQuantity(B1, 50))
        assert await room.available() == [50]

    async def test_reallocates_if_necessary(self, room: StockRoom) -> None:
        await room.handle_all(
            CreateBatch(B1, SEA, 50, None),
            CreateBatch(B2, SEA, 50, TODAY),
            Allocate(O1, SEA, 20),
            Allocate(O2, SEA, 20),
        )
        assert await room.available() == [10, 50]
        await room.handle(ChangeBatchQuantity(B1, 25))
        assert await room.available() == [5, 30]
        assert room.shown == {O1: B1, O2: B2}
        assert len(room.published) == 3

    async def test_a_displaced_line_without_another_place_is_back_ordered(
        self, room: StockRoom
    ) -> None:
        await room.handle(CreateBatch(B1, SEA, 50))
        await room.handle(Allocate(O1, SEA, 20))
        await room.handle(ChangeBatchQuantity(B1, 0))
        assert (room.shown, room.back_ordered) == ({}, [O1])
        assert room.mails == ["Out of stock for SEA-BREEZE"]
        await room.handle(ChangeBatchQuantity(B1, 20))
        assert (room.shown, room.back_ordered) == ({O1: B1}, [])

    async def test_displaced_lines_come_before_those_that_wait(self, room: StockRoom) -> None:
        await room.handle_all(
            CreateBatch(B1, SEA, 10),
            Allocate(O1, SEA, 10),
            CreateBatch(B2, SEA, 4, TODAY),
            Allocate(O2, SEA, 4),
            ChangeBatchQuantity(B2, 2),  # O2 waits
            CreateBatch(B3, SEA, 1, LATER),
        )
        assert room.back_ordered == [O2]
        await room.handle(ChangeBatchQuantity(B1, 5))
        assert room.back_ordered == [O1]
        assert room.shown == {O2: B1}

    async def test_an_unknown_batch_is_an_error(self, room: StockRoom) -> None:
        for command in (ChangeBatchQuantity(B1, 5), ReceiveBatch(B1), ChangeBatchEta(B1, TODAY)):
            with pytest.raises(UnknownBatch, match="Unknown batch b-1"):
                await room.handle(command)

    async def test_a_wrong_quantity_changes_nothing(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 50))
        with pytest.raises(InvalidQuantity):
            await room.handle(ChangeBatchQuantity(B1, -5))
        assert await room.available() == [50]


class TestShipments:
    async def test_a_batch_that_was_received_is_in_the_warehouse(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 50, TODAY))
        await room.handle(ReceiveBatch(B1))
        assert [batch.eta for batch in await room.batches(SEA)] == [None]

    async def test_a_shipment_may_be_late(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 50, TODAY))
        await room.handle(ChangeBatchEta(B1, LATER))
        assert [batch.eta for batch in await room.batches(SEA)] == [LATER]

    async def test_new_stock_goes_to_those_who_wait(self, room: StockRoom) -> None:
        await room.handle(CreateBatch(B1, SEA, 1))
        for orderid in (O1, O2):
            await room.handle(PlaceOrder(orderid, (line(orderid, 5),)))
        await room.settle()
        assert room.back_ordered == [O1, O2]
        await room.handle(CreateBatch(B2, SEA, 9, TODAY))
        assert (room.back_ordered, room.shown) == ([O2], {O1: B2})
        assert "Back-order filled: 5 SEA-BREEZE for order o-1, from batch b-2" in room.mails


class TestOrders:
    @pytest.fixture
    async def room(self) -> StockRoom:
        room = StockRoom()
        await room.handle_all(
            CreateBatch(B1, SEA, 10),
            CreateBatch(B2, PINE, 10, TODAY),
            RegisterCustomer(ADA.name, ADA.address, ADA.email),
        )
        return room

    async def test_an_order_is_accepted_whole_and_then_filled_line_by_line(
        self, room: StockRoom
    ) -> None:
        lines = (line("o-1", 4), line("o-1", 11, PINE))
        await room.handle(PlaceOrder(O1, lines, ADA.name))
        tables = room.stock.tables
        assert tables.orders == {O1: Order(O1, lines, ADA.name)}
        assert (tables.lines, tables.allocations) == ({(SEA, O1): 4, (PINE, O1): 11}, {})
        await room.settle()
        tables = room.stock.tables
        assert tables.allocations == {(SEA, O1): B1}
        assert list(tables.back_orders) == [(PINE, O1)]
        assert tables.unsettled == {}

    async def test_the_customer_is_told_what_becomes_of_each_line(self, room: StockRoom) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 4), line("o-1", 11, PINE)), ADA.name))
        await room.settle()
        await room.handle(CreateBatch(B3, PINE, 11, LATER))
        await room.handle(CreateBatch(BatchRef("b-4"), SEA, 10, TODAY))
        await room.handle(ChangeBatchQuantity(B1, 3))
        assert room.letters == [
            (ADA.email, body)
            for body in (
                "4 SEA-BREEZE is set aside for you. Expected in our warehouse: now.",
                "11 PINE-FOREST is out of stock. It is on back-order for you, and we write again "
                "when it comes in.",
                "11 PINE-FOREST has come in for you. Expected in our warehouse: on 12 March 2026.",
                "4 SEA-BREEZE has been moved to another delivery. Expected in our warehouse: "
                "on 02 March 2026.",
            )
        ]

    async def test_nobody_is_told_that_a_line_has_moved_which_is_where_it_was(
        self, room: StockRoom
    ) -> None:
        await room.handle(CreateBatch(B3, SEA, 90, None))
        for orderid, qty in (O1, 60), (O2, 30):
            await room.handle(PlaceOrder(orderid, (line(orderid, qty),), ADA.name))
            await room.settle()
        assert room.shown == {O1: B3, O2: B3}
        told = len(room.letters)
        await room.handle(ChangeBatchQuantity(B3, 50))
        assert room.shown == {O2: B3}
        [(_, letter)] = room.letters[told:]
        assert letter.startswith("60 SEA-BREEZE is out of stock.")

    async def test_of_several_batches_that_shrink_in_one_unit_each_lets_go_of_its_own(
        self, room: StockRoom
    ) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 4),), ADA.name))
        await room.settle()
        async with MemoryUnitOfWork(room.stock, room.outlets) as uow:
            await work_through(CreateBatch(B3, SEA, 4, TODAY), uow)
            await work_through(ChangeBatchQuantity(B1, 3), uow)
            await work_through(CreateBatch(BatchRef("b-4"), SEA, 4, LATER), uow)
            await work_through(ChangeBatchQuantity(B3, 3), uow)
            await work_through(ChangeBatchQuantity(B1, 4), uow)
            await work_through(ChangeBatchQuantity(BatchRef("b-4"), 3), uow)
            await uow.commit()
        assert room.shown == {O1: B1}
        assert [letter.partition(".")[0] for _, letter in room.letters[1:]] == [
            "4 SEA-BREEZE has been moved to another delivery"
        ] * 3

    async def test_nobody_is_written_to_about_an_order_of_no_customer(
        self, room: StockRoom
    ) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 4),)))
        await room.settle()
        assert room.letters == []

    async def test_the_same_order_again_changes_nothing(self, room: StockRoom) -> None:
        order = PlaceOrder(O1, (line("o-1", 4),), ADA.name)
        await room.handle(order)
        await room.settle()
        before = room.stock.tables
        await room.handle(order)
        assert room.stock.tables is before

    @pytest.mark.parametrize(
        ("order", "error"),
        [
            (PlaceOrder(O1, (line("o-1", 5),)), OrderConflict),
            (PlaceOrder(O1, (line("o-1", 4),), ADA.name), OrderConflict),
            (PlaceOrder(O2, (line("o-2", 4, Sku("TAR")), line("o-2", 4))), InvalidSku),
            (PlaceOrder(O2, (line("o-2", 4),), CustomerName("Bob")), UnknownCustomer),
            (PlaceOrder(O2, ()), InvalidOrder),
            (PlaceOrder(O3, (line("o-3", 1),)), OrderConflict),
        ],
    )
    async def test_what_cannot_be_accepted_is_refused_as_a_whole(
        self, room: StockRoom, order: PlaceOrder, error: type[Exception]
    ) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 4),)))
        await room.handle(Allocate(O3, SEA, 1))
        before = room.stock.tables
        with pytest.raises(error):
            await room.handle(order)
        assert room.stock.tables is before

    async def test_a_cancelled_order_gives_its_stock_to_those_who_wait(
        self, room: StockRoom
    ) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 10), line("o-1", 11, PINE))))
        await room.handle(PlaceOrder(O2, (line("o-2", 6),)))
        await room.settle()
        assert room.shown == {O1: B1}
        await room.handle(CancelOrder(O1))
        await room.settle()
        assert (room.shown, room.back_ordered) == ({O2: B1}, [])
        assert room.stock.tables.lines == {(SEA, O2): 6}
        assert room.stock.tables.orders[O1].cancelled

    async def test_an_order_may_be_cancelled_before_it_was_filled(self, room: StockRoom) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 10), line("o-1", 11, PINE))))
        await room.handle(CancelOrder(O1))
        await room.settle()
        assert (room.stock.tables.lines, room.stock.tables.unsettled) == ({}, {})
        assert await room.available() == [10]

    async def test_lines_that_were_allocated_one_by_one_may_be_cancelled_too(
        self, room: StockRoom
    ) -> None:
        await room.handle(Allocate(O1, SEA, 10))
        await room.handle(CancelOrder(O1))
        await room.settle()
        assert (room.shown, room.stock.tables.lines) == ({}, {})
        assert await room.handle(Allocate(O2, SEA, 10)) == B1

    @pytest.mark.parametrize("how", [Allocate(O1, SEA, 4), PlaceOrder(O1, (line("o-1", 4),))])
    async def test_a_cancelled_order_takes_no_line_any_more(
        self, room: StockRoom, how: Command[Any]
    ) -> None:
        await room.handle(how)
        await room.settle()
        await room.handle(CancelOrder(O1))
        await room.settle()
        before = room.stock.tables
        for qty in 4, 5, 11:  # the last one is out of stock
            with pytest.raises(OrdersCancelled) as raised:
                await room.handle(Allocate(O1, SEA, qty))
            assert str(raised.value.conflict) == "Order o-1 was cancelled"
        with pytest.raises(OrderCancelled):
            await room.handle(PlaceOrder(O1, (line("o-1", 4),)))
        assert room.stock.tables is before

    async def test_a_line_that_comes_to_an_order_while_it_is_cancelled_is_not_forgotten(
        self, room: StockRoom
    ) -> None:
        await room.handle(Allocate(O1, SEA, 4))
        async with MemoryUnitOfWork(room.stock) as uow:
            await work_through(CancelOrder(O1), uow)
            await room.handle(Allocate(O1, PINE, 4))
            with pytest.raises(UnitRefused, match="a line came to o-1 meanwhile"):
                await uow.commit()

    async def test_cancelling_twice_changes_nothing(self, room: StockRoom) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 10),)))
        await room.handle(CancelOrder(O1))
        await room.settle()
        before = room.stock.tables
        await room.handle(CancelOrder(O1))
        assert room.stock.tables is before
        with pytest.raises(OrderConflict, match="Order o-1 was cancelled"):
            await room.handle(PlaceOrder(O1, (line("o-1", 10),)))

    async def test_an_order_that_nobody_placed_cannot_be_cancelled(self, room: StockRoom) -> None:
        with pytest.raises(UnknownOrder):
            await room.handle(CancelOrder(O1))

    async def test_a_line_is_settled_once(self, room: StockRoom) -> None:
        wanted: OrderLine = line("o-1", 4)
        await room.handle(PlaceOrder(O1, (wanted,)))
        await room.handle(FillLine(wanted))
        with pytest.raises(UnitRefused):
            await room.handle(CancelLine(wanted))
        assert await room.available() == [6]
        await room.handle(CancelOrder(O1))
        await room.handle(CancelLine(wanted))
        assert await room.available() == [10]

    async def test_what_was_cancelled_while_it_was_being_filled_is_not_filled(
        self, room: StockRoom
    ) -> None:
        await room.handle(PlaceOrder(O1, (line("o-1", 4),)))
        async with MemoryUnitOfWork(room.stock) as uow:
            await work_through(FillLine(line("o-1", 4)), uow)
            await room.handle(CancelOrder(O1))
            with pytest.raises(UnitRefused):
                await uow.commit()
        await room.settle()
        assert (room.stock.tables.lines, await room.available()) == ({}, [10])

    async def test_a_customer_is_registered_once(self, room: StockRoom) -> None:
        await room.handle(RegisterCustomer(ADA.name, ADA.address, ADA.email))
        with pytest.raises(CustomerConflict):
            await room.handle(RegisterCustomer(ADA.name, "elsewhere", ADA.email))
        assert room.stock.tables.customers == {ADA.name: ADA}


async def test_what_is_told_twice_in_one_unit_is_mailed_once(room: StockRoom) -> None:
    await room.handle(CreateBatch(B1, SEA, 0))
    async with MemoryUnitOfWork(room.stock) as uow:
        for orderid in (O1, O2, O3):
            await work_through(Allocate(orderid, SEA, 1), uow)
        await uow.commit()
    assert room.mails == ["Out of stock for SEA-BREEZE"]


async def test_everything_that_is_told_has_an_id_of_its_own(room: StockRoom) -> None:
    await room.handle(CreateBatch(B1, SEA, 2))
    for orderid in (O1, O2, O3):
        await room.handle(Allocate(orderid, SEA, 1))
    ids = [delivery.event_id for delivery in room.stock.tables.deliveries]
    assert len(set(ids)) == 3
    assert all(UUID(id).hex == id and UUID(id).version == 7 for id in ids)

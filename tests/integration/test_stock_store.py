"""Products, orders and what is to be delivered, in a real database."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from scentrt.actors.ledger import Writes
from scentrt.actors.outbox import PutOff
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.delivery_store import SqlDeliveryStore
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.adapters.unit_of_work import SqlAlchemyUnitOfWork
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchQuantity,
    Command,
    CreateBatch,
    PlaceOrder,
    ReceiveBatch,
    RegisterCustomer,
)
from scentrt.domain.model import Product
from scentrt.domain.names import LARGEST_QUANTITY, BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.orders import Order
from scentrt.errors import BatchConflict, StoreUnavailable, UnitRefused
from scentrt.service_layer.changes import Changes, Unsettled, Version
from scentrt.service_layer.deliveries import Kind, NewDelivery, Outlets
from scentrt.service_layer.messagebus import work_through
from scentrt.service_layer.views import (
    AllocationView,
    BatchView,
    CustomerView,
    LineView,
    OrderView,
    ProductView,
)
from tests.goods import LATER, PINE, SEA, TODAY, batch, line
from tests.stored_stock import read_tables, wrong_totals

R = TypeVar("R")

B1, B2, B3 = BatchRef("b-1"), BatchRef("b-2"), BatchRef("b-3")
O1, O2, O3 = OrderId("o-1"), OrderId("o-2"), OrderId("o-3")
ADA = CustomerName("Ada")


@pytest.fixture
async def aio() -> AsyncIterator[AioThread]:
    async with AioThread() as aio:
        yield aio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stock.db"


@pytest.fixture(params=["file", "memory"])
async def any_store(
    request: pytest.FixtureRequest, aio: AioThread, path: Path
) -> AsyncIterator[SqlTheatreStore]:
    async with open_store(aio, path if request.param == "file" else ":memory:") as store:
        yield store


@pytest.fixture
async def store(aio: AioThread, path: Path) -> AsyncIterator[SqlTheatreStore]:
    async with open_store(aio, path, busy_s=0.05) as store:
        yield store


def unit_on(store: SqlTheatreStore) -> SqlAlchemyUnitOfWork:
    return SqlAlchemyUnitOfWork(store, Outlets())


async def handle(store: SqlTheatreStore, command: Command[R]) -> R:
    async with unit_on(store) as uow:
        answer = await work_through(command, uow)
        await uow.commit()
        return answer


async def handle_all(store: SqlTheatreStore, *commands: Command[Any]) -> None:
    for command in commands:
        await handle(store, command)


async def settle(store: SqlTheatreStore) -> None:
    orders = unit_on(store).orders
    for sku in await orders.unsettled_skus():
        await handle_all(store, *await orders.unsettled(sku))


async def product_of(uow: SqlAlchemyUnitOfWork, sku: Sku = SEA) -> Product:
    product = await uow.products.get(sku)
    assert product is not None
    return product


# The repository and the unit of work, as in the book


async def test_repository_can_save_a_batch(store: SqlTheatreStore, path: Path) -> None:
    async with unit_on(store) as uow:
        product = Product(SEA, [])
        uow.products.add(product)
        product.add_batch(batch("b-1", 100, TODAY))
        await uow.commit()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT reference, sku, purchased_quantity, allocated_quantity, eta FROM batches"
        )
        assert list(rows) == [("b-1", "SEA-BREEZE", 100, 0, "2026-03-02")]


async def test_get_by_batchref(any_store: SqlTheatreStore) -> None:
    await handle_all(any_store, CreateBatch(B1, SEA, 100), CreateBatch(B2, PINE, 100))
    async with unit_on(any_store) as uow:
        product = await uow.products.get_by_batchref(B2)
        assert product is not None
        assert product.sku == PINE
        assert await uow.products.get_by_batchref(B3) is None
        assert await uow.products.get(Sku("TAR")) is None


async def test_uow_can_retrieve_a_batch_and_allocate_to_it(
    store: SqlTheatreStore, path: Path
) -> None:
    await handle(store, CreateBatch(B1, SEA, 100))
    async with unit_on(store) as uow:
        (await product_of(uow)).allocate(line("o-1", 10))
        await uow.commit()
    assert read_tables(path).allocations == {(SEA, O1): B1}


async def test_rolls_back_uncommitted_work_by_default(store: SqlTheatreStore, path: Path) -> None:
    async with unit_on(store) as uow:
        await work_through(CreateBatch(B1, SEA, 100), uow)
    assert read_tables(path).versions == {}


async def test_rolls_back_on_error(store: SqlTheatreStore, path: Path) -> None:
    async def fail() -> None:
        async with unit_on(store) as uow:
            await work_through(CreateBatch(B1, SEA, 100), uow)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert read_tables(path).versions == {}


async def test_concurrent_updates_to_version_are_not_allowed(
    store: SqlTheatreStore, path: Path
) -> None:
    await handle(store, CreateBatch(B1, SEA, 100))
    async with unit_on(store) as first, unit_on(store) as second:
        (await product_of(first)).allocate(line("o-1", 10))
        (await product_of(second)).allocate(line("o-2", 10))
        await first.commit()
        with pytest.raises(UnitRefused, match="as they were read"):
            await second.commit()
    tables = read_tables(path)
    assert tables.versions == {SEA: 2}
    assert list(tables.allocations) == [(SEA, O1)]


async def test_of_two_who_make_one_product_known_the_later_is_refused(
    store: SqlTheatreStore,
) -> None:
    async with unit_on(store) as first, unit_on(store) as second:
        await work_through(CreateBatch(B1, SEA, 1), first)
        await work_through(CreateBatch(B2, SEA, 1), second)
        await first.commit()
        with pytest.raises(UnitRefused, match="UNIQUE"):
            await second.commit()


async def test_of_two_who_give_one_reference_the_later_is_refused(store: SqlTheatreStore) -> None:
    async with unit_on(store) as first, unit_on(store) as second:
        await work_through(CreateBatch(B1, SEA, 1), first)
        await work_through(CreateBatch(B1, PINE, 1), second)
        await first.commit()
        with pytest.raises(UnitRefused, match="UNIQUE"):
            await second.commit()
        second.rollback()
        with pytest.raises(BatchConflict):
            await work_through(CreateBatch(B1, PINE, 1), second)


async def test_a_product_is_read_as_it_was_stored(any_store: SqlTheatreStore) -> None:
    await handle_all(
        any_store,
        CreateBatch(B1, SEA, 6, LATER),
        CreateBatch(B2, SEA, 4, TODAY),
        CreateBatch(BatchRef("b-0"), SEA, 10, LATER),
        *(Allocate(OrderId(f"o-{number}"), SEA, 1) for number in (5, 3, 4, 1, 2, 6)),
        ReceiveBatch(B1),
        ChangeBatchQuantity(BatchRef("b-0"), 0),
        ChangeBatchQuantity(B1, 0),
        ChangeBatchQuantity(B2, 3),
    )
    async with unit_on(any_store) as uow:
        product = await product_of(uow)
    assert [
        (batch.reference, batch.purchased_quantity, batch.available_quantity, batch.eta)
        for batch in product.batches
    ] == [(B1, 0, 0, None), (B2, 3, 0, TODAY), ("b-0", 0, 0, LATER)]
    assert [line.orderid for line in product.batches[1].lines] == ["o-5", "o-3", "o-4"]
    assert [line.orderid for line in product.back_orders] == ["o-2", "o-6", "o-1"]
    assert product.version_number == 19
    product.add_batch(batch("b-1", 6, LATER))  # as it was told at first
    assert product.events == []


async def test_every_row_of_an_order_is_stored_and_read(store: SqlTheatreStore, path: Path) -> None:
    lines = (line("o-1", 4), line("o-1", 2, PINE))
    await handle_all(
        store,
        CreateBatch(B1, SEA, 100),
        CreateBatch(B2, PINE, 1),
        RegisterCustomer(ADA, "London", "ada@example.com"),
        PlaceOrder(O1, lines, ADA),
    )
    orders = unit_on(store).orders
    assert await orders.get(O1) == Order(O1, lines, ADA)
    assert await orders.get(O2) is None
    assert await orders.lines(O1) == lines[::-1], "by SKU"
    assert await orders.unknown([PINE, Sku("TAR"), Sku("PITCH")]) == "TAR"
    assert await orders.unsettled_skus() == (PINE, SEA)
    assert read_tables(path).unsettled == {
        (SEA, O1): Unsettled.FILL,
        (PINE, O1): Unsettled.FILL,
    }
    await settle(store)
    tables = read_tables(path)
    assert (list(tables.allocations), list(tables.back_orders)) == ([(SEA, O1)], [(PINE, O1)])
    await handle(store, CancelOrder(O1))
    await settle(store)
    tables = read_tables(path)
    assert (tables.lines, tables.unsettled) == ({}, {})
    assert tables.orders[O1] == replace(Order(O1, lines, ADA), cancelled=True)
    assert wrong_totals(path) == []


async def test_a_customer_is_written_to_at_the_address_that_is_stored(
    store: SqlTheatreStore, path: Path
) -> None:
    await handle_all(
        store,
        CreateBatch(B1, SEA, 100),
        RegisterCustomer(ADA, "London", "ada@example.com"),
        PlaceOrder(O1, (line("o-1", 4),), ADA),
        PlaceOrder(O2, (line("o-2", 4),)),
    )
    await settle(store)
    mails = [d.payload for d in read_tables(path).deliveries if d.kind is Kind.EMAIL]
    assert [json.loads(mail) for mail in mails] == [
        {
            "to": "ada@example.com",
            "subject": "Your order o-1",
            "body": "4 SEA-BREEZE is set aside for you. Expected in our warehouse: now.",
        }
    ]


async def test_a_cancelled_line_that_comes_again_with_another_quantity_is_stored_as_that(
    store: SqlTheatreStore, path: Path
) -> None:
    await handle_all(store, CreateBatch(B1, SEA, 10), Allocate(O1, SEA, 4))
    async with unit_on(store) as uow:
        product = await product_of(uow)
        product.cancel(O1)
        product.allocate(line("o-1", 7))
        product.allocate(line("o-2", 1))
        product.cancel(O2)
        await uow.commit()
    assert read_tables(path).lines == {(SEA, O1): 7}
    assert wrong_totals(path) == []


# What the schema does not take, whatever the code above it does


ALLOCATED = "INSERT INTO allocations (sku, orderid, batchref) VALUES "


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE batches SET purchased_quantity = 3 WHERE reference = 'b-1'", "CHECK"),
        ("UPDATE products SET version_number = -1", "CHECK"),
        ("INSERT INTO order_lines VALUES ('SEA-BREEZE', 'o-9', 0, 0)", "CHECK"),
        ("INSERT INTO order_lines VALUES ('TAR', 'o-9', 1, 0)", "FOREIGN KEY"),
        ("DELETE FROM order_lines WHERE orderid = 'o-1'", "FOREIGN KEY"),
        ("DELETE FROM batches WHERE reference = 'b-1'", "FOREIGN KEY"),
        (ALLOCATED + "('SEA-BREEZE', 'o-1', 'b-1')", "UNIQUE"),
        (ALLOCATED + "('SEA-BREEZE', 'o-3', 'b-1')", "CHECK"),
        (ALLOCATED + "('SEA-BREEZE', 'o-3', 'b-2')", "FOREIGN KEY"),
        (ALLOCATED + "('SEA-BREEZE', 'o-9', 'b-1')", "FOREIGN KEY|CHECK|NOT NULL"),
        (ALLOCATED + "('SEA-BREEZE', 'o-2', 'b-1')", "back-ordered"),
        ("INSERT INTO back_orders (sku, orderid) VALUES ('SEA-BREEZE', 'o-1')", "allocated"),
        ("INSERT INTO outbox VALUES (1, 'x', 'pigeon', '{}', 0, NULL)", "CHECK"),
        ("INSERT INTO outbox VALUES (1, 'x', 'redis', 'not JSON', 0, NULL)", "CHECK"),
        (
            "INSERT INTO unsettled_lines (sku, orderid, what) VALUES ('SEA-BREEZE', 'o-1', '?')",
            "CHECK",
        ),
        ("INSERT INTO orders VALUES ('o-9', 'Nobody', '[]', 0)", "FOREIGN KEY"),
    ],
)
async def test_the_schema_takes_nothing_impossible(
    store: SqlTheatreStore, path: Path, statement: str, problem: str
) -> None:
    await handle_all(
        store,
        CreateBatch(B1, SEA, 5),
        CreateBatch(B2, PINE, 100),
        Allocate(O1, SEA, 4),
        PlaceOrder(O2, (line("o-2", 5),)),
    )
    await settle(store)
    await handle(store, PlaceOrder(O3, (line("o-3", 2),)))
    before = read_tables(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError, match=problem):
            connection.execute(statement)
    assert read_tables(path) == before


async def test_of_units_that_are_stored_together_all_are_or_none(
    store: SqlTheatreStore, path: Path
) -> None:
    async with unit_on(store) as good, unit_on(store) as wrong:
        await work_through(CreateBatch(B1, SEA, 1), good)
        await work_through(CreateBatch(B2, PINE, 1), wrong)
        wrong.changes.versions = {PINE: Version(7, 8)}
        good.changes.versions = {SEA: Version(None, 1)}
        with pytest.raises(UnitRefused):
            await store.commit(Writes(units=(good.changes, wrong.changes)))
    assert read_tables(path).batches == {}


@pytest.mark.parametrize("name", ["o-\ud800", "o-\x00", "o-'; DROP TABLE orders; --", "ø 1 🌊"])
async def test_whatever_an_order_is_called_it_is_stored_so_or_refused(
    store: SqlTheatreStore, path: Path, name: str
) -> None:
    await handle(store, CreateBatch(B1, SEA, 5))
    try:
        await handle(store, Allocate(OrderId(name), SEA, 1))
    except UnitRefused:
        assert "\ud800" in name
        assert read_tables(path).lines == {}
    else:
        assert read_tables(path).lines == {(SEA, name): 1}


async def test_the_largest_quantity_is_stored_exactly(store: SqlTheatreStore, path: Path) -> None:
    await handle_all(
        store, CreateBatch(B1, SEA, LARGEST_QUANTITY), Allocate(O1, SEA, LARGEST_QUANTITY)
    )
    assert read_tables(path).lines == {(SEA, O1): LARGEST_QUANTITY}
    assert wrong_totals(path) == []


# What is to be delivered


async def test_what_is_to_be_delivered_comes_in_order_until_it_is_struck_out(
    any_store: SqlTheatreStore,
) -> None:
    await handle_all(
        any_store,
        CreateBatch(B1, SEA, 3),
        *(Allocate(OrderId(f"o-{number}"), SEA, 1) for number in range(5)),
    )
    out = SqlDeliveryStore(any_store)
    first, second, third = await out.fresh_deliveries(Kind.REDIS, 0, 10)
    assert [json.loads(d.payload)["message"]["orderid"] for d in (first, second, third)] == [
        "o-0",
        "o-1",
        "o-2",
    ]
    assert await out.fresh_deliveries(Kind.REDIS, first.id, 1) == (second,)
    assert len(await out.fresh_deliveries(Kind.EMAIL, 0, 10)) == 2
    await out.strike_out_deliveries([first.id, third.id, 12345])
    await out.strike_out_deliveries([])
    assert await out.fresh_deliveries(Kind.REDIS, 0, 10) == (second,)


async def test_what_was_put_off_waits_beside_the_others_until_it_is_due(
    any_store: SqlTheatreStore,
) -> None:
    letters = [NewDelivery(f"e-{number}", Kind.EMAIL, "{}", 0.0) for number in range(3)]
    await any_store.commit_unit(
        Changes(deliveries=[*letters, NewDelivery("event", Kind.REDIS, "{}", 0.0)])
    )
    out = SqlDeliveryStore(any_store)
    first, second, third = await out.fresh_deliveries(Kind.EMAIL, 0, 10)
    await out.put_off_deliveries({first.id: 2_000.0, second.id: 1_000.0, 12345: 0.0})
    await out.put_off_deliveries({})
    assert await out.fresh_deliveries(Kind.EMAIL, 0, 10) == (third,)
    assert await out.put_off(Kind.EMAIL) == PutOff(2, 1_000.0)
    assert await out.put_off(Kind.REDIS) == PutOff(0, None)
    assert await out.due_deliveries(Kind.EMAIL, 999.0, 10) == ()
    assert await out.due_deliveries(Kind.EMAIL, 1_000.0, 10) == (second,)
    assert await out.due_deliveries(Kind.EMAIL, 2_000.0, 10) == (second, first)
    assert await out.due_deliveries(Kind.EMAIL, 2_000.0, 1) == (second,)
    await out.strike_out_deliveries([second.id])
    await out.put_off_deliveries({first.id: 3_000.0})
    assert await out.put_off(Kind.EMAIL) == PutOff(1, 3_000.0)


async def test_what_was_given_up_is_kept_with_the_reason(
    store: SqlTheatreStore, path: Path
) -> None:
    letters = [NewDelivery(f"e-{number}", Kind.EMAIL, "{}", 7.0) for number in range(2)]
    await store.commit_unit(Changes(deliveries=letters))
    out = SqlDeliveryStore(store)
    first, second = await out.fresh_deliveries(Kind.EMAIL, 0, 10)
    await out.give_up_deliveries({first.id: "550 'no such user'", 12345: "gone"}, 8.0)
    await out.give_up_deliveries({}, 8.0)
    assert await out.fresh_deliveries(Kind.EMAIL, 0, 10) == (second,)
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT * FROM undelivered").fetchall()
    assert kept == [(first.id, "e-0", "email", "{}", 7.0, 8.0, "550 'no such user'")]


async def test_the_id_of_a_delivery_is_never_used_again(store: SqlTheatreStore) -> None:
    changes = Changes(deliveries=[NewDelivery("a" * 32, Kind.REDIS, "{}", 0.0)])
    out = SqlDeliveryStore(store)
    await store.commit_unit(changes)
    [first] = await out.fresh_deliveries(Kind.REDIS, 0, 1)
    await out.strike_out_deliveries([first.id])
    await store.commit_unit(changes)
    [second] = await out.fresh_deliveries(Kind.REDIS, 0, 1)
    assert second.id > first.id


# Views


async def test_allocations_view(any_store: SqlTheatreStore) -> None:
    await handle_all(
        any_store,
        CreateBatch(B1, SEA, 50),
        CreateBatch(B2, PINE, 50, TODAY),
        Allocate(O1, SEA, 20),
        Allocate(O2, SEA, 20),
        Allocate(O1, PINE, 20),
    )
    views = SqlAlchemyViews(any_store)
    assert await views.allocations(O1) == (AllocationView(SEA, B1), AllocationView(PINE, B2))
    assert await views.allocations(O3) == ()


async def test_deallocation(any_store: SqlTheatreStore) -> None:
    await handle_all(
        any_store,
        CreateBatch(B1, SEA, 50),
        CreateBatch(B2, SEA, 50, TODAY),
        Allocate(O1, SEA, 40),
        ChangeBatchQuantity(B1, 10),
    )
    assert await SqlAlchemyViews(any_store).allocations(O1) == (AllocationView(SEA, B2),)


async def test_products_are_seen_with_their_batches_page_by_page(
    any_store: SqlTheatreStore,
) -> None:
    await handle_all(
        any_store,
        CreateBatch(B1, SEA, 50, LATER),
        CreateBatch(B2, SEA, 10),
        CreateBatch(B3, PINE, 1),
        Allocate(O1, SEA, 4),
        PlaceOrder(O2, (line("o-2", 51), line("o-2", 2, PINE))),
    )
    await settle(any_store)
    sea = ProductView(SEA, (BatchView(B2, SEA, None, 10, 4), BatchView(B1, SEA, LATER, 50, 0)), 1)
    pine = ProductView(PINE, (BatchView(B3, PINE, None, 1, 0),), 1)
    views = SqlAlchemyViews(any_store)
    assert (sea.purchased, sea.allocated, sea.available) == (60, 4, 56)
    assert await views.product(SEA) == sea
    assert await views.product(Sku("TAR")) is None
    assert await views.products(Sku(""), 10) == (pine, sea)
    assert await views.products(Sku(""), 1) == (pine,)
    assert await views.products(PINE, 1) == (sea,)
    assert await views.products(SEA, 1) == ()


async def test_orders_are_seen_with_what_has_become_of_their_lines(
    any_store: SqlTheatreStore,
) -> None:
    await handle_all(
        any_store,
        CreateBatch(B1, SEA, 4, LATER),
        CreateBatch(B2, PINE, 1),
        RegisterCustomer(ADA, "London", "ada@example.com"),
        PlaceOrder(O1, (line("o-1", 4), line("o-1", 2, PINE)), ADA),
    )
    await settle(any_store)
    await handle(any_store, PlaceOrder(O2, (line("o-2", 1),)))
    views = SqlAlchemyViews(any_store)
    first = OrderView(
        O1,
        ADA,
        cancelled=False,
        lines=(
            LineView(PINE, 2, None, None, back_ordered=True),
            LineView(SEA, 4, B1, LATER, back_ordered=False),
        ),
    )
    second = OrderView(
        O2, None, cancelled=False, lines=(LineView(SEA, 1, None, None, back_ordered=False),)
    )
    assert await views.order(O1) == first
    assert await views.order(O3) is None
    assert await views.orders(OrderId(""), 10) == (first, second)
    assert await views.orders(O1, 10) == (second,)
    await handle(any_store, CancelOrder(O2))
    await settle(any_store)
    assert await views.order(O2) == OrderView(O2, None, cancelled=True, lines=())
    assert await views.customers(CustomerName(""), 9) == (
        CustomerView(ADA, "London", "ada@example.com"),
    )


async def test_looking_at_the_stock_changes_nothing(store: SqlTheatreStore) -> None:
    async def write(connection: Any) -> None:
        await connection.exec_driver_sql("INSERT INTO products VALUES ('TAR', 0)")

    with pytest.raises(StoreUnavailable, match="readonly"):
        await store.read(write)

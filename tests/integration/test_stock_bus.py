"""The message bus over a real database: what it acknowledges is on disk, also when that is full."""

import json
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.domain.commands import Allocate, ChangeBatchQuantity, CreateBatch, PlaceOrder
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import BatchConflict, ScentError, StoreUnavailable
from scentrt.service_layer.deliveries import Kind
from scentrt.service_layer.messagebus import MessageBus
from tests.goods import PINE, SEA, TODAY, line
from tests.stock_stage import stock_in_sql
from tests.stored_stock import read_tables, wrong_totals

B1, B2 = BatchRef("b-1"), BatchRef("b-2")


@pytest.fixture
async def aio() -> AsyncIterator[AioThread]:
    async with AioThread() as aio:
        yield aio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stock.db"


@pytest.fixture
async def store(aio: AioThread, path: Path) -> AsyncIterator[SqlTheatreStore]:
    async with open_store(aio, path, busy_s=0.05) as store:
        yield store


@pytest.fixture
async def bus(store: SqlTheatreStore) -> AsyncIterator[MessageBus]:
    async with stock_in_sql(store) as bus:
        yield bus


def lines_at(path: Path) -> set[tuple[Sku, OrderId]]:
    return set(read_tables(path).allocations)


async def test_change_batch_quantity_leading_to_reallocation(bus: MessageBus, path: Path) -> None:
    order = OrderId("o-1")
    await bus.handle(CreateBatch(B1, SEA, 10, None))
    await bus.handle(CreateBatch(B2, SEA, 10, TODAY))
    assert await bus.handle(Allocate(order, SEA, 10)) == B1
    await bus.handle(ChangeBatchQuantity(B1, 5))
    tables = read_tables(path)
    assert tables.allocations == tables.view == {(SEA, order): B2}
    published = [
        json.loads(d.payload)["message"] for d in tables.deliveries if d.kind is Kind.REDIS
    ]
    assert [message["batchref"] for message in published] == [B1, B2]


async def test_everything_is_there_after_a_restart(aio: AioThread, path: Path) -> None:
    async with open_store(aio, path) as store, stock_in_sql(store) as bus:
        await bus.handle(CreateBatch(B1, SEA, 3))
        await bus.handle(Allocate(OrderId("o-1"), SEA, 2))
    async with open_store(aio, path) as store, stock_in_sql(store) as bus:
        assert await bus.handle(Allocate(OrderId("o-1"), SEA, 2)) == B1
        assert await bus.handle(Allocate(OrderId("o-2"), SEA, 2)) is None
        assert await bus.handle(Allocate(OrderId("o-3"), SEA, 1)) == B1


@pytest.mark.parametrize("skus", [1, 20])
async def test_many_askers_at_once_get_what_is_there_and_no_more(
    bus: MessageBus, path: Path, skus: int
) -> None:
    names = [Sku(f"scent-{number}") for number in range(skus)]
    for sku in names:
        await bus.handle(CreateBatch(BatchRef(f"b-{sku}"), sku, 400 // skus))
    answers: list[BatchRef | None] = []

    async def ask(asker: int) -> None:
        for number in range(10):
            orderid = OrderId(f"o-{asker}-{number}")
            answers.append(await bus.handle(Allocate(orderid, names[(asker + number) % skus], 1)))

    async with trio.open_nursery() as nursery:
        for asker in range(60):
            nursery.start_soon(ask, asker)
    assert len([ref for ref in answers if ref is not None]) == 400
    assert len(answers) == 600
    tables = read_tables(path)
    assert len(tables.allocations) == 400
    assert sum(tables.versions.values()) == 400 + skus
    assert wrong_totals(path) == []


async def test_of_many_products_that_race_for_one_reference_one_gets_it(
    bus: MessageBus, path: Path
) -> None:
    outcomes: list[type[Exception] | None] = []

    async def ask(number: int) -> None:
        try:
            await bus.handle(CreateBatch(B1, Sku(f"scent-{number}"), 5))
        except ScentError as error:
            outcomes.append(type(error))
        else:
            outcomes.append(None)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, number)
    assert sorted(map(str, outcomes)) == sorted(map(str, [None, *[BatchConflict] * 9]))
    assert len(read_tables(path).versions) == 1


async def test_a_name_that_cannot_be_stored_takes_nobody_with_it(
    bus: MessageBus, path: Path
) -> None:
    await bus.handle(CreateBatch(B1, SEA, 5))
    outcomes: dict[str, object] = {}

    async def ask(name: str) -> None:
        try:
            answer = await bus.handle(Allocate(OrderId(name), SEA, 1))
            outcomes[name] = answer
        except ScentError as error:
            outcomes[name] = type(error)

    async with trio.open_nursery() as nursery:
        for name in ("o-1", "\udfff", "o-2"):
            nursery.start_soon(ask, name)
    assert (outcomes["o-1"], outcomes["o-2"]) == (B1, B1)
    assert isinstance(outcomes["\udfff"], type)
    assert lines_at(path) == {(SEA, "o-1"), (SEA, "o-2")}


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_on_a_full_disk_nothing_is_acknowledged_falsely_and_then_all_goes_on(
    bus: MessageBus, path: Path
) -> None:
    await bus.handle(CreateBatch(B1, SEA, 10_000))
    await bus.handle(CreateBatch(B2, PINE, 10_000))
    acknowledged: set[tuple[Sku, OrderId]] = set()
    failed = 0

    async def ask(asker: int, sku: Sku) -> None:
        nonlocal failed
        for number in range(20):
            order = OrderId(f"o-{asker}-{number}")
            try:
                assert await bus.handle(Allocate(order, sku, 1)) is not None
                acknowledged.add((sku, order))
            except StoreUnavailable:
                failed += 1

    async def everybody(first: int) -> None:
        async with trio.open_nursery() as nursery:
            for asker in range(first, first + 10):
                nursery.start_soon(ask, asker, SEA if asker % 2 else PINE)

    full = path.with_name(path.name + "-wal").stat().st_size
    with files_limited_to(full + 100_000):  # after some of it
        await everybody(0)
        assert failed > 0
        assert lines_at(path) == acknowledged
        await everybody(10)
    failed = 0
    await everybody(20)
    assert failed == 0
    assert lines_at(path) == acknowledged
    assert wrong_totals(path) == []


async def test_no_order_is_accepted_by_halves_on_a_full_disk(bus: MessageBus, path: Path) -> None:
    skus = [Sku(f"scent-{number}") for number in range(200)]
    async with trio.open_nursery() as nursery:
        for sku in skus:
            nursery.start_soon(bus.handle, CreateBatch(BatchRef(f"b-{sku}"), sku, 100))
    order = PlaceOrder(OrderId("o-1"), tuple(line("o-1", 1, sku) for sku in skus))
    full = path.with_name(path.name + "-wal").stat().st_size
    for more in range(0, 30_000, 10_000):
        with files_limited_to(full + more):
            with pytest.raises(StoreUnavailable):
                await bus.handle(order)
            tables = read_tables(path)
            assert (tables.orders, tables.lines, tables.unsettled) == ({}, {}, {})
    await bus.handle(order)
    with trio.fail_after(30):
        while read_tables(path).unsettled:  # noqa: ASYNC110  # it is on disk, not here
            await trio.sleep(0.01)
    assert len(lines_at(path)) == 200


async def test_while_another_program_holds_the_database_who_asks_is_told(
    bus: MessageBus, path: Path
) -> None:
    await bus.handle(CreateBatch(B1, SEA, 10))
    ask = partial(bus.handle, Allocate(OrderId("o-1"), SEA, 1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with trio.fail_after(30), pytest.raises(StoreUnavailable, match="locked"):
            await ask()
        other.execute("COMMIT")
    assert await ask() == B1


async def test_what_another_program_has_written_is_taken_into_account(
    bus: MessageBus, path: Path
) -> None:
    await bus.handle(CreateBatch(B1, SEA, 10))
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE batches SET purchased_quantity = 3")
        other.execute("UPDATE products SET version_number = 9")
        other.commit()
    assert await bus.handle(Allocate(OrderId("o-1"), SEA, 4)) is None
    assert await bus.handle(Allocate(OrderId("o-2"), SEA, 3)) == B1
    assert read_tables(path).versions == {SEA: 10}

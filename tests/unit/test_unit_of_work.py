"""A unit of work is stored as a whole, or has never been."""

import pytest

from scentrt.domain.commands import CreateBatch
from scentrt.domain.model import Product
from scentrt.domain.names import BatchRef
from scentrt.errors import UnitRefused
from scentrt.service_layer.messagebus import work_through
from tests.goods import PINE, SEA, batch, line
from tests.memory_stock import MemoryStock, MemoryUnitOfWork


@pytest.fixture
async def stock() -> MemoryStock:
    stock = MemoryStock()
    async with MemoryUnitOfWork(stock) as uow:
        await work_through(CreateBatch(BatchRef("b-1"), SEA, 10), uow)
        await uow.commit()
    return stock


async def product_of(uow: MemoryUnitOfWork) -> Product:
    product = await uow.products.get(SEA)
    assert product is not None
    return product


async def test_rolls_back_uncommitted_work_by_default(stock: MemoryStock) -> None:
    before = stock.tables
    async with MemoryUnitOfWork(stock) as uow:
        (await product_of(uow)).allocate(line("o-1", 1))
    assert stock.tables is before


async def test_rolls_back_on_error(stock: MemoryStock) -> None:
    before = stock.tables

    async def fail() -> None:
        async with MemoryUnitOfWork(stock) as uow:
            (await product_of(uow)).allocate(line("o-1", 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert stock.tables is before


async def test_what_was_rolled_back_is_read_anew(stock: MemoryStock) -> None:
    async with MemoryUnitOfWork(stock) as uow:
        (await product_of(uow)).allocate(line("o-1", 1))
        uow.rollback()
        assert (await product_of(uow)).line(line("o-1", 1).orderid) is None
        (await product_of(uow)).allocate(line("o-2", 1))
        await uow.commit()
    assert [orderid for _, orderid in stock.tables.lines] == ["o-2"]


async def test_a_product_that_was_asked_for_twice_is_the_same_object(stock: MemoryStock) -> None:
    async with MemoryUnitOfWork(stock) as uow:
        first = await product_of(uow)
        assert await uow.products.get_by_batchref(BatchRef("b-1")) is first
        assert await product_of(uow) is first
        uow.products.add(Product(PINE, [batch("b-2", 1, sku=PINE)]))
        assert list(uow.products.seen) == [SEA, PINE]
        added = await uow.products.get_by_batchref(BatchRef("b-2"))
        assert added is not None
        assert added.sku == PINE


async def test_concurrent_updates_to_version_are_not_allowed(stock: MemoryStock) -> None:
    async with MemoryUnitOfWork(stock) as first, MemoryUnitOfWork(stock) as second:
        (await product_of(first)).allocate(line("o-1", 6))
        (await product_of(second)).allocate(line("o-2", 6))
        await first.commit()
        with pytest.raises(UnitRefused):
            await second.commit()
    assert stock.tables.versions == {SEA: 2}
    assert [orderid for _, orderid in stock.tables.allocations] == ["o-1"]


async def test_a_unit_that_would_forget_a_line_cannot_be_committed(stock: MemoryStock) -> None:
    async with MemoryUnitOfWork(stock) as uow:
        (await product_of(uow)).allocate(line("o-1", 6))
        await uow.commit()
    async with MemoryUnitOfWork(stock) as uow:
        (await product_of(uow)).change_batch_quantity(BatchRef("b-1"), 5)
        with pytest.raises(AssertionError, match="forgotten"):
            await uow.commit()


async def test_a_commit_without_changes_stores_nothing(stock: MemoryStock) -> None:
    before = stock.tables
    async with MemoryUnitOfWork(stock) as uow:
        await product_of(uow)
        await uow.commit()
    assert stock.tables is before

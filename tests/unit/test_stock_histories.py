"""Whatever is asked of the stock room, in whatever order, it keeps its promises."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from scentrt.domain.commands import Command
from scentrt.domain.model import Product
from scentrt.domain.names import Sku
from scentrt.errors import OrdersCancelled
from scentrt.service_layer.messagebus import work_through
from tests.memory_stock import MemoryStock, MemoryUnitOfWork, Tables
from tests.unit.stock_histories import StockHistories

T = TypeVar("T")
R = TypeVar("R")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what waits for nobody to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


class Histories(StockHistories):
    """Each command is a unit of work of its own, on products that are read anew."""

    def __init__(self) -> None:
        super().__init__()
        self.stock = MemoryStock()

    def handle(self, command: Command[R]) -> R:
        try:
            answer = finish(self.in_a_unit(command))
        except OrdersCancelled as refused:
            raise refused.conflict from refused
        finish(self.settle())
        return answer

    async def in_a_unit(self, command: Command[R]) -> R:
        async with MemoryUnitOfWork(self.stock) as uow:
            answer = await work_through(command, uow)
            await uow.commit()
        return answer

    async def settle(self) -> None:
        orders = MemoryUnitOfWork(self.stock).orders
        for sku in await orders.unsettled_skus():
            for command in await orders.unsettled(sku):
                await self.in_a_unit(command)

    def tables(self) -> Tables:
        return self.stock.tables

    def product(self, sku: Sku) -> Product | None:
        return self.stock.product(sku)


class LongUnits(Histories):
    """All commands are one unit of work, on the same objects, which is committed all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Sku, Product] = {}

    async def in_a_unit(self, command: Command[R]) -> R:
        async with MemoryUnitOfWork(self.stock) as uow:
            for product in self.kept.values():
                uow.products.keep(product)
            answer = await work_through(command, uow)
            kept = dict(uow.products.seen)
            overtaken = uow.changes.overtaken
            self.kept = {}  # what is not stored is not remembered
            await uow.commit()
        self.kept = {sku: product for sku, product in kept.items() if sku not in overtaken}
        return answer

    def product(self, sku: Sku) -> Product | None:
        return self.kept.get(sku)


@pytest.mark.soak
@pytest.mark.parametrize("histories", [Histories, LongUnits])
def test_promises_hold_in_every_history(histories: type[StockHistories]) -> None:
    run_state_machine_as_test(histories)

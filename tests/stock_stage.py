"""The stock on a stage of its own: actors, ledger and bus, over a store that does as one says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from scentrt.actors.herald import Proclaim, to_nobody
from scentrt.actors.ledger import Ledger
from scentrt.actors.order_desk import OrderDesk
from scentrt.actors.stock_room import StockRoom
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.adapters.unit_of_work import SqlAlchemyUnitOfWork
from scentrt.domain.commands import Command
from scentrt.domain.names import Sku
from scentrt.errors import ScentError
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.messagebus import MessageBus
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork
from tests.memory_stock import MemoryUnitOfWork, Tables
from tests.memory_store import MemoryStore

R = TypeVar("R")


class StagedUnit(MemoryUnitOfWork):
    """A unit of work that has a bug with the SKUs in `broken`."""

    broken: frozenset[Sku] = frozenset()

    def collect_new_events(self) -> Any:
        if self.broken & set(self.products.seen):
            raise ZeroDivisionError
        return super().collect_new_events()


@dataclass
class StockStage:
    """A stock room at work. `outcomes` has what became of what was only asked for, by its name."""

    store: MemoryStore
    nursery: trio.Nursery
    ledger: Ledger
    room: StockRoom
    bus: MessageBus
    outcomes: dict[str, object] = field(default_factory=dict)

    @property
    def tables(self) -> Tables:
        """What is stored."""
        return self.store.stock.tables

    async def handle(self, *commands: Command[Any]) -> None:
        """Have commands carried out one after the other."""
        for command in commands:
            await self.bus.handle(command)

    async def settle(self) -> None:
        """Wait until everybody has done what there is to do."""
        await wait_all_tasks_blocked()

    def ask(self, name: str, command: Command[Any]) -> trio.CancelScope:
        """Have a command carried out meanwhile; the scope is that of the asker."""
        scope = trio.CancelScope()
        self.nursery.start_soon(self._ask, name, command, scope)
        return scope

    async def _ask(self, name: str, command: Command[Any], scope: trio.CancelScope) -> None:
        with scope:
            try:
                self.outcomes[name] = await self.bus.handle(command)
            except ScentError as error:
                self.outcomes[name] = error


@asynccontextmanager
async def open_stock(
    store: MemoryStore | None = None,
    new_unit: Callable[..., AbstractUnitOfWork] = MemoryUnitOfWork,
    proclaim: Proclaim = to_nobody,
) -> AsyncIterator[StockStage]:
    """Open a stock room over a store, and close it as the server does."""
    store = store or MemoryStore()
    ledger = Ledger(store)

    def unit() -> AbstractUnitOfWork:
        return new_unit(store.stock, None, ledger.commit)

    async with trio.open_nursery() as askers, stock_at_work(ledger, unit, proclaim) as (room, bus):
        yield StockStage(store, askers, ledger, room, bus)
        await wait_all_tasks_blocked()


@asynccontextmanager
async def stock_in_sql(
    store: SqlTheatreStore, proclaim: Proclaim = to_nobody
) -> AsyncIterator[MessageBus]:
    """Open a stock room over a database, and close it as the server does."""
    ledger = Ledger(store)
    unit = partial(SqlAlchemyUnitOfWork, store, Outlets(), ledger.commit)
    async with stock_at_work(ledger, unit, proclaim) as (_, bus):
        yield bus


@asynccontextmanager
async def stock_at_work(
    ledger: Ledger, new_unit: Callable[[], AbstractUnitOfWork], proclaim: Proclaim = to_nobody
) -> AsyncIterator[tuple[StockRoom, MessageBus]]:
    """Run everybody who works on the stock."""
    room = StockRoom(new_unit, proclaim)
    async with trio.open_nursery() as writing:
        await writing.start(ledger.run)
        async with trio.open_nursery() as rooms:
            await rooms.start(room.run)
            yield room, MessageBus(room, OrderDesk(new_unit, room.settle))
            rooms.cancel_scope.cancel()
        writing.cancel_scope.cancel()

"""Whatever is asked of the stock's actors, and whatever fails meanwhile, promises are kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from trio.testing import MockClock

from scentrt.actors.product import IDLE_S, RETRY_S
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.adapters.unit_of_work import SqlAlchemyUnitOfWork
from scentrt.domain.commands import Allocate, ChangeBatchQuantity, Command
from scentrt.domain.model import Product
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import StoreUnavailable, VialsTaken
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.messagebus import MessageBus
from tests.memory_stock import Tables
from tests.memory_store import ENOUGH, MemoryStore
from tests.stock_stage import StockStage, open_stock, stock_in_sql
from tests.stored_stock import read_tables, wrong_totals
from tests.trio_host import TrioHost
from tests.unit.stock_histories import (
    StockHistories,
    holdings,
    in_small_parts,
    orderids,
    quantities,
    refs,
    skus,
)

R = TypeVar("R")


class OverMemory(StockHistories):
    """Actors over a store that fails now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.host: TrioHost[StockStage] = TrioHost(open_stock, MockClock(autojump_threshold=0))
        self.store: MemoryStore = self.host.context.store

    def handle(self, command: Command[R]) -> R:
        answer: R = self.host.run(self.settled, command)
        return answer

    async def settled(self, command: Command[R]) -> R:
        try:
            return await self.host.context.bus.handle(command)
        finally:
            await trio.testing.wait_all_tasks_blocked()

    @rule(orderid=orderids, sku=skus, qty=quantities)
    def allocate_without_a_database(self, orderid: OrderId, sku: Sku, qty: int) -> None:
        """Nothing changes, unless there is nothing to change."""
        is_open = self.orders.get(orderid, ()) is not None
        if self.has_product(sku) and (sku, orderid) not in self.lines and is_open:
            self.store.writable = False
            with pytest.raises(StoreUnavailable):
                self.handle(Allocate(orderid, sku, qty))
            self.store.writable = True

    @rule(ref=refs, qty=holdings, commits=st.integers(0, 4))
    def change_quantity_until_the_database_goes(
        self, ref: BatchRef, qty: int, commits: int
    ) -> None:
        """It may be done by then, or in part: no line is lost, and the batch is on its way."""
        if ref not in self.batches:
            return
        sku, before, eta = self.batches[ref]
        self.store.commits_left = commits
        try:
            self.handle(ChangeBatchQuantity(ref, qty))
        except StoreUnavailable:
            now = self.tables().batches[ref].qty
            assert min(before, qty) <= now <= max(before, qty)
        except VialsTaken:
            now = before
        else:
            now = qty
        self.store.commits_left = ENOUGH
        self.batches[ref] = sku, now, eta
        self.host.run(trio.sleep, 2 * RETRY_S)

    @rule(factor=st.sampled_from([0.5, 2]))
    def wait(self, factor: float) -> None:
        """Products are let go, or not."""
        self.host.run(trio.sleep, factor * IDLE_S)

    def tables(self) -> Tables:
        return self.store.stock.tables

    def product(self, sku: Sku) -> Product | None:
        return self.store.stock.product(sku)

    def teardown(self) -> None:
        self.host.close()


class OverSql(StockHistories):
    """Actors over a database on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "stock.db"
        self.host: TrioHost[tuple[SqlTheatreStore, MessageBus]] = TrioHost(self.open)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[SqlTheatreStore, MessageBus]]:
        async with (
            AioThread() as aio,
            open_store(aio, self.path) as store,
            stock_in_sql(store) as bus,
        ):
            yield store, bus

    @rule()
    def restart(self) -> None:
        self.host.close()
        self.host = TrioHost(self.open)

    def handle(self, command: Command[R]) -> R:
        answer: R = self.host.run(self.settled, command)
        return answer

    async def settled(self, command: Command[R]) -> R:
        try:
            return await self.host.context[1].handle(command)
        finally:
            with trio.fail_after(30):
                orders = SqlAlchemyUnitOfWork(self.host.context[0], Outlets()).orders
                while await orders.unsettled_skus():  # noqa: ASYNC110  # on disk, not here
                    await trio.sleep(0.001)

    def tables(self) -> Tables:
        assert wrong_totals(self.path) == []
        return read_tables(self.path)

    def product(self, sku: Sku) -> Product | None:
        return self.host.run(self.read, sku)

    async def read(self, sku: Sku) -> Product | None:
        async with SqlAlchemyUnitOfWork(self.host.context[0], Outlets()) as uow:
            return await uow.products.get(sku)

    def teardown(self) -> None:
        self.host.close()
        self.directory.cleanup()


@pytest.mark.soak
def test_promises_hold_in_every_history_of_the_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)
    run_state_machine_as_test(OverMemory)


@pytest.mark.soak
def test_promises_hold_in_every_history_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_parts(monkeypatch)
    # A fiftieth of the usual number: every step is some commits.
    examples = settings().max_examples // 50
    run_state_machine_as_test(OverSql, settings=settings(max_examples=examples))

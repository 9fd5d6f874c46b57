"""What is on disk, and outlives the house that works on it: in memory, or in a real SQLite file."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, Self, TypeAlias, TypeVar, TypeVarTuple
from unittest.mock import patch

import trio

from scentrt.actors.ledger import TheatreStore
from scentrt.actors.refills import RefillStore
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.refill_rows import SqlRefillStore
from scentrt.adapters.theatre_store import open_store
from scentrt.adapters.unit_of_work import SqlAlchemyUnitOfWork
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.domain.refills import ZoneRefill
from scentrt.service_layer.changes import Changes
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork
from scentrt.service_layer.views import ProductViews, VialViews
from tests.memory_stock import MemoryUnitOfWork, Tables
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills, MemoryViews
from tests.stored_stock import read_refills, read_tables, wrong_totals

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MEMORY = Path("/dev/shm")

Commit: TypeAlias = Callable[[Changes], Awaitable[None]]


class StockViews(VialViews, ProductViews, Protocol):
    """What may be looked at."""


@dataclass(frozen=True, slots=True)
class Shelves:
    """An archive while it is open: what a house asks of its database."""

    store: TheatreStore
    refills: RefillStore
    views: StockViews
    new_unit: Callable[[Commit], AbstractUnitOfWork]


class Archive(Protocol):
    """What is on disk."""

    def open(self) -> AbstractAsyncContextManager[Shelves]:
        """Open it for a house."""
        ...

    def tables(self) -> Tables:
        """Return what is stored, past whoever has it open."""
        ...

    def refills(self) -> list[ZoneRefill]:
        """Return all refills that there ever were, as they are stored."""
        ...

    def discard(self) -> None:
        """Throw it away."""
        ...


class MemoryArchive:
    """All of a database but the disk."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._refills = MemoryRefills(self._store.stock)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shelves]:
        stock = self._store.stock

        def new_unit(commit: Commit) -> MemoryUnitOfWork:
            return MemoryUnitOfWork(stock, None, commit)

        yield Shelves(self._store, self._refills, MemoryViews(stock), new_unit)

    def tables(self) -> Tables:
        return self._store.stock.tables

    def refills(self) -> list[ZoneRefill]:
        return list(self._refills.rows.values())

    def discard(self) -> None:
        pass


class SqlArchive:
    """A database on disk."""

    def __init__(self) -> None:
        # In memory where that can be: it is no power that fails here, and a disk takes its time.
        self._directory = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self._path = Path(self._directory.name) / "house.db"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Shelves]:
        # Else the mock clock would jump while SQLite writes, as it would with an asyncio thread.
        with patch.object(trio.to_thread, "run_sync", _in_turn):
            async with AioInTurn() as aio, open_store(aio, self._path) as store:

                def new_unit(commit: Commit) -> SqlAlchemyUnitOfWork:
                    return SqlAlchemyUnitOfWork(store, Outlets(), commit)

                yield Shelves(store, SqlRefillStore(store), SqlAlchemyViews(store), new_unit)

    def tables(self) -> Tables:
        assert wrong_totals(self._path) == []
        return read_tables(self._path)

    def refills(self) -> list[ZoneRefill]:
        return read_refills(self._path)

    def discard(self) -> None:
        self._directory.cleanup()


async def _in_turn(call: Callable[[], T], *, limiter: trio.CapacityLimiter) -> T:
    async with limiter:
        return call()


class AioInTurn(AioThread):
    """The asyncio loop without its thread: a call ends at the moment at which it began.

    So no mock clock jumps while SQLite works, and a history happens twice in the same way.
    """

    async def __aenter__(self) -> Self:
        return self

    async def call(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._runner.get_loop().run_until_complete(async_fn(*args))

    async def aclose(self) -> None:
        self._runner.close()

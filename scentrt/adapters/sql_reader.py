"""Who reads the database, beside the one connection that writes: others, in the asyncio thread.

So whoever looks holds no commit up. SQLAlchemy's errors end here, as `StoreUnavailable`.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Concatenate, ParamSpec, TypeVar, TypeVarTuple

import trio
from sqlalchemy import URL, Connection, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from scentrt.adapters.aio_thread import AioThread
from scentrt.errors import StoreUnavailable

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

LOADERS, LOOKERS = 2, 2
"""Connections for those who load what is decided about, products above all, and for whoever just
looks. However many products are being loaded, who looks does not wait for them."""


class SqlReader:
    """Read a database. Whatever it begins it finishes, whether its caller is cancelled or not.

    Args:
      loading: what reads that which is decided about.
      looking: what reads for those who only look; it may be the same.
    """

    def __init__(self, aio: AioThread, loading: AsyncEngine, looking: AsyncEngine) -> None:
        self._aio = aio
        self._loading = loading
        self._looking = looking
        self._closed = False

    async def connect(self) -> None:
        """Open all connections, so that nobody waits for that later; raises `StoreUnavailable`."""
        await self._finish(_connect_all, self._loading, LOADERS)
        await self._finish(_connect_all, self._looking, LOOKERS)

    async def read(
        self,
        read: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call `read` with a connection, in the asyncio thread; it sees one state of everything.

        Raises:
          StoreUnavailable: the database could not be read.
        """
        return await self._read(self._loading, read, *args, **kwargs)

    async def look(
        self,
        read: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Read as `read` does, on a connection for whoever only wants to see."""
        return await self._read(self._looking, read, *args, **kwargs)

    async def aclose(self) -> None:
        """Close the connections, for good; shielded, and safe to repeat."""
        self._closed = True  # an engine would connect again, without the lock
        with (
            trio.CancelScope(shield=True),
            suppress(trio.ClosedResourceError, trio.BrokenResourceError),
        ):
            await self._aio.call(self._loading.dispose)
            await self._aio.call(self._looking.dispose)

    async def _read(
        self,
        engine: AsyncEngine,
        read: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        async def call() -> T:
            async with engine.connect() as connection:
                return await read(connection, *args, **kwargs)

        return await self._finish(call)

    async def _finish(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        if self._closed:
            raise StoreUnavailable("the database has been closed")
        try:
            with trio.CancelScope(shield=True):
                result = await self._aio.call(async_fn, *args)
        except SQLAlchemyError as error:
            raise StoreUnavailable(reason_of(error)) from error
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raise StoreUnavailable("the database's thread has ended") from error
        return result


def reading_engine(url: URL, connections: int, busy_s: float) -> AsyncEngine:
    """Return what reads a database; `busy_s` is how long it waits for a lock of SQLite's."""
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=connections,
        max_overflow=0,
        connect_args={"isolation_level": None, "timeout": busy_s},
    )
    event.listen(engine.sync_engine, "connect", _only_read)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


async def _connect_all(engine: AsyncEngine, connections: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(connections):
            connection = await stack.enter_async_context(engine.connect())
            # A file is opened when it is read from.
            await connection.execute(text("SELECT 1 FROM sqlite_schema"))


def _only_read(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    # By itself the driver begins no transaction to read in, and every statement sees another state.
    connection.exec_driver_sql("BEGIN")


def reason_of(error: SQLAlchemyError) -> str:
    """Return what the driver said: SQLAlchemy's own words quote the statement and all its rows."""
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)

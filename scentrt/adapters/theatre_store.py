"""The database: SQLite, through SQLAlchemy.

One connection that writes, WAL, and ``synchronous=FULL``: a commit that has returned survives a
power cut. It works in a thread of trio's, a whole transaction at a time; others read beside it, see
`sql_reader`. SQLAlchemy's errors end here: as `ConfigError` while the database is opened, as
`StoreUnavailable` afterwards.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Concatenate, ParamSpec
from uuid import uuid4

import trio
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from scentrt.actors.ledger import StoredDoses, Writes
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_lock import lock_database
from scentrt.adapters.driver import driver_of
from scentrt.adapters.orm import (
    dose_marks,
    dose_seconds,
    panic_latch,
    prepare,
    vials,
)
from scentrt.adapters.settings_rows import read_settings, write_settings
from scentrt.adapters.sql_reader import LOADERS, LOOKERS, SqlReader, reading_engine, reason_of
from scentrt.adapters.stock_rows import write_units
from scentrt.adapters.vial_rows import read_vials, write_vials
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import SeatedVial
from scentrt.errors import ConfigError, StoreUnavailable, UnitRefused
from scentrt.service_layer.changes import Changes

P = ParamSpec("P")

BUSY_S = 0.5
"""How long a transaction waits for the lock of another program. Nothing can end that wait, not even
the end of the server, which has to wait for two of them in a row: see `bootstrap.server`. What must
not be lost is tried again anyway, and who orders hears soon that he should come again."""

FORGOTTEN_SECONDS_PER_COMMIT = 10
"""How many of a zone's old seconds a commit removes: more than come in with it, and few enough that
what a long evening left behind does not hold up the writer."""

_PUT_LATCH = insert(panic_latch)
_PUT_LATCH = _PUT_LATCH.on_conflict_do_update(
    index_elements=panic_latch.primary_key, set_={"panicked": _PUT_LATCH.excluded.panicked}
)
_PUT_DOSES = insert(dose_seconds)
_PUT_DOSES = _PUT_DOSES.on_conflict_do_update(
    index_elements=dose_seconds.primary_key, set_={"used_us": _PUT_DOSES.excluded.used_us}
)
_PUT_MARKS = insert(dose_marks)
_PUT_MARKS = _PUT_MARKS.on_conflict_do_update(
    index_elements=dose_marks.primary_key,
    set_={"through_ms": _PUT_MARKS.excluded.through_ms, "closed": _PUT_MARKS.excluded.closed},
)
_FORGET_DOSES = delete(dose_seconds).where(
    dose_seconds.c.zone == bindparam("in_zone"),
    dose_seconds.c.second < bindparam("before_s"),
    dose_seconds.c.second
    < select(func.min(dose_seconds.c.second) + FORGOTTEN_SECONDS_PER_COMMIT)
    .where(dose_seconds.c.zone == bindparam("in_zone"))
    .scalar_subquery(),
)


@asynccontextmanager
async def open_store(
    aio: AioThread, database: str | Path, *, busy_s: float = BUSY_S
) -> AsyncIterator["SqlTheatreStore"]:
    """Open a theatre's database for this process alone, creating it if it is not there.

    Args:
      database: the path of a file, an SQLAlchemy URL (``sqlite:///theatre.db``), or ``:memory:``.
      busy_s: how long to wait for another program that holds a lock of SQLite's, a backup say.

    Raises:
      ConfigError: it cannot be used, and why: not SQLite, in use by another server, of another
        version, no database, not to be opened.
    """
    url = sqlite_url(database)
    in_memory = url.database in {None, "", ":memory:"}
    where = ":memory:" if in_memory else str(url.database)
    if in_memory:  # which all connections of this process can have together
        url = URL.create(
            "sqlite", database=f"file:/{uuid4()}", query={"vfs": "memdb", "uri": "true"}
        )
    with nullcontext() if in_memory else lock_database(Path(where)):
        writing = _writing_engine(url, busy_s)
        loading = reading_engine(url, LOADERS, busy_s)
        looking = reading_engine(url, LOOKERS, busy_s)
        store = SqlTheatreStore(aio, writing, loading, looking)
        try:
            await store.write(prepare, where)
            await store.connect()
        except StoreUnavailable as error:
            raise ConfigError(where, f"cannot be opened: {error}") from error
        else:
            yield store
        finally:
            await store.aclose()


class SqlTheatreStore(SqlReader):
    """A `TheatreStore` in SQLite, and what else the database holds; `open_store` makes one.

    Whatever it begins it finishes, whether its caller is cancelled or not, so a commit's outcome is
    always known.

    Args:
      writing: what writes, with one connection, which it opens for its first transaction.
      loading: what reads that which is decided about.
      looking: what reads for those who only look.
    """

    def __init__(
        self, aio: AioThread, writing: Engine, loading: AsyncEngine, looking: AsyncEngine
    ) -> None:
        super().__init__(aio, loading, looking)
        self._writing = writing
        self._connection: Connection | None = None  # of the one that writes, once it has
        self._one_writer = trio.CapacityLimiter(1)
        self._next_vial_id = 0  # not known yet; nobody else gives vials their ids

    async def panicked(self) -> bool:
        """Return the panic latch; False in a new database."""
        return await self.read(_read_panicked)

    async def doses(self, zone: ZoneId, since_s: int) -> StoredDoses:
        """Return the zone's mark, and its rows from the second `since_s` on."""
        return await self.read(_read_doses, zone, since_s)

    async def vials(self, zone: ZoneId) -> tuple[SeatedVial, ...]:
        """Return the vials that stand in a zone."""
        return await self.read(read_vials, zone)

    async def settings(self, zone: ZoneId) -> dict[SeatId, SeatChange]:
        """Return what is set for seats of a zone."""
        return await self.read(read_settings, zone)

    async def commit(self, writes: Writes) -> None:
        """Store all of it in one transaction, on disk when this returns; or nothing of it.

        Raises:
          UnitRefused: something of it does not fit what is stored; the rest may.
          StoreUnavailable: the database is locked, full, broken or closed.
        """
        await self.write(_write, writes)

    async def commit_unit(self, changes: Changes) -> None:
        """Store one unit of work in a transaction of its own; raises as `commit` does."""
        await self.commit(Writes(units=(changes,)))

    async def new_vial_ids(self, count: int) -> range:
        """Return so many ids that no vial has had, nor is given by another call."""
        if not self._next_vial_id:
            last = await self.read(_read_last_vial_id)
            self._next_vial_id = max(self._next_vial_id, last + 1)  # somebody may have been faster
        first = self._next_vial_id
        self._next_vial_id += count
        return range(first, first + count)

    async def write(
        self,
        write: Callable[Concatenate[Connection, P], None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Call `write` with the connection that writes, in a thread, in a transaction of its own.

        Raises as `commit` does.
        """

        # From its beginning to its end in one thread: to cross over to another one for each
        # statement, and back, costs more than all that SQLite does. And on a connection that stays
        # open: to fetch it from a pool and bring it back would be a sixth of a commit's work.
        def call() -> None:
            if self._connection is None:
                self._connection = self._writing.connect()
            with self._connection.begin():
                write(self._connection, *args, **kwargs)

        if self._closed:
            raise StoreUnavailable("the database has been closed")
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(call, limiter=self._one_writer)
        except IntegrityError as error:
            raise UnitRefused(reason_of(error)) from error
        except SQLAlchemyError as error:
            raise StoreUnavailable(reason_of(error)) from error

    async def aclose(self) -> None:
        """Close the connections, for good; shielded, and safe to repeat."""
        await super().aclose()

        def close() -> None:
            if self._connection is not None:
                self._connection.close()

        with trio.CancelScope(shield=True):  # the last to go is the one that may tidy the files up
            await trio.to_thread.run_sync(close, limiter=self._one_writer)


def _write(connection: Connection, writes: Writes) -> None:
    rows = [
        {"zone": doses.zone, "second": second, "seat": seat, "used_us": amount}
        for doses in writes.doses
        for second, seats in doses.used.items()
        for seat, amount in seats.items()
    ]
    marks = [
        {"zone": doses.zone, "through_ms": doses.through_ms, "closed": doses.closed}
        for doses in writes.doses
    ]
    needless = [
        {"in_zone": doses.zone, "before_s": doses.forget_before_s} for doses in writes.doses
    ]
    if writes.panicked is not None:
        connection.execute(_PUT_LATCH, {"id": 1, "panicked": writes.panicked})
    write_settings(connection, writes.settings)
    with driver_of(connection) as driver:
        driver.write(_PUT_DOSES, rows)
        driver.write(_PUT_MARKS, marks)
        driver.write(_FORGET_DOSES, needless)
        write_vials(driver, writes.vials)
    if writes.units:
        write_units(connection, writes.units)


async def _read_panicked(connection: AsyncConnection) -> bool:
    return bool(await connection.scalar(select(panic_latch.c.panicked)))


async def _read_last_vial_id(connection: AsyncConnection) -> int:
    return await connection.scalar(select(func.max(vials.c.id))) or 0


async def _read_doses(connection: AsyncConnection, zone: ZoneId, since_s: int) -> StoredDoses:
    marks = await connection.execute(
        select(dose_marks.c.through_ms, dose_marks.c.closed).where(dose_marks.c.zone == zone)
    )
    mark = marks.one_or_none()
    rows = await connection.execute(
        select(dose_seconds.c.seat, dose_seconds.c.second, dose_seconds.c.used_us).where(
            dose_seconds.c.zone == zone, dose_seconds.c.second >= since_s
        )
    )
    used: dict[SeatId, dict[int, int]] = {}
    for seat, second, amount in rows:
        used.setdefault(SeatId(seat), {})[second] = amount
    if mark is None:
        return StoredDoses(used, None, closed=False)
    return StoredDoses(used, mark.through_ms, mark.closed)


def sqlite_url(database: str | Path) -> URL:
    """Return the URL of a database that is given by its path or its URL; raises `ConfigError`."""
    if not database:
        raise ConfigError("database", "names no file; give a path, or :memory:")
    if isinstance(database, Path) or "://" not in database:
        url = URL.create("sqlite", database=str(database))
    else:
        try:
            url = make_url(database)
        except ArgumentError as error:
            raise ConfigError(database, "is neither a path nor a URL of a database") from error
    name = url.render_as_string(hide_password=True)
    if url.get_backend_name() != "sqlite":
        raise ConfigError(name, "is not SQLite; give a path, or a URL like sqlite:///theatre.db")
    if url.database is not None and url.database.startswith("file:"):
        raise ConfigError(name, "hides its file in a URI, where it cannot be locked; give its path")
    return url.set(drivername="sqlite")


def _writing_engine(url: URL, busy_s: float) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={
            # How the driver begins a transaction with its first write: having the lock from the
            # start, so that it cannot fail half-way for want of it.
            "isolation_level": "IMMEDIATE",
            "timeout": busy_s,
            # Trio's threads take turns.
            "check_same_thread": False,
        },
    )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA fullfsync = ON")  # macOS leaves it in the drive's cache otherwise
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()

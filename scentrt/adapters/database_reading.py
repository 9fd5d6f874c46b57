"""Reading a database from outside, beside a server that may have it open.

SQLite makes files of its own beside a database also for those who only read it. So where nobody
has it open and nothing waits in its log, it is read as a file that does not change. Else the log is
there, and SQLite renews its index of it (`-shm`), as it does for every reader.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiosqlite
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_lock import holder_of
from scentrt.adapters.orm import is_new
from scentrt.adapters.sql_reader import SqlReader
from scentrt.adapters.theatre_store import sqlite_url
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.errors import ConfigError, StoreUnavailable

T = TypeVar("T")

BUSY_S = 0.5
"""How long to wait for another program that holds a lock of SQLite's."""


def file_of(database: str) -> Path | None:
    """Return the file of a database that is given as to `open_store`; None for one in memory.

    Raises `ConfigError` where it is not SQLite.
    """
    name = sqlite_url(database).database
    return None if name in {None, "", ":memory:"} else Path(str(name)).resolve()


def file_to_be(database: str) -> Path:
    """Return the file of a database, whether it is there or not.

    Raises `ConfigError` where it is in memory, and so nobody else's.
    """
    path = file_of(database)
    if path is None:
        raise ConfigError(database, "is in memory, and nobody else can look into it; name a file")
    if path.is_dir():
        raise ConfigError(str(path), "is a directory; name a file in it")
    return path


def existing_file_of(database: str) -> Path:
    """Return the file of a database that is there; raises `ConfigError` where none is."""
    path = file_to_be(database)
    if not path.exists():
        raise ConfigError(str(path), "there is no such file; name a database with --db")
    return path


def log_of(path: Path) -> Path:
    """Return where SQLite keeps what has been committed to a database and waits to be put in."""
    return path.with_name(path.name + "-wal")


def may_change(path: Path) -> bool:
    """Say whether somebody has the database open, or something waits in its log."""
    log = log_of(path)
    return bool(holder_of(path)) or (log.exists() and log.stat().st_size > 0)


@contextmanager
def open_to_read(path: Path, *, changing: bool) -> Iterator[Connection]:
    """Connect to a database to read it; `changing` is what `may_change` says of it."""
    uri = _uri(path, changing=changing)
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True, timeout=BUSY_S),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        yield connection


def read_one_state(path: Path, read: Callable[[Connection], T]) -> T:
    """Call `read` with a connection that sees one state of the database, however long it takes.

    A server may write meanwhile, and is not held up. Where one has only just begun to, `read` is
    called once more. Raises what `read` does, and SQLAlchemy's errors.
    """
    if not may_change(path):
        before = _stamp(path)
        try:
            result = _read(path, read, changing=False)
        except SQLAlchemyError:
            if _is_as(before, path):
                raise
        else:
            if _is_as(before, path):
                return result
    return _read(path, read, changing=True)


def _read(path: Path, read: Callable[[Connection], T], *, changing: bool) -> T:
    with open_to_read(path, changing=changing) as connection:
        connection.exec_driver_sql("BEGIN")
        return read(connection)


@asynccontextmanager
async def open_views(aio: AioThread, path: Path) -> AsyncIterator[SqlAlchemyViews]:
    """Look at the stock in a database; raises `ConfigError` where it is none of ours."""
    uri = _uri(path, changing=may_change(path))
    engine = create_async_engine(
        "sqlite+aiosqlite://",
        async_creator=partial(aiosqlite.connect, uri, uri=True, timeout=BUSY_S),
        poolclass=NullPool,
    )
    reader = SqlReader(aio, engine, engine)
    try:
        if await reader.read(AsyncConnection.run_sync, is_new, str(path)):
            raise ConfigError(str(path), "is still empty; there is nothing to look at")
        yield SqlAlchemyViews(reader)
    except StoreUnavailable as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error
    finally:
        await reader.aclose()


def _uri(path: Path, *, changing: bool) -> str:
    return f"{path.as_uri()}?mode=ro{'' if changing else '&immutable=1'}"


def _is_as(stamp: tuple[int, ...], path: Path) -> bool:
    return _stamp(path) == stamp and not may_change(path)


def _stamp(path: Path) -> tuple[int, ...]:
    now = path.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns

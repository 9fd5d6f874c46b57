"""What a database looks like from outside, before a server opens it: to look at only."""

import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from scentrt.adapters.database_lock import holder_of
from scentrt.adapters.database_reading import file_of, may_change, open_to_read
from scentrt.adapters.orm import dose_marks, is_new
from scentrt.adapters.sql_reader import reason_of
from scentrt.errors import ConfigError

FLAWS_TOLD = 3
"""One flaw is enough to know that a database is damaged."""


@dataclass(frozen=True, slots=True)
class DatabaseContents:
    """What is in a database; `latest_dose_ms` is up to when doses are on record, Unix time.

    `flaws` is what SQLite finds damaged, or None where there was no time to look for it.
    """

    new: bool
    flaws: tuple[str, ...] | None
    latest_dose_ms: float | None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A database's file and the folder around it.

    `contents` is None as long as there is no file. `holder` is the id of the process that has it
    open, empty where none has. `writable` says whether this user may write there.
    """

    path: Path
    contents: DatabaseContents | None
    holder: str
    writable: bool
    free_bytes: int


def read_database(database: str, *, check_for_s: float = 1.0) -> DatabaseFacts | None:
    """Look at a database, given as to `open_store`; None if it is one in memory.

    Blocks. Creates no database, keeps no lock, writes nothing. Looks for damage for `check_for_s`.

    Raises:
      ConfigError: it cannot be used, and why: not SQLite, of another version, no database, not to
        be read, in no folder.
    """
    path = file_of(database)
    if path is None:
        return None
    try:
        return _facts(path, check_for_s)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be looked at: {error.strerror}") from error


def database_holder(database: str) -> str:
    """Return the id of the process that has a database open, empty where none has.

    Raises `ConfigError` where it is not SQLite.
    """
    path = file_of(database)
    return holder_of(path) if path else ""


def _facts(path: Path, check_for_s: float) -> DatabaseFacts:
    if path.is_dir():
        raise ConfigError(str(path), "is a directory; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(str(path), f"there is no folder {path.parent}; make it")
    exists, holder = path.exists(), holder_of(path)
    return DatabaseFacts(
        path=path,
        contents=_contents(path, check_for_s) if exists else None,
        holder=holder,
        writable=os.access(path.parent, os.W_OK | os.X_OK)
        and (not exists or os.access(path, os.R_OK | os.W_OK)),
        free_bytes=shutil.disk_usage(path.parent).free,
    )


def _contents(path: Path, check_for_s: float) -> DatabaseContents:
    try:
        with open_to_read(path, changing=may_change(path)) as connection:
            new = is_new(connection, str(path))
            latest_ms = (
                None if new else connection.scalar(select(func.max(dose_marks.c.through_ms)))
            )
            return DatabaseContents(new, _flaws(connection, check_for_s), latest_ms)
    except SQLAlchemyError as error:
        raise ConfigError(
            str(path), f"cannot be read: {reason_of(error)}; restore a copy, or name another file"
        ) from error


def _flaws(connection: Connection, check_for_s: float) -> tuple[str, ...] | None:
    until = time.monotonic() + check_for_s
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        told = connection.exec_driver_sql(f"PRAGMA quick_check({FLAWS_TOLD})").scalars().all()
    except DatabaseError as error:
        if isinstance(error.orig, sqlite3.OperationalError) and (
            error.orig.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
        ):
            return None
        raise
    return () if told == ["ok"] else tuple(str(flaw) for flaw in told)

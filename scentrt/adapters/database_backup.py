"""A copy of a database, made beside a server that writes, which it does not hold up.

The copy is of one state: that at which it was begun. It is written beside its place, checked, and
only then put there, so that what stands there is whole at any moment.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from scentrt.adapters.database_check import check_file
from scentrt.adapters.database_lock import holder_of
from scentrt.adapters.database_reading import existing_file_of, log_of, read_one_state
from scentrt.adapters.orm import is_new
from scentrt.adapters.sql_reader import reason_of
from scentrt.errors import ConfigError, StoreUnavailable

BESIDE = ("-wal", "-shm", "-journal")
"""How SQLite's own files beside a database end."""

PAGES_PER_STEP = 1_000
"""4 MB, in some milliseconds: so often is it told how far the copy has come."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy that is whole; `untruths` are those of the database, see `database_check.Faults`."""

    path: Path
    size_bytes: int
    untruths: tuple[str, ...]


Progress: TypeAlias = Callable[[int, int], None]


def _say_nothing(_done: int, _of: int) -> None:
    pass


def back_up(
    database: str,
    to: Path,
    *,
    replace: bool = False,
    told: Progress = _say_nothing,
) -> Backup:
    """Copy a database, given as to `open_store`, to a file of its own.

    Blocks. On return the copy has been found whole and is on disk; else nothing of it remains.

    Args:
      replace: whether a file that is there already may go.
      told: called again and again with how many pages have been copied, and of how many.

    Raises:
      ConfigError: there is no such database, or the copy cannot be put there.
      StoreUnavailable: the copy could not be written, or is not whole.
    """
    path, to = existing_file_of(database), to.absolute()
    _check_place(path, to, replace=replace)
    part = to.with_name(f"{to.name}.{os.getpid()}.part")
    try:
        read_one_state(path, partial(_copy, path, part, told))
        faults = check_file(part)
        if faults.damage:
            raise StoreUnavailable(f"the copy of {path} is not kept: {faults.damage[0]}")
        shutil.copymode(path, part)
        _check_place(path, to, replace=replace)
        part.replace(to)
        _sync_folder(to.parent)
        return Backup(to, to.stat().st_size, faults.untruths)
    except (sqlite3.Error, SQLAlchemyError) as error:
        reason = reason_of(error) if isinstance(error, SQLAlchemyError) else str(error)
        raise StoreUnavailable(f"{to} could not be written: {reason}") from error
    except OSError as error:
        raise StoreUnavailable(f"{to} could not be written: {error.strerror}") from error
    finally:
        _remove(part)


def _check_place(path: Path, to: Path, *, replace: bool) -> None:
    if to.is_dir():
        raise ConfigError(str(to), "is a directory; name a file in it")
    if not to.parent.is_dir():
        raise ConfigError(str(to), f"there is no folder {to.parent}; make it")
    if to.resolve() in {path, *(path.with_name(path.name + end) for end in (*BESIDE, ".lock"))}:
        raise ConfigError(str(to), "belongs to the database itself; name another file")
    if to.exists() and not replace:
        raise ConfigError(str(to), "is there already; name another file, or add --force")
    if holder := holder_of(to):
        raise ConfigError(str(to), f"is the database of process {holder}; name another file")
    if (log := log_of(to)).exists():
        # SQLite would take it for the copy's own, and put it in.
        raise ConfigError(str(log), "is of another database and would spoil the copy; name another")


def _copy(path: Path, part: Path, told: Progress, source: Connection) -> None:
    _remove(part)
    if is_new(source, str(path)):
        raise ConfigError(str(path), "is still empty; there is nothing to copy")
    driver = source.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    with closing(sqlite3.connect(part)) as copy:
        driver.backup(
            copy,
            pages=PAGES_PER_STEP,
            progress=lambda _status, left, of: told(of - left, of),
        )


def _remove(part: Path) -> None:
    for end in "", *BESIDE:
        part.with_name(part.name + end).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # where folders cannot be opened, as on Windows
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

"""The lock that keeps a second server off a database.

The server holds its aggregates in memory, so a second one on the same file would decide on what is
no longer true. The operating system holds the lock for the process, so it ends with the process,
also with one that was killed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from scentrt.errors import ConfigError, DatabaseInUse

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # Windows lets nobody read what is locked, so the lock lies far behind the process id.
        file.seek(1 << 30)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(0)
else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock_database(path: Path) -> Iterator[None]:
    """Hold the database at `path` for this process, by a file of its name and ``.lock``.

    The file stays behind, empty: to remove it could take it from under a server that just starts.

    Raises:
      DatabaseInUse: another process holds it.
      ConfigError: the file cannot be written.
    """
    path = path.resolve()  # two links to one database are one database
    if path.is_dir():
        raise ConfigError(str(path), "is a directory; name a file in it")
    lock_path = _lock_path(path)
    try:
        file = lock_path.open("a+", encoding="ascii")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be locked: {error.strerror}: {lock_path}") from error
    with file:
        file.seek(0)
        try:
            _lock(file)
        except OSError as error:
            holder = file.read(20).strip()
            raise DatabaseInUse(
                str(path),
                f"is in use by process {holder or 'that is just starting'}; "
                "stop that server, or use another file",
            ) from error
        try:
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        except OSError as error:
            raise ConfigError(
                str(path), f"cannot be locked: {error.strerror}: {lock_path}"
            ) from error
        try:
            yield
        finally:
            file.truncate(0)


def holder_of(path: Path) -> str:
    """Return the id of the process that holds the database at `path`; nothing where none does.

    Writes nothing. The lock itself is tried only where its file names a process, since one that
    was killed leaves its name behind, and is given back at once.
    """
    try:
        with _lock_path(path.resolve()).open(encoding="ascii", errors="replace") as file:
            holder = file.read(20).strip()
            if not holder:
                return ""
            try:
                _lock(file)
            except OSError:
                return holder
    except OSError:
        return ""  # nobody has ever held it, or nobody whom we could see
    return ""


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")

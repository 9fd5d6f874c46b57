"""A backup is whole and of one moment, whatever is written meanwhile, or it is not there."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from scentrt.adapters import database_backup
from scentrt.adapters.database_backup import back_up
from scentrt.adapters.database_check import check_file
from scentrt.adapters.database_lock import lock_database
from scentrt.errors import ConfigError, StoreUnavailable
from tests.integration.test_database_check import good, tamper
from tests.integration.test_database_facts import trace
from tests.stored_stock import read_tables

__all__ = ["good"]  # a fixture


@pytest.fixture
def path(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(good, tmp_path / "theatre.db"))


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "theatre.db"


@pytest.fixture(autouse=True)
def folder(to: Path) -> Path:
    to.parent.mkdir()
    return to.parent


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@contextmanager
def nearly_full_disk(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond `most_bytes`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_it_holds_what_the_database_holds_and_only_the_copy_is_new(path: Path, to: Path) -> None:
    path.chmod(0o640)
    before = trace(path.parent)
    made = back_up(str(path), to)
    assert made == database_backup.Backup(to, path.stat().st_size, ())
    assert read_tables(to) == read_tables(path)
    assert to.stat().st_mode & 0o777 == 0o640
    assert trace(path.parent) == before
    assert list(check_file(to)) == []


def test_one_that_is_made_while_a_server_writes_is_of_the_moment_when_it_was_begun(
    tmp_path: Path, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_backup, "PAGES_PER_STEP", 5)
    path = tmp_path / "stock.db"
    command = [sys.executable, "-m", "tests.integration.stock_under_load", str(path), "1"]
    counts = [0]

    def wait_for_more(_done: int = 0, _of: int = 0) -> None:
        so_far = deliveries_of(path)
        while (now := deliveries_of(path)) == so_far:
            assert process.poll() is None, "whoever writes has ended"
            time.sleep(0.001)
        counts.append(now)

    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, text=True) as process,
    ):
        assert process.stdin is not None
        process.stdin.write("[]")
        process.stdin.close()
        while not path.exists() or deliveries_of(path) < 100:
            time.sleep(0.01)
        before = deliveries_of(path)
        back_up(str(path), to, told=wait_for_more)
        process.kill()
    _, first, *_, last = counts
    assert before <= deliveries_of(to) <= first < last
    assert list(check_file(to)) == []


def deliveries_of(path: Path) -> int:
    """Return how many deliveries there have ever been."""
    with closing(sqlite3.connect(path)) as database:
        try:
            [(number,)] = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")
        except sqlite3.OperationalError:  # the tables are just being made
            return 0
    return int(number)


def test_another_server_can_go_on_from_it(path: Path, to: Path) -> None:
    back_up(str(path), to)
    with closing(sqlite3.connect(to)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.execute("INSERT INTO products VALUES ('TAR', 0)")
        database.commit()


def test_what_is_there_is_replaced_only_if_told_to(path: Path, to: Path) -> None:
    to.write_text("a diary", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        back_up(str(path), to)
    assert to.read_text(encoding="utf-8") == "a diary"
    back_up(str(path), to, replace=True)
    assert read_tables(to) == read_tables(path)
    assert names_in(to.parent) == ["theatre.db"]


def test_it_is_never_put_where_it_would_do_harm(path: Path, to: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    for place, problem in (
        (path, "belongs to the database itself"),
        (tmp_path / "link.db", "belongs to the database itself"),
        (path.with_name("theatre.db-wal"), "belongs to the database itself"),
        (tmp_path, "is a directory"),
        (tmp_path / "none" / "copy.db", "there is no folder"),
    ):
        with pytest.raises(ConfigError, match=problem):
            back_up(str(path), place, replace=True)
    with lock_database(to), pytest.raises(ConfigError, match=f"of process {os.getpid()}"):
        back_up(str(path), to, replace=True)
    log = to.with_name("theatre.db-wal")
    log.touch()
    with pytest.raises(ConfigError, match="would spoil the copy"):
        back_up(str(path), to)


def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(path: Path, to: Path) -> None:
    to.write_text("the last backup", encoding="utf-8")
    with nearly_full_disk(20_000), pytest.raises(StoreUnavailable, match="could not be written"):
        back_up(str(path), to, replace=True)
    assert names_in(to.parent) == ["theatre.db"]
    assert to.read_text(encoding="utf-8") == "the last backup"


def test_who_interrupts_it_leaves_nothing(path: Path, to: Path) -> None:
    def interrupt(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(str(path), to, told=interrupt)
    assert names_in(to.parent) == []


def test_a_copy_of_what_is_damaged_is_not_kept(path: Path, to: Path) -> None:
    with path.open("r+b") as file:
        file.seek(36)
        file.write((7).to_bytes(4, "big"))
    with pytest.raises(StoreUnavailable, match="is not kept: the file is damaged"):
        back_up(str(path), to)
    assert names_in(to.parent) == []


def test_a_copy_of_what_is_whole_but_untrue_is_kept_and_said_to_be_so(path: Path, to: Path) -> None:
    tamper(path, "DELETE FROM allocations_view")
    assert len(back_up(str(path), to).untruths) == 2
    assert read_tables(to) == read_tables(path)


def test_there_is_no_backup_of_nothing(tmp_path: Path, to: Path) -> None:
    (tmp_path / "empty.db").touch()
    for database, problem in (
        ("empty.db", "is still empty"),
        ("none.db", "there is no such file"),
    ):
        with pytest.raises(ConfigError, match=problem):
            back_up(str(tmp_path / database), to)
    assert names_in(to.parent) == []

"""What is seen of a database before a server opens it, and that looking changes nothing."""

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from scentrt.actors.ledger import Writes, ZoneDoses
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_facts import (
    DatabaseContents,
    DatabaseFacts,
    database_holder,
    read_database,
)
from scentrt.adapters.orm import SCHEMA_VERSION
from scentrt.adapters.theatre_store import open_store
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.errors import ConfigError

NOON_MS = 1_764_000_000_000.0

AS_NOBODY = """
import os, sys
from scentrt.adapters.database_facts import read_database
if os.geteuid() == 0:
    os.setuid(65534)
print([read_database(path).writable for path in sys.argv[1:]])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a database with doses in two zones, the later ones until noon; nobody has it open."""
    path = tmp_path / "theatre #1?.db"  # a name that a URI does not take as it is
    trio.run(fill, path)
    return path


async def fill(path: Path) -> None:
    """Make the database of a server that has stopped in good order."""
    async with AioThread() as aio, open_store(aio, path) as store:
        for zone, through_ms in ("A", NOON_MS), ("B", NOON_MS - 5_000):
            used = {int(through_ms / 1000): {SeatId(f"{zone}-1-1"): 1}}
            await store.commit(
                Writes(doses=(ZoneDoses(ZoneId(zone), used, through_ms, True, 0),))  # noqa: FBT003
            )


@contextmanager
def in_use(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process commit to a database, as a server does."""
    command = [sys.executable, "-m", "tests.integration.database_user", "load", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        try:
            yield process
        finally:
            process.kill()


def seen(path: Path) -> DatabaseFacts:
    """Return the facts of a file."""
    facts = read_database(str(path))
    assert facts is not None
    return facts


def contents(path: Path) -> DatabaseContents:
    """Return what is in a database."""
    found = seen(path).contents
    assert found is not None
    return found


def trace(folder: Path) -> dict[str, tuple[str, int]]:
    """Return what lies in a folder, in a form that shows every change."""
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
        if file.is_file()
    }


class TestWhatIsSeen:
    def test_a_database_at_rest_is_whole_and_its_latest_dose_is_that_of_any_zone(
        self, path: Path
    ) -> None:
        facts = seen(path)
        assert facts.contents == DatabaseContents(new=False, flaws=(), latest_dose_ms=NOON_MS)
        assert (facts.path, facts.holder, facts.writable) == (path.resolve(), "", True)
        assert facts.free_bytes > 0

    def test_a_url_is_as_good_as_a_path(self, path: Path) -> None:
        copy = Path(shutil.copy(path, path.with_name("copy.db")))
        by_url, by_path = read_database(f"sqlite:///{copy}"), seen(copy)
        assert by_url is not None
        assert replace(by_url, free_bytes=0) == replace(by_path, free_bytes=0)

    @pytest.mark.parametrize("database", [":memory:", "sqlite://", "sqlite:///:memory:"])
    def test_one_in_memory_has_no_facts(self, database: str) -> None:
        assert read_database(database) is None
        assert database_holder(database) == ""

    def test_the_one_of_a_running_server_names_its_process(self, path: Path) -> None:
        with in_use(path) as process:
            facts = seen(path)
            assert facts.holder == database_holder(str(path)) == str(process.pid)
            assert facts.contents is not None
            assert facts.contents.flaws == ()

    def test_after_a_kill_nobody_holds_it_and_what_waits_in_its_log_counts(
        self, path: Path
    ) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE dose_marks SET through_ms = 0 WHERE zone = 'A'")
            database.execute("UPDATE dose_marks SET through_ms = 1 WHERE zone = 'B'")
            database.commit()
        with in_use(path) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < 5:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert path.with_name(path.name + ".lock").read_text(encoding="ascii").strip()
        assert seen(path).holder == ""
        latest_ms = contents(path).latest_dose_ms
        assert latest_ms is not None
        assert latest_ms >= 5_000

    def test_damage_is_found_that_reading_would_not_stumble_over(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(36)  # where the file says how many of its pages are unused
            file.write((7).to_bytes(4, "big"))
        flaws = contents(path).flaws
        assert flaws
        assert "7" in flaws[0]

    def test_one_too_big_for_the_time_is_left_unchecked(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            rows = [("A", second, "A-1-1", 1) for second in range(50_000)]
            database.executemany("INSERT INTO dose_seconds VALUES (?, ?, ?, ?)", rows)
            database.commit()
        facts = read_database(str(path), check_for_s=0)
        assert facts is not None
        assert facts.contents == DatabaseContents(new=False, flaws=None, latest_dose_ms=NOON_MS)

    def test_a_folder_that_this_user_may_not_write_is_no_place_for_it(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "there.db").touch()
            (folder / "there.db").chmod(0o444)
            folder.chmod(0o555)
            command = [sys.executable, "-c", AS_NOBODY, str(folder / "there.db"), f"{folder}/new"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            folder.chmod(0o700)
        assert done.stdout == "[False, False]\n"


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("database", "problem"),
        [
            ("postgresql://host/db", "is not SQLite"),
            ("none/theatre.db", "there is no folder"),
            ("folder", "is a directory"),
            ("other.db", "is not a database of ScentRT"),
            ("older.db", f"has schema version {SCHEMA_VERSION + 1}"),
            ("text.db", "file is not a database"),
            ("damaged.db", "database disk image is malformed"),
        ],
    )
    def test_it_is_said_why(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str, problem: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "text.db").write_text("not what you think " * 100, encoding="utf-8")
        with closing(sqlite3.connect("other.db")) as other:
            other.execute("CREATE TABLE batches (id)")
        with closing(sqlite3.connect("older.db")) as older:
            older.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        trio.run(fill, tmp_path / "damaged.db")
        with (tmp_path / "damaged.db").open("r+b") as file:
            file.seek(4096)
            file.write(bytes(4096 * 3))
        before = trace(tmp_path)
        with pytest.raises(ConfigError, match=problem):
            read_database(database)
        assert trace(tmp_path) == before


class TestLeavingNoTrace:
    def test_no_database_is_made(self, tmp_path: Path) -> None:
        facts = seen(tmp_path / "new.db")
        assert (facts.contents, facts.writable) == (None, True)
        assert not list(tmp_path.iterdir())

    def test_an_empty_file_stays_empty(self, tmp_path: Path) -> None:
        (tmp_path / "empty.db").touch()
        assert contents(tmp_path / "empty.db") == DatabaseContents(
            new=True, flaws=(), latest_dose_ms=None
        )
        assert (tmp_path / "empty.db").stat().st_size == 0

    def test_one_at_rest_is_as_it_was_to_the_last_byte(self, path: Path) -> None:
        before = trace(path.parent)
        seen(path)
        assert trace(path.parent) == before

    def test_the_log_that_a_crash_has_left_stays_for_the_next_server(self, path: Path) -> None:
        with in_use(path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
        before = trace(path.parent)
        assert any(name.endswith("-wal") for name in before)
        seen(path)
        after = trace(path.parent)
        scratch = path.name + "-shm"  # SQLite's index of the log, which any reader renews
        assert after.keys() == before.keys()
        assert {k: v for k, v in after.items() if k != scratch} == {
            k: v for k, v in before.items() if k != scratch
        }

    async def test_the_lock_is_free_afterwards(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        lock.write_text(f"{os.getpid()}\n", encoding="ascii")  # of one that was killed
        assert seen(path).holder == ""
        async with AioThread() as aio, open_store(aio, path):
            assert seen(path).holder == str(os.getpid())

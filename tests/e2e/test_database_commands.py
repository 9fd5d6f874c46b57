"""`scentrt db` as its users start it, beside a server and without one."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scentrt.entrypoints.cli import app
from scentrt.errors import ConfigError
from tests.e2e.server_process import environment, serve
from tests.integration.test_database_check import good, tamper

__all__ = ["good"]  # a fixture


@pytest.fixture(autouse=True)
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a database in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(good, tmp_path / "scentrt.db")
    return tmp_path


def db(*command: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed."""
    done = CliRunner().invoke(app, ["db", *command])
    if isinstance(done.exception, ConfigError):  # which `main` prints
        return 2, str(done.exception)
    assert isinstance(done.exception, SystemExit | None)
    return done.exit_code, done.output


async def test_both_work_beside_a_server_that_has_the_database_open(folder: Path) -> None:
    async with serve(folder) as server:
        assert db("check") == (0, f"{folder}/scentrt.db is in order.\n")
        code, printed = db("backup", "copy.db")
        assert (code, "copy.db: a whole copy, 0." in printed) == (0, True)
        await server.stop()
    assert db("check", "--db", "copy.db") == (0, f"{folder}/copy.db is in order.\n")
    async with serve(folder, "--db", "copy.db") as server:
        await server.stop()


def test_faults_are_sentences_and_the_exit_code_says_that_there_are_any(folder: Path) -> None:
    tamper(folder / "scentrt.db", "DELETE FROM allocations_view WHERE sku = 'SEA-BREEZE'")
    code, printed = db("check")
    assert code == 1
    assert printed.splitlines() == [
        "order o-1: its line of SEA-BREEZE is on batch b-1, and the read model says none",
        f"{folder}/scentrt.db is not in order.",
    ]
    code, printed = db("backup", "copy.db")
    assert code == 0
    assert "a whole copy" in printed
    assert "'scentrt db check' says what" in printed


def test_a_copy_replaces_another_only_if_forced(folder: Path) -> None:
    assert db("backup", "copy.db")[0] == 0
    code, printed = db("backup", "copy.db")
    assert (code, "copy.db: is there already; name another file, or add --force" in printed) == (
        2,
        True,
    )
    assert db("backup", "copy.db", "--force")[0] == 0


def test_a_copy_that_cannot_be_made_is_said_not_to_be_there(folder: Path) -> None:
    with (folder / "scentrt.db").open("r+b") as file:
        file.seek(36)
        file.write((7).to_bytes(4, "big"))
    code, printed = db("backup", "copy.db")
    assert (code, printed.startswith("No copy was made: the copy of ")) == (1, True)
    assert not (folder / "copy.db").exists()


@pytest.mark.parametrize("command", [("check",), ("backup", "copy.db")])
def test_without_a_database_nothing_is_begun(folder: Path, command: tuple[str, ...]) -> None:
    code, printed = db(*command, "--db", "none.db")
    assert (code, printed) == (
        2,
        f"{folder}/none.db: there is no such file; name a database with --db",
    )


def test_ctrl_c_ends_a_check_that_takes_long(folder: Path) -> None:
    with closing(sqlite3.connect("scentrt.db")) as database:
        rows = ((second, f"A-1-{seat}") for second in range(1, 10_001) for seat in range(40))
        database.executemany("INSERT INTO dose_seconds VALUES ('A', ?, ?, 1)", rows)
        database.commit()
    script = (
        "import signal, threading, scentrt.adapters.database_check as check;"
        "from scentrt.entrypoints.cli import main;"
        "damage = check._damage;"
        "kill = lambda: signal.raise_signal(signal.SIGINT);"
        "check._damage = lambda c: (threading.Timer(0.01, kill).start(), damage(c))[1];"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "db", "check"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode in {1, 130, -signal.SIGINT}, done.stderr
    assert "in order" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr

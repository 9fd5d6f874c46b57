"""`scentrt stock` as its users start it: through the server that runs, or by itself."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from scentrt.adapters.database_check import check_file
from scentrt.entrypoints.cli import app
from scentrt.entrypoints.gateway.doorkeeper import hash_token
from scentrt.errors import ConfigError
from tests.e2e.server_process import ServerProcess, environment, serve
from tests.integration.test_database_facts import trace
from tests.stored_stock import read_tables

NOTE = """\
ref,sku,qty,eta
b-1,SEA,100,
b-2,SEA,50,2026-03-02
b-3,PINE,5,
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, with a delivery note in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.csv").write_text(NOTE, encoding="utf-8")
    return tmp_path


def stock(*command: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed."""
    done = CliRunner().invoke(app, ["stock", *command])
    if isinstance(done.exception, ConfigError):  # which `main` prints
        return 2, str(done.exception)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output


async def through(server: ServerProcess, *command: str) -> tuple[int, str]:
    """Run a command that is told where a server listens."""
    http = ("--http", server.http_url.removeprefix("http://"))
    return await trio.to_thread.run_sync(partial(stock, *command, *http))


# By itself


def test_batches_are_received_and_lines_allocated(folder: Path) -> None:
    assert stock("receive", "b-1", "SEA", "10") == (0, "b-1: 10 SEA, in the warehouse.\n")
    assert stock("receive", "b-2", "SEA", "5", "--eta", "2026-03-02") == (
        0,
        "b-2: 5 SEA, expected on 2026-03-02.\n",
    )
    assert stock("allocate", "o-1", "SEA", "10") == (0, "b-1\n")
    assert stock("allocate", "o-1", "SEA", "10") == (0, "b-1\n")
    assert stock("allocate", "o-2", "SEA", "6") == (1, "SEA is out of stock: no batch has 6.\n")
    assert stock("allocate", "o-3", "SEA", "5") == (0, "b-2\n")
    assert stock("receive", "b-2") == (0, "b-2 is in the warehouse.\n")
    code, printed = stock("list")
    rows = [line.split() for line in printed.splitlines() if "b-" in line]
    assert (code, rows) == (
        0,
        [["SEA", "b-1", "warehouse", "10", "10", "0"], ["SEA", "b-2", "warehouse", "5", "5", "0"]],
    )
    assert list(check_file(folder / "scentrt.db")) == []


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("receive", "b-9"), "Unknown batch b-9"),
        (("receive", "b-1", "SEA", "101"), "Batch b-1 is another one: its SKU, quantity or ETA"),
        (("allocate", "o-1", "TAR", "1"), "Invalid sku TAR"),
        (("list", "TAR"), "Unknown sku TAR"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(command: tuple[str, ...], sentence: str) -> None:
    assert stock("import", "note.csv")[0] == 0
    code, printed = stock(*command)
    assert (code, sentence in printed) == (1, True), printed


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("receive", "b-1"), "there is no such file; name a database with --db"),
        (("allocate", "o-1", "SEA", "1"), "there is no such file; name a database with --db"),
        (("list",), "there is no such file; name a database with --db"),
        (("receive", "b-1", "SEA"), "QTY: say how many SEA there are in batch b-1"),
        (("receive", "b-1", "SEA", "-1"), "qty"),
        (("receive", "b-1", "SEA", "1", "--eta", "2.3.26"), "--eta: '2.3.26' is no date"),
        (("receive", "b-1", "--eta", "2026-03-02"), "--eta: is for a new batch"),
        (("receive", " ", "SEA", "1"), "REF: is empty; write a name"),
        (("allocate", "o-1", "SEA", "0"), "qty"),
        (("import", "none.csv"), "none.csv: cannot be read: No such file or directory"),
        (("receive", "b-1", "SEA", "1", "--db", ":memory:"), "is in memory"),
        (("list", "--db", "note.csv"), "file is not a database"),
    ],
)
def test_wrong_usage_is_a_sentence_and_leaves_nothing(
    folder: Path, command: tuple[str, ...], sentence: str
) -> None:
    before = trace(folder)
    code, printed = stock(*command)
    assert (code, sentence in printed) == (2, True), printed
    assert trace(folder) == before


def test_a_note_is_imported_whole_and_once(folder: Path) -> None:
    before = trace(folder)
    assert stock("import", "note.csv", "--dry-run") == (
        0,
        "note.csv: 3 batches of 2 products; 3 would be imported, 0 known already.\n",
    )
    assert trace(folder) == before, "not even a database is made"
    assert stock("import", "note.csv") == (
        0,
        "note.csv: 3 batches of 2 products; 3 imported, 0 known already.\n",
    )
    assert stock("import", "note.csv", "--dry-run") == (
        0,
        "note.csv: 3 batches of 2 products; 0 would be imported, 3 known already.\n",
    )
    code, printed = stock("list", "--json")
    products = {product["sku"]: product for product in json.loads(printed)}
    assert code == 0
    assert products["SEA"] == {
        "sku": "SEA",
        "purchased": 150,
        "allocated": 0,
        "available": 150,
        "back_orders": 0,
        "batches": [
            {"ref": "b-1", "eta": None, "purchased": 100, "allocated": 0, "available": 100},
            {"ref": "b-2", "eta": "2026-03-02", "purchased": 50, "allocated": 0, "available": 50},
        ],
    }
    assert [batch["ref"] for batch in products["PINE"]["batches"]] == ["b-3"]
    code, printed = stock("list", "PINE", "--json")
    assert json.loads(printed) == [products["PINE"]]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_note_with_errors_is_not_imported_and_all_of_them_are_told(
    folder: Path, dry_run: list[str]
) -> None:
    stock("receive", "b-3", "PINE", "6")
    before = read_tables(folder / "scentrt.db")
    (folder / "note.csv").write_text(NOTE + "b-4,SEA,many,\n", encoding="utf-8")
    code, printed = stock("import", "note.csv", *dry_run)
    assert code == 1
    assert printed.splitlines() == [
        "row 4, ref: 'b-3' is that of another batch already, its SKU, quantity or ETA differs; "
        "write another reference",
        "row 5, qty: 'many' is no whole number from 0; write digits only, like 100",
        "note.csv has 2 errors, and nothing was imported.",
    ]
    assert read_tables(folder / "scentrt.db") == before


def test_a_long_import_shows_how_far_it_is_on_a_terminal(folder: Path) -> None:
    rows = "".join(f"d-{number},SKU-{number},1,\n" for number in range(5_000))
    (folder / "long.csv").write_text("ref,sku,qty,eta\n" + rows, encoding="utf-8")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "scentrt", "stock", "import", "long.csv"],
        env=environment({"TERM": "xterm"}),
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=20,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "Checking" in shown
    assert "Importing" in shown
    assert b"5000 batches of 5000 products; 5000 imported, 0 known already." in done.stdout


# Through the server that runs


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[ServerProcess]:
    async with serve(folder) as server:
        yield server
        await server.stop()
    assert list(check_file(folder / "scentrt.db")) == []


async def test_the_same_commands_go_through_a_server(server: ServerProcess) -> None:
    assert await through(server, "receive", "b/0", "SEA", "10") == (
        0,
        "b/0: 10 SEA, in the warehouse.\n",
    )
    assert await through(server, "receive", "b/0") == (0, "b/0 is in the warehouse.\n")
    assert await through(server, "allocate", "o/1", "SEA", "10") == (0, "b/0\n")
    assert await through(server, "allocate", "o/1", "SEA", "9") == (
        1,
        "Order o/1 has a line of 10 SEA already\n",
    )
    assert await through(server, "allocate", "o/2", "SEA", "10") == (
        1,
        "SEA is out of stock: no batch has 10.\n",
    )
    assert await through(server, "receive", "b-9") == (1, "Unknown batch b-9\n")
    code, printed = await trio.to_thread.run_sync(stock, "list", "SEA")
    assert (code, "b/0" in printed) == (0, True)


async def test_a_note_is_imported_through_a_server_that_knows_of_it_at_once(
    server: ServerProcess, folder: Path
) -> None:
    await through(server, "receive", "b-0", "SEA", "1")
    assert (await through(server, "allocate", "o-1", "SEA", "100"))[0] == 1
    printed = await through(server, "import", "note.csv", "--dry-run")
    assert printed == (
        0,
        "note.csv: 3 batches of 2 products; 3 would be imported, 0 known already.\n",
    )
    printed = await through(server, "import", "note.csv")
    assert printed == (0, "note.csv: 3 batches of 2 products; 3 imported, 0 known already.\n")
    assert await through(server, "allocate", "o-1", "SEA", "100") == (0, "b-1\n")
    (folder / "note.csv").write_text(NOTE.replace("100", "101") + "b-4,PINE,1,\n")
    code, said = await through(server, "import", "note.csv")
    assert (code, "row 2, ref: 'b-1' is that of another batch already" in said) == (1, True)
    assert len(read_tables(folder / "scentrt.db").batches) == 4


def test_a_server_that_is_named_is_meant_and_no_database_that_happens_to_be_here(
    folder: Path,
) -> None:
    (folder / "note.csv").write_text(NOTE, encoding="utf-8")
    for command in (["receive", "b-1", "SEA", "1"], ["allocate", "o", "SEA", "1"], ["import"]):
        note = ["note.csv"] if command == ["import"] else []
        code, printed = stock(*command, *note, "--http", "127.0.0.1:1")
        assert (code, "no server answers at 127.0.0.1:1" in printed) == (2, True)
    assert not (folder / "scentrt.db").exists()


async def test_where_the_server_is_not_found_it_is_said_how_to_name_it(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENTRT_HTTP__PORT", "1")
    ask = partial(stock, "receive", "b-1", "SEA", "1")
    code, printed = await trio.to_thread.run_sync(ask)
    assert code == 2
    assert f"is in use by process {server.process.pid}" in printed
    assert "nor does that server answer at 127.0.0.1:1" in printed


async def test_a_server_that_wants_a_token_gets_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "scentrt.toml").write_text(
        f'[[tokens]]\nrole = "operator"\nsha256 = "{hash_token("sesame")}"\n', encoding="utf-8"
    )
    async with serve(folder, "--http", "0.0.0.0:0") as server:
        code, printed = await through(server, "receive", "b-1", "SEA", "1")
        assert (code, printed.startswith("--token: ")) == (2, True)
        assert (await through(server, "receive", "b-1", "SEA", "1", "--token", "sesame"))[0] == 0
        monkeypatch.setenv("SCENTRT_TOKEN", "sesame")
        assert await through(server, "allocate", "o-1", "SEA", "1") == (0, "b-1\n")
        await server.stop()

"""`scentrt doctor` as operators run it: a process of its own, which leaves nothing."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from simulators.ble.bluez.process import simulated_bluez
from tests.e2e.server_process import FREE_PORTS, Environment, environment, serve

ENDS_WITHIN_S = 20
"""It takes a second, and on a machine with other things to do some more."""

THEATRE = """\
name = "Кино"
[[zones]]
id = "A"
rows = 1
seats_per_row = 2
slots = ["pine"]
[zones.devices]
A-1-1 = "D-1"
A-1-2 = "D-2"
"""


def doctor(
    folder: Path, *options: str, env: Environment | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, on a machine without Bluetooth unless `env` leads to one."""
    no_bus = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere/bus", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "scentrt", "doctor", *options],
        cwd=folder,
        env=environment({**no_bus, **(env or {})}),
        capture_output=True,
        encoding="utf-8",
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def names_in(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return by subject what `--json` has said, and hold the exit code to it."""
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ready"] else 1)
    return {finding["subject"]: finding for finding in report["findings"]}


def test_a_theatre_without_devices_runs_anywhere_and_nothing_is_left_behind(
    tmp_path: Path,
) -> None:
    done = doctor(tmp_path, *FREE_PORTS)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, empty, last = done.stdout.splitlines()
    assert (empty, last) == ("", "The theatre can run here.")
    assert {line.split()[0] for line in lines} == {"green", "yellow", "->"}
    subjects = [line.split()[1] for line in lines if "->" not in line]
    assert subjects == [
        *("settings", "theatre", "bluetooth", "gateway", "http", "database", "disk"),
        *("clock", "timer"),
    ]
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        assert line.startswith("yellow") == after.lstrip().startswith("->")
    assert names_in(tmp_path) == []


def test_what_is_red_is_counted_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "kino.toml").write_text(THEATRE, encoding="utf-8")
    done = doctor(tmp_path, *FREE_PORTS, "--theatre", "kino.toml", "--db", "none/x.db")
    assert (done.returncode, done.stderr) == (1, "")
    reds = [line for line in done.stdout.splitlines() if line.startswith("red ")]
    assert [line.split()[1] for line in reds] == ["bluetooth", "database"]
    assert "The theatre cannot run here yet. Red lines: 2 of " in done.stdout
    assert "'Кино'" in done.stdout


def test_a_terminal_shows_colours_and_keeps_its_columns(tmp_path: Path) -> None:
    named = THEATRE.replace("Кино", "[b]Roxy[/b]")
    (tmp_path / "roxy.toml").write_text(named, encoding="utf-8")
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "60"}
    said = doctor(tmp_path, *FREE_PORTS, "--theatre", "roxy.toml", env=terminal).stdout
    assert "\x1b[1;31mred" in said
    assert "\x1b[1;32mgreen" in said
    lines = re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines()
    assert max(len(line) for line in lines) <= 60
    assert any("'[b]Roxy[/b]': 1 zone, 2 seats" in line for line in lines)
    columns = {len(line) - len(line.lstrip()) for line in lines[: lines.index("")]}
    assert columns == {0, lines[0].index("no scentrt.toml")}


def test_a_name_that_the_terminal_cannot_show_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "kino.toml").write_text(THEATRE, encoding="utf-8")
    western = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = doctor(tmp_path, *FREE_PORTS, "--theatre", "kino.toml", env=western)
    assert "'????': 1 zone, 2 seats, 2 with a device" in done.stdout


@pytest.mark.needs("dbus-daemon", "dbus")
def test_adapters_are_found_over_dbus_and_told_in_json(tmp_path: Path) -> None:
    (tmp_path / "kino.toml").write_text(THEATRE, encoding="utf-8")
    with simulated_bluez("--adapters", "2", "--devices", "2") as bluez:
        options = (*FREE_PORTS, "--theatre", "kino.toml", "--json")
        found = told(doctor(tmp_path, *options, env=bluez.environment))
    assert {found[name]["verdict"] for name in ("bluetooth", "hci0", "hci1", "links")} == {"green"}
    assert found["hci0"] == {
        "subject": "hci0",
        "verdict": "green",
        "found": "00:5C:E7:00:00:00, switched on, 0 links in use",
        "fix": None,
    }


async def test_beside_a_running_server_all_of_it_is_green_and_goes_on(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, server.engine() as game:
        there = (
            *("--gateway", server.gateway_url.removeprefix("ws://").rstrip("/")),
            *("--http", server.http_url.removeprefix("http://")),
        )
        before = names_in(tmp_path)
        done = await trio.to_thread.run_sync(lambda: doctor(tmp_path, *there, "--json"))
        found = told(done)
        assert {found[name]["verdict"] for name in ("gateway", "http", "database", "doses")} == {
            "green"
        }
        assert str(server.process.pid) in found["database"]["found"]
        assert names_in(tmp_path) == before
        assert (await game.cue("jungle", {"all": True}))["targets"] == 24
        await server.stop()


async def test_doses_in_the_future_keep_the_doors_closed(tmp_path: Path) -> None:
    async with serve(tmp_path) as server:
        await server.stop()
    with closing(sqlite3.connect(tmp_path / "scentrt.db")) as database:
        tomorrow_ms = (time.time() + 86_400) * 1_000
        database.execute("UPDATE dose_marks SET through_ms = ? WHERE zone = 'A'", [tomorrow_ms])
        database.commit()
    done = await trio.to_thread.run_sync(lambda: doctor(tmp_path, *FREE_PORTS, "--json"))
    assert done.returncode == 1
    assert told(done)["doses"]["verdict"] == "red"


def test_a_library_that_does_not_load_is_a_finding(tmp_path: Path) -> None:
    broken = tmp_path / "bleak"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no such radio')", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    done = doctor(tmp_path, "--json", env={"PYTHONPATH": paths})
    assert done.returncode == 1
    assert told(done)["program"]["found"] == "cannot be loaded: no such radio"


def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bus:  # one that says nothing, so that there is time
        bus.bind(str(tmp_path / "bus"))
        bus.listen()
        bus.settimeout(ENDS_WITHIN_S)
        with (
            subprocess.Popen(
                [sys.executable, "-m", "scentrt", "doctor", *FREE_PORTS],
                cwd=tmp_path,
                env=environment({"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/bus"}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
            bus.accept()[0],
        ):
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=ENDS_WITHIN_S)
        assert (process.returncode, said) == (1, "Aborted.\n")

"""Simulated radios as users start them: `scentrt serve --simulate-ble` and `scentrt demo`."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from scentrt.entrypoints.cli import main
from tests.e2e.airwaves import watch
from tests.e2e.server_process import FREE_PORTS, environment, serve
from tests.e2e.theatres import one_row


async def test_serve_connects_to_simulated_devices_and_ends_in_good_order_while_they_spray(
    tmp_path: Path,
) -> None:
    one_row(tmp_path)
    options = ("--simulate-ble", "--theatre", "theatre.toml")
    async with serve(tmp_path, *options, simulated=False) as server:
        async with watch(server.gateway_url) as desk:
            assert (await server.get("/readyz")).json()["remarks"] == []
            assert (await desk.cue("c", duration_ms=10_000, report=True))["targets"] == 3
            assert (await desk.hear("report"))["written"] == 3
            server.process.send_signal(signal.SIGTERM)
            assert await desk.hear_the_end() == 1001
        await server.stop()


def test_the_demo_plays_and_tells_what_came_of_it_where_the_usual_ports_are_taken(
    tmp_path: Path,
) -> None:
    with ExitStack() as taken:
        for port in (8765, 5005):
            with suppress(OSError):  # then somebody else has it already
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
        played = subprocess.run(
            [sys.executable, "-m", "scentrt", "demo", "--for", "1"],
            cwd=tmp_path,
            env=environment({"COLUMNS": "120"}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (played.returncode, played.stderr) == (0, "")
    said = played.stdout
    assert "24 devices connected" in said
    assert re.search(r"vials loaded +│ +120 ", said)
    assert re.search(r"forest, by the journal +│ +[1-9]\d*\.\d dose-seconds", said)
    assert re.search(r"seats sprayed by cues +│ +[1-9]", said)
    assert re.search(r"cue to the last GATT write +│ +\d+\.\d\d", said)
    assert list(tmp_path.iterdir()) == []


def test_dispensers_are_simulated_in_memory_or_on_the_air_and_not_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["scentrt", "serve", "--simulate", "--simulate-ble", *FREE_PORTS]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 2
    said = capsys.readouterr().err
    assert said == (
        "scentrt: simulate_ble: dispensers are simulated either in memory (--simulate) or over a "
        "simulated radio (--simulate-ble); leave one out\n"
    )

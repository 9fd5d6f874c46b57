"""The latency harness, in small: that it measures something, not how fast that is."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from simulators.ble.bluez.process import is_possible
from simulators.latency.offset import Offset

REFERENCES = {"echo", "echoes", "send_message to each", "bleak alone"}
ROWS = [
    ("cue", "echo"),
    ("cue", "cue to driver"),
    ("cue", "cue to answer"),
    ("cue", "received to driver"),
    ("pipelined", "echoes"),
    ("pipelined", "cues"),
    ("fan-out 3", "send_message to each"),
    ("fan-out 3", "cue to the last"),
]
GATT_ROWS = [
    ("gatt {}", "bleak alone"),
    ("gatt {}", "cue to write"),
    ("gatt {}", "received to write"),
    ("24 {}", "bleak alone"),
    ("24 {}", "cue to last"),
    ("24 {}", "received to last"),
    ("24 {}", "first to last"),
]
RADIOS = ["Bumble", "BlueZ"] if is_possible() else ["Bumble"]
COUNTS = {"cue": 120, "pipelined": 2, "fan-out": 2, "gatt": 30, "24": 2}


def measure(
    *options: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulators.latency", "--rounds", "2", "--samples", "60"]
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=env and {**os.environ, **env},
    )


class TestTheBench:
    def test_every_series_stands_beside_its_reference(self, tmp_path: Path) -> None:
        file = tmp_path / "figures.json"
        said = measure("--audience", "3", "--json", str(file))
        assert said.returncode == 0
        assert ("left out" in said.stderr) == (not is_possible()) == bool(said.stderr)
        on_air = [(bench.format(radio), what) for radio in RADIOS for bench, what in GATT_ROWS]
        figures = json.loads(file.read_text(encoding="utf-8"))
        assert [(row["bench"], row["what"]) for row in figures["rows"]] == ROWS + on_air
        for row in figures["rows"]:
            assert row["what"] in said.stdout
            assert row["p50"] > 0
            assert row["count"] == COUNTS[row["bench"].split()[0]]
            if row["what"] not in REFERENCES:
                least, most = row["x_rounds"]
                assert 0 < least <= most
                assert row["x_p50"] > 0

    def test_one_bench_may_be_asked_for_alone(self) -> None:
        said = measure("--only", "pipelined", "--rounds", "1")
        assert said.returncode == 0
        assert "pipelined" in said.stdout
        assert "fan-out" not in said.stdout

    def test_without_a_dbus_daemon_there_is_no_bluez_and_it_says_so(self, tmp_path: Path) -> None:
        said = measure(
            "--only", "gatt", "--samples", "1", "--rounds", "1", env={"PATH": str(tmp_path)}
        )
        assert (said.returncode, "gatt BlueZ is left out" in said.stderr) == (0, True)
        assert "24 Bumble" in said.stdout
        assert "BlueZ" not in said.stdout


class TestTheServersClock:
    def test_it_is_believed_to_tell_unix_time(self) -> None:
        offset = Offset(unix_ahead_ms=1000.0)
        assert offset.here_ms(1005.0) == 5.0
        offset.learn(t0=1.0, t1=1001.4, t2=1001.5, t3=1.7)
        assert offset.here_ms(1005.0) == 5.0

    def test_no_ping_arrives_before_it_was_sent(self) -> None:
        offset = Offset(unix_ahead_ms=1000.0)
        offset.learn(t0=1.0, t1=901.5, t2=901.5, t3=2.0)
        assert offset.here_ms(1000.0) == 99.5
        offset.learn(t0=3.0, t1=903.25, t2=903.5, t3=4.0)
        assert offset.here_ms(1000.0) == 99.75

    def test_no_pong_was_sent_after_it_arrived(self) -> None:
        offset = Offset(unix_ahead_ms=1000.0)
        offset.learn(t0=1.0, t1=1101.5, t2=1101.5, t3=2.0)
        assert offset.here_ms(1100.0) == 0.5

"""The latency harness, in small: that it measures something, not how fast that is."""

import json
import subprocess
import sys
from pathlib import Path

from simulators.latency.offset import Offset

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


def measure(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulators.latency", "--rounds", "2", "--samples", "150"]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=60, check=False
    )


class TestTheBench:
    def test_every_series_stands_beside_its_reference(self, tmp_path: Path) -> None:
        file = tmp_path / "figures.json"
        said = measure("--audience", "3", "--json", str(file))
        assert (said.returncode, said.stderr) == (0, "")
        for _, what in ROWS:
            assert what in said.stdout
        figures = json.loads(file.read_text(encoding="utf-8"))
        assert [(row["bench"], row["what"]) for row in figures["rows"]] == ROWS
        for row in figures["rows"]:
            assert row["p50"] > 0
            assert row["count"] == {"cue": 300, "pipelined": 2, "fan-out 3": 6}[row["bench"]]
            if row["what"] not in {"echo", "echoes", "send_message to each"}:
                least, most = row["x_rounds"]
                assert 0 < least <= most
                assert row["x_p50"] > 0

    def test_one_bench_may_be_asked_for_alone(self) -> None:
        said = measure("--only", "pipelined")
        assert said.returncode == 0
        assert "pipelined" in said.stdout
        assert "fan-out" not in said.stdout


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

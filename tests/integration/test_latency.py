"""The latency harness, in small: that it measures something, not how fast that is."""

import json
from pathlib import Path

from simulators.ble.bluez.process import is_possible
from simulators.latency import mosquitto
from simulators.latency.offset import Offset
from simulators.latency.programme import BENCHES
from tests.integration.harness import expect, measure, measure_each, run

BROKERS = ["Mosquitto", "cue to the last"] if mosquitto.program() else []
TWO = {
    "cue": {"cue": ["echo", "cue to driver", "cue to answer", "received to driver"]},
    "pipelined": {"pipelined": ["echoes", "cues"]},
}
OTHERS = {
    "busy": {
        "busy": ["idle", "100 cues/s", "of that inside"],
        "busy echo": ["idle echo", "100 echoes/s"],
    },
    "fan-out": {"fan-out 3": ["send_message", "cue to the last", "bare writes", *BROKERS]},
    "scheduled": {"scheduled": ["trio.sleep_until", "lateness"]},
    "everywhere": {
        "all 500": ["first to last, a seat", "cue to last, a seat"],
        "all 2000": ["first to last, a seat", "cue to last, a seat"],
    },
    "gatt": {
        bench: rows
        for radio in (["Bumble", "BlueZ"] if is_possible() else ["Bumble"])
        for bench, rows in {
            f"gatt {radio}": [
                *("bleak alone", "echo alone", "crossing alone"),
                *("cue to write", "received to write"),
                *("the three", "cue to write"),
            ],
            f"24 {radio}": [
                *("bleak alone", "cue to last", "received to last", "first to last"),
                *("the three", "cue to last"),
            ],
        }.items()
    },
    "idle": {"idle": ["memory, a subscriber"], "start": ["start to ready"]},
}


class TestTheBench:
    def test_each_measures_something_beside_its_reference(self, tmp_path: Path) -> None:
        measured = measure_each(tmp_path, OTHERS, "--audience", "3")
        assert ("BlueZ is left out" in measured.remarks) == (not is_possible())
        assert ("not compared with Mosquitto" in measured.remarks) == (not BROKERS)

    def test_of_two_come_a_table_a_picture_flame_graphs_and_what_to_compare_with(
        self, tmp_path: Path
    ) -> None:
        picture, flames = tmp_path / "bench.png", tmp_path / "flames.svg"
        files = ["--picture", str(picture), "--profile", str(flames)]
        # Long enough that py-spy comes to look.
        two = ["--only", "cue", "--only", "pipelined", "--samples", "200"]
        expect(measure(tmp_path, *two, *files), TWO["cue"] | TWO["pipelined"])
        drawn = picture.read_bytes()
        assert drawn.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(drawn) > 10_000
        for file in (flames, tmp_path / "flames-2.svg"):
            assert "scentrt/" in file.read_text(encoding="utf-8")
        before = tmp_path / "figures.json"
        began = json.loads(before.read_text(encoding="utf-8"))["about"]["began"]
        said = run("--only", "pipelined", "--compare", str(before))
        assert said.returncode == 0, said.stderr
        assert f"before: {began}" in said.stdout
        assert "new" not in said.stdout

    def test_what_cannot_be_compared_with_is_named_before_anything_is_measured(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "before.json"
        file.write_text('{"rows": 3}', encoding="utf-8")
        said = run("--compare", str(file))
        assert said.returncode == 1
        assert f"{file} is not what --json writes" in said.stderr
        assert "Traceback" not in said.stderr

    def test_who_asks_for_one_that_is_not_there_is_told_those_that_are(self) -> None:
        said = run("--only", "nonsense")
        assert said.returncode == 2
        assert all(name in said.stderr for name in BENCHES)

    def test_without_a_dbus_daemon_there_is_no_bluez_and_it_says_so(self, tmp_path: Path) -> None:
        said = run("--only", "gatt", "--samples", "1", env={"PATH": str(tmp_path)})
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

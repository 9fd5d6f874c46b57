"""`scentrt stock forecast` as its users start it: through the server that runs, or by itself."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from scentrt.entrypoints.cli import app
from scentrt.entrypoints.cue_list import EXAMPLE
from scentrt.errors import ConfigError
from tests.e2e.server_process import serve

THEATRE = """\
name = "Roxy"
[[zones]]
id = "A"
rows = 1
seats_per_row = 3
slots = ["sea-breeze", "jungle"]
opted_out = ["A-1-3"]
[[products]]
sku = "SEABREEZE"
scent = "sea-breeze"
capacity_s = 60
"""
SHOW = [(0, 5_000), (725_000, 8_000), (3_700_000, 8_000)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, with a theatre, a cue list and no vials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENTRT_THEATRE", "roxy.toml")
    (tmp_path / "roxy.toml").write_text(THEATRE, encoding="utf-8")
    write([cue(at_ms, duration_ms) for at_ms, duration_ms in SHOW])
    assert CliRunner().invoke(app, ["stock", "receive", "b-1", "SEABREEZE", "9"]).exit_code == 0
    assert CliRunner().invoke(app, ["stock", "allocate", "o-1", "SEABREEZE", "9"]).exit_code == 0
    return tmp_path


def cue(at_ms: float, duration_ms: float, **changed: object) -> dict[str, object]:
    cue = {"at_ms": at_ms, "scent": "sea-breeze", "intensity": 1, "duration_ms": duration_ms}
    return {**cue, "to": {"all": True}, **changed}


def write(cues: list[dict[str, object]]) -> None:
    Path("show.jsonl").write_text("".join(json.dumps(cue) + "\n" for cue in cues))


def load(left_s: Mapping[str, float]) -> None:
    """Put vials into the first slots of seats, with so much left in them."""
    with closing(sqlite3.connect("scentrt.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO vials (sku, orderid, batchref, zone, seat, slot, whereabouts, "
            "capacity_us, left_us) "
            "VALUES ('SEABREEZE', 'o-1', 'b-1', 'A', ?, 0, 'seated', 60000000, ?)",
            [(seat, round(left * 1_000_000)) for seat, left in left_s.items()],
        )


def forecast(*options: str) -> tuple[int, str]:
    """Run the command; return its exit code and all that it printed."""
    done = CliRunner().invoke(app, ["stock", "forecast", *options])
    if isinstance(done.exception, ConfigError):  # which `main` prints
        return 2, str(done.exception)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output


def of_show(*options: str) -> tuple[int, str]:
    return forecast("--cues", "show.jsonl", *options)


# By itself


def test_where_it_lasts_the_last_line_says_so_and_what_comes_closest() -> None:
    load({"A-1-1": 50, "A-1-2": 34, "A-1-3": 0})
    code, printed = of_show()
    assert code == 0
    assert [line.split() for line in printed.splitlines() if "█" in line] == [
        ["A", "sea-breeze", "42", "84", "████░░░░", "50%"]
    ]
    assert printed.splitlines()[-1] == (
        "It lasts for 3 cues over 1:01:48. The closest is sea-breeze in zone A, of which it takes "
        "50%."
    )


def test_where_it_does_not_it_is_said_where_when_and_what_to_load() -> None:
    load({"A-1-1": 20, "A-1-2": 10})
    code, printed = of_show()
    assert code == 1
    assert [line.split() for line in printed.splitlines() if "█" in line] == [
        ["A", "sea-breeze", "42", "30", "████████", "140%", "12:05", "2", "SEABREEZE"]
    ]
    assert "A sea-breeze: A-1-2 at 12:05, 1 seat later; load 2 SEABREEZE at 2 seats" in printed
    assert printed.splitlines()[-1] == (
        "It does not last for 3 cues over 1:01:48: from 12:05 on there is too little sea-breeze in "
        "zone A. Load 2 SEABREEZE."
    )


def test_for_other_programs_it_is_what_http_answers() -> None:
    load({"A-1-1": 50, "A-1-2": 10})
    code, printed = of_show("--json")
    told = json.loads(printed)
    assert (code, told["lasts"], told["cues"]) == (1, False, 3)
    assert told["scents"][0]["runs_dry"] == {"cue": 1, "at_ms": 725_000, "seats": ["A-1-2"]}


def test_settings_of_seats_count() -> None:
    load({"A-1-1": 50, "A-1-2": 10, "A-1-3": 50})
    with closing(sqlite3.connect("scentrt.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO seat_settings (zone, seat, opted_out, averse_to, gain, delay_ms) "
            "VALUES ('A', ?, ?, ?, ?, 0)",
            [
                ("A-1-1", 0, "[]", 0.5),
                ("A-1-2", 0, '["sea-breeze"]', 1),
                ("A-1-3", 0, "[]", 1),  # who has come back is no longer left out
            ],
        )
    code, printed = of_show("--json")
    [scent] = json.loads(printed)["scents"]
    assert (code, scent["seats"], scent["needed_s"], scent["present_s"]) == (0, 2, 31.5, 100)


def test_without_vials_nothing_is_counted_and_cues_that_reach_nobody_are_named() -> None:
    write([cue(0, 100), cue(1, 100, to={"seats": ["A-1-3"]})])
    code, printed = of_show()
    assert code == 0
    assert "not counted" in printed
    assert "No seat gets cue 2 (line 2)" in printed
    assert printed.splitlines()[-1].startswith("Nothing is counted of 2 cues over 0:00: no vials")


def test_without_a_product_it_is_said_that_none_would_do() -> None:
    load({"A-1-1": 1})
    small = '[[products]]\nsku = "SEABREEZE"\nscent = "sea-breeze"\ncapacity_s = 1\n'
    Path("roxy.toml").write_text(THEATRE.partition("[[products]]")[0] + small, encoding="utf-8")
    code, printed = of_show()
    assert (code, "Load" in printed) == (1, False)
    assert printed.splitlines()[-1].endswith(
        "For sea-breeze the theatre file has no [[products]] that would do."
    )


def test_the_example_is_a_list_that_the_theatre_without_a_file_can_play(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SCENTRT_THEATRE")
    assert forecast("--example") == (0, EXAMPLE)
    Path("show.jsonl").write_text(EXAMPLE)
    assert of_show()[0] == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "--cues: name the file with the cue list; --example prints one"),
        (("--cues", "none.jsonl"), "none.jsonl: cannot be read: No such file or directory"),
        (("--cues", "show.jsonl", "--db", "none.db"), "there is no such file; name a database"),
        (("--cues", "show.jsonl", "--db", "roxy.toml"), "roxy.toml: cannot be read: file is not"),
        (("--cues", "show.jsonl", "--theatre", "none.toml"), "none.toml: cannot be read: No such"),
        (("--cues", "roxy.toml"), "line 1 (cue 1): cannot be read"),
        (("--cues", "roxy.toml"), "roxy.toml: nothing was forecast."),
    ],
)
def test_what_cannot_be_read_is_a_sentence_and_exit_code_2(
    options: tuple[str, ...], sentence: str
) -> None:
    code, printed = forecast(*options)
    assert (code, sentence in printed) == (2, True), printed


def test_all_that_is_wrong_in_a_list_is_told_by_line_and_field() -> None:
    write([cue(0, 20_000), cue(1, 1), cue(2, 1, scent="tar"), cue(3, 1, intensity=2)])
    code, printed = of_show()
    assert (code, printed.splitlines()) == (
        2,
        [
            "line 1 (cue 1), duration_ms: expected 1 to 10000, the longest spray ('max_spray_ms')",
            "line 3 (cue 3), scent: no zone carries 'tar'; there are sea-breeze, jungle",
            "line 4 (cue 4), intensity: expected a number above 0, to 1",
            "show.jsonl: nothing was forecast.",
        ],
    )


# Through a server


async def test_a_server_that_runs_is_asked(folder: Path) -> None:
    async with serve(folder, "--theatre", "roxy.toml") as server:
        address = server.http_url.removeprefix("http://")
        ask = partial(of_show, "--http", address)
        code, printed = await trio.to_thread.run_sync(ask, "--json")
        [scent] = json.loads(printed)["scents"]
        assert (code, scent["seats"], scent["needed_s"]) == (0, 2, 42)
        write([cue(0, 1), cue(1, 1, to={"zones": ["B"]}), cue(2, 99_999)])
        code, printed = await trio.to_thread.run_sync(ask)
        assert (code, printed.splitlines()) == (
            2,
            [
                "line 2 (cue 2), to.zones: there is no zone 'B'; there are A, goggles",
                "line 3 (cue 3), duration_ms: expected 1 to 10000, the longest spray "
                "('max_spray_ms')",
                "show.jsonl: nothing was forecast.",
            ],
        )
        code, printed = await trio.to_thread.run_sync(of_show, "--http", "127.0.0.1:1")
        assert (code, "no server answers at 127.0.0.1:1" in printed) == (2, True)
        await server.stop()

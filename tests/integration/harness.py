"""The latency harness as its users run it: a program, here with next to nothing to measure."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

RUNS_WITHIN_S = 300
"""It starts up to twenty servers, each of which takes a second, and on a busy machine ten."""


class Measured(NamedTuple):
    """What the harness said, and its rows by bench."""

    said: str
    remarks: str
    rows: dict[str, list[dict[str, Any]]]


def run(*options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it for one round of ten samples."""
    command = [sys.executable, "-m", "simulators.latency", "--rounds", "1", "--samples", "10"]
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=RUNS_WITHIN_S,
        check=False,
        env=env and {**os.environ, **env},
    )


def measure(folder: Path, *options: str) -> Measured:
    """Run it and read its figures."""
    file = folder / "figures.json"
    said = run("--json", str(file), *options)
    assert said.returncode == 0, said.stderr
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
        rows.setdefault(row["bench"], []).append(row)
    return Measured(said.stdout, said.stderr, rows)


def expect(measured: Measured, rows: Mapping[str, Sequence[str]]) -> None:
    """Hold it to having measured this, and to having shown all of it, with every goal."""
    told = {bench: [row["what"] for row in found] for bench, found in measured.rows.items()}
    assert told == rows
    verdicts = []
    for row in (row for found in measured.rows.values() for row in found):
        assert row["what"] in measured.said
        assert row["count"] > 0
        assert (row["p50"] > 0) == bool(row["unit"]), "errors alone are none"
        verdicts += row["verdicts"]
    met = sum(verdict["met"] for verdict in verdicts)
    assert f"{met} of {len(verdicts)} goals met" in measured.said


def measure_each(
    folder: Path, benches: Mapping[str, Mapping[str, Sequence[str]]], *options: str
) -> Measured:
    """Run it for these benches in one process, and hold each to its rows."""
    only = [option for bench in benches for option in ("--only", bench)]
    measured = measure(folder, *only, *options)
    expect(measured, {bench: what for rows in benches.values() for bench, what in rows.items()})
    return measured

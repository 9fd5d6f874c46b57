"""The two servers that are measured, each in a process of its own."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import BinaryIO

from simulators.latency.line import Unanswered
from simulators.theatre import plan

ZONE, SCENT = "A", "pine"
ROWS, SEATS_PER_ROW = 10, 10
"""Enough seats that each is free again when its turn comes, however fast the cues."""

READY_WITHIN_S = 30.0
GONE_WITHIN_S = 10.0

SETTINGS = {
    # One engine alone is to find out how fast the server is.
    "SCENTRT_LIMITS__MESSAGES_PER_S": "1000000",
    # An audience that waits for its turn is silent, and no ping should come in between.
    "SCENTRT_GATEWAY__MAX_SILENCE_MS": "600000",
}


@dataclass(frozen=True, slots=True)
class Venue:
    """Where the server and the reference are reached."""

    server: str
    reference: str


@contextmanager
def open_venue() -> Iterator[Venue]:
    """Run both servers for as long as the block lasts. Raises `Unanswered` where one will not."""
    with (
        TemporaryDirectory(prefix="scentrt-latency-") as folder,
        _server(Path(folder)) as server,
        _reference() as reference,
    ):
        yield Venue(server, reference)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    theatre, ready, log = folder / "theatre.toml", folder / "ready.json", folder / "log"
    theatre.write_text(
        plan(zones=1, rows=ROWS, seats_per_row=SEATS_PER_ROW, slots=[SCENT]), encoding="utf-8"
    )
    command = [sys.executable, "-m", "scentrt", "serve", "--simulate"]
    command += ["--theatre", str(theatre), "--db", str(folder / "scentrt.db")]
    command += ["--gateway", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready)]
    # Nobody's own settings, in the environment or a file, change what is measured.
    env = {name: value for name, value in os.environ.items() if not name.startswith("SCENTRT_")}
    with log.open("wb") as said, _running(command, folder, env | SETTINGS, said) as process:
        deadline = monotonic() + READY_WITHIN_S
        while not ready.exists():
            if process.poll() is not None or monotonic() > deadline:
                raise Unanswered(f"the server does not start: {log.read_text(errors='replace')}")
            sleep(0.01)
        yield json.loads(ready.read_text(encoding="utf-8"))["gateway"]


@contextmanager
def _reference() -> Iterator[str]:
    command = [sys.executable, "-m", "simulators.latency.reference"]
    with _running(command) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        if not url:
            raise Unanswered("the reference does not start")
        yield url


@contextmanager
def _running(
    command: list[str],
    folder: Path | None = None,
    env: dict[str, str] | None = None,
    log: BinaryIO | None = None,
) -> Iterator[Popen[bytes]]:
    # In a session of its own, so that Ctrl-C is for us, and we are the ones to end it.
    with Popen(
        command, cwd=folder, env=env, stdout=log or PIPE, stderr=log, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(GONE_WITHIN_S)
            except TimeoutExpired:
                process.kill()

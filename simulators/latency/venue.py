"""The processes that are measured: the server, and what it is measured against."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import BinaryIO
from urllib.request import urlopen

from simulators.latency.line import Unanswered
from simulators.theatre import plan

ZONE, SCENT = "A", "pine"

READY_WITHIN_S = 30.0
GONE_WITHIN_S = 10.0

SETTINGS = {
    # One engine alone is to find out how fast the server is.
    "SCENTRT_LIMITS__MESSAGES_PER_S": "1000000",
    # An audience that waits for its turn is silent, and no ping should come in between.
    "SCENTRT_GATEWAY__MAX_SILENCE_MS": "600000",
}


@dataclass(frozen=True, slots=True)
class Hall:
    """A theatre of one zone, with one scent."""

    rows: int
    seats_per_row: int

    @property
    def seats(self) -> list[str]:
        """Its seats, as the protocol names them."""
        return [
            f"{ZONE}-{row + 1}-{seat + 1}"
            for row in range(self.rows)
            for seat in range(self.seats_per_row)
        ]

    def plan(self, devices: Sequence[str] = ()) -> str:
        """Return its theatre file, with a device at each seat if there are any."""
        file = plan(
            zones=1, rows=self.rows, seats_per_row=self.seats_per_row, slots=[SCENT], name="Bench"
        )
        if devices:
            lines = [f'{seat} = "{name}"' for seat, name in zip(self.seats, devices, strict=True)]
            file += "\n".join(["[zones.devices]", *lines, ""])
        return file


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is reached."""

    gateway: str
    http: str

    def wait_until_nothing_is_amiss(self) -> None:
        """Wait until all devices are connected, among other things; raises `Unanswered`."""
        deadline = monotonic() + READY_WITHIN_S
        while True:
            with urlopen(self.http + "/readyz", timeout=READY_WITHIN_S) as answer:
                remarks = json.load(answer)["remarks"]
            if not remarks:
                return
            if monotonic() > deadline:
                raise Unanswered(f"the server has remarks: {'; '.join(remarks)}")
            sleep(0.05)


@contextmanager
def open_server(
    theatre: str, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run `scentrt serve` for as long as the block lasts; raises `Unanswered` where it will not."""
    with TemporaryDirectory(prefix="scentrt-latency-") as name:
        folder = Path(name)
        file, ready, log = folder / "theatre.toml", folder / "ready.json", folder / "log"
        file.write_text(theatre, encoding="utf-8")
        command = [sys.executable, "-m", "scentrt", "serve", *options]
        command += ["--theatre", str(file), "--db", str(folder / "scentrt.db")]
        command += ["--gateway", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready)]
        # Nobody's own settings, in the environment or a file, change what is measured.
        clean = {k: value for k, value in os.environ.items() if not k.startswith("SCENTRT_")}
        environment = {**clean, **SETTINGS, **(env or {})}
        with log.open("wb") as said, running(command, folder, environment, said) as process:
            deadline = monotonic() + READY_WITHIN_S
            while not ready.exists():
                if process.poll() is not None or monotonic() > deadline:
                    raise Unanswered(
                        f"the server does not start: {log.read_text(errors='replace')}"
                    )
                sleep(0.01)
            yield Server(**json.loads(ready.read_text(encoding="utf-8")))


@contextmanager
def open_reference() -> Iterator[str]:
    """Run trio-websocket with nothing around it, and give its address."""
    command = [sys.executable, "-m", "simulators.latency.reference"]
    with running(command) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        if not url:
            raise Unanswered("the reference does not start")
        yield url


@contextmanager
def running(
    command: list[str],
    folder: Path | None = None,
    env: dict[str, str] | None = None,
    log: BinaryIO | None = None,
) -> Iterator[Popen[bytes]]:
    """Run a program for as long as the block lasts; what it says goes into the log, or a pipe."""
    # In a session of its own, so that Ctrl-C is for us, and we are the ones to end it.
    with Popen(
        command,
        cwd=folder,
        env=env,
        stdin=PIPE,
        stdout=log or PIPE,
        stderr=log,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(GONE_WITHIN_S)
            except TimeoutExpired:
                process.kill()

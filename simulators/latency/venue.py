"""The processes that are measured: the server, and what it is measured against."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, sleep
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import urlopen

from simulators.latency.line import Unanswered
from simulators.latency.profiler import Profiler
from simulators.theatre import plan, zone_names

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
    """A theatre of equal zones, with one scent."""

    rows: int
    seats_per_row: int
    zones: int = 1

    @property
    def seats(self) -> list[str]:
        """Its seats, as the protocol names them."""
        return [
            f"{zone}-{row + 1}-{seat + 1}"
            for zone in islice(zone_names(), self.zones)
            for row in range(self.rows)
            for seat in range(self.seats_per_row)
        ]

    def plan(self, devices: Sequence[str] = ()) -> str:
        """Return its theatre file, with a device at each seat if there are any."""
        file = plan(
            zones=self.zones,
            rows=self.rows,
            seats_per_row=self.seats_per_row,
            slots=[SCENT],
            name="Bench",
        )
        if devices:
            lines = [f'{seat} = "{name}"' for seat, name in zip(self.seats, devices, strict=True)]
            file += "\n".join(["[zones.devices]", *lines, ""])
        return file


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is reached, its process, and how long it took to be ready."""

    gateway: str
    http: str
    pid: int
    ready_s: float

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
    profiler: Profiler,
    theatre: str,
    *options: str,
    env: Mapping[str, str] | None = None,
    db: Path | None = None,
    watch_start: bool = False,
) -> Iterator[Server]:
    """Run `scentrt serve` for as long as the block lasts; raises `Unanswered` where it will not.

    It has a database of its own, or that in `db`. The profiler watches what it does when it is
    ready or, with `watch_start`, how it gets there.
    """
    with TemporaryDirectory(prefix="scentrt-latency-") as name:
        folder = Path(name)
        file, ready, log = folder / "theatre.toml", folder / "ready.json", folder / "log"
        file.write_text(theatre, encoding="utf-8")
        command = [sys.executable, "-m", "scentrt", "serve", *options]
        command += ["--theatre", str(file), "--db", str(db or folder / "scentrt.db")]
        command += ["--gateway", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready)]
        # Nobody's own settings, in the environment or a file, change what is measured.
        ours = ("SCENTRT_", "API_HOST", "REDIS_HOST", "EMAIL_HOST")
        clean = {k: value for k, value in os.environ.items() if not k.startswith(ours)}
        environment = {**clean, **SETTINGS, **(env or {})}
        began = perf_counter()
        with log.open("wb") as said, running(command, folder, environment, said) as process:
            with profiler.watching(process) if watch_start else nullcontext():
                urls = _wait_until_ready(process, ready, log)
            server = Server(**urls, pid=process.pid, ready_s=perf_counter() - began)
            with nullcontext() if watch_start else profiler.watching(process):
                yield server


def _wait_until_ready(process: Popen[bytes], ready: Path, log: Path) -> dict[str, str]:
    """Wait until a server listens and says that it can serve; return where it is reached."""
    deadline = monotonic() + READY_WITHIN_S
    urls: dict[str, str] = {}
    while True:
        if not urls and ready.exists():
            urls = json.loads(ready.read_text(encoding="utf-8"))
        if urls:
            try:
                with urlopen(urls["http"] + "/readyz", timeout=READY_WITHIN_S):
                    return urls
            except HTTPError:
                pass  # 503, as long as it is not
        if process.poll() is not None or monotonic() > deadline:
            raise Unanswered(f"the server does not start: {log.read_text(errors='replace')}")
        sleep(0.001)


@contextmanager
def open_reference() -> Iterator[str]:
    """Run trio-websocket with nothing around it, and give its address."""
    with open_helper("reference") as reference:
        yield reference.opening


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


class Helper:
    """A program beside the server that does something for each line on its standard input.

    It has begun when it has said its first line, `opening`.
    """

    def __init__(self, process: Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout
        self._program = str(process.args)
        self.opening = self._line()

    def ask(self, *numbers: int) -> Any:
        """Have it do something, and return what it says about that, from JSON."""
        self.begin(*numbers)
        return self.told()

    def begin(self, *numbers: int) -> None:
        """Have it do something; `told` waits until it has."""
        self._requests.write(" ".join(map(str, numbers)).encode() + b"\n")
        self._requests.flush()

    def told(self) -> Any:
        """Return what it says next, from JSON."""
        return json.loads(self._line())

    def _line(self) -> str:
        line = self._answers.readline()
        if not line:
            raise Unanswered(f"a program has given up: {self._program}")
        return line.decode().strip()


@contextmanager
def open_helper(
    program: str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    profiler: Profiler | None = None,
) -> Iterator[Helper]:
    """Run a module of `simulators.latency` for as long as the block lasts, once it has begun."""
    command = [sys.executable, "-m", f"simulators.latency.{program}", *map(str, arguments)]
    with running(command, env={**os.environ, **(env or {})}) as process:
        helper = Helper(process)
        with (profiler or Profiler()).watching(process):
            yield helper

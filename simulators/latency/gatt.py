"""From a cue to the end of its write to a device, over each simulated radio, beside bleak alone."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from subprocess import Popen
from time import sleep

from simulators.latency.benches import Batch, Run
from simulators.latency.engine import Engine, Timed
from simulators.latency.figures import Comparison
from simulators.latency.line import Unanswered
from simulators.latency.venue import Hall, Server, open_server, running

HALL = Hall(rows=4, seats_per_row=6)
SEATS = len(HALL.seats)

PAUSE_S = 0.005
"""After each write: devices tell what has become of their sprays, and that is to be heard too."""

PAUSED, PAUSED_BY_ALL = 4, 100
"""With its pause, a cue takes as long as so many without, and one to all seats as long as these."""


class Bleak:
    """bleak with nothing around it, in a process of its own."""

    def __init__(self, process: Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout

    def wait_until_connected(self) -> None:
        """Wait until it can write to all devices."""
        self._line()

    def write(self, devices: int) -> float:
        """Write to so many devices at once; return how long that took, in milliseconds."""
        self._requests.write(b"%d\n" % devices)
        self._requests.flush()
        began, ended = zip(*json.loads(self._line()), strict=True)
        return float(max(ended) - min(began)) * 1000

    def _line(self) -> bytes:
        line = self._answers.readline()
        if not line:
            raise Unanswered("bleak alone has given up")
        return line


def gatt(run: Run) -> Iterator[Comparison]:
    """From sending a cue to one seat, and to all, to the end of the write, beside bleak alone."""
    run.tell("gatt Bumble: the devices are being connected")
    with _open_bleak("bumble") as bleak, open_server(HALL.plan(), "--simulate-ble") as server:
        yield from _compare(run, "Bumble", server, bleak)
    if sys.platform != "linux" or shutil.which("dbus-daemon") is None:
        run.remark("gatt BlueZ is left out: it takes Linux and dbus-daemon (package dbus)")
        return
    run.tell("gatt BlueZ: the devices are being connected")
    with _open_bluez() as (ours, devices), _open_bluez() as (theirs, _):
        env = {**ours, "SCENTRT_BLUETOOTH__LINKS": str(SEATS)}
        with (
            _open_bleak("bluez", theirs) as bleak,
            open_server(HALL.plan(devices), env=env) as server,
        ):
            yield from _compare(run, "BlueZ", server, bleak)


def _compare(run: Run, radio: str, server: Server, bleak: Bleak) -> Iterator[Comparison]:
    server.wait_until_nothing_is_amiss()
    bleak.wait_until_connected()
    with closing(Engine(server.gateway, HALL.seats)) as engine:

        def writes(samples: int, devices: int = 1) -> Batch:
            took_ms = []
            for _ in range(samples):
                took_ms.append(bleak.write(devices))
                sleep(PAUSE_S * devices)
            return {"bleak alone": took_ms}

        def time(cues: list[bytes], seats: int) -> list[Timed]:
            offset = engine.find_offset()
            timed = []
            for cue in cues:
                timed.append(engine.time(cue, offset, seats))
                sleep(PAUSE_S * seats)
            return timed

        def cues(samples: int) -> Batch:
            timed = time(engine.cues(samples, report=True), 1)
            return {
                "cue to write": [each.to_driver_ms for each in timed],
                "received to write": [each.inside_ms for each in timed],
            }

        def cues_to_all(samples: int) -> Batch:
            timed = time(engine.cues(samples, report=True, to={"all": True}), SEATS)
            return {
                "cue to last": [each.to_driver_ms for each in timed],
                "received to last": [each.inside_ms for each in timed],
                "first to last": [each.spread_ms for each in timed],
            }

        some, few = (max(1, run.samples // paused) for paused in (PAUSED, PAUSED_BY_ALL))
        yield run.compare(f"gatt {radio}", "ms", some, writes, cues)
        yield run.compare(
            f"{SEATS} {radio}",
            "ms",
            few,
            lambda samples: writes(samples, SEATS),
            cues_to_all,
        )


@contextmanager
def _open_bleak(radio: str, env: Mapping[str, str] | None = None) -> Iterator[Bleak]:
    command = [sys.executable, "-m", "simulators.latency.bleak_alone", radio, str(SEATS)]
    with running(command, env={**os.environ, **(env or {})}) as process:
        yield Bleak(process)


@contextmanager
def _open_bluez() -> Iterator[tuple[Mapping[str, str], list[str]]]:
    """Run a simulated BlueZ; give what leads to it, and its devices."""
    # It needs dbus-fast, which is there on Linux only.
    from simulators.ble.bluez.process import simulated_bluez  # noqa: PLC0415

    with simulated_bluez("--devices", str(SEATS), "--links", str(SEATS)) as bluez:
        yield bluez.environment, [device.serial for device in bluez.devices]

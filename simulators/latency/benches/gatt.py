"""From a cue to the end of its write to a device, over each simulated radio, beside bleak alone."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from time import sleep
from typing import NamedTuple

from simulators.latency.engine import Engine, Timed
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Line
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.venue import Hall, Helper, Server, open_helper, open_reference, open_server

HALL = Hall(rows=4, seats_per_row=6)
SEATS = len(HALL.seats)

PAUSE_S = 0.005
"""After each write: devices tell what has become of their sprays, and that is to be heard too."""

TO_ONE, TO_ALL = 0.1, 0.005
"""With its pause, a cue takes as long as ten without, and one to all seats as long as 200."""

GOALS = (Goal("x p50", most=1.3),)


def gatt(run: Run) -> Iterator[Comparison]:
    """One engine sends a cue to one seat, and to all 24, until all are written to their devices."""
    with (
        open_reference() as reference,
        closing(Line(reference + "/echo")) as echo,
        open_helper("inside.crossing") as crossing,
    ):
        way = _Way(echo, crossing)
        yield from _over_bumble(run, way)
        yield from _over_bluez(run, way)


class _Way(NamedTuple):
    """What a cue has to come through to get to bleak at all, each part alone."""

    echo: Line
    crossing: Helper


def _over_bumble(run: Run, way: _Way) -> Iterator[Comparison]:
    run.tell("gatt Bumble: the devices are being connected")
    with (
        _open_bleak("bumble") as bleak,
        open_server(run.profiler, HALL.plan(), "--simulate-ble") as server,
    ):
        yield from _compare(run, "Bumble", server, bleak, way)


def _over_bluez(run: Run, way: _Way) -> Iterator[Comparison]:
    if sys.platform != "linux" or shutil.which("dbus-daemon") is None:
        run.remark("gatt BlueZ is left out: it takes Linux and dbus-daemon (package dbus)")
        return
    run.tell("gatt BlueZ: the devices are being connected")
    with _open_bluez() as (ours, devices), _open_bluez() as (theirs, _):
        env = {**ours, "SCENTRT_BLUETOOTH__LINKS": str(SEATS)}
        with (
            _open_bleak("bluez", theirs) as bleak,
            open_server(run.profiler, HALL.plan(devices), env=env) as server,
        ):
            yield from _compare(run, "BlueZ", server, bleak, way)


def _compare(
    run: Run, radio: str, server: Server, bleak: Helper, way: _Way
) -> Iterator[Comparison]:
    server.wait_until_nothing_is_amiss()
    with closing(Engine(server.gateway, HALL.seats)) as engine:

        def parts(samples: int, devices: int) -> Batch:
            """Measure each alone, and say what a cue would take that costs nothing beyond them."""
            writes, echoes, crossings = [], [], []
            for sending in engine.cues(samples):
                began, ended = zip(*bleak.ask(devices), strict=True)
                writes.append((max(ended) - min(began)) * 1000)
                sleep(PAUSE_S * devices)
                sent, came, _ = way.echo.exchange(sending)
                echoes.append((came - sent) * 1000)
                sleep(PAUSE_S)
                crossings.append(way.crossing.ask())
                sleep(PAUSE_S)
            return {
                "bleak alone": writes,
                "echo alone": echoes,
                "crossing alone": crossings,
                "the three": [sum(each) for each in zip(writes, echoes, crossings, strict=True)],
            }

        def time(cues: list[bytes], seats: int) -> list[Timed]:
            offset = engine.find_offset()
            timed = []
            for cue in cues:
                timed.append(engine.time(cue, offset, seats))
                sleep(PAUSE_S * seats)
            return timed

        def cues() -> Batch:
            timed = time(engine.cues(run.part(TO_ONE), report=True), 1)
            return {
                "cue to write": [each.to_driver_ms for each in timed],
                "received to write": [each.inside_ms for each in timed],
            }

        def cues_to_all() -> Batch:
            sending = engine.cues(run.part(TO_ALL), report=True, to={"all": True})
            timed = time(sending, SEATS)
            return {
                "cue to last": [each.to_driver_ms for each in timed],
                "received to last": [each.inside_ms for each in timed],
                "first to last": [each.spread_ms for each in timed],
            }

        one, all_of_them = f"gatt {radio}", f"{SEATS} {radio}"
        rounds = run.rounds_of(one, lambda: parts(run.part(TO_ONE), 1), cues)
        yield rounds.compare(
            one,
            Figure("bleak alone", "ms"),
            Figure("echo alone", "ms"),
            Figure("crossing alone", "ms"),
            Figure("cue to write", "ms", GOALS),
            Figure("received to write", "ms"),
        )
        yield rounds.compare(one, Figure("the three", "ms"), Figure("cue to write", "ms", GOALS))
        rounds = run.rounds_of(all_of_them, lambda: parts(run.part(TO_ALL), SEATS), cues_to_all)
        yield rounds.compare(
            all_of_them,
            Figure("bleak alone", "ms"),
            Figure("cue to last", "ms", GOALS),
            Figure("received to last", "ms"),
            Figure("first to last", "ms"),
        )
        yield rounds.compare(
            all_of_them, Figure("the three", "ms"), Figure("cue to last", "ms", GOALS)
        )


@contextmanager
def _open_bleak(radio: str, env: Mapping[str, str] | None = None) -> Iterator[Helper]:
    with open_helper("bleak_alone", radio, SEATS, env=env) as bleak:
        yield bleak


@contextmanager
def _open_bluez() -> Iterator[tuple[Mapping[str, str], list[str]]]:
    """Run a simulated BlueZ; give what leads to it, and its devices."""
    # It needs dbus-fast, which is there on Linux only.
    from simulators.ble.bluez.process import simulated_bluez  # noqa: PLC0415

    with simulated_bluez("--devices", str(SEATS), "--links", str(SEATS)) as bluez:
        yield bluez.environment, [device.serial for device in bluez.devices]

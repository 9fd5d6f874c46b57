"""Look at everything, side by side and never for long: what hangs is a finding too."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_facts import database_holder, read_database
from scentrt.adapters.dispensers.bluetooth import BluetoothUnreachable, read_bluetooth
from scentrt.checkup.bluetooth import judge_adapters, judge_bluetooth, judge_links
from scentrt.checkup.findings import Finding, green, many, red, yellow
from scentrt.checkup.machine import (
    measure_naps,
    read_clock,
    scentrt_answers,
    try_address,
)
from scentrt.checkup.premises import (
    judge_addresses,
    judge_clock,
    judge_database,
    judge_doses,
    judge_naps,
    judge_theatre,
)
from scentrt.config import (
    CONFIG_FILE,
    BluetoothSection,
    Settings,
    load_settings,
    parse_address,
)
from scentrt.domain.layout import TheatrePlan
from scentrt.errors import ConfigError
from scentrt.secrets_file import load_keys, secrets_beside
from scentrt.theatre_file import load_theatre

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LOADED_WITHIN_S, LOOKED_WITHIN_S = 1.0, 2.0
"""For the settings, and for all the rest after them. With the naps and the start of the program,
five seconds are enough whatever hangs."""

AGAIN = "run this again, and tell the makers of ScentRT if it stays so"
FREE_IT = "see whether the disk and the network answer, and run this again"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, in the words of `scentrt serve`."""

    theatre: Path | None = None
    db: str | None = None
    gateway: str | None = None
    http: str | None = None


@dataclass(frozen=True, slots=True)
class _Configuration:
    """What could be loaded, and what is to be said about it."""

    findings: tuple[Finding, ...] = ()
    settings: Settings | None = None
    plan: TheatrePlan | None = None

    @property
    def needs_bluetooth(self) -> bool:
        """Whether any seat does; where that is not known, one may."""
        if self.settings is None or self.plan is None:
            return True
        simulated = self.settings.simulate or self.settings.simulate_ble
        return not simulated and any(zone.devices for zone in self.plan.zones)


async def examine(options: Options) -> list[Finding]:
    """Look at the machine as a server with these options would find it, and say what is amiss.

    Raises nothing, changes nothing, and takes less than four seconds.
    """
    known = _Configuration()

    async def load() -> Sequence[Finding]:
        nonlocal known
        known = await _in_thread(_load, options)
        return known.findings

    findings = await _look("settings", LOADED_WITHIN_S, load)
    looks: dict[str, Callable[[], Awaitable[Sequence[Finding]]]] = {
        "bluetooth": partial(_look_at_bluetooth, known)
    }
    if known.settings is not None and known.plan is not None:
        path = known.settings.bluetooth.secrets or secrets_beside(known.settings.theatre)
        if path is not None:
            looks["secrets"] = partial(_in_thread, _look_at_secrets, path, known.plan)
    if known.settings is not None:
        looks["addresses"] = partial(_in_thread, _look_at_addresses, known.settings)
        looks["database"] = partial(_in_thread, _look_at_database, known.settings)
    looks["clock"] = partial(_in_thread, _look_at_clock)

    seen: dict[str, Sequence[Finding]] = {}

    async def look(subject: str) -> None:
        seen[subject] = await _look(subject, LOOKED_WITHIN_S, looks[subject])

    async with trio.open_nursery() as nursery:
        for subject in looks:
            nursery.start_soon(look, subject)
    # Alone, since until here it is we who keep the machine busy.
    naps = judge_naps(await measure_naps())
    return [*findings, *(finding for subject in looks for finding in seen[subject]), naps]


async def _look(
    subject: str, within_s: float, async_fn: Callable[[], Awaitable[Sequence[Finding]]]
) -> Sequence[Finding]:
    """Return what `async_fn` finds, or why it found nothing; raises nothing."""
    with trio.move_on_after(within_s):
        try:
            return await async_fn()
        except ConfigError as error:
            return [red(subject, "cannot be used", str(error))]
        except Exception as error:  # noqa: BLE001 (its finding tells it, in place of a traceback)
            found = f"could not be looked at: {type(error).__name__}: {error}"
            return [red(subject, found, AGAIN)]
    return [red(subject, "could not be looked at in time: something hangs", FREE_IT)]


async def _in_thread(sync_fn: Callable[[*Ts], T], *args: *Ts) -> T:
    # Whatever hangs in there is left behind: it ends with the process.
    return await trio.to_thread.run_sync(sync_fn, *args, abandon_on_cancel=True)


def _load(options: Options) -> _Configuration:
    given: dict[str, Any] = {
        "theatre": options.theatre,
        "db": options.db,
        "gateway": options.gateway and parse_address("--gateway", options.gateway),
        "http": options.http and parse_address("--http", options.http),
    }
    with _warnings_of("scentrt.config") as warnings:
        settings = load_settings({name: it for name, it in given.items() if it is not None})
    findings = [yellow("settings", warning, "mend or unset it") for warning in warnings]
    try:
        settings.check()
        file = CONFIG_FILE if CONFIG_FILE.exists() else f"no {CONFIG_FILE}"
        findings.append(
            green("settings", f"{file} in {Path.cwd()}; environment and options count too")
        )
    except ConfigError as error:
        findings.append(red("settings", "cannot be used", str(error)))
    try:
        plan = load_theatre(settings.theatre)
    except ConfigError as error:
        findings.append(red("theatre", "cannot be used", str(error)))
        return _Configuration(tuple(findings), settings)
    simulated = settings.simulate or settings.simulate_ble
    findings.append(judge_theatre(plan, simulate=simulated))
    fix = "until then, no device is used there"
    findings += [yellow("theatre", remark, fix) for remark in plan.remarks]
    return _Configuration(tuple(findings), settings, plan)


@contextmanager
def _warnings_of(logger: str) -> Iterator[list[str]]:
    """Collect what a logger says, instead of having it said in the midst of the findings."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    log = logging.getLogger(logger)
    log.addHandler(listener)
    try:
        yield said
    finally:
        log.removeHandler(listener)


async def _look_at_bluetooth(known: _Configuration) -> list[Finding]:
    needed = known.needs_bluetooth
    wanted = BluetoothSection() if known.settings is None else known.settings.bluetooth
    async with AioThread(grace_s=0.1) as aio:
        try:
            facts = await aio.call(read_bluetooth)
        except BluetoothUnreachable as error:
            return [judge_bluetooth(error, needed=needed)]
    findings = [judge_bluetooth(facts, needed=needed)]
    if facts.adapters is not None:
        findings += judge_adapters(facts.adapters, wanted.adapters, needed=needed)
    if known.plan is not None and needed:
        findings.append(judge_links(known.plan, facts.adapters, wanted.adapters, wanted.links))
    return findings


def _look_at_secrets(path: Path, plan: TheatrePlan) -> list[Finding]:
    with _warnings_of("scentrt.secrets_file") as warnings:
        keys = load_keys(path, plan)
    findings = [yellow("secrets", warning, "correct or remove it") for warning in warnings]
    seats = [seat for zone in plan.zones for seat in zone.devices]
    found = f"{path}: {len(keys)} of {many(len(seats), 'device')} have a key"
    return [*findings, green("secrets", found)]


def _look_at_addresses(settings: Settings) -> list[Finding]:
    gateway = try_address("gateway", settings.gateway.host, settings.gateway.port)
    http = try_address("http", settings.http.host, settings.http.port)
    there, holder = False, ""
    if gateway.in_use or http.in_use:
        there = scentrt_answers(http.host, http.port)
        holder = database_holder(settings.db)
    return judge_addresses(gateway, http, scentrt_there=there, holder=holder)


def _look_at_database(settings: Settings) -> list[Finding]:
    facts = read_database(settings.db)
    findings = judge_database(facts)
    if facts is not None and facts.contents is not None:
        findings.append(judge_doses(facts.contents, time.time()))
    return findings


def _look_at_clock() -> list[Finding]:
    return [judge_clock(read_clock())]

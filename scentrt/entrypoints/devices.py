"""`scentrt devices`: find dispensers on Bluetooth LE, give them to the seats, and try them.

A puff goes through the zone as every cue does, so that also somebody who plays with this command
keeps to the dose limits: through the server that runs, or else through one that this command
starts for as long as it takes.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
import typer
from rich.console import Console
from rich.table import Table

from scentrt.domain.cues import Cue, CueKey, OwnerId, Scent, SeatId, ZoneId
from scentrt.domain.decisions import Refused
from scentrt.domain.layout import DevicePlan, TheatrePlan, ZonePlan
from scentrt.domain.seats import Skip
from scentrt.errors import ConfigError, DatabaseInUse

if TYPE_CHECKING:
    from scentrt.bootstrap import Found, Server
    from scentrt.config import Settings

devices = typer.Typer(help="Find dispensers on Bluetooth LE, give them to the seats, and try them.")
out, err = Console(), Console(stderr=True)

PUFF_MS, PUFF_INTENSITY = 500.0, 0.5
"""Enough to be smelled at the seat, and of no account against its dose limits."""

CONNECTED_WITHIN_S = 15.0
REPORTED_WITHIN_S = 3.0

TEST_ZONE, TEST_SCENT = ZoneId("found"), Scent("slot 0")

WHY_NOT = {
    Skip.OPTED_OUT: "who sits there wants no scents, or not that one",
    Skip.OFFLINE: "its device cannot be reached",
    Skip.STUCK: "a slot of its device does not close",
    Skip.NO_SUCH_SCENT: "it does not carry that scent",
    Skip.CLEARING: "another scent has not cleared there yet; wait two seconds",
    Skip.BUSY: "that slot sprays already",
    Skip.EMPTY: "its vial is empty",
    Skip.DOSE_LIMIT: "the seat has had as much as it may have; wait a minute",
}

NOT_TAKEN = "its device did not take the command"

TheatreFile = Annotated[
    Path | None, typer.Option("--theatre", metavar="FILE", help="The theatre in TOML.")
]
Listening = Annotated[
    float, typer.Option("--for", metavar="SECONDS", min=0.5, max=300, help="How long to listen.")
]


@devices.command("scan")
def scan_air(theatre: TheatreFile = None, seconds: Listening = 5.0) -> None:
    """List the dispensers that advertise, the nearest first, and whose seat each is.

    One that is connected to a running server does not advertise, and is not listed.
    """
    settings, plan = _load(theatre)
    found = _listen(settings, seconds)
    seat_of = {device.name.casefold(): seat for seat, device in _assigned(plan).items()}
    table = Table(title=f"{len(found)} dispensers heard", title_justify="left")
    for column in ("serial", "address", "dBm", "seat"):
        table.add_column(column)
    for each in found:
        seat = next((seat_of[name] for name in _names(each) if name in seat_of), "-")
        table.add_row(each.serial or "-", each.address, str(each.rssi), seat)
    out.print(table)
    heard = {name for each in found for name in _names(each)}
    silent = [s for s, device in _assigned(plan).items() if device.name.casefold() not in heard]
    if silent:
        err.print(
            f"Not heard: the devices of {', '.join(silent)}. Each is off, out of reach, or "
            "connected to a server that runs."
        )


@devices.command()
def puff(
    seat: Annotated[str, typer.Argument(help="The seat, like A-1-3.")],
    scent: Annotated[str, typer.Argument(help="One of the scents of its zone.")],
    theatre: TheatreFile = None,
    db: Annotated[
        str | None, typer.Option(metavar="URL", help="The database, as for serve.")
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where the server listens that runs, if one does."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="SCENTRT_TOKEN", help="An operator's token, where it needs one."),
    ] = None,
) -> None:
    """Let one seat puff for half a second, to see that its device is the right one.

    Goes through the server that runs; without one, connects to the device by itself.
    """
    from scentrt.config import parse_address

    settings, plan = _load(
        theatre, db=db, gateway=None if gateway is None else parse_address("--gateway", gateway)
    )
    zone = _zone_of(plan, SeatId(seat))
    if scent not in zone.slots:
        raise ConfigError("SCENT", f"zone {zone.id} carries {', '.join(zone.slots)}, not {scent!r}")
    problem = trio.run(_puff_at, settings, plan, zone, SeatId(seat), Scent(scent), token)
    if problem:
        err.print(f"[red]{seat} did not puff:[/red] {problem}")
        raise typer.Exit(1)
    out.print(f"{seat} puffed {scent}: {PUFF_MS / 1000:g} s at {PUFF_INTENSITY:.0%}.")


@devices.command()
def assign(theatre: TheatreFile = None, seconds: Listening = 5.0) -> None:
    """Give dispensers to the seats: each puffs in turn, and you say at which seat it was.

    Every answer is written to the theatre file at once, and nothing else there is changed. Stop the
    server first, if one runs.
    """
    settings, plan = _load(theatre)
    if settings.theatre is None:
        raise ConfigError("--theatre", "name the theatre file that the devices are written to")
    known = {device.name.casefold() for device in _assigned(plan).values()}
    found = [each for each in _listen(settings, seconds) if known.isdisjoint(_names(each))]
    if not found:
        err.print("No dispenser was heard that has no seat yet.")
        raise typer.Exit(1)
    out.print(
        f"{len(found)} dispensers have no seat yet. Each puffs in turn: answer with the seat, or "
        "[b]again[/b], [b]skip[/b] or [b]quit[/b]."
    )
    try:
        trio.run(_Walk(settings, settings.theatre, found).through)
    except* KeyboardInterrupt:
        raise typer.Abort from None


# What the commands have in common


def _load(theatre: Path | None, **options: object) -> tuple["Settings", TheatrePlan]:
    from scentrt.config import load_settings
    from scentrt.theatre_file import load_theatre

    given = {"theatre": theatre, **options}
    settings = load_settings({name: value for name, value in given.items() if value is not None})
    plan = load_theatre(settings.theatre)
    for remark in plan.remarks:
        err.print(f"[yellow]{remark}[/yellow]", soft_wrap=True)
    return settings, plan


def _listen(settings: "Settings", seconds: float) -> Sequence["Found"]:
    from scentrt.bootstrap import scan

    with err.status(f"Listening for {seconds:g} s …"):
        return trio.run(scan, settings, seconds)


def _assigned(plan: TheatrePlan) -> dict[SeatId, DevicePlan]:
    return {seat: device for zone in plan.zones for seat, device in zone.devices.items()}


def _names(found: "Found") -> set[str]:
    return {name.casefold() for name in (found.address, found.serial) if name}


def _zone_of(plan: TheatrePlan, seat: SeatId) -> ZonePlan:
    for zone in plan.zones:
        if seat in zone.seat_ids():
            return zone
    last = plan.zones[-1].seat_ids()[-1]
    raise ConfigError("SEAT", f"there is no seat {seat!r}; the last one is {last!r}")


@asynccontextmanager
async def _at_one_seat(
    settings: "Settings", plan: TheatrePlan, zone: ZonePlan, seat: SeatId
) -> AsyncIterator["Server"]:
    """Run a server of one's own that is connected to the device of one seat.

    Raises `ConfigError` where there is none, or where it cannot be reached, and `DatabaseInUse`.
    """
    from scentrt.bootstrap import open_server
    from scentrt.config import GatewaySection, HttpSection

    if seat not in zone.devices:
        raise ConfigError(
            f"{settings.theatre or 'the theatre'}: devices",
            f"{seat!r} has no device; give it one with 'scentrt devices assign'",
        )
    own = settings.model_copy(
        update={
            "simulate": False,
            "simulate_ble": False,
            "gateway": GatewaySection(port=0),
            "http": HttpSection(port=0),
        }
    )
    async with open_server(own, plan=plan, only={seat}) as server:
        linked = server.linked[zone.id]
        with trio.move_on_after(CONNECTED_WITHIN_S) as waiting:
            await linked.wait_online(seat)
        if waiting.cancelled_caught:
            late = f"did not connect within {CONNECTED_WITHIN_S:g} s"
            problem = linked.states[seat].problem or late
            raise ConfigError(zone.devices[seat].where or seat, problem)
        yield server


async def _spray(server: "Server", zone: ZonePlan, seat: SeatId, scent: Scent) -> str:
    """Have a seat puff; return why it did not, or nothing."""
    from scentrt.actors.messages import TakeCue
    from scentrt.actors.reports import Report

    reported, reports = trio.Event(), list[Report]()

    def hear(report: Report) -> None:
        reports.append(report)
        reported.set()

    now_ms = server.clock.now_ms()
    cue = Cue(
        key=CueKey(OwnerId("devices"), f"puff at {now_ms}"),
        scent=scent,
        intensity=PUFF_INTENSITY,
        duration_ms=PUFF_MS,
        due_ms=now_ms,
        ttl_ms=REPORTED_WITHIN_S * 1000,
        asked_ms=now_ms,
        seats=(seat,),
    )
    verdict = await server.house.zone(zone.id).ask(TakeCue(cue, hear))
    if isinstance(verdict, Refused):
        return f"the house is in {verdict.reason}; an operator has to release it"
    if not verdict.targets:
        return WHY_NOT[next(iter(verdict.skipped))]
    with trio.move_on_after(REPORTED_WITHIN_S):
        await reported.wait()
    if not any(report.written for report in reports):
        return NOT_TAKEN
    await trio.sleep(PUFF_MS / 1000)  # ending would stop it
    return ""


# Puffing


async def _puff_at(
    settings: "Settings",
    plan: TheatrePlan,
    zone: ZonePlan,
    seat: SeatId,
    scent: Scent,
    token: str | None,
) -> str:
    """Have a seat puff through whichever server there is; return why it did not, or nothing."""
    from scentrt.entrypoints.desk import Desk

    try:
        async with _at_one_seat(settings, plan, zone, seat) as server:
            return await _spray(server, zone, seat, scent)
    except DatabaseInUse as in_use:
        desk = Desk(settings.gateway.host, settings.gateway.port, token)
        accepted, report = await desk.puff(seat, scent, PUFF_INTENSITY, PUFF_MS, in_use)
    if not accepted.targets:
        return WHY_NOT[next(iter(accepted.skipped), Skip.OFFLINE)]
    if report is None or not report.written:
        return NOT_TAKEN
    await trio.sleep(PUFF_MS / 1000)  # so that "puffed" is true when it is printed
    return ""


# Assigning


class _Walk:
    """A walk through a theatre: device by device, somebody says at which seat it puffed."""

    def __init__(self, settings: "Settings", theatre: Path, found: Sequence["Found"]) -> None:
        self._theatre = theatre
        self._found = found
        # The seats of this walk are the devices: at which seats they are is not known yet.
        names = [each.serial or each.address for each in found]
        zone = ZonePlan(TEST_ZONE, 1, len(names), (TEST_SCENT,))
        named = zip(zone.seat_ids(), map(DevicePlan, names), strict=True)
        self._zone = ZonePlan(TEST_ZONE, 1, len(names), (TEST_SCENT,), devices=dict(named))
        self._settings = settings

    async def through(self) -> None:
        """Walk until all devices have had their turn, or nobody wants to go on."""
        assigned = 0
        # The secrets name the devices that have seats already, too.
        logging.getLogger("scentrt.secrets_file").setLevel(logging.ERROR)
        for test_seat, device in self._zone.devices.items():
            answer = await self._try(test_seat, device.name)
            if answer == "quit":
                break
            if answer != "skip":
                self._write(SeatId(answer), device.name)
                assigned += 1
        left = len(_free_seats(self._theatre))
        out.print(f"{assigned} assigned; {left} seats have no device yet.")

    async def _try(self, test_seat: SeatId, name: str) -> str:
        """Let a device puff until somebody says where; return the seat, `skip` or `quit`.

        Raises `DatabaseInUse` where a server runs: the doses and the panic are its own.
        """
        plan = TheatrePlan("assign", (self._zone,))
        try:
            async with _at_one_seat(self._settings, plan, self._zone, test_seat) as server:
                while True:
                    problem = await _spray(server, self._zone, test_seat, TEST_SCENT)
                    out.print(
                        f"[b]{name}[/b] "
                        + (f"did not puff: {problem}" if problem else "has puffed.")
                    )
                    answer = await self._ask()
                    if answer != "again":
                        return answer
        except DatabaseInUse:
            raise
        except ConfigError as error:
            err.print(f"[yellow]{name} is left out:[/yellow] {error.problem}")
            return "skip"

    async def _ask(self) -> str:
        free = _free_seats(self._theatre)
        while True:
            ask = partial(typer.prompt, "At which seat?", default=free[0] if free else "skip")
            try:
                said = await trio.to_thread.run_sync(ask, abandon_on_cancel=True)
            except typer.Abort:  # nobody is there any more
                return "quit"
            answer = str(said).strip()
            if answer in free or answer in {"again", "skip", "quit"}:
                return answer
            err.print(f"{answer!r} is no seat without a device.")

    def _write(self, seat: SeatId, name: str) -> None:
        from scentrt.theatre_file import give_device

        give_device(self._theatre, seat, name)
        out.print(f"{seat} = {name}, written to {self._theatre}")


def _free_seats(theatre: Path) -> list[SeatId]:
    from scentrt.theatre_file import load_theatre

    plan = load_theatre(theatre)
    taken = _assigned(plan)
    return [seat for zone in plan.zones for seat in zone.seat_ids() if seat not in taken]

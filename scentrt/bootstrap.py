"""Build the server out of its parts, and start and stop them in order. Nobody else wires."""

import gc
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from scentrt.actors.actor import Ref, supervise
from scentrt.actors.clock import ServerClock
from scentrt.actors.house import Guests, House, Latch
from scentrt.actors.ledger import Ledger
from scentrt.actors.messages import Connected, Stuck, Suspect
from scentrt.actors.zone import ZoneActor
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.dispensers.ble import BleDispensers, assign_adapters
from scentrt.adapters.dispensers.goggles import GogglesDispensers
from scentrt.adapters.dispensers.link import Adapter, LinkState
from scentrt.adapters.dispensers.memory import MemoryDispensers, NoDispensers
from scentrt.adapters.dispensers.radio import Backend, BleakRadio, Found, LinkFailed
from scentrt.adapters.dispensers.radio import scan as scan_with
from scentrt.adapters.theatre_store import open_store
from scentrt.config import Settings, is_loopback
from scentrt.domain.cues import GOGGLES_ZONE, SeatId, ZoneId
from scentrt.domain.doses import Limits
from scentrt.domain.layout import DevicePlan, TheatrePlan, ZonePlan
from scentrt.domain.seats import Seat
from scentrt.entrypoints.gateway.doorkeeper import Doorkeeper, TokenEntry
from scentrt.entrypoints.gateway.fanout import FanOut
from scentrt.entrypoints.gateway.server import Gateway, GatewaySettings
from scentrt.entrypoints.gateway.session import Sessions
from scentrt.entrypoints.http import Readiness, create_app, serve_http
from scentrt.errors import ActorStopped, ConfigError, StoreUnavailable
from scentrt.secrets_file import load_keys, secrets_beside
from scentrt.theatre_file import load_theatre

__all__ = ["Airwaves", "Found", "Server", "open_server", "scan", "tune_process"]

log = logging.getLogger(__name__)

BACKLOG = 1_024
"""Connections that the kernel may hold for us, when a whole audience comes in at once."""

FAR_BEHIND_MS = 5_000.0
"""A ledger that lags so much is worth a remark: a crash now would cost what it still holds."""

LOW_BATTERY_PERCENT = 15


class Airwaves(Protocol):
    """A simulated radio; its calls are made in the asyncio thread."""

    async def open(
        self, devices: Sequence[str], keys: Mapping[str, bytes]
    ) -> tuple[type[BaseBleakClient], type[BaseBleakScanner]]:
        """Put devices of these names on the air, and return bleak's ways to reach them."""

    async def aclose(self) -> None:
        """Switch everything off."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    `memory` holds the dispensers in memory, and `linked` those on Bluetooth LE, of each zone that
    has them.
    """

    gateway_url: str
    http_url: str
    house: House
    clock: ServerClock
    gateway: Gateway
    fanout: FanOut
    actors: Mapping[ZoneId, ZoneActor]
    memory: Mapping[ZoneId, MemoryDispensers]
    linked: Mapping[ZoneId, BleDispensers]


@asynccontextmanager
async def open_server(
    settings: Settings,
    *,
    plan: TheatrePlan | None = None,
    airwaves: Airwaves | None = None,
    only: Collection[SeatId] | None = None,
) -> AsyncIterator[Server]:
    """Run a server for as long as the block lasts, and then stop it in good order.

    Stopping takes nobody in any more and stops every spray, lets the devices go, meanwhile the
    clients, and writes what is to be written, in this order. Raises `ConfigError` where a setting
    cannot be used.

    Args:
      plan: the theatre, instead of that in the settings.
      airwaves: a radio instead of the platform's, on which every seat is given a device.
      only: the seats whose devices are connected to; all, if left out.
    """
    settings.check()
    plan = plan or load_theatre(settings.theatre)
    for remark in plan.remarks:
        log.warning("%s", remark)
    if airwaves is not None:
        plan = _with_a_device_at_every_seat(plan)
    keys = _load_keys(settings, plan)
    if only is not None:
        plan = _with_devices_at(plan, only)
    clock = ServerClock()
    with (
        _listening("gateway", settings.gateway.host, settings.gateway.port) as gateway_socket,
        _listening("http", settings.http.host, settings.http.port) as http_socket,
    ):
        async with (
            AioThread() as aio,
            open_store(aio, settings.db) as store,
            _open_air(aio, airwaves, plan, keys) as backend,
        ):
            ledger = Ledger(store)
            latch = Latch(await _read_latch(ledger, settings.db))
            sessions, guests, headsets = Sessions(), Guests(), GogglesDispensers(clock)
            fanout = FanOut(sessions.tell_level)
            limits = settings.limits.of_seats()
            refs: dict[ZoneId, Ref] = {}
            memory, linked = {}, {}
            if settings.simulate:
                memory = {zone.id: MemoryDispensers(clock) for zone in plan.zones}
            else:
                adapters = _assign_adapters(settings, plan, backend)
                for zone in plan.zones:
                    if zone.devices:
                        names = {seat: device.name for seat, device in zone.devices.items()}
                        on_change = partial(_on_change, refs, zone)
                        linked[zone.id] = BleDispensers(
                            aio, clock, names, adapters, keys, on_change
                        )
            new_actor = partial(
                ZoneActor,
                limits=limits,
                ledger=ledger,
                listeners=fanout,
                clock=clock,
                latch=latch,
            )
            actors = {GOGGLES_ZONE: new_actor(GOGGLES_ZONE, guests.seats, dispensers=headsets)}
            for zone in plan.zones:
                actors[zone.id] = new_actor(
                    zone.id,
                    partial(zone.seats, online=settings.simulate)
                    if zone.id not in linked
                    else partial(_linked_seats, zone, linked[zone.id], clock),
                    dispensers=memory.get(zone.id) or linked.get(zone.id) or NoDispensers(clock),
                )
            refs.update((id, actor.ref) for id, actor in actors.items())
            house = House(plan, refs, guests, ledger, clock, latch)
            tokens = [TokenEntry(token.role, token.sha256) for token in settings.tokens]
            doorkeeper = Doorkeeper(tokens, settings.gateway.origins)
            gateway = Gateway(
                house,
                sessions,
                fanout,
                headsets,
                clock,
                doorkeeper,
                limits,
                GatewaySettings(settings.gateway.max_silence_ms, settings.limits.messages_per_s),
            )
            app = create_app(
                partial(_readiness, plan, actors, linked, ledger, fanout),
                None
                if is_loopback(settings.http.host)
                else partial(doorkeeper.lets_in, "operator"),
            )
            stopping = trio.Event()
            # What is inside ends first. The doors are outside the links, so that a client who
            # lingers keeps no device waiting.
            async with trio.open_nursery() as writing:
                await writing.start(ledger.run)
                async with trio.open_nursery() as doors, trio.open_nursery() as linking:
                    for dispensers in linked.values():
                        linking.start_soon(dispensers.run)
                    async with trio.open_nursery() as rooms:
                        rooms.start_soon(fanout.run)
                        for actor in actors.values():
                            rooms.start_soon(supervise, actor.mailbox, actor.run)
                        for actor in actors.values():
                            await actor.opened.wait()
                        await doors.start(gateway.run, [_listener(gateway_socket)])
                        doors.start_soon(serve_http, app, http_socket, stopping)
                        try:
                            yield Server(
                                gateway_url=_url("ws", gateway_socket) + "/",
                                http_url=_url("http", http_socket),
                                house=house,
                                clock=clock,
                                gateway=gateway,
                                fanout=fanout,
                                actors=actors,
                                memory=memory,
                                linked=linked,
                            )
                        finally:
                            gateway.stop()
                            stopping.set()
                            rooms.cancel_scope.cancel()
                    linking.cancel_scope.cancel()
                writing.cancel_scope.cancel()


async def scan(settings: Settings, seconds: float) -> list[Found]:
    """Listen with all adapters of the settings; return the dispensers heard, the strongest first.

    Raises `ConfigError` where an adapter does not work.
    """
    heard: dict[str, Found] = {}

    async def listen(name: str | None) -> None:
        try:
            found = await aio.call(scan_with, name, None, seconds)
        except LinkFailed as error:
            raise ConfigError("bluetooth", str(error)) from error
        for each in found:
            known = heard.setdefault(each.address, each)
            if each.rssi > known.rssi:
                heard[each.address] = each

    async with AioThread() as aio, trio.open_nursery() as nursery:
        for name in settings.bluetooth.adapters or (None,):
            nursery.start_soon(listen, name)
    return sorted(heard.values(), key=lambda each: -each.rssi)


def tune_process() -> None:
    """Prepare the interpreter for low latency; once, when everything has been built.

    What is there by then lives as long as the process, so the garbage collector need not look at
    it again; and the database's thread gives the interpreter back within half a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    sys.setswitchinterval(0.0005)


async def _read_latch(ledger: Ledger, db: str) -> bool:
    try:
        return await ledger.panicked()
    except StoreUnavailable as error:
        raise ConfigError(db, f"cannot be read: {error}") from error


def _load_keys(settings: Settings, plan: TheatrePlan) -> Mapping[SeatId, bytes]:
    path = settings.bluetooth.secrets or secrets_beside(settings.theatre)
    return {} if path is None or settings.simulate else load_keys(path, plan)


def _with_a_device_at_every_seat(plan: TheatrePlan) -> TheatrePlan:
    zones = []
    for zone in plan.zones:
        made_up = {seat: DevicePlan(f"SIM-{seat}") for seat in zone.seat_ids()}
        zones.append(replace(zone, devices={**made_up, **zone.devices}))
    return replace(plan, zones=tuple(zones))


def _with_devices_at(plan: TheatrePlan, seats: Collection[SeatId]) -> TheatrePlan:
    zones = []
    for zone in plan.zones:
        kept = {seat: device for seat, device in zone.devices.items() if seat in seats}
        zones.append(replace(zone, devices=kept))
    return replace(plan, zones=tuple(zones))


@asynccontextmanager
async def _open_air(
    aio: AioThread,
    airwaves: Airwaves | None,
    plan: TheatrePlan,
    keys: Mapping[SeatId, bytes],
) -> AsyncIterator[Backend | None]:
    """Switch a simulated radio on for as long as the block lasts, where there is to be one."""
    if airwaves is None:
        yield None
        return
    names = {seat: device.name for zone in plan.zones for seat, device in zone.devices.items()}
    keys_by_name = {names[seat]: key for seat, key in keys.items()}
    try:
        yield Backend(*await aio.call(airwaves.open, list(names.values()), keys_by_name))
    finally:
        with trio.CancelScope(shield=True):
            await aio.call(airwaves.aclose)


def _assign_adapters(
    settings: Settings, plan: TheatrePlan, backend: Backend | None
) -> Mapping[SeatId, Adapter]:
    """Return the adapter of each device; a simulated radio holds any number of links."""
    seats = [seat for zone in plan.zones for seat in zone.devices]
    wanted = settings.bluetooth
    if backend is not None:
        adapters = [Adapter("simulated", BleakRadio(backend=backend), len(seats))]
    else:
        adapters = [
            Adapter(name or "default", BleakRadio(name, pair=wanted.pair), wanted.links)
            for name in wanted.adapters or (None,)
        ]
    return assign_adapters(f"{settings.theatre or 'theatre'}: devices", seats, adapters)


def _linked_seats(
    zone: ZonePlan, dispensers: BleDispensers, clock: ServerClock, limits: Limits
) -> list[Seat]:
    """Return a zone's seats as their devices are at this moment."""
    seats = zone.seats(limits, online=False)
    for seat in seats:
        state = dispensers.states.get(seat.id, LinkState())
        seat.online = state.online
        if state.stuck:
            seat.stick(clock.now_ms())
    return seats


def _on_change(
    refs: Mapping[ZoneId, Ref], zone: ZonePlan, seat: SeatId, former: LinkState, state: LinkState
) -> None:
    """Tell a zone what has become of a device, and the log what somebody has to see to."""
    with suppress(ActorStopped):
        if state.online != former.online:
            refs[zone.id].tell(Connected(seat, online=state.online), urgent=True)
        if state.stuck != former.stuck:
            refs[zone.id].tell(Stuck(seat, stuck=state.stuck), urgent=True)
        if state.impostor and not former.impostor:
            refs[zone.id].tell(Suspect(seat), urgent=True)
    where = f"{seat} ({zone.devices[seat].where or zone.devices[seat].name})"
    if state.problem is not None and state.problem != former.problem:
        log.warning("%s: %s", where, state.problem)
    if state.stuck and not former.stuck:
        log.error("%s: a slot does not close, although it was told to three times", where)
    if _is_low(state) and not _is_low(former):
        log.warning("%s: the battery is down to %s %%", where, state.battery_percent)


def _is_low(state: LinkState) -> bool:
    return state.battery_percent is not None and state.battery_percent <= LOW_BATTERY_PERCENT


def _readiness(
    plan: TheatrePlan,
    actors: Mapping[ZoneId, ZoneActor],
    linked: Mapping[ZoneId, BleDispensers],
    ledger: Ledger,
    fanout: FanOut,
) -> Readiness:
    closed = [f"zone {id} is not open" for id, actor in actors.items() if not actor.is_open]
    health = ledger.health
    remarks = list(plan.remarks)
    for id, dispensers in linked.items():
        remarks += _device_remarks(id, dispensers.states)
    if health.failing or health.behind_ms > FAR_BEHIND_MS:
        remarks.append(f"the database is {health.behind_ms / 1000:.1f} s behind")
    if health.lost_rows:
        remarks.append(f"{health.lost_rows} dose rows were given up")
    if fanout.dropped:
        remarks.append(f"{fanout.dropped} events were dropped")
    return Readiness(tuple(closed), tuple(remarks))


def _device_remarks(zone: ZoneId, states: Mapping[SeatId, LinkState]) -> Iterator[str]:
    for what, seats in {
        "cannot be reached": [seat for seat, state in states.items() if not state.online],
        "does not close": [seat for seat, state in states.items() if state.stuck],
        "cannot prove who it is": [seat for seat, state in states.items() if state.impostor],
        "has a low battery": [seat for seat, state in states.items() if _is_low(state)],
    }.items():
        if seats:
            more = f" and {len(seats) - 3} more" if len(seats) > 3 else ""
            yield f"zone {zone}: the dispenser of {', '.join(seats[:3])}{more} {what}"


@contextmanager
def _listening(field: str, host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter where a host cannot be a name
        raise ConfigError(
            field,
            f"cannot listen on {host}:{port}: {_reason(error)}; choose another with "
            f"--{field} HOST:PORT",
        ) from error
    with listening:
        yield listening


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "that is no name of a host"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)  # socket.create_server says the address a second time


def _listener(listening: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))


def _url(scheme: str, listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

"""The devices on Bluetooth LE: their radio, their keys, and who hears of what becomes of them."""

import logging
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

import trio
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from scentrt.actors.actor import Ref
from scentrt.actors.clock import ServerClock
from scentrt.actors.messages import Connected, SlotsHeard, Stuck, Suspect
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.dispensers.adapter import Adapter, assign_adapters
from scentrt.adapters.dispensers.ble import BleDispensers
from scentrt.adapters.dispensers.claims import Claims
from scentrt.adapters.dispensers.link_state import LinkState
from scentrt.adapters.dispensers.radio import Backend, BleakRadio, Found, LinkFailed
from scentrt.adapters.dispensers.radio import scan as scan_with
from scentrt.config import Settings
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.doses import Limits
from scentrt.domain.layout import DevicePlan, TheatrePlan, ZonePlan
from scentrt.domain.seats import Seat
from scentrt.errors import ActorStopped, Busy, ConfigError
from scentrt.secrets_file import load_keys, secrets_beside

log = logging.getLogger(__name__)

LOW_BATTERY_PERCENT = 15


class Airwaves(Protocol):
    """A simulated radio; its calls are made in the asyncio thread."""

    async def open(
        self, devices: Sequence[str], keys: Mapping[str, bytes]
    ) -> tuple[type[BaseBleakClient], type[BaseBleakScanner]]:
        """Put devices of these names on the air, and return bleak's ways to reach them."""

    async def aclose(self) -> None:
        """Switch everything off."""


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


def load_keys_of(settings: Settings, plan: TheatrePlan) -> Mapping[SeatId, bytes]:
    """Return the keys of the devices, from the file of secrets if there is one."""
    path = settings.bluetooth.secrets or secrets_beside(settings.theatre)
    return {} if path is None or settings.simulate else load_keys(path, plan)


def with_a_device_at_every_seat(plan: TheatrePlan) -> TheatrePlan:
    """Return a theatre in which seats without a device are given one that is made up."""
    zones = []
    for zone in plan.zones:
        made_up = {seat: DevicePlan(f"SIM-{seat}") for seat in zone.seat_ids()}
        zones.append(replace(zone, devices={**made_up, **zone.devices}))
    return replace(plan, zones=tuple(zones))


def with_devices_at(plan: TheatrePlan, seats: Collection[SeatId]) -> TheatrePlan:
    """Return a theatre in which only these seats have devices."""
    zones = []
    for zone in plan.zones:
        kept = {seat: device for seat, device in zone.devices.items() if seat in seats}
        zones.append(replace(zone, devices=kept))
    return replace(plan, zones=tuple(zones))


@asynccontextmanager
async def open_air(
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


def assign_all(
    settings: Settings, plan: TheatrePlan, backend: Backend | None, *, takes_over: bool
) -> Mapping[SeatId, Adapter]:
    """Return the adapter of each device; a simulated radio holds any number of links.

    With `takes_over`, devices that are connected already are taken from whatever holds them.
    """
    seats = [seat for zone in plan.zones for seat in zone.devices]
    wanted, claims = settings.bluetooth, Claims()
    if backend is not None:
        adapters = [Adapter("simulated", BleakRadio(backend=backend, claims=claims), len(seats))]
    else:
        adapters = [
            Adapter(
                name or "default",
                BleakRadio(name, pair=wanted.pair, claims=claims, takes_over=takes_over),
                wanted.links,
            )
            for name in wanted.adapters or (None,)
        ]
    return assign_adapters(f"{settings.theatre or 'theatre'}: devices", seats, adapters)


def link_zone(
    zone: ZonePlan,
    aio: AioThread,
    clock: ServerClock,
    adapters: Mapping[SeatId, Adapter],
    keys: Mapping[SeatId, bytes],
    refs: Mapping[ZoneId, Ref],
) -> BleDispensers:
    """Return the dispensers of a zone; what becomes of them is told to its actor, in `refs`."""
    names = {seat: device.name for seat, device in zone.devices.items()}
    return BleDispensers(aio, clock, names, adapters, keys, partial(_on_change, refs, zone))


def linked_seats(
    zone: ZonePlan, dispensers: BleDispensers, clock: ServerClock, limits: Limits
) -> list[Seat]:
    """Return a zone's seats as their devices are at this moment."""
    seats = zone.seats(limits, online=False)
    for seat in seats:
        state = dispensers.states.get(seat.id, LinkState())
        seat.online = state.online
        left_us = state.left_us()
        for slot in seat.slots:
            slot.reported_us = left_us.get(slot.number)
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
        if state.readings != former.readings:
            with suppress(Busy):  # the next reading will do
                heard = SlotsHeard(seat, state.left_us())
                refs[zone.id].tell_newest((SlotsHeard, seat), heard)
    where = f"{seat} ({zone.devices[seat].where or zone.devices[seat].name})"
    if state.problem is not None and state.problem != former.problem:
        log.warning("%s: %s", where, state.problem)
    if state.stuck and not former.stuck:
        log.error("%s: a slot does not close, although it was told to three times", where)
    if state.fault and not former.fault:
        log.error("%s: the dispenser reports a fault", where)
    if _is_low(state) and not _is_low(former):
        log.warning("%s: the battery is down to %s %%", where, state.battery_percent)


def _is_low(state: LinkState) -> bool:
    return state.battery_percent is not None and state.battery_percent <= LOW_BATTERY_PERCENT


def device_remarks(zone: ZoneId, states: Mapping[SeatId, LinkState]) -> Iterator[str]:
    """Say what somebody should see to, with the seats."""
    for what, seats in {
        "cannot be reached": [seat for seat, state in states.items() if not state.online],
        "does not close": [seat for seat, state in states.items() if state.stuck],
        "reports a fault": [seat for seat, state in states.items() if state.fault],
        "cannot prove who it is": [seat for seat, state in states.items() if state.impostor],
        "has a low battery": [seat for seat, state in states.items() if _is_low(state)],
    }.items():
        if seats:
            more = f" and {len(seats) - 3} more" if len(seats) > 3 else ""
            yield f"zone {zone}: the dispenser of {', '.join(seats[:3])}{more} {what}"

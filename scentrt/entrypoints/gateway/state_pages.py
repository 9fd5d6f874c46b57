"""The state of a zone, as it is told: page by page, each of which fits in a frame."""

import textwrap
from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec import UNSET, json

from scentrt.actors.house import House
from scentrt.actors.messages import Contents, DeviceState, Page
from scentrt.domain.cues import ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.refills import Refill
from scentrt.domain.seat_settings import ORDINARY
from scentrt.domain.seats import Seat, Slot
from scentrt.domain.vials import ScentSupply
from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.wire import BYTES_PER_CHARACTER, ROOM

T = TypeVar("T", say.SupplyState, say.RefillState)

SEAT_BYTES: Final = 60
SLOT_BYTES: Final = 150
DEVICE_BYTES: Final = 400
"""What a seat, a slot and a device take in a page of state, but for names and problem."""

LONGEST_PROBLEM: Final = 200
"""Characters of a device's problem that are told; the server's log has the whole."""

LONGEST_STOCK_NAME: Final = 100
"""Characters of a SKU or a batch that are told: sixteen slots of one seat have to fit in a page."""

MOST_BESIDE: Final = 4_000
"""Bytes of a page for supplies, and as many for refills. Names as people give them fit for sixteen
scents; of what does not fit is told how much it is."""

LEFT_OUT_BYTES: Final = len(',"supply_left_out":99,"refills_left_out":99')


def seats_per_page(house: House, zone: ZoneId, contents: Contents) -> int:
    """Return how many seats fit in each page of a zone, beside its supplies and refills."""
    scents = house.scents_of(zone)
    in_vials = (kind.scent for kind in house.plan.catalogue.kinds)
    scent = max(map(len, (*scents, *in_vials))) if scents else hear.LONGEST_SCENT
    seat = len(zone) + len("-200-200") if scents else hear.LONGEST_NAME
    vial = 2 * min(contents.vial_name, LONGEST_STOCK_NAME)
    slot_bytes = SLOT_BYTES + BYTES_PER_CHARACTER * (scent + vial)
    seat_bytes = SEAT_BYTES + BYTES_PER_CHARACTER * seat + max(1, contents.slots) * slot_bytes
    if house.has_devices(zone):
        seat_bytes += DEVICE_BYTES + BYTES_PER_CHARACTER * LONGEST_PROBLEM
    beside = len(json.encode((_supply(contents.supply), _refills(contents.refills))))
    return (ROOM - beside - LEFT_OUT_BYTES) // seat_bytes


def page_of_state(message: hear.ReadState, page: Page, now_ms: float) -> say.State:
    """Return a page as it is told: supplies and refills on the first, where there are any."""
    supply: tuple[say.SupplyState, ...] = ()
    refills: tuple[say.RefillState, ...] = ()
    supply_left_out = refills_left_out = 0
    if message.page == 1:
        supply, refills = _supply(page.supply), _refills(page.refills)
        supply_left_out = len(page.supply) - len(supply)
        refills_left_out = len(page.refills) - len(refills)
    return say.State(
        re=message.id,
        zone=message.zone,
        revision=page.revision,
        page=message.page,
        pages=page.pages,
        supply=supply or UNSET,
        supply_left_out=supply_left_out or UNSET,
        refills=refills or UNSET,
        refills_left_out=refills_left_out or UNSET,
        seats=tuple(_seat(seat, device, now_ms) for seat, device in page.seats),
    )


def _supply(supply: Iterable[ScentSupply]) -> tuple[say.SupplyState, ...]:
    return _that_fit(
        say.SupplyState(
            scent=each.scent,
            remaining_s=each.left_us / US_PER_S,
            capacity_s=each.capacity_us / US_PER_S,
            vials=len(each.vials),
            low=each.low,
        )
        for each in supply
    )


def _refills(refills: Iterable[Refill]) -> tuple[say.RefillState, ...]:
    return _that_fit(
        say.RefillState(
            scent=each.scent,
            sku=_short(each.sku),
            orderid=each.orderid,
            qty=each.qty,
            status=each.status,
            batchref=None if each.batchref is None else _short(each.batchref),
            eta=None if each.eta is None else each.eta.isoformat(),
        )
        for each in refills
    )


def _that_fit(items: Iterable[T]) -> tuple[T, ...]:
    fitting, room = [], MOST_BESIDE
    for item in items:
        room -= len(json.encode(item)) + len(",")
        if room >= 0:
            fitting.append(item)
    return tuple(fitting)


def _seat(seat: Seat, device: DeviceState | None, now_ms: float) -> say.SeatState:
    # What shows everything has no slots to tell of, whatever it has shown so far.
    slots = () if seat.anything else seat.slots
    settings = seat.settings
    return say.SeatState(
        seat=seat.id,
        online=seat.online,
        opted_out=seat.opted_out,
        stuck=True if seat.stuck else UNSET,
        averse_to=tuple(sorted(settings.averse_to)) or UNSET,
        gain=UNSET if settings.gain == ORDINARY.gain else settings.gain,
        delay_ms=settings.delay_ms or UNSET,
        device=UNSET if device is None else _device(device),
        slots=tuple(_slot(slot, now_ms) for slot in slots),
    )


def _slot(slot: Slot, now_ms: float) -> say.SlotState:
    vial, left_us = slot.vial, slot.left_us(now_ms)
    return say.SlotState(
        slot=slot.number,
        scent=slot.scent,
        sku=None if vial is None or vial.sku is None else _short(vial.sku),
        batchref=None if vial is None or vial.batchref is None else _short(vial.batchref),
        remaining_s=None if left_us is None else left_us / US_PER_S,
        reported_s=UNSET if slot.reported_us is None else slot.reported_us / US_PER_S,
    )


def _device(device: DeviceState) -> say.DeviceState:
    problem = device.problem
    return say.DeviceState(
        latency_ms=device.latency_ms,
        battery_percent=device.battery_percent,
        firmware=device.firmware,
        expired=device.expired,
        problem=None if problem is None else textwrap.shorten(problem, LONGEST_PROBLEM),
    )


def _short(name: str) -> str:
    return name[:LONGEST_STOCK_NAME]

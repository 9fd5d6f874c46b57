"""The inventory: what is in the slots of a house's seats now, asked of its zones."""

from collections.abc import AsyncIterator

from scentrt.actors.house import House
from scentrt.actors.messages import Contents, Page, ReadPage
from scentrt.domain.cues import ZoneId
from scentrt.domain.forecast import SeatNow, SlotNow
from scentrt.domain.seats import Seat

SLOTS_PER_PAGE = 500
"""A page is looked up in a turn of the zone, which a cue must not wait for."""


async def take_inventory(house: House) -> list[SeatNow]:
    """Return all seats but goggles, each as it was when its zone was asked.

    Raises `ActorError` where a zone cannot answer.
    """
    return [seat for zone in house.plan.zones async for seat in _seats(house, zone.id)]


async def _seats(house: House, zone: ZoneId) -> AsyncIterator[SeatNow]:
    number, pages = 1, 1
    while number <= pages:
        page: Page = await house.zone(zone).ask(ReadPage(number, _seats_per_page))
        number, pages = number + 1, page.pages
        for seat, _ in page.seats:
            yield seat_now(zone, seat)


def _seats_per_page(contents: Contents) -> int:
    return SLOTS_PER_PAGE // max(1, contents.slots)


def seat_now(zone: ZoneId, seat: Seat) -> SeatNow:
    """Return what a forecast looks at in a seat."""
    slots = (
        SlotNow(slot.scent, None if slot.vial is None else slot.vial.left_us) for slot in seat.slots
    )
    settings = seat.settings
    return SeatNow(
        zone,
        seat.id,
        tuple(slots),
        opted_out=settings.opted_out,
        averse_to=settings.averse_to,
        gain=settings.gain,
    )

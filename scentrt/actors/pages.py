"""A zone as it is, told in pages."""

from collections.abc import Callable

from scentrt.actors.messages import Contents, DeviceState, Page
from scentrt.domain.cues import SeatId
from scentrt.domain.seats import Seat
from scentrt.domain.theatre import Zone


def page_of(
    zone: Zone,
    number: int,
    seats_per_page: Callable[[Contents], int],
    device: Callable[[SeatId], DeviceState | None],
    now_ms: float,
) -> Page:
    """Return a page of a zone's seats, the first of which is 1, each with its device if any."""
    rack = zone.rack
    supply = rack.watched(now_ms)
    refills = tuple(refill for _, refill in sorted(rack.refills.items()))
    widest = max(map(_width, zone.seats), default=1)
    size = max(1, seats_per_page(Contents(widest, rack.longest_name, supply, refills)))
    pages = max(1, -(-len(zone.seats) // size))
    seats = zone.seats[(number - 1) * size : number * size]
    known = tuple((seat, device(seat.id)) for seat in seats)
    return Page(zone.revision, pages, known, supply, refills)


def _width(seat: Seat) -> int:
    """Return how many slots take as much room in a page as a seat does, with what is set there."""
    settings = seat.settings
    return len(seat.slots) + 2 * len(settings.averse_to) + (settings.tuning is not None)

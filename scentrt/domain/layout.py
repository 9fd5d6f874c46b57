"""A theatre as it is laid out: its zones, their seats and what the slots there hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.doses import Limits
from scentrt.domain.names import Sku
from scentrt.domain.seat_settings import SeatSettings
from scentrt.domain.seats import Seat, Slot
from scentrt.domain.vials import Catalogue, VialKind

MARKET_SCENTS = ("sea-breeze", "nightclub", "jungle", "forest", "busy-street")
"""The five scents of the market research, which the house without a theatre file carries."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """A seat's dispenser: its address, or the serial number that it advertises.

    `where` is the place where that is written, for whoever has to mend it.
    """

    name: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """A block of seats that are equipped alike; row and seat numbers count from 1."""

    id: ZoneId
    rows: int
    seats_per_row: int
    slots: tuple[Scent, ...]
    opted_out: frozenset[SeatId] = frozenset()
    devices: Mapping[SeatId, DevicePlan] = field(default_factory=dict)

    def seat_ids(self) -> list[SeatId]:
        """Return the ids of the seats, row by row: `A-1-1`, `A-1-2` and so on."""
        return [
            SeatId(f"{self.id}-{row}-{number}")
            for row in range(1, self.rows + 1)
            for number in range(1, self.seats_per_row + 1)
        ]

    def seats(self, limits: Limits, *, online: bool) -> list[Seat]:
        """Return new seats, with a slot without a known vial for each scent."""
        seats = []
        for id in self.seat_ids():
            seat = Seat(id, [Slot(n, scent) for n, scent in enumerate(self.slots)], limits)
            seat.settle(SeatSettings(opted_out=id in self.opted_out))
            seat.online = online
            seats.append(seat)
        return seats


@dataclass(frozen=True, slots=True)
class TheatrePlan:
    """All zones of a house, in the order of the theatre file, and what vials it can take.

    `remarks` are sentences about devices that were left out; the rest of the house works.
    """

    name: str
    zones: tuple[ZonePlan, ...]
    remarks: tuple[str, ...] = ()
    catalogue: Catalogue = field(default_factory=Catalogue)


DEFAULT_THEATRE = TheatrePlan(
    name="ScentRT",
    zones=(ZonePlan(ZoneId("A"), 4, 6, tuple(Scent(name) for name in MARKET_SCENTS)),),
    catalogue=Catalogue(
        VialKind(Sku(name.replace("-", "").upper()), Scent(name)) for name in MARKET_SCENTS
    ),
)

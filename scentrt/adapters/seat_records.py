"""What the database knows of the seats of a house: what is in their slots, and their settings."""

from sqlalchemy import Connection, select

from scentrt.adapters.orm import is_new, seat_settings, vials
from scentrt.adapters.settings_rows import said_in
from scentrt.domain.forecast import SeatNow, SlotNow
from scentrt.domain.layout import TheatrePlan
from scentrt.domain.names import Sku
from scentrt.domain.seat_settings import UNSAID, SeatSettings
from scentrt.errors import ConfigError

_VIALS = select(vials.c.zone, vials.c.seat, vials.c.slot, vials.c.sku, vials.c.left_us).where(
    vials.c.whereabouts == "seated"
)


def read_seats(connection: Connection, plan: TheatrePlan, where: str) -> list[SeatNow]:
    """Return the seats of a house as they were when its server last wrote.

    `where` is what to call the database. Raises `ConfigError` where it is none of ours, or empty.
    """
    if is_new(connection, where):
        raise ConfigError(where, "is still empty; there is nothing to look at")
    standing = {
        (row.zone, row.seat, row.slot): SlotNow(plan.catalogue.scent(Sku(row.sku)), row.left_us)
        for row in connection.execute(_VIALS)
    }
    said = {(row.zone, row.seat): said_in(row) for row in connection.execute(select(seat_settings))}
    seats = []
    for zone in plan.zones:
        for id in zone.seat_ids():
            slots = tuple(
                standing.get((zone.id, id, number)) or SlotNow(scent, None)
                for number, scent in enumerate(zone.slots)
            )
            planned = SeatSettings(opted_out=id in zone.opted_out)
            now = said.get((zone.id, id), UNSAID).of(planned)
            seats.append(SeatNow(zone.id, id, slots, now.opted_out, now.averse_to, now.gain))
    return seats

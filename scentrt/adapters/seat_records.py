"""What the database knows of the seats of a house: what is in their slots, and their settings."""

import json

from sqlalchemy import Connection, select

from scentrt.adapters.orm import is_new, seat_settings, vials
from scentrt.domain.cues import Scent
from scentrt.domain.forecast import SeatNow, SlotNow
from scentrt.domain.layout import TheatrePlan
from scentrt.domain.names import Sku
from scentrt.errors import ConfigError

_VIALS = select(vials.c.zone, vials.c.seat, vials.c.slot, vials.c.sku, vials.c.left_us).where(
    vials.c.whereabouts == "seated"
)
_SETTINGS = select(
    seat_settings.c.zone,
    seat_settings.c.seat,
    seat_settings.c.opted_out,
    seat_settings.c.averse_to,
    seat_settings.c.gain,
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
    settings = {(row.zone, row.seat): row for row in connection.execute(_SETTINGS)}
    seats = []
    for zone in plan.zones:
        for id in zone.seat_ids():
            slots = tuple(
                standing.get((zone.id, id, number)) or SlotNow(scent, None)
                for number, scent in enumerate(zone.slots)
            )
            kept = settings.get((zone.id, id))
            if kept is None:
                seats.append(SeatNow(zone.id, id, slots, opted_out=id in zone.opted_out))
            else:
                averse_to = frozenset(Scent(scent) for scent in json.loads(kept.averse_to))
                seats.append(SeatNow(zone.id, id, slots, kept.opted_out, averse_to, gain=kept.gain))
    return seats

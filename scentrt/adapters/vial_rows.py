"""The vials that stand in the seats, and the cue journal, in SQL."""

from typing import Any

from msgspec.json import encode
from sqlalchemy import Row, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scentrt.actors.vial_book import ZoneVials
from scentrt.adapters.driver import Driver
from scentrt.adapters.orm import releases, vials
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.vials import Place, SeatedVial, VialId

_SEATED = vials.c.whereabouts == "seated"

_OF_ZONE = select(vials).where(vials.c.zone == bindparam("in_zone"), _SEATED).order_by(vials.c.id)

# A level written late must not change a vial that has gone elsewhere. Nor may one that cannot be
# spoil what else is in the transaction, so the constraint is kept here.
_PUT_LEVEL = (
    update(vials)
    .where(
        vials.c.id == bindparam("vial"),
        vials.c.zone == bindparam("in_zone"),
        vials.c.seat == bindparam("at_seat"),
        vials.c.slot == bindparam("in_slot"),
        _SEATED,
    )
    .values(left_us=func.max(0, func.min(bindparam("left"), vials.c.capacity_us)))
)
_ADD_RELEASE = insert(releases)


async def read_vials(connection: AsyncConnection, zone: ZoneId) -> tuple[SeatedVial, ...]:
    """Return the vials that stand in a zone."""
    return tuple(map(seated_vial, await connection.execute(_OF_ZONE, {"in_zone": zone})))


def seated_vial(row: Row[Any]) -> SeatedVial:
    """Return the vial of a row, in the place where it stands or stood last."""
    place = Place(ZoneId(row.zone), SeatId(row.seat), row.slot)
    return SeatedVial(
        VialId(row.id), place, Sku(row.sku), BatchRef(row.batchref), row.capacity_us, row.left_us
    )


def write_vials(driver: Driver, written: tuple[ZoneVials, ...]) -> None:
    """Store levels, each while its vial stands where it says, and add to the journal."""
    levels = [
        {
            "vial": level.id,
            "in_zone": level.place.zone,
            "at_seat": level.place.seat,
            "in_slot": level.place.slot,
            "left": level.left_us,
        }
        for of_zone in written
        for level in of_zone.levels
    ]
    lines = [
        {
            "at_ms": line.entry.at_ms,
            "zone": of_zone.zone,
            "session": line.session,
            "source": line.source,
            "cue": None if line.entry.cue is None else _json(line.entry.cue.id),
            "scent": line.entry.scent,
            "sku": line.entry.sku,
            "batchref": line.entry.batchref,
            "seats": None if line.entry.seats is None else _json(line.entry.seats),
            "dose_us": line.entry.dose_us,
            "ended": line.entry.ended,
        }
        for of_zone in written
        for line in of_zone.lines
    ]
    driver.write(_PUT_LEVEL, levels)
    driver.write(_ADD_RELEASE, lines)


def _json(value: object) -> str:
    return encode(value).decode()  # a tenth of what `json` takes for so little

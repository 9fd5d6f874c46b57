"""What was set for seats, as rows of the database: null where nobody has said anything."""

import json
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from scentrt.actors.settings_book import SettingsRow
from scentrt.adapters.orm import seat_settings
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange

_PUT = insert(seat_settings)
_PUT = _PUT.on_conflict_do_update(
    index_elements=seat_settings.primary_key,
    set_={
        column: _PUT.excluded[column] for column in ("opted_out", "averse_to", "gain", "delay_ms")
    },
)


async def read_settings(connection: AsyncConnection, zone: ZoneId) -> dict[SeatId, SeatChange]:
    """Return what was said for the seats of a zone."""
    rows = await connection.execute(select(seat_settings).where(seat_settings.c.zone == zone))
    return {SeatId(row.seat): said_in(row) for row in rows}


def write_settings(connection: Connection, rows: tuple[SettingsRow, ...]) -> None:
    """Store what was said for seats, in place of what was said before."""
    if rows:
        connection.execute(_PUT, [_row(*each) for each in rows])


def said_in(row: Row[Any]) -> SeatChange:
    """Return what a row of `seat_settings` says."""
    averse_to = None if row.averse_to is None else frozenset(map(Scent, json.loads(row.averse_to)))
    return SeatChange(row.opted_out, averse_to, row.gain, row.delay_ms)


def _row(zone: ZoneId, seat: SeatId, said: SeatChange) -> dict[str, object]:
    averse_to = None if said.averse_to is None else sorted(said.averse_to)
    return {
        "zone": zone,
        "seat": seat,
        "opted_out": said.opted_out,
        "averse_to": None if averse_to is None else json.dumps(averse_to, ensure_ascii=False),
        "gain": said.gain,
        "delay_ms": said.delay_ms,
    }

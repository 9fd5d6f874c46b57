"""What waits to be delivered, in the database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scentrt.actors.outbox import PutOff
from scentrt.adapters.orm import outbox, undelivered
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.service_layer.deliveries import Delivery

_FRESH = (
    select(outbox)
    .where(
        outbox.c.kind == bindparam("of_kind"),
        outbox.c.due_ms.is_(None),
        outbox.c.id > bindparam("after"),
    )
    .order_by(outbox.c.id)
    .limit(bindparam("limit"))
)
_PUT_OFF = select(func.count(), func.min(outbox.c.due_ms)).where(
    outbox.c.kind == bindparam("of_kind"), outbox.c.due_ms.is_not(None)
)
_DUE = (
    select(outbox)
    .where(outbox.c.kind == bindparam("of_kind"), outbox.c.due_ms <= bindparam("by_ms"))
    .order_by(outbox.c.due_ms)
    .limit(bindparam("limit"))
)
_STRIKE_OUT = delete(outbox).where(outbox.c.id == bindparam("of"))
_PUT_OFF_UNTIL = (
    update(outbox).where(outbox.c.id == bindparam("of")).values(due_ms=bindparam("until_ms"))
)
_KEPT = [outbox.c.id, outbox.c.event_id, outbox.c.kind, outbox.c.payload, outbox.c.created_ms]
_KEEP = insert(undelivered).from_select(
    [*(column.name for column in _KEPT), "given_up_ms", "reason"],
    select(*_KEPT, bindparam("at_ms"), bindparam("why")).where(outbox.c.id == bindparam("of")),
)


class SqlDeliveryStore:
    """The deliveries of a database; see `actors.outbox.DeliveryStore`."""

    def __init__(self, store: SqlTheatreStore) -> None:
        self._store = store

    async def fresh_deliveries(self, kind: str, after_id: int, limit: int) -> Sequence[Delivery]:
        """Return the first that were never put off, with a greater id than `after_id`, by id."""
        return await self._store.read(_read_fresh, kind, after_id, limit)

    async def put_off(self, kind: str) -> PutOff:
        """Return how many were put off."""
        return await self._store.read(_read_put_off, kind)

    async def due_deliveries(self, kind: str, by_ms: float, limit: int) -> Sequence[Delivery]:
        """Return the first that were put off until `by_ms` at most."""
        return await self._store.read(_read_due, kind, by_ms, limit)

    async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
        """Forget what has been delivered; those that are not there are no matter."""
        if ids:
            await self._store.write(_strike_out, ids)

    async def put_off_deliveries(self, until_ms: Mapping[int, float]) -> None:
        """Have deliveries wait, each until its time."""
        if until_ms:
            await self._store.write(_put_off, until_ms)

    async def give_up_deliveries(self, reasons: Mapping[int, str], at_ms: float) -> None:
        """Move deliveries to the table `undelivered`, with the reason."""
        if reasons:
            await self._store.write(_give_up, reasons, at_ms)


async def _read_fresh(
    connection: AsyncConnection, kind: str, after_id: int, limit: int
) -> tuple[Delivery, ...]:
    page = {"of_kind": kind, "after": after_id, "limit": limit}
    return tuple(_delivery(row) for row in await connection.execute(_FRESH, page))


async def _read_put_off(connection: AsyncConnection, kind: str) -> PutOff:
    number, next_due_ms = (await connection.execute(_PUT_OFF, {"of_kind": kind})).one()
    return PutOff(number, next_due_ms)


async def _read_due(
    connection: AsyncConnection, kind: str, by_ms: float, limit: int
) -> tuple[Delivery, ...]:
    page = {"of_kind": kind, "by_ms": by_ms, "limit": limit}
    return tuple(_delivery(row) for row in await connection.execute(_DUE, page))


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(row.id, row.event_id, row.kind, row.payload, row.created_ms)


def _strike_out(connection: Connection, ids: Sequence[int]) -> None:
    connection.execute(_STRIKE_OUT, [{"of": id} for id in ids])


def _put_off(connection: Connection, until_ms: Mapping[int, float]) -> None:
    rows = [{"of": id, "until_ms": until} for id, until in until_ms.items()]
    connection.execute(_PUT_OFF_UNTIL, rows)


def _give_up(connection: Connection, reasons: Mapping[int, str], at_ms: float) -> None:
    rows = [{"of": id, "why": why, "at_ms": at_ms} for id, why in reasons.items()]
    connection.execute(_KEEP, rows)
    _strike_out(connection, list(reasons))

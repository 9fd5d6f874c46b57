"""What zones have ordered by themselves, in SQL."""

import json

from sqlalchemy import Connection, and_, bindparam, case, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scentrt.adapters.orm import allocations, batches, order_lines, refills
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill, orderid_of
from scentrt.domain.vials import VialId

# Who cancels the order of a refill cancels the refill: it says so by having no line any more.
_STATUS = case(
    (
        and_(refills.c.status == RefillStatus.ORDERED.value, order_lines.c.sku.is_(None)),
        RefillStatus.CANCELLED.value,
    ),
    else_=refills.c.status,
)
_REFILLS = (
    select(
        refills.c.zone,
        refills.c.number,
        refills.c.scent,
        refills.c.sku,
        refills.c.orderid,
        refills.c.qty,
        refills.c.capacity_us,
        refills.c.vials,
        _STATUS.label("status"),
        allocations.c.batchref,
        batches.c.eta,
    )
    .select_from(
        refills.outerjoin(
            order_lines,
            and_(order_lines.c.sku == refills.c.sku, order_lines.c.orderid == refills.c.orderid),
        )
        .outerjoin(
            allocations,
            and_(allocations.c.sku == refills.c.sku, allocations.c.orderid == refills.c.orderid),
        )
        .outerjoin(batches, batches.c.reference == allocations.c.batchref)
    )
    .order_by(refills.c.orderid)
)
_HAS_LINE = select(
    exists().where(
        order_lines.c.sku == bindparam("of"),
        order_lines.c.orderid == bindparam("order"),
        order_lines.c.qty == bindparam("many"),
    )
)
_IS_TAKEN = select(exists().where(refills.c.orderid == bindparam("of")))


class SqlRefillStore:
    """The refills of a database; see `actors.refills.RefillStore`."""

    def __init__(self, store: SqlTheatreStore) -> None:
        self._store = store

    async def open_refills(self) -> tuple[ZoneRefill, ...]:
        """Return the refills for which there is a need, as they are by now."""
        return await self._store.read(read_refills, only_open=True)

    async def next_number(self, zone: ZoneId, sku: Sku) -> int:
        """Return the number of the next refill of a product in a zone, under which it is free."""
        return await self._store.read(_read_next_number, zone, sku)

    async def is_ordered(self, refill: Refill) -> bool:
        """Say whether there is a line of its order, on a batch or on back order."""
        return await self._store.read(_read_is_ordered, refill)

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        """Store a new refill, or one in the place of that of an order; on disk on return."""
        await self._store.write(_write, refill, instead_of)


async def read_refills(
    connection: AsyncConnection,
    *,
    zone: ZoneId | None = None,
    after: OrderId | None = None,
    limit: int | None = None,
    only_open: bool = False,
) -> tuple[ZoneRefill, ...]:
    """Return refills by the ids of their orders."""
    asked = _REFILLS.limit(limit)
    if zone is not None:
        asked = asked.where(refills.c.zone == zone)
    if after is not None:
        asked = asked.where(refills.c.orderid > after)
    if only_open:
        asked = asked.where(refills.c.status != RefillStatus.MET.value)
    return tuple(
        ZoneRefill(
            ZoneId(row.zone),
            row.number,
            Refill(
                Scent(row.scent),
                Sku(row.sku),
                OrderId(row.orderid),
                row.qty,
                RefillStatus(row.status),
                None if row.batchref is None else BatchRef(row.batchref),
                row.eta,
            ),
            row.capacity_us,
            frozenset(map(VialId, json.loads(row.vials))),
        )
        for row in await connection.execute(asked)
    )


async def _read_next_number(connection: AsyncConnection, zone: ZoneId, sku: Sku) -> int:
    last = select(func.max(refills.c.number)).where(refills.c.zone == zone, refills.c.sku == sku)
    number = 1 + (await connection.scalar(last) or 0)
    while await connection.scalar(_IS_TAKEN, {"of": orderid_of(zone, sku, number)}):
        number += 1
    return number


async def _read_is_ordered(connection: AsyncConnection, refill: Refill) -> bool:
    line = {"of": refill.sku, "order": refill.orderid, "many": refill.qty}
    return bool(await connection.scalar(_HAS_LINE, line))


def _write(connection: Connection, told: ZoneRefill, instead_of: OrderId | None) -> None:
    refill = told.refill
    row = {
        "orderid": refill.orderid,
        "zone": told.zone,
        "scent": refill.scent,
        "sku": refill.sku,
        "number": told.number,
        "qty": refill.qty,
        "capacity_us": told.capacity_us,
        "vials": json.dumps(sorted(told.vials)),
        "status": refill.status.value,
    }
    if instead_of is None:
        connection.execute(insert(refills).values(row))
    else:
        connection.execute(update(refills).where(refills.c.orderid == instead_of).values(row))

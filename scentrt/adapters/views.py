"""What may be looked at, in SQL."""

import json
from collections.abc import Sequence

from sqlalchemy import bindparam, exists, false, func, null, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scentrt.adapters.orm import (
    allocations,
    allocations_view,
    back_orders,
    batches,
    customers,
    order_lines,
    orders,
    products,
    releases,
    vials,
)
from scentrt.adapters.refill_rows import read_refills
from scentrt.adapters.repository import taken_vial
from scentrt.adapters.sql_reader import SqlReader
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.names import CustomerName, OrderId, Sku
from scentrt.domain.refills import ZoneRefill
from scentrt.domain.vials import TakenVial, VialId
from scentrt.service_layer.views import (
    NO_VIAL,
    AllocationView,
    BatchView,
    CustomerView,
    LineView,
    OrderView,
    ProductView,
    ReleaseView,
    VialFilter,
)

_ALLOCATIONS = (
    select(allocations_view.c.sku, allocations_view.c.batchref)
    .where(allocations_view.c.orderid == bindparam("order"))
    .order_by(allocations_view.c.id)
)
_ONE_PRODUCT = select(products.c.sku).where(products.c.sku == bindparam("of"))
_PRODUCTS = (
    select(products.c.sku)
    .where(products.c.sku > bindparam("after"))
    .order_by(products.c.sku)
    .limit(bindparam("limit"))
)
_BATCHES = (
    select(batches)
    .where(batches.c.sku.in_(bindparam("skus", expanding=True)))
    .order_by(batches.c.eta.nulls_first(), batches.c.id)
)
_WAITING = (
    select(back_orders.c.sku, func.count().label("lines"))
    .where(back_orders.c.sku.in_(bindparam("skus", expanding=True)))
    .group_by(back_orders.c.sku)
)
# Lines that were allocated one by one make an order too. `UNION` takes each once, and reads both
# tables by the id, no further than the page.
_PLACED = select(orders.c.orderid, orders.c.customer, orders.c.cancelled)
_OF_LINES = select(order_lines.c.orderid, null(), false()).where(
    ~exists().where(orders.c.orderid == order_lines.c.orderid)
)
_ONE_ORDER = _PLACED.where(orders.c.orderid == bindparam("order")).union(
    _OF_LINES.where(order_lines.c.orderid == bindparam("order"))
)
_ORDERS = (
    _PLACED.where(orders.c.orderid > bindparam("after"))
    .union(_OF_LINES.where(order_lines.c.orderid > bindparam("after")))
    .order_by("orderid")
    .limit(bindparam("limit"))
)
_LINES = (
    select(
        order_lines.c.orderid,
        order_lines.c.sku,
        order_lines.c.qty,
        allocations.c.batchref,
        batches.c.eta,
        back_orders.c.id,
    )
    .select_from(
        order_lines.outerjoin(allocations)
        .outerjoin(batches, batches.c.reference == allocations.c.batchref)
        .outerjoin(
            back_orders,
            (back_orders.c.sku == order_lines.c.sku)
            & (back_orders.c.orderid == order_lines.c.orderid),
        )
    )
    .where(order_lines.c.orderid.in_(bindparam("ids", expanding=True)))
    .order_by(order_lines.c.orderid, order_lines.c.sku)
)
_CUSTOMERS = (
    select(customers)
    .where(customers.c.name > bindparam("after"))
    .order_by(customers.c.name)
    .limit(bindparam("limit"))
)
_JOURNAL = (
    select(releases)
    .where(
        releases.c.id > bindparam("after"),
        or_(bindparam("only").is_(None), releases.c.zone == bindparam("only")),
    )
    .order_by(releases.c.id)
    .limit(bindparam("limit"))
)


class SqlAlchemyViews:
    """Look at the stock in a database; see `service_layer.views.Views`."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    async def allocations(self, orderid: OrderId) -> tuple[AllocationView, ...]:
        """Return where the lines of an order come from, in the order of their allocation."""
        return await self._reader.look(_allocations, orderid)

    async def product(self, sku: Sku) -> ProductView | None:
        """Return a product."""
        return next(iter(await self._reader.look(_product, sku)), None)

    async def products(self, after: Sku, limit: int) -> tuple[ProductView, ...]:
        """Return products."""
        return await self._reader.look(_products, after, limit)

    async def order(self, orderid: OrderId) -> OrderView | None:
        """Return an order."""
        return next(iter(await self._reader.look(_order, orderid)), None)

    async def orders(self, after: OrderId, limit: int) -> tuple[OrderView, ...]:
        """Return orders."""
        return await self._reader.look(_orders, after, limit)

    async def customers(self, after: CustomerName, limit: int) -> tuple[CustomerView, ...]:
        """Return customers."""
        return await self._reader.look(_customers, after, limit)

    async def journal(self, after: int, limit: int, zone: ZoneId | None) -> tuple[ReleaseView, ...]:
        """Return lines of the journal."""
        return await self._reader.look(_journal, after, limit, zone)

    async def vials(
        self, wanted: VialFilter, after: VialId = NO_VIAL, limit: int | None = None
    ) -> tuple[TakenVial, ...]:
        """Return vials."""
        return await self._reader.look(_vials, wanted, after, limit)

    async def refills(
        self, zone: ZoneId | None, after: OrderId, limit: int
    ) -> tuple[ZoneRefill, ...]:
        """Return what zones have ordered."""
        return await self._reader.look(read_refills, zone=zone, after=after, limit=limit)


async def _allocations(connection: AsyncConnection, orderid: OrderId) -> tuple[AllocationView, ...]:
    rows = await connection.execute(_ALLOCATIONS, {"order": orderid})
    return tuple(AllocationView(sku, batchref) for sku, batchref in rows)


async def _product(connection: AsyncConnection, sku: Sku) -> tuple[ProductView, ...]:
    return await _with_batches(
        connection, (await connection.scalars(_ONE_PRODUCT, {"of": sku})).all()
    )


async def _products(connection: AsyncConnection, after: Sku, limit: int) -> tuple[ProductView, ...]:
    page = {"after": after, "limit": limit}
    return await _with_batches(connection, (await connection.scalars(_PRODUCTS, page)).all())


async def _with_batches(
    connection: AsyncConnection, skus: Sequence[Sku]
) -> tuple[ProductView, ...]:
    found: dict[Sku, list[BatchView]] = {sku: [] for sku in skus}
    for row in await connection.execute(_BATCHES, {"skus": skus}):
        found[row.sku].append(
            BatchView(
                row.reference, row.sku, row.eta, row.purchased_quantity, row.allocated_quantity
            )
        )
    waiting = {row.sku: row.lines for row in await connection.execute(_WAITING, {"skus": skus})}
    return tuple(ProductView(sku, tuple(found[sku]), waiting.get(sku, 0)) for sku in skus)


async def _order(connection: AsyncConnection, orderid: OrderId) -> tuple[OrderView, ...]:
    rows = await connection.execute(_ONE_ORDER, {"order": orderid})
    return await _with_lines(connection, [tuple(row) for row in rows])


async def _orders(connection: AsyncConnection, after: OrderId, limit: int) -> tuple[OrderView, ...]:
    rows = await connection.execute(_ORDERS, {"after": after, "limit": limit})
    return await _with_lines(connection, [tuple(row) for row in rows])


async def _with_lines(
    connection: AsyncConnection, found: Sequence[tuple[OrderId, CustomerName | None, bool]]
) -> tuple[OrderView, ...]:
    lines: dict[OrderId, list[LineView]] = {orderid: [] for orderid, _, _ in found}
    for orderid, sku, qty, batchref, eta, waits in await connection.execute(
        _LINES, {"ids": list(lines)}
    ):
        lines[orderid].append(LineView(sku, qty, batchref, eta, waits is not None))
    return tuple(
        OrderView(orderid, customer, cancelled, tuple(lines[orderid]))
        for orderid, customer, cancelled in found
    )


async def _customers(
    connection: AsyncConnection, after: CustomerName, limit: int
) -> tuple[CustomerView, ...]:
    rows = await connection.execute(_CUSTOMERS, {"after": after, "limit": limit})
    return tuple(CustomerView(row.name, row.address, row.email) for row in rows)


async def _journal(
    connection: AsyncConnection, after: int, limit: int, zone: ZoneId | None
) -> tuple[ReleaseView, ...]:
    page = {"after": after, "limit": limit, "only": zone}
    return tuple(
        ReleaseView(
            row.id,
            row.at_ms,
            row.zone,
            row.session,
            row.source,
            None if row.cue is None else json.loads(row.cue),
            row.scent,
            row.sku,
            row.batchref,
            None if row.seats is None else tuple(map(SeatId, json.loads(row.seats))),
            row.dose_us,
            row.ended,
        )
        for row in await connection.execute(_JOURNAL, page)
    )


async def _vials(
    connection: AsyncConnection, wanted: VialFilter, after: VialId, limit: int | None
) -> tuple[TakenVial, ...]:
    asked = {
        vials.c.zone: wanted.zone,
        vials.c.seat: wanted.seat,
        vials.c.sku: wanted.sku,
        vials.c.orderid: wanted.orderid,
        vials.c.whereabouts: wanted.whereabouts,
    }
    only = [column == value for column, value in asked.items() if value is not None]
    page = select(vials).where(vials.c.id > after, *only).order_by(vials.c.id).limit(limit)
    return tuple(map(taken_vial, await connection.execute(page)))

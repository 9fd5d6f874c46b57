"""Products and orders as they are stored in SQL."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scentrt.adapters.orm import (
    allocations,
    back_orders,
    batches,
    customers,
    order_lines,
    orders,
    products,
    unsettled_lines,
    vials,
)
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.adapters.vial_rows import seated_vial
from scentrt.domain.commands import CancelLine, Command, FillBackOrders, FillLine
from scentrt.domain.model import Batch, OrderLine, Product
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.domain.taken_vials import TakenVials
from scentrt.domain.vials import TakenVial, VialId, Whereabouts
from scentrt.service_layer.changes import Unsettled
from scentrt.service_layer.repository import AbstractOrders, AbstractRepository

NAMES_PER_QUERY = 500
"""SQLite takes some thousands of values in a question."""

_KNOWN = select(products.c.sku).where(products.c.sku.in_(bindparam("skus", expanding=True)))
_VERSION = select(products.c.version_number).where(products.c.sku == bindparam("of"))
_BATCHES = select(batches).where(batches.c.sku == bindparam("of")).order_by(batches.c.id)
_ALLOCATED = (
    select(order_lines.c.orderid, order_lines.c.qty, allocations.c.batchref)
    .select_from(order_lines.join(allocations))
    .where(order_lines.c.sku == bindparam("of"))
    .order_by(allocations.c.id)
)
_WAITING = (
    select(order_lines.c.orderid, order_lines.c.qty)
    .select_from(back_orders.join(order_lines))
    .where(back_orders.c.sku == bindparam("of"))
    .order_by(back_orders.c.id)
)
_VIALS = (
    select(vials)
    .where(vials.c.sku == bindparam("of"), vials.c.whereabouts != Whereabouts.DISCARDED.value)
    .order_by(vials.c.id)
)
_DISCARDED = (
    select(vials.c.orderid, func.count().label("gone"))
    .where(vials.c.sku == bindparam("of"), vials.c.whereabouts == Whereabouts.DISCARDED.value)
    .group_by(vials.c.orderid)
)
_GAVE_VIALS = select(vials.c.sku).where(
    vials.c.sku.in_(select(order_lines.c.sku).where(order_lines.c.orderid == bindparam("order"))),
    vials.c.orderid == bindparam("order"),
)
_NAMED_BATCHES = select(batches).where(batches.c.reference.in_(bindparam("refs", expanding=True)))
_SKU_OF = select(batches.c.sku).where(batches.c.reference == bindparam("ref"))
_ORDER = select(orders).where(orders.c.orderid == bindparam("order"))
_LINES = (
    select(order_lines.c.sku, order_lines.c.qty)
    .where(order_lines.c.orderid == bindparam("order"))
    .order_by(order_lines.c.sku)
)
_CUSTOMER = select(customers).where(customers.c.name == bindparam("of_name"))
_UNSETTLED = (
    select(order_lines.c.orderid, order_lines.c.qty, unsettled_lines.c.what)
    .select_from(unsettled_lines.join(order_lines))
    .where(unsettled_lines.c.sku == bindparam("of"))
    .order_by(unsettled_lines.c.id)
)
_UNSETTLED_SKUS = select(unsettled_lines.c.sku).distinct()

_MOST = (
    select(
        batches.c.sku,
        func.max(batches.c.purchased_quantity - batches.c.allocated_quantity).label("room"),
    )
    .group_by(batches.c.sku)
    .subquery()
)
# After an import, or an end in the middle of it: nobody else leaves stock where somebody waits.
_FILLABLE_SKUS = select(_MOST.c.sku).where(
    exists()
    .select_from(back_orders.join(order_lines))
    .where(back_orders.c.sku == _MOST.c.sku, order_lines.c.qty <= _MOST.c.room)
)
_WAITS = select(exists().where(back_orders.c.sku == bindparam("of")))


class SqlAlchemyRepository(AbstractRepository):
    """The products that one unit of work works with, from a database."""

    def __init__(self, store: SqlTheatreStore) -> None:
        super().__init__()
        self._store = store

    async def batches(self, refs: Collection[BatchRef]) -> dict[BatchRef, Batch]:
        """Return the batches of these references that are stored, by reference, without lines."""
        return await self._store.read(_read_batches, tuple(refs))

    async def new_vial_ids(self, count: int) -> Sequence[VialId]:
        """Return so many ids that no vial has had or is given by anybody else."""
        return [VialId(id) for id in await self._store.new_vial_ids(count)]

    async def _get(self, sku: Sku) -> Product | None:
        # Put together in the asyncio thread, since a product may have a hundred thousand lines.
        return await self._store.read(_read_product, sku)

    async def _sku_of(self, ref: BatchRef) -> Sku | None:
        return await self._store.read(_read_sku_of, ref)


class SqlAlchemyOrders(AbstractOrders):
    """The orders and customers of a database."""

    def __init__(self, store: SqlTheatreStore) -> None:
        self._store = store

    async def get(self, orderid: OrderId) -> Order | None:
        """Return an order as it was placed."""
        return await self._store.read(_read_order, orderid)

    async def lines(self, orderid: OrderId) -> tuple[OrderLine, ...]:
        """Return the lines that an order has now, whoever asked for them."""
        return await self._store.read(_read_lines, orderid)

    async def gave_vials(self, orderid: OrderId) -> Sku | None:
        """Return of which product vials were taken for an order; None where of none."""
        return await self._store.read(_read_gave_vials, orderid)

    async def customer(self, name: CustomerName) -> Customer | None:
        """Return a customer."""
        return await self._store.read(_read_customer, name)

    async def unknown(self, skus: Iterable[Sku]) -> Sku | None:
        """Return the first of these SKUs of which there is no product."""
        return await self._store.read(_read_unknown, tuple(skus))

    async def unsettled(self, sku: Sku) -> tuple[Command[None], ...]:
        """Return what accepted orders and imports leave to be done to a product, in order."""
        return await self._store.read(_read_unsettled, sku)

    async def unsettled_skus(self) -> tuple[Sku, ...]:
        """Return the products to which something is left to be done."""
        return await self._store.read(_read_unsettled_skus)


async def _read_product(connection: AsyncConnection, sku: Sku) -> Product | None:
    of = {"of": sku}
    version = await connection.scalar(_VERSION, of)
    if version is None:
        return None
    found = {row.reference: _batch(row) for row in await connection.execute(_BATCHES, of)}
    for orderid, qty, batchref in await connection.execute(_ALLOCATED, of):
        found[batchref].allocate(OrderLine(orderid, sku, qty))
    waiting = [
        OrderLine(orderid, sku, qty) for orderid, qty in await connection.execute(_WAITING, of)
    ]
    taken = [taken_vial(row) for row in await connection.execute(_VIALS, of)]
    discarded = {row.orderid: row.gone for row in await connection.execute(_DISCARDED, of)}
    return Product(sku, found.values(), version, waiting, TakenVials(taken, discarded))


def taken_vial(row: Row[Any]) -> TakenVial:
    """Return what a row of the table of vials says."""
    return TakenVial(OrderId(row.orderid), seated_vial(row), Whereabouts(row.whereabouts))


def _batch(row: Row[Any]) -> Batch:
    batch = Batch(BatchRef(row.reference), Sku(row.sku), row.told_quantity, row.told_eta)
    batch.purchased_quantity, batch.eta = row.purchased_quantity, row.eta
    return batch


async def _read_batches(
    connection: AsyncConnection, refs: tuple[BatchRef, ...]
) -> dict[BatchRef, Batch]:
    found = {}
    for start in range(0, len(refs), NAMES_PER_QUERY):
        page = {"refs": refs[start : start + NAMES_PER_QUERY]}
        for row in await connection.execute(_NAMED_BATCHES, page):
            found[row.reference] = _batch(row)
    return found


async def _read_sku_of(connection: AsyncConnection, ref: BatchRef) -> Sku | None:
    sku = await connection.scalar(_SKU_OF, {"ref": ref})
    return None if sku is None else Sku(sku)


async def _read_order(connection: AsyncConnection, orderid: OrderId) -> Order | None:
    row = (await connection.execute(_ORDER, {"order": orderid})).one_or_none()
    if row is None:
        return None
    lines = tuple(OrderLine(orderid, Sku(sku), qty) for sku, qty in json.loads(row.lines))
    return Order(orderid, lines, row.customer, row.cancelled)


async def _read_lines(connection: AsyncConnection, orderid: OrderId) -> tuple[OrderLine, ...]:
    rows = await connection.execute(_LINES, {"order": orderid})
    return tuple(OrderLine(orderid, sku, qty) for sku, qty in rows)


async def _read_gave_vials(connection: AsyncConnection, orderid: OrderId) -> Sku | None:
    sku = await connection.scalar(_GAVE_VIALS, {"order": orderid})
    return None if sku is None else Sku(sku)


async def _read_customer(connection: AsyncConnection, name: CustomerName) -> Customer | None:
    row = (await connection.execute(_CUSTOMER, {"of_name": name})).one_or_none()
    return None if row is None else Customer(row.name, row.address, row.email)


async def _read_unknown(connection: AsyncConnection, skus: tuple[Sku, ...]) -> Sku | None:
    for start in range(0, len(skus), NAMES_PER_QUERY):
        page = skus[start : start + NAMES_PER_QUERY]
        known = set(await connection.scalars(_KNOWN, {"skus": page}))
        for sku in page:
            if sku not in known:
                return sku
    return None


async def _read_unsettled(connection: AsyncConnection, sku: Sku) -> tuple[Command[None], ...]:
    commands: list[Command[None]] = []
    if await connection.scalar(_WAITS, {"of": sku}):
        commands.append(FillBackOrders(sku))  # who waits already is served first
    for orderid, qty, what in await connection.execute(_UNSETTLED, {"of": sku}):
        line = OrderLine(orderid, sku, qty)
        commands.append(FillLine(line) if what == Unsettled.FILL else CancelLine(line))
    return tuple(commands)


async def _read_unsettled_skus(connection: AsyncConnection) -> tuple[Sku, ...]:
    unsettled = (await connection.scalars(_UNSETTLED_SKUS)).all()
    fillable = (await connection.scalars(_FILLABLE_SKUS)).all()
    return tuple(dict.fromkeys([*fillable, *unsettled]))

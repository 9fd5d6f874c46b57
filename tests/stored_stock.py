"""What a database of the stock holds, read by SQLite itself and past all of our own code."""

import json
import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill
from scentrt.domain.vials import Place, SeatedVial, TakenVial, VialId, Whereabouts
from scentrt.service_layer.changes import Unsettled
from scentrt.service_layer.deliveries import Kind, NewDelivery
from tests.memory_stock import StoredBatch, Tables


def read_tables(path: Path) -> Tables:
    """Return everything, each table in the order in which its rows came. Letters are deliveries."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN")
        select = connection.execute
        return Tables(
            versions=dict(select("SELECT sku, version_number FROM products")),
            batches={
                ref: StoredBatch(sku, (told_qty, _date(told_eta)), qty, _date(eta))
                for ref, sku, told_qty, told_eta, qty, eta in select(
                    "SELECT reference, sku, told_quantity, told_eta, purchased_quantity, eta "
                    "FROM batches ORDER BY id"
                )
            },
            lines={
                (sku, orderid): qty
                for sku, orderid, qty in select("SELECT sku, orderid, qty FROM order_lines")
            },
            allocations={
                (sku, orderid): ref
                for sku, orderid, ref in select(
                    "SELECT sku, orderid, batchref FROM allocations ORDER BY id"
                )
            },
            back_orders={
                (sku, orderid): qty
                for sku, orderid, qty in select(
                    "SELECT sku, orderid, qty FROM back_orders JOIN order_lines "
                    "USING (sku, orderid) ORDER BY id"
                )
            },
            view={
                (sku, orderid): ref
                for sku, orderid, ref in select(
                    "SELECT sku, orderid, batchref FROM allocations_view ORDER BY id"
                )
            },
            unsettled={
                (sku, orderid): Unsettled(what)
                for sku, orderid, what in select(
                    "SELECT sku, orderid, what FROM unsettled_lines ORDER BY id"
                )
            },
            vials={row[0]: _vial(*row) for row in select("SELECT * FROM vials ORDER BY id")},
            customers={
                row[0]: Customer(*row)
                for row in select("SELECT name, address, email FROM customers")
            },
            orders={
                orderid: Order(
                    orderid,
                    tuple(OrderLine(orderid, sku, qty) for sku, qty in json.loads(lines)),
                    customer,
                    bool(cancelled),
                )
                for orderid, customer, lines, cancelled in select(
                    "SELECT orderid, customer, lines, cancelled FROM orders"
                )
            },
            deliveries=[
                NewDelivery(event_id, Kind(kind), payload, created_ms)
                for event_id, kind, payload, created_ms in select(
                    "SELECT event_id, kind, payload, created_ms FROM outbox ORDER BY id"
                )
            ],
        )


def read_refills(path: Path) -> list[ZoneRefill]:
    """Return all refills that there ever were, as they are stored."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            ZoneRefill(
                zone,
                number,
                Refill(scent, sku, orderid, qty, RefillStatus(status)),
                capacity_us,
                frozenset(json.loads(vials)),
            )
            for zone, number, scent, sku, orderid, qty, status, capacity_us, vials in (
                connection.execute(
                    "SELECT zone, number, scent, sku, orderid, qty, status, capacity_us, vials "
                    "FROM refills"
                )
            )
        ]


def wrong_totals(path: Path) -> list[str]:
    """Return the batches whose running total is not what their lines add up to."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT reference FROM batches WHERE allocated_quantity != "
            "(SELECT coalesce(sum(qty), 0) FROM allocations JOIN order_lines USING (sku, orderid) "
            "WHERE batchref = reference)"
        )
        return [ref for (ref,) in rows]


def _date(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _vial(
    id: VialId,
    sku: Sku,
    orderid: OrderId,
    batchref: BatchRef,
    zone: ZoneId,
    seat: SeatId,
    slot: int,
    whereabouts: str,
    capacity_us: int,
    left_us: int,
) -> TakenVial:
    vial = SeatedVial(id, Place(zone, seat, slot), sku, batchref, capacity_us, left_us)
    return TakenVial(orderid, vial, Whereabouts(whereabouts))

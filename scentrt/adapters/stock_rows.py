"""What units of work write: one statement for each table, however many units there are.

The order of the statements is the one in which every constraint holds at every step: what goes
goes first, since what comes may need its place.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache

from sqlalchemy import (
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.sql.dml import Delete, UpdateBase

from scentrt.adapters.driver import Driver, Row, driver_of
from scentrt.adapters.orm import (
    allocations,
    allocations_view,
    back_orders,
    batches,
    customers,
    order_lines,
    orders,
    outbox,
    products,
    unsettled_lines,
    vials,
)
from scentrt.domain.names import OrderId
from scentrt.domain.orders import Order
from scentrt.domain.vials import TakenVial, Whereabouts
from scentrt.errors import OrdersCancelled, UnitRefused
from scentrt.service_layer.changes import Changes, LineKey, Unsettled
from scentrt.service_layer.deliveries import Kind

_BUMP_VERSION = (
    update(products)
    .where(products.c.sku == bindparam("of"), products.c.version_number == bindparam("before"))
    .values(version_number=bindparam("after"))
)
_OVERTAKE = insert(products).values(version_number=1)
_OVERTAKE = _OVERTAKE.on_conflict_do_update(
    index_elements=products.primary_key,
    set_={"version_number": products.c.version_number + 1},
)
_SET_QUANTITY = (
    update(batches)
    .where(batches.c.reference == bindparam("ref"))
    .values(purchased_quantity=bindparam("qty"))
)
_SET_ETA = (
    update(batches).where(batches.c.reference == bindparam("ref")).values(eta=bindparam("when"))
)
# One that was never placed, but got its lines one by one, is there from now on.
_CANCEL_ORDER = insert(orders).values(customer=None, lines="[]", cancelled=True)
_CANCEL_ORDER = _CANCEL_ORDER.on_conflict_do_update(
    index_elements=orders.primary_key, set_={"cancelled": True}
)
# However many are asked about, it is one statement, which is prepared once.
_ASKED = select(func.json_each(bindparam("orderids")).table_valued("value").c.value)
_CANCELLED = select(orders.c.orderid).where(orders.c.cancelled, orders.c.orderid.in_(_ASKED))
_NOT_GIVEN_UP = select(order_lines.c.orderid).where(
    order_lines.c.orderid.in_(_ASKED),
    ~exists().where(
        unsettled_lines.c.sku == order_lines.c.sku,
        unsettled_lines.c.orderid == order_lines.c.orderid,
        unsettled_lines.c.what == Unsettled.CANCEL.value,
    ),
)


def _delete_lines(table: Table) -> Delete:
    return delete(table).where(
        table.c.sku == bindparam("of"), table.c.orderid == bindparam("order")
    )


_DEALLOCATE, _FILL, _HIDE = map(_delete_lines, (allocations, back_orders, allocations_view))
_FORGET = _delete_lines(order_lines)
_SETTLE = _delete_lines(unsettled_lines).where(unsettled_lines.c.what == bindparam("done"))
_UNSETTLE = insert(unsettled_lines)
_UNSETTLE = _UNSETTLE.on_conflict_do_update(
    index_elements=["sku", "orderid"], set_={"what": _UNSETTLE.excluded.what}
)

# A vial's row comes with its first loading, and then only tells where it is.
_PUT_VIALS = insert(vials)
_PUT_VIALS = _PUT_VIALS.on_conflict_do_update(
    index_elements=vials.primary_key,
    set_={
        name: _PUT_VIALS.excluded[name]
        for name in ("zone", "seat", "slot", "whereabouts", "left_us")
    },
)

# The address is looked up as the letter is written, which costs nobody a question beforehand.
_WRITE_LETTERS = insert(outbox).from_select(
    ["event_id", "kind", "payload", "created_ms"],
    select(
        bindparam("event_id"),
        literal(Kind.EMAIL.value),
        func.json_object(
            "to", customers.c.email, "subject", bindparam("subject"), "body", bindparam("body")
        ),
        bindparam("created_ms"),
    )
    .select_from(orders.join(customers))
    .where(orders.c.orderid == bindparam("order")),
)


def write_units(connection: Connection, units: Sequence[Changes]) -> None:
    """Write these units of work, within a transaction that the caller commits or rolls back.

    Raises:
      UnitRefused: one of them does not fit what is stored. The caller has to roll back.
      StoreUnavailable: the database is locked, full or broken. Likewise.
    """
    with driver_of(connection) as driver:
        _Writer(driver).write(units)


class _Writer:
    def __init__(self, driver: Driver) -> None:
        self._some = driver.write
        self._ask = driver.ask

    def write(self, units: Sequence[Changes]) -> None:
        self._check_orders(units)
        self._write_versions(units)
        self._write_what_goes(units)
        self._write_batches(units)
        self._write_what_comes(units)
        self._write_vials(units)
        self._write_orders(units)
        self._write_outbox(units)

    def _check_orders(self, units: Sequence[Changes]) -> None:
        cancelled = self._orders(_CANCELLED, [id for unit in units for id in unit.counted_on])
        if cancelled:
            raise OrdersCancelled(cancelled)

    def _write_versions(self, units: Sequence[Changes]) -> None:
        new: list[Row] = []
        changed: list[Row] = []
        for unit in units:
            for sku, (before, after) in unit.versions.items():
                if before is None:
                    new.append({"sku": sku, "version_number": after})
                else:
                    changed.append({"of": sku, "before": before, "after": after})
        self._insert(products, new)
        self._each(_BUMP_VERSION, changed)
        self._some(_OVERTAKE, [{"sku": sku} for unit in units for sku in unit.overtaken])

    def _write_what_goes(self, units: Sequence[Changes]) -> None:
        self._each(_DEALLOCATE, _keys(unit.allocations.removed for unit in units))
        self._each(_FILL, _keys(unit.back_orders.removed for unit in units))
        self._some(_HIDE, _keys(unit.allocations_view.removed for unit in units))
        self._each(
            _SETTLE,
            [
                {"of": sku, "order": orderid, "done": what.value}
                for unit in units
                for (sku, orderid), what in unit.settled.items()
            ],
        )
        self._each(_FORGET, _keys(unit.lines.removed for unit in units))

    def _write_batches(self, units: Sequence[Changes]) -> None:
        self._insert(
            batches,
            [
                {
                    "reference": batch.ref,
                    "sku": batch.sku,
                    "told_quantity": batch.qty,
                    "told_eta": _iso(batch.eta),
                    "purchased_quantity": batch.qty,
                    "eta": _iso(batch.eta),
                }
                for unit in units
                for batch in unit.new_batches.values()
            ],
        )
        self._each(
            _SET_QUANTITY,
            [{"ref": ref, "qty": qty} for unit in units for ref, qty in unit.quantities.items()],
        )
        self._each(
            _SET_ETA,
            [{"ref": ref, "when": _iso(eta)} for unit in units for ref, eta in unit.etas.items()],
        )

    def _write_what_comes(self, units: Sequence[Changes]) -> None:
        self._insert(
            order_lines,
            [
                {"sku": sku, "orderid": orderid, "qty": qty}
                for unit in units
                for (sku, orderid), qty in unit.lines.added.items()
            ],
        )
        self._insert(
            allocations,
            [
                {"sku": sku, "orderid": orderid, "batchref": ref}
                for unit in units
                for (sku, orderid), ref in unit.allocations.added.items()
            ],
        )
        self._insert(
            back_orders,
            [
                {"sku": sku, "orderid": orderid}
                for unit in units
                for sku, orderid in unit.back_orders.added
            ],
        )
        self._insert(
            allocations_view,
            [
                {"sku": sku, "orderid": orderid, "batchref": ref}
                for unit in units
                for (sku, orderid), ref in unit.allocations_view.added.items()
            ],
        )

    def _write_vials(self, units: Sequence[Changes]) -> None:
        rows = [_vial(taken) for unit in units for taken in unit.vials.values()]
        # What leaves its slot leaves first, since others may have come into it.
        rows.sort(key=lambda row: row["whereabouts"] == Whereabouts.SEATED)
        self._some(_PUT_VIALS, rows)

    def _write_orders(self, units: Sequence[Changes]) -> None:
        self._insert(
            customers,
            [
                {"name": customer.name, "address": customer.address, "email": customer.email}
                for unit in units
                for customer in unit.customers
            ],
        )
        self._insert(orders, [_order(order) for unit in units for order in unit.orders])
        cancelled = [orderid for unit in units for orderid in unit.cancelled_orders]
        self._some(_CANCEL_ORDER, [{"orderid": orderid} for orderid in cancelled])
        self._some(
            _UNSETTLE,
            [
                {"sku": sku, "orderid": orderid, "what": what.value}
                for unit in units
                for (sku, orderid), what in unit.unsettled.items()
            ],
        )
        if kept := self._orders(_NOT_GIVEN_UP, cancelled):
            raise UnitRefused(f"order {kept[0]} has got a line while it was cancelled")

    def _write_outbox(self, units: Sequence[Changes]) -> None:
        self._insert(
            outbox,
            [
                {
                    "event_id": delivery.event_id,
                    "kind": delivery.kind.value,
                    "payload": delivery.payload,
                    "created_ms": delivery.created_ms,
                }
                for unit in units
                for delivery in unit.deliveries
            ],
        )
        self._some(
            _WRITE_LETTERS,
            [
                {
                    "event_id": letter.event_id,
                    "order": letter.orderid,
                    "subject": letter.subject,
                    "body": letter.body,
                    "created_ms": letter.created_ms,
                }
                for unit in units
                for letter in unit.letters
            ],
        )

    def _insert(self, table: Table, rows: list[Row]) -> None:
        self._some(_insert_into(table), rows)

    def _each(self, statement: UpdateBase, rows: list[Row]) -> None:
        """Execute a statement that must find every one of its rows."""
        found = self._some(statement, rows)
        if found != len(rows):
            raise UnitRefused(f"of {len(rows)} rows to change only {found} are as they were read")

    def _orders(self, question: Select[tuple[str]], orderids: list[OrderId]) -> Sequence[str]:
        if not orderids:
            return ()
        return self._ask(question, orderids=json.dumps(orderids))


@cache
def _insert_into(table: Table) -> UpdateBase:
    return insert(table)


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _keys(removed: Iterable[Iterable[LineKey]]) -> list[Row]:
    return [{"of": sku, "order": orderid} for keys in removed for sku, orderid in keys]


def _vial(taken: TakenVial) -> Row:
    vial = taken.vial
    return {
        "id": vial.id,
        "sku": vial.sku,
        "orderid": taken.orderid,
        "batchref": vial.batchref,
        "zone": vial.place.zone,
        "seat": vial.place.seat,
        "slot": vial.place.slot,
        "whereabouts": taken.whereabouts.value,
        "capacity_us": vial.capacity_us,
        "left_us": vial.left_us,
    }


def _order(order: Order) -> Row:
    return {
        "orderid": order.orderid,
        "customer": order.customer,
        "lines": json.dumps([[line.sku, line.qty] for line in order.lines]),
        "cancelled": order.cancelled,
    }

"""Batches and order lines for tests, said shortly."""

from datetime import date, timedelta

from scentrt.domain.model import Batch, OrderLine
from scentrt.domain.names import BatchRef, OrderId, Sku

SEA, PINE = Sku("SEA-BREEZE"), Sku("PINE-FOREST")

TODAY = date(2026, 3, 2)
TOMORROW, LATER = TODAY + timedelta(days=1), TODAY + timedelta(days=10)


def line(orderid: str, qty: int, sku: Sku = SEA) -> OrderLine:
    """Return a line of an order."""
    return OrderLine(OrderId(orderid), sku, qty)


def batch(ref: str, qty: int, eta: date | None = None, sku: Sku = SEA) -> Batch:
    """Return a new batch."""
    return Batch(BatchRef(ref), sku, qty, eta)

"""What has happened in the stock, as subscribers are told."""

from datetime import date
from typing import assert_never

from msgspec import UNSET

from scentrt.domain.events import (
    Allocated,
    BackOrdered,
    BackOrderFilled,
    BatchCreated,
    BatchQuantityChanged,
    BatchRescheduled,
    BatchShrinking,
    Deallocated,
    LineCancelled,
    OutOfStock,
    StockEvent,
    VialsLoaded,
    VialsUnloaded,
)
from scentrt.entrypoints.gateway.server_messages import StockChange, StockChanged


def stock_changed(event: StockEvent, at_ms: float) -> StockChanged:
    """Return an event of the stock as a message."""
    match event:
        case Allocated(orderid, sku, qty, ref):
            return StockChanged(
                change=StockChange.ALLOCATED,
                sku=sku,
                orderid=orderid,
                qty=qty,
                batchref=ref,
                at=at_ms,
            )
        case BackOrderFilled(orderid, sku, qty, ref):
            return StockChanged(
                change=StockChange.BACK_ORDER_FILLED,
                sku=sku,
                orderid=orderid,
                qty=qty,
                batchref=ref,
                at=at_ms,
            )
        case LineCancelled(orderid, sku, qty, was_on):
            return StockChanged(
                change=StockChange.LINE_CANCELLED,
                sku=sku,
                orderid=orderid,
                qty=qty,
                batchref=UNSET if was_on is None else was_on,
                at=at_ms,
            )
        case Deallocated(orderid, sku, qty, ref):
            return StockChanged(
                change=StockChange.DEALLOCATED,
                sku=sku,
                orderid=orderid,
                qty=qty,
                batchref=ref,
                at=at_ms,
            )
        case BackOrdered(orderid, sku, qty):
            return StockChanged(
                change=StockChange.BACK_ORDERED, sku=sku, orderid=orderid, qty=qty, at=at_ms
            )
        case OutOfStock(sku):
            return StockChanged(change=StockChange.OUT_OF_STOCK, sku=sku, at=at_ms)
        case BatchCreated(ref, sku, qty, eta):
            return StockChanged(
                change=StockChange.BATCH_CREATED,
                sku=sku,
                batchref=ref,
                qty=qty,
                eta=_iso(eta),
                at=at_ms,
            )
        case BatchQuantityChanged(ref, sku, qty) | BatchShrinking(ref, sku, qty):
            return StockChanged(
                change=StockChange.BATCH_QUANTITY_CHANGED, sku=sku, batchref=ref, qty=qty, at=at_ms
            )
        case BatchRescheduled(ref, sku, eta):
            return StockChanged(
                change=StockChange.BATCH_RESCHEDULED,
                sku=sku,
                batchref=ref,
                eta=_iso(eta),
                at=at_ms,
            )
        case VialsLoaded() | VialsUnloaded():
            is_loading = isinstance(event, VialsLoaded)
            return StockChanged(
                change=StockChange.VIALS_LOADED if is_loading else StockChange.VIALS_UNLOADED,
                sku=event.sku,
                orderid=event.orderid,
                qty=len(event.vials),
                batchref=event.batchref,
                zone=event.vials[0].place.zone,
                to=UNSET if isinstance(event, VialsLoaded) else event.to,
                at=at_ms,
            )
        case _:
            assert_never(event)


def _iso(eta: date | None) -> str | None:
    return None if eta is None else eta.isoformat()

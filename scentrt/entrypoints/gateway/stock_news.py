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
from scentrt.domain.names import BatchRef
from scentrt.entrypoints.gateway.server_messages import StockChange, StockChanged


def stock_changed(event: StockEvent, at_ms: float) -> StockChanged:
    """Return an event of the stock as a message."""
    match event:
        case Allocated(batchref=ref):
            return _line_changed(StockChange.ALLOCATED, event, ref, at_ms)
        case BackOrderFilled(batchref=ref):
            return _line_changed(StockChange.BACK_ORDER_FILLED, event, ref, at_ms)
        case LineCancelled(batchref=ref):
            return _line_changed(StockChange.LINE_CANCELLED, event, ref, at_ms)
        case Deallocated(batchref=ref):
            return _line_changed(StockChange.DEALLOCATED, event, ref, at_ms)
        case BackOrdered():
            return _line_changed(StockChange.BACK_ORDERED, event, None, at_ms)
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


def _line_changed(
    change: StockChange,
    event: Allocated | BackOrderFilled | LineCancelled | Deallocated | BackOrdered,
    ref: BatchRef | None,
    at_ms: float,
) -> StockChanged:
    return StockChanged(
        change=change,
        sku=event.sku,
        orderid=event.orderid,
        qty=event.qty,
        batchref=UNSET if ref is None else ref,
        at=at_ms,
    )


def _iso(eta: date | None) -> str | None:
    return None if eta is None else eta.isoformat()

"""What a unit of work changes, told table by table, so that it can be stored in a few statements.

It is derived from the events of the products, as they come, and never by comparing a product with
what it was. Of what happens to a row several times only the outcome is kept.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Generic, NamedTuple, TypeAlias, TypeVar, assert_never

from scentrt.domain.commands import CancelLine, FillLine
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
from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.domain.vials import TakenVial, VialId, Whereabouts
from scentrt.service_layer.deliveries import Letter, NewDelivery

K = TypeVar("K")
V = TypeVar("V")

LineKey: TypeAlias = tuple[Sku, OrderId]
"""An order has one line of a product."""


class Net(Generic[K, V]):
    """Rows of one table: those of `removed` are to go, and then those of `added` to come.

    What comes and goes in one unit leaves no trace. What goes and comes again is in both, and
    comes as the newest.
    """

    __slots__ = ("added", "removed")

    def __init__(self) -> None:
        self.removed: dict[K, None] = {}
        self.added: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)

    def add(self, key: K, row: V) -> None:
        """Let a row come that is not there."""
        self.added[key] = row

    def remove(self, key: K) -> None:
        """Let a row go that is there."""
        if self.added.pop(key, None) is None:
            self.removed[key] = None


class Unsettled(StrEnum):
    """What an accepted order leaves to be done about a line."""

    FILL = "fill"
    CANCEL = "cancel"


class Version(NamedTuple):
    """The version of a product as it was read, None for a new one, and as it is now."""

    before: int | None
    after: int


@dataclass(slots=True)
class Changes:
    """The rows that one unit of work changes, by table.

    Lines and back-orders have their quantity, allocations the reference of their batch. `unsettled`
    is what is to be done about a line from now on, `settled` what was to be done and is: if it is
    something else by then, the unit does not fit. Nor does it if an order of `counted_on` is
    cancelled by then.

    The products of `overtaken` change past whoever has them in memory: their versions go up from
    what they are, from 0 where there is no such product, so that what others have decided on an
    earlier one is refused.

    `left` is what the products have to do about `unsettled`, in order.

    `events` are what all this was derived from, in order, for those who hear of it once it is
    stored.
    """

    versions: dict[Sku, Version] = field(default_factory=dict)
    new_batches: dict[BatchRef, BatchCreated] = field(default_factory=dict)
    quantities: dict[BatchRef, int] = field(default_factory=dict)
    etas: dict[BatchRef, date | None] = field(default_factory=dict)
    overtaken: dict[Sku, None] = field(default_factory=dict)
    lines: Net[LineKey, int] = field(default_factory=Net)
    allocations: Net[LineKey, BatchRef] = field(default_factory=Net)
    back_orders: Net[LineKey, int] = field(default_factory=Net)
    allocations_view: Net[LineKey, BatchRef] = field(default_factory=Net)
    vials: dict[VialId, TakenVial] = field(default_factory=dict)
    settled: dict[LineKey, Unsettled] = field(default_factory=dict)
    unsettled: dict[LineKey, Unsettled] = field(default_factory=dict)
    left: list[FillLine | CancelLine] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    cancelled_orders: list[OrderId] = field(default_factory=list)
    counted_on: dict[OrderId, None] = field(default_factory=dict)
    deliveries: list[NewDelivery] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    events: list[StockEvent] = field(default_factory=list)
    _between: set[LineKey] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """About how many rows change, as a measure of the work."""
        return (
            len(self.versions)
            + len(self.new_batches)
            + len(self.quantities)
            + len(self.etas)
            + len(self.overtaken)
            + len(self.lines)
            + len(self.allocations)
            + len(self.back_orders)
            + len(self.allocations_view)
            + len(self.vials)
            + len(self.settled)
            + len(self.unsettled)
            + len(self.customers)
            + len(self.orders)
            + len(self.cancelled_orders)
            + len(self.deliveries)
            + len(self.letters)
        )

    @property
    def homeless(self) -> frozenset[LineKey]:
        """The lines that have left their place and have got no other."""
        return frozenset(self._between)

    def note(self, event: StockEvent) -> None:
        """Take over what has changed with an event."""
        self.events.append(event)
        match event:
            case Allocated(orderid, sku, qty, batchref):
                self._come((sku, orderid), qty)
                self.allocations.add((sku, orderid), batchref)
            case Deallocated(orderid, sku):
                self.allocations.remove((sku, orderid))
                self._between.add((sku, orderid))
            case BackOrdered(orderid, sku, qty):
                self._come((sku, orderid), qty)
                self.back_orders.add((sku, orderid), qty)
            case BackOrderFilled(orderid, sku):
                self.back_orders.remove((sku, orderid))
                self._between.add((sku, orderid))
            case LineCancelled(orderid, sku, _, batchref):
                (self.back_orders if batchref is None else self.allocations).remove((sku, orderid))
                self.lines.remove((sku, orderid))
            case BatchCreated(ref):
                self.new_batches[ref] = event
            case BatchQuantityChanged(ref, _, qty) | BatchShrinking(ref, _, qty):
                self.quantities[ref] = qty
            case BatchRescheduled(ref, _, eta):
                self.etas[ref] = eta
            case VialsLoaded(orderid, vials=vials):
                seated = Whereabouts.SEATED
                self.vials |= {vial.id: TakenVial(orderid, vial, seated) for vial in vials}
            case VialsUnloaded(orderid, vials=vials, to=to):
                self.vials |= {vial.id: TakenVial(orderid, vial, to) for vial in vials}
            case OutOfStock():
                pass
            case _:
                assert_never(event)

    def bring(self, batch: BatchCreated) -> None:
        """Make a batch known without its product; what waits for it is filled afterwards."""
        self.events.append(batch)
        self.new_batches[batch.ref] = batch
        self.overtaken[batch.sku] = None

    def place(self, order: Order) -> None:
        """Accept an order: its lines are stored, and their products still have to fill them."""
        self.orders.append(order)
        for line in order.lines:
            self.lines.add((line.sku, line.orderid), line.qty)
            self.unsettled[line.sku, line.orderid] = Unsettled.FILL
            self.left.append(FillLine(line))

    def cancel(self, orderid: OrderId, lines: tuple[OrderLine, ...]) -> None:
        """Cancel an order: its products still have to give up these lines."""
        self.cancelled_orders.append(orderid)
        for line in lines:
            self.unsettled[line.sku, line.orderid] = Unsettled.CANCEL
            self.left.append(CancelLine(line))

    def count_on(self, orderid: OrderId) -> None:
        """Let the unit fit only if this order is not cancelled; whoever stores it looks."""
        self.counted_on[orderid] = None

    def settle(self, line: OrderLine, what: Unsettled) -> None:
        """Note that what an order has left to be done about a line is done."""
        self.settled[line.sku, line.orderid] = what

    def find_homeless(self, line: OrderLine) -> None:
        """Take up a line that has been stored without a place; it must get one in this unit."""
        self._between.add((line.sku, line.orderid))

    def drop(self, line: OrderLine) -> None:
        """Remove a line that has been stored without a place."""
        self.lines.remove((line.sku, line.orderid))

    def _come(self, key: LineKey, qty: int) -> None:
        # The row of a line that goes from one place to another stays.
        if key in self._between:
            self._between.remove(key)
        else:
            self.lines.add(key, qty)

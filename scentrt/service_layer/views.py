"""What may be looked at: read straight from the database, past the products and their actors."""

from dataclasses import dataclass
from datetime import date
from typing import Protocol

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku


@dataclass(frozen=True, slots=True)
class AllocationView:
    """Where a line of an order comes from."""

    sku: Sku
    batchref: BatchRef


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch: how many were purchased and are allocated, and when it comes, None where it has."""

    ref: BatchRef
    sku: Sku
    eta: date | None
    purchased: int
    allocated: int

    @property
    def available(self) -> int:
        """How many are left."""
        return self.purchased - self.allocated


@dataclass(frozen=True, slots=True)
class ProductView:
    """A product with its batches, in the order in which they are asked."""

    sku: Sku
    batches: tuple[BatchView, ...]
    back_orders: int
    """How many lines wait."""

    @property
    def purchased(self) -> int:
        """How many there are in all batches."""
        return sum(batch.purchased for batch in self.batches)

    @property
    def allocated(self) -> int:
        """How many of them are allocated."""
        return sum(batch.allocated for batch in self.batches)

    @property
    def available(self) -> int:
        """How many of them are left."""
        return sum(batch.available for batch in self.batches)


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of an order, and its batch; without one it is back-ordered, or not decided yet."""

    sku: Sku
    qty: int
    batchref: BatchRef | None
    eta: date | None
    back_ordered: bool


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order, and the lines that it has now; a cancelled one soon has none.

    `customer` is whoever placed it; None where nobody was named, or where its lines were allocated
    one by one.
    """

    orderid: OrderId
    customer: CustomerName | None
    cancelled: bool
    lines: tuple[LineView, ...]


@dataclass(frozen=True, slots=True)
class CustomerView:
    """A customer."""

    name: CustomerName
    address: str
    email: str


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A line of the cue journal; see `domain.journal.JournalEntry`."""

    id: int
    at_ms: float
    zone: ZoneId
    session: str
    source: str
    cue: str | int | None
    scent: Scent
    sku: Sku | None
    batchref: BatchRef | None
    seats: tuple[SeatId, ...] | None
    dose_us: int
    ended: str | None


class Views(Protocol):
    """Look at the stock. Every method raises `StoreUnavailable`.

    Lists come in the order of their names, page by page: those after `after`, at most `limit`.
    """

    async def allocations(self, orderid: OrderId) -> tuple[AllocationView, ...]:
        """Return where the lines of an order come from, in the order of their allocation."""
        ...

    async def product(self, sku: Sku) -> ProductView | None:
        """Return a product."""
        ...

    async def products(self, after: Sku, limit: int) -> tuple[ProductView, ...]:
        """Return products."""
        ...

    async def order(self, orderid: OrderId) -> OrderView | None:
        """Return an order, whether it was placed or its lines were allocated one by one."""
        ...

    async def orders(self, after: OrderId, limit: int) -> tuple[OrderView, ...]:
        """Return orders, likewise."""
        ...

    async def customers(self, after: CustomerName, limit: int) -> tuple[CustomerView, ...]:
        """Return customers."""
        ...

    async def journal(self, after: int, limit: int, zone: ZoneId | None) -> tuple[ReleaseView, ...]:
        """Return lines of the journal as they came, of one zone or of all."""
        ...

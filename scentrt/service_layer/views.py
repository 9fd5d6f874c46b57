"""What may be looked at: read straight from the database, past the products and their actors."""

from dataclasses import dataclass
from datetime import date
from typing import Protocol

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.refills import ZoneRefill
from scentrt.domain.vials import TakenVial, VialId, Whereabouts


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


NO_VIAL = VialId(0)
"""Before the first."""


@dataclass(frozen=True, slots=True)
class VialFilter:
    """Which vials are meant; what is None lets everything through."""

    zone: ZoneId | None = None
    seat: SeatId | None = None
    sku: Sku | None = None
    orderid: OrderId | None = None
    whereabouts: Whereabouts | None = None


class VialViews(Protocol):
    """Look at vials. Raises `StoreUnavailable`."""

    async def vials(
        self, wanted: VialFilter, after: VialId = NO_VIAL, limit: int | None = None
    ) -> tuple[TakenVial, ...]:
        """Return vials by their ids, in the order in which they were taken out of the stock.

        Those after `after`, at most `limit`. What stands in a seat may be a second's use emptier by
        now.
        """
        ...


class ProductViews(Protocol):
    """Look at a product. Raises `StoreUnavailable`."""

    async def product(self, sku: Sku) -> ProductView | None:
        """Return a product."""
        ...


class Views(VialViews, ProductViews, Protocol):
    """Look at the stock. Every method raises `StoreUnavailable`.

    Lists come in the order of their names, page by page: those after `after`, at most `limit`.
    """

    async def allocations(self, orderid: OrderId) -> tuple[AllocationView, ...]:
        """Return where the lines of an order come from, in the order of their allocation."""
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

    async def refills(
        self, zone: ZoneId | None, after: OrderId, limit: int
    ) -> tuple[ZoneRefill, ...]:
        """Return what zones have ordered, by the ids of the orders."""
        ...

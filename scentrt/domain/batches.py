"""Batches of a product, and the order lines that are allocated to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Self

from scentrt.domain.names import BatchRef, OrderId, Sku, check_quantity


@dataclass(frozen=True, slots=True)
class OrderLine:
    """So many of one product, for one order; `qty` is from 1, else `InvalidQuantity` is raised."""

    orderid: OrderId
    sku: Sku
    qty: int

    def __post_init__(self) -> None:
        check_quantity(self.qty, least=1)


class Batch:
    """Stock of one product, in the warehouse (`eta` None) or on its way.

    Two batches are the same if they have the same reference. They sort by who is asked first:
    the warehouse, then the earliest. `as_told` has the quantity and ETA with which the batch was
    first made known. Raises `InvalidQuantity` for a quantity below 0.
    """

    __slots__ = (
        "_lines",
        "_pinned",
        "allocated_quantity",
        "as_told",
        "eta",
        "pinned_quantity",
        "purchased_quantity",
        "reference",
        "sku",
    )

    def __init__(self, ref: BatchRef, sku: Sku, qty: int, eta: date | None = None) -> None:
        check_quantity(qty, least=0)
        self.reference = ref
        self.sku = sku
        self.as_told = qty, eta
        self.purchased_quantity = qty
        self.allocated_quantity = 0
        self.eta = eta
        self.pinned_quantity = 0
        self._pinned: dict[OrderId, OrderLine] = {}
        self._lines: dict[OrderId, OrderLine] = {}  # the others, the latest allocated last

    def __repr__(self) -> str:
        return f"<Batch {self.reference}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __lt__(self, other: Self) -> bool:
        if self.eta is None or other.eta is None:
            return self.eta is None and other.eta is not None
        return self.eta < other.eta

    @property
    def available_quantity(self) -> int:
        """How many are not allocated."""
        return self.purchased_quantity - self.allocated_quantity

    @property
    def lines(self) -> Iterable[OrderLine]:
        """The lines allocated here: those that are pinned, and then the others, the latest last."""
        return chain(self._pinned.values(), self._lines.values())

    def line(self, orderid: OrderId) -> OrderLine | None:
        """Return the line that an order has here."""
        return self._lines.get(orderid) or self._pinned.get(orderid)

    def is_same(self, told: "Batch") -> bool:
        """Say whether a batch is told as this one was at first, or as it is by now."""
        as_it_is = self.purchased_quantity, self.eta
        return told.sku == self.sku and told.as_told in {self.as_told, as_it_is}

    def can_allocate(self, line: OrderLine) -> bool:
        """Say whether there is room for a line of this product."""
        return (
            self.purchased_quantity - self.allocated_quantity >= line.qty and self.sku == line.sku
        )

    def allocate(self, line: OrderLine) -> None:
        """Take a line in; does nothing where the order has a line here or there is no room."""
        if self.line(line.orderid) is None and self.can_allocate(line):
            self._lines[line.orderid] = line
            self.allocated_quantity += line.qty

    def deallocate(self, line: OrderLine) -> None:
        """Let a line go; does nothing where it is not here, or pinned."""
        if self._lines.get(line.orderid) == line:
            del self._lines[line.orderid]
            self.allocated_quantity -= line.qty

    def deallocate_latest(self) -> OrderLine:
        """Let the line go that was allocated last and is not pinned, and return it."""
        _, line = self._lines.popitem()
        self.allocated_quantity -= line.qty
        return line

    def pin(self, orderid: OrderId) -> None:
        """Keep a line here for good, since vials were taken from it; it must be here."""
        line = self._lines.pop(orderid, None)
        if line is not None:
            self._pinned[orderid] = line
            self.pinned_quantity += line.qty

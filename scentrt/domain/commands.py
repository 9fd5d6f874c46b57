"""What may be asked of the stock room, in the imperative. The type says what is answered."""

from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku

R = TypeVar("R")


class Command(Generic[R]):
    """Something that is to be done as a whole or not at all; `R` is what is answered."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CreateBatch(Command[None]):
    """Make a batch known, in the warehouse or, with an ETA, on its way."""

    ref: BatchRef
    sku: Sku
    qty: int
    eta: date | None = None


@dataclass(frozen=True, slots=True)
class Allocate(Command[BatchRef | None]):
    """Allocate a line; the answer is its batch, None where it is out of stock."""

    orderid: OrderId
    sku: Sku
    qty: int


@dataclass(frozen=True, slots=True)
class ChangeBatchQuantity(Command[None]):
    """Set how many a batch has."""

    ref: BatchRef
    qty: int


@dataclass(frozen=True, slots=True)
class ChangeBatchEta(Command[None]):
    """Set when a batch arrives."""

    ref: BatchRef
    eta: date | None


@dataclass(frozen=True, slots=True)
class ReceiveBatch(Command[None]):
    """A shipment has arrived: it is in the warehouse from now on."""

    ref: BatchRef


@dataclass(frozen=True, slots=True)
class RegisterCustomer(Command[None]):
    """Make a customer known, who is written to about orders."""

    name: CustomerName
    address: str
    email: str


@dataclass(frozen=True, slots=True)
class PlaceOrder(Command[None]):
    """Accept an order with all its lines; they are filled or back-ordered one by one afterwards."""

    orderid: OrderId
    lines: tuple[OrderLine, ...]
    customer: CustomerName | None = None


@dataclass(frozen=True, slots=True)
class CancelOrder(Command[None]):
    """Give up every line of an order."""

    orderid: OrderId


@dataclass(frozen=True, slots=True)
class FillLine(Command[None]):
    """Allocate or back-order a line of an order that was accepted before."""

    line: OrderLine


@dataclass(frozen=True, slots=True)
class CancelLine(Command[None]):
    """Give up a line of an order that was cancelled before."""

    line: OrderLine


OfProduct = CreateBatch | Allocate
"""Commands to a product that they name."""

OfBatch = ChangeBatchQuantity | ChangeBatchEta | ReceiveBatch
"""Commands to the product that has the batch they name."""

OfOrders = RegisterCustomer | PlaceOrder | CancelOrder
"""Commands about orders and those who place them."""

OfLine = FillLine | CancelLine
"""What accepted orders leave to be done to a product. Nobody sends these: they are stored."""

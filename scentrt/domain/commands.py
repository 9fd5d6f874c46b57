"""What may be asked of the stock room, in the imperative. The type says what is answered."""

from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.vials import Loaded, Place, SeatedVial, VialId, Whereabouts

MOST_BATCHES = 5_000
"""Batches in one import: they are stored in one transaction, in which everybody else waits."""

MOST_VIALS = 1_000
"""Vials that are loaded or unloaded at once, likewise: some fifty milliseconds."""

R = TypeVar("R")


class Command(Generic[R]):
    """Something that is to be done as a whole or not at all; `R` is what is answered."""

    __slots__ = ()


class OfProduct(Command[R]):
    """A command to the product that it names."""

    __slots__ = ()
    sku: Sku


class OfBatch(Command[R]):
    """A command to the product whose batch it names."""

    __slots__ = ()
    ref: BatchRef


class OfManyProducts(Command[R]):
    """A command about batches of whatever products, all at once."""

    __slots__ = ()


class OfLine(Command[R]):
    """What an accepted order leaves to be done by a product: stored, and never sent."""

    __slots__ = ()
    line: OrderLine


class OfOrders(Command[R]):
    """A command about orders, or about those who place them."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CreateBatch(OfProduct[None]):
    """Make a batch known, in the warehouse or, with an ETA, on its way."""

    ref: BatchRef
    sku: Sku
    qty: int
    eta: date | None = None


@dataclass(frozen=True, slots=True)
class Allocate(OfProduct[BatchRef | None]):
    """Allocate a line; the answer is its batch, None where it is out of stock."""

    orderid: OrderId
    sku: Sku
    qty: int


@dataclass(frozen=True, slots=True)
class ReportUnknown(OfProduct[None]):
    """Write to the stock team that a product is wanted of which no batch was ever made known."""

    sku: Sku


@dataclass(frozen=True, slots=True)
class ChangeBatchQuantity(OfBatch[None]):
    """Set how many a batch has."""

    ref: BatchRef
    qty: int


@dataclass(frozen=True, slots=True)
class ChangeBatchEta(OfBatch[None]):
    """Set when a batch arrives."""

    ref: BatchRef
    eta: date | None


@dataclass(frozen=True, slots=True)
class ReceiveBatch(OfBatch[None]):
    """A shipment has arrived: it is in the warehouse from now on."""

    ref: BatchRef


@dataclass(frozen=True, slots=True)
class FillBackOrders(OfProduct[None]):
    """Give what is there to those who wait for it."""

    sku: Sku


@dataclass(frozen=True, slots=True)
class LoadVials(OfProduct[Loaded]):
    """Have vials of a line stand in these places, as many as it has, at least `least`.

    Those of it that stand there already count, so that the same once more changes nothing. A new
    vial holds `capacity_us`.
    """

    sku: Sku
    orderid: OrderId
    places: tuple[Place, ...]
    least: int
    capacity_us: int


@dataclass(frozen=True, slots=True)
class UnloadVials(OfProduct[tuple[SeatedVial, ...]]):
    """Take vials out of their slots, each with what is left in it; the answer is which they were.

    Those that stand nowhere any more are no matter. What is empty is discarded in any case.
    """

    sku: Sku
    levels: tuple[tuple[VialId, int], ...]
    to: Whereabouts


@dataclass(frozen=True, slots=True)
class ImportBatches(OfManyProducts[int]):
    """Make batches known, all of them or none; the answer is how many were not known yet.

    To name one twice, or one that is known, changes nothing where it is the same.
    """

    batches: tuple[CreateBatch, ...]


@dataclass(frozen=True, slots=True)
class CheckBatches(OfManyProducts[int]):
    """Say what `ImportBatches` would: how many are not known yet, or which ones are others."""

    batches: tuple[CreateBatch, ...]


@dataclass(frozen=True, slots=True)
class RegisterCustomer(OfOrders[None]):
    """Make a customer known, who is written to about orders."""

    name: CustomerName
    address: str
    email: str


@dataclass(frozen=True, slots=True)
class PlaceOrder(OfOrders[None]):
    """Accept an order with all its lines; they are filled or back-ordered one by one afterwards."""

    orderid: OrderId
    lines: tuple[OrderLine, ...]
    customer: CustomerName | None = None


@dataclass(frozen=True, slots=True)
class CancelOrder(OfOrders[None]):
    """Give up every line of an order."""

    orderid: OrderId


@dataclass(frozen=True, slots=True)
class FillLine(OfLine[None]):
    """Allocate or back-order a line of an order that was accepted before."""

    line: OrderLine


@dataclass(frozen=True, slots=True)
class CancelLine(OfLine[None]):
    """Give up a line of an order that was cancelled before."""

    line: OrderLine

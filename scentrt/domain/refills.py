"""Refills: what a zone that runs dry has ordered by itself, and what has become of it."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from scentrt.domain.cues import Scent
from scentrt.domain.names import BatchRef, OrderId, Sku


class RefillStatus(StrEnum):
    """How far a refill has come."""

    WANTED = "wanted"
    ORDERED = "ordered"
    OUT_OF_STOCK = "out-of-stock"
    MET = "met"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Refill:
    """An order for vials of a scent; once allocated, from which batch and when that comes.

    `eta` is None where the batch is in the warehouse, or none has been found yet.
    """

    scent: Scent
    sku: Sku
    orderid: OrderId
    qty: int
    status: RefillStatus
    batchref: BatchRef | None = None
    eta: date | None = None

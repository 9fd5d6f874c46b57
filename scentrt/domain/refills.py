"""Refills: what a zone that runs dry has ordered by itself, and what has become of it."""

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Catalogue, ScentSupply, VialKind


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


@dataclass(frozen=True, slots=True)
class ZoneRefill:
    """The refill of a zone; `number` counts what the zone has ordered of the product.

    There is one for each need: from when a scent is low in a zone until it no longer is, whatever
    becomes of the refill meanwhile.
    """

    zone: ZoneId
    number: int
    refill: Refill

    @property
    def is_open(self) -> bool:
        """Whether the need is still there."""
        return self.refill.status is not RefillStatus.MET

    def become(self, status: RefillStatus) -> "ZoneRefill":
        """Return the same refill as it is from now on."""
        return replace(self, refill=replace(self.refill, status=status))

    def allocated(self, batchref: BatchRef, eta: date | None) -> "ZoneRefill":
        """Return the same refill with the batch from which it comes."""
        return replace(self, refill=replace(self.refill, batchref=batchref, eta=eta))

    def instead(
        self, kind: VialKind, number: int, status: RefillStatus = RefillStatus.WANTED
    ) -> "ZoneRefill":
        """Return the same need, met by another product or under another number."""
        return _refill(self.zone, kind, number, self.refill.qty, status)


def wanted(zone: ZoneId, supply: ScentSupply, kind: VialKind, number: int) -> ZoneRefill:
    """Return the refill that a zone wants whose `supply` of a scent is low: for each low vial, one.

    The id of its order is made of what it is for, so that asking for it twice is one order.
    """
    return _refill(zone, kind, number, max(1, supply.low), RefillStatus.WANTED)


def next_choice(catalogue: Catalogue, refill: Refill) -> VialKind | None:
    """Return the product to take where that of a refill is out of stock; None after the last."""
    kinds = catalogue.of_scent(refill.scent)
    skus = [kind.sku for kind in kinds]
    following = skus.index(refill.sku) + 1 if refill.sku in skus else 0
    return kinds[following] if following < len(kinds) else None


def _refill(
    zone: ZoneId, kind: VialKind, number: int, qty: int, status: RefillStatus
) -> ZoneRefill:
    orderid = OrderId(f"refill-{zone}-{kind.sku}-{number}")
    return ZoneRefill(zone, number, Refill(kind.scent, kind.sku, orderid, qty, status))

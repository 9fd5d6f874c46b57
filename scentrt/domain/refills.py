"""Refills: what a zone that runs dry has ordered by itself, and what has become of it."""

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Catalogue, ScentSupply, VialId, VialKind


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

    There is one for each need: from when a scent is low in a zone until it no longer is and others
    were loaded than the `vials` of that time, whatever becomes of the refill meanwhile.
    `capacity_us` is what those could hold.
    """

    zone: ZoneId
    number: int
    refill: Refill
    capacity_us: int
    vials: frozenset[VialId]

    @property
    def is_open(self) -> bool:
        """Whether the need is still there."""
        return self.refill.status is not RefillStatus.MET

    def become(self, status: RefillStatus) -> "ZoneRefill":
        """Return the same refill as it is from now on."""
        return replace(self, refill=replace(self.refill, status=status))

    def is_met_by(self, supply: ScentSupply, slots: int, low_below: float) -> bool:
        """Say whether the need has ended with what is there now, since vials were loaded.

        It is held against what there was room for when the need came, since to take empty vials out
        puts no scent in; but never against more than the zone's `slots` of the scent have room for.
        """
        room_us = slots * supply.capacity_us // max(1, len(supply.vials))
        is_low = supply.is_below(low_below, min(self.capacity_us, room_us))
        return supply.has_others_than(self.vials) and not is_low

    def instead(
        self, kind: VialKind, number: int, status: RefillStatus = RefillStatus.WANTED
    ) -> "ZoneRefill":
        """Return the same need, met by another product or under another number."""
        refill = _refill(self.zone, kind, number, self.refill.qty, status)
        return replace(self, number=number, refill=refill)


def wanted(zone: ZoneId, supply: ScentSupply, kind: VialKind, number: int) -> ZoneRefill:
    """Return the refill that a zone wants whose `supply` of a scent is low: for each low vial, one.

    The id of its order is made of what it is for, so that asking for it twice is one order.
    """
    refill = _refill(zone, kind, number, max(1, supply.low), RefillStatus.WANTED)
    return ZoneRefill(zone, number, refill, supply.capacity_us, supply.vials)


def orderid_of(zone: ZoneId, sku: Sku, number: int) -> OrderId:
    """Return the id of the order of a refill.

    It may be that of another zone's with another product, since names may have dashes in them.
    """
    return OrderId(f"refill-{zone}-{sku}-{number}")


def next_choice(catalogue: Catalogue, refill: Refill) -> VialKind | None:
    """Return the product to take where that of a refill is out of stock; None after the last."""
    kinds = catalogue.of_scent(refill.scent)
    skus = [kind.sku for kind in kinds]
    following = skus.index(refill.sku) + 1 if refill.sku in skus else 0
    return kinds[following] if following < len(kinds) else None


def _refill(zone: ZoneId, kind: VialKind, number: int, qty: int, status: RefillStatus) -> Refill:
    return Refill(kind.scent, kind.sku, orderid_of(zone, kind.sku, number), qty, status)

"""Vials: the cartridges that come out of a batch and stand in the slots of the seats.

What is in a vial is counted in micro-dose-seconds (`*_us`): one dose-second is a second at full
intensity.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType, Self

from scentrt.domain.cues import NO_SCENT, Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import BatchRef, OrderId, Sku

VialId = NewType("VialId", int)

DEFAULT_CAPACITY_US = 3_600 * US_PER_S
"""An hour at full intensity, where nobody says what a vial of a product holds."""

DEFAULT_LOW = 0.2
"""A vial, or a scent of a zone, is low when less than this part of what it can hold is left."""


@dataclass(frozen=True, slots=True)
class VialKind:
    """A product that comes in vials: which scent it is, and how much a new vial holds."""

    sku: Sku
    scent: Scent
    capacity_us: int = DEFAULT_CAPACITY_US


class Catalogue:
    """Know the products that come in vials; those of one scent in the order of preference."""

    def __init__(self, kinds: Iterable[VialKind] = ()) -> None:
        self.kinds = tuple(kinds)
        self._by_sku = {kind.sku: kind for kind in self.kinds}

    def kind(self, sku: Sku) -> VialKind | None:
        """Return what a vial of a product is; None where the product is in no catalogue."""
        return self._by_sku.get(sku)

    def scent(self, sku: Sku) -> Scent:
        """Return what a vial of a product smells of; `NO_SCENT` where it is in no catalogue."""
        kind = self._by_sku.get(sku)
        return NO_SCENT if kind is None else kind.scent

    def of_scent(self, scent: Scent) -> tuple[VialKind, ...]:
        """Return the products that have a scent, the preferred one first."""
        return tuple(kind for kind in self.kinds if kind.scent == scent)


NO_PRODUCTS = Catalogue()
"""The catalogue of a house that takes no vials."""


@dataclass(frozen=True, slots=True)
class Place:
    """A slot of a seat, where a vial can stand."""

    zone: ZoneId
    seat: SeatId
    slot: int


@dataclass(frozen=True, slots=True)
class SeatedVial:
    """A vial in its slot: what it is, where it came from, and what is left in it."""

    id: VialId
    place: Place
    sku: Sku
    batchref: BatchRef
    capacity_us: int
    left_us: int

    def with_left(self, left_us: int) -> Self:
        """Return it with so much left."""
        return replace(self, left_us=left_us)


@dataclass(frozen=True, slots=True)
class VialLevel:
    """What will be left in a vial when what runs has ended, and where it stood at that time."""

    id: VialId
    place: Place
    left_us: int


class Whereabouts(StrEnum):
    """Where a vial is that was taken out of the stock."""

    SEATED = "seated"
    RETURNED = "returned"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class TakenVial:
    """A vial that was taken for an order, and where it is, or was last."""

    orderid: OrderId
    vial: SeatedVial
    whereabouts: Whereabouts


@dataclass(frozen=True, slots=True)
class Loaded:
    """The vials of a line that stand in the places asked for, and how many more it could give."""

    vials: tuple[SeatedVial, ...]
    left: int


@dataclass(frozen=True, slots=True)
class ScentSupply:
    """What there is of a scent in the vials of a zone at this moment.

    `low` is how many of its `vials` are low.
    """

    scent: Scent
    left_us: int
    capacity_us: int
    vials: frozenset[VialId]
    low: int

    def is_below(self, part: float, held_us: int = 0) -> bool:
        """Say whether less than this part is left of what the vials can hold.

        Or of `held_us`, where that is more: what vials could hold that were taken out since.
        """
        return self.left_us < part * max(self.capacity_us, held_us)

    def has_others_than(self, vials: frozenset[VialId]) -> bool:
        """Say whether vials were loaded that are none of these.

        What is left does not say that: it is more again when a spray turns out to have reached
        nobody, and more of what vials can hold when those that could hold more were taken out.
        """
        return not self.vials <= vials

"""What is told of the stock over HTTP."""

from datetime import date
from typing import Any, Literal, Self

from fastapi import Response
from pydantic import BaseModel

from scentrt.actors.seat_desk import SeatCard
from scentrt.domain import refills
from scentrt.domain.doses import US_PER_S
from scentrt.domain.refills import RefillStatus
from scentrt.domain.vials import SeatedVial, TakenVial, Whereabouts
from scentrt.service_layer.views import (
    AllocationView,
    BatchView,
    CustomerView,
    LineView,
    OrderView,
    ProductView,
    ReleaseView,
)


class Json(Response):
    """An answer that is JSON already."""

    media_type = "application/json"


OK = b'"OK"'


class Allocated(BaseModel):
    """Where a line of an order comes from."""

    sku: str
    batchref: str

    @classmethod
    def of(cls, view: AllocationView) -> Self:
        """Tell of an allocation."""
        return cls(sku=view.sku, batchref=view.batchref)


class Batch(BaseModel):
    """Stock of a product, in the warehouse where `eta` is null."""

    ref: str
    eta: date | None
    purchased: int
    allocated: int
    available: int

    @classmethod
    def of(cls, view: BatchView) -> Self:
        """Tell of a batch."""
        return cls(
            ref=view.ref,
            eta=view.eta,
            purchased=view.purchased,
            allocated=view.allocated,
            available=view.available,
        )


class Product(BaseModel):
    """A product: its batches, in the order in which they are asked, and what is in all of them.

    `back_orders` is how many lines wait for stock.
    """

    sku: str
    purchased: int
    allocated: int
    available: int
    back_orders: int
    batches: list[Batch]

    @classmethod
    def of(cls, view: ProductView) -> Self:
        """Tell of a product."""
        return cls(
            sku=view.sku,
            purchased=view.purchased,
            allocated=view.allocated,
            available=view.available,
            back_orders=view.back_orders,
            batches=[Batch.of(batch) for batch in view.batches],
        )


class Line(BaseModel):
    """A line of an order; `accepted` until its product has allocated or back-ordered it."""

    sku: str
    qty: int
    state: Literal["accepted", "allocated", "back-ordered"]
    batchref: str | None
    eta: date | None

    @classmethod
    def of(cls, view: LineView) -> Self:
        """Tell of a line."""
        allocated: Literal["accepted", "allocated"]
        allocated = "accepted" if view.batchref is None else "allocated"
        return cls(
            sku=view.sku,
            qty=view.qty,
            state="back-ordered" if view.back_ordered else allocated,
            batchref=view.batchref,
            eta=view.eta,
        )


class Order(BaseModel):
    """An order, and the lines that it has now; a cancelled one soon has none.

    `customer` is null where nobody was named, or the lines were allocated one by one.
    """

    orderid: str
    customer: str | None
    cancelled: bool
    lines: list[Line]

    @classmethod
    def of(cls, view: OrderView) -> Self:
        """Tell of an order."""
        return cls(
            orderid=view.orderid,
            customer=view.customer,
            cancelled=view.cancelled,
            lines=[Line.of(line) for line in view.lines],
        )


class Customer(BaseModel):
    """Somebody who places orders."""

    name: str
    address: str
    email: str

    @classmethod
    def of(cls, view: CustomerView) -> Self:
        """Tell of a customer."""
        return cls(name=view.name, address=view.address, email=view.email)


class Products(BaseModel):
    """Products by their SKUs; `next` is the `after` of the next page, null at the end."""

    products: list[Product]
    next: str | None


class Orders(BaseModel):
    """Orders by their ids; `next` is the `after` of the next page, null at the end."""

    orders: list[Order]
    next: str | None


class Customers(BaseModel):
    """Customers by their names; `next` is the `after` of the next page, null at the end."""

    customers: list[Customer]
    next: str | None


class Vial(BaseModel):
    """A vial in a slot; `remaining_s` of `capacity_s` dose-seconds are left in it."""

    id: int
    zone: str
    seat: str
    slot: int
    sku: str
    batchref: str
    capacity_s: float
    remaining_s: float

    @classmethod
    def of(cls, vial: SeatedVial) -> Self:
        """Tell of a vial."""
        return cls(**_told_of(vial))


class StoredVial(Vial):
    """A vial of an order, and where it is: those that do not stand in it were there last."""

    orderid: str
    where: Whereabouts

    @classmethod
    def of_taken(cls, taken: TakenVial) -> Self:
        """Tell of a vial that was taken out of the stock."""
        return cls(**_told_of(taken.vial), orderid=taken.orderid, where=taken.whereabouts)


class LoadedVials(BaseModel):
    """The vials that stand where they were wanted, and how many more the line has."""

    vials: list[Vial]
    left: int


class TakenVials(BaseModel):
    """The vials that were taken out."""

    vials: list[Vial]


class VialPage(BaseModel):
    """Vials by their ids; `next` is the `after` of the next page, null at the end."""

    vials: list[StoredVial]
    next: int | None


class ZoneRefill(BaseModel):
    """What a zone has ordered of a scent; with an `eta` of null, it is in the warehouse."""

    zone: str
    scent: str
    sku: str
    orderid: str
    qty: int
    status: RefillStatus
    batchref: str | None
    eta: date | None

    @classmethod
    def of(cls, told: refills.ZoneRefill) -> Self:
        """Tell of a refill."""
        refill = told.refill
        return cls(
            zone=told.zone,
            scent=refill.scent,
            sku=refill.sku,
            orderid=refill.orderid,
            qty=refill.qty,
            status=refill.status,
            batchref=refill.batchref,
            eta=refill.eta,
        )


class Refills(BaseModel):
    """Refills by their orders; `next` is the `after` of the next page, null at the end."""

    refills: list[ZoneRefill]
    next: str | None


class Seat(BaseModel):
    """A seat and what is set for it; see `domain.seat_settings.SeatSettings`."""

    zone: str
    seat: str
    opted_out: bool
    averse_to: list[str]
    gain: float
    delay_ms: float

    @classmethod
    def of(cls, card: SeatCard) -> Self:
        """Tell of a seat."""
        return cls(
            zone=card.zone,
            seat=card.seat,
            opted_out=card.settings.opted_out,
            averse_to=sorted(card.settings.averse_to),
            gain=card.settings.gain,
            delay_ms=card.settings.delay_ms,
        )


class Seats(BaseModel):
    """Seats in the order of the house; `next` is the `after` of the next page, null at the end."""

    seats: list[Seat]
    next: str | None


class Release(BaseModel):
    """A cue's sprays at some seats, what levels have given of late, or what ending early has saved.

    `at` is in Unix milliseconds. `source` is the hello name of whoever asked, and `session` the
    beginning of that session's id. `cue` is the id that they gave it; null for levels, of which a
    line tells what they have given since the one before. `seats` is null for every seat of the
    zone, `sku` and `batchref` where nobody has loaded a vial. `dose_s` is in dose-seconds, at all
    these seats; it is negative where `ended` says why a cue gave less than an earlier line tells.
    """

    id: int
    at: float
    zone: str
    source: str
    session: str
    cue: str | int | None
    scent: str
    sku: str | None
    batchref: str | None
    seats: list[str] | None
    dose_s: float
    ended: str | None

    @classmethod
    def of(cls, view: ReleaseView) -> Self:
        """Tell of a line."""
        return cls(
            id=view.id,
            at=view.at_ms,
            zone=view.zone,
            source=view.source,
            session=view.session,
            cue=view.cue,
            scent=view.scent,
            sku=view.sku,
            batchref=view.batchref,
            seats=None if view.seats is None else list(view.seats),
            dose_s=view.dose_us / US_PER_S,
            ended=view.ended,
        )


class Releases(BaseModel):
    """Lines of the journal as they came; `next` is the next page's `after`, null at the end."""

    releases: list[Release]
    next: int | None


class Accepted(BaseModel):
    """An order that was accepted, and the path where to look what becomes of it."""

    orderid: str
    location: str


class Imported(BaseModel):
    """How many batches were not known before."""

    new: int


class Problem(BaseModel):
    """Why not, in a sentence."""

    message: str


class Misfit(BaseModel):
    """Something that does not fit: `loc` is the path to it, and `msg` says what would fit."""

    type: str
    loc: list[str | int]
    msg: str


class Misfits(BaseModel):
    """Everything that does not fit; `message` says where the first of it is, and what would."""

    message: str
    detail: list[Misfit]


ANSWERS = (
    Accepted,
    Imported,
    Product,
    Products,
    Order,
    Orders,
    Customers,
    LoadedVials,
    TakenVials,
    VialPage,
    Refills,
    Seat,
    Seats,
    Releases,
    Problem,
    Misfits,
)


def _told_of(vial: SeatedVial) -> dict[str, Any]:
    return {
        "id": vial.id,
        "zone": vial.place.zone,
        "seat": vial.place.seat,
        "slot": vial.place.slot,
        "sku": vial.sku,
        "batchref": vial.batchref,
        "capacity_s": vial.capacity_us / US_PER_S,
        "remaining_s": vial.left_us / US_PER_S,
    }

"""What may be asked of a house's stock, and how it turns out where nothing goes wrong.

It is told from the facts and what is stored at that moment.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from scentrt.actors.vial_desk import Load, Unload
from scentrt.domain.commands import Allocate, CancelOrder, ChangeBatchQuantity, CreateBatch
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.layout import TheatrePlan, ZonePlan
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Catalogue, Place, VialKind, Whereabouts
from scentrt.errors import (
    InvalidSku,
    InvalidVials,
    LineConflict,
    LineNotThere,
    NoFreeSlot,
    OrderCancelled,
    SlotTaken,
    StockError,
    TooFewVials,
    UnknownBatch,
    UnknownLine,
    UnknownOrder,
    VialsTaken,
)
from tests.integration.house_on_trial.house import LivingHouse
from tests.integration.house_on_trial.model import Facts
from tests.memory_stock import Tables

A, B = ZoneId("A"), ZoneId("B")
BREEZE, FOREST = Scent("sea-breeze"), Scent("forest")
SEA, ECO, PINE = Sku("SEA-BREEZE"), Sku("SEA-ECO"), Sku("PINE-FOREST")
CATALOGUE = Catalogue(
    [
        VialKind(SEA, BREEZE, 4 * US_PER_S),
        VialKind(ECO, BREEZE, 3 * US_PER_S),
        VialKind(PINE, FOREST, 3 * US_PER_S),
    ]
)
PLAN = TheatrePlan(
    "Roxy",
    (ZonePlan(A, 1, 2, (BREEZE, FOREST)), ZonePlan(B, 1, 1, (BREEZE, BREEZE))),
    catalogue=CATALOGUE,
)
ZONES = {zone.id: zone for zone in PLAN.zones}

NOTHING_DONE = object()
"""The answer where there was not enough in stock, and so nothing has changed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something to be asked. `after` are the facts after each part of it.

    `refused` is why it cannot be done, if so. What it takes out of `places` goes `to` somewhere.
    """

    ask: Callable[[LivingHouse], Awaitable[object]]
    after: tuple[Facts, ...]
    refused: tuple[type[StockError], ...] = ()
    places: tuple[Place, ...] = ()
    to: Whereabouts | None = None


Build: TypeAlias = Callable[[Facts, Tables], Attempt]


def receiving(ref: BatchRef, sku: Sku, qty: int) -> Build:
    """Make a batch known."""
    command = CreateBatch(ref, sku, qty)

    def build(facts: Facts, _: Tables) -> Attempt:
        return Attempt(lambda house: house.bus.handle(command), (facts.with_batch(ref, sku, qty),))

    return build


def allocating(orderid: OrderId, sku: Sku, qty: int) -> Build:
    """Allocate a line."""
    command = Allocate(orderid, sku, qty)

    async def ask(house: LivingHouse) -> object:
        ref = await house.bus.handle(command)
        return NOTHING_DONE if ref is None else ref

    def build(facts: Facts, tables: Tables) -> Attempt:
        refused: list[type[StockError]] = []
        if orderid in tables.orders and tables.orders[orderid].cancelled:
            refused.append(OrderCancelled)
        if sku not in tables.versions:
            refused.append(InvalidSku)
        if tables.lines.get((sku, orderid), qty) != qty:
            refused.append(LineConflict)
        return Attempt(ask, (facts.with_line((sku, orderid), qty),), tuple(refused))

    return build


def resizing(ref: BatchRef, qty: int) -> Build:
    """Set how many a batch has."""
    command = ChangeBatchQuantity(ref, qty)

    def build(facts: Facts, tables: Tables) -> Attempt:
        if ref not in facts.batches:
            return Attempt(lambda house: house.bus.handle(command), (), (UnknownBatch,))
        keys = {(taken.vial.sku, taken.orderid) for taken in tables.vials.values()}
        pinned = sum(tables.lines[key] for key in keys if tables.allocations[key] == ref)
        after = facts.with_batch(ref, facts.batches[ref][0], qty)
        refused = (VialsTaken,) if qty < pinned else ()
        return Attempt(lambda house: house.bus.handle(command), (after,), refused)

    return build


def cancelling(orderid: OrderId) -> Build:
    """Give up all lines of an order."""
    command = CancelOrder(orderid)

    def build(facts: Facts, tables: Tables) -> Attempt:
        refused: tuple[type[StockError], ...] = ()
        if orderid not in tables.orders and all(id != orderid for _, id in tables.lines):
            refused = (UnknownOrder,)
        elif any(taken.orderid == orderid for taken in tables.vials.values()):
            refused = (VialsTaken,)
        after = facts.without_order(orderid)
        return Attempt(lambda house: house.bus.handle(command), (after,), refused)

    return build


def loading(wish: Load) -> Build:
    """Load vials."""
    key, plan = (wish.sku, wish.orderid), ZONES[wish.zone]
    slots = [n for n, scent in enumerate(plan.slots) if scent == CATALOGUE.scent(wish.sku)]
    seats = plan.seat_ids() if wish.seats is None else wish.seats
    named = [Place(plan.id, seat, slot) for seat in seats for slot in slots]

    def build(facts: Facts, tables: Tables) -> Attempt:
        theirs = [place for place in named if facts.seated.get(place) == key]
        free = [place for place in named if place not in facts.seated]
        taken = [each for each in tables.vials.values() if (each.vial.sku, each.orderid) == key]
        returned = sum(each.whereabouts is Whereabouts.RETURNED for each in taken)
        left = tables.lines.get(key, 0) - len(taken) + returned
        places, least = named, len(named)
        if wish.seats is None:
            places, least = (theirs + free)[: wish.most], 1
        refused: tuple[type[StockError], ...] = ()
        if not slots:
            refused = (InvalidVials,)
        elif not places:
            refused = (NoFreeSlot,)
        elif len(theirs) + len(free) < len(places):
            refused = (SlotTaken,)
        elif wish.sku not in tables.versions:
            refused = (InvalidSku,)
        elif key not in tables.lines:
            refused = (UnknownLine,)
        elif key not in tables.allocations:
            refused = (LineNotThere,)
        elif len(set(theirs).intersection(places)) + left < least:
            refused = (TooFewVials,)
        new = [place for place in places if place in free][:left]
        after = facts.loaded(key, new, returned)
        return Attempt(lambda house: house.desk.load(wish), (after,), refused, tuple(places))

    return build


def unloading(wish: Unload) -> Build:
    """Unload vials: those of one product after those of another."""

    def build(facts: Facts, tables: Tables) -> Attempt:
        by_sku: dict[Sku, list[Place]] = {}
        for taken in tables.vials.values():
            vial, place = taken.vial, taken.vial.place
            below = wish.below_percent
            if (
                taken.whereabouts is Whereabouts.SEATED
                and place.zone == wish.zone
                and (wish.seats is None or place.seat in wish.seats)
                and wish.slot in {None, place.slot}
                and wish.scent in {None, CATALOGUE.scent(vial.sku)}
                and (below is None or vial.left_us * 100 < below * vial.capacity_us)
            ):
                by_sku.setdefault(vial.sku, []).append(place)
        after = [facts]
        for places in by_sku.values():
            after.append(after[-1].unloaded(places))
        meant = tuple(place for places in by_sku.values() for place in places)
        return Attempt(lambda house: house.desk.unload(wish), tuple(after), (), meant, wish.to)

    return build

"""The vial desk: brings vials from the stock into slots and takes them out again.

It knows the house: which slots a product fits into, and which of them are free. How many vials an
order has is decided by its product.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from scentrt.domain.commands import LoadVials, UnloadVials
from scentrt.domain.cues import NO_SCENT, Scent, SeatId, ZoneId
from scentrt.domain.layout import TheatrePlan, ZonePlan
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.vials import Loaded, Place, SeatedVial, TakenVial, VialKind, Whereabouts
from scentrt.errors import ActorCrashed, InvalidVials, NoFreeSlot, SlotTaken, StoreUnavailable
from scentrt.service_layer.messagebus import Owner
from scentrt.service_layer.views import VialFilter, VialViews


@dataclass(frozen=True, slots=True)
class Load:
    """Have vials of an order stand in slots of a zone.

    With `seats` at all of these, or nothing happens. Without, wherever there is room, as many as
    there are, and at most `most`.
    """

    orderid: OrderId
    sku: Sku
    zone: ZoneId
    seats: tuple[SeatId, ...] | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Unload:
    """Take vials out of slots of a zone, `to` the stock (`RETURNED`) or the bin (`DISCARDED`).

    It means those that all of the rest lets through: at these seats, of this scent, in the slot of
    this number, with less than so many percent left. What stands there counts, also in a zone that
    is in the theatre file no more.
    """

    zone: ZoneId
    to: Whereabouts
    seats: tuple[SeatId, ...] | None = None
    scent: Scent | None = None
    slot: int | None = None
    below_percent: float | None = None


class VialKeeper(Protocol):
    """Whoever loads and unloads vials."""

    async def load(self, wish: Load) -> Loaded:
        """Load vials; the answer is all that then stand there, and how many more the order has.

        What stands there already counts, so that the same wish again changes nothing.

        Raises:
          InvalidVials: the house has no such zone, seat or slot, or the product is in no catalogue.
          StockError: there are no such vials, and why; or there is no room.
          ActorError: too much waits there.
          StoreUnavailable: the database is away. In all these cases nothing has changed, but for
            `ActorCrashed`, after which it may be done or not.
        """
        ...

    async def unload(self, wish: Unload) -> tuple[SeatedVial, ...]:
        """Unload vials; the answer is which, with what was left in them. Raises as `load` does."""
        ...


class VialsInZones(Protocol):
    """The vials as they stand in the zones, where doses are taken from them."""

    def put(self, vials: Iterable[SeatedVial]) -> None:
        """Have vials stand in their places; those that do already are no matter. Never waits."""
        ...

    async def take(self, zone: ZoneId, vials: Sequence[SeatedVial]) -> tuple[SeatedVial, ...]:
        """Take vials out of a zone, and return them with what is left in them now.

        Raises `ActorError` where the zone does not answer; then they may be out or not.
        """
        ...


class ClosedHouse:
    """The zones while no server runs: what is stored of the vials is all there is."""

    def put(self, vials: Iterable[SeatedVial]) -> None:
        """Do nothing: a zone reads what is stored when it opens."""

    async def take(self, zone: ZoneId, vials: Sequence[SeatedVial]) -> tuple[SeatedVial, ...]:
        """Return the vials as they are."""
        return tuple(vials)


class VialDesk:
    """Load and unload vials, one after the other in each zone; see `VialKeeper`."""

    def __init__(
        self, plan: TheatrePlan, bus: Owner, views: VialViews, zones: VialsInZones
    ) -> None:
        self._catalogue = plan.catalogue
        self._plans = {zone.id: zone for zone in plan.zones}
        self._bus = bus
        self._views = views
        self._zones = zones
        self._turns: defaultdict[ZoneId, trio.Lock] = defaultdict(trio.Lock)

    async def load(self, wish: Load) -> Loaded:
        """Load vials."""
        kind, plan = self._kind(wish.sku), self._plan(wish.zone)
        slots = [slot for slot, scent in enumerate(plan.slots) if scent == kind.scent]
        if not slots:
            has = ", ".join(dict.fromkeys(plan.slots))
            raise InvalidVials("zone", f"{plan.id} has no slot for {kind.scent}; it has {has}")
        if wish.seats is not None and wish.most is not None:
            raise InvalidVials("most", "is for a whole zone; name so many seats instead")
        seats = plan.seat_ids() if wish.seats is None else _seats(plan, wish.seats)
        slots_there = [Place(plan.id, seat, slot) for seat in seats for slot in slots]
        async with self._turns[plan.id]:
            standing = {taken.vial.place: taken for taken in await self._standing(plan.id)}
            if wish.seats is None:
                places = _room(slots_there, standing, wish.orderid, wish.sku)[: wish.most]
                least = 1
                if not places:
                    raise NoFreeSlot(plan.id, kind.scent)
            else:
                places, least = slots_there, len(slots_there)
                for place in places:
                    if place in standing and not _is_of(standing[place], wish.orderid, wish.sku):
                        raise SlotTaken(place.seat, place.slot)
            return await self._bus.handle(
                LoadVials(wish.sku, wish.orderid, tuple(places), least, kind.capacity_us)
            )

    async def unload(self, wish: Unload) -> tuple[SeatedVial, ...]:
        """Unload vials."""
        async with self._turns[wish.zone]:
            standing = [taken.vial for taken in await self._standing(wish.zone)]
            self._check(wish, standing)
            seats = None if wish.seats is None else frozenset(wish.seats)
            meant = [
                vial
                for vial in standing
                if (seats is None or vial.place.seat in seats)
                and (wish.slot is None or vial.place.slot == wish.slot)
                and (wish.scent is None or self._catalogue.scent(vial.sku) == wish.scent)
                and (wish.below_percent is None or _is_below(vial, wish.below_percent))
            ]
            return await self._put_away(wish.zone, meant, wish.to) if meant else ()

    def _check(self, wish: Unload, standing: Sequence[SeatedVial]) -> None:
        """Refuse what names something that is neither planned nor has vials, and so is misspelt.

        Vials may be left of a zone, a seat or a slot that is in the theatre file no more.
        """
        plan = self._plans.get(wish.zone)
        if plan is None and not standing:
            plan = self._plan(wish.zone)  # which says what there is
        left_at = {vial.place.seat for vial in standing}
        if wish.seats is not None and not left_at.issuperset(wish.seats):
            known = [] if plan is None else plan.seat_ids()
            for seat in wish.seats:
                if seat not in left_at and seat not in known:
                    last = f", whose last one is {known[-1]}" if known else " with a vial"
                    raise InvalidVials("seats", f"{seat} is no seat of zone {wish.zone}{last}")
        slots = {vial.place.slot for vial in standing}
        slots.update(range(0 if plan is None else len(plan.slots)))
        if wish.slot is not None and wish.slot not in slots:
            raise InvalidVials("slot", f"zone {wish.zone} has slots {min(slots)} to {max(slots)}")
        scents = dict.fromkeys(() if plan is None else plan.slots)
        scents.update(dict.fromkeys(self._catalogue.scent(vial.sku) for vial in standing))
        scents.pop(NO_SCENT, None)
        if wish.scent is not None and wish.scent not in scents:
            has = ", ".join(scents) or "none that is known"
            problem = f"zone {wish.zone} has no slot for {wish.scent}; it has {has}"
            raise InvalidVials("scent", problem)

    async def _put_away(
        self, zone: ZoneId, vials: Sequence[SeatedVial], to: Whereabouts
    ) -> tuple[SeatedVial, ...]:
        out = {vial.id: vial for vial in await self._zones.take(zone, vials)}
        waiting: dict[Sku, list[SeatedVial]] = {}
        for vial in vials:
            waiting.setdefault(vial.sku, []).append(out.get(vial.id, vial))
        done: list[SeatedVial] = []
        with trio.CancelScope(shield=True):  # so that what became of it is known
            try:
                for sku in tuple(waiting):
                    levels = tuple((vial.id, vial.left_us) for vial in waiting[sku])
                    put_away = await self._bus.handle(UnloadVials(sku, levels, to))
                    done += put_away
                    del waiting[sku]
            except BaseException as error:
                rest = [vial for vials in waiting.values() for vial in vials]
                if isinstance(error, ActorCrashed):  # it may be done or not
                    rest = await self._those_that_stand(zone, rest)
                self._zones.put(rest)
                raise
        return tuple(done)

    async def _those_that_stand(
        self, zone: ZoneId, vials: Sequence[SeatedVial]
    ) -> list[SeatedVial]:
        try:
            ids = {taken.vial.id for taken in await self._standing(zone)}
        except StoreUnavailable:
            return list(vials)  # the zone learns the truth when it opens the next time
        return [vial for vial in vials if vial.id in ids]

    async def _standing(self, zone: ZoneId) -> tuple[TakenVial, ...]:
        return await self._views.vials(VialFilter(zone=zone, whereabouts=Whereabouts.SEATED))

    def _kind(self, sku: Sku) -> VialKind:
        kind = self._catalogue.kind(sku)
        if kind is None:
            known = ", ".join(kind.sku for kind in self._catalogue.kinds) or "nothing"
            raise InvalidVials(
                "sku",
                f"{sku} does not come in vials here: the theatre file's [[products]] name {known}",
            )
        return kind

    def _plan(self, zone: ZoneId) -> ZonePlan:
        plan = self._plans.get(zone)
        if plan is None:
            known = ", ".join(self._plans)
            raise InvalidVials("zone", f"there is no zone {zone}; there are {known}")
        return plan


def _seats(plan: ZonePlan, wanted: Sequence[SeatId]) -> list[SeatId]:
    known = plan.seat_ids()
    strangers = set(wanted).difference(known)
    for seat in wanted:
        if seat in strangers:
            problem = f"{seat} is no seat of zone {plan.id}, whose last one is {known[-1]}"
            raise InvalidVials("seats", problem)
    return list(dict.fromkeys(wanted))


def _room(
    places: Sequence[Place], standing: dict[Place, TakenVial], orderid: OrderId, sku: Sku
) -> list[Place]:
    """Return where vials of a line stand already, and then what is free."""
    theirs = [
        place for place in places if place in standing and _is_of(standing[place], orderid, sku)
    ]
    return theirs + [place for place in places if place not in standing]


def _is_of(taken: TakenVial, orderid: OrderId, sku: Sku) -> bool:
    return (taken.orderid, taken.vial.sku) == (orderid, sku)


def _is_below(vial: SeatedVial, percent: float) -> bool:
    return vial.left_us * 100 < percent * vial.capacity_us

"""The vial desk: brings vials from the stock into slots and takes them out again.

It knows the house: which slots a product fits into, and which of them are free. How many vials an
order has is decided by its product.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from scentrt.domain.commands import MOST_VIALS, LoadVials, UnloadVials
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

    With `seats` at all of these, or nothing happens; that is `MOST_VIALS` at most. Without,
    wherever there is room, as many as there are, and at most `most`.
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
            `ActorCrashed`, after which it may be done or not; and of a whole zone, which is loaded
            in parts of `MOST_VIALS`, some may stand there: to ask for the same again does the rest.
        """
        ...

    async def unload(self, wish: Unload) -> tuple[SeatedVial, ...]:
        """Unload vials; the answer is which, with what was left in them. Raises as `load` does.

        Many are unloaded in parts as well.
        """
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
        places = [Place(plan.id, seat, slot) for seat in seats for slot in slots]
        if wish.seats is not None and len(places) > MOST_VIALS:
            raise InvalidVials(
                "seats",
                f"{len(places):,} vials are too many to be loaded all or none: name seats for at "
                f"most {MOST_VIALS:,} at a time, or load the whole zone",
            )
        async with self._turns[plan.id]:
            standing = {taken.vial.place: taken for taken in await self._standing(plan.id)}
            theirs = [
                place
                for place in places
                if place in standing and _is_of(standing[place], wish.orderid, wish.sku)
            ]
            free = [place for place in places if place not in standing]
            if wish.seats is None:
                if not theirs and not free:
                    raise NoFreeSlot(plan.id, kind.scent)
                return await self._load_in_parts(wish, kind, theirs, free)
            if len(theirs) + len(free) < len(places):
                others = set(places).difference(theirs, free)
                first = next(place for place in places if place in others)
                raise SlotTaken(first.seat, first.slot)
            return await self._have_stand(
                LoadVials(wish.sku, wish.orderid, tuple(places), len(places), kind.capacity_us)
            )

    async def _have_stand(self, command: LoadVials) -> Loaded:
        with trio.CancelScope(shield=True):  # or nobody would bring them to their zone
            loaded = await self._bus.handle(command)
        # All of them: the product may have crashed over some of them, and been asked once more.
        self._zones.put(loaded.vials)
        return loaded

    async def _load_in_parts(
        self, wish: Load, kind: VialKind, theirs: list[Place], free: list[Place]
    ) -> Loaded:
        """Load wherever there is room: where vials of the line stand already, and what is free."""
        places = (theirs + free)[: wish.most]
        vials: list[SeatedVial] = []
        left = 0
        for start in range(0, len(places), MOST_VIALS):
            if start >= len(theirs) and start > 0 and left == 0:
                break
            part, least = tuple(places[start : start + MOST_VIALS]), 1 if start == 0 else 0
            loaded = await self._have_stand(
                LoadVials(wish.sku, wish.orderid, part, least, kind.capacity_us)
            )
            vials += loaded.vials
            left = loaded.left
        return Loaded(tuple(vials), left)

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
        by_sku: dict[Sku, list[SeatedVial]] = {}
        for vial in vials:
            by_sku.setdefault(vial.sku, []).append(out.get(vial.id, vial))
        waiting = deque(
            (sku, theirs[start : start + MOST_VIALS])
            for sku, theirs in by_sku.items()
            for start in range(0, len(theirs), MOST_VIALS)
        )
        done: list[SeatedVial] = []
        with trio.CancelScope(shield=True):  # so that what became of it is known
            try:
                while waiting:
                    sku, part = waiting[0]
                    levels = tuple((vial.id, vial.left_us) for vial in part)
                    put_away = await self._bus.handle(UnloadVials(sku, levels, to))
                    done += put_away
                    waiting.popleft()
            except BaseException as error:
                rest = [vial for _, part in waiting for vial in part]
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


def _is_of(taken: TakenVial, orderid: OrderId, sku: Sku) -> bool:
    return (taken.orderid, taken.vial.sku) == (orderid, sku)


def _is_below(vial: SeatedVial, percent: float) -> bool:
    return vial.left_us * 100 < percent * vial.capacity_us

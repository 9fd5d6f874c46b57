"""The rack: the vials that stand in the slots of a zone, and whether they will last."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scentrt.domain.bulletin import Bulletin
from scentrt.domain.cues import NO_SCENT, Scent, SeatId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.events import Change
from scentrt.domain.refills import Refill, RefillStatus
from scentrt.domain.seating import Seating
from scentrt.domain.seats import Seat, Slot, Vial
from scentrt.domain.vials import Catalogue, Place, ScentSupply, SeatedVial, VialId, VialLevel

TOLERANCE, LEAST_TOLERANCE_US = 0.05, 10 * US_PER_S
"""How far a device and we may be apart over a vial: this part of what it can hold, or so much. A
device's valves are not exact, and what it says is a little older than what we know."""

CONVINCING = 2
"""How many readings in a row have to disagree before anybody is told: one may be nonsense."""

_CHANGE_BY_STATUS = {
    RefillStatus.WANTED: Change.REFILL_WANTED,
    RefillStatus.ORDERED: Change.REFILL_ORDERED,
    RefillStatus.OUT_OF_STOCK: Change.REFILL_OUT_OF_STOCK,
    RefillStatus.MET: Change.REFILL_MET,
    RefillStatus.CANCELLED: Change.REFILL_CANCELLED,
}


@dataclass(slots=True)
class _Sum:
    """What there is of a scent, as it was counted last; see `ScentSupply`."""

    left_us: int = 0
    capacity_us: int = 0
    vials: set[VialId] = field(default_factory=set)
    low: int = 0


@dataclass(slots=True, eq=False)
class _Standing:
    """A vial in its slot: as it came, as it is, and what of it was told last.

    `planned` is the scent that the slot has without it. Of the sum of its scent (None where it is
    not known of what it is), `counted_us` is its part, and so is whether it `is_low`.
    """

    loaded: SeatedVial
    seat: Seat
    slot: Slot
    planned: Scent
    vial: Vial
    told_us: int | None
    sum: _Sum | None
    counted_us: int = 0
    is_low: bool = False


class Rack:
    """Know which vial stands where, and say what changes about them.

    Seats take from their vials by themselves; nothing here opens or closes a slot, so that is to be
    done before a vial comes or goes. `low_below` is the part of what its vials can hold below which
    a scent is low.

    A slot smells of the vial that stands in it, whatever it was planned for: the `catalogue` knows
    of what. Nothing is sprayed from a vial that is in no catalogue.

    What is left decides whether a seat is skipped, not what its device says is left: a gauge that
    is wrong must not silence a seat, and a level of ours that is too high costs no more than a cue
    that comes out weak.
    """

    def __init__(
        self, seating: Seating, bulletin: Bulletin, low_below: float, catalogue: Catalogue
    ) -> None:
        self._seating = seating
        self._bulletin = bulletin
        self._low_below = low_below
        self._catalogue = catalogue
        self._standing: dict[VialId, _Standing] = {}
        self._sums: dict[Scent, _Sum] = {}
        # Vials note in the first of these that they have changed, so that nobody has to look at all
        # of them every second; the others are those that are to be told and to be counted.
        self._changed: set[VialId] = set()
        self._untold: set[VialId] = set()
        self._uncounted: set[VialId] = set()
        # What was left in those that have gone and were to be told: until they are put away, they
        # still stand here for whoever reads what is stored.
        self._parting: list[VialLevel] = []
        # Those whose scent is not the planned one of their slot.
        self._misfits: dict[VialId, _Standing] = {}
        # By scent that is low, what there was of it when it became so.
        self._low: dict[Scent, ScentSupply] = {}
        # By vial, how many readings of its device in a row have disagreed.
        self._doubts: dict[VialId, int] = {}
        self.refills: dict[Scent, Refill] = {}
        """What the zone has ordered by itself and still needs, by scent."""
        self.longest_name = 0
        """How many characters the SKU or the batch of a vial here had at most."""
        self._watched: tuple[ScentSupply, ...] | None = None

    # Who comes and goes

    def spots(self, places: Iterable[Place]) -> list[tuple[Seat, Slot]]:
        """Return those of these places that are there."""
        return [spot for place in places if (spot := self._spot(place)) is not None]

    def missing(self, vials: Iterable[SeatedVial]) -> list[SeatedVial]:
        """Return those of these vials that have a place here and do not stand in it yet."""
        return [
            each
            for each in vials
            if self._spot(each.place) is not None and not self._stands(each.id, each.place)
        ]

    def places_of(self, vials: Iterable[SeatedVial]) -> list[Place]:
        """Return where these vials are to stand, and where we thought that they stood."""
        vials = tuple(vials)
        former = [
            self._standing[each.id].loaded.place for each in vials if each.id in self._standing
        ]
        return [*(each.place for each in vials), *former]

    def put(self, vials: Iterable[SeatedVial], now_ms: float) -> None:
        """Seat vials that were `missing`, and say so.

        They stand where the stock says; whatever else we thought to be there is not.
        """
        loaded: dict[Scent, list[SeatId]] = {}
        for each in vials:
            slot = self._seat(each, None, now_ms)
            loaded.setdefault(slot.scent, []).append(each.place.seat)
        self._tell(Change.VIALS_LOADED, loaded, now_ms)

    def restore(self, vials: Collection[SeatedVial], now_ms: float) -> int:
        """Seat vials that stood here before, saying nothing; return how many have no place here."""
        missing = self.missing(vials)
        for each in missing:
            self._seat(each, each.left_us, now_ms)
        return len(vials) - len(missing)

    def take(self, places: Iterable[Place], now_ms: float) -> tuple[SeatedVial, ...]:
        """Take the vials out of some slots, say so, and return them with what is left in each."""
        taken: list[SeatedVial] = []
        unloaded: dict[Scent, list[SeatId]] = {}
        for _, slot in self.spots(places):
            if slot.vial is not None and slot.vial.id is not None:
                standing = self._remove(slot.vial.id, now_ms)
                taken.append(standing.loaded.with_left(standing.vial.left_us))
                unloaded.setdefault(slot.scent, []).append(standing.loaded.place.seat)
        self._tell(Change.VIALS_UNLOADED, unloaded, now_ms)
        return tuple(taken)

    def remarks(self) -> list[str]:
        """Return sentences about vials that stand where the house was planned otherwise."""
        unknown = [each for each in self._misfits.values() if each.slot.scent == NO_SCENT]
        others = [each for each in self._misfits.values() if each.slot.scent != NO_SCENT]
        remarks = []
        if unknown:
            remarks.append(
                f"vials of products that the theatre file does not name (any more), such as "
                f"{_named(unknown)}: nothing is sprayed from them; add them to [[products]], or "
                "unload them"
            )
        if others:
            remarks.append(
                f"vials in slots for other scents, such as {_named(others)}: they are sprayed as "
                "what they are; unload them, or change the slots in the theatre file"
            )
        return remarks

    def _spot(self, place: Place) -> tuple[Seat, Slot] | None:
        seat = self._seating.get(place.seat)
        if seat is not None:
            for slot in seat.slots:
                if slot.number == place.slot:
                    return seat, slot
        return None

    def _stands(self, id: VialId, place: Place) -> bool:
        standing = self._standing.get(id)
        return standing is not None and standing.loaded.place == place

    def _seat(self, loaded: SeatedVial, told_us: int | None, now_ms: float) -> Slot:
        if loaded.id in self._standing:
            self._remove(loaded.id, now_ms)
        spot = self._spot(loaded.place)
        assert spot is not None
        seat, slot = spot
        if slot.vial is not None and slot.vial.id in self._standing:
            slot = self._remove(slot.vial.id, now_ms).slot
        planned = slot.scent
        vial = Vial(
            loaded.left_us,
            loaded.sku,
            loaded.batchref,
            loaded.id,
            loaded.capacity_us,
            self._changed,
        )
        slot = seat.equip(slot, vial, self._catalogue.scent(loaded.sku), now_ms)
        total = None if slot.scent == NO_SCENT else self._sums.setdefault(slot.scent, _Sum())
        if total is not None:
            total.vials.add(loaded.id)
            total.capacity_us += loaded.capacity_us
        standing = _Standing(loaded, seat, slot, planned, vial, told_us, total)
        self._standing[loaded.id] = standing
        self._changed.add(loaded.id)
        if slot.scent != planned:
            self._misfits[loaded.id] = standing
        self.longest_name = max(self.longest_name, len(loaded.sku), len(loaded.batchref))
        self._watched = None
        return slot

    def _remove(self, id: VialId, now_ms: float) -> _Standing:
        standing = self._standing.pop(id)
        if standing.vial.left_us != standing.told_us:
            self._parting.append(VialLevel(id, standing.loaded.place, standing.vial.left_us))
        self._watched = None
        self._doubts.pop(id, None)
        self._misfits.pop(id, None)
        total = standing.sum
        if total is not None:
            total.left_us -= standing.counted_us
            total.low -= standing.is_low
            total.capacity_us -= standing.loaded.capacity_us
            total.vials.remove(id)
            if not total.vials:
                del self._sums[standing.slot.scent]
        standing.slot = standing.seat.equip(standing.slot, None, standing.planned, now_ms)
        return standing

    def _tell(self, change: Change, seats: Mapping[Scent, list[SeatId]], now_ms: float) -> None:
        for scent, ids in seats.items():
            seat = ids[0] if len(ids) == 1 else None
            self._bulletin.changed(change, seat, now_ms, None if scent == NO_SCENT else scent)

    # What is left

    def take_levels(self) -> tuple[VialLevel, ...]:
        """Return the levels that have changed since the last time, also of vials that have gone."""
        self._note_changed()
        levels, self._parting = self._parting, []
        for id in self._untold:
            standing = self._standing.get(id)
            if standing is not None and standing.vial.left_us != standing.told_us:
                standing.told_us = standing.vial.left_us
                levels.append(VialLevel(id, standing.loaded.place, standing.told_us))
        self._untold.clear()
        return tuple(levels)

    def supply(self, now_ms: float) -> tuple[ScentSupply, ...]:
        """Return what there is of each scent of which there are vials, by the scent's name."""
        self._note_changed()
        flowing = set()
        for id in self._uncounted:
            standing = self._standing.get(id)
            if standing is not None and standing.sum is not None:
                self._count(standing, standing.sum, now_ms)
                if standing.slot.until_ms > now_ms:
                    flowing.add(id)  # there is less in it at every moment
        self._uncounted = flowing
        return tuple(
            ScentSupply(scent, total.left_us, total.capacity_us, frozenset(total.vials), total.low)
            for scent, total in sorted(self._sums.items())
        )

    def _count(self, standing: _Standing, total: _Sum, now_ms: float) -> None:
        left_us = standing.vial.left_us + standing.slot.unreleased_us(now_ms)
        is_low = left_us < self._low_below * standing.loaded.capacity_us
        total.left_us += left_us - standing.counted_us
        total.low += is_low - standing.is_low
        standing.counted_us, standing.is_low = left_us, is_low

    def _note_changed(self) -> None:
        self._untold |= self._changed
        self._uncounted |= self._changed
        self._changed.clear()

    def watch(self, now_ms: float) -> tuple[ScentSupply, ...]:
        """Say what has run low, and what no longer is; return the supply.

        It is judged by what is in the vials, so that no level makes it go to and fro. A scent that
        is low stays so until vials were loaded, and is held against what those that it had could
        hold, since to take the empty ones out puts no scent in. One whose vials were all taken out
        stays as it was.
        """
        supply = self._watched = self.supply(now_ms)
        for each in supply:
            before = self._low.get(each.scent)
            if before is None:
                if each.is_below(self._low_below):
                    self._low[each.scent] = each
                    self._bulletin.changed(Change.SUPPLY_LOW, None, now_ms, each.scent)
            elif each.has_others_than(before.vials) and not each.is_below(
                self._low_below, before.capacity_us
            ):
                del self._low[each.scent]
                self._bulletin.changed(Change.SUPPLY_RESTORED, None, now_ms, each.scent)
        return supply

    def watched(self, now_ms: float) -> tuple[ScentSupply, ...]:
        """Return the supply as it was watched last, for whoever asks for it again and again."""
        if self._watched is None:
            self._watched = self.supply(now_ms)
        return self._watched

    # What others say

    def hear(self, seat: Seat, left_us: Mapping[int, int], now_ms: float) -> None:
        """Take what a seat's device says is left, by slot, and say where it is another than ours.

        That is when two readings in a row are further apart from us than `TOLERANCE`, or what is
        the least of it; it ends with the first that is not.
        """
        for slot in seat.slots:
            slot.reported_us = left_us.get(slot.number)
            if slot.reported_us is not None:
                self._compare(seat, slot, slot.reported_us, now_ms)

    def _compare(self, seat: Seat, slot: Slot, reported_us: int, now_ms: float) -> None:
        standing = None
        if slot.vial is not None and slot.vial.id is not None:
            standing = self._standing.get(slot.vial.id)
        left_us = slot.left_us(now_ms)
        if standing is None or left_us is None:
            return
        id, capacity_us = standing.loaded.id, standing.loaded.capacity_us
        if abs(reported_us - left_us) > max(TOLERANCE * capacity_us, LEAST_TOLERANCE_US):
            self._doubts[id] = self._doubts.get(id, 0) + 1
            if self._doubts[id] == CONVINCING:
                self._bulletin.changed(Change.VIAL_DISAGREES, seat.id, now_ms, slot.scent)
        elif self._doubts.pop(id, 0) >= CONVINCING:
            self._bulletin.changed(Change.VIAL_AGREES, seat.id, now_ms, slot.scent)

    def set_refill(self, scent: Scent, refill: Refill, now_ms: float) -> None:
        """Know what has become of a scent's refill, and say so if it is new.

        One that is met is over, and nothing to show any more.
        """
        if refill.status is RefillStatus.MET:
            is_new = self.refills.pop(scent, None) is not None
        else:
            is_new = refill != self.refills.get(scent)
            self.refills[scent] = refill
        if is_new:
            self._bulletin.changed(_CHANGE_BY_STATUS[refill.status], None, now_ms, scent)


def _named(standing: Sequence[_Standing]) -> str:
    place, sku = standing[0].loaded.place, standing[0].loaded.sku
    return f"{sku} in slot {place.slot} of {place.seat} ({len(standing)} in all)"

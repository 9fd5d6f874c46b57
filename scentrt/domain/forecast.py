"""The forecast: before the curtain, whether what is in the vials lasts for a list of cues.

It is the most that the list can need: dose limits, clearing, stops and seats that are offline are
not simulated, and each of them makes it less. Of several slots of one scent at a seat, a cue takes
the first in which there is enough for the whole of it, as it does where none of them is busy. A
slot without a vial that anybody loaded counts as never empty.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from scentrt.domain.cues import GOGGLES_ZONE, Scent, SeatId, Target, ZoneId, dose_us
from scentrt.domain.vials import Catalogue, VialKind

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]
"""Work that may rest wherever it yields, and returns its result at the end."""

STRIDE = 500
"""Cues or seats between two rests: a tenth of a millisecond of work, or two."""


@dataclass(frozen=True, slots=True)
class PlannedCue:
    """A cue of a list, due `at_ms` into the show."""

    at_ms: float
    scent: Scent
    intensity: float
    duration_ms: float
    target: Target

    @property
    def is_for_goggles(self) -> bool:
        """Whether it is for goggles alone, which bring their own vials."""
        return bool(self.target.goggles) or self.target.zones == (GOGGLES_ZONE,)


@dataclass(frozen=True, slots=True)
class SlotNow:
    """A slot, and what is left in its vial: None where nobody has loaded one."""

    scent: Scent
    left_us: int | None


@dataclass(frozen=True, slots=True)
class SeatNow:
    """A seat as a forecast sees it; `gain` multiplies the intensity of what is sprayed there."""

    zone: ZoneId
    id: SeatId
    slots: tuple[SlotNow, ...]
    opted_out: bool = False
    averse_to: frozenset[Scent] = frozenset()
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class RunsDry:
    """The first cue, by its place in the list from 0, for which `seats` have too little left."""

    cue: int
    at_ms: float
    seats: tuple[SeatId, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """New vials with which it lasts, each in place of one that is there, the emptiest first.

    `during_show` of them take the place of one that the show itself has emptied, since even with
    new vials in all slots before the curtain those seats would run dry.
    """

    kind: VialKind
    vials: int
    seats: int
    during_show: int


@dataclass(frozen=True, slots=True)
class ScentForecast:
    """What the cues need of one scent at the seats of one zone that would be sprayed.

    `present_us` is what is left in their vials, None where none of the `seats` has one. Of the
    need, `uncounted_us` comes from seats without a vial, `uncounted_seats`. Vials will lack
    `short_us`, at `short_seats`; `dry` is when that begins, and `load` what to do about it, by
    product: the preferred one of those that hold the largest dose a seat needs. Seats for which
    there is none are in no `load`.
    """

    zone: ZoneId
    scent: Scent
    seats: int
    needed_us: int
    present_us: int | None
    uncounted_us: int
    uncounted_seats: int
    short_us: int
    short_seats: int
    dry: RunsDry | None
    load: tuple[Load, ...]

    @property
    def lasts(self) -> bool:
        """Whether no seat runs dry."""
        return self.dry is None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a list of `cues` needs, by zone and scent in the order of the house.

    `unsprayed` are the cues, by their places in the list from 0, that no seat would get.
    """

    cues: int
    ends_ms: float
    scents: tuple[ScentForecast, ...]
    unsprayed: tuple[int, ...]

    @property
    def lasts(self) -> bool:
        """Whether no seat runs dry."""
        return all(scent.lasts for scent in self.scents)


def forecast(
    cues: Sequence[PlannedCue], seats: Iterable[SeatNow], catalogue: Catalogue
) -> Forecast:
    """Return what a list of cues needs of the seats as they are now."""
    return finish(forecasting(cues, seats, catalogue))


def finish(steps: Steps[T], rest: Callable[[], object] = lambda: None) -> T:
    """Take all steps, with `rest` between any two."""
    while True:
        try:
            next(steps)
            rest()
        except StopIteration as done:
            result: T = done.value
            return result


def forecasting(
    cues: Sequence[PlannedCue], seats: Iterable[SeatNow], catalogue: Catalogue
) -> Steps[Forecast]:
    """Do the same with rests. Seats that are alike are looked at once."""
    programme = yield from _programme(cues)
    rows = yield from _group(seats, programme)
    sprayed: set[int] = set()
    scents = []
    for (zone, scent), groups in rows.items():
        common = programme.common(zone, scent)
        kinds = catalogue.of_scent(scent)
        row = _Row(programme)
        for (own, gain), seats_by_left in groups.items():
            ranks = sorted([*common, *own])
            sprayed.update(ranks)
            doses = yield from _doses(programme, ranks, gain)
            for left, alike in seats_by_left.items():
                yield from row.add(ranks, doses, left, alike, kinds)
        scents.append(row.sum_up(zone, scent))
    unsprayed = sorted(
        place
        for rank, place in enumerate(programme.places)
        if rank not in sprayed and not programme.cues[rank].is_for_goggles
    )
    ends_ms = max((cue.at_ms + cue.duration_ms for cue in cues), default=0.0)
    return Forecast(len(cues), ends_ms, tuple(scents), tuple(unsprayed))


def dose_at_us(cue: PlannedCue, gain: float) -> int:
    """Return what a cue takes of a vial at a seat with this gain."""
    return dose_us(min(1.0, cue.intensity * gain), cue.duration_ms)


_Left: TypeAlias = tuple[int | None, ...]
"""What is left in the slots of one scent at a seat."""

_Groups: TypeAlias = dict[tuple[tuple[int, ...], float], dict[_Left, list[SeatId]]]
"""Seats by the ranks of the cues that name them, by gain and by what they have left."""


class _Programme:
    """The cues in the order of their times; the rank of one is its number in that order."""

    def __init__(self, cues: Sequence[PlannedCue]) -> None:
        self.places = sorted(range(len(cues)), key=lambda place: cues[place].at_ms)
        self.cues = [cues[place] for place in self.places]
        self.scents = frozenset(cue.scent for cue in cues)
        self._everywhere: dict[Scent, list[int]] = {}
        self._in_zone: dict[tuple[ZoneId, Scent], list[int]] = {}
        self._at_seat: dict[tuple[SeatId, Scent], list[int]] = {}

    def enter(self, rank: int) -> None:
        cue = self.cues[rank]
        if cue.target.all:
            self._everywhere.setdefault(cue.scent, []).append(rank)
        for zone in cue.target.zones:
            self._in_zone.setdefault((zone, cue.scent), []).append(rank)
        for seat in cue.target.seats:
            self._at_seat.setdefault((seat, cue.scent), []).append(rank)

    def common(self, zone: ZoneId, scent: Scent) -> list[int]:
        """Return the ranks of the cues that mean every seat of a zone."""
        return [*self._everywhere.get(scent, ()), *self._in_zone.get((zone, scent), ())]

    def has_common(self, zone: ZoneId, scent: Scent) -> bool:
        return scent in self._everywhere or (zone, scent) in self._in_zone

    def own(self, seat: SeatId, scent: Scent) -> tuple[int, ...]:
        """Return the ranks of the cues that name a seat."""
        return tuple(self._at_seat.get((seat, scent), ()))


def _programme(cues: Sequence[PlannedCue]) -> Steps[_Programme]:
    programme = _Programme(cues)
    names = 0
    for rank in range(len(cues)):
        programme.enter(rank)
        names += 1 + len(programme.cues[rank].target.seats)
        if names >= STRIDE:
            names = 0
            yield
    return programme


def _group(
    seats: Iterable[SeatNow], programme: _Programme
) -> Steps[dict[tuple[ZoneId, Scent], _Groups]]:
    rows: dict[tuple[ZoneId, Scent], _Groups] = {}
    looked_at = 0
    for seat in seats:
        if seat.opted_out:
            continue
        left: dict[Scent, list[int | None]] = {}
        for slot in seat.slots:
            if slot.scent in programme.scents and slot.scent not in seat.averse_to:
                left.setdefault(slot.scent, []).append(slot.left_us)
        for scent, amounts in left.items():
            own = programme.own(seat.id, scent)
            if own or programme.has_common(seat.zone, scent):
                groups = rows.setdefault((seat.zone, scent), {})
                alike = groups.setdefault((own, seat.gain), {})
                loaded = [left_us for left_us in amounts if left_us is not None]
                alike.setdefault(tuple(loaded or amounts), []).append(seat.id)
            looked_at += 5 + len(own)
        if looked_at >= STRIDE:
            looked_at = 0
            yield
    return rows


def _doses(programme: _Programme, ranks: Sequence[int], gain: float) -> Steps[list[int]]:
    doses: list[int] = []
    for start in range(0, len(ranks), STRIDE):
        doses += [dose_at_us(programme.cues[rank], gain) for rank in ranks[start : start + STRIDE]]
        yield
    return doses


@dataclass(slots=True)
class _Spent:
    """What doses come to at a seat; `dry` is the number of the first that it does not have."""

    uncounted_us: int = 0
    short_us: int = 0
    dry: int | None = None


def _spend(doses: Sequence[int], left: _Left) -> Steps[_Spent]:
    total = sum(doses)
    if left[0] is None:
        return _Spent(uncounted_us=total)
    if total <= left[0]:
        return _Spent()
    spent, slots = _Spent(), list(left)
    for number, dose in enumerate(doses):
        if not number % STRIDE:
            yield
        for slot, us in enumerate(slots):
            if us is not None and us >= dose:
                slots[slot] = us - dose
                break
        else:
            spent.short_us += dose
            if spent.dry is None:
                spent.dry = number
    return spent


def _refill(doses: Sequence[int], left: Sequence[int], capacity_us: int) -> Steps[tuple[int, int]]:
    """Return how many new vials it takes, and how many of them during the show."""
    slots = list(left)
    emptiest_first = sorted(range(len(slots)), key=slots.__getitem__)
    for vials, slot in enumerate(emptiest_first, 1):
        slots[slot] = capacity_us
        if (yield from _spend(doses, tuple(slots))).dry is None:
            return vials, 0
    slots, vials = list(left), 0
    for number, dose in enumerate(doses):
        if not number % STRIDE:
            yield
        place = next((slot for slot, us in enumerate(slots) if us >= dose), None)
        if place is None:
            place = slots.index(min(slots))
            slots[place] = capacity_us
            vials += 1
        slots[place] -= dose
    return vials, vials


class _Row:
    """The sums of one scent in one zone."""

    def __init__(self, programme: _Programme) -> None:
        self._programme = programme
        self._seats = self._needed_us = self._present_us = 0
        self._vials = self._uncounted_us = self._uncounted_seats = 0
        self._short_us = self._short_seats = 0
        self._dry_rank = len(programme.cues)
        self._dry_seats: list[SeatId] = []
        self._load: dict[VialKind, Load] = {}

    def add(
        self,
        ranks: Sequence[int],
        doses: Sequence[int],
        left: _Left,
        seats: Sequence[SeatId],
        kinds: Sequence[VialKind],
    ) -> Steps[None]:
        """Add seats that are alike, and what each of them is to get."""
        spent = yield from _spend(doses, left)
        count, vials = len(seats), [us for us in left if us is not None]
        self._seats += count
        self._needed_us += count * sum(doses)
        self._present_us += count * sum(vials)
        self._vials += len(vials)
        self._uncounted_us += count * spent.uncounted_us
        self._uncounted_seats += count if len(vials) < len(left) else 0
        if spent.dry is None:
            return
        self._short_us += count * spent.short_us
        self._short_seats += count
        if ranks[spent.dry] < self._dry_rank:
            self._dry_rank, self._dry_seats = ranks[spent.dry], []
        if ranks[spent.dry] == self._dry_rank:
            self._dry_seats += seats
        largest = max(doses)
        kind = next((kind for kind in kinds if kind.capacity_us >= largest), None)
        if kind is not None:
            new, during = yield from _refill(doses, vials, kind.capacity_us)
            load = self._load.get(kind, Load(kind, 0, 0, 0))
            self._load[kind] = Load(
                kind,
                load.vials + count * new,
                load.seats + count,
                load.during_show + count * during,
            )

    def sum_up(self, zone: ZoneId, scent: Scent) -> ScentForecast:
        dry = None
        if self._short_seats:
            place = self._programme.places[self._dry_rank]
            at_ms = self._programme.cues[self._dry_rank].at_ms
            dry = RunsDry(place, at_ms, tuple(self._dry_seats))
        return ScentForecast(
            zone,
            scent,
            seats=self._seats,
            needed_us=self._needed_us,
            present_us=self._present_us if self._vials else None,
            uncounted_us=self._uncounted_us,
            uncounted_seats=self._uncounted_seats,
            short_us=self._short_us,
            short_seats=self._short_seats,
            dry=dry,
            load=tuple(self._load.values()),
        )

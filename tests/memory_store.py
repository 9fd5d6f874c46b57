"""A theatre's store in memory: all of `TheatreStore` but the disk, and it fails on request."""

from dataclasses import replace

import trio

from scentrt.actors.ledger import StoredDoses, Writes
from scentrt.actors.vial_book import Line
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import SeatedVial, VialId, VialLevel, Whereabouts
from scentrt.errors import StoreUnavailable, UnitRefused
from tests.memory_stock import MemoryStock

ENOUGH = 1_000_000
"""More commits than any test makes."""


class MemoryStore:
    """Keep what is committed for as long as this object lives.

    `seated` are vials that stand in seats though they are not of `stock`, and `journal` is what was
    released, by zone.
    `readable` and `writable` switch the failures, `commits_left` is after how many commits they
    begin to fail, `commit_s` how long a commit takes. `commits`
    are those that succeeded; settings of the seats in `refuses` are not taken;
    `attempted_at` has the time of every one, failed or not. `stock` is
    what units of work change.
    """

    def __init__(self) -> None:
        self.readable = True
        self.writable = True
        self.commits_left = ENOUGH
        self.commit_s = 0.0
        self.commits: list[Writes] = []
        self.attempted_at: list[float] = []
        self.stock = MemoryStock()
        self.refuses: set[SeatId] = set()
        self.seated: dict[VialId, SeatedVial] = {}
        self.journal: list[tuple[ZoneId, Line]] = []
        self._panicked = False
        self._settings: dict[ZoneId, dict[SeatId, SeatChange]] = {}
        self._rows: dict[ZoneId, dict[tuple[SeatId, int], int]] = {}
        self._marks: dict[ZoneId, tuple[float, bool]] = {}

    async def panicked(self) -> bool:
        await self._answer(able=self.readable)
        return self._panicked

    async def doses(self, zone: ZoneId, since_s: int) -> StoredDoses:
        await self._answer(able=self.readable)
        used: dict[SeatId, dict[int, int]] = {}
        for (seat, second), amount in self._rows.get(zone, {}).items():
            if second >= since_s:
                used.setdefault(seat, {})[second] = amount
        return StoredDoses(used, *self._marks.get(zone, (None, False)))

    async def vials(self, zone: ZoneId) -> tuple[SeatedVial, ...]:
        await self._answer(able=self.readable)
        of_stock = (
            taken.vial
            for taken in self.stock.tables.vials.values()
            if taken.whereabouts is Whereabouts.SEATED
        )
        return tuple(vial for vial in [*self.seated.values(), *of_stock] if vial.place.zone == zone)

    async def settings(self, zone: ZoneId) -> dict[SeatId, SeatChange]:
        await self._answer(able=self.readable)
        return dict(self._settings.get(zone, {}))

    async def commit(self, writes: Writes) -> None:
        self.attempted_at.append(trio.current_time())
        with trio.CancelScope(shield=True):  # like a real one, it finishes what it has begun
            await trio.sleep(self.commit_s)
        await self._answer(able=self.writable and self.commits_left > 0)
        if any(seat in self.refuses for _, seat, _ in writes.settings):
            raise UnitRefused("CHECK constraint failed")
        self.commits_left -= 1
        before = self.stock.tables
        self.stock.tables = before.copy()
        try:
            for vials in writes.vials:
                for level in vials.levels:
                    self._put(level)
            if writes.units:
                self.stock.commit(writes.units)
        except UnitRefused:
            self.stock.tables = before
            raise
        self.commits.append(writes)
        if writes.panicked is not None:
            self._panicked = writes.panicked
        for vials in writes.vials:
            self.journal += [(vials.zone, line) for line in vials.lines]
        for zone, seat, settings in writes.settings:
            self._settings.setdefault(zone, {})[seat] = settings
        for doses in writes.doses:
            rows = self._rows.setdefault(doses.zone, {})
            for second, seats in doses.used.items():
                rows.update({(seat, second): amount for seat, amount in seats.items()})
            for key in [key for key in rows if key[1] < doses.forget_before_s]:
                del rows[key]
            self._marks[doses.zone] = doses.through_ms, doses.closed

    def _put(self, level: VialLevel) -> None:
        taken = self.stock.tables.vials.get(level.id)
        if taken is not None and taken.whereabouts is Whereabouts.SEATED:
            self.stock.tables.vials[level.id] = replace(taken, vial=_with(level, taken.vial))
        elif level.id in self.seated:
            self.seated[level.id] = _with(level, self.seated[level.id])

    async def _answer(self, *, able: bool) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        if not able:
            raise StoreUnavailable("the database is away")


def _with(level: VialLevel, vial: SeatedVial) -> SeatedVial:
    """Return a vial at a level, if it still stands where that was said of it."""
    if vial.place != level.place:
        return vial
    return vial.with_left(max(0, min(level.left_us, vial.capacity_us)))

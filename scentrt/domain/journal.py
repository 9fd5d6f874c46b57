"""The cue journal: what was released, of which vials, and what of it was saved by ending early."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from scentrt.domain.cues import CueKey, OwnerId, Scent, SeatId
from scentrt.domain.events import Ended
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.runs import Run
from scentrt.domain.seats import Seat, Slot

MOST_NAMES = 100_000
"""How many seats, with one more for each entry, are kept by name between two takes: some 10 MB. It
is what 500 seats give in a second in which they are sprayed, and stopped, a hundred times."""

Source = tuple[Sku | None, BatchRef | None]
"""What a vial is, and the batch that it came from."""


class JournalEntry(NamedTuple):
    """A release at some seats whose vials came from one batch, or what was saved of an earlier one.

    The doses of a cue's entries add up to what was released: `dose_us`, over all these seats, is
    negative where `ended` says why less of it was. `cue` is None for levels, of which an entry
    sums up what was released lately. `seats` is None where every seat of the zone is meant; `sku`
    and `batchref` are None where nobody has loaded a vial.
    """

    at_ms: float
    owner: OwnerId
    cue: CueKey | None
    scent: Scent
    sku: Sku | None
    batchref: BatchRef | None
    seats: tuple[SeatId, ...] | None
    dose_us: int
    ended: Ended | None = None


@dataclass(slots=True)
class _Note:
    """An entry that may still grow: more seats may be stopped at the same moment."""

    at_ms: float
    run: Run
    source: Source
    seats: list[SeatId]
    everybody: int
    dose_us: int
    ended: Ended | None

    def entry(self) -> JournalEntry:
        run = self.run
        return JournalEntry(
            at_ms=self.at_ms,
            owner=run.owner,
            cue=run.cue,
            scent=run.scent,
            sku=self.source[0],
            batchref=self.source[1],
            seats=None if len(self.seats) == self.everybody else tuple(self.seats),
            dose_us=self.dose_us,
            ended=self.ended,
        )


@dataclass(slots=True)
class _Flow:
    """What levels of one owner give from one slot: `given_us` is not in any entry yet.

    Of the step that runs, `counted_us` is in it already, or in an entry.
    """

    seat: SeatId
    source: Source
    run: Run
    given_us: int = 0
    counted_us: int = 0

    def count(self, now_ms: float) -> None:
        """Count what has been released by now."""
        released_us = self.run.released_us(now_ms)
        self.given_us += released_us - self.counted_us
        self.counted_us = released_us


@dataclass(slots=True)
class _Sum:
    seats: dict[SeatId, None] = field(default_factory=dict)
    dose_us: int = 0


class Journal:
    """Note what is released, until somebody takes it.

    A cue is noted when its sprays begin, with all that they are meant to give, and corrected where
    they end early. Of levels it is noted what they gave between two takes. What is kept in between
    is bounded by `MOST_NAMES`, and by one flow a slot; the entries beyond are counted as lost.
    """

    def __init__(self) -> None:
        self._lost = 0
        self._room = MOST_NAMES
        self._notes: list[_Note] = []
        self._corrections: dict[tuple[Run, Source, Ended, float], _Note] = {}
        self._flows: dict[Slot, _Flow] = {}
        self._ebbed: list[_Flow] = []

    def note(self, run: Run, source: Source, seats: list[SeatId], everybody: int) -> None:
        """Note that a cue's sprays begin at these seats, of `everybody` in the zone."""
        if self._has_room(1 + len(seats)):
            dose_us = run.dose_us * len(seats)
            self._notes.append(_Note(run.starts_ms, run, source, seats, everybody, dose_us, None))

    def flow(self, seat: Seat, slot: Slot, run: Run, now_ms: float) -> None:
        """Note that a step of a level begins in a slot; one of its owner's may end with that."""
        flow, source = self._flows.get(slot), source_of(slot)
        if flow is not None and flow.run.owner == run.owner and flow.source == source:
            flow.count(now_ms)
            flow.run, flow.counted_us = run, 0
            return
        self._ebb(slot, now_ms)
        self._flows[slot] = _Flow(seat.id, source, run)

    def close(self, seat: Seat, slot: Slot, reason: Ended, everybody: int, now_ms: float) -> None:
        """Note that what runs in a slot is about to end early."""
        run = slot.running(now_ms)
        if run is None or slot.is_kept:
            return
        if run.is_level:
            self._ebb(slot, now_ms)
        else:
            saved_us = run.dose_us - run.released_us(now_ms)
            self.correct(run, source_of(slot), seat.id, saved_us, reason, everybody, now_ms)

    def correct(
        self,
        run: Run,
        source: Source,
        seat: SeatId,
        less_us: int,
        reason: Ended,
        everybody: int,
        now_ms: float,
    ) -> None:
        """Note that a cue gave so much less at a seat, and why."""
        if not less_us:
            return
        key = (run, source, reason, now_ms)
        note = self._corrections.get(key)
        if note is None:
            if not self._has_room(2):
                return
            note = self._corrections[key] = _Note(now_ms, run, source, [], everybody, 0, reason)
            self._notes.append(note)
        elif not self._has_room(1):
            return
        note.seats.append(seat)
        note.dose_us -= less_us

    def take(self, everybody: set[SeatId], now_ms: float) -> tuple[JournalEntry, ...]:
        """Hand over what was noted since the last time."""
        entries = [note.entry() for note in self._notes]
        entries += self._levels(everybody, now_ms)
        self._notes, self._corrections, self._room = [], {}, MOST_NAMES
        return tuple(entries)

    def take_lost(self) -> int:
        """Return how many entries found no room since the last time."""
        lost, self._lost = self._lost, 0
        return lost

    def _levels(self, everybody: set[SeatId], now_ms: float) -> Iterable[JournalEntry]:
        sums: dict[tuple[OwnerId, Scent, Source], _Sum] = {}
        for slot, flow in list(self._flows.items()):
            flow.count(now_ms)
            self._ebbed.append(flow)
            if flow.run.ends_ms <= now_ms:
                del self._flows[slot]
        for flow in self._ebbed:
            if flow.given_us:
                total = sums.setdefault((flow.run.owner, flow.run.scent, flow.source), _Sum())
                total.seats[flow.seat] = None
                total.dose_us += flow.given_us
                flow.given_us = 0
        self._ebbed = []
        for (owner, scent, (sku, batchref)), total in sums.items():
            seats = None if total.seats.keys() == everybody else tuple(total.seats)
            yield JournalEntry(now_ms, owner, None, scent, sku, batchref, seats, total.dose_us)

    def _ebb(self, slot: Slot, now_ms: float) -> None:
        flow = self._flows.pop(slot, None)
        if flow is not None:
            flow.count(now_ms)
            if self._has_room(1):
                self._ebbed.append(flow)

    def _has_room(self, names: int) -> bool:
        if names > self._room:
            self._lost += 1
            return False
        self._room -= names
        return True


def source_of(slot: Slot) -> Source:
    """Return what is in a slot; nothing is known of it where nobody has loaded a vial."""
    return (None, None) if slot.vial is None else (slot.vial.sku, slot.vial.batchref)

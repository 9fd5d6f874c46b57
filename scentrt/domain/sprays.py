"""Sprays: what a cue becomes at each of its seats, which have their own strength and moment."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count

from scentrt.domain.bulletin import Bulletin
from scentrt.domain.cues import Cue, CueKey, SeatId, Spray, dose_us
from scentrt.domain.decisions import Accepted
from scentrt.domain.events import Ended
from scentrt.domain.journal import Source, source_of
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.runs import Run
from scentrt.domain.seat_settings import AS_ASKED, Tuning
from scentrt.domain.seating import Seating
from scentrt.domain.seats import Seat, Skip, Slot

FOREVER = float("inf")

Places = list[tuple[Seat, Slot]]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Sprays that were decided and begin later; each unless its slot has another run by then."""

    run: Run
    expires_ms: float
    places: Places


class Sprays:
    """Decide at which seats a cue is sprayed and from which slots, and open these.

    A seat with a delay is decided together with the others: its budget, its vial and its slot are
    taken at once, and the order goes out later. Until then its slot is like one that is open, so
    that whatever closes it takes the spray back. Those that wait are in a heap, which they leave
    when their moment comes, taken back or not: it holds the cues of `MOST_DELAY_MS` at most.
    """

    def __init__(self, seating: Seating, bulletin: Bulletin) -> None:
        self._seating = seating
        self._bulletin = bulletin
        self._heap: list[tuple[float, int, _Kept]] = []
        self._order = count()

    @property
    def next_ms(self) -> float:
        """When `advance` has something to do; infinity where nothing waits."""
        return self._heap[0][0] if self._heap else FOREVER

    def foresee(self, cue: Cue, now_ms: float) -> Accepted:
        """Say what a cue will become when it is due, as things stand; nothing is released."""
        chosen, skipped = self._choose(cue, now_ms, max(now_ms, cue.due_ms))
        return Accepted(cue.due_ms, sum(map(len, chosen.values())), skipped)

    def dispatch(self, cue: Cue, now_ms: float) -> Accepted:
        """Spray a cue wherever it can be."""
        chosen, skipped = self._choose(cue, now_ms, now_ms)
        displaced: dict[Run, list[SeatId]] = {}
        sprayed: list[SeatId] = []
        for tuning, places in chosen.items():
            if places:
                sprayed += self._release(cue, tuning, places, displaced, now_ms)
        for other, ids in displaced.items():
            self._bulletin.ended(other, self._seating.named(ids), Ended.DISPLACED)
        if sprayed:
            self._bulletin.released(cue, self._seating.named(sprayed), now_ms)
        self._bulletin.dispatched(cue.key, len(sprayed), now_ms, now_ms - cue.due_ms)
        return Accepted(cue.due_ms, len(sprayed), skipped)

    def advance(self, now_ms: float) -> int:
        """Let the sprays begin whose delay is over; return how many cues were too late for it."""
        late = 0
        while self._heap and self._heap[0][0] <= now_ms:
            late += self._begin(heappop(self._heap)[2], now_ms)
        return late

    def give_back(self, key: CueKey, seats: Iterable[SeatId], now_ms: float) -> None:
        """Undo what is counted of a cue at seats that it surely has not reached.

        Budget and vial get the whole of it back, the journal is corrected, and a slot that would
        be open still is closed. Where something else has come from that slot since, it is too late.
        """
        ended: dict[Run, list[SeatId]] = {}
        for seat in self._seating.meant(tuple(seats)):
            for slot in seat.slots:
                run = slot.run
                if run is None or run.cue != key or slot.is_kept:
                    continue
                if slot.until_ms > now_ms:
                    ended.setdefault(run, []).append(seat.id)
                self._seating.journal.correct(
                    run,
                    source_of(slot),
                    seat.id,
                    seat.give_back(slot, now_ms),
                    Ended.NOT_SPRAYED,
                    len(self._seating.present),
                    now_ms,
                )
        self._tell_unsprayed(ended)

    def _choose(
        self, cue: Cue, now_ms: float, at_ms: float
    ) -> tuple[dict[Tuning, Places], dict[Skip, int]]:
        dose = dose_us(cue.intensity, cue.duration_ms)
        scent, priority, mix = cue.scent, cue.priority, cue.mix
        places: Places = []
        chosen = {AS_ASKED: places}
        skipped: dict[Skip, int] = {}
        for seat in self._seating.meant(cue.seats):
            tuning = seat.tuning
            if tuning is None:
                picked = seat.pick(scent, dose, priority, now_ms, at_ms, mix=mix)
                if isinstance(picked, Slot):
                    places.append((seat, picked))
                else:
                    skipped[picked] = skipped.get(picked, 0) + 1
                continue
            own_dose = dose_us(tuning.amplify(cue.intensity), cue.duration_ms)
            picked = seat.pick(scent, own_dose, priority, now_ms, at_ms, mix=mix)
            if isinstance(picked, Slot):
                chosen.setdefault(tuning, []).append((seat, picked))
            else:
                skipped[picked] = skipped.get(picked, 0) + 1
        return chosen, skipped

    def _release(
        self,
        cue: Cue,
        tuning: Tuning,
        places: Places,
        displaced: dict[Run, list[SeatId]],
        now_ms: float,
    ) -> list[SeatId]:
        """Open the slots at seats of one tuning, or keep them until the delay is over."""
        intensity, starts_ms = tuning.amplify(cue.intensity), now_ms + tuning.delay_ms
        run = Run(
            cue=cue.key,
            owner=cue.key.owner,
            scent=cue.scent,
            priority=cue.priority,
            intensity=intensity,
            starts_ms=starts_ms,
            ends_ms=starts_ms + cue.duration_ms,
            dose_us=dose_us(intensity, cue.duration_ms),
        )
        expires_ms = cue.expires_ms + tuning.delay_ms
        start = Seat.keep if tuning.delay_ms else Seat.open
        cut: dict[int, list[SeatId]] = {}
        for seat, slot in places:
            if slot.until_ms > now_ms and slot.run is not None:
                displaced.setdefault(slot.run, []).append(seat.id)
                cut.setdefault(slot.number, []).append(seat.id)
                self._seating.journal_end(seat, slot, Ended.DISPLACED, now_ms)
            start(seat, slot, run, now_ms)
        if not tuning.delay_ms:
            return self._order_sprays(run, cue.duration_ms, expires_ms, places)
        for number, ids in cut.items():  # which no spray does yet
            self._bulletin.halt(number, ids)
        kept = _Kept(run, expires_ms, places)
        heappush(self._heap, (starts_ms, next(self._order), kept))
        return [seat.id for seat, _ in places]

    def _begin(self, kept: _Kept, now_ms: float) -> bool:
        """Begin what was kept and may still be; say whether it had become too late."""
        left = [(seat, slot) for seat, slot in kept.places if slot.run is kept.run]
        is_late = now_ms > kept.expires_ms
        ready = [] if is_late else [place for place in left if place[0].is_reachable]
        unsprayed = left if is_late else [place for place in left if not place[0].is_reachable]
        for seat, slot in unsprayed:
            seat.close(slot, now_ms)
        if unsprayed:
            self._tell_unsprayed({kept.run: [seat.id for seat, _ in unsprayed]})
        if ready:
            lasts_ms = kept.run.ends_ms - kept.run.starts_ms
            # A little late, it is as long as it was to be.
            run = replace(kept.run, starts_ms=now_ms, ends_ms=now_ms + lasts_ms)
            for seat, slot in ready:
                seat.begin(slot, run)
            self._order_sprays(run, lasts_ms, kept.expires_ms, ready)
        withdrawn = len(kept.places) - len(left)
        if kept.run.cue is not None and (withdrawn or unsprayed):
            failed, expired = (0, len(unsprayed)) if is_late else (len(unsprayed), 0)
            self._bulletin.dropped(kept.run.cue, withdrawn, failed, expired)
        return is_late and bool(left)

    def _order_sprays(
        self, run: Run, lasts_ms: float, expires_ms: float, places: Places
    ) -> list[SeatId]:
        """Order what has been opened, note it in the journal, and return the seats."""
        alike: dict[tuple[int, Sku | None, BatchRef | None], list[SeatId]] = {}
        number, sku, batchref = -1, None, None
        same: list[SeatId] = []
        for seat, slot in places:
            vial = slot.vial
            if vial is None:
                if slot.number != number or sku is not None or batchref is not None:
                    number, sku, batchref = slot.number, None, None
                    same = alike.setdefault((number, sku, batchref), [])
            elif slot.number != number or vial.sku != sku or vial.batchref != batchref:
                number, sku, batchref = slot.number, vial.sku, vial.batchref
                same = alike.setdefault((number, sku, batchref), [])
            same.append(seat.id)
        by_slot: dict[int, list[SeatId]] = {}
        by_source: dict[Source, list[SeatId]] = {}
        for (number, sku, batchref), ids in alike.items():
            source = sku, batchref
            by_slot[number] = by_slot[number] + ids if number in by_slot else ids
            by_source[source] = by_source[source] + ids if source in by_source else ids
        for number, ids in by_slot.items():
            spray = Spray(number, run.intensity, lasts_ms, run.cue, expires_ms)
            self._bulletin.spray(spray, ids)
        for source, ids in by_source.items():
            self._seating.journal.note(run, source, ids, len(self._seating.present))
        return [id for ids in by_slot.values() for id in ids]

    def _tell_unsprayed(self, ended: dict[Run, list[SeatId]]) -> None:
        for run, ids in ended.items():
            self._bulletin.ended(run, self._seating.named(ids), Ended.NOT_SPRAYED)

"""Levels: continuous sources that stand in a zone until they end or their sender falls silent."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from scentrt.domain.bulletin import Bulletin
from scentrt.domain.cues import LevelKey, OwnerId, SeatId, Spray, dose_us
from scentrt.domain.decisions import Refusal
from scentrt.domain.events import ACTIVE, ENDED, Ended
from scentrt.domain.runs import Run
from scentrt.domain.seating import Seating
from scentrt.domain.seats import LEVEL_PRIORITY, Seat, Skip, Slot

NEVER, FOREVER = float("-inf"), float("inf")


@dataclass(slots=True, eq=False)
class Standing:
    """One level as it stands: where it sprays, until when, and what was told of it last."""

    key: LevelKey
    ends_ms: float
    places: dict[Slot, Seat] = field(default_factory=dict)
    state: str = ""
    intensity: float = 0.0
    seats: tuple[SeatId, ...] | None = None
    told_until_ms: float = NEVER
    looked_at_ms: float = FOREVER
    """When the heap will bring it up next; entries for another moment are out of date."""


class Levels:
    """Keep the levels of a zone, spray what they ask for, and end those that are over.

    An update only moves `ends_ms`; the heap is put right when the old moment comes up, so that
    sixty updates a second cost no sorting.
    """

    def __init__(self, seating: Seating, bulletin: Bulletin) -> None:
        self._seating = seating
        self._bulletin = bulletin
        self._standing: dict[LevelKey, Standing] = {}
        self._heap: list[tuple[float, int, Standing]] = []
        self._order = count()

    @property
    def next_ms(self) -> float:
        """When `advance` is next worth asking; infinity where no level stands."""
        return self._heap[0][0] if self._heap else FOREVER

    def hold(
        self,
        key: LevelKey,
        intensity: float,
        seats: tuple[SeatId, ...] | None,
        ends_ms: float,
        now_ms: float,
    ) -> None:
        """Hold a level at these seats until it ends; where it no longer can be, it ends now.

        Each seat has its own gain, and none its delay: see `SeatSettings`.
        """
        standing = self._keep(key, ends_ms)
        skipped: Counter[Skip] = Counter()
        places: dict[Slot, Seat] = {}
        alike: dict[tuple[int, float, float], list[tuple[Seat, Slot]]] = {}
        for seat in self._seating.meant(seats):
            tuning = seat.tuning
            here = intensity if tuning is None else tuning.amplify(intensity)
            picked = seat.pick_for_level(key, here, ends_ms, now_ms)
            if isinstance(picked, Skip):
                skipped[picked] += 1
                continue
            slot, total, until_ms = picked
            slot.parts[key] = here, ends_ms
            places[slot] = seat
            alike.setdefault((slot.number, total, until_ms), []).append((seat, slot))
        former, standing.places = standing.places, places
        self._withdraw(key, [place for place in former.items() if place[0] not in places], now_ms)
        for (_, total, until_ms), chosen in alike.items():
            self._release(key, total, until_ms, chosen, now_ms)
        if places:
            standing.seats = self._seating.named([seat.id for seat in places.values()])
            self._tell(standing, ACTIVE, intensity, now_ms)
        else:
            reason = skipped.most_common(1)[0][0] if skipped else Skip.OFFLINE
            self._tell(standing, reason, 0.0, now_ms)

    def refuse(self, key: LevelKey, reason: Refusal, ends_ms: float, now_ms: float) -> None:
        """Tell a level's sender that nothing of it is sprayed."""
        self._tell(self._keep(key, ends_ms), reason, 0.0, now_ms)

    def refuse_all(self, reason: Refusal, now_ms: float) -> None:
        """Tell all senders that nothing of their levels is sprayed any more."""
        for standing in self._of(None):
            self._withdraw(standing.key, standing.places.items(), now_ms)
            standing.places.clear()
            self._tell(standing, reason, 0.0, now_ms)

    def end(self, key: LevelKey, now_ms: float) -> None:
        """End a level, if it stands: its slots close, but for what else is mixed there."""
        standing = self._standing.pop(key, None)
        if standing is not None:
            self._withdraw(key, standing.places.items(), now_ms)
            self._tell(standing, ENDED, 0.0, now_ms)

    def end_all(self, owner: OwnerId, now_ms: float) -> None:
        """End all levels of an owner."""
        for standing in self._of(owner):
            self.end(standing.key, now_ms)

    def end_stopped(self, owner: OwnerId | None, now_ms: float) -> None:
        """End those levels of an owner, or of all, of which a stop has left nothing.

        Those of which there was nothing before stand on, as they were told.
        """
        for standing in self._of(owner):
            if standing.places and not any(standing.key in slot.parts for slot in standing.places):
                self.end(standing.key, now_ms)

    def lose(self, seat: Seat, now_ms: float) -> None:
        """Tell the senders of those levels that nobody has any more who can be reached.

        A level stands on until it ends, and is told of again when there is somebody.
        """
        for standing in self._standing.values():
            seats = standing.places.values()
            if seat in seats and not any(each.online for each in seats):
                self._tell(standing, Skip.OFFLINE, 0.0, now_ms)

    def advance(self, now_ms: float) -> None:
        """End the levels whose time is up."""
        while self._heap and self._heap[0][0] <= now_ms:
            looked_at_ms, _, standing = heappop(self._heap)
            dropped = self._standing.get(standing.key) is not standing
            if dropped or looked_at_ms != standing.looked_at_ms:
                continue
            if standing.ends_ms > now_ms:
                self._look_at(standing)
            else:
                self.end(standing.key, now_ms)

    def _of(self, owner: OwnerId | None) -> list[Standing]:
        return [s for s in self._standing.values() if owner in (None, s.key.owner)]

    def _keep(self, key: LevelKey, ends_ms: float) -> Standing:
        standing = self._standing.get(key)
        if standing is None:
            standing = self._standing[key] = Standing(key, ends_ms)
        standing.ends_ms = ends_ms
        if ends_ms < standing.looked_at_ms:
            self._look_at(standing)
        return standing

    def _look_at(self, standing: Standing) -> None:
        standing.looked_at_ms = standing.ends_ms
        heappush(self._heap, (standing.ends_ms, next(self._order), standing))

    def _release(
        self,
        key: LevelKey,
        intensity: float,
        until_ms: float,
        places: list[tuple[Seat, Slot]],
        now_ms: float,
    ) -> None:
        lasts_ms = until_ms - now_ms
        run = Run(
            cue=None,
            owner=key.owner,
            scent=key.scent,
            priority=LEVEL_PRIORITY,
            intensity=intensity,
            starts_ms=now_ms,
            ends_ms=until_ms,
            dose_us=dose_us(intensity, lasts_ms),
        )
        for seat, slot in places:
            self._seating.journal.flow(seat, slot, run, now_ms)
            seat.open(slot, run, now_ms)
        spray = Spray(places[0][1].number, intensity, lasts_ms, None, until_ms)
        self._bulletin.spray(spray, (seat.id for seat, _ in places))

    def _withdraw(self, key: LevelKey, places: Iterable[tuple[Slot, Seat]], now_ms: float) -> None:
        """Take a level out of some slots; what its owner's other levels give there goes on."""
        closed: dict[int, list[SeatId]] = {}
        for slot, seat in places:
            part = slot.parts.pop(key, None)
            run = slot.running(now_ms)
            if part is None or run is None or run.owner != key.owner or not seat.online:
                continue
            intensity, until_ms = slot.mixed(now_ms, but_for=key)
            if intensity > 0:
                self._release(key, min(1.0, intensity), until_ms, [(seat, slot)], now_ms)
            else:
                self._seating.journal_end(seat, slot, Ended.STOPPED, now_ms)
                seat.close(slot, now_ms)
                closed.setdefault(slot.number, []).append(seat.id)
        for number, ids in closed.items():
            self._bulletin.halt(number, ids)

    def _tell(self, standing: Standing, state: str, intensity: float, now_ms: float) -> None:
        """Tell whoever looks on, before what they were told has run out, and the sender."""
        if intensity > 0:
            lasts_ms = standing.ends_ms - now_ms
            news = intensity != standing.intensity or now_ms + lasts_ms / 2 > standing.told_until_ms
        else:
            lasts_ms, news = 0.0, standing.intensity > 0
        if news:
            standing.intensity = intensity
            standing.told_until_ms = now_ms + lasts_ms
            scent, seats = standing.key.scent, standing.seats
            self._bulletin.levelled(scent, intensity, lasts_ms, seats, now_ms)
        if state != standing.state:
            standing.state = state
            self._bulletin.level_state(standing.key, str(state))

"""The levels that stand in a zone: one entry a source, until it ends or falls silent."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from scentrt.domain.cues import LevelKey, OwnerId, SeatId
from scentrt.domain.seats import Seat, Slot


@dataclass(slots=True, eq=False)
class Standing:
    """One level as it stands: where it sprays, until when, and what its sender was told last."""

    key: LevelKey
    expires_ms: float
    state: str = ""
    intensity: float = 0.0
    places: list[tuple[Seat, Slot]] = field(default_factory=list)
    seats: tuple[SeatId, ...] | None = None
    looked_at_ms: float = float("inf")
    """When the heap will bring it up next; entries for another moment are out of date."""


class Levels:
    """Keep the standing levels and know which has to end next.

    An update only moves `expires_ms`; the heap is put right when the old moment comes up, so that
    sixty updates a second cost no sorting.
    """

    def __init__(self) -> None:
        self._standing: dict[LevelKey, Standing] = {}
        self._heap: list[tuple[float, int, Standing]] = []
        self._order = count()

    def keep(self, key: LevelKey, expires_ms: float) -> Standing:
        """Return the entry of a level, new or known, which now ends at `expires_ms`."""
        standing = self._standing.get(key)
        if standing is None:
            standing = self._standing[key] = Standing(key, expires_ms)
        standing.expires_ms = expires_ms
        if expires_ms < standing.looked_at_ms:
            self._look_at(standing)
        return standing

    def get(self, key: LevelKey) -> Standing | None:
        """Return the entry of a level, if it stands."""
        return self._standing.get(key)

    def drop(self, standing: Standing) -> None:
        """Forget a level that has ended."""
        self._standing.pop(standing.key, None)

    def of(self, owner: OwnerId | None) -> list[Standing]:
        """Return the levels of one owner, or all of them."""
        return [s for s in self._standing.values() if owner is None or s.key.owner == owner]

    def expired(self, now_ms: float) -> list[Standing]:
        """Take out the levels whose time is up, and return them."""
        found: list[Standing] = []
        while self._heap and self._heap[0][0] <= now_ms:
            looked_at_ms, _, standing = heappop(self._heap)
            dropped = self._standing.get(standing.key) is not standing
            if dropped or looked_at_ms != standing.looked_at_ms:
                continue
            if standing.expires_ms > now_ms:
                self._look_at(standing)
            else:
                self.drop(standing)
                found.append(standing)
        return found

    @property
    def next_ms(self) -> float:
        """When `expired` is next worth asking; infinity where no level stands."""
        return self._heap[0][0] if self._heap else float("inf")

    def _look_at(self, standing: Standing) -> None:
        standing.looked_at_ms = standing.expires_ms
        heappush(self._heap, (standing.expires_ms, next(self._order), standing))

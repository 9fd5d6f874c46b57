"""The dose book of a zone: what its seats used, and what of that is not on disk yet.

Synchronous and without a clock, so that what the ledger promises can be read and tested here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scentrt.domain.cues import SeatId, ZoneId

BUDGET_HORIZON_S = 3600
"""How long a dose counts: the longest window of a budget. Older rows matter to nobody."""

MAX_ROWS_PER_ZONE = 100_000
"""How much may wait for one zone, about 10 MB. For the 24 seats of the usual zone that is more than
the hour after which rows are dropped anyway; 500 seats that spray without a pause reach it after
more than three minutes without a database."""


@dataclass(frozen=True, slots=True)
class StoredDoses:
    """What a zone had used, as far as the ledger knows.

    `used` goes from seat to Unix second to micro-dose-seconds, and holds everything up to
    `through_ms`. That is None if nothing was ever written. `closed` says that the zone ended in
    good order: nothing was sprayed after `through_ms`.
    """

    used: Mapping[SeatId, Mapping[int, int]]
    through_ms: float | None
    closed: bool


@dataclass(frozen=True, slots=True)
class ZoneDoses:
    """What one commit stores of one zone.

    `used` goes from Unix second to seat to the micro-dose-seconds of that second, in place of what
    is stored for it. `through_ms` and `closed` replace the zone's mark. Rows older than
    `forget_before_s` are needed no more.
    """

    zone: ZoneId
    used: Mapping[int, Mapping[SeatId, int]]
    through_ms: float
    closed: bool
    forget_before_s: int


class DoseBook:
    """One zone's page: what it recorded that is not known to be on disk.

    Rows stay here until a commit of them has succeeded, so a failed one needs no undoing.
    """

    def __init__(self, zone: ZoneId) -> None:
        self.zone = zone
        self._rows: dict[int, dict[SeatId, int]] = {}  # by second, as in ZoneDoses
        self._through_ms = 0.0
        self._closed = False
        self._stored_mark: tuple[float, bool] | None = None
        self._lost_s: tuple[int, int] | None = None  # the first and the last second given up
        self._all_taken_at: float | None = None
        self.since: float | None = None  # when the oldest thing that waits was recorded

    def record(
        self,
        used: Mapping[tuple[SeatId, int], int],
        through_ms: float,
        *,
        closed: bool,
        now: float,
    ) -> int:
        """Take newer values, and return how many rows had to be given up for them."""
        for (seat, second), amount in used.items():
            self._rows.setdefault(second, {})[seat] = amount
        self._through_ms = max(self._through_ms, through_ms)
        self._closed = closed
        if self.since is None:
            self.since = now
        for second in [second for second in self._rows if second < self._horizon_s]:
            del self._rows[second]
        if self._lost_s is not None and self._lost_s[1] < self._horizon_s:
            self._lost_s = None
        return self._give_up_the_oldest()

    @property
    def waits(self) -> bool:
        return bool(self._rows) or self._mark(()) != self._stored_mark

    def take(self, max_rows: int, now: float) -> ZoneDoses:
        """Return what waits, in whole seconds, the oldest first, to about `max_rows` rows."""
        taken: dict[int, dict[SeatId, int]] = {}
        for second in sorted(self._rows):
            if max_rows <= 0:
                break
            taken[second] = dict(self._rows[second])
            max_rows -= len(taken[second])
        left = self._rows.keys() - taken.keys()
        self._all_taken_at = None if left else now
        through_ms, closed = self._mark(left)
        return ZoneDoses(self.zone, taken, through_ms, closed, self._horizon_s)

    def stored(self, doses: ZoneDoses) -> None:
        """Strike out what is on disk now; a row that was changed meanwhile stays."""
        for second, seats in doses.used.items():
            rows = self._rows.pop(second, {})
            newer = {seat: amount for seat, amount in rows.items() if seats.get(seat) != amount}
            if newer:
                self._rows[second] = newer
        self._stored_mark = (doses.through_ms, doses.closed)
        if not self.waits:
            self.since = None
        elif self._all_taken_at is not None:
            self.since = self._all_taken_at  # what waits now came later

    def laid_over(self, stored: StoredDoses, since_s: int) -> StoredDoses:
        """Return what is stored, as it would be if nothing waited any more."""
        used = {seat: dict(seconds) for seat, seconds in stored.used.items()}
        for second, seats in self._rows.items():
            if second >= since_s:
                for seat, amount in seats.items():
                    used.setdefault(seat, {})[second] = amount
        return StoredDoses(used, *self._mark(()))

    @property
    def _horizon_s(self) -> int:
        return int(self._through_ms / 1000) - BUDGET_HORIZON_S

    def _mark(self, waiting_s: Iterable[int]) -> tuple[float, bool]:
        """Return up to when nothing is missing, and whether nothing comes after it.

        Once `waiting_s` and what was given up are missing, the mark ends before them: what it says
        must be true at every commit, since a crash may come after any of them.
        """
        missing_s = [*waiting_s, *(self._lost_s or ())]
        if not missing_s:
            return self._through_ms, self._closed
        return min(self._through_ms, 1000.0 * min(missing_s)), False

    def _give_up_the_oldest(self) -> int:
        rows = sum(map(len, self._rows.values()))
        lost = 0
        while rows - lost > MAX_ROWS_PER_ZONE:
            second = min(self._rows)
            lost += len(self._rows.pop(second))
            first, last = self._lost_s or (second, second)
            self._lost_s = min(first, second), max(last, second)
        return lost

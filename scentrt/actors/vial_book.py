"""The vial book of a zone: what its vials hold, what was released, and what of it is not on disk.

Synchronous and without a clock, so that what the ledger promises can be read and tested here.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from scentrt.domain.cues import ZoneId
from scentrt.domain.journal import JournalEntry
from scentrt.domain.vials import SeatedVial, VialId, VialLevel

MOST_NAMES_WAITING = 200_000
"""How much of the journal may wait for one zone: lines, and the seats that they name, some 20 MB at
most. Ten cues a second for a whole zone reach it after hours without a database, and where each
names a hundred seats after minutes. Levels need no bound: there is one for each vial, and no vial
comes or goes while the database is away."""

SHOWN_OF_SESSION = len("s-") + 8
"""Characters of a session's id that are stored: enough to tell sessions apart. The whole of it is a
secret, with which the session can be taken up."""


class Line(NamedTuple):
    """A line of the journal: an entry, and who asked for it by its hello name and short session."""

    entry: JournalEntry
    session: str
    source: str

    @classmethod
    def of(cls, entry: JournalEntry, name: str | None) -> "Line":
        """Write an entry down for whoever has this name; where nobody knows it, for the session."""
        session = entry.owner[:SHOWN_OF_SESSION]
        return cls(entry, session, name or session)


@dataclass(frozen=True, slots=True)
class ZoneVials:
    """What one commit stores of one zone: levels in place of older ones, and lines to be added.

    `through` is the number of the last of these lines.
    """

    zone: ZoneId
    levels: tuple[VialLevel, ...]
    lines: tuple[Line, ...]
    through: int

    @property
    def rows(self) -> int:
        """How many rows that is."""
        return len(self.levels) + len(self.lines)


class VialBook:
    """One zone's page: things stay here until a commit of them has succeeded.

    So a failed one needs no undoing.
    """

    def __init__(self, zone: ZoneId) -> None:
        self.zone = zone
        self._levels: dict[VialId, VialLevel] = {}
        self._lines: deque[Line] = deque()
        self._names = 0  # in those lines, and the lines themselves
        self._written = 0  # how many lines have left, one way or another
        self._all_taken_at: float | None = None
        self.since: float | None = None  # when the oldest thing that waits was recorded

    def record(self, levels: Iterable[VialLevel], lines: Iterable[Line], now: float) -> int:
        """Take newer levels and more lines; return how many lines had to be given up for them."""
        self._levels.update((level.id, level) for level in levels)
        for line in lines:
            self._lines.append(line)
            self._names += _names_in(line)
        if self.waits and self.since is None:
            self.since = now
        lost = 0
        while self._names > MOST_NAMES_WAITING:
            self._strike_out_first()
            lost += 1
        return lost

    @property
    def waits(self) -> bool:
        return bool(self._levels or self._lines)

    def take(self, max_rows: int, now: float) -> ZoneVials:
        """Return what waits, the oldest lines first, to `max_rows` rows."""
        levels = tuple(self._levels.values())[:max_rows]
        room = max_rows - len(levels)
        lines = tuple(line for line, _ in zip(self._lines, range(room), strict=False))
        is_all = len(levels) == len(self._levels) and len(lines) == len(self._lines)
        self._all_taken_at = now if is_all else None
        return ZoneVials(self.zone, levels, lines, self._written + len(lines))

    def stored(self, vials: ZoneVials) -> None:
        """Strike out what is on disk now; a level that was changed meanwhile stays."""
        for level in vials.levels:
            if self._levels.get(level.id) is level:
                del self._levels[level.id]
        while self._written < vials.through:  # fewer, where some have been given up meanwhile
            self._strike_out_first()
        if not self.waits:
            self.since = None
        elif self._all_taken_at is not None:
            self.since = self._all_taken_at  # what waits now came later

    def laid_over(self, stored: Iterable[SeatedVial]) -> tuple[SeatedVial, ...]:
        """Return what is stored, as it would be if nothing waited any more."""
        return tuple(
            vial if level is None or level.place != vial.place else vial.with_left(level.left_us)
            for vial in stored
            for level in [self._levels.get(vial.id)]
        )

    def _strike_out_first(self) -> None:
        self._names -= _names_in(self._lines.popleft())
        self._written += 1


def _names_in(line: Line) -> int:
    return 1 + len(line.entry.seats or ())

"""The settings book: what was set for seats and is not on disk yet."""

from collections.abc import Iterable
from itertools import islice

from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange

SettingsRow = tuple[ZoneId, SeatId, SeatChange]


class SettingsBook:
    """Keep what was set for each seat, the whole of it, until a commit of it has succeeded."""

    def __init__(self) -> None:
        self._rows: dict[tuple[ZoneId, SeatId], SeatChange] = {}
        self._refused: dict[tuple[ZoneId, SeatId], SeatChange] = {}

    @property
    def waits(self) -> bool:
        """Whether anything does."""
        return bool(self._rows)

    def has(self, zone: ZoneId, seat: SeatId) -> bool:
        """Say whether something of a seat waits."""
        return (zone, seat) in self._rows

    @property
    def refused(self) -> int:
        """For how many seats the database does not take what was set."""
        return len(self._refused)

    def is_refused(self, zone: ZoneId, seat: SeatId) -> bool:
        """Say whether the database does not take what was set for a seat."""
        return (zone, seat) in self._refused

    def record(self, zone: ZoneId, seat: SeatId, settings: SeatChange) -> None:
        """Take newer settings."""
        self._rows[zone, seat] = settings
        self._refused.pop((zone, seat), None)

    def take(self, most: int) -> tuple[SettingsRow, ...]:
        """Return what waits, the oldest first."""
        return tuple((*place, settings) for place, settings in islice(self._rows.items(), most))

    def stored(self, rows: Iterable[SettingsRow]) -> None:
        """Strike out what is on disk now; what was set anew meanwhile stays."""
        for zone, seat, settings in rows:
            if self._rows.get((zone, seat)) is settings:
                del self._rows[zone, seat]

    def refuse(self, row: SettingsRow) -> None:
        """Put aside what the database does not take: it holds all the same, and waits no more."""
        zone, seat, settings = row
        if self._rows.get((zone, seat)) is settings:
            self._refused[zone, seat] = self._rows.pop((zone, seat))

    def laid_over(self, zone: ZoneId, stored: dict[SeatId, SeatChange]) -> dict[SeatId, SeatChange]:
        """Return what is stored of a zone, as it would be if nothing waited any more."""
        newer = self._refused | self._rows
        return stored | {seat: new for (its, seat), new in newer.items() if its == zone}

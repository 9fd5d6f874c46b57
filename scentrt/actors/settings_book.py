"""The settings book: what was set for seats and is not on disk yet."""

from collections.abc import Iterable
from itertools import islice

from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.seat_settings import SeatSettings

SettingsRow = tuple[ZoneId, SeatId, SeatSettings]


class SettingsBook:
    """Keep the newest settings of each seat until a commit of them has succeeded."""

    def __init__(self) -> None:
        self._rows: dict[tuple[ZoneId, SeatId], SeatSettings] = {}

    @property
    def waits(self) -> bool:
        """Whether anything does."""
        return bool(self._rows)

    def has(self, zone: ZoneId, seat: SeatId) -> bool:
        """Say whether something of a seat waits."""
        return (zone, seat) in self._rows

    def record(self, zone: ZoneId, seat: SeatId, settings: SeatSettings) -> None:
        """Take newer settings."""
        self._rows[zone, seat] = settings

    def take(self, most: int) -> tuple[SettingsRow, ...]:
        """Return what waits, the oldest first."""
        return tuple((*place, settings) for place, settings in islice(self._rows.items(), most))

    def stored(self, rows: Iterable[SettingsRow]) -> None:
        """Strike out what is on disk now; what was set anew meanwhile stays."""
        for zone, seat, settings in rows:
            if self._rows.get((zone, seat)) is settings:
                del self._rows[zone, seat]

    def laid_over(
        self, zone: ZoneId, stored: dict[SeatId, SeatSettings]
    ) -> dict[SeatId, SeatSettings]:
        """Return what is stored of a zone, as it would be if nothing waited any more."""
        return stored | {seat: new for (its, seat), new in self._rows.items() if its == zone}

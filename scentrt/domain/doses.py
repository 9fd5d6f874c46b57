"""How much scent a person may get: budgets over sliding windows.

A release that lasts is counted whole, from its start until a full window after its end. That is
never less than what any window holds: of the releases that overlap one window, all are counted
when the last of them is decided.
"""

from bisect import insort
from dataclasses import dataclass

US_PER_S = 1_000_000
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Limits:
    """What no seat ever exceeds. Doses in micro-dose-seconds, times in milliseconds."""

    dose_per_minute_us: int = 20 * US_PER_S
    dose_per_hour_us: int = 300 * US_PER_S
    clearing_ms: float = 2_000
    max_spray_ms: float = 10_000


class Window:
    """The doses of one sliding window, by the grain of time in which each release ends.

    A grain counts until the whole window has passed since its end, so a total is exact or up to
    one grain too careful, never too low.
    """

    __slots__ = (
        "_by_grain",
        "_grain_ms",
        "_grains",
        "_span",
        "_sweep_at_ms",
        "_total_us",
        "limit_us",
    )

    def __init__(self, limit_us: int, span_s: int, grain_s: int) -> None:
        self.limit_us = limit_us
        self._grain_ms = grain_s * 1000
        self._span = span_s // grain_s
        self._by_grain: dict[int, int] = {}
        self._grains: list[int] = []  # the keys, sorted: the oldest goes first
        self._total_us = 0
        self._sweep_at_ms = NEVER

    def room_us(self, now_ms: float) -> int:
        """Return what may still be released at `now_ms`, which never goes backwards."""
        if now_ms >= self._sweep_at_ms:
            self._sweep(now_ms)
        return self.limit_us - self._total_us

    def room_later_us(self, later_ms: float) -> int:
        """Return what there would be room for at `later_ms` if nothing more were released."""
        oldest = later_ms // self._grain_ms - self._span
        return self.limit_us - sum(us for g, us in self._by_grain.items() if g >= oldest)

    def add(self, dose_us: int, end_ms: float) -> None:
        """Count a release that ends at `end_ms`; a negative dose takes back one that counted."""
        grain = int(end_ms // self._grain_ms)
        if grain in self._by_grain:
            self._by_grain[grain] += dose_us
        else:
            self._by_grain[grain] = dose_us
            insort(self._grains, grain)
            self._sweep_at_ms = self._gone_ms(self._grains[0])
        self._total_us += dose_us

    def in_grain_us(self, grain: int) -> int:
        """Return what is counted for one grain, by its number since the epoch."""
        return self._by_grain.get(grain, 0)

    def _gone_ms(self, grain: int) -> float:
        return float((grain + 1 + self._span) * self._grain_ms)

    def _sweep(self, now_ms: float) -> None:
        grains = self._grains
        while grains and self._gone_ms(grains[0]) <= now_ms:
            self._total_us -= self._by_grain.pop(grains.pop(0))
        self._sweep_at_ms = self._gone_ms(grains[0]) if grains else NEVER


class DoseBudget:
    """What one seat may still get: its minute and its hour together."""

    __slots__ = ("_hour", "_minute")

    def __init__(self, limits: Limits) -> None:
        self._minute = Window(limits.dose_per_minute_us, span_s=60, grain_s=1)
        # Grains of a minute keep a busy hour to some sixty numbers a seat.
        self._hour = Window(limits.dose_per_hour_us, span_s=3600, grain_s=60)

    def room_us(self, now_ms: float) -> int:
        """Return what may be released now; at or below zero where nothing may."""
        return min(self._minute.room_us(now_ms), self._hour.room_us(now_ms))

    def room_later_us(self, later_ms: float) -> int:
        """Return what there would be room for later, if nothing more were released."""
        return min(self._minute.room_later_us(later_ms), self._hour.room_later_us(later_ms))

    def is_whole(self, now_ms: float) -> bool:
        """Say whether nothing has been released here that still counts."""
        return self._hour.room_us(now_ms) == self._hour.limit_us

    def charge(self, dose_us: int, end_ms: float) -> int:
        """Count a release to its end, and return the second in which it is counted."""
        self._minute.add(dose_us, end_ms)
        self._hour.add(dose_us, end_ms)
        return int(end_ms // 1000)

    def settle(
        self, planned_us: int, planned_end_ms: float, released_us: int, now_ms: float
    ) -> list[int]:
        """Replace a release that was cut short by what was released; return the seconds changed."""
        return [self.charge(-planned_us, planned_end_ms), self.charge(released_us, now_ms)]

    def in_second_us(self, second: int) -> int:
        """Return what is counted for a Unix second, of the last minute or to come."""
        return self._minute.in_grain_us(second)

"""How much scent a person may get: budgets over sliding windows.

A release that lasts is counted whole, from its start until a full window after its end. That is
never less than what any window holds: of the releases that overlap one window, all are counted
when the last of them is decided.
"""

from bisect import bisect_left, insort
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

    A grain is a number of whole seconds, counted from the epoch. It counts until the whole window
    has passed since its end, so the room left is exact or up to one grain too careful, never more.
    """

    __slots__ = ("_by_grain", "_grain_ms", "_grains", "_span", "limit_us", "room_us", "sweep_at_ms")

    def __init__(self, limit_us: int, span_s: int, grain_s: int) -> None:
        self.limit_us = limit_us
        self.room_us = limit_us
        """What may still be released, once `sweep` has been called if it was time."""
        self.sweep_at_ms = NEVER
        self._grain_ms = grain_s * 1000
        self._span = span_s // grain_s
        self._by_grain: dict[int, int] = {}
        self._grains: list[int] = []  # the keys, sorted: the oldest goes first

    def room_later_us(self, later_ms: float) -> int:
        """Return what there would be room for at `later_ms` if nothing more were released."""
        oldest = self._oldest(later_ms)
        return self.limit_us - sum(us for g, us in self._by_grain.items() if g >= oldest)

    def add(self, dose_us: int, grain: int) -> int:
        """Count a release, or take one back by a negative dose; return what its grain has now."""
        self.room_us -= dose_us
        known_us = self._by_grain.get(grain)
        if known_us is not None:
            dose_us += known_us
        else:
            insort(self._grains, grain)
            self.sweep_at_ms = self._gone_ms(self._grains[0])
        self._by_grain[grain] = dose_us
        return dose_us

    def sweep(self, now_ms: float) -> None:
        """Forget what no longer counts at `now_ms`, which never goes backwards."""
        grains = self._grains
        gone = bisect_left(grains, self._oldest(now_ms))
        for grain in grains[:gone]:
            self.room_us += self._by_grain.pop(grain)
        del grains[:gone]
        self.sweep_at_ms = self._gone_ms(grains[0]) if grains else NEVER

    def _oldest(self, now_ms: float) -> int:
        """Return the first grain that counts at `now_ms`."""
        return int(now_ms // self._grain_ms) - self._span

    def _gone_ms(self, grain: int) -> float:
        return float((grain + 1 + self._span) * self._grain_ms)


class DoseBudget:
    """What one seat may still get: its minute and its hour together."""

    __slots__ = ("_changed", "_hour", "_minute")

    def __init__(self, limits: Limits) -> None:
        self._minute = Window(limits.dose_per_minute_us, span_s=60, grain_s=1)
        # Grains of a minute keep a busy hour to some sixty numbers a seat.
        self._hour = Window(limits.dose_per_hour_us, span_s=3600, grain_s=60)
        self._changed: dict[int, int] = {}

    def has_room(self, dose_us: int, now_ms: float) -> bool:
        """Say whether so much may be released now."""
        minute, hour = self._minute, self._hour
        if now_ms >= minute.sweep_at_ms:
            minute.sweep(now_ms)
        if now_ms >= hour.sweep_at_ms:
            hour.sweep(now_ms)
        return dose_us <= minute.room_us and dose_us <= hour.room_us

    def will_have_room(self, dose_us: int, later_ms: float) -> bool:
        """Say whether so much could be released later, if nothing else were until then."""
        room_us = min(self._minute.room_later_us(later_ms), self._hour.room_later_us(later_ms))
        return dose_us <= room_us

    def is_whole(self, now_ms: float) -> bool:
        """Say whether nothing has been released here that still counts."""
        self._hour.sweep(now_ms)
        return self._hour.room_us == self._hour.limit_us

    def charge(self, dose_us: int, end_ms: float) -> None:
        """Count a release that ends then; a negative dose takes back what was counted."""
        second = int(end_ms // 1000)
        self._hour.add(dose_us, second // 60)
        self._changed[second] = self._minute.add(dose_us, second)

    def restore(self, dose_us: int, second: int) -> None:
        """Count what was had before, as `take_changed` told it."""
        self._hour.add(dose_us, second // 60)
        self._minute.add(dose_us, second)

    def take_changed(self) -> dict[int, int]:
        """Return what was released that ends in each second that changed since the last time."""
        changed, self._changed = self._changed, {}
        return changed

"""Runs: releases as they were decided."""

from dataclasses import dataclass

from scentrt.domain.cues import CueKey, OwnerId, Scent, dose_us


@dataclass(slots=True, eq=False)
class Run:
    """A release as it was decided, shared by all the seats that got it alike; never changed.

    `cue` is None for one step of a level.
    """

    cue: CueKey | None
    owner: OwnerId
    scent: Scent
    priority: int
    intensity: float
    starts_ms: float
    ends_ms: float
    dose_us: int

    @property
    def is_level(self) -> bool:
        """Whether this is one step of a level, not a cue."""
        return self.cue is None

    def released_us(self, now_ms: float) -> int:
        """Return what has left the slot by `now_ms`."""
        if now_ms >= self.ends_ms:
            return self.dose_us
        if now_ms <= self.starts_ms:
            return 0
        return min(self.dose_us, dose_us(self.intensity, now_ms - self.starts_ms))

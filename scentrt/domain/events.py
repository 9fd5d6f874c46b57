"""What has happened in a zone, in the past tense.

Public events carry the zone's revision, which goes up by one with each of them. `seats` is None
where every seat of the zone is meant.
"""

from dataclasses import dataclass
from enum import StrEnum

from scentrt.domain.cues import CueKey, LevelKey, Scent, SeatId, ZoneId


class Ended(StrEnum):
    """Why a release ended before its duration."""

    CANCELLED = "cancelled"
    STOPPED = "stopped"
    PANIC = "panic"
    DISPLACED = "displaced"
    CLIENT_GONE = "client-gone"
    RESTARTED = "restarted"


class Change(StrEnum):
    """What a zone or one of its seats has become."""

    SEAT_ONLINE = "seat-online"
    SEAT_OFFLINE = "seat-offline"
    SEAT_STUCK = "seat-stuck"
    SEAT_LOOSE = "seat-loose"
    SEAT_IMPOSTOR = "seat-impostor"
    PANICKED = "panicked"
    RELEASED = "released"
    RESTARTED = "restarted"


@dataclass(frozen=True, slots=True)
class ScentReleased:
    """A cue was dispatched to these seats."""

    zone: ZoneId
    revision: int
    cue: CueKey
    scent: Scent
    intensity: float
    duration_ms: float
    seats: tuple[SeatId, ...] | None
    at_ms: float


@dataclass(frozen=True, slots=True)
class ScentEnded:
    """A cue ended at these seats before its duration."""

    zone: ZoneId
    revision: int
    cue: CueKey
    scent: Scent
    seats: tuple[SeatId, ...] | None
    reason: Ended


@dataclass(frozen=True, slots=True)
class ScentLevelled:
    """A level has another intensity than before; 0 when it ended."""

    zone: ZoneId
    revision: int
    scent: Scent
    intensity: float
    ttl_ms: float
    seats: tuple[SeatId, ...] | None
    at_ms: float


@dataclass(frozen=True, slots=True)
class ZoneChanged:
    """The zone, or the one seat named, has become something else."""

    zone: ZoneId
    revision: int
    change: Change
    seat: SeatId | None
    at_ms: float


PublicEvent = ScentReleased | ScentEnded | ScentLevelled | ZoneChanged


@dataclass(frozen=True, slots=True)
class CueDispatched:
    """A cue's sprays go out now. For its owner: `targets` seats, `late_ms` after it was due."""

    cue: CueKey
    targets: int
    at_ms: float
    late_ms: float


@dataclass(frozen=True, slots=True)
class CueExpired:
    """A cue was dropped because its time to live had passed. For its owner."""

    cue: CueKey
    targets: int
    late_ms: float


ACTIVE, ENDED = "active", "ended"


@dataclass(frozen=True, slots=True)
class LevelChanged:
    """What becomes of a level has changed: `ACTIVE`, the reason why not, or `ENDED`."""

    level: LevelKey
    state: str


OwnersEvent = CueDispatched | CueExpired | LevelChanged
Event = PublicEvent | OwnersEvent

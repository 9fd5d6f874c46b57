"""What may be asked of the theatre: cues, levels, and whom they are for.

Times are milliseconds as floats: `*_ms` are durations or, where they name a moment (`due_ms`,
`now_ms`), Unix milliseconds on the server's clock, which never steps backwards. Doses are whole
micro-dose-seconds (`*_us`), so that sums are exact: one dose-second is a second at full intensity.
"""

from typing import NamedTuple, NewType

ZoneId = NewType("ZoneId", str)
SeatId = NewType("SeatId", str)
Scent = NewType("Scent", str)
OwnerId = NewType("OwnerId", str)
"""Who asked: the id of a client's session. Cues, levels and stops belong to their owner."""

NO_SCENT = Scent("")
"""What is in a slot whose vial is of a product that nobody knows: no cue can ask for it."""

GOGGLES_ZONE = ZoneId("goggles")
"""The zone whose seats are the connected goggles; a seat there is called by their hello name."""

LOWEST_PRIORITY, DEFAULT_PRIORITY, HIGHEST_PRIORITY = 0, 5, 9


class CueKey(NamedTuple):
    """Name one cue for ever: the id its owner gave it, which may be a string or a number."""

    owner: OwnerId
    id: str | int


class Target(NamedTuple):
    """Whom a cue, level or stop is for: exactly one field is set, `all` by being true.

    Tuples keep the order in which they were named, each name once.
    """

    all: bool = False
    zones: tuple[ZoneId, ...] = ()
    seats: tuple[SeatId, ...] = ()
    goggles: tuple[SeatId, ...] = ()


EVERYWHERE = Target(all=True)


class Cue(NamedTuple):
    """A request to release one scent once, as one zone gets it.

    `seats` are the seats meant, None for every seat of the zone. An event, not a state: two cues
    that differ in nothing but their key are two sprays.
    """

    key: CueKey
    scent: Scent
    intensity: float
    duration_ms: float
    due_ms: float
    ttl_ms: float
    asked_ms: float
    """When the server received it: a stop that came later stops it, even before it is decided."""
    seats: tuple[SeatId, ...] | None = None
    priority: int = DEFAULT_PRIORITY
    mix: bool = False

    @property
    def expires_ms(self) -> float:
        """The last moment at which this cue is still welcome."""
        return self.due_ms + self.ttl_ms


class LevelKey(NamedTuple):
    """Name one continuous source: a newer level of the same key takes the place of the older."""

    owner: OwnerId
    scent: Scent
    target: Target


class Level(NamedTuple):
    """A continuous source at this moment, as one zone gets it; ends `ttl_ms` after it was received.

    Intensity 0 ends it now. `asked_ms` and `seats` as in `Cue`.
    """

    key: LevelKey
    intensity: float
    asked_ms: float
    ttl_ms: float
    seats: tuple[SeatId, ...] | None = None


class Spray(NamedTuple):
    """What one dispenser is told: which slot, how strong (above 0, to 1), how long.

    `cue` is None where the spray is one step of a level. The device closes by itself at the end.
    `expires_ms` is the last moment at which a device may still be told: that of its cue, or the end
    of the level's step.
    """

    slot: int
    intensity: float
    duration_ms: float
    cue: CueKey | None
    expires_ms: float


def dose_us(intensity: float, duration_ms: float) -> int:
    """Return what a release amounts to, in micro-dose-seconds; never nothing.

    A whole number keeps running totals exact, whatever is added and taken back.
    """
    return max(1, round(intensity * duration_ms * 1000))

"""What a zone answers, and what is to be done about it once it has been decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from scentrt.domain.cues import CueKey, OwnerId, SeatId, Spray
from scentrt.domain.events import Event
from scentrt.domain.seats import Skip


class Refusal(StrEnum):
    """Why a whole cue is not taken."""

    PANIC = "panic"
    TOO_LATE = "too-late"
    BUSY = "busy"


class Accepted(NamedTuple):
    """A cue was taken: how many seats it reaches as things stand, and how many are left out."""

    due_ms: float
    targets: int
    skipped: Mapping[Skip, int]
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A cue was not taken, and nothing has changed."""

    reason: Refusal


Verdict = Accepted | Refused


class Release(NamedTuple):
    """Tell these dispensers to spray, all of them the same."""

    spray: Spray
    seats: tuple[SeatId, ...]


class Halt(NamedTuple):
    """Tell these dispensers to close a slot, or all of them where `slot` is None."""

    slot: int | None
    seats: tuple[SeatId, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Tell these dispensers, or all, to spray no more of a cue, or of all the cues of an owner.

    Everybody's, and levels, where both are None. It is for dispensers that come to their orders so
    late that the zone takes a spray to be over before it has begun.
    """

    cue: CueKey | None
    owner: OwnerId | None
    seats: tuple[SeatId, ...] | None

    def means(self, cue: CueKey | None) -> bool:
        """Say whether a spray of this cue, or of a level (None), is meant."""
        if self.cue is not None:
            return cue == self.cue
        return self.owner is None or (cue is not None and cue.owner == self.owner)


Order = Release | Halt | Withdraw


@dataclass(slots=True)
class Effects:
    """What a decision brings about: orders to dispensers first, then what is to be told."""

    orders: list[Order] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

"""The cue journal: what was released, of which vials, and what of it was saved by ending early."""

from dataclasses import dataclass

from scentrt.domain.cues import CueKey, OwnerId, Scent, SeatId
from scentrt.domain.events import Ended
from scentrt.domain.names import BatchRef, Sku


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A release at some seats whose vials came from one batch, or what was saved of an earlier one.

    The doses of a cue's entries add up to what was released: `dose_us`, over all these seats, is
    negative where `ended` says why less of it was. `cue` is None for levels, of which an entry
    sums up what was released lately. `seats` is None where every seat of the zone is meant; `sku`
    and `batchref` are None where nobody has loaded a vial.
    """

    at_ms: float
    owner: OwnerId
    cue: CueKey | None
    scent: Scent
    sku: Sku | None
    batchref: BatchRef | None
    seats: tuple[SeatId, ...] | None
    dose_us: int
    ended: Ended | None = None

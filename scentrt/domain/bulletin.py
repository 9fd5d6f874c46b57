"""What a zone has decided and not yet handed over, written down in its words."""

from collections.abc import Iterable

from scentrt.domain.cues import Cue, CueKey, LevelKey, OwnerId, Scent, SeatId, Spray, ZoneId
from scentrt.domain.decisions import Effects, Halt, Release, Withdraw
from scentrt.domain.events import (
    Change,
    CueDispatched,
    CueExpired,
    Ended,
    LevelChanged,
    ScentEnded,
    ScentLevelled,
    ScentReleased,
    SpraysDropped,
    ZoneChanged,
)
from scentrt.domain.runs import Run

Seats = tuple[SeatId, ...] | None


class Bulletin:
    """Collect orders and events, and number the public ones with the zone's revision."""

    def __init__(self, zone: ZoneId, revision: int) -> None:
        self._zone = zone
        self.revision = revision
        self._effects = Effects()

    def take(self) -> Effects:
        """Hand over what was written since the last time."""
        effects, self._effects = self._effects, Effects()
        return effects

    def spray(self, spray: Spray, seats: Iterable[SeatId]) -> None:
        """Order a spray."""
        self._effects.orders.append(Release(spray, tuple(seats)))

    def halt(self, slot: int | None, seats: Iterable[SeatId]) -> None:
        """Order a slot closed, or all slots."""
        self._effects.orders.append(Halt(slot, tuple(seats)))

    def withdraw(
        self, seats: Seats = None, *, cue: CueKey | None = None, owner: OwnerId | None = None
    ) -> None:
        """Order that nothing more of a cue, or of an owner, is sprayed."""
        self._effects.orders.append(Withdraw(cue, owner, seats))

    def released(self, cue: Cue, seats: Seats, at_ms: float) -> None:
        """Say that a cue was dispatched."""
        self._effects.events.append(
            ScentReleased(
                zone=self._zone,
                revision=self._next(),
                cue=cue.key,
                scent=cue.scent,
                intensity=cue.intensity,
                duration_ms=cue.duration_ms,
                seats=seats,
                at_ms=at_ms,
            )
        )

    def ended(self, run: Run, seats: Seats, reason: Ended) -> None:
        """Say that a cue ended early; what ends of a level is told by its own events."""
        if run.cue is not None:
            self._effects.events.append(
                ScentEnded(self._zone, self._next(), run.cue, run.scent, seats, reason)
            )

    def levelled(
        self, scent: Scent, intensity: float, ttl_ms: float, seats: Seats, now_ms: float
    ) -> None:
        """Say that a level has another intensity."""
        self._effects.events.append(
            ScentLevelled(self._zone, self._next(), scent, intensity, ttl_ms, seats, now_ms)
        )

    def changed(
        self, change: Change, seat: SeatId | None, now_ms: float, scent: Scent | None = None
    ) -> None:
        """Say what the zone, a seat, or what there is of a scent has become."""
        self._effects.events.append(
            ZoneChanged(self._zone, self._next(), change, seat, now_ms, scent)
        )

    def dispatched(self, cue: CueKey, targets: int, at_ms: float, late_ms: float) -> None:
        """Tell a cue's owner that it goes out."""
        self._effects.events.append(CueDispatched(cue, targets, at_ms, late_ms))

    def dropped(self, cue: CueKey, withdrawn: int, failed: int, expired: int) -> None:
        """Tell a cue's owner that some sprays that were to come later will not."""
        self._effects.events.append(SpraysDropped(cue, withdrawn, failed, expired))

    def expired(self, cue: CueKey, targets: int, late_ms: float) -> None:
        """Tell a cue's owner that it was dropped."""
        self._effects.events.append(CueExpired(cue, targets, late_ms))

    def level_state(self, level: LevelKey, state: str) -> None:
        """Tell a level's owner what becomes of it."""
        self._effects.events.append(LevelChanged(level, state))

    def _next(self) -> int:
        self.revision += 1
        return self.revision

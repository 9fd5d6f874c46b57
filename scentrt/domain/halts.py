"""Halts: what ends early, at which seats, and who is told of it."""

from collections.abc import Callable, Iterable
from functools import partial
from operator import is_

from scentrt.domain.bulletin import Bulletin
from scentrt.domain.cues import OwnerId
from scentrt.domain.events import Ended
from scentrt.domain.runs import Run
from scentrt.domain.seating import Seating
from scentrt.domain.seats import Seat, Slot


class Halts:
    """Close slots, tell their dispensers, and say what has ended."""

    def __init__(self, seating: Seating, bulletin: Bulletin) -> None:
        self._seating = seating
        self._bulletin = bulletin

    def where(
        self, matches: Callable[[Run], bool], seats: Iterable[Seat], reason: Ended, now_ms: float
    ) -> int:
        """End the matching releases at these seats; return how many sprays that were."""
        ended, closed = self._seating.close_where(matches, seats, reason, now_ms)
        for number, ids in closed.items():
            self._bulletin.halt(number, ids)
        for run, ids in ended.items():
            self._bulletin.ended(run, self._seating.named(ids), reason)
        return sum(map(len, closed.values()))

    def leave(self, seat: Seat, now_ms: float) -> None:
        """Say that what runs at goggles has ended as they leave, though it counts to its end."""
        begun = [slot.running(now_ms) for slot in seat.slots if not slot.is_kept]
        for run in dict.fromkeys(begun):
            if run is not None:
                self._bulletin.ended(run, (seat.id,), Ended.RESTARTED)

    def vacate(self, spots: Iterable[tuple[Seat, Slot]], now_ms: float) -> None:
        """End what these slots have to do with the vials in them: nobody else's is to pay for it.

        A dispenser that cannot be reached goes on to the end, and its slot stays taken until then.
        """
        spots = tuple(spots)
        running: dict[Run, list[Seat]] = {}
        for seat, slot in spots:
            run = slot.running(now_ms)
            if run is not None:
                running.setdefault(run, []).append(seat)
        for run, seats in running.items():
            self.where(partial(is_, run), seats, Ended.VIAL_CHANGED, now_ms)
        for seat, slot in spots:
            if slot.is_kept:  # its dispenser, which cannot be reached, knows nothing of it yet
                seat.close(slot, now_ms)
            slot.run = None
            slot.parts.clear()


def owned_by(owner: OwnerId | None) -> Callable[[Run], bool]:
    """Return what tells an owner's releases from others; None is everybody's."""
    return lambda run: owner in (None, run.owner)

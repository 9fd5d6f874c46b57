"""What was stopped lately, held against what was asked before the stop and comes after it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TypeVar

from scentrt.domain.cues import Cue, CueKey, Level, OwnerId, SeatId

REACH_MS = 10_000.0
"""How long a stop is held against what was asked before it: longer than any mailbox is deep."""

K = TypeVar("K")


class Stops:
    """Remember stops and cancels, for the cues and levels that they have overtaken."""

    def __init__(self) -> None:
        # When each was asked, the oldest first; None stands for every owner, or every seat.
        self._stops: OrderedDict[tuple[OwnerId | None, frozenset[SeatId] | None], float]
        self._stops = OrderedDict()
        self._cancels: OrderedDict[CueKey, float] = OrderedDict()

    def stop(
        self,
        owner: OwnerId | None,
        seats: tuple[SeatId, ...] | None,
        asked_ms: float,
        now_ms: float,
    ) -> None:
        """Note a stop of what is an owner's, or everybody's; at some seats, or at all."""
        _note(self._stops, (owner, None if seats is None else frozenset(seats)), asked_ms, now_ms)

    def cancel(self, key: CueKey, asked_ms: float, now_ms: float) -> None:
        """Note that a cue was cancelled."""
        _note(self._cancels, key, asked_ms, now_ms)

    def spared(
        self, asked: Cue | Level, everybody: Callable[[], Iterable[SeatId]]
    ) -> tuple[SeatId, ...] | None:
        """Return the seats of a cue or level that nothing asked later, or at once, has stopped.

        These are its own `seats`, None included, where there was no such stop.
        """
        if isinstance(asked, Cue) and self._cancels.get(asked.key, 0.0) >= asked.asked_ms:
            return ()
        left = asked.seats
        for (owner, seats), asked_ms in self._stops.items():
            if asked_ms < asked.asked_ms or owner not in (None, asked.key.owner):
                continue
            if seats is None:
                return ()
            meant = everybody() if left is None else left
            if not seats.isdisjoint(meant):
                left = tuple(id for id in meant if id not in seats)
        return left


def _note(known: OrderedDict[K, float], what: K, asked_ms: float, now_ms: float) -> None:
    known[what] = max(asked_ms, known.pop(what, asked_ms))
    while known and known[oldest := next(iter(known))] < now_ms - REACH_MS:
        del known[oldest]

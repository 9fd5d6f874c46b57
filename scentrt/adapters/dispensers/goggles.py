"""Goggles as dispensers: what they are told goes over their own connection."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from scentrt.actors.clock import ServerClock
from scentrt.actors.reports import Written
from scentrt.domain.cues import SeatId, Spray
from scentrt.domain.decisions import Withdraw

MOST_UNANSWERED = 256
"""Sprays that one pair of goggles may leave unanswered; the oldest then counts as failed."""


class Headset(Protocol):
    """A connection to goggles that dispense by themselves. No call blocks or raises."""

    def spray(self, spray: Spray) -> None:
        """Tell them of a spray, or of a level's newest step."""

    def halt(self, slot: int | None) -> None:
        """Tell them to close a slot, or all of them; it overtakes levels that wait."""


class GogglesDispensers:
    """The dispensers of the goggles that are connected.

    Goggles without a dispenser count as told at once: they learn of it by their events. Those with
    one are never known not to have been told: an order is sent at once, and may have arrived
    whatever is heard of it.
    """

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._headsets: dict[SeatId, Headset] = {}
        self._unanswered: dict[SeatId, deque[tuple[str | int, Callable[[Written], None]]]] = {}

    def connect(self, seat: SeatId, headset: Headset) -> None:
        """Send what these goggles are to spray to their connection from now on."""
        self._headsets[seat] = headset
        self._unanswered[seat] = deque()

    def disconnect(self, seat: SeatId, headset: Headset) -> None:
        """Forget a connection, unless a newer one has taken its place."""
        if self._headsets.get(seat) is headset:
            del self._headsets[seat]
            for _, done in self._unanswered.pop(seat):
                self._answer(done, ok=False)

    def sprayed(self, seat: SeatId, cue: str | int, *, ok: bool) -> None:
        """Take the goggles' word for what became of a spray; unasked, it means nothing."""
        waiting = self._unanswered.get(seat, deque())
        for entry in waiting:
            if entry[0] == cue:
                waiting.remove(entry)
                self._answer(entry[1], ok=ok)
                return

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        """Tell each of these goggles; those that dispense answer later."""
        told = 0
        for seat in seats:
            headset = self._headsets.get(seat)
            if headset is None:
                told += 1
                continue
            headset.spray(spray)
            if spray.cue is not None:
                waiting = self._unanswered[seat]
                waiting.append((spray.cue.id, done))
                if len(waiting) > MOST_UNANSWERED:
                    self._answer(waiting.popleft()[1], ok=False)
        if told:
            now_ms = self._clock.now_ms()
            done(Written(told, 0, now_ms, now_ms))

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        """Close a slot of these goggles, or all their slots."""
        for seat in seats:
            headset = self._headsets.get(seat)
            if headset is not None:
                headset.halt(slot)

    def withdraw(self, what: Withdraw) -> None:
        """Do nothing: nothing waits here."""

    def device(self, seat: SeatId) -> None:
        """Know nothing of a device: goggles look after their own."""

    def _answer(self, done: Callable[[Written], None], *, ok: bool) -> None:
        now_ms = self._clock.now_ms()
        done(Written(int(ok), int(not ok), now_ms, now_ms))

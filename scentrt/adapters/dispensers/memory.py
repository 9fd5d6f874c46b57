"""Dispensers that exist in memory only: for `--simulate`, demonstrations and tests."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scentrt.actors.clock import ServerClock
from scentrt.actors.reports import Written
from scentrt.domain.cues import SeatId, Spray
from scentrt.domain.decisions import Withdraw

ORDERS_KEPT = 10_000
"""How far back `received` goes; a night of cues must not fill the memory of a simulated house."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one dispenser was told, and when."""

    seat: SeatId
    spray: Spray
    at_ms: float


class MemoryDispensers:
    """The dispensers of one zone, each of which closes by itself at the end of a spray."""

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._orders: deque[tuple[Spray, tuple[SeatId, ...], float]] = deque(maxlen=ORDERS_KEPT)
        self._open_until: dict[tuple[SeatId, int], float] = {}

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        """Open a slot at these seats; all of them take it."""
        first_ms = self._clock.now_ms()
        until_ms = first_ms + spray.duration_ms
        for seat in seats:
            self._open_until[seat, spray.slot] = until_ms
        last_ms = self._clock.now_ms()
        self._orders.append((spray, tuple(seats), last_ms))
        done(Written(len(seats), 0, first_ms, last_ms))

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        """Close a slot at these seats, or all their slots."""
        if slot is not None:
            for seat in seats:
                self._open_until.pop((seat, slot), None)
        else:
            halted = set(seats)
            for key in [key for key in self._open_until if key[0] in halted]:
                del self._open_until[key]

    def withdraw(self, what: Withdraw) -> None:
        """Do nothing: nothing waits here."""

    def device(self, seat: SeatId) -> None:
        """Know nothing of a device: there is none."""

    @property
    def received(self) -> list[Received]:
        """What each dispenser was told, in order."""
        return [
            Received(seat, spray, at_ms) for spray, seats, at_ms in self._orders for seat in seats
        ]

    def open_slots(self) -> set[tuple[SeatId, int]]:
        """Return which slots are open at this moment."""
        now_ms = self._clock.now_ms()
        return {key for key, until_ms in self._open_until.items() if until_ms > now_ms}


class NoDispensers:
    """A zone without any way to its dispensers: nothing is sprayed, and it says so."""

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        """Fail for each seat."""
        now_ms = self._clock.now_ms()
        done(Written(0, len(seats), now_ms, now_ms, untold=tuple(seats)))

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        """Do nothing: nothing is open."""

    def withdraw(self, what: Withdraw) -> None:
        """Do nothing: nothing waits here."""

    def device(self, seat: SeatId) -> None:
        """Know nothing of a device: there is none."""

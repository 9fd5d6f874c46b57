"""Dispensers as they are: they know their orders and the time, and nothing of any rule.

Each closes a slot by itself at the end of a spray, or of a level's step. One that cannot be
reached hears nothing, and the first word that it hears afterwards is to stop all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from scentrt.domain.cues import CueKey, SeatId
from scentrt.domain.decisions import Halt, Order, Release, Withdraw


@dataclass(frozen=True, slots=True)
class Breath:
    """What one slot gives in one go; `closes_ms` is when it did, or will by itself."""

    seat: SeatId
    slot: int
    cue: CueKey | None
    intensity: float
    opened_ms: float
    closes_ms: float

    def dose_s(self, from_ms: float, to_ms: float) -> float:
        """Return what falls between two moments, in dose-seconds."""
        overlap_ms = min(self.closes_ms, to_ms) - max(self.opened_ms, from_ms)
        return max(0.0, overlap_ms) * self.intensity / 1000


class Devices:
    """All dispensers of a zone, and what each of their slots gave, in order.

    Those that are `jammed` take no spray of a cue, and leave in `missed` what it would have been.
    """

    def __init__(self) -> None:
        self.breaths: list[Breath] = []
        self.deaf: set[SeatId] = set()
        self.jammed: set[SeatId] = set()
        self.missed: list[Breath] = []
        self._last: dict[tuple[SeatId, int], int] = {}

    def obey(self, orders: Iterable[Order], now_ms: float) -> None:
        """Do what the orders say, one after the other."""
        for order in orders:
            match order:
                case Release(spray, seats):
                    for seat in seats:
                        if seat in self.deaf:
                            continue
                        self._close(seat, spray.slot, now_ms)
                        closes_ms = now_ms + spray.duration_ms
                        breath = Breath(
                            seat, spray.slot, spray.cue, spray.intensity, now_ms, closes_ms
                        )
                        if seat in self.jammed and spray.cue is not None:
                            self.missed.append(breath)
                            continue
                        self._last[seat, spray.slot] = len(self.breaths)
                        self.breaths.append(breath)
                case Halt(slot, seats):
                    for seat in seats:
                        if seat not in self.deaf:
                            self._halt(seat, slot, now_ms)
                case Withdraw():
                    pass  # they take every order at once
                case _:
                    assert_never(order)

    def lose(self, seat: SeatId) -> None:
        """Let a dispenser hear nothing from now on."""
        self.deaf.add(seat)

    def find(self, seat: SeatId, now_ms: float) -> None:
        """Let a dispenser hear again."""
        self.deaf.discard(seat)
        self._halt(seat, None, now_ms)

    def last(self, seat: SeatId, slot: int) -> Breath | None:
        """Return what a slot gave last, or gives."""
        index = self._last.get((seat, slot))
        return None if index is None else self.breaths[index]

    def open(self, now_ms: float) -> dict[tuple[SeatId, int], Breath]:
        """Return what is open at this moment, by seat and slot."""
        return {
            place: self.breaths[index]
            for place, index in self._last.items()
            if self.breaths[index].closes_ms > now_ms
        }

    def seats(self) -> set[SeatId]:
        """Return the seats that have ever got anything."""
        return {seat for seat, _ in self._last}

    def of(self, seat: SeatId) -> list[Breath]:
        """Return what one seat got, in order."""
        return [breath for breath in self.breaths if breath.seat == seat]

    def _halt(self, seat: SeatId, slot: int | None, now_ms: float) -> None:
        for at, number in list(self._last):
            if at == seat and slot in (None, number):
                self._close(seat, number, now_ms)

    def _close(self, seat: SeatId, slot: int, now_ms: float) -> None:
        index = self._last.get((seat, slot))
        if index is not None and self.breaths[index].closes_ms > now_ms:
            self.breaths[index] = replace(self.breaths[index], closes_ms=now_ms)

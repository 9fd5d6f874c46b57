"""The seats of a zone: who is there, what opens and closes, and what each has had."""

from collections.abc import Callable, Iterable, Mapping

from scentrt.domain.cues import SeatId, dose_us
from scentrt.domain.doses import Limits
from scentrt.domain.seats import Run, Seat, Slot

MOST_KNOWN = 10_000
"""Seats one zone keeps in mind, goggles that have left included: names are free to invent."""


class Seating:
    """The one place where slots open and close, so that no dose goes by uncounted.

    `present` are the seats that a cue for the whole zone means. Goggles that have left stay known
    by name, with what they have had.
    """

    def __init__(self, seats: Iterable[Seat], limits: Limits) -> None:
        self._limits = limits
        self._by_id = {seat.id: seat for seat in seats}
        self.present = list(self._by_id.values())
        self._touched: set[tuple[Seat, int]] = set()

    def get(self, id: SeatId) -> Seat | None:
        """Return a seat by its id, also goggles that have left."""
        return self._by_id.get(id)

    @property
    def ids(self) -> Iterable[SeatId]:
        """The ids of all that are known."""
        return self._by_id

    def meant(self, ids: tuple[SeatId, ...] | None) -> list[Seat]:
        """Return the seats of these ids, or all that are present; unknown ids mean nobody."""
        if ids is None:
            return self.present
        return [seat for id in ids if (seat := self._by_id.get(id)) is not None]

    def named(self, ids: list[SeatId]) -> tuple[SeatId, ...] | None:
        """Return the ids as they are told: None where they are every seat of the zone."""
        return None if len(ids) == len(self.present) else tuple(ids)

    def arrive(self, id: SeatId, slots: list[Slot] | None, now_ms: float) -> bool:
        """Seat goggles, new or known, with these slots, or for any scent where None.

        Return False, and change nothing, where the zone has no room for another name.
        """
        seat = self._by_id.get(id)
        if seat is None:
            if len(self._by_id) >= MOST_KNOWN and not self._forget_the_idle(now_ms):
                return False
            seat = self._by_id[id] = Seat(id, [], self._limits)
        seat.fit(slots or [], anything=slots is None)
        seat.online = True
        if seat not in self.present:
            self.present.append(seat)
        return True

    def leave(self, seat: Seat) -> None:
        """Let goggles go; they stay known by name."""
        seat.online = False
        self.present.remove(seat)

    def open(self, seat: Seat, slot: Slot, run: Run, now_ms: float) -> None:
        """Start a release that the seat's `pick` allowed."""
        for second in seat.open(slot, run, now_ms):
            self._touched.add((seat, second))

    def close(self, seat: Seat, slot: Slot, now_ms: float) -> None:
        """End a release early."""
        for second in seat.close(slot, now_ms):
            self._touched.add((seat, second))

    def close_where(
        self, matches: Callable[[Run], bool], seats: Iterable[Seat], now_ms: float
    ) -> tuple[dict[Run, list[SeatId]], dict[int, list[SeatId]]]:
        """Close the matching releases; return the seats by what ended and by slot number."""
        ended: dict[Run, list[SeatId]] = {}
        closed: dict[int, list[SeatId]] = {}
        for seat in seats:
            for slot in seat.slots:
                run = slot.run
                if slot.until_ms > now_ms and run is not None and matches(run):
                    self.close(seat, slot, now_ms)
                    slot.parts.clear()
                    ended.setdefault(run, []).append(seat.id)
                    closed.setdefault(slot.number, []).append(seat.id)
        return ended, closed

    def restore(self, used: Mapping[SeatId, Mapping[int, int]], now_ms: float) -> None:
        """Count what seats have had before: micro-dose-seconds by seat and Unix second.

        Seats that are not there (goggles that have left) are remembered for when they come.
        """
        for id, seconds in used.items():
            seat = self._by_id.get(id)
            if seat is None:
                seat = self._by_id[id] = Seat(id, [], self._limits)
                seat.online = False
            for second, dose in seconds.items():
                # A clock that was set back must not lock a seat until it has caught up.
                seat.budget.charge(dose, min(second * 1000.0, now_ms))

    def presume(self, from_ms: float, to_ms: float) -> None:
        """Count a time that nobody wrote down as if every slot had been open in full."""
        if to_ms <= from_ms:
            return
        for seat in self._by_id.values():
            second = seat.budget.charge(dose_us(max(1, len(seat.slots)), to_ms - from_ms), to_ms)
            self._touched.add((seat, second))

    def take_doses(self) -> dict[tuple[SeatId, int], int]:
        """Return what each seat has had in each second that changed since the last time."""
        touched, self._touched = self._touched, set()
        return {(seat.id, s): seat.budget.in_second_us(s) for seat, s in touched}

    def _forget_the_idle(self, now_ms: float) -> bool:
        """Drop who has left and has had nothing for an hour; say whether there is room now."""
        present = set(self.present)
        for id, seat in list(self._by_id.items()):
            if seat not in present and seat.budget.is_whole(now_ms):
                del self._by_id[id]
        return len(self._by_id) < MOST_KNOWN

"""The seats of a zone: who is there, what opens and closes, and what each has had."""

from collections.abc import Callable, Iterable, Mapping

from scentrt.domain.cues import SeatId, dose_us
from scentrt.domain.doses import Limits
from scentrt.domain.events import Ended
from scentrt.domain.journal import Journal, JournalEntry
from scentrt.domain.runs import Run
from scentrt.domain.seat_settings import ORDINARY, UNSAID, SeatChange, SeatSettings
from scentrt.domain.seats import Seat, Slot

MOST_KNOWN = 10_000
"""Seats one zone keeps in mind, goggles that have left included: names are free to invent."""


class Seating:
    """Know the seats of a zone, those that are there and those that were.

    `present` are the seats that a cue for the whole zone means. Goggles that have left stay known
    by name, with what they have had. What is set for a name holds whenever it comes.
    """

    def __init__(self, seats: Iterable[Seat], limits: Limits) -> None:
        self._limits = limits
        self._by_id = {seat.id: seat for seat in seats}
        self.present = list(self._by_id.values())
        self.journal = Journal()
        # As the house has it, and what was said beside that, by name.
        self._planned = {seat.id: seat.settings for seat in self.present}
        self._said: dict[SeatId, SeatChange] = {}

    def get(self, id: SeatId) -> Seat | None:
        """Return a seat by its id, also goggles that have left."""
        return self._by_id.get(id)

    def everybody(self) -> list[SeatId]:
        """Return the ids of the seats that are present."""
        return [seat.id for seat in self.present]

    def meant(self, ids: tuple[SeatId, ...] | None) -> list[Seat]:
        """Return the seats of these ids, or all that are present; unknown ids mean nobody."""
        if ids is None:
            return self.present
        return [seat for id in ids if (seat := self._by_id.get(id)) is not None]

    def named(self, ids: list[SeatId]) -> tuple[SeatId, ...] | None:
        """Return the ids as they are told: None where they are every seat of the zone."""
        return None if len(ids) == len(self.present) else tuple(ids)

    def arrive(self, id: SeatId, now_ms: float) -> Seat | None:
        """Give goggles a seat, or the one they had; None where no more names fit."""
        seat = self._by_id.get(id)
        if seat is None:
            if len(self._by_id) >= MOST_KNOWN and not self._forget_the_idle(now_ms):
                return None
            seat = self._new_seat(id)
        seat.online = True
        if seat not in self.present:
            self.present.append(seat)
        return seat

    def leave(self, seat: Seat, now_ms: float) -> None:
        """Let goggles go; they stay known by name."""
        seat.online, seat.left_ms = False, now_ms
        self.present.remove(seat)

    def settle(self, id: SeatId, said: SeatChange) -> SeatChange:
        """Set something at a seat, also at one that is not there yet; return all that was said."""
        said = self._said[id] = said.after(self._said.get(id, UNSAID))
        seat = self._by_id.get(id)
        if seat is not None:
            seat.settle(self._settings_of(id))
        return said

    def _settings_of(self, id: SeatId) -> SeatSettings:
        return self._said.get(id, UNSAID).of(self._planned.get(id, ORDINARY))

    def journal_end(self, seat: Seat, slot: Slot, reason: Ended, now_ms: float) -> None:
        """Note in the journal that what runs in a slot is about to be closed."""
        self.journal.close(seat, slot, reason, len(self.present), now_ms)

    def take_journal(self, now_ms: float) -> tuple[JournalEntry, ...]:
        """Hand over what was released since the last time."""
        return self.journal.take(set(self.everybody()), now_ms)

    def close_where(
        self, matches: Callable[[Run], bool], seats: Iterable[Seat], reason: Ended, now_ms: float
    ) -> tuple[dict[Run, list[SeatId]], dict[int, list[SeatId]]]:
        """Close the matching releases; return the seats by what ended and by slot number.

        A dispenser that cannot be reached goes on to the end of its release, and that counts. What
        went on at goggles that had left is not among what ended: that was told when they left.
        """
        ended: dict[Run, list[SeatId]] = {}
        closed: dict[int, list[SeatId]] = {}
        for seat in seats:
            if not seat.online:
                continue
            for slot in seat.slots:
                run = slot.running(now_ms)
                if run is not None and matches(run):
                    self.journal_end(seat, slot, reason, now_ms)
                    seat.close(slot, now_ms)
                    slot.parts.clear()
                    if run.starts_ms > seat.left_ms:
                        ended.setdefault(run, []).append(seat.id)
                    closed.setdefault(slot.number, []).append(seat.id)
        return ended, closed

    def restore(self, used: Mapping[SeatId, Mapping[int, int]], now_ms: float) -> None:
        """Count what seats have had before: micro-dose-seconds by seat and Unix second.

        Seats that are not there (goggles that have left) are remembered for when they come.
        """
        latest = int((now_ms + self._limits.max_spray_ms) // 1000)
        for id, seconds in used.items():
            seat = self._by_id.get(id)
            if seat is None:
                seat = self._new_seat(id)
                seat.online = False
            for second, dose in seconds.items():
                if second <= latest:
                    seat.budget.restore(dose, second)
                else:
                    # The clock was set back: the seat must not wait until it has caught up.
                    seat.budget.charge(dose, latest * 1000.0)
                    seat.budget.charge(0, second * 1000.0)

    def presume(self, from_ms: float, to_ms: float, last_end_ms: float) -> None:
        """Count a time that nobody wrote down as if every slot had been open in full.

        Or one slot, from then to `last_end_ms`, where that is more: what began in that time may
        have gone on after it.
        """
        if to_ms > from_ms:
            one_slot = dose_us(1, last_end_ms - from_ms)
            for seat in self._by_id.values():
                every_slot = dose_us(len(seat.slots), to_ms - from_ms)
                seat.budget.charge(max(one_slot, every_slot), last_end_ms)

    def take_doses(self, now_ms: float) -> dict[tuple[SeatId, int], int]:
        """Return what each seat has had in each second that changed since the last time."""
        for seat in self._by_id.values():
            seat.count_stuck(now_ms)
        return {
            (seat.id, second): dose
            for seat in self._by_id.values()
            for second, dose in seat.budget.take_changed().items()
        }

    def _new_seat(self, id: SeatId) -> Seat:
        seat = self._by_id[id] = Seat(id, [], self._limits)
        seat.settle(self._settings_of(id))
        return seat

    def _forget_the_idle(self, now_ms: float) -> bool:
        """Drop who has left and has had nothing for an hour; say whether there is room now."""
        present = set(self.present)
        for id, seat in list(self._by_id.items()):
            if seat not in present and seat.budget.is_whole(now_ms):
                del self._by_id[id]
        return len(self._by_id) < MOST_KNOWN

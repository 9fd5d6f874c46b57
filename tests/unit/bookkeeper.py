"""A bookkeeper: holds what a zone's journal says against what the dispensers gave."""

from collections import Counter
from collections.abc import Iterable

from scentrt.domain.cues import CueKey, SeatId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.journal import JournalEntry
from scentrt.domain.seats import Seat, Slot
from tests.unit.promises import Promises


class Bookkeeper:
    """Take the journal of a zone's present life, and judge it."""

    def __init__(self, it: Promises) -> None:
        self._it = it
        self._entries: list[JournalEntry] = []
        self._first_breath = len(it.devices.breaths)
        self._levels: dict[SeatId, int] = {}

    def take(self) -> None:
        """Take what was noted since the last time."""
        self._entries += self._it.zone.take_journal(self._it.now)
        assert self._it.zone.take_journal_lost() == 0

    def judge_cues(self) -> None:
        """What is noted of a cue that has ended is what came out at its seats."""
        self.take()
        given_us: Counter[CueKey] = Counter()
        breaths: Counter[CueKey] = Counter()
        unfinished = set()
        for breath in self._it.devices.breaths[self._first_breath :]:
            if breath.cue is not None:
                dose_s = breath.dose_s(breath.opened_ms, breath.closes_ms)
                given_us[breath.cue] += round(dose_s * US_PER_S)
                breaths[breath.cue] += 1
                if breath.closes_ms > self._it.now:
                    unfinished.add(breath.cue)
        noted_us: Counter[CueKey] = Counter()
        for entry in self._entries:
            if entry.cue is not None:
                noted_us[entry.cue] += entry.dose_us
                assert (entry.dose_us < 0) == (entry.ended is not None)
        for cue in {*given_us, *noted_us} - unfinished:
            assert abs(noted_us[cue] - given_us[cue]) <= 2 * breaths[cue], cue

    def judge_levels(self) -> None:
        """What is noted of levels until now is what came out of the slots by now."""
        self.take()
        noted_us = sum(entry.dose_us for entry in self._entries if entry.cue is None)
        levels = [b for b in self._it.devices.breaths[self._first_breath :] if b.cue is None]
        given_s = sum(b.dose_s(b.opened_ms, self._it.now) for b in levels)
        assert abs(noted_us - given_s * US_PER_S) <= 2 * len(levels)

    def judge_vials(self, sku: str, places: Iterable[tuple[Seat, Slot]], full_us: int) -> None:
        """What is gone from the vials of a product is what is noted of it, to the last drop."""
        self.take()
        noted_us = sum(entry.dose_us for entry in self._entries if entry.sku == sku)
        gone_us = 0
        for seat, slot in places:
            assert slot.vial is not None
            gone_us += full_us - slot.vial.left_us
            run = slot.running(self._it.now)
            if run is not None and (run.is_level or slot.is_kept):
                gone_us -= slot.unreleased_us(self._it.now)
            # What was in it by now never comes back, but where nothing had come out of it.
            level_us = slot.vial.left_us + slot.unreleased_us(self._it.now)
            if seat.id not in self._it.given_back:
                assert level_us <= self._levels.get(seat.id, full_us)
            self._levels[seat.id] = level_us
        self._it.given_back.clear()
        assert noted_us == gone_us

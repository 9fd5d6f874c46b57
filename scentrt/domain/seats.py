"""A seat: its slots, what is in the air there, and what it may still get."""

from dataclasses import replace
from enum import StrEnum

from scentrt.domain.cues import NO_SCENT, LevelKey, OwnerId, Scent, SeatId, dose_us
from scentrt.domain.doses import DoseBudget, Limits
from scentrt.domain.runs import Run
from scentrt.domain.seat_settings import ORDINARY, SeatSettings, Tuning
from scentrt.domain.slots import NEVER, UNHEARD_MS, Slot, Vial

__all__ = ["LEVEL_PRIORITY", "Seat", "Skip", "Slot", "Vial"]

LEVEL_PRIORITY = -1
"""A cue of any priority takes a slot from a level, which comes again with its next update."""

STUCK_UNSEEN_MS = 2_000.0
"""How long a slot may not close before its link says so: it is told three times, and it is allowed
to be a little late."""

GIVEN_BACK_WITHIN_MS = 60_000.0
"""How long after its end a release may turn out never to have been: then the windows of the budget
have forgotten it."""


class Skip(StrEnum):
    """Why a seat is left out."""

    OPTED_OUT = "opted-out"
    OFFLINE = "offline"
    STUCK = "stuck"
    NO_SUCH_SCENT = "no-such-scent"
    CLEARING = "clearing"
    BUSY = "busy"
    EMPTY = "empty"
    DOSE_LIMIT = "dose-limit"


class Seat:
    """One seat and its dispenser, the unit that is sprayed or skipped.

    `anything` is for goggles that only show what is released: they take whatever scent there is.
    """

    __slots__ = (
        "_air_until_ms",
        "_by_scent",
        "_is_choosy",
        "_limits",
        "_sources",
        "anything",
        "budget",
        "id",
        "left_ms",
        "online",
        "settings",
        "slots",
        "stuck_since_ms",
        "tuning",
    )

    def __init__(
        self, id: SeatId, slots: list[Slot], limits: Limits, *, anything: bool = False
    ) -> None:
        self.id = id
        self.online = True
        self.left_ms = NEVER
        """When goggles left that are not back: what had begun by then was told to have ended."""
        self.stuck_since_ms: float | None = None
        self.settle(ORDINARY)
        self.budget = DoseBudget(limits)
        self._limits = limits
        # No slot here is open longer; it spares most cues the look at each of them.
        self._air_until_ms = NEVER
        # Where the scents in the air came from: these slots, and those of a former dispenser.
        self._sources: list[Slot] = []
        self.fit(slots, 0.0, anything=anything)

    @property
    def is_reachable(self) -> bool:
        """Whether its dispenser can be told something, and does it."""
        return self.online and not self.stuck

    def settle(self, settings: SeatSettings) -> None:
        """Set what holds here from the next decision on; what runs goes on."""
        self.settings = settings
        self.tuning: Tuning | None = settings.tuning
        self._is_choosy = settings.opted_out or bool(settings.averse_to)

    @property
    def opted_out(self) -> bool:
        """Whether whoever sits here wants no scents."""
        return self.settings.opted_out

    @property
    def stuck(self) -> bool:
        """Whether a slot of the dispenser does not close."""
        return self.stuck_since_ms is not None

    def stick(self, now_ms: float) -> None:
        """Note that a slot does not close: nothing is sprayed here until it has come loose.

        It is not known which, nor since when: it counts from when a slot here was closed, or was
        opened if it still is, within `STUCK_UNSEEN_MS`; of several from the first.
        """
        since_ms = now_ms - STUCK_UNSEEN_MS
        changes = [self._last_change_ms(slot, now_ms) for slot in self.slots]
        self.stuck_since_ms = min((at for at in changes if at > since_ms), default=since_ms)

    def count_stuck(self, now_ms: float) -> None:
        """Count what a slot that does not close has given since `stick`, or the last count."""
        if self.stuck_since_ms is not None:
            self.budget.charge(dose_us(1.0, now_ms - self.stuck_since_ms), now_ms)
            self.stuck_since_ms = now_ms

    def loosen(self, now_ms: float) -> None:
        """Count what an open slot has given, and take sprays again.

        Which slot it was is not known, so all of their scents have to clear.
        """
        if self.stuck_since_ms is not None:
            self.count_stuck(now_ms)
            self.stuck_since_ms = None
            self._air_until_ms = max(self._air_until_ms, now_ms)
            for slot in self.slots:
                if slot.before_ms is not None:
                    slot.before_ms = max(slot.before_ms, now_ms)
                elif slot.until_ms < now_ms:
                    slot.until_ms, slot.run = now_ms, None

    def lose(self, now_ms: float) -> None:
        """Count what closing has saved of late: a link that is lost now may not have told it.

        A dispenser that hears no more goes on with what it heard last, so of each slot it is one
        release that went on, and the greatest is taken to be it.
        """
        self.online = False
        for slot in self.slots:
            saved = [each for each in slot.saved if each[0] >= now_ms - UNHEARD_MS]
            slot.saved = []
            if saved:
                ends_ms = max(ends_ms for _, _, ends_ms in saved)
                self.budget.charge(max(us for _, us, _ in saved), ends_ms)

    def fit(self, slots: list[Slot], now_ms: float, *, anything: bool = False) -> None:
        """Give the seat another dispenser; what the person there already got still counts."""
        self.anything = anything
        self.left_ms = NEVER
        self.slots = slots
        self._arrange(now_ms)

    def equip(self, slot: Slot, vial: Vial | None, scent: Scent, now_ms: float) -> Slot:
        """Have a vial stand in a slot where nothing runs, or none, and so hold this scent.

        Return the slot. With another scent it is another one, since what the former has released
        is in the air for a while.
        """
        if scent != slot.scent:
            former, slot = slot, replace(slot, scent=scent, run=None, parts={})
            self.slots[self.slots.index(former)] = slot
        slot.vial, slot.reported_us = vial, None
        self._arrange(now_ms)
        return slot

    def _arrange(self, now_ms: float) -> None:
        """Sort the slots by scent; beside our vials, slots of the same scent without are holes."""
        gone = [slot for slot in self._sources if slot not in self.slots]
        self._sources = [slot for slot in gone if not self._has_cleared(slot, now_ms)] + self.slots
        by_scent: dict[Scent, list[Slot]] = {}
        for slot in self.slots:
            if slot.scent != NO_SCENT:
                by_scent.setdefault(slot.scent, []).append(slot)
        self._by_scent = {
            scent: [slot for slot in slots if slot.is_loaded] or slots
            for scent, slots in by_scent.items()
        }

    def carries(self, scent: Scent) -> bool:
        """Say whether a slot here holds the scent."""
        return self.anything or scent in self._by_scent

    def pick(
        self, scent: Scent, dose: int, priority: int, now_ms: float, at_ms: float, *, mix: bool
    ) -> Slot | Skip:
        """Choose the slot that a cue would spray from at `at_ms`, or say why there is none.

        Releases nothing. `at_ms` is `now_ms`, or later for a cue that waits.
        """
        if self._is_choosy or self.stuck_since_ms is not None or not self.online:
            why = self._why_unavailable(scent)
            if why is not None:
                return why
        slots = self._by_scent.get(scent) or self._improvise(scent)
        if slots is None:
            return Skip.NO_SUCH_SCENT
        if (
            not mix
            and self._air_until_ms + self._limits.clearing_ms > at_ms
            and not self._clear_for(scent, at_ms)
        ):
            return Skip.CLEARING
        best: Slot | None = None
        reason = Skip.BUSY
        for slot in slots:
            if slot.vial is not None and slot.vial.left_us < dose and slot.is_short(dose, at_ms):
                reason = Skip.EMPTY
            elif slot.until_ms <= at_ms:
                best = slot
                break
            elif best is None and slot.run is not None and priority > slot.run.priority:
                best = slot
        if best is None:
            return reason
        has_room = self.budget.has_room if at_ms <= now_ms else self.budget.will_have_room
        if has_room(dose, at_ms) or has_room(dose - best.unreleased_us(at_ms), at_ms):
            return best
        return Skip.DOSE_LIMIT

    def pick_for_level(
        self, key: LevelKey, intensity: float, ends_ms: float, now_ms: float
    ) -> tuple[Slot, float, float] | Skip:
        """Choose the slot for a level, and the intensity and end there with its owner's others.

        What levels of one owner give to one slot adds up, to full intensity at most.
        """
        if self._is_choosy or self.stuck_since_ms is not None or not self.online:
            why = self._why_unavailable(key.scent)
            if why is not None:
                return why
        slots = self._by_scent.get(key.scent) or self._improvise(key.scent)
        if slots is None:
            return Skip.NO_SUCH_SCENT
        reason = Skip.BUSY
        for slot in slots:
            run = slot.running(now_ms)
            if run is None:
                if not self._clear_for(key.scent, now_ms, but_for=key.owner):
                    return Skip.CLEARING
            elif not run.is_level or run.owner != key.owner:
                continue
            total, until_ms = slot.mixed(now_ms, but_for=key)
            total, until_ms = min(1.0, total + intensity), max(until_ms, ends_ms)
            dose, saved = dose_us(total, until_ms - now_ms), slot.unreleased_us(now_ms)
            if slot.vial is not None and slot.vial.left_us + saved < dose:
                reason = Skip.EMPTY
                continue
            if not self.budget.has_room(dose - saved, now_ms):
                return Skip.DOSE_LIMIT
            return slot, total, until_ms
        return reason

    def open(self, slot: Slot, run: Run, now_ms: float) -> None:
        """Start a release that `pick` allowed; what ran in the slot ends."""
        if slot.until_ms > now_ms:
            self.close(slot, now_ms)
        if not run.is_level:
            slot.parts.clear()
        slot.run = run
        slot.until_ms = run.ends_ms
        self._air_until_ms = max(self._air_until_ms, run.ends_ms)
        if slot.vial is not None:
            slot.vial.give(run.dose_us)
        self.budget.charge(run.dose_us, run.ends_ms)

    def keep(self, slot: Slot, run: Run, now_ms: float) -> None:
        """Keep a slot for a release that begins later; else as `open`, which it counts as."""
        if slot.until_ms > now_ms:
            self.close(slot, now_ms)
        before_ms = slot.until_ms
        self.open(slot, run, now_ms)
        slot.before_ms = before_ms

    def begin(self, slot: Slot, run: Run) -> None:
        """Start the release for which a slot was kept, as `run`: as it was meant, at its time."""
        kept = slot.run
        assert kept is not None
        self.budget.charge(-kept.dose_us, kept.ends_ms)
        self.budget.charge(run.dose_us, run.ends_ms)
        slot.run, slot.until_ms, slot.before_ms = run, run.ends_ms, None
        self._air_until_ms = max(self._air_until_ms, run.ends_ms)

    def close(self, slot: Slot, now_ms: float) -> None:
        """End a release early: only what was released counts."""
        run = slot.running(now_ms)
        if run is None:
            return
        if slot.before_ms is not None:
            self.budget.charge(-run.dose_us, run.ends_ms)
            if slot.vial is not None:
                slot.vial.give(-run.dose_us)
            slot.until_ms, slot.before_ms, slot.run = slot.before_ms, None, None
            return
        slot.until_ms = now_ms
        released = run.released_us(now_ms)
        if slot.vial is not None:
            slot.vial.give(released - run.dose_us)
        self.budget.charge(-run.dose_us, run.ends_ms)
        self.budget.charge(released, now_ms)
        slot.save(run.dose_us - released, run.ends_ms, now_ms)

    def give_back(self, slot: Slot, now_ms: float) -> int:
        """Undo a slot's last release, of which surely nothing was sprayed; return what it counted.

        It may be over by now. Once more gives nothing, since then there was none.
        """
        if slot.run is None or slot.is_kept:
            return 0
        counted = slot.run.released_us(slot.until_ms)  # the whole, unless it was closed early
        if slot.until_ms > now_ms - GIVEN_BACK_WITHIN_MS:
            self.budget.charge(-counted, slot.until_ms)
        if slot.vial is not None:
            slot.vial.give(-counted)
        slot.until_ms, slot.run = min(slot.until_ms, now_ms), None
        return counted

    def _last_change_ms(self, slot: Slot, now_ms: float) -> float:
        if slot.before_ms is not None:
            return slot.before_ms
        run = slot.running(now_ms)
        return slot.until_ms if run is None else run.starts_ms

    def _why_unavailable(self, scent: Scent) -> Skip | None:
        if self.settings.refuses(scent):
            return Skip.OPTED_OUT
        if not self.online:
            return Skip.OFFLINE
        return Skip.STUCK if self.stuck else None

    def _clear_for(self, scent: Scent, at_ms: float, but_for: OwnerId | None = None) -> bool:
        """Say whether every other scent has cleared; levels of `but_for` are not in its own way."""
        for slot in self._sources:
            if slot.scent != scent and not self._has_cleared(slot, at_ms):
                run = slot.run
                if run is None or not run.is_level or run.owner != but_for:
                    return False
        return True

    def _has_cleared(self, slot: Slot, at_ms: float) -> bool:
        return slot.until_ms + self._limits.clearing_ms <= at_ms

    def _improvise(self, scent: Scent) -> list[Slot] | None:
        if not self.anything:
            return None
        slot = Slot(len(self.slots), scent)
        self.slots.append(slot)
        self._sources.append(slot)
        self._by_scent[scent] = [slot]
        return self._by_scent[scent]

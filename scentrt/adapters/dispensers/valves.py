"""Which slots of a dispenser should be closed, and whether they are. Pure."""

from dataclasses import dataclass, replace
from math import inf

from scentrt.adapters.dispensers.gatt import SEEN_SLOTS, Status, is_behind

TELL_AGAIN_S = 0.3
"""How soon a slot that was told to close, and has not, is told again."""

STUCK_AFTER_S = 0.85
"""So long a slot has from when it should have been closed until it may count as stuck."""

TOLD_IN_VAIN = 3
"""How often a stuck slot was told to close at the least: after a pause time alone says little."""

LATE_S = 0.5
"""How late a device may show a slot as closed after its spray has ended."""

TELL_STUCK_S = 2.0
"""How often a slot that is stuck is told again: it may come loose."""


@dataclass(frozen=True, slots=True)
class _Spray:
    """What a slot was told last: by which command, and when it closes by itself."""

    seq: int
    ends: float


@dataclass(frozen=True, slots=True)
class _Closing:
    """Since when a slot should have been closed, and how often it was told so."""

    since: float
    told: int = 0


class Valves:
    """Follow one device's slots: those that it was told to open, and to close.

    All times are the caller's. What the device said before a stop is no answer to it.
    """

    def __init__(self) -> None:
        self._sprays: dict[int, _Spray] = {}
        self._closing: dict[int, _Closing] = {}
        self._stop_seq = 0
        self._stopped_at = -inf
        self.stuck = False
        """Whether a slot does not close; until a status says that all are closed."""
        self._look_at = inf

    @property
    def look_at(self) -> float:
        """When to look at the status again, and to tell again those in `still_open`."""
        ends = min((spray.ends for spray in self._sprays.values()), default=inf)
        return min(self._look_at, ends + LATE_S)

    def opens(self, slot: int, seq: int, ends: float) -> None:
        """Note that a device is told to open a slot until `ends`, by the command of that number.

        From before it can say so; until when is not known (infinity) before the write has ended.
        """
        if slot in SEEN_SLOTS:
            self._sprays[slot] = _Spray(seq, ends)
            self._closing.pop(slot, None)

    def told_to_close(self, slot: int | None, seq: int, now: float) -> None:
        """Note that a slot, or all, were told to close by the command of that number."""
        for each in SEEN_SLOTS if slot is None else {slot}.intersection(SEEN_SLOTS):
            self._sprays.pop(each, None)
            closing = self._closing.get(each, _Closing(now))
            self._closing[each] = replace(closing, told=closing.told + 1)
        self._stop_seq = seq
        self._stopped_at = now
        self._look_at = now + (TELL_STUCK_S if self.stuck else TELL_AGAIN_S)

    def see(self, status: Status, now: float, asked_at: float = -inf) -> None:
        """Take in what the device says: which slots are closed, and which have stayed open.

        It was asked at `asked_at`, or says it by itself. Asked after a stop it is taken at its
        word, even where it has not got that stop: then it was lost.
        """
        if asked_at >= self._stopped_at or not is_behind(status.seq, self._stop_seq):
            self._closing = {s: each for s, each in self._closing.items() if status.is_open(s)}
        for slot, spray in list(self._sprays.items()):
            is_over = now >= spray.ends and not is_behind(status.seq, spray.seq)
            if now >= spray.ends + LATE_S or (is_over and not status.is_open(slot)):
                del self._sprays[slot]
        for slot in status.slots():
            if slot not in self._closing and slot not in self._sprays:
                self._closing[slot] = _Closing(now)
                self._look_at = now
        if not self._closing:
            self.stuck = False
            self._look_at = inf

    def still_open(self, now: float) -> tuple[int, ...]:
        """Return the slots to tell again, after a look; none when it has just become stuck."""
        enough = any(
            now >= closing.since + STUCK_AFTER_S and closing.told >= TOLD_IN_VAIN
            for closing in self._closing.values()
        )
        has_become_stuck = enough and not self.stuck
        self.stuck |= enough
        self._look_at = now + (TELL_STUCK_S if self.stuck else TELL_AGAIN_S)
        return () if has_become_stuck else tuple(self._closing)

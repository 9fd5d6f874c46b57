"""The cues of a zone: those that wait for their time, and those that have been decided."""

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count

from scentrt.domain.cues import Cue, CueKey, OwnerId
from scentrt.domain.decisions import Accepted

REMEMBERED_CUES = 10_000
REMEMBERED_MS = 5 * 60_000.0
"""How many decided cues, and for how long, are known again when they come a second time."""

MOST_WAITING = 50_000
"""A day of films has some thousand cues; beyond this a sender is broken, and is told `busy`."""

SLACK = 1_000
"""Dropped cues that may stay in the heap beyond as many as wait, before it is cleaned up."""


@dataclass(slots=True)
class _Waiting:
    cue: Cue
    answer: Accepted
    number: int


_Entry = tuple[float, int, int, CueKey]
"""A place in the heap: due time, priority (negative), number, key."""


class Agenda:
    """Keep each cue from when it is taken until it can no longer come a second time.

    Of two that are due at once, the one of higher priority comes first, then the one that was
    taken first. The cues of an owner who is away are held back when they fall due.
    """

    def __init__(self) -> None:
        self._waiting: dict[CueKey, _Waiting] = {}
        # What was dropped stays in the heap until it comes up: its number is not waited for.
        self._heap: list[_Entry] = []
        self._numbers = count()
        self._held: dict[OwnerId, list[_Entry]] = {}
        # An OrderedDict, since a plain dict that loses its front walks over all that is gone.
        self._decided: OrderedDict[CueKey, tuple[float, Accepted]] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether no more cues may wait."""
        return len(self._waiting) >= MOST_WAITING

    @property
    def next_ms(self) -> float:
        """When the next cue falls due; infinity where none waits."""
        return self._heap[0][0] if self._heap else float("inf")

    def answer(self, key: CueKey, now_ms: float) -> Accepted | None:
        """Return what was answered first to a cue that is known."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            return waiting.answer
        decided_ms, answer = self._decided.get(key, (0.0, None))
        return answer if decided_ms >= now_ms - REMEMBERED_MS else None

    def waits(self, key: CueKey) -> bool:
        """Say whether a cue still waits to be decided."""
        return key in self._waiting

    def waiting(self) -> list[Cue]:
        """Return the cues that wait, in the order in which they were taken."""
        return [waiting.cue for waiting in self._waiting.values()]

    def wait(self, cue: Cue, answer: Accepted) -> None:
        """Keep a cue until it is due."""
        number = next(self._numbers)
        self._waiting[cue.key] = _Waiting(cue, answer, number)
        heappush(self._heap, (cue.due_ms, -cue.priority, number, cue.key))
        if len(self._heap) > 2 * len(self._waiting) + SLACK:
            self._heap = [entry for entry in self._heap if self._is_waiting(entry)]
            heapify(self._heap)

    def narrow(self, cue: Cue) -> None:
        """Let a waiting cue be for other seats than before."""
        self._waiting[cue.key].cue = cue

    def drop(self, key: CueKey, now_ms: float) -> bool:
        """Let a cue wait no longer, though it stays known; False where it did not wait."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return False
        self.remember(key, waiting.answer, now_ms)
        return True

    def due(self, now_ms: float) -> Cue | None:
        """Take out the next cue that is due, to be known as decided, or return None."""
        while self._heap and self._heap[0][0] <= now_ms:
            entry = heappop(self._heap)
            key = entry[-1]
            if not self._is_waiting(entry):
                continue
            if key.owner in self._held:
                self._held[key.owner].append(entry)
                continue
            waiting = self._waiting.pop(key)
            self.remember(key, waiting.answer, now_ms)
            return waiting.cue
        return None

    def remember(self, key: CueKey, answer: Accepted, now_ms: float) -> None:
        """Know a cue as decided, for as long as it might come again."""
        decided = self._decided
        decided.pop(key, None)
        decided[key] = now_ms, answer
        oldest = next(iter(decided))
        while len(decided) > REMEMBERED_CUES or decided[oldest][0] < now_ms - REMEMBERED_MS:
            del decided[oldest]
            oldest = next(iter(decided))

    def is_away(self, owner: OwnerId) -> bool:
        """Whether an owner's cues are held back."""
        return owner in self._held

    def hold(self, owner: OwnerId) -> None:
        """Hold an owner's cues back from now on."""
        self._held.setdefault(owner, [])

    def resume(self, owner: OwnerId) -> None:
        """Let an owner's cues fall due again, those that were held back at once."""
        for entry in self._held.pop(owner, []):
            heappush(self._heap, entry)

    def forget(self, owner: OwnerId, now_ms: float) -> None:
        """Drop an owner's waiting cues, and hold nothing back for it any more."""
        self._held.pop(owner, None)
        for key in [key for key in self._waiting if key.owner == owner]:
            self.drop(key, now_ms)

    def _is_waiting(self, entry: _Entry) -> bool:
        _, _, number, key = entry
        waiting = self._waiting.get(key)
        return waiting is not None and waiting.number == number

"""The cues of a zone: those that wait for their time, and those that have been decided."""

from heapq import heappop, heappush
from itertools import count

from scentrt.domain.cues import Cue, CueKey, OwnerId
from scentrt.domain.decisions import Accepted

REMEMBERED_CUES = 10_000
REMEMBERED_MS = 5 * 60_000.0
"""How many decided cues, and for how long, are known again when they come a second time."""

MOST_WAITING = 50_000
"""A day of films has some thousand cues; beyond this a sender is broken, and is told `busy`."""


class Agenda:
    """Keep each cue from when it is taken until it can no longer come a second time.

    Of two that are due at once, the one of higher priority comes first, then the one that was
    taken first. The cues of an owner who is away are held back when they fall due.
    """

    def __init__(self) -> None:
        self._waiting: dict[CueKey, tuple[Cue, Accepted]] = {}
        self._heap: list[tuple[float, int, int, CueKey]] = []
        self._order = count()
        self._decided: dict[CueKey, tuple[float, Accepted]] = {}
        self._away: set[OwnerId] = set()

    @property
    def full(self) -> bool:
        """Whether no more cues may wait."""
        return len(self._waiting) >= MOST_WAITING

    @property
    def next_ms(self) -> float:
        """When the next cue falls due; infinity where none waits."""
        return self._heap[0][0] if self._heap else float("inf")

    def answer(self, key: CueKey) -> Accepted | None:
        """Return what was answered to a cue that is known."""
        known = self._waiting.get(key) or self._decided.get(key)
        return known[1] if known else None

    def waiting(self) -> list[Cue]:
        """Return the cues that wait, in the order in which they were taken."""
        return [cue for cue, _ in self._waiting.values()]

    def wait(self, cue: Cue, answer: Accepted) -> None:
        """Keep a cue until it is due."""
        self._waiting[cue.key] = cue, answer
        self._list(cue)

    def narrow(self, cue: Cue) -> None:
        """Let a waiting cue be for other seats than before."""
        self._waiting[cue.key] = cue, self._waiting[cue.key][1]

    def drop(self, key: CueKey, now_ms: float) -> bool:
        """Let a cue wait no longer, though it stays known; False where it did not wait."""
        known = self._waiting.pop(key, None)
        if known is not None:
            self.remember(key, known[1], now_ms)
        return known is not None

    def due(self, now_ms: float) -> Cue | None:
        """Take out the next cue that is due, or return None."""
        while self._heap and self._heap[0][0] <= now_ms:
            key = heappop(self._heap)[-1]
            if key in self._waiting and key.owner not in self._away:
                return self._waiting.pop(key)[0]
        return None

    def remember(self, key: CueKey, answer: Accepted, now_ms: float) -> None:
        """Know a cue as decided, for as long as it might come again."""
        decided = self._decided
        decided[key] = now_ms, answer
        oldest = next(iter(decided))
        while len(decided) > REMEMBERED_CUES or decided[oldest][0] < now_ms - REMEMBERED_MS:
            del decided[oldest]
            oldest = next(iter(decided))

    def is_away(self, owner: OwnerId) -> bool:
        """Whether an owner's cues are held back."""
        return owner in self._away

    def hold(self, owner: OwnerId) -> None:
        """Hold an owner's cues back from now on."""
        self._away.add(owner)

    def resume(self, owner: OwnerId) -> None:
        """Let an owner's cues fall due again, those that were held back at once."""
        self._away.discard(owner)
        for cue in self.waiting():
            if cue.key.owner == owner:
                self._list(cue)

    def forget(self, owner: OwnerId, now_ms: float) -> None:
        """Drop an owner's waiting cues, and hold nothing back for it any more."""
        self._away.discard(owner)
        for key in [key for key in self._waiting if key.owner == owner]:
            self.drop(key, now_ms)

    def _list(self, cue: Cue) -> None:
        heappush(self._heap, (cue.due_ms, -cue.priority, next(self._order), cue.key))

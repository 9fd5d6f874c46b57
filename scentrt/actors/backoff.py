"""The pauses between attempts at something that fails."""

import random


class Backoff:
    """Say how long to wait before the next attempt: `first_s` at most, doubling to `longest_s`.

    A pause is drawn from the upper half of that, so that those who have failed together do not all
    come back together.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._most_s = first_s

    def next_s(self) -> float:
        """Return how long to wait this time."""
        most_s = self._most_s
        self._most_s = min(2 * most_s, self._longest_s)
        return random.uniform(most_s / 2, most_s)

    def reset(self) -> None:
        """Begin with the first pause again, since an attempt has succeeded."""
        self._most_s = self._first_s

"""A clock for tests, which stands still while the machine does.

A machine that runs tests is paused now and then for seconds, or gives a process no turn. On a clock
that goes on meanwhile every deadline is over then, those of the tests and those of the server in
the same process, though nobody has been slow.
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeVar

import trio
from trio.abc import Clock, Instrument

T = TypeVar("T")

LONGEST_S = 0.2
"""How much time passes between two readings at the very most.

Half of it is longer than any cushion with which a test waits for all tasks to be blocked.
"""


class WakefulClock(Clock):
    """Real time, but for what is missing between readings that should have been closer together.

    Trio reads its clock before and after every sleep, and no sleep is longer than half the step
    that counts: what goes beyond that, nobody was awake to use.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._read_at = 0.0

    def start_clock(self) -> None:
        """Count from here."""
        self._read_at = perf_counter()

    def current_time(self) -> float:
        """Return the seconds in which this run could do something."""
        read_at = perf_counter()
        self._now += min(read_at - self._read_at, LONGEST_S)
        self._read_at = read_at
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to sleep at a time: trio asks again as long as there is nothing to do."""
        return min(deadline - self.current_time(), LONGEST_S / 2)


def run(
    async_fn: Callable[[], Awaitable[T]],
    *,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
) -> T:
    """Run trio as `trio.run` does, on this clock unless another is given."""
    return trio.run(async_fn, clock=clock or WakefulClock(), instruments=instruments)

"""An open loop: what is sent when, however long answers take.

Who waits for an answer before the next question sends nothing while a server pauses, and so counts
that pause once and not for everybody who would have come meanwhile. Here, each sending has its
moment, and is timed from that.
"""

import random
from collections.abc import Callable
from time import perf_counter

SPIN_S = 0.0003
"""Before a moment, one stays awake: a sleeper is woken some 0.1 ms late, and not always so soon."""


def moments(count: int, per_s: float) -> list[float]:
    """Return so many moments, in seconds from now.

    There is one in each interval, and anywhere in it: what comes like clockwork meets all else
    that does, or never. They are the same each time.
    """
    chance = random.Random(count)
    return [(number + chance.random()) / per_s for number in range(count)]


def wait_until(moment: float, listen: Callable[[float], None]) -> None:
    """Let `listen` hear for so many seconds, again and again until a moment of `perf_counter`."""
    while (left := moment - perf_counter()) > SPIN_S:
        listen(left - SPIN_S)
    while perf_counter() < moment:
        pass

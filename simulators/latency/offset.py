"""The server's clock as it is seen from another process of the same machine."""

from time import perf_counter, time

READINGS = 100


class Offset:
    """How far the server's clock is ahead of `perf_counter` here, in milliseconds.

    The server tells Unix time as it was when it started, carried on without steps. On the same
    machine that is our own Unix time, to a microsecond or so, unless somebody has set the clock in
    between; and whether that can be is seen from pings. One that was sent at `t0` here and received
    at `t1` there did not arrive before it was sent, so the server is ahead by `t1 - t0` at most;
    from its answer, sent at `t2` and here at `t3`, follows that it is ahead by `t2 - t3` at least.
    Unix time is believed as far as it lies between these.

    The middle between them, NTP's answer, would be off by a good part of what is to be measured:
    `t1` is taken after the server has read the ping and `t2` just before it writes, and reading
    takes several times as long as writing.
    """

    def __init__(self, unix_ahead_ms: float) -> None:
        self._least, self._most = float("-inf"), float("inf")
        self._unix = unix_ahead_ms

    def learn(self, t0: float, t1: float, t2: float, t3: float) -> None:
        """Take one ping."""
        self._least = max(self._least, t2 - t3)
        self._most = min(self._most, t1 - t0)

    def here_ms(self, server_ms: float) -> float:
        """Return a moment of the server's clock in milliseconds of `perf_counter`."""
        return server_ms - min(max(self._unix, self._least), self._most)


def unix_ahead_ms() -> float:
    """Return how far Unix time is ahead of `perf_counter`, by the reading that took least time."""
    readings = []
    for _ in range(READINGS):
        before, unix, after = perf_counter(), time(), perf_counter()
        readings.append((after - before, unix - (before + after) / 2))
    return min(readings)[1] * 1000

"""The server's clock: Unix milliseconds that never step backwards."""

import time

import trio


class ServerClock:
    """Unix time as it was when the server started, carried on by trio's clock.

    A wall clock that is set while people sit in the theatre moves no cue. Two readings in one
    process are never out of order, and under a mock clock time stands still until it is moved.
    """

    def __init__(self) -> None:
        self._offset_ms = time.time() * 1000 - trio.current_time() * 1000

    def now_ms(self) -> float:
        """Return this moment in Unix milliseconds."""
        return trio.current_time() * 1000 + self._offset_ms

    def trio_time(self, moment_ms: float) -> float:
        """Return a moment of this clock as trio's deadlines want it, in seconds."""
        return (moment_ms - self._offset_ms) / 1000

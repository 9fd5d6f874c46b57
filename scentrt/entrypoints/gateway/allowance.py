"""How many messages a connection may send."""

import trio

from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway.wire import BadMessage


class Allowance:
    """A token bucket: so many messages a second, and bursts of as many.

    What stops something is let through on credit, up to another burst.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at = trio.current_time()

    def take(self, message: hear.ClientMessage | BadMessage) -> float:
        """Take one message out; return 0, or in how many milliseconds there is room for one."""
        now = trio.current_time()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            urgent = isinstance(message, hear.Stop | hear.CancelCue | hear.Panic)
            if not urgent or self._left < 1 - self._per_s:
                return (1 - self._left) / self._per_s * 1000
        self._left -= 1
        return 0.0

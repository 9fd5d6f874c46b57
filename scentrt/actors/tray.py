"""The tray on the ledger's desk: units of work that wait to be stored."""

from collections import deque
from collections.abc import Iterable

import trio

from scentrt.errors import StoreUnavailable, UnitRefused
from scentrt.service_layer.changes import Changes


class WaitingUnit:
    """A unit of work that was handed in, and whoever waits for it."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self._has_ended = False
        self._error: BaseException | None = None
        self._waiting: trio.lowlevel.Task | None = None

    def end(self, error: BaseException | None = None) -> None:
        """Say that it is on disk or, with an error, why nothing of it is. The first word counts."""
        if not self._has_ended:
            self._has_ended = True
            self._error = error
            if self._waiting is not None:
                trio.lowlevel.reschedule(self._waiting)

    async def stored(self) -> None:
        """Wait until it is on disk; raises `UnitRefused` or `StoreUnavailable` if it is not.

        One may wait, and is not disturbed by being cancelled. This is an event in a shielded scope,
        for a third of what that costs.
        """
        if not self._has_ended:
            self._waiting = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        match self._error:
            case None:
                return
            case UnitRefused() as error:  # which is about this one alone
                raise error
            case error:
                raise StoreUnavailable(str(error)) from error


class Tray:
    """Units of work in the order in which they came.

    Nobody has more than one here, so there are at most as many as there are actors and callers.
    """

    def __init__(self) -> None:
        self._units: deque[WaitingUnit] = deque()
        self._closed: BaseException | None = None

    @property
    def waits(self) -> bool:
        """Whether there is one."""
        return bool(self._units)

    def put(self, changes: Changes) -> WaitingUnit:
        """Hand one in."""
        unit = WaitingUnit(changes)
        if self._closed is not None:
            unit.end(self._closed)
        else:
            self._units.append(unit)
        return unit

    def take(self, most_rows: int) -> list[WaitingUnit]:
        """Take units off, the oldest first, to about `most_rows` rows; one at least, if any."""
        taken: list[WaitingUnit] = []
        while self._units and most_rows > 0:
            taken.append(self._units.popleft())
            most_rows -= taken[-1].changes.rows
        return taken

    def fail_all(self, taken: Iterable[WaitingUnit], error: BaseException) -> None:
        """End those that were taken, and those that wait: an answer now is better than one late."""
        for unit in [*taken, *self._units]:
            unit.end(error)
        self._units.clear()

    def close(self, error: BaseException) -> None:
        """Take no more; those that wait have ended with `error`, and so will all that come."""
        self._closed = error
        self.fail_all((), error)

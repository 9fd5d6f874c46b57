"""What waits to be told to one dispenser, and in which order it is told. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from scentrt.adapters.dispensers.gatt import Command, Op
from scentrt.domain.cues import CueKey
from scentrt.domain.decisions import Withdraw

MOST_WAITING = 32
"""Sprays that may wait for one device: at a connection interval of 15 ms that is half a second,
which is how long a cue stays welcome."""


class Outcome(Protocol):
    """Who wants to know what became of a spray; told once for each device."""

    def written(self, at: float) -> None:
        """It was written at `at`, in the loop's time."""

    def failed(self) -> None:
        """Its write has failed, and may have arrived all the same."""

    def dropped(self, device: str) -> None:
        """It will not be written: taken back, overtaken, or no device there."""

    def expired(self, device: str) -> None:
        """It will not be written, since it has waited too long."""


@dataclass(frozen=True, slots=True, eq=False)
class SprayOrder:
    """One spray for any number of devices; times are the loop's.

    Without a `cue` it is one step of a level, and a newer step takes its place. No device is told
    after `expires`.
    """

    command: Command
    cue: CueKey | None
    given: float
    expires: float
    outcome: Outcome

    @property
    def is_level(self) -> bool:
        """Whether this is one step of a level, not a cue."""
        return self.cue is None

    def at(self, now: float) -> Self | None:
        """Return what a device may be told at this moment, None where it is too late for that.

        A cue's spray keeps its duration; a step of a level is over when it expires, however late it
        begins.
        """
        left_ms = int((self.expires - now) * 1000)
        if now > self.expires or (self.is_level and not left_ms):
            return None
        if self.is_level and left_ms < self.command.duration_ms:
            return replace(self, command=replace(self.command, duration_ms=left_ms))
        return self


class OrderQueue:
    """The orders that wait for one device, whose name is told to whoever waits for the outcome.

    Sprays come out in the order in which they went in. A stop comes out before all of them, and
    those that it stops never do. Of levels, each slot keeps the newest step only, in the place of
    the one before; and a cue's spray takes the slot from a level that waits for it. `expired`
    counts the sprays that were dropped since they had waited too long.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._stops: list[Command] = []
        self._sprays: deque[SprayOrder] = deque()
        self.expired = 0

    def spray(self, order: SprayOrder) -> None:
        """Let a spray wait; it is dropped at once where too many do."""
        slot = order.command.slot
        for place, other in enumerate(self._sprays):
            if other.is_level and other.command.slot == slot:
                if order.is_level:
                    self._sprays[place] = order
                else:
                    del self._sprays[place]
                    self._sprays.append(order)
                other.outcome.dropped(self._device)
                return
        if len(self._sprays) < MOST_WAITING:
            self._sprays.append(order)
        else:
            order.outcome.dropped(self._device)

    def stop(self, command: Command) -> None:
        """Let a stop wait, before all sprays; what it stops and still waits is dropped."""
        everything = command.op is Op.STOP_ALL
        self._drop(lambda order: everything or order.command.slot == command.slot)
        if everything:
            self._stops.clear()
        self.close(command)

    def close(self, command: Command) -> None:
        """Let a stop wait, before all sprays, which are for afterwards and stay."""
        if command not in self._stops:
            self._stops.append(command)

    def withdraw(self, what: Withdraw) -> None:
        """Forget the sprays meant; they are dropped."""
        self._drop(lambda order: what.means(order.cue))

    def take(self, now: float) -> Command | SprayOrder | None:
        """Return what is to be told next, a stop or a spray; drop what has waited too long."""
        if self._stops:
            return self._stops.pop(0)
        while self._sprays:
            order = self._sprays.popleft()
            in_time = order.at(now)
            if in_time is not None:
                return in_time
            self.expired += 1
            order.outcome.expired(self._device)
        return None

    def clear(self) -> None:
        """Forget everything; what waited is dropped."""
        self._stops.clear()
        while self._sprays:
            self._sprays.popleft().outcome.dropped(self._device)

    def _drop(self, is_meant: Callable[[SprayOrder], bool]) -> None:
        kept: deque[SprayOrder] = deque()
        for order in self._sprays:
            if is_meant(order):
                order.outcome.dropped(self._device)
            else:
                kept.append(order)
        self._sprays = kept

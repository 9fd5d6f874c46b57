"""Stagehands: who carries out what a zone decides, and who is told of it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from scentrt.actors.messages import DeviceState
from scentrt.actors.reports import Written
from scentrt.domain.cues import SeatId, Spray, ZoneId
from scentrt.domain.decisions import Withdraw
from scentrt.domain.events import LevelChanged, PublicEvent
from scentrt.domain.vials import ScentSupply


class Dispensers(Protocol):
    """The dispensers of one zone. Every call returns at once and never raises for a device.

    Orders to one device are carried out in the order of the calls, but a halt overtakes sprays
    that wait. Of level steps (a spray without a cue) a slow device gets only the newest.
    """

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        """Open a slot at these seats; whoever cannot be told before it expires is not told.

        `done` is called in trio's thread, one or more times, until all seats are accounted for.
        """

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        """Close a slot at these seats, or all their slots."""

    def withdraw(self, what: Withdraw) -> None:
        """Forget the sprays meant that wait, and end those that began late; called after halts."""

    def device(self, seat: SeatId) -> DeviceState | None:
        """Return what is known of a seat's device; None where there is none to know of."""


class Listeners(Protocol):
    """Who is told what happens. Every call returns at once."""

    def publish(self, event: PublicEvent) -> None:
        """Tell all who have subscribed to such events."""

    def tell_level(self, zone: ZoneId, change: LevelChanged) -> None:
        """Tell the sender of a level what becomes of it in this zone."""


class Supplies(Protocol):
    """Who sees to it that no scent runs out. The call returns at once."""

    def report(self, zone: ZoneId, supply: tuple[ScentSupply, ...]) -> None:
        """Take what there is of each scent in a zone's vials, whenever it has changed."""

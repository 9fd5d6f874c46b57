"""The order desk: accepts orders and cancellations, and leaves their lines to the products."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import trio

from scentrt.actors.actor import RETRY_AFTER_MS
from scentrt.actors.product import NewUnit
from scentrt.domain.commands import CancelLine, Command, FillLine, OfOrders
from scentrt.errors import Busy, UnitRefused
from scentrt.service_layer.messagebus import work_through

MOST_AT_ONCE = 256
"""As many orders as may be under way: a transaction's worth."""

ATTEMPTS = 5
"""How often a command is decided, where others get ahead of it: each time, one of them is done."""

R = TypeVar("R")


class OrderDesk:
    """Carry out the commands about orders, each in a unit of work of its own, side by side.

    What two of them do at the same time to one order is kept apart by the database: the later one
    is refused, and decided again, `ATTEMPTS` times in all.

    Args:
      settle: told what products have to do about the lines of an order; that it has to be done
        is stored by then.
    """

    def __init__(
        self, new_unit: NewUnit, settle: Callable[[Iterable[FillLine | CancelLine]], None]
    ) -> None:
        self._new_unit = new_unit
        self._settle = settle
        self._under_way = 0

    async def handle(self, command: Command[R]) -> R:
        """Carry out a command about orders; see `service_layer.messagebus.Owner`."""
        assert isinstance(command, OfOrders)
        if self._under_way >= MOST_AT_ONCE:
            raise Busy("the order desk", RETRY_AFTER_MS)
        self._under_way += 1
        try:
            for _ in range(ATTEMPTS - 1):
                with suppress(UnitRefused):
                    return await self._in_a_unit(command)
                await trio.lowlevel.checkpoint()
            return await self._in_a_unit(command)
        finally:
            self._under_way -= 1

    async def _in_a_unit(self, command: Command[R]) -> R:
        async with self._new_unit() as uow:
            answer = await work_through(command, uow)
            left = tuple(uow.changes.left)
            await uow.commit()
        self._settle(left)
        return answer

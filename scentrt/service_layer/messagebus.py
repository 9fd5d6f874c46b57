"""The message bus: a command to whoever owns what it is about, its events to their handlers."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from scentrt.domain.commands import Command, OfOrders
from scentrt.service_layer.handlers import COMMAND_HANDLERS, EVENT_HANDLERS
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork

R = TypeVar("R")

EVENTS_PER_TURN = 16
"""How many are handled before the theatre gets its turn, in less than a millisecond."""


async def work_through(
    command: Command[R],
    uow: AbstractUnitOfWork,
    commit: Callable[[], Awaitable[object]] | None = None,
) -> R:
    """Handle a command, and every event that follows from it, within an open unit of work.

    The events are handled in the order in which they were raised. Returns or raises what the
    command's handler does: a `StockError` has changed nothing. Whatever else is raised leaves the
    unit in a state that must not be committed.

    What is done in steps is stored in parts whenever the unit is full; the last part is left to the
    caller.

    Args:
      commit: has a part stored, `uow.commit` where left out; what it raises is raised.
    """
    commit = commit or uow.commit
    answer: R = await COMMAND_HANDLERS[type(command)](command, uow)
    await _handle_events(uow)
    while uow.steps:
        if uow.is_full:
            await commit()
        is_last = next(uow.steps[0], _LAST) is _LAST
        if is_last:
            uow.steps.popleft()
        await _handle_events(uow)
        if not is_last:
            await trio.lowlevel.checkpoint()
    return answer


async def _handle_events(uow: AbstractUnitOfWork) -> None:
    for number, event in enumerate(uow.collect_new_events(), 1):
        for handler in EVENT_HANDLERS[type(event)]:
            await handler(event, uow)
        if number % EVENTS_PER_TURN == 0:
            await trio.lowlevel.checkpoint()


_LAST = object()


class Owner(Protocol):
    """Whoever carries out the commands about something."""

    async def handle(self, command: Command[R]) -> R:
        """Carry a command out and return its answer, when all of it is on disk.

        Raises:
          StockError: it cannot be done, and why.
          Busy: too much waits already.
          StoreUnavailable: the database is away. In all these cases nothing has changed, except
            that a batch from which very many lines had to go may have let some of them go: to ask
            for the same again does the rest.
        """
        ...


class MessageBus:
    """Where the edges hand their commands in.

    Args:
      products: the owner of everything that is about one product.
      orders: the owner of orders and customers.
    """

    def __init__(self, products: Owner, orders: Owner) -> None:
        self._products = products
        self._orders = orders

    async def handle(self, command: Command[R]) -> R:
        """Have a command carried out; returns and raises what its `Owner` does."""
        owner = self._orders if isinstance(command, OfOrders) else self._products
        return await owner.handle(command)

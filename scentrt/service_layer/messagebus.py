"""The message bus: a command to whoever owns what it is about, its events to their handlers."""

from collections import deque
from itertools import count
from typing import Protocol, TypeVar

import trio

from scentrt.domain.commands import Command, OfOrders
from scentrt.domain.events import StockEvent
from scentrt.service_layer.handlers import COMMAND_HANDLERS, EVENT_HANDLERS
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork

R = TypeVar("R")

EVENTS_PER_TURN = 32
"""How many are handled before the theatre gets its turn, in about a millisecond: a batch that
shrinks may displace thousands of lines."""


async def work_through(command: Command[R], uow: AbstractUnitOfWork) -> R:
    """Handle a command, and every event that follows from it, within an open unit of work.

    The events are handled in the order in which they were raised. Returns or raises what the
    command's handler does: a `StockError` has changed nothing. Whatever else is raised leaves the
    unit in a state that must not be committed.
    """
    answer: R = await COMMAND_HANDLERS[type(command)](command, uow)
    events: deque[StockEvent] = deque(uow.collect_new_events())
    for number in count(1):
        if not events:
            break
        event = events.popleft()
        for handler in EVENT_HANDLERS[type(event)]:
            await handler(event, uow)
        events += uow.collect_new_events()
        if number % EVENTS_PER_TURN == 0:
            await trio.lowlevel.checkpoint()
    return answer


class Owner(Protocol):
    """Whoever carries out the commands about something."""

    async def handle(self, command: Command[R]) -> R:
        """Carry a command out and return its answer, when all of it is on disk.

        Raises:
          StockError: it cannot be done, and why.
          Busy: too much waits already.
          StoreUnavailable: the database is away. In all these cases nothing has changed.
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

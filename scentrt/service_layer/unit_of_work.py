"""A unit of work: what is decided together, and stored together or not at all.

All that the service layer asks of adapters can be imported from here: units of work, repositories
and notifications.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from scentrt.domain.events import StockEvent
from scentrt.service_layer.changes import Changes
from scentrt.service_layer.deliveries import Outgoing, Outlets
from scentrt.service_layer.notifications import AbstractNotifications
from scentrt.service_layer.repository import AbstractOrders, AbstractRepository

__all__ = ["AbstractNotifications", "AbstractOrders", "AbstractRepository", "AbstractUnitOfWork"]

ROWS_PER_COMMIT = 1_000
"""How many rows a unit changes before it is full: some ten milliseconds of the one writer's time,
in which everybody else waits."""


class AbstractUnitOfWork(ABC):
    """Work on products and orders; leaving the block without a commit forgets all of it::

        async with uow:
            product = await uow.products.get(sku)
            ...
            await uow.commit()

    What is too much for one transaction is done in steps, in `steps`: after each of them, with all
    that follows from it, everything holds together and may be committed, and the unit goes on. So a
    process that is killed in between has done a part of it, and lost nothing.

    Nothing is locked meanwhile. The versions of the products are checked when it is committed, so
    of two units that changed the same product side by side, the later one is refused.
    """

    products: AbstractRepository
    orders: AbstractOrders
    changes: Changes
    outgoing: Outgoing
    steps: deque[Iterator[None]]

    def __init__(self, outlets: Outlets) -> None:
        self._outlets = outlets

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.rollback()

    @property
    def is_full(self) -> bool:
        """Whether what has changed since the last commit is enough for a transaction."""
        return self.changes.rows >= ROWS_PER_COMMIT

    def collect_new_events(self) -> Iterator[StockEvent]:
        """Take the events off all products that this unit has seen, noting what each changes.

        Those that are raised meanwhile come too, behind the others of their product.
        """
        for product in tuple(self.products.seen.values()):
            while product.events:
                event = product.events.pop(0)
                self.changes.note(event)
                yield event

    async def commit(self) -> list[StockEvent]:
        """Store everything since the last commit, in one transaction; it is on disk on return.

        Returns what has happened in it, in order. Cancelling does not end it, so that whoever has
        to tell of it does.

        Raises:
          UnitRefused: a product has changed since it was read, or a name was taken meanwhile.
          StoreUnavailable: the database is away. In either case nothing is stored, and the block
            has to be left.
        """
        deque(self.collect_new_events(), maxlen=0)
        changes = self.changes
        changes.versions = self.products.versions
        changes.deliveries = self.outgoing.deliveries
        changes.letters = self.outgoing.letters
        assert not changes.homeless, f"lines would be forgotten: {changes.homeless}"
        events, changes.events = changes.events, []
        if changes.rows:
            await self._commit(changes)
            self.products.stored()
            self.changes = Changes()
            self.outgoing.begin()
        return events

    def rollback(self) -> None:
        """Forget what was not committed."""
        self._begin()

    def _begin(self) -> None:
        self.products = self._new_repository()
        self.changes = Changes()
        self.outgoing = Outgoing(self._outlets)
        self.steps = deque()

    @abstractmethod
    def _new_repository(self) -> AbstractRepository: ...

    @abstractmethod
    async def _commit(self, changes: Changes) -> None: ...

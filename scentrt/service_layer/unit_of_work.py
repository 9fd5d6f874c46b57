"""A unit of work: what is decided together, and stored together or not at all.

All that the service layer asks of adapters can be imported from here: units of work, repositories
and notifications.
"""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from scentrt.domain.events import StockEvent
from scentrt.service_layer.changes import Changes
from scentrt.service_layer.deliveries import Outgoing, Outlets
from scentrt.service_layer.notifications import AbstractNotifications
from scentrt.service_layer.repository import AbstractOrders, AbstractRepository

__all__ = ["AbstractNotifications", "AbstractOrders", "AbstractRepository", "AbstractUnitOfWork"]


class AbstractUnitOfWork(ABC):
    """Work on products and orders; leaving the block without a commit forgets all of it::

        async with uow:
            product = await uow.products.get(sku)
            ...
            await uow.commit()

    Nothing is locked meanwhile. The versions of the products are checked when it is committed, so
    of two units that changed the same product side by side, the later one is refused.
    """

    products: AbstractRepository
    orders: AbstractOrders
    changes: Changes
    outgoing: Outgoing

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

    def collect_new_events(self) -> list[StockEvent]:
        """Take the events off all products that this unit has seen, noting what they change."""
        events: list[StockEvent] = []
        for product in self.products.seen.values():
            if product.events:
                events += product.events
                product.events.clear()
        for event in events:
            self.changes.note(event)
        return events

    async def commit(self) -> None:
        """Store everything, in one transaction; it is on disk on return. Once for each block.

        Raises:
          UnitRefused: a product has changed since it was read, or a name was taken meanwhile.
          StoreUnavailable: the database is away. In either case nothing is stored.
        """
        self.collect_new_events()
        changes = self.changes
        changes.versions = self.products.versions
        changes.deliveries = self.outgoing.deliveries
        changes.letters = self.outgoing.letters
        assert not changes.homeless, f"lines would be forgotten: {changes.homeless}"
        if changes.rows:
            await self._commit(changes)

    def rollback(self) -> None:
        """Forget what was not committed."""
        self._begin()

    def _begin(self) -> None:
        self.products = self._new_repository()
        self.changes = Changes()
        self.outgoing = Outgoing(self._outlets)

    @abstractmethod
    def _new_repository(self) -> AbstractRepository: ...

    @abstractmethod
    async def _commit(self, changes: Changes) -> None: ...

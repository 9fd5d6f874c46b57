"""Units of work on a database."""

from collections.abc import Awaitable, Callable

from scentrt.adapters.repository import SqlAlchemyOrders, SqlAlchemyRepository
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.service_layer.changes import Changes
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork


class SqlAlchemyUnitOfWork(AbstractUnitOfWork):
    """A unit of work on a database, in one transaction of its own or of the ledger's.

    Args:
      commit: who stores it, the ledger where one runs; by itself where left out.
    """

    def __init__(
        self,
        store: SqlTheatreStore,
        outlets: Outlets,
        commit: Callable[[Changes], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(outlets)
        self._store = store
        self._committed_by = commit or store.commit_unit
        self.orders = SqlAlchemyOrders(store)

    def _new_repository(self) -> SqlAlchemyRepository:
        return SqlAlchemyRepository(self._store)

    async def _commit(self, changes: Changes) -> None:
        await self._committed_by(changes)

"""The stock: who decides about it, where it is stored, and where it is looked at."""

from dataclasses import dataclass

from scentrt.actors.ledger import Ledger
from scentrt.actors.order_desk import OrderDesk
from scentrt.actors.stock_room import StockRoom
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.adapters.unit_of_work import SqlAlchemyUnitOfWork
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.messagebus import MessageBus
from scentrt.service_layer.views import Views


@dataclass(frozen=True, slots=True)
class Stock:
    """What the edges ask: commands through `bus`, everything else through `views`.

    The products' actors live as long as `room` runs.
    """

    bus: MessageBus
    views: Views
    room: StockRoom


def build_stock(store: SqlTheatreStore, ledger: Ledger, outlets: Outlets) -> Stock:
    """Wire the stock room and the order desk to the database, through the ledger."""

    def new_unit() -> SqlAlchemyUnitOfWork:
        return SqlAlchemyUnitOfWork(store, outlets, ledger.commit)

    room = StockRoom(new_unit)
    desk = OrderDesk(new_unit, room.settle)
    return Stock(MessageBus(products=room, orders=desk), SqlAlchemyViews(store), room)

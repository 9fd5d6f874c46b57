"""The stock: who decides about it, where it is stored and looked at, and what leaves the house."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scentrt.actors.herald import Proclaim, to_nobody
from scentrt.actors.ledger import Ledger
from scentrt.actors.order_desk import OrderDesk
from scentrt.actors.outbox import Channel
from scentrt.actors.stock_room import StockRoom
from scentrt.adapters.notifications import (
    EmailChannel,
    EmailNotifications,
    LogNotifications,
    Post,
)
from scentrt.adapters.theatre_store import SqlTheatreStore
from scentrt.adapters.unit_of_work import SqlAlchemyUnitOfWork
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.config import EmailSection, RedisSection, Settings
from scentrt.domain.commands import ChangeBatchQuantity
from scentrt.domain.names import BatchRef
from scentrt.entrypoints.redis_consumer import consume_commands
from scentrt.service_layer.deliveries import Kind, Outlets
from scentrt.service_layer.messagebus import MessageBus
from scentrt.service_layer.views import Views

if TYPE_CHECKING:
    from scentrt.adapters.redis_pubsub import RedisAddress


@dataclass(frozen=True, slots=True)
class Stock:
    """What the edges ask: commands through `bus`, everything else through `views`.

    The products' actors live as long as `room` runs.
    """

    bus: MessageBus
    views: Views
    room: StockRoom


def build_stock(
    store: SqlTheatreStore, ledger: Ledger, outlets: Outlets, proclaim: Proclaim = to_nobody
) -> Stock:
    """Wire the stock room and the order desk to the database, through the ledger.

    What has been stored is told to `proclaim`.
    """

    def new_unit() -> SqlAlchemyUnitOfWork:
        return SqlAlchemyUnitOfWork(store, outlets, ledger.commit)

    room = StockRoom(new_unit, proclaim)
    desk = OrderDesk(new_unit, room.settle)
    return Stock(MessageBus(products=room, orders=desk), SqlAlchemyViews(store), room)


@dataclass(frozen=True, slots=True)
class WaysOut:
    """How deliveries leave the house, by kind, and what has to run for that.

    `give_up_after_s` is how old what is put off again and again may become.
    """

    channels: Mapping[str, Channel]
    give_up_after_s: Mapping[str, float]
    runs: tuple[Callable[..., Awaitable[object]], ...] = ()


def ways_out(settings: Settings) -> WaysOut:
    """Return a channel for each kind of delivery that this house has."""
    letters = EmailChannel(_post_office(settings.email))
    give_up_after_s: dict[str, float] = {Kind.EMAIL: settings.email.give_up_after_days * 86_400}
    if settings.redis.host is None:
        return WaysOut({Kind.EMAIL: letters}, give_up_after_s)
    from scentrt.adapters.redis_pubsub import RedisChannel

    redis = RedisChannel(_address(settings.redis))
    return WaysOut({Kind.EMAIL: letters, Kind.REDIS: redis}, give_up_after_s, (redis.run,))


async def hear_redis(settings: RedisSection, bus: MessageBus) -> None:
    """Carry out what is asked through Redis, until cancelled; without a Redis, nothing is."""
    if settings.host is None:
        return
    from scentrt.adapters.redis_pubsub import RedisSubscriber

    async def change(ref: str, qty: int) -> None:
        await bus.handle(ChangeBatchQuantity(BatchRef(ref), qty))

    await consume_commands(RedisSubscriber(_address(settings)), change)


def _post_office(settings: EmailSection) -> Post:
    if settings.host is None:
        return LogNotifications()
    return EmailNotifications(settings.host, settings.port, sender=settings.sender)


def _address(settings: RedisSection) -> "RedisAddress":
    from scentrt.adapters.redis_pubsub import RedisAddress

    assert settings.host is not None
    return RedisAddress(settings.host, settings.port, settings.password)

"""The message bus alone, over whatever one gives it: for tests, without database or server."""

from collections.abc import Callable

from scentrt.service_layer.in_process import InProcess, Publish
from scentrt.service_layer.messagebus import MessageBus
from scentrt.service_layer.unit_of_work import AbstractNotifications, AbstractUnitOfWork


def in_process_bus(
    new_unit: Callable[[], AbstractUnitOfWork],
    notifications: AbstractNotifications,
    publish: Publish,
) -> MessageBus:
    """Wire a message bus that does everything in the task that asks, with the real handlers::

        stock, published = MemoryStock(), []
        bus = in_process_bus(partial(MemoryUnitOfWork, stock), FakeNotifications(), publish)
        await bus.handle(CreateBatch(BatchRef("b-1"), Sku("LAMP"), 10))

    Nothing is started, so nothing is to be stopped. One command at a time: of two that change one
    product side by side, the later may be refused.

    Args:
      new_unit: a unit of work on what is stored, for each command a new one.
      notifications: how letters leave, to the stock team and to customers.
      publish: how events leave, by channel.
    """
    owner = InProcess(new_unit, notifications, publish)
    return MessageBus(products=owner, orders=owner)

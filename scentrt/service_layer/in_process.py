"""The stock in the task of whoever asks: no actors, no ledger, no outbox; for tests above all."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar, assert_never

from scentrt.domain.commands import Command
from scentrt.errors import OrdersCancelled
from scentrt.service_layer.deliveries import Kind, Letter, NewDelivery
from scentrt.service_layer.messagebus import work_through
from scentrt.service_layer.unit_of_work import AbstractNotifications, AbstractUnitOfWork

R = TypeVar("R")

Publish: TypeAlias = Callable[[str, Mapping[str, str | int]], Awaitable[None]]
"""Tell all who listen to a channel a message."""


class InProcess:
    """Carry out commands one by one; an `Owner` of products and of orders.

    A command returns when what it leaves to be done is done and what it has to tell is told, each
    time after the commit. If telling fails, that is raised; the rest is then told to nobody.
    """

    def __init__(
        self,
        new_unit: Callable[[], AbstractUnitOfWork],
        notifications: AbstractNotifications,
        publish: Publish,
    ) -> None:
        self._new_unit = new_unit
        self._notifications = notifications
        self._publish = publish

    async def handle(self, command: Command[R]) -> R:
        """Carry out a command; see `service_layer.messagebus.Owner`."""
        try:
            answer = await self._in_a_unit(command)
        except OrdersCancelled as refused:
            raise refused.conflict from refused
        orders = self._new_unit().orders
        for sku in await orders.unsettled_skus():
            for left in await orders.unsettled(sku):
                await self._in_a_unit(left)
        return answer

    async def _in_a_unit(self, command: Command[R]) -> R:
        deliveries: list[NewDelivery] = []
        letters: list[Letter] = []
        async with self._new_unit() as uow:

            async def commit() -> None:
                leaving = uow.outgoing.deliveries, uow.outgoing.letters
                await uow.commit()
                deliveries.extend(leaving[0])
                letters.extend(leaving[1])

            answer = await work_through(command, uow, commit)
            await commit()
        for delivery in deliveries:
            await self._deliver(delivery)
        for letter in letters:
            await self._post(letter)
        return answer

    async def _deliver(self, delivery: NewDelivery) -> None:
        told = json.loads(delivery.payload)
        match delivery.kind:
            case Kind.REDIS:
                await self._publish(told["channel"], told["message"])
            case Kind.EMAIL:
                await self._notifications.send(told["to"], told["body"])
            case _:
                assert_never(delivery.kind)

    async def _post(self, letter: Letter) -> None:
        orders = self._new_unit().orders
        order = await orders.get(letter.orderid)
        if order is not None and order.customer is not None:
            customer = await orders.customer(order.customer)
            assert customer is not None, "the order names him"
            await self._notifications.send(customer.email, letter.body)

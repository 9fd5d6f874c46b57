"""The stock room: an actor for every product that is asked for, and who finds it."""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn, TypeVar

import trio

from scentrt.actors.actor import RETRY_AFTER_MS, Ref, supervise
from scentrt.actors.herald import Proclaim, to_nobody
from scentrt.actors.product import RETRY_S, CarryOut, NewUnit, Overtaken, ProductActor, Settle
from scentrt.domain.commands import (
    Allocate,
    CancelLine,
    Command,
    FillLine,
    OfBatch,
    OfManyProducts,
    OfProduct,
)
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import (
    ActorError,
    ActorStopped,
    Busy,
    OrderCancelled,
    StockError,
    StoreUnavailable,
    UnitRefused,
    UnknownBatch,
)
from scentrt.service_layer.messagebus import work_through

SETTLED_AT_ONCE = 16
"""Products that do at once what orders have left to be done: enough to fill the ledger's
transactions, and so few that waking them all takes a millisecond."""

log = logging.getLogger(__name__)

MOST_CANCELLED = 10_000
"""Cancelled orders kept in mind, a hundred bytes each. The database knows them all, but it learns
in the midst of a transaction, and all who are in that are decided again; so whoever goes on asking
for one costs the others something only once."""

R = TypeVar("R")


class StockRoom:
    """Carry out commands to products, each by the actor of its product.

    The actors are started when they are needed and let go when they are not, in the nursery of
    `run`. Cancel that when nobody asks any more, and before the ledger ends. `proclaim` is called
    with what has changed when it is on disk.
    """

    def __init__(self, new_unit: NewUnit, proclaim: Proclaim = to_nobody) -> None:
        self._new_unit = new_unit
        self._proclaim = proclaim
        self._actors: dict[Sku, ProductActor] = {}
        self._nursery: trio.Nursery | None = None
        self._has_left = trio.Event()
        self._unsettled: OrderedDict[Sku, list[FillLine | CancelLine] | None] = OrderedDict()
        self._settlers = trio.lowlevel.ParkingLot()
        self._with_many = False
        self._cancelled: dict[OrderId, None] = {}  # and asked for again

    @property
    def in_memory(self) -> int:
        """How many products have an actor."""
        return len(self._actors)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep the actors until cancelled; do what orders and imports have left to be done."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for _ in range(SETTLED_AT_ONCE):
                    nursery.start_soon(self._settle_one_by_one)
                task_status.started()
                while True:
                    self._has_left = trio.Event()
                    await self._settle_what_was_left()
                    await self._has_left.wait()
        finally:
            self._nursery = None

    async def handle(self, command: Command[R]) -> R:
        """Carry out a command to a product; see `service_layer.messagebus.Owner`.

        Raises also:
          ActorCrashed: the actor failed meanwhile; what was asked may be done or not.
          ActorStopped: the stock room is closed.
        """
        match command:
            case Allocate() if command.orderid in self._cancelled:
                raise OrderCancelled(command.orderid)
            case OfProduct():
                sku = command.sku
            case OfBatch():
                sku = await self._sku_of(command.ref)
            case OfManyProducts():
                return await self._handle_many(command)
            case _:
                raise TypeError(f"{command} is not for a product")
        if sku in self._unsettled:  # what was accepted before comes first
            self._ref(sku).tell(Settle(self._unsettled.pop(sku)), urgent=True)
        answer: R | StockError | StoreUnavailable
        answer = await self._ref(sku).ask(CarryOut(command))
        if isinstance(answer, OrderCancelled):
            self._remember(answer)
        if isinstance(answer, StockError | StoreUnavailable):
            raise answer
        return answer

    def settle(self, commands: Iterable[FillLine | CancelLine]) -> None:
        """Have products do what accepted orders leave to be done, a few at a time. Never waits.

        It is stored that this is left. A product does it before what it is asked from now on. Once
        the stock room is closed, that is left to its next start.
        """
        for command in commands:
            left = self._unsettled.setdefault(command.line.sku, [])
            if left is not None:  # or else the product reads it with the rest
                left.append(command)
        self._settlers.unpark(count=len(self._unsettled))

    async def _settle_one_by_one(self) -> NoReturn:
        while True:
            while not self._unsettled:
                await self._settlers.park()
            sku, commands = self._unsettled.popitem(last=False)
            # Whatever keeps it from being done, the product's actor tries again by itself.
            with suppress(ActorError):
                await self._ref(sku).ask(Settle(commands), urgent=True)

    async def _handle_many(self, command: OfManyProducts[R]) -> R:
        """Carry a command out past the actors: in one unit of work, on what is stored."""
        if self._nursery is None:
            raise ActorStopped("the stock room")
        if self._with_many:  # one at a time, since each may be some megabytes
            raise Busy("the stock room", RETRY_AFTER_MS)
        self._with_many = True
        try:
            try:
                return await self._in_a_unit(command)
            except UnitRefused:  # a name was taken meanwhile
                return await self._in_a_unit(command)
        finally:
            self._with_many = False

    async def _in_a_unit(self, command: OfManyProducts[R]) -> R:
        async with self._new_unit() as uow:
            answer = await work_through(command, uow)
            skus = tuple(uow.changes.overtaken)
            events = await uow.commit()
        for sku in skus:
            if sku in self._actors:
                with suppress(ActorStopped):
                    self._actors[sku].ref.tell(Overtaken(), urgent=True)
        if skus:
            self._has_left.set()
        self._proclaim(events)
        return answer

    def _remember(self, cancelled: OrderCancelled) -> None:
        self._cancelled[OrderId(cancelled.name)] = None
        if len(self._cancelled) > MOST_CANCELLED:
            del self._cancelled[next(iter(self._cancelled))]

    async def _sku_of(self, ref: BatchRef) -> Sku:
        async with self._new_unit() as uow:
            sku = await uow.products.sku_of(ref)
        if sku is None:
            raise UnknownBatch(ref)
        return sku

    def _ref(self, sku: Sku) -> Ref:
        actor = self._actors.get(sku)
        if actor is None:
            if self._nursery is None:
                raise ActorStopped("the stock room")

            def leave() -> None:
                del self._actors[sku]

            actor = self._actors[sku] = ProductActor(sku, self._new_unit, leave, self._proclaim)
            self._nursery.start_soon(supervise, actor.mailbox, actor.run)
        return actor.ref

    async def _settle_what_was_left(self) -> None:
        while True:
            try:
                async with self._new_unit() as uow:
                    skus = await uow.orders.unsettled_skus()
                self._unsettled.update(dict.fromkeys(skus))
                self._settlers.unpark(count=len(self._unsettled))
                return
            except StoreUnavailable as error:
                log.warning("accepted orders wait for the database: %s", error)
                await trio.sleep(RETRY_S)

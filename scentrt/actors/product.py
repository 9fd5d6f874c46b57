"""The actor that owns one product.

Everything that waits in its mailbox is decided in memory as one unit of work, handed to the ledger,
and answered when it is on disk. While a unit is under way the next one gathers, so under load units
grow by themselves; there is never a second one under way. A unit that changes very much is handed
over in parts, one after the other, so that others are written in between.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias, TypeVar

import trio

from scentrt.actors.actor import Envelope, Mailbox, Message, Ref
from scentrt.actors.herald import Proclaim, to_nobody
from scentrt.domain.commands import Command
from scentrt.domain.model import Product
from scentrt.domain.names import Sku
from scentrt.errors import (
    ActorCrashed,
    ActorStopped,
    OrdersCancelled,
    StockError,
    StoreUnavailable,
    UnitRefused,
)
from scentrt.service_layer.messagebus import work_through
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork

MAILBOX_CAPACITY = 1_024
"""Some 100 ms of work; who comes when so many wait is told to come again."""

MOST_PER_UNIT = 256
"""Commands in one unit of work: some ten milliseconds of the ledger's time."""

COMMANDS_PER_TURN = 16
"""How many are decided before the theatre gets its turn, in less than a millisecond."""

IDLE_S = 60.0
"""How long a product stays in memory when nobody asks for it."""

RETRY_S = 1.0
"""How soon what orders have left to be done is tried again after a failure."""

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class CarryOut(Message[R | StockError | StoreUnavailable]):
    """Carry out a command; the answer is the command's, or why it was not carried out."""

    command: Command[R]


@dataclass(frozen=True, slots=True)
class Settle(Message[None]):
    """Accepted orders have left something to be done. Answered when it was tried.

    Whoever leaves it hands over what that is; where None, only the database knows.
    """

    commands: Sequence[Command[None]] | None = None


@dataclass(frozen=True, slots=True)
class Overtaken(Message[None]):
    """The product has been changed in the database past its actor."""


NewUnit: TypeAlias = Callable[[], AbstractUnitOfWork]


class ProductActor:
    """Own one product. Each start loads it, and does first what orders have left to be done.

    `on_leave` is called when the actor ends because nobody asks for its product, or because there
    is no such product. At that moment nothing waits in its mailbox. `proclaim` is called with what
    has changed when it is on disk.
    """

    def __init__(
        self,
        sku: Sku,
        new_unit: NewUnit,
        on_leave: Callable[[], None],
        proclaim: Proclaim = to_nobody,
    ) -> None:
        self.sku = sku
        self.mailbox = Mailbox(f"product {sku}", MAILBOX_CAPACITY)
        self.ref = Ref(self.mailbox)
        self._new_unit = new_unit
        self._on_leave = on_leave
        self._proclaim = proclaim
        self._product: Product | None = None  # as it is stored; None where that is not known
        self._left: list[Command[None]] | None = None  # by orders; None: the database knows
        self._has_to_settle = False

    async def run(self) -> None:
        """Serve until the product is needed no more."""
        self._forget()
        until = trio.current_time()
        while True:
            # For many units, since a scope for each would cost as much as to decide it.
            with trio.CancelScope() as patience:
                while True:
                    patience.deadline = until
                    await self.mailbox.wait()
                    if patience.cancel_called:  # it came at the last moment
                        break
                    patience.deadline = inf
                    if await self._take_turn():
                        until = trio.current_time() + self._patience_s
            if not await self._take_turn():
                self._on_leave()
                return
            until = trio.current_time() + self._patience_s

    async def _take_turn(self) -> bool:
        """Do what has come or is left to be done, and return whether there was anything."""
        envelopes = self._take()
        if not envelopes and not self._has_to_settle:
            return False
        await self._serve(envelopes)
        return True

    @property
    def _patience_s(self) -> float:
        if self._has_to_settle:
            return RETRY_S
        return 0 if self._product is None else IDLE_S

    def _forget(self) -> None:
        self._product = self._left = None

    def _take(self) -> list[Envelope]:
        envelopes: list[Envelope] = []
        while len(envelopes) < MOST_PER_UNIT and (envelope := self.mailbox.take()) is not None:
            match envelope.message:
                case Settle(commands):
                    self._has_to_settle = True
                    self._add_to_left(commands)
                    envelopes.append(envelope)
                case Overtaken():
                    self._forget()
                case _:
                    envelopes.append(envelope)
        return envelopes

    def _add_to_left(self, commands: Sequence[Command[None]] | None) -> None:
        if commands is None:
            self._left = None
        elif self._left is not None:  # what is read is all there is
            self._left.extend(commands)

    async def _serve(self, envelopes: list[Envelope]) -> None:
        try:
            try:
                await self._serve_together(envelopes)
            except UnitRefused as refused:
                # It was decided on something that is no longer so, or one of them is wrong: once
                # more on what is stored now, and each alone.
                log.info("%s decides %d again: %s", self.mailbox.name, len(envelopes), refused)
                self._forget()
                for envelope in envelopes:
                    await self._serve_alone(envelope)
            except StoreUnavailable as error:
                for envelope in envelopes:
                    envelope.answer(StoreUnavailable(str(error)))
        except Exception:
            # Its supervisor empties the mailbox, whatever was said there.
            self._has_to_settle = True
            _answer_all(envelopes, ActorCrashed(self.mailbox.name))
            raise
        except trio.Cancelled:
            _answer_all(envelopes, ActorStopped(self.mailbox.name))
            raise

    async def _serve_alone(self, envelope: Envelope) -> None:
        try:
            await self._serve_together([envelope])
        except OrdersCancelled as refused:
            envelope.answer(refused.conflict)
        except StoreUnavailable as error:
            envelope.answer(error)

    async def _serve_together(self, envelopes: list[Envelope]) -> None:
        """Serve them as one unit of work, and take off the list who has been answered."""
        # What is not stored is not remembered.
        product, self._product = self._product, None
        left, self._left = self._left, None
        async with self._new_unit() as uow:
            if product is not None:
                uow.products.keep(product)
            answers: list[object] = []

            async def commit() -> None:
                events = await uow.commit()
                for envelope, answer in zip(envelopes, answers, strict=False):
                    envelope.answer(answer)
                del envelopes[: len(answers)]
                answers.clear()
                if events:
                    self._proclaim(events)
                self._has_to_settle = True  # until the rest of it is stored too

            for command in await uow.orders.unsettled(self.sku) if left is None else left:
                await work_through(command, uow, commit)
                if uow.is_full:
                    await commit()
            for number, envelope in enumerate(tuple(envelopes), 1):
                answers.append(await _answer_to(envelope.message, uow, commit))
                if number % COMMANDS_PER_TURN == 0:
                    await trio.lowlevel.checkpoint()
            product = uow.products.seen.get(self.sku)
            await commit()
        self._product, self._left, self._has_to_settle = product, [], False


async def _answer_to(
    message: Message[Any], uow: AbstractUnitOfWork, commit: Callable[[], Awaitable[None]]
) -> object:
    match message:
        case CarryOut(command):
            try:
                return await work_through(command, uow, commit)
            except StockError as error:
                return error
        case Settle():  # which has been done before everything else
            return None
        case _:
            raise TypeError(f"{message} is not for a product")


def _answer_all(envelopes: Sequence[Envelope], answer: object) -> None:
    for envelope in envelopes:
        envelope.answer(answer)

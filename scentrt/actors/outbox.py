"""The outbox: delivers to the outside what was committed, at least once and in order.

What is to leave the process is written down in the transaction that caused it, as a `Delivery`. For
each kind of delivery one task takes what waits, in order, hands it to the channel of that kind, and
strikes out what the outside has. So a dead mail server does not hold up Redis, a crash loses
nothing, and what was sent and not yet struck out is sent again: receivers know it by its event id.

What the outside puts off, as a full mailbox does, lets those behind it pass, and is tried again.
"""

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import trio

from scentrt.actors.backoff import Backoff
from scentrt.errors import Deferred, DeliveryFailed, StoreUnavailable, Undeliverable
from scentrt.service_layer.deliveries import Delivery

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0

FIRST_DEFERRAL_S, LAST_DEFERRAL_S = 1.0, 60.0
"""Between attempts at what was put off: no mailbox is emptied in an instant, no greylist left."""

PAGE = 500
"""How many deliveries of one kind are in memory at a time, a few hundred bytes each. If so many are
put off, the rest waits for them."""

STRIKE_OUT_EVERY_S = 0.1
"""How long what was delivered may wait for the rest of its page: each that is struck out alone is a
commit, and each that is not yet is sent twice if the process dies."""

LAST_STRIKE_OUT_S = 1.0
"""How long ending may take over striking out: a fifth of what a whole shutdown has."""

log = logging.getLogger(__name__)


class DeliveryStore(Protocol):
    """What the outbox asks of a database. Every method raises `StoreUnavailable`.

    A delivery's id is greater than that of every one committed before, and is not used again after
    it was struck out: SQLite does that for a key that is `AUTOINCREMENT`, and for no other.
    """

    async def pending_deliveries(self, kind: str, after_id: int, limit: int) -> Sequence[Delivery]:
        """Return the first deliveries of a kind with a greater id than `after_id`, by id."""
        ...

    async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
        """Remove deliveries, on disk when this returns. Those that are not there are no error."""
        ...


class Channel(Protocol):
    """A way out of the process, for one kind of delivery."""

    async def deliver(self, delivery: Delivery) -> None:
        """Bring one delivery to the outside; it has arrived when this returns.

        Must come to an end by itself, and may be cancelled; then it may have arrived or not.

        Raises:
          DeliveryFailed: the outside is away, or did not say that it took it.
          Deferred: it does not take this one for now; those behind it may pass.
          Undeliverable: it will never be taken.
        """
        ...


@dataclass(frozen=True, slots=True)
class OutboxHealth:
    """How it stands with one kind of delivery, as of the last look into the database.

    `waiting` counts those that have not arrived; `PAGE` stands for so many or more. `since_ms` is
    when the first of them was created, in Unix time, None if there is none. `failing` says that the
    outside was away at the last attempt, `undeliverable` how many were given up since the start.
    """

    waiting: int
    since_ms: float | None
    failing: bool
    undeliverable: int


class Outbox:
    """Deliver what is in `store` through the channel of its kind, in the tasks of `run`.

    What is of a kind without a channel stays where it is. Cancel `run` before the store is closed.
    """

    def __init__(self, store: DeliveryStore, channels: Mapping[str, Channel]) -> None:
        self._couriers = {
            kind: _Courier(kind, store, channel) for kind, channel in channels.items()
        }

    @property
    def health(self) -> Mapping[str, OutboxHealth]:
        """Return how it stands, by kind."""
        return {kind: courier.health for kind, courier in self._couriers.items()}

    def wake(self) -> None:
        """Look for deliveries: to be called after every commit of some. Never waits."""
        for courier in self._couriers.values():
            courier.wake()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Deliver until cancelled, first what an earlier process left.

        Cancelling gives up what is under way, and strikes out what has arrived, shielded, for
        `LAST_STRIKE_OUT_S` at most.
        """
        async with trio.open_nursery() as nursery:
            for courier in self._couriers.values():
                nursery.start_soon(courier.run)
            task_status.started()
            await trio.sleep_forever()


class _Courier:
    """Deliver what is of one kind."""

    def __init__(self, kind: str, store: DeliveryStore, channel: Channel) -> None:
        self._kind = kind
        self._store = store
        self._channel = channel
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._written = trio.Event()
        self._page: deque[Delivery] = deque()  # read, and not delivered
        self._deferred: dict[int, Delivery] = {}  # put off, by id
        self._deferrals = Backoff(FIRST_DEFERRAL_S, LAST_DEFERRAL_S)
        self._deferred_until = math.inf
        self._delivered: list[int] = []  # and not struck out
        self._after_id = 0  # what is up to here has been delivered, or put off
        self._struck_out_at = 0.0
        self._failing_since: float | None = None
        self._undeliverable = 0

    @property
    def health(self) -> OutboxHealth:
        waiting = [*self._deferred.values(), *self._page]
        return OutboxHealth(
            len(waiting),
            waiting[0].created_ms if waiting else None,
            self._failing_since is not None,
            self._undeliverable,
        )

    def wake(self) -> None:
        self._written.set()

    async def run(self) -> NoReturn:
        while True:
            try:
                await self._deliver_what_waits()
                with trio.move_on_at(self._deferred_until):
                    await self._written.wait()
            except (DeliveryFailed, StoreUnavailable) as error:
                self._note_failure(error)
                await trio.sleep(self._backoff.next_s())
            except Exception as error:
                log.exception("a bug keeps %s from being delivered", self._kind)
                self._note_failure(error)
                await trio.sleep(self._backoff.next_s())

    async def _deliver_what_waits(self) -> None:
        while True:
            await self._strike_out()
            self._written = trio.Event()  # before the look, so that nothing is written unseen
            room = PAGE - len(self._deferred)
            self._page = deque(
                await self._store.pending_deliveries(self._kind, self._after_id, room)
                if room
                else ()
            )
            is_due = trio.current_time() >= self._deferred_until
            if not self._page and not is_due:
                self._note_success()
                return
            try:
                await self._deliver_page()
                if is_due:
                    await self._deliver_deferred()
            finally:
                # Shielded, so that an orderly end leaves nothing to be sent twice.
                with trio.move_on_after(LAST_STRIKE_OUT_S, shield=True):
                    await self._strike_out()

    async def _deliver_page(self) -> None:
        while self._page:
            delivery = self._page[0]
            is_done = await self._deliver(delivery)
            self._page.popleft()
            self._after_id = delivery.id
            if not is_done:
                self._defer(delivery)
            await self._strike_out_in_time()

    async def _deliver_deferred(self) -> None:
        for delivery in tuple(self._deferred.values()):
            if await self._deliver(delivery):
                del self._deferred[delivery.id]
            await self._strike_out_in_time()
        self._deferred_until = math.inf
        if self._deferred:
            self._deferred_until = trio.current_time() + self._deferrals.next_s()

    async def _deliver(self, delivery: Delivery) -> bool:
        """Deliver or give up; return False for what was put off. Raises `DeliveryFailed`."""
        try:
            await self._channel.deliver(delivery)
        except Deferred as error:
            log.info("%s of %s is put off: %s", self._kind, delivery.event_id, error)
            self._note_success()  # since the outside is there
            return False
        except Undeliverable as error:
            self._give_up(delivery, error)
        else:
            self._note_success()
        self._delivered.append(delivery.id)
        return True

    def _defer(self, delivery: Delivery) -> None:
        if not self._deferred:
            self._deferrals.reset()
            self._deferred_until = trio.current_time() + self._deferrals.next_s()
            log.warning("%s of %s is put off, and tried again", self._kind, delivery.event_id)
        self._deferred[delivery.id] = delivery

    async def _strike_out_in_time(self) -> None:
        if trio.current_time() - self._struck_out_at >= STRIKE_OUT_EVERY_S:
            await self._strike_out()

    async def _strike_out(self) -> None:
        if self._delivered:
            await self._store.strike_out_deliveries(tuple(self._delivered))
            self._delivered.clear()
        self._struck_out_at = trio.current_time()

    def _give_up(self, delivery: Delivery, error: Undeliverable) -> None:
        self._undeliverable += 1
        log.error("%s of %s cannot be delivered ever: %s", self._kind, delivery.event_id, error)

    def _note_failure(self, error: Exception) -> None:
        if self._failing_since is None:
            self._failing_since = trio.current_time()
            log.error("%s cannot be delivered, and is tried again: %s", self._kind, error)

    def _note_success(self) -> None:
        self._backoff.reset()
        if self._failing_since is not None:
            seconds = trio.current_time() - self._failing_since
            self._failing_since = None
            log.warning("%s is delivered again, after %.1f s", self._kind, seconds)

"""The outbox: delivers to the outside what was committed, at least once and in order.

What is to leave the process is written down in the transaction that caused it, as a `Delivery`. For
each kind of delivery one task takes what waits, in order, hands it to the channel of that kind, and
strikes out what the outside has. So a dead mail server does not hold up Redis, a crash loses
nothing, and what was sent and not yet struck out is sent again: receivers know it by its event id.

What the outside puts off, as a full mailbox does, lets all others pass, however many are put off,
and is tried again: soon at first, and then when it is twice as old. What nobody will ever take, or
what was put off for too long, is given up, and kept where it can be found.
"""

import logging
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import trio

from scentrt.actors.backoff import Backoff
from scentrt.errors import Deferred, DeliveryFailed, StoreUnavailable, Undeliverable
from scentrt.service_layer.deliveries import Delivery

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0

FIRST_DEFERRAL_S, LAST_DEFERRAL_S = 1.0, 1_800.0
"""Between attempts at what was put off: no mailbox is emptied in an instant, no greylist left. Half
an hour is what RFC 5321, 4.5.4.1, has mail servers wait."""

PAGE = 500
"""How many deliveries of one kind are in memory at a time, a few hundred bytes each."""

WRITE_DOWN_EVERY_S = 0.1
"""How long what was delivered may wait for the rest of its page: each that is struck out alone is a
commit, and each that is not yet is sent twice if the process dies."""

LAST_WRITING_S = 1.0
"""How long ending may take over writing that down: a fifth of what a whole shutdown has."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PutOff:
    """How many deliveries of a kind are put off, and when the next is due, in Unix time."""

    number: int
    next_due_ms: float | None


class DeliveryStore(Protocol):
    """What the outbox asks of a database. Every method raises `StoreUnavailable`.

    A delivery's id is greater than that of every one committed before, and is not used again after
    it was struck out: SQLite does that for a key that is `AUTOINCREMENT`, and for no other. What is
    written is on disk on return, and deliveries that are not there are no error.
    """

    async def fresh_deliveries(self, kind: str, after_id: int, limit: int) -> Sequence[Delivery]:
        """Return the first of a kind that were never put off, with a greater id than `after_id`."""
        ...

    async def put_off(self, kind: str) -> PutOff:
        """Return how it stands with what was put off."""
        ...

    async def due_deliveries(self, kind: str, by_ms: float, limit: int) -> Sequence[Delivery]:
        """Return the first of what was put off until `by_ms` or before, in that order."""
        ...

    async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
        """Remove deliveries."""
        ...

    async def put_off_deliveries(self, until_ms: Mapping[int, float]) -> None:
        """Put deliveries off, each until its own time."""
        ...

    async def give_up_deliveries(self, reasons: Mapping[int, str], at_ms: float) -> None:
        """Remove deliveries, and keep them with the reason where they are no more delivered."""
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

    `waiting` counts those that have not been tried, where `PAGE` stands for so many or more, and
    `put_off` those that the outside did not take for now. `failing` says that the last attempt came
    to nothing, and `away` that this was the outside's doing, not the database's or a bug's.
    `given_up` is how many were given up since the start.
    """

    waiting: int
    put_off: int
    failing: bool
    away: bool
    given_up: int


class Outbox:
    """Deliver what is in `store` through the channel of its kind, in the tasks of `run`.

    What is of a kind without a channel stays where it is. Cancel `run` before the store is closed.

    Args:
      now_ms: the time by which deliveries are dated, in Unix milliseconds.
      give_up_after_s: how old what is put off may become, by kind; any age, where it is not said.
        An outside that is away makes nobody give up.
    """

    def __init__(
        self,
        store: DeliveryStore,
        channels: Mapping[str, Channel],
        now_ms: Callable[[], float],
        give_up_after_s: Mapping[str, float] | None = None,
    ) -> None:
        ages = give_up_after_s or {}
        self._couriers = {
            kind: _Courier(kind, store, channel, now_ms, ages.get(kind, math.inf))
            for kind, channel in channels.items()
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

        Cancelling breaks off what is under way, and writes down what has arrived, shielded, for
        `LAST_WRITING_S` at most.
        """
        async with trio.open_nursery() as nursery:
            for courier in self._couriers.values():
                nursery.start_soon(courier.run)
            task_status.started()
            await trio.sleep_forever()


class _Courier:
    """Deliver what is of one kind."""

    def __init__(
        self,
        kind: str,
        store: DeliveryStore,
        channel: Channel,
        now_ms: Callable[[], float],
        give_up_after_s: float,
    ) -> None:
        self._kind = kind
        self._store = store
        self._channel = channel
        self._now_ms = now_ms
        self._give_up_after_s = give_up_after_s
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._written = trio.Event()
        self._page: deque[Delivery] = deque()  # read, and not tried
        self._after_id = 0  # what is up to here has been tried
        self._put_off = PutOff(0, None)
        # What has become of deliveries, and is not written down:
        self._delivered: list[int] = []
        self._put_off_until_ms: dict[int, float] = {}
        self._reasons: dict[int, str] = {}  # of those that were given up
        self._written_down_at = 0.0
        self._failing_since: float | None = None
        self._away = False
        self._given_up = 0

    @property
    def health(self) -> OutboxHealth:
        return OutboxHealth(
            len(self._page),
            self._put_off.number,
            self._failing_since is not None,
            self._away,
            self._given_up,
        )

    def wake(self) -> None:
        self._written.set()

    async def run(self) -> NoReturn:
        while True:
            try:
                await self._deliver_what_waits()
                with trio.move_on_after(self._due_in_s):
                    await self._written.wait()
            except (DeliveryFailed, StoreUnavailable) as error:
                self._note_failure(error)
                await trio.sleep(self._backoff.next_s())
            except Exception as error:
                log.exception("a bug keeps %s from being delivered", self._kind)
                self._note_failure(error)
                await trio.sleep(self._backoff.next_s())

    @property
    def _due_in_s(self) -> float:
        """In how many seconds something that was put off is due; 0 if it is."""
        due_ms = self._put_off.next_due_ms
        return math.inf if due_ms is None else max(0.0, (due_ms - self._now_ms()) / 1000)

    async def _deliver_what_waits(self) -> None:
        while True:
            await self._write_down()
            self._written = trio.Event()  # before the look, so that nothing is written unseen
            self._page = deque(await self._store.fresh_deliveries(self._kind, self._after_id, PAGE))
            self._put_off = await self._store.put_off(self._kind)
            is_due = self._due_in_s == 0
            if not self._page and not is_due:
                self._note_success()
                return
            try:
                await self._deliver_page()
                if is_due:
                    await self._deliver_due()
            finally:
                # Shielded, so that an orderly end leaves nothing to be sent twice.
                with trio.move_on_after(LAST_WRITING_S, shield=True):
                    await self._write_down()

    async def _deliver_page(self) -> None:
        while self._page:
            delivery = self._page[0]
            await self._deliver(delivery)
            self._page.popleft()
            self._after_id = delivery.id
            await self._write_down_in_time()

    async def _deliver_due(self) -> None:
        """Deliver one thing that is due, and more until something new has come."""
        for delivery in await self._store.due_deliveries(self._kind, self._now_ms(), PAGE):
            await self._deliver(delivery)
            await self._write_down_in_time()
            if self._written.is_set():
                return

    async def _deliver(self, delivery: Delivery) -> None:
        """Deliver, put off or give up; raises `DeliveryFailed` where the outside is away."""
        try:
            await self._channel.deliver(delivery)
        except Deferred as error:
            self._note_success()  # since the outside is there
            self._put_off_or_give_up(delivery, error)
        except Undeliverable as error:
            self._give_up(delivery, str(error))
        else:
            self._note_success()
            self._delivered.append(delivery.id)

    def _put_off_or_give_up(self, delivery: Delivery, error: Deferred) -> None:
        now_ms = self._now_ms()
        age_s = (now_ms - delivery.created_ms) / 1000
        if age_s >= self._give_up_after_s:
            self._give_up(delivery, f"{age_s / 86_400:.1f} days old, and still: {error}")
            return
        most_s = min(max(age_s, FIRST_DEFERRAL_S), LAST_DEFERRAL_S)
        # Those that were put off together do not all come back together.
        pause_s = random.uniform(most_s / 2, most_s)
        is_first = not (self._put_off.number or self._put_off_until_ms)
        self._put_off_until_ms[delivery.id] = now_ms + pause_s * 1000
        log.log(
            logging.WARNING if is_first else logging.INFO,
            "%s of %s is put off, and tried again in %.1f s: %s",
            self._kind,
            delivery.event_id,
            pause_s,
            error,
        )

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        self._given_up += 1
        self._reasons[delivery.id] = reason
        log.error(
            "%s of %s is given up, and kept as undelivered: %s",
            self._kind,
            delivery.event_id,
            reason,
        )

    async def _write_down_in_time(self) -> None:
        if trio.current_time() - self._written_down_at >= WRITE_DOWN_EVERY_S:
            await self._write_down()

    async def _write_down(self) -> None:
        if self._delivered:
            await self._store.strike_out_deliveries(tuple(self._delivered))
            self._delivered.clear()
        if self._put_off_until_ms:
            await self._store.put_off_deliveries(dict(self._put_off_until_ms))
            self._put_off_until_ms.clear()
        if self._reasons:
            await self._store.give_up_deliveries(dict(self._reasons), self._now_ms())
            self._reasons.clear()
        self._written_down_at = trio.current_time()

    def _note_failure(self, error: Exception) -> None:
        self._away = isinstance(error, DeliveryFailed)
        if self._failing_since is None:
            self._failing_since = trio.current_time()
            log.error("%s cannot be delivered, and is tried again: %s", self._kind, error)

    def _note_success(self) -> None:
        self._backoff.reset()
        self._away = False
        if self._failing_since is not None:
            seconds = trio.current_time() - self._failing_since
            self._failing_since = None
            log.warning("%s is delivered again, after %.1f s", self._kind, seconds)

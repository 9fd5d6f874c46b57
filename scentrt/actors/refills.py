"""The refill clerk: orders vials for zones that run dry, once for each need.

What it wants is on disk before it is ordered, under the id of its order. So after a crash, or when
nobody knows what became of a command, the same order is asked for once more, and is one order.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn, Protocol, TypeAlias

import trio

from scentrt.actors.backoff import Backoff
from scentrt.actors.herald import Herald
from scentrt.domain.commands import Allocate, ReportUnknown
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.events import (
    Allocated,
    BackOrdered,
    BatchCreated,
    BatchQuantityChanged,
    BatchRescheduled,
    LineCancelled,
)
from scentrt.domain.layout import TheatrePlan
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill, next_choice, wanted
from scentrt.domain.vials import ScentSupply, VialKind
from scentrt.errors import (
    ActorError,
    InvalidSku,
    LineConflict,
    StockConflict,
    StoreUnavailable,
    UnitRefused,
)
from scentrt.service_layer.messagebus import Owner
from scentrt.service_layer.views import ProductViews

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0

REFILLS_PER_TURN = 200
"""How many are looked at before the theatre gets its turn, in less than a millisecond."""

log = logging.getLogger(__name__)

Need: TypeAlias = tuple[ZoneId, Scent]


class RefillStore(Protocol):
    """What the clerk asks of a database. Every method raises `StoreUnavailable`."""

    async def open_refills(self) -> tuple[ZoneRefill, ...]:
        """Return the refills for which there is a need, with batch and ETA where they have one.

        One that was ordered and has no line any more is told as cancelled.
        """
        ...

    async def next_number(self, zone: ZoneId, sku: Sku) -> int:
        """Return the number of the next refill of a product in a zone.

        That is the first after the last one's under which no refill has the id of its order.
        """
        ...

    async def is_ordered(self, refill: Refill) -> bool:
        """Say whether there is a line of its order, on a batch or on back order."""
        ...

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        """Store a new refill, or one in the place of that of an order; on disk on return."""
        ...


class RefillClerk:
    """Order what zones need, and tell them what becomes of it.

    While the database is away, or a product does not answer, it goes on trying. Of a zone that is
    not in the plan, or has no slot for a scent any more, nothing is ordered: what was wanted there
    waits until it is there again.

    Args:
      stored: waits until the vials' levels that a zone has handed to the ledger are on disk; raises
        `StoreUnavailable`.
      low_below: the part of what its vials can hold below which a scent is low; 0 is never.
      tell: told of every refill when it is new and whenever something becomes of it, and again
        when its zone has reported. Must not wait.
    """

    def __init__(
        self,
        plan: TheatrePlan,
        bus: Owner,
        views: ProductViews,
        store: RefillStore,
        stored: Callable[[ZoneId], Awaitable[None]],
        low_below: float,
        tell: Callable[[ZoneId, Refill], None],
    ) -> None:
        self._catalogue = plan.catalogue
        self._slots = Counter[Need]()
        """How many slots a zone has for a scent."""
        for zone in plan.zones:
            for scent in zone.slots:
                self._slots[zone.id, scent] += zone.rows * zone.seats_per_row
        self._bus = bus
        self._views = views
        self._store = store
        self._stored = stored
        self._low_below = low_below
        self._tell = tell
        self._open: dict[Need, ZoneRefill] = {}
        self._told: dict[ZoneId, dict[Scent, Refill]] = {}
        self._heard_of: set[ZoneId] = set()  # those that have reported, and not been reminded
        # Of the open ones: what may become of them is told by order and by product.
        self._orders: set[OrderId] = set()
        self._skus: set[Sku] = set()
        self._reports: dict[Need, ScentSupply] = {}  # the newest, and not looked at
        # Whether to look what has become of the orders, and of which scents there may be stock for
        # those who wait: at first of all, since nobody knows what has happened before.
        self._look_again = True
        self._come = {kind.scent for kind in self._catalogue.kinds}
        self._is_looking = False
        self._work = trio.Event()
        self._work.set()
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._failing = False

    def listen_to(self, herald: Herald) -> None:
        """Hear from now on what happens in the stock."""
        herald.add(self._hear_of_line, Allocated, BackOrdered, LineCancelled)
        herald.add(self._hear_of_eta, BatchRescheduled)
        herald.add(self._hear_of_stock, BatchCreated, BatchQuantityChanged, LineCancelled)

    def report(self, zone: ZoneId, supply: tuple[ScentSupply, ...]) -> None:
        """Take what there is of each scent in a zone's vials. Never waits."""
        for each in supply:
            if (zone, each.scent) in self._slots:
                self._reports[zone, each.scent] = each
        self._heard_of.add(zone)
        self._work.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Order what is needed, until cancelled; first what an earlier process has left."""
        task_status.started()
        while True:
            await self._work.wait()
            self._work = trio.Event()
            failed: Exception | None
            try:
                failed = await self._work_off()
            except StoreUnavailable as error:
                failed = error
            except Exception as error:
                log.exception("a bug keeps refills from being ordered")
                failed = error
            if failed is None:
                self._note_success()
            else:
                await self._pause(failed)

    # What is heard

    def _hear_of_line(self, event: Allocated | BackOrdered | LineCancelled, _: float) -> None:
        if self._is_looking or event.orderid in self._orders:
            self._look_again = True
            self._work.set()

    def _hear_of_eta(self, event: BatchRescheduled, _: float) -> None:
        if self._is_looking or event.sku in self._skus:
            self._look_again = True
            self._work.set()

    def _hear_of_stock(
        self, event: BatchCreated | BatchQuantityChanged | LineCancelled, _: float
    ) -> None:
        # Whoever it is for: nobody knows which of them will be out of stock in a moment.
        kind = self._catalogue.kind(event.sku)
        if kind is not None:
            self._come.add(kind.scent)
            self._work.set()

    # What is done about it

    async def _work_off(self) -> Exception | None:
        """Do all that there is to do, but for what fails; return what has failed first."""
        if self._look_again:
            await self._look()
        self._remind()
        failures: list[Exception] = []
        await self._each(tuple(self._reports), self._judge, failures)
        await self._serve_who_waits(failures)
        wanted = self._those(RefillStatus.WANTED)
        await self._each(wanted, self._order, failures)
        if self._look_again:
            await self._look()
        return failures[0] if failures else None

    async def _each(
        self,
        needs: Iterable[Need],
        step: Callable[[Need], Awaitable[None]],
        failures: list[Exception],
    ) -> None:
        """Take a step for each of these needs; where one fails, others need not wait for that.

        Raises `StoreUnavailable` where the database is away, since that is so for all of them.
        """
        for number, need in enumerate(needs, 1):
            if number % REFILLS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
            try:
                await step(need)
            except (UnitRefused, ActorError) as error:
                failures.append(error)
            except StoreUnavailable:
                raise
            except Exception as error:
                log.exception("a bug keeps %s for zone %s from being ordered", need[1], need[0])
                failures.append(error)

    def _those(self, status: RefillStatus) -> list[Need]:
        return [need for need, each in self._open.items() if each.refill.status is status]

    def _remind(self) -> None:
        """Tell zones that have reported once more: after a crash they may have missed something."""
        while self._heard_of:
            zone = self._heard_of.pop()
            for refill in self._told.get(zone, {}).values():
                self._tell(zone, refill)

    async def _serve_who_waits(self, failures: list[Exception]) -> None:
        come, self._come = self._come, set()
        waiting = self._those(RefillStatus.OUT_OF_STOCK)
        before = len(failures)
        try:
            await self._each(
                (need for need in waiting if need[1] in come), self._want_what_has_come, failures
            )
        except BaseException:
            self._come |= come
            raise
        if len(failures) > before:
            self._come |= come

    async def _look(self) -> None:
        """Learn what has become of the refills, and tell the zones."""
        self._look_again, self._is_looking = False, True
        try:
            stored = await self._store.open_refills()
        except BaseException:
            self._look_again = True
            raise
        finally:
            self._is_looking = False
        self._open = {_need_of(each): each for each in stored if _need_of(each) in self._slots}
        self._orders = {each.refill.orderid for each in self._open.values()}
        self._skus = {each.refill.sku for each in self._open.values()}
        for number, each in enumerate(self._open.values(), 1):
            self._tell_of(each)
            if number % REFILLS_PER_TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _judge(self, need: Need) -> None:
        supply, current = self._reports[need], self._open.get(need)
        if current is None:
            kinds = self._catalogue.of_scent(supply.scent)
            if kinds and supply.is_below(self._low_below):
                zone, kind = need[0], kinds[0]
                # Or after a crash its vials would hold more again: the need would seem to be met,
                # and then come once more.
                await self._stored(zone)
                number = await self._store.next_number(zone, kind.sku)
                await self._put(wanted(zone, supply, kind, number), None)
        elif current.is_met_by(supply, self._slots[need], self._low_below):
            await self._put(current.become(RefillStatus.MET), current.refill.orderid)
        if self._reports[need] is supply:
            del self._reports[need]

    async def _order(self, need: Need) -> None:
        """Have a refill that is wanted allocated, of the first product that is in stock."""
        tried = set[Sku]()
        while (current := self._open[need]).refill.status is RefillStatus.WANTED:
            refill = current.refill
            tried.add(refill.sku)
            try:
                ref = await self._bus.handle(Allocate(refill.orderid, refill.sku, refill.qty))
            except InvalidSku:
                await self._bus.handle(ReportUnknown(refill.sku))
                ref = None
            except LineConflict:  # somebody else has an order of this name
                same = VialKind(refill.sku, refill.scent)
                number = await self._store.next_number(current.zone, refill.sku)
                await self._put(current.instead(same, number), refill.orderid)
                continue
            except StockConflict:  # the order was cancelled while nobody knew whether it was there
                await self._put(current.become(RefillStatus.CANCELLED), refill.orderid)
                continue
            # Or it was displaced before anybody knew of it, and has a place on back order.
            if ref is not None or await self._store.is_ordered(refill):
                self._look_again = True  # and see when it comes
                await self._put(current.become(RefillStatus.ORDERED), refill.orderid)
            elif (kind := next_choice(self._catalogue, refill)) is not None:
                await self._choose(current, kind, RefillStatus.WANTED)
            else:
                kinds = self._catalogue.of_scent(refill.scent)
                if kinds:
                    await self._choose(current, kinds[0], RefillStatus.OUT_OF_STOCK)
                    if kinds[0].sku not in tried:  # by an earlier process, and it may be there now
                        self._come.add(refill.scent)
                        self._work.set()
                else:
                    out = current.become(RefillStatus.OUT_OF_STOCK)
                    await self._put(out, refill.orderid)

    async def _want_what_has_come(self, need: Need) -> None:
        current = self._open[need]
        for kind in self._catalogue.of_scent(current.refill.scent):
            product = await self._views.product(kind.sku)
            batches = () if product is None else product.batches
            if any(batch.available >= current.refill.qty for batch in batches):
                await self._choose(current, kind, RefillStatus.WANTED)
                return

    async def _choose(self, current: ZoneRefill, kind: VialKind, status: RefillStatus) -> None:
        """Put another product in the place of one that is out of stock; that may be the same."""
        if kind.sku == current.refill.sku:
            chosen = current.become(status)
        else:
            number = await self._store.next_number(current.zone, kind.sku)
            chosen = current.instead(kind, number, status)
        await self._put(chosen, current.refill.orderid)

    async def _put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        """Remember a refill, first on disk."""
        await self._store.put(refill, instead_of)
        if instead_of is not None:
            self._orders.discard(instead_of)
        if refill.is_open:
            self._open[_need_of(refill)] = refill
            self._orders.add(refill.refill.orderid)
            self._skus.add(refill.refill.sku)
        else:
            del self._open[_need_of(refill)]
        if refill.refill.status is not RefillStatus.ORDERED:  # of which there is more to tell
            self._tell_of(refill)

    def _tell_of(self, refill: ZoneRefill) -> None:
        told = self._told.setdefault(refill.zone, {})
        if told.get(refill.refill.scent) != refill.refill:
            told[refill.refill.scent] = refill.refill
            self._tell(refill.zone, refill.refill)

    # When it fails

    async def _pause(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("refills wait, and are tried again: %s", error)
        self._work.set()
        await trio.sleep(self._backoff.next_s())

    def _note_success(self) -> None:
        self._backoff.reset()
        self._failing = False


def _need_of(refill: ZoneRefill) -> Need:
    return refill.zone, refill.refill.scent

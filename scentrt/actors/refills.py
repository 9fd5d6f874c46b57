"""The refill clerk: orders vials for zones that run dry, once for each need.

What it wants is on disk before it is ordered, under the id of its order. So after a crash, or when
nobody knows what became of a command, the same order is asked for once more, and is one order.
"""

import logging
from collections.abc import Callable
from typing import NoReturn, Protocol, TypeAlias

import trio

from scentrt.actors.backoff import Backoff
from scentrt.actors.herald import Herald
from scentrt.domain.commands import Allocate
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.events import (
    Allocated,
    BackOrdered,
    BatchCreated,
    BatchQuantityChanged,
    BatchRescheduled,
    LineCancelled,
)
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill, next_choice, wanted
from scentrt.domain.vials import Catalogue, ScentSupply, VialKind
from scentrt.errors import ActorError, InvalidSku, LineConflict, StockConflict, StoreUnavailable
from scentrt.service_layer.messagebus import Owner
from scentrt.service_layer.views import ProductViews

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0

log = logging.getLogger(__name__)

Need: TypeAlias = tuple[ZoneId, Scent]


class RefillStore(Protocol):
    """What the clerk asks of a database. Every method raises `StoreUnavailable`."""

    async def open_refills(self) -> tuple[ZoneRefill, ...]:
        """Return the refills for which there is a need, with batch and ETA where they have one.

        One that was ordered and has no line any more is told as cancelled.
        """
        ...

    async def last_number(self, zone: ZoneId, sku: Sku) -> int:
        """Return the number of the last refill of a product in a zone; 0 before the first."""
        ...

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        """Store a new refill, or one in the place of that of an order; on disk on return."""
        ...


class RefillClerk:
    """Order what zones need, and tell them what becomes of it.

    While the database is away, or a product does not answer, it goes on trying.

    Args:
      low_below: the part of what its vials can hold below which a scent is low; 0 is never.
      tell: told of every refill when it is new and whenever something becomes of it. Must not wait.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        bus: Owner,
        views: ProductViews,
        store: RefillStore,
        low_below: float,
        tell: Callable[[ZoneId, Refill], None],
    ) -> None:
        self._catalogue = catalogue
        self._bus = bus
        self._views = views
        self._store = store
        self._low_below = low_below
        self._tell = tell
        self._open: dict[Need, ZoneRefill] = {}
        self._told: dict[Need, Refill] = {}
        self._orders: set[OrderId] = set()
        self._reports: dict[Need, ScentSupply] = {}  # the newest, and not looked at
        # Whether to look what has become of the orders, and whether there may be stock for those
        # who wait: at first, since nobody knows what has happened before.
        self._look_again = self._stock_has_come = True
        self._work = trio.Event()
        self._work.set()
        self._backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        self._failing = False

    def listen_to(self, herald: Herald) -> None:
        """Hear from now on what happens in the stock."""
        herald.add(self._hear_of_line, Allocated, BackOrdered, LineCancelled)
        herald.add(self._hear_of_batch, BatchCreated, BatchQuantityChanged, BatchRescheduled)
        herald.add(self._hear_of_stock, BatchCreated, BatchQuantityChanged, LineCancelled)

    def report(self, zone: ZoneId, supply: tuple[ScentSupply, ...]) -> None:
        """Take what there is of each scent in a zone's vials. Never waits."""
        for each in supply:
            self._reports[zone, each.scent] = each
        self._work.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Order what is needed, until cancelled; first what an earlier process has left."""
        task_status.started()
        while True:
            await self._work.wait()
            self._work = trio.Event()
            try:
                await self._work_off()
            except (StoreUnavailable, ActorError) as error:
                await self._pause(error)
            except Exception as error:
                log.exception("a bug keeps refills from being ordered")
                await self._pause(error)
            else:
                self._note_success()

    # What is heard

    def _hear_of_line(self, event: Allocated | BackOrdered | LineCancelled, _: float) -> None:
        if event.orderid in self._orders:
            self._look_again = True
            self._work.set()

    def _hear_of_batch(
        self, event: BatchCreated | BatchQuantityChanged | BatchRescheduled, _: float
    ) -> None:
        if any(event.ref == each.refill.batchref for each in self._open.values()):
            self._look_again = True
            self._work.set()

    def _hear_of_stock(
        self, event: BatchCreated | BatchQuantityChanged | LineCancelled, _: float
    ) -> None:
        kind = self._catalogue.kind(event.sku)
        if kind is not None and any(
            each.refill.scent == kind.scent and each.refill.status is RefillStatus.OUT_OF_STOCK
            for each in self._open.values()
        ):
            self._stock_has_come = True
            self._work.set()

    # What is done about it

    async def _work_off(self) -> None:
        if self._look_again:
            await self._look()
        for need, supply in tuple(self._reports.items()):
            await self._judge(need, supply)
            if self._reports.get(need) is supply:
                del self._reports[need]
        if self._stock_has_come:
            self._stock_has_come = False
            try:
                for each in tuple(self._open.values()):
                    if each.refill.status is RefillStatus.OUT_OF_STOCK:
                        await self._want_what_has_come(each)
            except BaseException:
                self._stock_has_come = True
                raise
        failed: StoreUnavailable | ActorError | None = None
        for need in tuple(self._open):
            try:
                await self._order(need)
            except (StoreUnavailable, ActorError) as error:
                failed = error  # others need not wait for that product
        if self._look_again:
            await self._look()
        if failed is not None:
            raise failed

    async def _look(self) -> None:
        """Learn what has become of the refills, and tell the zones."""
        self._look_again = False
        try:
            stored = await self._store.open_refills()
        except BaseException:
            self._look_again = True
            raise
        self._open = {(each.zone, each.refill.scent): each for each in stored}
        self._orders = {each.refill.orderid for each in stored}
        for each in stored:
            self._tell_of(each)

    async def _judge(self, need: Need, supply: ScentSupply) -> None:
        current, is_low = self._open.get(need), supply.is_below(self._low_below)
        if current is None and is_low:
            kinds = self._catalogue.of_scent(supply.scent)
            if kinds:
                zone, sku = need[0], kinds[0].sku
                number = 1 + await self._store.last_number(zone, sku)
                await self._put(wanted(zone, supply, kinds[0], number), None)
        elif current is not None and not is_low:
            await self._put(current.become(RefillStatus.MET), current.refill.orderid)

    async def _order(self, need: Need) -> None:
        """Have a refill that is wanted allocated, of the first product that is in stock."""
        while (current := self._open[need]).refill.status is RefillStatus.WANTED:
            refill = current.refill
            try:
                ref = await self._bus.handle(Allocate(refill.orderid, refill.sku, refill.qty))
            except InvalidSku:
                ref = None
            except LineConflict:  # somebody else has an order of this name
                kind = self._catalogue.kind(refill.sku)
                assert kind is not None, "it is what was chosen there"
                await self._put(current.instead(kind, current.number + 1), refill.orderid)
                continue
            except StockConflict:  # the order was cancelled while nobody knew whether it was there
                await self._put(current.become(RefillStatus.CANCELLED), refill.orderid)
                continue
            if ref is not None:
                self._look_again = True  # and see when it comes
                await self._put(current.become(RefillStatus.ORDERED), refill.orderid)
            elif (kind := next_choice(self._catalogue, refill)) is not None:
                await self._choose(current, kind, RefillStatus.WANTED)
            else:
                first = self._catalogue.of_scent(refill.scent)
                if first:
                    await self._choose(current, first[0], RefillStatus.OUT_OF_STOCK)
                else:
                    out = current.become(RefillStatus.OUT_OF_STOCK)
                    await self._put(out, refill.orderid)

    async def _want_what_has_come(self, current: ZoneRefill) -> None:
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
            number = 1 + await self._store.last_number(current.zone, kind.sku)
            chosen = current.instead(kind, number, status)
        await self._put(chosen, current.refill.orderid)

    async def _put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        """Remember a refill, first on disk."""
        await self._store.put(refill, instead_of)
        need = refill.zone, refill.refill.scent
        if instead_of is not None:
            self._orders.discard(instead_of)
        if refill.is_open:
            self._open[need] = refill
            self._orders.add(refill.refill.orderid)
        else:
            del self._open[need]
        if refill.refill.status is not RefillStatus.ORDERED:  # of which there is more to tell
            self._tell_of(refill)

    def _tell_of(self, refill: ZoneRefill) -> None:
        need = refill.zone, refill.refill.scent
        if self._told.get(need) != refill.refill:
            self._told[need] = refill.refill
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

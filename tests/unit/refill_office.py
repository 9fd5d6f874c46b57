"""The office of the refill clerk, for tests: what zones say goes in, what is ordered comes out."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from trio.testing import wait_all_tasks_blocked

from scentrt.actors.herald import Herald
from scentrt.actors.refills import RefillClerk
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.layout import TheatrePlan, ZonePlan
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill
from scentrt.domain.vials import Catalogue, ScentSupply, VialId, VialKind
from scentrt.errors import UnitRefused
from scentrt.service_layer.deliveries import Kind
from tests.goods import SEA
from tests.memory_stock import MemoryUnitOfWork
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills, MemoryViews
from tests.stock_stage import StockStage, open_stock

A, B = ZoneId("A"), ZoneId("B")
BREEZE, FOREST = Scent("sea-breeze"), Scent("forest")
ECO = Sku("SEA-ECO")
CATALOGUE = Catalogue([VialKind(SEA, BREEZE), VialKind(ECO, BREEZE)])
PLAN = TheatrePlan(
    "Roxy", tuple(ZonePlan(zone, 1, 10, (BREEZE,)) for zone in (A, B)), (), CATALOGUE
)
B1, B2 = BatchRef("b-1"), BatchRef("b-2")
REFILL = OrderId("refill-A-SEA-BREEZE-1")


def supply(percent: float, vials: int = 10, low: int = 4, since: int = 0) -> ScentSupply:
    """Return what a zone has in so many vials, `since` whose first one others have gone."""
    ids = ids_of(*range(since, since + vials))
    return ScentSupply(BREEZE, round(percent * vials), 100 * vials, ids, low)


def ids_of(*ids: int) -> frozenset[VialId]:
    return frozenset(map(VialId, ids))


def house_of(*zones: ZoneId) -> TheatrePlan:
    """Return a house whose zones have two scents, of one product each."""
    return TheatrePlan(
        "Roxy",
        tuple(ZonePlan(zone, 1, 10, (BREEZE, FOREST)) for zone in zones),
        catalogue=Catalogue([VialKind(SEA, BREEZE), VialKind(ECO, FOREST)]),
    )


class SlowToNote(MemoryRefills):
    """A store in which something happens while it notes that a refill is out of stock."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        if refill.refill.status is RefillStatus.OUT_OF_STOCK and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        await super().put(refill, instead_of)


class SlowToLook(MemoryRefills):
    """A store in which something happens while what was found is on its way."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def open_refills(self) -> tuple[ZoneRefill, ...]:
        found = await super().open_refills()
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


class PickyRefills(MemoryRefills):
    """A store that takes no refill of some zones."""

    refused: frozenset[ZoneId] = frozenset()

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        if refill.zone in self.refused:
            raise UnitRefused("UNIQUE constraint failed")
        await super().put(refill, instead_of)


@dataclass
class Office:
    """A clerk at work. `said` has all that zones were told, in order, `told` what was new of it."""

    stage: StockStage
    store: MemoryRefills
    clerk: RefillClerk
    said: list[tuple[ZoneId, Refill]] = field(default_factory=list)

    @property
    def told(self) -> list[tuple[ZoneId, Refill]]:
        known: dict[tuple[ZoneId, Scent], Refill] = {}
        new = []
        for zone, refill in self.said:
            if known.get((zone, refill.scent)) != refill:
                new.append((zone, refill))
                known[zone, refill.scent] = refill
        return new

    async def report(self, percent: float, zone: ZoneId = A, low: int = 4, since: int = 0) -> None:
        """Let a zone say what it has, and see everything done that follows."""
        await self.say(supply(percent, low=low, since=since), zone)

    async def say(self, what: ScentSupply, zone: ZoneId = A) -> None:
        """Let a zone say what it has of a scent, and see everything done that follows."""
        self.clerk.report(zone, (what,))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await wait_all_tasks_blocked()

    @property
    def words(self) -> list[str]:
        return [refill.status.value for _, refill in self.told]

    @property
    def last(self) -> Refill:
        return self.told[-1][1]

    @property
    def allocated(self) -> dict[str, str]:
        tables = self.stage.tables
        return {orderid: ref for (_, orderid), ref in tables.allocations.items()}

    @property
    def mails(self) -> int:
        return sum(delivery.kind is Kind.EMAIL for delivery in self.stage.tables.deliveries)


@asynccontextmanager
async def open_office(
    memory: MemoryStore | None = None,
    refills: MemoryRefills | None = None,
    unit: type[MemoryUnitOfWork] = MemoryUnitOfWork,
    low_below: float = 0.2,
    plan: TheatrePlan = PLAN,
) -> AsyncIterator[Office]:
    herald, memory = Herald(lambda: 0.0), memory or MemoryStore()
    async with open_stock(memory, unit, herald.proclaim) as stage:
        store = refills or MemoryRefills(memory.stock)
        said: list[tuple[ZoneId, Refill]] = []
        clerk = RefillClerk(
            plan,
            stage.bus,
            MemoryViews(memory.stock),
            store,
            stage.ledger.vials_stored,
            low_below,
            lambda zone, refill: said.append((zone, refill)),
        )
        clerk.listen_to(herald)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clerk.run)
            yield Office(stage, store, clerk, said)
            nursery.cancel_scope.cancel()

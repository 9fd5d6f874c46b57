"""A zone that runs dry orders vials, once for each need, and hears what becomes of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors.herald import Herald
from scentrt.actors.refills import RefillClerk
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchEta,
    ChangeBatchQuantity,
    CreateBatch,
    ImportBatches,
)
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, next_choice, wanted
from scentrt.domain.vials import Catalogue, ScentSupply, VialKind
from scentrt.service_layer.deliveries import Kind
from tests.goods import LATER, PINE, SEA, TODAY
from tests.memory_stock import MemoryUnitOfWork
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills, MemoryViews
from tests.stock_stage import StagedUnit, StockStage, open_stock

A, B = ZoneId("A"), ZoneId("B")
BREEZE = Scent("sea-breeze")
ECO = Sku("SEA-ECO")
CATALOGUE = Catalogue([VialKind(SEA, BREEZE), VialKind(ECO, BREEZE)])
B1, B2 = BatchRef("b-1"), BatchRef("b-2")
REFILL = OrderId("refill-A-SEA-BREEZE-1")


def supply(percent: float, vials: int = 10, low: int = 4) -> ScentSupply:
    return ScentSupply(BREEZE, round(percent * vials), 100 * vials, vials, low)


class TestRules:
    def test_a_refill_is_one_vial_for_each_that_is_low(self) -> None:
        refill = wanted(A, supply(19, low=4), VialKind(SEA, BREEZE), 3)
        assert refill.refill == Refill(
            BREEZE, SEA, OrderId("refill-A-SEA-BREEZE-3"), 4, RefillStatus.WANTED
        )

    def test_the_products_of_a_scent_come_one_after_the_other(self) -> None:
        first = wanted(A, supply(0), VialKind(SEA, BREEZE), 1)
        second = next_choice(CATALOGUE, first.refill)
        assert second == VialKind(ECO, BREEZE)
        assert next_choice(CATALOGUE, first.instead(second, 1).refill) is None

    def test_a_product_that_is_in_the_catalogue_no_more_is_followed_by_the_first(self) -> None:
        former = wanted(A, supply(0), VialKind(PINE, BREEZE), 1)
        assert next_choice(CATALOGUE, former.refill) == VialKind(SEA, BREEZE)


@dataclass
class Office:
    """A clerk at work. `told` has what zones were told, in order."""

    stage: StockStage
    store: MemoryRefills
    clerk: RefillClerk
    told: list[tuple[ZoneId, Refill]] = field(default_factory=list)

    async def report(self, percent: float, zone: ZoneId = A, low: int = 4) -> None:
        """Let a zone say what it has, and see everything done that follows."""
        self.clerk.report(zone, (supply(percent, low=low),))
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
) -> AsyncIterator[Office]:
    herald, memory = Herald(lambda: 0.0), memory or MemoryStore()
    async with open_stock(memory, unit, herald.proclaim) as stage:
        store = refills or MemoryRefills(memory.stock)
        told: list[tuple[ZoneId, Refill]] = []
        clerk = RefillClerk(
            CATALOGUE,
            stage.bus,
            MemoryViews(memory.stock),
            store,
            low_below,
            lambda zone, refill: told.append((zone, refill)),
        )
        clerk.listen_to(herald)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clerk.run)
            yield Office(stage, store, clerk, told)
            nursery.cancel_scope.cancel()


@pytest.fixture
async def office(autojump_clock: MockClock) -> AsyncIterator[Office]:
    async with open_office() as office:
        await office.stage.handle(CreateBatch(B1, SEA, 10))
        yield office


class TestOrdering:
    async def test_below_the_threshold_vials_are_ordered(self, office: Office) -> None:
        await office.report(20)
        assert office.told == []
        await office.report(19, low=4)
        assert office.words == ["wanted", "ordered"]
        assert office.last == Refill(BREEZE, SEA, REFILL, 4, RefillStatus.ORDERED, B1, None)
        assert office.allocated == {REFILL: B1}
        assert office.stage.tables.lines == {(SEA, REFILL): 4}

    async def test_it_is_told_when_they_come(self, office: Office) -> None:
        await office.stage.handle(
            ChangeBatchQuantity(B1, 0), CreateBatch(BatchRef("b-2"), SEA, 9, TODAY)
        )
        await office.report(5)
        assert (office.last.batchref, office.last.eta) == ("b-2", TODAY)

    async def test_a_need_is_ordered_once_however_often_it_is_said(self, office: Office) -> None:
        for percent in (19, 18, 10, 5, 0):
            await office.report(percent)
        assert list(office.allocated) == [REFILL]

    async def test_the_need_ends_when_there_is_enough_again(self, office: Office) -> None:
        await office.report(10)
        await office.report(20)
        assert office.words == ["wanted", "ordered", "met"]
        await office.report(19)
        assert list(office.allocated) == [REFILL, "refill-A-SEA-BREEZE-2"]

    async def test_each_zone_has_its_own_needs(self, office: Office) -> None:
        await office.report(10)
        await office.report(10, B)
        assert list(office.allocated) == [REFILL, "refill-B-SEA-BREEZE-1"]
        assert {zone for zone, _ in office.told} == {A, B}

    async def test_a_scent_that_nobody_sells_is_not_ordered(self, office: Office) -> None:
        office.clerk.report(A, (replace(supply(0), scent=Scent("tar")),))
        await office.settle()
        assert office.told == []

    async def test_with_a_threshold_of_0_nothing_is_ordered(
        self, autojump_clock: MockClock
    ) -> None:
        async with open_office(low_below=0) as office:
            await office.report(0)
            assert office.told == []

    async def test_an_order_of_that_name_is_left_alone(self, office: Office) -> None:
        await office.stage.handle(Allocate(REFILL, SEA, 1))
        await office.report(10)
        assert office.last.orderid == "refill-A-SEA-BREEZE-2"
        assert office.stage.tables.lines[SEA, REFILL] == 1


class TestOutOfStock:
    async def test_the_next_product_of_the_scent_takes_its_place(self, office: Office) -> None:
        await office.stage.handle(ChangeBatchQuantity(B1, 3), CreateBatch(B2, ECO, 10))
        await office.report(10)
        assert office.words == ["wanted", "wanted", "ordered"]
        assert office.allocated == {"refill-A-SEA-ECO-1": B2}
        assert [row.refill.sku for row in office.store.of("A", "sea-breeze")] == [ECO]

    async def test_where_there_is_none_it_is_said_and_not_asked_for_again(
        self, office: Office
    ) -> None:
        await office.stage.handle(ChangeBatchQuantity(B1, 3))
        await office.report(10)
        assert office.words[-1] == "out-of-stock"
        assert office.last.sku == SEA, "the first choice is what is waited for"
        mails = office.mails
        await office.report(5)
        await office.stage.handle(CreateBatch(B2, PINE, 100), CreateBatch(BatchRef("b-3"), ECO, 3))
        await office.settle()
        assert (office.mails, office.words[-1]) == (mails, "out-of-stock")

    @pytest.mark.parametrize(
        "arrival",
        [
            CreateBatch(B2, SEA, 4, LATER),
            CreateBatch(B2, ECO, 4),
            ImportBatches((CreateBatch(B2, ECO, 4),)),
            ChangeBatchQuantity(B1, 4),
        ],
    )
    async def test_when_stock_arrives_it_is_ordered(
        self, office: Office, arrival: CreateBatch | ImportBatches | ChangeBatchQuantity
    ) -> None:
        await office.stage.handle(ChangeBatchQuantity(B1, 3))
        await office.report(10)
        await office.stage.handle(arrival)
        await office.settle()
        assert office.words[-2:] == ["wanted", "ordered"]
        assert office.last.batchref is not None
        assert len(office.allocated) == len(office.store.rows) == 1

    async def test_when_somebody_gives_up_his_it_is_ordered(self, office: Office) -> None:
        await office.stage.handle(Allocate(OrderId("o-1"), SEA, 10))
        await office.report(10)
        assert office.words[-1] == "out-of-stock"
        await office.stage.handle(CancelOrder(OrderId("o-1")))
        await office.settle()
        assert office.words[-1] == "ordered"

    async def test_who_has_enough_meanwhile_wants_none(self, office: Office) -> None:
        await office.stage.handle(ChangeBatchQuantity(B1, 3))
        await office.report(10)
        await office.report(90)
        await office.stage.handle(ChangeBatchQuantity(B1, 30))
        await office.settle()
        assert (office.words[-1], office.allocated) == ("met", {})


class TestWhatBecomesOfIt:
    async def test_a_refill_that_has_to_move_says_where(self, office: Office) -> None:
        await office.report(10)
        await office.stage.handle(CreateBatch(B2, SEA, 9, TODAY), ChangeBatchQuantity(B1, 0))
        await office.settle()
        assert (office.last.status, office.last.batchref, office.last.eta) == (
            "ordered",
            B2,
            TODAY,
        )
        await office.stage.handle(ChangeBatchEta(B2, None))
        await office.settle()
        assert (office.last.batchref, office.last.eta) == (B2, None)

    async def test_a_refill_that_is_displaced_waits_on_back_order(self, office: Office) -> None:
        await office.report(10)
        await office.stage.handle(ChangeBatchQuantity(B1, 0))
        await office.settle()
        assert (office.last.status, office.last.batchref) == ("ordered", None)
        await office.stage.handle(CreateBatch(B2, SEA, 9))
        await office.settle()
        assert (office.last.batchref, list(office.allocated)) == (B2, [REFILL])

    async def test_a_refill_that_is_cancelled_is_not_ordered_again_for_that_need(
        self, office: Office
    ) -> None:
        await office.report(10)
        await office.stage.handle(CancelOrder(REFILL))
        await office.settle()
        assert office.words[-1] == "cancelled"
        await office.report(5)
        assert office.allocated == {}
        await office.report(50)
        await office.report(5)
        assert list(office.allocated) == ["refill-A-SEA-BREEZE-2"]


class TestFailures:
    async def test_without_a_database_it_is_tried_again(
        self, office: Office, autojump_clock: MockClock
    ) -> None:
        office.store.writable = False
        await office.report(10)
        assert office.told == []
        office.store.writable = True
        await trio.sleep(10)
        assert (office.words, list(office.allocated)) == (["wanted", "ordered"], [REFILL])

    async def test_an_order_that_could_not_be_stored_is_the_same_order_afterwards(
        self, office: Office, autojump_clock: MockClock
    ) -> None:
        office.stage.store.writable = False
        await office.report(10)
        await trio.sleep(3)
        assert (office.words, office.allocated) == (["wanted"], {})
        office.stage.store.writable = True
        await trio.sleep(10)
        assert (list(office.allocated), len(office.store.rows)) == ([REFILL], 1)

    async def test_a_product_that_fails_holds_up_no_other(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_office(unit=StagedUnit) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, ECO, 10))
            office.clerk._catalogue = Catalogue(  # noqa: SLF001  # another house
                [VialKind(SEA, BREEZE), VialKind(ECO, Scent("forest"))]
            )
            try:
                StagedUnit.broken = frozenset({SEA})
                forest = replace(supply(0), scent=Scent("forest"))
                office.clerk.report(A, (supply(0), forest))
                await office.settle()
                assert list(office.allocated) == ["refill-A-SEA-ECO-1"]
            finally:
                StagedUnit.broken = frozenset()
            await trio.sleep(10)
            assert len(office.allocated) == 2

    @pytest.mark.parametrize("after", range(4))
    async def test_after_a_crash_the_need_is_still_met_by_one_order(
        self, autojump_clock: MockClock, after: int
    ) -> None:
        """The process ends after each of the steps: nothing, wanted, allocated, ordered."""
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10))
            if after == 1:
                memory.writable = False
            if after == 2:
                refills.puts_left = 1
            if after > 0:
                await office.report(10)
        memory.writable = True
        refills.puts_left = None
        async with open_office(memory, refills) as office:
            await office.settle()
            if after > 0:
                assert office.last.status == "ordered", "the need is known before a zone says it"
            await office.report(9)
            assert (list(office.allocated), len(refills.rows)) == ([REFILL], 1)
            assert office.last.status == "ordered"

    async def test_stock_that_came_while_nobody_listened_is_seen_at_the_start(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.report(10)
            assert office.words[-1] == "out-of-stock"
        async with open_stock(memory) as stage:
            await stage.handle(CreateBatch(B1, SEA, 10))
        async with open_office(memory, refills) as office:
            await office.settle()
            assert office.allocated == {REFILL: B1}

"""Whatever fails meanwhile, a zone gets what it needs, once, and hears of it."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from scentrt.domain.commands import (
    ChangeBatchQuantity,
    CreateBatch,
)
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.layout import TheatrePlan, ZonePlan
from scentrt.domain.names import Sku
from scentrt.domain.vials import Catalogue, Place, VialId, VialKind, VialLevel
from tests.goods import SEA
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills
from tests.stock_stage import StagedUnit, open_stock
from tests.unit.refill_office import (
    B1,
    B2,
    BREEZE,
    ECO,
    FOREST,
    PLAN,
    REFILL,
    A,
    B,
    Office,
    PickyRefills,
    house_of,
    open_office,
    supply,
)


class TestZones:
    async def test_a_zone_that_reports_is_told_again_of_its_refills(self, office: Office) -> None:
        """It may have crashed since, with what it was told in its mailbox."""
        await office.report(10)
        before = office.said[-1]
        office.said.clear()
        office.clerk.report(B, ())
        await office.settle()
        assert office.said == []
        office.clerk.report(A, ())
        await office.settle()
        assert office.said == [before]
        await office.report(50, since=4)
        office.said.clear()
        office.clerk.report(A, ())
        await office.settle()
        assert office.words == ["met"]

    @pytest.mark.parametrize(
        "later",
        [
            replace(PLAN, zones=PLAN.zones[1:]),
            replace(PLAN, zones=(replace(PLAN.zones[0], slots=(FOREST,)),)),
        ],
    )
    async def test_nothing_is_ordered_for_slots_that_are_no_more(
        self, autojump_clock: MockClock, later: TheatrePlan
    ) -> None:
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.report(10)
        async with open_office(memory, refills, plan=later) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10))
            await office.report(5)
            assert (office.told, office.allocated) == ([], {})
        async with open_office(memory, refills) as office:
            await office.settle()
            assert office.allocated == {REFILL: B1}

    async def test_two_zones_whose_orders_would_be_called_alike_have_one_each(
        self, autojump_clock: MockClock
    ) -> None:
        long_sku, short_sku = Sku("B-C"), Sku("C")
        zones = tuple(ZonePlan(ZoneId(id), 1, 10, (BREEZE, FOREST)) for id in ("A", "A-B"))
        catalogue = Catalogue([VialKind(long_sku, BREEZE), VialKind(short_sku, FOREST)])
        async with open_office(plan=TheatrePlan("Roxy", zones, (), catalogue)) as office:
            await office.stage.handle(CreateBatch(B1, long_sku, 10), CreateBatch(B2, short_sku, 10))
            await office.say(supply(0))
            await office.say(replace(supply(0), scent=FOREST), ZoneId("A-B"))
            assert office.allocated == {"refill-A-B-C-1": B1, "refill-A-B-C-2": B2}


class TestFailures:
    async def test_a_need_that_cannot_be_noted_holds_up_no_other(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = PickyRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10))
            refills.refused = frozenset({A})
            office.clerk.report(A, (supply(0),))
            await office.report(0, B)
            assert list(office.allocated) == ["refill-B-SEA-BREEZE-1"]
            refills.refused = frozenset()
            await trio.sleep(10)
            assert len(office.allocated) == 2

    async def test_without_a_database_it_is_tried_again(
        self, office: Office, autojump_clock: MockClock
    ) -> None:
        office.store.writable = False
        await office.report(10)
        assert office.told == []
        office.store.writable = True
        await trio.sleep(10)
        assert (office.words, list(office.allocated)) == (["wanted", "ordered"], [REFILL])

    async def test_a_refill_is_wanted_when_the_levels_that_it_is_for_are_on_disk(
        self, office: Office, autojump_clock: MockClock
    ) -> None:
        """Or they would be higher again after a crash, and the need would come once more."""
        office.stage.store.commit_s = 1
        level = VialLevel(VialId(1), Place(A, SeatId("A-1-1"), 0), 10)
        office.stage.ledger.record_vials(A, [level], [])
        await office.report(10)
        assert office.store.rows == {}
        await trio.sleep(1.5)
        assert [row.refill.orderid for row in office.store.rows.values()] == [REFILL]

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
        async with open_office(unit=StagedUnit, plan=house_of(A)) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, ECO, 10))
            try:
                StagedUnit.broken = frozenset({SEA})
                office.clerk.report(A, (supply(0), replace(supply(0), scent=FOREST)))
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

    async def test_an_order_that_was_displaced_before_anybody_knew_of_it_is_no_other_one(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, ECO, 10))
            refills.puts_left = 1
            await office.report(10)
            assert office.allocated == {REFILL: B1}
            await office.stage.handle(ChangeBatchQuantity(B1, 0))
            refills.puts_left = None
            await trio.sleep(10)
            assert (office.last.orderid, office.last.status) == (REFILL, "ordered")
            assert list(office.stage.tables.lines) == [(SEA, REFILL)]

    async def test_stock_of_the_first_choice_that_came_before_a_crash_is_seen_after_it(
        self, autojump_clock: MockClock
    ) -> None:
        """The next one was wanted then, which is not in stock."""
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            refills.puts_left = 2
            await office.report(10)
            assert office.last.sku == ECO
            await office.stage.handle(CreateBatch(B1, SEA, 10))
        refills.puts_left = None
        async with open_office(memory, refills) as office:
            await office.settle()
            assert (office.last.status, office.last.batchref) == ("ordered", B1)

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

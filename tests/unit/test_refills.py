"""A zone that runs dry orders vials, once for each need, and hears what becomes of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

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
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.doses import Limits
from scentrt.domain.layout import TheatrePlan, ZonePlan
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill, next_choice, wanted
from scentrt.domain.theatre import Zone
from scentrt.domain.vials import Catalogue, Place, ScentSupply, VialId, VialKind, VialLevel
from scentrt.errors import UnitRefused
from scentrt.service_layer.deliveries import Kind
from tests.goods import LATER, PINE, SEA, TODAY
from tests.memory_stock import MemoryUnitOfWork
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills, MemoryViews
from tests.stock_stage import StagedUnit, StockStage, open_stock
from tests.unit.venue import NOON, Venue, key
from tests.vials import seated

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

    async def test_the_need_ends_when_vials_have_come_and_there_is_enough_again(
        self, office: Office
    ) -> None:
        await office.report(10)
        await office.report(19, since=1)
        await office.report(20, since=0)
        assert office.words == ["wanted", "ordered"]
        await office.report(20, since=1)
        assert office.words == ["wanted", "ordered", "met"]
        await office.report(19, since=1)
        assert list(office.allocated) == [REFILL, "refill-A-SEA-BREEZE-2"]

    async def test_no_vial_that_is_taken_out_meets_a_need_or_makes_another(
        self, office: Office
    ) -> None:
        await office.say(ScentSupply(BREEZE, 28, 200, ids_of(1, 2), 1))
        await office.say(ScentSupply(BREEZE, 25, 100, ids_of(2), 0))
        await office.say(ScentSupply(BREEZE, 14, 100, ids_of(2), 1))
        assert office.words == ["wanted", "ordered"]
        await office.say(ScentSupply(BREEZE, 14, 200, ids_of(2, 3), 2))
        await office.say(ScentSupply(BREEZE, 13, 50, ids_of(3), 0))
        assert office.words == ["wanted", "ordered"]
        await office.say(ScentSupply(BREEZE, 114, 200, ids_of(2, 3), 1))
        assert office.words[-1] == "met"
        assert list(office.allocated) == [REFILL]

    async def test_nor_do_those_that_could_hold_more_than_the_others(self, office: Office) -> None:
        small = ids_of(*range(5))
        await office.say(ScentSupply(BREEZE, 5 * 25, 5 * 50 + 5 * 100, ids_of(*range(10)), 5))
        await office.say(ScentSupply(BREEZE, 5 * 25, 5 * 50, small, 0))
        await office.say(ScentSupply(BREEZE, 5 * 5, 5 * 50, small, 5))
        assert (office.words, list(office.allocated)) == (["wanted", "ordered"], [REFILL])

    async def test_a_spray_that_reached_nobody_neither_meets_a_need_nor_makes_another(
        self, office: Office
    ) -> None:
        """Its dose comes back, but no vials have come."""
        row, limits = PLAN.zones[0], Limits()
        venue = Venue(zone=Zone(A, row.seats(limits, online=True), limits, catalogue=CATALOGUE))
        venue.zone.rack.restore(
            [seated(n, seat, left_s=21, sku=SEA) for n, seat in enumerate(row.seat_ids())], NOON
        )
        for number in range(2):
            venue.cue(number, lasts=2_000)
            venue.at(venue.now + 2_000)
            office.clerk.report(A, venue.zone.rack.watch(venue.clock))
            await office.settle()
            assert office.words == ["wanted", "ordered"]
            with venue.acting():
                venue.zone.give_back(key(number), row.seat_ids(), venue.clock)
            office.clerk.report(A, venue.zone.rack.watch(venue.clock))
            await office.settle()
        assert (office.words, list(office.allocated)) == (["wanted", "ordered"], [REFILL])

    async def test_a_need_is_known_for_what_it_was_after_a_restart(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10))
            await office.say(ScentSupply(BREEZE, 28, 200, ids_of(1, 2), 1))
        async with open_office(memory, refills) as office:
            await office.say(ScentSupply(BREEZE, 25, 100, ids_of(2), 0))
            await office.say(ScentSupply(BREEZE, 50, 200, ids_of(1, 2), 0))
            assert office.words == ["ordered"]
            await office.say(ScentSupply(BREEZE, 50, 200, ids_of(2, 3), 0))
            assert office.words == ["ordered", "met"]

    async def test_a_zone_that_has_fewer_slots_by_now_is_full_with_as_many_vials(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = MemoryRefills(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10))
            await office.report(10)
        smaller = replace(PLAN, zones=(ZonePlan(A, 1, 1, (BREEZE,)),))
        async with open_office(memory, refills, plan=smaller) as office:
            await office.say(ScentSupply(BREEZE, 100, 100, ids_of(20), 0))
            assert office.words == ["ordered", "met"]

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

    async def test_stock_that_arrives_while_it_is_noted_that_there_is_none_is_ordered(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = SlowToNote(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 0))
            refills.meanwhile = partial(office.stage.bus.handle, CreateBatch(B2, SEA, 100))
            await office.report(5)
            assert (office.words[-1], office.allocated) == ("ordered", {REFILL: B2})

    async def test_a_batch_that_is_put_off_while_it_is_looked_at_is_looked_at_again(
        self, autojump_clock: MockClock
    ) -> None:
        memory = MemoryStore()
        refills = SlowToLook(memory.stock)
        async with open_office(memory, refills) as office:
            await office.stage.handle(CreateBatch(B1, SEA, 10, TODAY))
            await office.settle()
            refills.meanwhile = partial(office.stage.bus.handle, ChangeBatchEta(B1, LATER))
            await office.report(5)
            assert (office.words[-1], office.last.eta) == ("ordered", LATER)

    async def test_the_stock_team_hears_of_a_product_that_was_never_there(
        self, autojump_clock: MockClock
    ) -> None:
        async with open_office() as office:
            await office.report(5)
            assert office.words[-1] == "out-of-stock"
            said = [delivery.payload for delivery in office.stage.tables.deliveries]
            assert [sku in letter for sku, letter in zip((SEA, ECO), said, strict=True)] == [
                True
            ] * 2
            await office.report(4)
            assert office.mails == 2

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
        await office.report(90, since=4)
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
        await office.report(50, since=4)
        await office.report(5, since=4)
        assert list(office.allocated) == ["refill-A-SEA-BREEZE-2"]


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

"""A zone that runs dry orders vials, once for each need, and hears what becomes of them."""

from dataclasses import replace
from functools import partial

import pytest
from trio.testing import MockClock

from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchEta,
    ChangeBatchQuantity,
    CreateBatch,
    ImportBatches,
)
from scentrt.domain.cues import Scent
from scentrt.domain.doses import Limits
from scentrt.domain.layout import ZonePlan
from scentrt.domain.names import BatchRef, OrderId
from scentrt.domain.refills import Refill, RefillStatus, next_choice, wanted
from scentrt.domain.theatre import Zone
from scentrt.domain.vials import ScentSupply, VialKind
from tests.goods import LATER, PINE, SEA, TODAY
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills
from tests.unit.refill_office import (
    B1,
    B2,
    BREEZE,
    CATALOGUE,
    ECO,
    PLAN,
    REFILL,
    A,
    B,
    Office,
    SlowToLook,
    SlowToNote,
    ids_of,
    open_office,
    supply,
)
from tests.unit.venue import NOON, Venue, key
from tests.vials import seated


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

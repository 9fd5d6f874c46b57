"""The vial desk finds room for vials, and loses none on the way between stock and seats."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors.herald import Herald
from scentrt.actors.vial_desk import ClosedHouse, Load, Unload, VialDesk
from scentrt.domain.commands import MOST_VIALS, Allocate, ChangeBatchQuantity, CreateBatch
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.events import StockEvent, VialsLoaded, VialsUnloaded
from scentrt.domain.layout import TheatrePlan, ZonePlan
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Catalogue, SeatedVial, VialId, VialKind, Whereabouts
from scentrt.errors import (
    ActorCrashed,
    ActorStopped,
    InvalidSku,
    InvalidVials,
    NoFreeSlot,
    SlotTaken,
    StoreUnavailable,
    TooFewVials,
    UnknownLine,
)
from tests.goods import PINE, SEA, TODAY
from tests.memory_stock import MemoryUnitOfWork, Tables
from tests.memory_views import MemoryViews
from tests.stock_stage import StagedUnit, StockStage, open_stock

A, B1, O1, O2 = ZoneId("A"), BatchRef("b-1"), OrderId("o-1"), OrderId("o-2")
BREEZE, FOREST, TAR = Scent("sea-breeze"), Scent("forest"), Scent("tar")
FULL_US = 100
UNSEEN = Sku("NEVER-SEEN")
PLAN = TheatrePlan(
    "Roxy",
    (ZonePlan(A, 1, 4, (BREEZE, FOREST)), ZonePlan(ZoneId("B"), 1, 1, (TAR, TAR))),
    catalogue=Catalogue([VialKind(SEA, BREEZE, FULL_US), VialKind(PINE, FOREST, FULL_US)]),
)


class Zones:
    """The zones, in which vials get emptier; `taking` is what they do when asked for some."""

    def __init__(self) -> None:
        self.standing: dict[VialId, SeatedVial] = {}
        self.error: Exception | None = None

    def put(self, vials: Iterable[SeatedVial]) -> None:
        for vial in vials:
            self.standing.setdefault(vial.id, vial)

    async def take(self, zone: ZoneId, vials: Sequence[SeatedVial]) -> tuple[SeatedVial, ...]:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return tuple(self.standing.pop(vial.id) for vial in vials)

    def use(self, left_us: int) -> None:
        for id, vial in self.standing.items():
            self.standing[id] = replace(vial, left_us=left_us)


class StumblingUnit(MemoryUnitOfWork):
    """A unit of work that has a bug just after it has stored what was loaded."""

    stumbles = False

    async def commit(self) -> list[StockEvent]:
        events = await super().commit()
        if self.stumbles and any(isinstance(event, VialsLoaded) for event in events):
            raise ZeroDivisionError
        return events


@dataclass
class House:
    """A house with ten sea-breeze for one order and two pine for another."""

    stage: StockStage
    desk: VialDesk
    herald: Herald
    zones: Zones = field(default_factory=Zones)

    @property
    def tables(self) -> Tables:
        return self.stage.tables

    def desk_for(self, zone: ZonePlan) -> VialDesk:
        """Return a desk of the same house as it is after its theatre file has changed."""
        plan = replace(PLAN, zones=(zone,))
        return VialDesk(plan, self.stage.bus, MemoryViews(self.stage.store.stock), self.zones)

    async def load(self, *seats: int, most: int | None = None) -> list[str]:
        """Load sea-breeze, at these seats or anywhere; return where it stands."""
        wanted = tuple(SeatId(f"A-1-{seat}") for seat in seats) or None
        loaded = await self.desk.load(Load(O1, SEA, A, wanted, most))
        return [vial.place.seat for vial in loaded.vials]

    async def seated(self) -> dict[str, int]:
        """Return what is left at each seat as it is stored."""
        return {
            f"{taken.vial.place.seat}/{taken.vial.place.slot}": taken.vial.left_us
            for taken in self.tables.vials.values()
            if taken.whereabouts is Whereabouts.SEATED
        }


@asynccontextmanager
async def open_house(unit: type[MemoryUnitOfWork] = MemoryUnitOfWork) -> AsyncIterator[House]:
    herald, zones = Herald(lambda: 0.0), Zones()
    async with open_stock(new_unit=unit, proclaim=herald.proclaim) as stage:
        desk = VialDesk(PLAN, stage.bus, MemoryViews(stage.store.stock), zones)
        await stage.handle(
            CreateBatch(B1, SEA, 100),
            CreateBatch(BatchRef("b-2"), PINE, 100),
            Allocate(O1, SEA, 10),
            Allocate(O2, PINE, 2),
        )
        yield House(stage, desk, herald, zones)


@pytest.fixture
async def house(autojump_clock: MockClock) -> AsyncIterator[House]:
    async with open_house() as house:
        yield house


PINE_IN_A = Load(O2, PINE, A)


class TestLoading:
    async def test_named_seats_get_a_vial_each_in_the_slot_of_its_scent(self, house: House) -> None:
        loaded = await house.desk.load(replace(PINE_IN_A, seats=(SeatId("A-1-3"),)))
        [vial] = loaded.vials
        assert (vial.place.seat, vial.place.slot, vial.sku, vial.batchref) == (
            "A-1-3",
            1,
            PINE,
            "b-2",
        )
        assert (vial.left_us, loaded.left) == (FULL_US, 1)
        assert house.zones.standing == {vial.id: vial}, "the zone has it, and it is on disk"
        assert await house.seated() == {"A-1-3/1": FULL_US}

    async def test_all_named_seats_are_served_or_none(self, house: House) -> None:
        seats = tuple(SeatId(f"A-1-{n}") for n in (1, 2, 3))
        with pytest.raises(TooFewVials, match="Order o-2 has 2 vials of PINE-FOREST left, and 3"):
            await house.desk.load(replace(PINE_IN_A, seats=seats))
        assert await house.seated() == {}

    async def test_a_whole_zone_takes_as_many_as_there_are(self, house: House) -> None:
        loaded = await house.desk.load(PINE_IN_A)
        assert ([vial.place.seat for vial in loaded.vials], loaded.left) == (["A-1-1", "A-1-2"], 0)
        assert await house.load() == ["A-1-1", "A-1-2", "A-1-3", "A-1-4"]

    async def test_the_same_once_more_changes_nothing(self, house: House) -> None:
        for _ in "123":
            assert await house.load(most=2) == ["A-1-1", "A-1-2"]
        for _ in "123":
            assert await house.load(2, 3) == ["A-1-2", "A-1-3"]
        assert len(house.tables.vials) == 3

    async def test_many_are_loaded_and_unloaded_in_parts(self, house: House) -> None:
        most = MOST_VIALS + 500
        plan = replace(PLAN, zones=(ZonePlan(A, 15, most // 15 + 1, (BREEZE,)),))
        parts: list[int] = []
        house.herald.add(
            lambda event, _: parts.append(len(event.vials)), VialsLoaded, VialsUnloaded
        )
        desk = VialDesk(plan, house.stage.bus, MemoryViews(house.stage.store.stock), house.zones)
        await house.stage.handle(ChangeBatchQuantity(B1, 9_000), Allocate(O2, SEA, most))
        for _ in "12":
            loaded = await desk.load(Load(O2, SEA, A))
            assert (len(loaded.vials), loaded.left) == (most, 0)
            assert parts == [MOST_VIALS, 500]
        assert len(await desk.unload(Unload(A, Whereabouts.RETURNED))) == most
        assert parts[2:] == [MOST_VIALS, 500]
        assert len((await desk.load(Load(O2, SEA, A, None, MOST_VIALS + 1))).vials) == parts[4] + 1

    async def test_more_seats_are_not_named_than_can_be_served_all_or_none(
        self, house: House
    ) -> None:
        zone = ZonePlan(A, 2, MOST_VIALS // 4 + 1, (BREEZE, BREEZE))
        views = MemoryViews(house.stage.store.stock)
        desk = VialDesk(replace(PLAN, zones=(zone,)), house.stage.bus, views, house.zones)
        with pytest.raises(InvalidVials, match="seats: 1,004 vials are too many"):
            await desk.load(Load(O1, SEA, A, tuple(zone.seat_ids())))
        assert house.tables.vials == {}

    async def test_what_stands_there_of_another_order_is_in_the_way(self, house: House) -> None:
        await house.stage.handle(Allocate(O2, SEA, 9))
        await house.load(1)
        other = Load(O2, SEA, A, (SeatId("A-1-1"), SeatId("A-1-2")))
        with pytest.raises(SlotTaken, match="Slot 0 of A-1-1 has a vial already: unload it first"):
            await house.desk.load(other)
        loaded = await house.desk.load(replace(other, seats=None))
        assert [vial.place.seat for vial in loaded.vials] == ["A-1-2", "A-1-3", "A-1-4"]

    async def test_a_full_zone_is_full(self, house: House) -> None:
        await house.stage.handle(Allocate(O2, SEA, 9))
        await house.load()
        with pytest.raises(NoFreeSlot, match="Zone A has no free slot for sea-breeze"):
            await house.desk.load(Load(O2, SEA, A))

    async def test_every_slot_of_a_scent_is_filled_where_a_seat_has_several(
        self, house: House
    ) -> None:
        catalogue = Catalogue([VialKind(SEA, TAR, FULL_US)])
        desk = VialDesk(
            replace(PLAN, catalogue=catalogue),
            house.stage.bus,
            MemoryViews(house.stage.store.stock),
            ClosedHouse(),
        )
        loaded = await desk.load(Load(O1, SEA, ZoneId("B"), (SeatId("B-1-1"),)))
        assert [vial.place.slot for vial in loaded.vials] == [0, 1]

    async def test_two_at_once_do_not_get_in_each_others_way(
        self, house: House, autojump_clock: MockClock
    ) -> None:
        await house.stage.handle(Allocate(O2, SEA, 9))
        house.stage.store.commit_s = 1
        async with trio.open_nursery() as nursery:
            for orderid in O1, O2:
                nursery.start_soon(house.desk.load, Load(orderid, SEA, A, None, 2))
        assert len(await house.seated()) == 4

    @pytest.mark.parametrize(
        ("wish", "error", "sentence"),
        [
            (Load(O1, SEA, ZoneId("C")), InvalidVials, "zone: there is no zone C; there are A, B"),
            (
                Load(O1, SEA, ZoneId("B")),
                InvalidVials,
                "zone: B has no slot for sea-breeze; it has tar",
            ),
            (
                Load(O1, SEA, A, (SeatId("A-1-1"), SeatId("A-1-5"))),
                InvalidVials,
                "seats: A-1-5 is no seat of zone A, whose last one is A-1-4",
            ),
            (
                Load(O1, SEA, A, (SeatId("A-1-1"),), 1),
                InvalidVials,
                "most: is for a whole zone",
            ),
            (Load(OrderId("o-9"), SEA, A), UnknownLine, "Order o-9 has no line of SEA-BREEZE"),
        ],
    )
    async def test_what_cannot_be_is_a_sentence(
        self, house: House, wish: Load, error: type[Exception], sentence: str
    ) -> None:
        with pytest.raises(error, match=sentence):
            await house.desk.load(wish)
        assert house.tables.vials == {}

    async def test_what_comes_in_no_vials_cannot_be_loaded(self, house: House) -> None:
        views = MemoryViews(house.stage.store.stock)
        desk = VialDesk(replace(PLAN, catalogue=Catalogue()), house.stage.bus, views, ClosedHouse())
        with pytest.raises(InvalidVials, match="sku: SEA-BREEZE does not come in vials here"):
            await desk.load(Load(O1, SEA, A))

    async def test_a_product_that_was_never_in_stock_has_no_vials(self, house: House) -> None:
        kinds = [VialKind(UNSEEN, BREEZE, FULL_US)]
        desk = VialDesk(
            replace(PLAN, catalogue=Catalogue(kinds)),
            house.stage.bus,
            MemoryViews(house.stage.store.stock),
            ClosedHouse(),
        )
        with pytest.raises(InvalidSku):
            await desk.load(Load(O1, UNSEEN, A))

    async def test_after_a_crash_they_are_brought_to_whoever_asks_once_more(
        self, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_house(StumblingUnit) as house:
            with monkeypatch.context() as patch:
                patch.setattr(StumblingUnit, "stumbles", True)
                with pytest.raises(ActorCrashed):
                    await house.load(1, 2)
            assert len(await house.seated()) == 2, "they are on disk, and nobody was told"
            assert await house.load(1, 2) == ["A-1-1", "A-1-2"]
            assert len(house.zones.standing) == len(await house.seated()) == 2

    async def test_whoever_gives_up_waiting_leaves_nothing_half_done(
        self, house: House, autojump_clock: MockClock
    ) -> None:
        house.stage.store.commit_s = 10
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.load, 1)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(house.zones.standing) == len(await house.seated()) == 1

    async def test_without_a_database_nothing_is_loaded(self, house: House) -> None:
        house.stage.store.writable = False
        with pytest.raises(StoreUnavailable):
            await house.load(1)
        assert (house.zones.standing, await house.seated()) == ({}, {})


class TestUnloading:
    async def test_what_is_left_is_what_the_zone_says(self, house: House) -> None:
        await house.load(1, 2)
        house.zones.use(40)
        taken = await house.desk.unload(Unload(A, Whereabouts.RETURNED))
        assert [(vial.place.seat, vial.left_us) for vial in taken] == [("A-1-1", 40), ("A-1-2", 40)]
        assert (house.zones.standing, await house.seated()) == ({}, {})
        await house.load(3)
        assert await house.seated() == {"A-1-3/0": 40}, "what was returned goes first"

    @pytest.mark.parametrize(
        ("wish", "left"),
        [
            (Unload(A, Whereabouts.DISCARDED, seats=(SeatId("A-1-1"),)), {"A-1-2/0", "A-1-2/1"}),
            (Unload(A, Whereabouts.DISCARDED, scent=FOREST), {"A-1-1/0", "A-1-2/0"}),
            (Unload(A, Whereabouts.DISCARDED, slot=0), {"A-1-1/1", "A-1-2/1"}),
            (
                Unload(A, Whereabouts.DISCARDED, below_percent=100),
                {"A-1-1/0", "A-1-2/0", "A-1-1/1", "A-1-2/1"},
            ),
            (
                Unload(A, Whereabouts.DISCARDED, (SeatId("A-1-1"),), BREEZE, 0),
                {"A-1-2/0", "A-1-1/1", "A-1-2/1"},
            ),
            (Unload(A, Whereabouts.DISCARDED), set()),
        ],
    )
    async def test_only_what_is_meant_comes_out(
        self, house: House, wish: Unload, left: set[str]
    ) -> None:
        await house.load(1, 2)
        await house.desk.load(PINE_IN_A)
        await house.desk.unload(wish)
        assert (await house.seated()).keys() == left
        assert len(house.zones.standing) == len(left)

    async def test_what_is_nearly_empty_can_be_meant(self, house: House) -> None:
        await house.load(1)
        house.zones.use(4)
        await house.desk.unload(Unload(A, Whereabouts.RETURNED))
        await house.load(1, 2)
        taken = await house.desk.unload(Unload(A, Whereabouts.DISCARDED, below_percent=5))
        assert [vial.left_us for vial in taken] == [4]

    async def test_where_nothing_is_meant_nothing_happens(self, house: House) -> None:
        assert await house.desk.unload(Unload(A, Whereabouts.DISCARDED)) == ()

    @pytest.mark.parametrize(
        ("wish", "sentence"),
        [
            (Unload(ZoneId("C"), Whereabouts.RETURNED), "zone: there is no zone C"),
            (Unload(A, Whereabouts.RETURNED, slot=2), "slot: zone A has slots 0 to 1"),
            (Unload(A, Whereabouts.RETURNED, scent=TAR), "scent: zone A has no slot for tar"),
            (
                Unload(A, Whereabouts.RETURNED, seats=(SeatId("B-1-1"),)),
                "seats: B-1-1 is no seat of zone A",
            ),
        ],
    )
    async def test_what_cannot_be_is_a_sentence(
        self, house: House, wish: Unload, sentence: str
    ) -> None:
        with pytest.raises(InvalidVials, match=sentence):
            await house.desk.unload(wish)

    async def test_what_the_theatre_file_has_no_place_for_any_more_can_be_unloaded(
        self, house: House
    ) -> None:
        await house.load(1, 2)
        narrower = ZonePlan(A, 1, 1, (FOREST,))
        for plan, wish in (
            (narrower, Unload(A, Whereabouts.RETURNED, seats=(SeatId("A-1-2"),))),
            (narrower, Unload(A, Whereabouts.RETURNED, scent=BREEZE)),
        ):
            assert len(await house.desk_for(plan).unload(wish)) == 1
        await house.load(1, 2)
        desk = house.desk_for(ZonePlan(ZoneId("Z"), 1, 1, (FOREST,)))
        with pytest.raises(InvalidVials, match="slot: zone A has slots 0 to 0"):
            await desk.unload(Unload(A, Whereabouts.RETURNED, slot=1))
        with pytest.raises(InvalidVials, match="seats: A-9-9 is no seat of zone A with a vial"):
            await desk.unload(Unload(A, Whereabouts.RETURNED, seats=(SeatId("A-9-9"),)))
        assert len(await desk.unload(Unload(A, Whereabouts.RETURNED))) == 2
        with pytest.raises(InvalidVials, match="there is no zone A"):
            await desk.unload(Unload(A, Whereabouts.RETURNED))

    async def test_without_a_database_they_are_put_back(self, house: House) -> None:
        await house.load(1, 2)
        house.zones.use(40)
        house.stage.store.writable = False
        with pytest.raises(StoreUnavailable):
            await house.desk.unload(Unload(A, Whereabouts.DISCARDED))
        assert [vial.left_us for vial in house.zones.standing.values()] == [40, 40]
        house.stage.store.writable = True
        assert len(await house.desk.unload(Unload(A, Whereabouts.DISCARDED))) == 2

    async def test_of_several_products_those_that_are_out_stay_out(
        self, house: House, autojump_clock: MockClock
    ) -> None:
        await house.load(1)
        await house.desk.load(PINE_IN_A)
        house.stage.store.commit_s = 1
        async with trio.open_nursery() as nursery:

            async def unload() -> None:
                with pytest.raises(StoreUnavailable):
                    await house.desk.unload(Unload(A, Whereabouts.DISCARDED))

            nursery.start_soon(unload)
            await trio.sleep(1.5)
            house.stage.store.writable = False
        assert {vial.sku for vial in house.zones.standing.values()} == {PINE}
        assert (await house.seated()).keys() == {"A-1-1/1", "A-1-2/1"}

    async def test_whoever_gives_up_waiting_leaves_nothing_half_done(
        self, house: House, autojump_clock: MockClock
    ) -> None:
        await house.load(1)
        house.stage.store.commit_s = 10
        async with trio.open_nursery() as nursery:
            wish = Unload(A, Whereabouts.DISCARDED)
            nursery.start_soon(partial(house.desk.unload, wish))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert (house.zones.standing, await house.seated()) == ({}, {})
        assert [taken.whereabouts for taken in house.tables.vials.values()] == ["discarded"]

    async def test_a_zone_that_does_not_answer_keeps_its_vials(self, house: House) -> None:
        await house.load(1)
        house.zones.error = ActorStopped("zone A")
        with pytest.raises(ActorStopped):
            await house.desk.unload(Unload(A, Whereabouts.DISCARDED))
        assert len(await house.seated()) == 1

    async def test_after_a_crash_the_database_decides(self, autojump_clock: MockClock) -> None:
        async with open_house(StagedUnit) as house:
            await house.load(1)
            try:
                StagedUnit.broken = frozenset({SEA})
                with pytest.raises(ActorCrashed):
                    await house.desk.unload(Unload(A, Whereabouts.DISCARDED))
            finally:
                StagedUnit.broken = frozenset()
            assert len(house.zones.standing) == len(await house.seated()) == 1


async def test_a_batch_on_its_way_is_named_with_its_day(house: House) -> None:
    await house.stage.handle(
        CreateBatch(BatchRef("b-3"), SEA, 500, TODAY), Allocate(OrderId("o-3"), SEA, 200)
    )
    with pytest.raises(Exception, match="with batch b-3, expected on 2026-03-02"):
        await house.desk.load(Load(OrderId("o-3"), SEA, A))

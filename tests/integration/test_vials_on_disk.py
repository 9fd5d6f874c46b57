"""Vials and refills over a real database: what is kept there, and what it refuses by itself."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.refill_rows import SqlRefillStore, read_refills
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchQuantity,
    CreateBatch,
    LoadVials,
    UnloadVials,
)
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import RefillStatus, wanted
from scentrt.domain.vials import Loaded, Place, ScentSupply, VialId, VialKind, Whereabouts
from scentrt.errors import TooFewVials, UnitRefused, VialsTaken
from scentrt.service_layer.changes import Changes, Unsettled
from scentrt.service_layer.messagebus import MessageBus
from scentrt.service_layer.views import VialFilter
from tests.goods import SEA, TODAY
from tests.stock_stage import stock_in_sql

B1, O1 = BatchRef("b-1"), OrderId("o-1")
A, BREEZE = ZoneId("A"), Scent("sea-breeze")
LOW = ScentSupply(BREEZE, 1, 100, frozenset(map(VialId, (9, 2, 5, 12))), 3)


def places(*seats: int) -> tuple[Place, ...]:
    return tuple(Place(A, SeatId(f"A-1-{seat}"), 0) for seat in seats)


def loading(*seats: int, orderid: OrderId = O1) -> LoadVials:
    return LoadVials(SEA, orderid, places(*seats), len(seats), 100)


@asynccontextmanager
async def open_stock(path: Path) -> AsyncIterator[tuple[SqlTheatreStore, MessageBus]]:
    async with AioThread() as aio, open_store(aio, path) as store, stock_in_sql(store) as bus:
        yield store, bus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stock.db"


async def load_three(bus: MessageBus) -> Loaded:
    await bus.handle(CreateBatch(B1, SEA, 10))
    await bus.handle(Allocate(O1, SEA, 4))
    return await bus.handle(loading(1, 2, 3))


async def test_vials_are_where_they_were_after_a_restart(path: Path) -> None:
    async with open_stock(path) as (_, bus):
        one, two, three = (await load_three(bus)).vials
        await bus.handle(UnloadVials(SEA, ((one.id, 40),), Whereabouts.RETURNED))
        await bus.handle(UnloadVials(SEA, ((two.id, 30),), Whereabouts.DISCARDED))
    async with open_stock(path) as (store, bus):
        again = await bus.handle(loading(3, 4, 5))
        stood, returned, new = again.vials
        assert stood == three
        assert (returned.id, returned.left_us) == (one.id, 40)
        assert new.id > three.id, "an id is never given twice"
        assert again.left == 0
        with pytest.raises(TooFewVials):
            await bus.handle(loading(6))
        views = SqlAlchemyViews(store)
        gone = await views.vials(VialFilter(whereabouts=Whereabouts.DISCARDED))
        assert [(taken.vial.id, taken.vial.left_us, taken.orderid) for taken in gone] == [
            (two.id, 30, O1)
        ]
        seated = await views.vials(VialFilter(zone=A, whereabouts=Whereabouts.SEATED))
        assert [taken.vial.place.seat for taken in seated] == ["A-1-4", "A-1-3", "A-1-5"]
        page = await views.vials(VialFilter(orderid=O1), seated[0].vial.id, 2)
        assert [taken.vial.id for taken in page] == [two.id, three.id]


async def test_a_line_stays_after_a_restart(path: Path) -> None:
    async with open_stock(path) as (_, bus):
        await load_three(bus)
    async with open_stock(path) as (_, bus):
        for command in CancelOrder(O1), ChangeBatchQuantity(B1, 3):
            with pytest.raises(VialsTaken):
                await bus.handle(command)
        await bus.handle(ChangeBatchQuantity(B1, 4))


async def test_whoever_cancels_while_vials_are_taken_is_refused_by_the_database(
    path: Path,
) -> None:
    async with open_stock(path) as (store, bus):
        await load_three(bus)
        cancelling = Changes()
        cancelling.unsettled[SEA, O1] = Unsettled.CANCEL
        with pytest.raises(UnitRefused, match="vials of this line have been taken"):
            await store.commit_unit(cancelling)


async def test_the_database_gives_no_more_vials_than_a_line_has(path: Path) -> None:
    async with open_stock(path) as (_, bus):
        await load_three(bus)
    vial = "INSERT INTO vials VALUES (NULL, ?, 'o-1', 'b-1', 'A', ?, 0, 'discarded', 1, 1)"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(vial, [SEA, "A-2-1"])
        with pytest.raises(sqlite3.IntegrityError, match="no_more_vials_than_the_line_has"):
            connection.execute(vial, [SEA, "A-2-2"])


async def test_no_vial_is_taken_of_a_line_that_is_being_cancelled(path: Path) -> None:
    async with open_stock(path) as (_, bus):
        loaded = await load_three(bus)
        await bus.handle(Allocate(OrderId("o-2"), SEA, 1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO unsettled_lines VALUES (1, ?, 'o-2', 'cancel')", [SEA])
        with pytest.raises(sqlite3.IntegrityError, match="being cancelled"):
            connection.execute(
                "INSERT INTO vials VALUES (?, ?, 'o-2', 'b-1', 'A', 'A-9-9', 0, 'seated', 1, 1)",
                [loaded.vials[-1].id + 1, SEA],
            )


class TestRefills:
    refill = wanted(A, LOW, VialKind(SEA, BREEZE), 1)

    async def test_a_refill_is_told_with_its_batch_and_as_cancelled_without_its_line(
        self, path: Path
    ) -> None:
        orderid = self.refill.refill.orderid
        async with open_stock(path) as (store, bus):
            refills = SqlRefillStore(store)
            await refills.put(self.refill, None)
            assert await refills.open_refills() == (self.refill,)
            await bus.handle(CreateBatch(B1, SEA, 10, TODAY))
            assert not await refills.is_ordered(self.refill.refill)
            await bus.handle(Allocate(orderid, SEA, 3))
            assert await refills.is_ordered(self.refill.refill)
            assert not await refills.is_ordered(replace(self.refill.refill, qty=2))
            ordered = self.refill.become(RefillStatus.ORDERED)
            await refills.put(ordered, orderid)
            assert await refills.open_refills() == (
                replace(ordered, refill=replace(ordered.refill, batchref=B1, eta=date(2026, 3, 2))),
            )
        async with open_stock(path) as (store, bus):
            refills = SqlRefillStore(store)
            await bus.handle(CancelOrder(orderid))
            with trio.fail_after(30):
                while (await refills.open_refills())[0].refill.status is RefillStatus.ORDERED:
                    pass
            [cancelled] = await refills.open_refills()
            assert cancelled.refill.status is RefillStatus.CANCELLED
            await refills.put(cancelled.become(RefillStatus.MET), orderid)
            assert await refills.open_refills() == ()
            assert await refills.next_number(A, SEA) == 2
            [met] = await store.read(read_refills, zone=A)
            assert met.refill.status is RefillStatus.MET

    async def test_the_next_number_is_one_under_which_no_refill_is_ordered(
        self, path: Path
    ) -> None:
        long, short = Sku("B-C"), Sku("C")
        async with open_stock(path) as (store, _):
            refills = SqlRefillStore(store)
            await refills.put(wanted(A, LOW, VialKind(long, BREEZE), 1), None)
            assert await refills.next_number(ZoneId("A-B"), short) == 2
            await refills.put(wanted(ZoneId("A-B"), LOW, VialKind(short, BREEZE), 2), None)
            assert await refills.next_number(A, long) == 3

    async def test_there_is_one_refill_for_a_need(self, path: Path) -> None:
        async with open_stock(path) as (store, _):
            refills = SqlRefillStore(store)
            await refills.put(self.refill, None)
            second = wanted(A, LOW, VialKind(SEA, BREEZE), 2)
            with pytest.raises(UnitRefused):
                await refills.put(second, None)
            await refills.put(second, self.refill.refill.orderid)
            assert await refills.open_refills() == (second,)

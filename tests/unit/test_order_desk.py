"""An order is accepted whole, and nothing that was accepted is forgotten."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import order_desk, stock_room
from scentrt.actors.product import RETRY_S
from scentrt.domain.commands import (
    Allocate,
    CancelLine,
    CancelOrder,
    Command,
    CreateBatch,
    FillLine,
    PlaceOrder,
    RegisterCustomer,
)
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.errors import (
    Busy,
    CustomerConflict,
    LineConflict,
    OrderCancelled,
    OrderConflict,
    StoreUnavailable,
    UnitRefused,
)
from scentrt.service_layer.changes import Changes, Unsettled
from scentrt.service_layer.messagebus import work_through
from tests.goods import PINE, SEA, line
from tests.memory_stock import MemoryUnitOfWork
from tests.memory_store import MemoryStore
from tests.stock_stage import StagedUnit, StockStage, open_stock

B1, B2 = BatchRef("b-1"), BatchRef("b-2")
O1, O2 = OrderId("o-1"), OrderId("o-2")
LINES = (line("o-1", 4), line("o-1", 11, PINE))


@pytest.fixture
async def stage() -> AsyncIterator[StockStage]:
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, PINE, 10))
        yield stage


async def test_the_lines_of_an_order_are_filled_by_their_products(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(PlaceOrder(O1, LINES))
    await wait_all_tasks_blocked()
    assert stage.tables.allocations == {(SEA, O1): B1}
    assert stage.tables.back_orders == {(PINE, O1): 11}
    assert stage.tables.unsettled == {}


async def test_a_cancelled_order_is_given_up_by_its_products(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(PlaceOrder(O1, LINES), CancelOrder(O1))
    await wait_all_tasks_blocked()
    assert (stage.tables.lines, stage.tables.unsettled) == ({}, {})
    assert await stage.bus.handle(Allocate(O2, SEA, 10)) == B1


@pytest.mark.parametrize("how", [Allocate(O1, SEA, 4), PlaceOrder(O1, LINES)])
async def test_a_cancelled_order_takes_no_line_also_after_a_restart_and_others_notice_nothing(
    autojump_clock: MockClock, how: Command[Any]
) -> None:
    store = MemoryStore()
    async with open_stock(store) as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, PINE, 10))
        await stage.handle(how, CancelOrder(O1))
    async with open_stock(store) as stage:
        stage.ask("before", Allocate(O2, SEA, 1))
        stage.ask("cancelled", Allocate(O1, SEA, 4))
        stage.ask("another of it", Allocate(O1, SEA, 20))
        stage.ask("behind", Allocate(OrderId("o-3"), SEA, 1))
        stage.ask("elsewhere", Allocate(O2, PINE, 1))
        await trio.sleep(10)
        for refused in "cancelled", "another of it":
            assert str(stage.outcomes.pop(refused)) == "Order o-1 was cancelled"
        assert stage.outcomes == {"before": B1, "behind": B1, "elsewhere": B2}
        assert all(of_order != O1 for _, of_order in stage.tables.lines)


async def test_who_goes_on_asking_for_a_cancelled_order_costs_nobody_a_transaction(
    stage: StockStage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_room, "MOST_CANCELLED", 1)
    await stage.handle(Allocate(O1, SEA, 4), CancelOrder(O1), Allocate(O2, SEA, 1), CancelOrder(O2))
    await wait_all_tasks_blocked()
    for orderid in O1, O2:
        with pytest.raises(OrderCancelled):
            await stage.handle(Allocate(orderid, SEA, 4))
    before = len(stage.store.attempted_at)
    for _ in range(100):
        with pytest.raises(OrderCancelled):
            await stage.handle(Allocate(O2, SEA, 4))
    assert len(stage.store.attempted_at) == before
    with pytest.raises(OrderCancelled):  # it has been forgotten, and the database knows it
        await stage.handle(Allocate(O1, SEA, 4))


@pytest.mark.parametrize("first", ["line", "cancel"])
async def test_a_line_that_comes_while_its_order_is_cancelled_is_cancelled_or_refused(
    stage: StockStage, autojump_clock: MockClock, first: str
) -> None:
    await stage.handle(Allocate(O1, SEA, 4))
    stage.store.commit_s = 1
    stage.ask("busy", Allocate(O2, SEA, 1))  # so that both of these are in one transaction
    await wait_all_tasks_blocked()
    asked: dict[str, Command[Any]] = {"line": Allocate(O1, PINE, 4), "cancel": CancelOrder(O1)}
    for name in sorted(asked, key=lambda name: name != first):
        stage.ask(name, asked[name])
        await wait_all_tasks_blocked()
    await trio.sleep(60)
    assert stage.outcomes["cancel"] is None
    assert stage.outcomes["line"] == B2 or isinstance(stage.outcomes["line"], OrderCancelled)
    assert set(stage.tables.lines) == {(SEA, O2)}
    assert (stage.tables.unsettled, stage.tables.orders[O1].cancelled) == ({}, True)


async def test_an_order_is_accepted_when_it_is_on_disk_and_then_filled(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("o-1", PlaceOrder(O1, LINES))
    await trio.sleep(0.9)
    assert stage.outcomes == {}
    await trio.sleep(0.2)
    assert stage.outcomes == {"o-1": None}
    assert len(stage.tables.unsettled) == 2
    await trio.sleep(2)
    assert stage.tables.unsettled == {}


async def test_products_that_are_in_memory_fill_the_lines_of_an_order_without_reading_them_again(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(Allocate(O2, SEA, 1), Allocate(O2, PINE, 1))
    stage.store.commit_s = 1
    stage.ask("o-1", PlaceOrder(O1, LINES))
    await trio.sleep(0.5)
    stage.store.stock.readable = False
    await trio.sleep(5)
    assert stage.tables.allocations == {(SEA, O2): B1, (PINE, O2): B2, (SEA, O1): B1}
    assert stage.tables.back_orders == {(PINE, O1): 11}
    assert stage.tables.unsettled == {}


async def test_who_is_told_late_of_what_has_been_done_does_nothing_twice(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(PlaceOrder(O1, LINES))
    await wait_all_tasks_blocked()
    before = stage.tables.copy()
    stage.room.settle(map(FillLine, LINES))
    await wait_all_tasks_blocked()
    assert stage.tables == before
    await stage.handle(CancelOrder(O1))
    await wait_all_tasks_blocked()
    stage.room.settle([*map(FillLine, LINES), *map(CancelLine, LINES)])
    await wait_all_tasks_blocked()
    assert (stage.tables.lines, stage.tables.unsettled) == ({}, {})
    assert await stage.bus.handle(Allocate(O2, SEA, 10)) == B1


async def test_an_order_that_could_not_be_filled_is_filled_when_the_database_is_back(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("o-1", PlaceOrder(O1, LINES))
    await trio.sleep(1.5)
    stage.store.writable = False
    await trio.sleep(5)
    assert len(stage.tables.unsettled) == 2
    stage.store.writable = True
    await trio.sleep(2 * RETRY_S + 2)
    assert stage.tables.allocations == {(SEA, O1): B1}
    assert (stage.tables.back_orders, stage.tables.unsettled) == ({(PINE, O1): 11}, {})


async def test_what_a_crash_has_left_to_be_done_is_done_at_the_start(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with open_stock(store) as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, PINE, 10))
        await stage.handle(PlaceOrder(O1, LINES), Allocate(O2, SEA, 6))
        # The last that this process does is to accept an order, and to accept a cancellation.
        store.commit_s = 1
        stage.ask("cancel", CancelOrder(O2))
        third = OrderId("o-3")
        stage.ask("place", PlaceOrder(third, (line("o-3", 5), line("o-3", 1, PINE))))
        await trio.sleep(1.5)
        left = stage.tables
    assert left.unsettled == {
        (SEA, O2): Unsettled.CANCEL,
        (SEA, third): Unsettled.FILL,
        (PINE, third): Unsettled.FILL,
    }
    store = MemoryStore()
    store.stock.tables = left
    async with open_stock(store) as stage:
        await wait_all_tasks_blocked()
        assert stage.tables.unsettled == {}
        assert set(stage.tables.allocations) == {(SEA, O1), (SEA, third), (PINE, third)}


async def test_an_order_that_is_accepted_while_the_stock_room_closes_is_accepted(
    autojump_clock: MockClock,
) -> None:
    tar = Sku("TAR")
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, PINE, 10))
        await stage.handle(CreateBatch(BatchRef("b-3"), tar, 10))
        stage.store.commit_s = 1
        stage.ask("first", Allocate(O2, SEA, 1))
        await trio.sleep(0.5)
        stage.ask("order", PlaceOrder(O1, LINES))
        stage.ask("under way", Allocate(O2, tar, 1))  # keeps the stock room from closing at once
        await trio.sleep(1)
    assert stage.outcomes["order"] is None
    assert set(stage.tables.unsettled) == {(SEA, O1), (PINE, O1)}


async def test_a_crash_forgets_no_line_of_an_order_even_if_nobody_asks_any_more(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_stock(new_unit=StagedUnit) as stage:
        await stage.handle(CreateBatch(B1, SEA, 10), CreateBatch(B2, PINE, 10))
        monkeypatch.setattr(StagedUnit, "broken", frozenset({SEA}))
        stage.ask("crash", Allocate(O2, SEA, 1))
        await stage.handle(PlaceOrder(O1, LINES))
        await trio.sleep(5)
        assert stage.tables.unsettled == {(SEA, O1): Unsettled.FILL}
        monkeypatch.setattr(StagedUnit, "broken", frozenset())
        await trio.sleep(5)
        assert stage.tables.allocations == {(SEA, O1): B1}


async def test_a_start_without_a_database_does_it_when_there_is_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    async with open_stock(store) as stage:
        await stage.handle(CreateBatch(B1, SEA, 10))
        store.commit_s = 1
        stage.ask("place", PlaceOrder(O1, LINES[:1]))
        await trio.sleep(1.5)
        left = stage.tables
    store = MemoryStore()
    store.stock.tables = left
    store.stock.readable = False
    async with open_stock(store) as stage:
        await trio.sleep(10)
        store.stock.readable, store.writable = True, False
        await trio.sleep(10)
        assert len(stage.tables.unsettled) == 1
        store.writable = True
        await trio.sleep(2 * RETRY_S)
        assert stage.tables.allocations == {(SEA, O1): B1}
    assert "accepted orders wait for the database" in caplog.text


async def test_an_order_whose_asker_has_gone_is_filled_all_the_same(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    asker = stage.ask("o-1", PlaceOrder(O1, LINES))
    await trio.sleep(0.5)
    asker.cancel()
    await trio.sleep(5)
    assert stage.tables.allocations == {(SEA, O1): B1}
    assert stage.tables.unsettled == {}


async def test_without_a_database_no_order_is_accepted(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.writable = False
    with pytest.raises(StoreUnavailable):
        await stage.handle(PlaceOrder(O1, LINES))
    stage.store.writable = True
    await trio.sleep(10)
    assert (stage.tables.orders, stage.tables.lines) == ({}, {})


async def test_one_line_that_was_allocated_while_its_order_is_accepted_is_the_same_line(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("busy", Allocate(O2, SEA, 1))  # so that both of these are in one transaction
    await wait_all_tasks_blocked()
    stage.ask("order", PlaceOrder(O1, LINES))
    stage.ask("line", Allocate(O1, SEA, 4))
    await trio.sleep(20)
    # Whoever comes first has it; the other one learns of it.
    assert stage.outcomes["line"] == B1
    assert isinstance(stage.outcomes["order"], OrderConflict | None)
    assert stage.tables.allocations[SEA, O1] == B1
    assert stage.tables.unsettled == {}
    if stage.outcomes["order"] is None:
        assert stage.tables.back_orders == {(PINE, O1): 11}


async def test_another_quantity_of_an_accepted_line_is_a_conflict_before_it_is_filled_too(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    # Accepted by a unit of work of which the product has not heard yet.
    async with MemoryUnitOfWork(stage.store.stock) as uow:
        await work_through(PlaceOrder(O1, LINES), uow)
        await uow.commit()
    with pytest.raises(LineConflict):
        await stage.handle(Allocate(O1, SEA, 5))
    assert await stage.bus.handle(Allocate(O1, SEA, 4)) == B1
    assert stage.tables.allocations == {(SEA, O1): B1}


async def test_of_two_who_place_one_order_side_by_side_the_later_is_told(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("first", PlaceOrder(O1, LINES))
    await wait_all_tasks_blocked()
    stage.ask("same", PlaceOrder(O1, LINES))
    await wait_all_tasks_blocked()
    stage.ask("other", PlaceOrder(O1, LINES[:1]))
    await trio.sleep(20)
    assert (stage.outcomes["first"], stage.outcomes["same"]) == (None, None)
    assert isinstance(stage.outcomes["other"], OrderConflict)
    assert stage.tables.orders[O1].lines == LINES


async def test_of_two_who_register_one_name_side_by_side_the_later_is_told(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    ada = CustomerName("Ada")
    stage.ask("first", RegisterCustomer(ada, "London", "ada@example.com"))
    await wait_all_tasks_blocked()
    stage.ask("other", RegisterCustomer(ada, "Paris", "ada@example.com"))
    await trio.sleep(20)
    assert stage.outcomes["first"] is None
    assert isinstance(stage.outcomes["other"], CustomerConflict)


class RefusedUnit(MemoryUnitOfWork):
    """A unit of work that somebody else gets ahead of, as often as `times` says."""

    times = 0

    async def _commit(self, changes: Changes) -> None:
        if RefusedUnit.times:
            RefusedUnit.times -= 1
            raise UnitRefused("FOREIGN KEY constraint failed")
        await super()._commit(changes)


@pytest.mark.parametrize(("times", "outcome"), [(4, type(None)), (5, UnitRefused)])
async def test_an_order_that_others_get_ahead_of_is_decided_five_times(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    times: int,
    outcome: type[object],
) -> None:
    monkeypatch.setattr(RefusedUnit, "times", times)
    async with open_stock(new_unit=RefusedUnit) as stage:
        stage.ask("ada", RegisterCustomer(CustomerName("Ada"), "London", "ada@example.com"))
        await wait_all_tasks_blocked()
        assert isinstance(stage.outcomes["ada"], outcome)
        assert RefusedUnit.times == 0


async def test_too_many_orders_at_once_are_refused_as_busy(
    stage: StockStage, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(order_desk, "MOST_AT_ONCE", 2)
    stage.store.commit_s = 1
    for name in ("o-1", "o-2", "o-3"):
        stage.ask(name, PlaceOrder(OrderId(name), (line(name, 1),)))
        await wait_all_tasks_blocked()
    assert [type(outcome) for outcome in stage.outcomes.values()] == [Busy]
    await trio.sleep(10)
    await stage.handle(PlaceOrder(OrderId("o-3"), (line("o-3", 1),)))
    assert len(stage.tables.orders) == 3


async def test_a_command_reaches_its_owner_or_nobody(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    with pytest.raises(TypeError, match="is not for a product"):
        await stage.handle(FillLine(line("o-1", 4)))

"""A product's actor decides what waits together, and says nothing that is not on disk."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import product as product_module
from scentrt.domain.commands import (
    Allocate,
    ChangeBatchEta,
    ChangeBatchQuantity,
    CreateBatch,
    ReceiveBatch,
)
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import (
    ActorCrashed,
    ActorStopped,
    BatchConflict,
    Busy,
    InvalidQuantity,
    InvalidSku,
    LineConflict,
    StoreUnavailable,
    UnknownBatch,
)
from scentrt.service_layer.changes import Changes, Version
from tests.goods import LATER, PINE, SEA, TODAY
from tests.memory_store import MemoryStore
from tests.stock_stage import StagedUnit, StockStage, open_stock

B1, B2 = BatchRef("b-1"), BatchRef("b-2")


@pytest.fixture
async def stage() -> AsyncIterator[StockStage]:
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 100))
        yield stage


def take(name: str, qty: int = 1, sku: Sku = SEA) -> Allocate:
    return Allocate(OrderId(name), sku, qty)


def kinds(stage: StockStage) -> dict[str, object]:
    """Return what became of each, errors by their type."""
    return {
        name: type(outcome) if isinstance(outcome, Exception) else outcome
        for name, outcome in stage.outcomes.items()
    }


async def test_what_waits_is_decided_as_one_unit_of_work(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    before = len(stage.store.commits)
    stage.ask("o-1", take("o-1"))
    await wait_all_tasks_blocked()
    for name in ("o-2", "o-3", "o-4"):
        stage.ask(name, take(name))
    await trio.sleep(5)
    lines = [len(writes.units[0].lines) for writes in stage.store.commits[before:]]
    assert lines == [1, 3]


async def test_there_is_never_a_second_unit_under_way(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    for second in range(5):
        stage.ask(f"o-{second}", take(f"o-{second}"))
        await trio.sleep(0.3)
    await trio.sleep(5)
    assert all(len(writes.units) == 1 for writes in stage.store.commits)
    versions = [writes.units[0].versions[SEA] for writes in stage.store.commits]
    assert [version.before for version in versions[1:]] == [v.after for v in versions[:-1]]


async def test_nobody_is_answered_before_it_is_on_disk(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("o-1", take("o-1"))
    await trio.sleep(0.99)
    assert stage.outcomes == {}
    await trio.sleep(0.02)
    assert stage.outcomes == {"o-1": B1}
    assert stage.tables.allocations == {(SEA, "o-1"): B1}


async def test_each_in_a_unit_gets_its_own_answer(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.ask("first", take("o-1"))
    await wait_all_tasks_blocked()
    stage.ask("same", take("o-1"))
    stage.ask("other", take("o-1", 2))
    stage.ask("none", take("o-2", 0))
    stage.ask("much", take("o-3", 100))
    stage.ask("rest", take("o-4", 99))
    stage.ask("conflict", CreateBatch(B1, SEA, 7))
    await trio.sleep(5)
    assert kinds(stage) == {
        "first": B1,
        "same": B1,
        "other": LineConflict,
        "none": InvalidQuantity,
        "much": None,
        "rest": B1,
        "conflict": BatchConflict,
    }
    assert list(stage.tables.lines) == [(SEA, "o-1"), (SEA, "o-4")]


async def test_what_changes_nothing_is_answered_without_a_commit(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(take("o-1"), take("o-1"))
    stage.store.writable = False
    await stage.handle(take("o-1"), CreateBatch(B1, SEA, 100), ChangeBatchQuantity(B1, 100))


async def test_a_failed_commit_answers_everybody_with_an_error_and_is_forgotten(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    stage.store.writable = False
    for name in ("o-1", "o-2"):
        stage.ask(name, take(name, 60))
    await trio.sleep(5)
    assert kinds(stage) == {"o-1": StoreUnavailable, "o-2": StoreUnavailable}
    assert stage.outcomes["o-1"] is not stage.outcomes["o-2"]
    stage.store.writable = True
    assert await stage.bus.handle(take("o-3", 100)) == B1
    assert list(stage.tables.lines) == [(SEA, "o-3")]


async def test_without_a_database_to_read_everybody_is_told(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.stock.readable = False
    stage.ask("pine", take("o-1", sku=PINE))
    stage.ask("batch", ChangeBatchQuantity(B2, 1))
    await trio.sleep(1)
    assert kinds(stage) == {"pine": StoreUnavailable, "batch": StoreUnavailable}
    assert stage.room.in_memory == 1, "who could not be loaded does not stay"
    stage.store.stock.readable = True
    with pytest.raises(InvalidSku):
        await stage.handle(take("o-1", sku=PINE))


async def test_a_full_mailbox_is_busy_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product_module, "MAILBOX_CAPACITY", 3)
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 100))
        stage.store.commit_s = 1
        stage.ask("o-0", take("o-0"))
        await wait_all_tasks_blocked()
        for number in range(1, 5):
            stage.ask(f"o-{number}", take(f"o-{number}"))
        await wait_all_tasks_blocked()
        assert [type(outcome) for outcome in stage.outcomes.values()] == [Busy]
        await trio.sleep(5)
        assert sorted(map(str, kinds(stage).values())) == [str(Busy), *["b-1"] * 4]


async def test_a_long_queue_is_worked_off_in_units_of_bounded_size(
    stage: StockStage, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(product_module, "MOST_PER_UNIT", 40)
    stage.store.commit_s = 1
    before = len(stage.store.commits)
    for number in range(90):
        stage.ask(f"o-{number}", take(f"o-{number}"))
    await trio.sleep(10)
    lines = [len(writes.units[0].lines) for writes in stage.store.commits[before:]]
    assert sum(lines) == 90
    assert max(lines) == 40


async def test_a_crash_is_told_to_everybody_and_the_product_is_back_within_a_second(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stock(new_unit=StagedUnit) as stage:
        await stage.handle(CreateBatch(B1, SEA, 100), CreateBatch(B2, PINE, 100), take("o-0"))
        try:
            StagedUnit.broken = frozenset({SEA})
            for name in ("o-1", "o-2"):
                stage.ask(name, take(name))
            stage.ask("o-3", take("o-3", sku=PINE))
            await wait_all_tasks_blocked()
        finally:
            StagedUnit.broken = frozenset()
        assert kinds(stage) == {"o-1": ActorCrashed, "o-2": ActorCrashed, "o-3": B2}
        crashed_at = trio.current_time()
        assert await stage.bus.handle(take("o-1", 99)) == B1
        assert trio.current_time() - crashed_at < 1
        assert stage.tables.lines == {(SEA, "o-0"): 1, (PINE, "o-3"): 1, (SEA, "o-1"): 99}
    assert caplog.text.count("product SEA-BREEZE crashed") == 1


async def test_a_command_that_means_many_lines_lets_others_have_their_turn(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(CreateBatch(B2, SEA, 1_000))
    for number in range(500):
        stage.ask(f"o-{number}", take(f"o-{number}", 2))
    await trio.sleep(1)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for qty in (0, 1_000):  # they are displaced and wait, and then they are filled
            turns = 0
            await stage.handle(ChangeBatchQuantity(B2, qty))
            assert turns > 20
        nursery.cancel_scope.cancel()
    assert len(stage.tables.allocations) == 500


async def test_who_gives_up_waiting_may_be_served_all_the_same(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.commit_s = 1
    asker = stage.ask("o-1", take("o-1"))
    await trio.sleep(0.5)
    asker.cancel()
    await trio.sleep(1)
    assert stage.outcomes == {}
    assert stage.tables.lines == {(SEA, "o-1"): 1}


async def test_a_stock_room_that_closes_answers_truly_and_takes_nothing_more(
    autojump_clock: MockClock,
) -> None:
    async with open_stock() as stage:
        await stage.handle(CreateBatch(B1, SEA, 100))
        stage.store.commit_s = 1
        stage.ask("under way", take("o-1"))
        await wait_all_tasks_blocked()
        stage.ask("waits", take("o-2"))
        await wait_all_tasks_blocked()
    assert kinds(stage) == {"under way": B1, "waits": ActorStopped}
    assert stage.tables.lines == {(SEA, "o-1"): 1}
    with pytest.raises(ActorStopped):
        await stage.bus.handle(take("o-3", sku=PINE))


async def test_a_product_that_nobody_asks_for_is_let_go_and_comes_back_as_it_was(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(take("o-1", 99))
    reads = stage.store.stock.reads
    await trio.sleep(product_module.IDLE_S - 1)
    await stage.handle(take("o-1", 99))
    assert (stage.room.in_memory, stage.store.stock.reads) == (1, reads)
    await trio.sleep(product_module.IDLE_S + 1)
    assert stage.room.in_memory == 0
    assert await stage.bus.handle(take("o-2", 2)) is None
    assert await stage.bus.handle(take("o-3", 1)) == B1


async def test_a_message_at_the_moment_of_leaving_is_not_lost(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    for number in range(200):
        await trio.sleep(product_module.IDLE_S * (1 + (number - 100) / 1e9))
        with trio.fail_after(1):
            await stage.handle(take(f"o-{number}"))
    assert len(stage.tables.lines) == 100


async def test_an_actor_of_a_product_that_is_none_does_not_stay(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    for number in range(20):
        with pytest.raises(InvalidSku, match=f"Invalid sku S-{number}$"):
            await stage.handle(take("o-1", sku=Sku(f"S-{number}")))
    await wait_all_tasks_blocked()
    assert stage.room.in_memory == 1


async def test_commands_find_their_product_by_the_batch(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    await stage.handle(
        CreateBatch(B2, PINE, 5, TODAY),
        ChangeBatchQuantity(B2, 7),
        ChangeBatchEta(B2, LATER),
        ReceiveBatch(B2),
    )
    stored = stage.tables.batches[B2]
    assert (stored.sku, stored.qty, stored.eta) == (PINE, 7, None)
    for command in (ChangeBatchQuantity(BatchRef("b-9"), 7), ReceiveBatch(BatchRef("b-9"))):
        with pytest.raises(UnknownBatch):
            await stage.handle(command)


async def test_of_two_products_that_race_for_a_reference_one_has_it_and_one_is_told(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.ask("pine", CreateBatch(B2, PINE, 5))
    stage.ask("sea", CreateBatch(B2, SEA, 5))
    stage.ask("sea too", take("o-1"))
    await trio.sleep(1)
    outcomes = kinds(stage)
    assert outcomes.pop("sea too") == B1
    assert sorted(map(str, outcomes.values())) == sorted(map(str, [None, BatchConflict]))
    assert stage.tables.batches[B2].sku in {PINE, SEA}


async def test_what_somebody_else_has_changed_is_read_anew_and_decided_again(
    stage: StockStage, autojump_clock: MockClock
) -> None:
    stage.store.stock.commit([Changes(versions={SEA: Version(1, 5)}, quantities={B1: 2})])
    for name, qty in (("o-1", 3), ("o-2", 2)):
        stage.ask(name, take(name, qty))
    await trio.sleep(1)
    assert stage.outcomes == {"o-1": None, "o-2": B1}
    assert stage.tables.versions == {SEA: 6}


async def test_what_is_refused_again_and_again_is_answered_with_an_error(
    autojump_clock: MockClock,
) -> None:
    class Meddled(MemoryStore):
        async def commit(self, writes: object) -> None:
            version = self.stock.tables.versions[SEA]
            self.stock.commit([Changes(versions={SEA: Version(version, version + 1)})])
            await super().commit(writes)  # type: ignore[arg-type]  # passed on

    store = Meddled()
    store.stock.commit([Changes(versions={SEA: Version(None, 0)})])
    async with open_stock(store) as stage:
        with trio.fail_after(5), pytest.raises(StoreUnavailable):
            await stage.handle(CreateBatch(B1, SEA, 1))

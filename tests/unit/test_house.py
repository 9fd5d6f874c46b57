"""The house's panic latch holds, whoever goes away and whatever fails meanwhile."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors.house import LATCH_WITHIN_S, Guests, House
from scentrt.domain.cues import GOGGLES_ZONE
from scentrt.domain.decisions import Refusal, Refused
from scentrt.domain.layout import TheatrePlan
from scentrt.errors import PanicAgain, StoreUnavailable
from tests.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    async with stage.play():
        yield stage


@pytest.fixture
async def house(stage: Stage) -> House:
    plan = TheatrePlan("Roxy", (stage.plan,))
    zones = {stage.plan.id: stage.ref, GOGGLES_ZONE: stage.ref}
    return House(plan, zones, Guests(), stage.ledger, stage.clock, stage.latch)


async def test_a_panic_stops_what_runs_refuses_cues_and_is_on_disk_when_it_is_answered(
    stage: Stage, house: House, autojump_clock: MockClock
) -> None:
    await stage.targets(stage.cue("running"))
    assert await house.panic() == 6
    assert house.panicked
    assert stage.dispensers.open == set()
    assert await stage.ref.ask(stage.cue("next")) == Refused(Refusal.PANIC)
    assert await stage.store.panicked()


async def test_a_release_is_on_disk_before_cues_are_taken_again(
    stage: Stage, house: House, autojump_clock: MockClock
) -> None:
    await house.panic()
    await house.release()
    assert not house.panicked
    assert not await stage.store.panicked()
    await trio.sleep(0.001)  # what was asked in the moment of the panic is stopped by it
    assert await stage.targets(stage.cue()) == 6


async def test_a_panic_holds_even_if_whoever_called_it_is_gone_at_once(
    stage: Stage, house: House, autojump_clock: MockClock
) -> None:
    await stage.targets(stage.cue("running"))
    stage.store.commit_s = 0.5
    with trio.CancelScope() as scope:
        scope.cancel()
        await house.panic()
    assert scope.cancelled_caught
    await trio.sleep(2)
    assert stage.dispensers.open == set()
    assert await stage.ref.ask(stage.cue("next")) == Refused(Refusal.PANIC)
    assert await stage.store.panicked()


async def test_a_panic_is_answered_while_the_database_hangs_and_written_when_it_is_back(
    stage: Stage, house: House, autojump_clock: MockClock
) -> None:
    await stage.zone.opened.wait()
    await wait_all_tasks_blocked()
    stage.store.commit_s = 30
    with trio.fail_after(LATCH_WITHIN_S + 0.1):
        await house.panic()
    await trio.sleep(61)
    assert await stage.store.panicked()


async def test_a_panic_during_a_crash_is_answered_and_the_zone_comes_back_under_it(
    stage: Stage, house: House, autojump_clock: MockClock
) -> None:
    await stage.crash()
    with trio.fail_after(1):
        await house.panic()
    assert await stage.ref.ask(stage.cue()) == Refused(Refusal.PANIC)


async def test_a_release_that_cannot_be_written_leaves_the_panic_as_it_was(
    stage: Stage, house: House, autojump_clock: MockClock
) -> None:
    await house.panic()
    stage.store.writable = False
    with pytest.raises(StoreUnavailable):
        await house.release()
    stage.store.writable = True
    await trio.sleep(5)
    assert await stage.ref.ask(stage.cue()) == Refused(Refusal.PANIC)
    assert await stage.store.panicked()


async def test_a_panic_during_a_release_remains(
    stage: Stage, house: House, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await house.panic()
    await trio.sleep(0.1)
    stage.store.commit_s = 0.2

    async def release() -> None:
        with pytest.raises(PanicAgain):
            await house.release()

    nursery.start_soon(release)
    await trio.sleep(0.1)
    await house.panic()
    await trio.sleep(1)
    assert house.panicked
    assert await stage.ref.ask(stage.cue()) == Refused(Refusal.PANIC)
    assert await stage.store.panicked()

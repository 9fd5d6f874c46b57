"""What a zone has sprayed still counts after a stop, a crash and a kill."""

import pytest
import trio
from trio.testing import MockClock

from scentrt.actors.messages import Stuck
from scentrt.errors import ActorCrashed
from tests.stage import PINE, Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_what_was_used_is_recorded_each_second(
    stage: Stage, autojump_clock: MockClock
) -> None:
    seat = stage.seats[0]
    async with stage.play():
        used = 0
        for number in range(4):
            await stage.targets(stage.cue(number, duration_ms=100, seats=(seat,)))
            used += 100_000
            await trio.sleep(1.001)
            stored = await stage.store.doses(stage.zone.id, 0)
            assert sum(stored.used[seat].values()) == used
            assert stored.through_ms is not None
            assert stage.clock.now_ms() - stored.through_ms < 1_000
            assert not stored.closed
        assert set(stored.used) == {seat}


async def test_after_a_stop_in_good_order_exactly_what_is_left_can_be_had(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play():
        await stage.targets(stage.cue(duration_ms=10_000))
        await trio.sleep(4.5)
    await trio.sleep(3)
    async with stage.play():
        assert await stage.targets(stage.cue("full", duration_ms=10_000)) == 6
        await trio.sleep(12)
        assert await stage.targets(stage.cue("too much", duration_ms=5_501)) == 0
        assert await stage.targets(stage.cue("just right", duration_ms=5_500)) == 6
        assert await stage.targets(stage.cue("no more", scent=PINE, duration_ms=1, mix=True)) == 0


@pytest.mark.parametrize("ends", ["in good order", "in a crash"])
async def test_what_a_stuck_slot_gave_counts_although_it_has_not_come_loose(
    stage: Stage, autojump_clock: MockClock, ends: str
) -> None:
    async with stage.play():
        stage.ref.tell(Stuck(stage.seats[0], stuck=True), urgent=True)
        await trio.sleep(16.5)
        if ends == "in a crash":
            await stage.crash()
            await trio.sleep(1)
            assert await stage.targets(stage.cue(duration_ms=2_000)) == 5
    if ends == "in good order":
        async with stage.play():
            assert await stage.targets(stage.cue(duration_ms=1_501)) == 5
            assert await stage.targets(stage.cue("less", duration_ms=1_500, mix=True)) == 1


async def has_left(stage: Stage, dose_ms: int) -> bool:
    """Say whether each seat may still get exactly so much, by letting it have that."""
    too_much = await stage.targets(stage.cue("too much", duration_ms=dose_ms + 1, mix=True))
    return too_much == 0 and await stage.targets(stage.cue("all", duration_ms=dose_ms)) == 6


async def test_after_a_kill_the_unwritten_time_counts_as_if_every_slot_had_been_open(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play_and_be_killed():
        await stage.targets(stage.cue("written", duration_ms=1_000))
        await trio.sleep(1.5)
        await stage.targets(stage.cue("not written", duration_ms=10_000))
        await trio.sleep(0.25)
    async with stage.play():
        # 20 s, less 1 s that is written, less two slots for the 1.75 s since the last write
        assert await has_left(stage, 20_000 - 1_000 - 2 * 1_750)


async def test_after_a_kill_a_spray_counts_that_may_have_gone_on_to_its_end(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play_and_be_killed():
        await stage.targets(stage.cue("written", duration_ms=1_000))
        await trio.sleep(1.5)
        await stage.targets(stage.cue("not written", duration_ms=10_000))
        await trio.sleep(0.25)
    await trio.sleep(30)
    async with stage.play():
        # 2 s in which it may have begun, and 10 s for which it may have lasted
        assert await has_left(stage, 20_000 - 1_000 - 12_000)


async def test_after_a_crash_the_unwritten_time_counts_until_the_slots_are_closed(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play():
        await stage.targets(stage.cue("written", duration_ms=1_000))
        await trio.sleep(1.5)
        await stage.targets(stage.cue("not written", duration_ms=10_000))
        await stage.crash()
        # two slots for 0.5 s, and for the 0.05 s until it is back
        assert await has_left(stage, 20_000 - 1_000 - 2 * 550)


async def test_without_a_database_to_read_a_zone_stays_closed_and_says_so(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.store.readable = False
    async with stage.play():
        for _ in range(3):
            with trio.fail_after(1), pytest.raises(ActorCrashed):
                await stage.ref.ask(stage.cue())
        assert not stage.zone.opened.is_set()
        stage.store.readable = True
        with trio.fail_after(1):
            await stage.zone.opened.wait()
        assert stage.zone.is_open
        assert await stage.targets(stage.cue()) == 6


async def test_while_the_database_cannot_be_written_cues_go_on(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play():
        await stage.zone.opened.wait()
        stage.store.writable = False
        for number in range(3):
            assert await stage.targets(stage.cue(number, duration_ms=500)) == 6
            await trio.sleep(1)
        stage.store.writable = True
    stored = await stage.store.doses(stage.zone.id, 0)
    assert {sum(used.values()) for used in stored.used.values()} == {1_500_000}
    assert stored.closed

"""What one device's link writes, and in which order; over air and in time that are made up."""

import asyncio
from itertools import pairwise

import pytest

from scentrt.adapters.dispensers import gatt, link
from scentrt.adapters.dispensers.gatt import Activity, Command, Op, Status
from scentrt.adapters.dispensers.orders import MOST_WAITING
from scentrt.domain.cues import CueKey, OwnerId
from scentrt.domain.decisions import Withdraw
from tests.integration.fake_air import FakeDispenser, in_virtual_time
from tests.integration.linked_seats import CUE, STOP_ALL, linked, row, spraying

FILMS = CueKey(OwnerId("s-film"), "c-1")

# Orders


@in_virtual_time
async def test_the_first_write_of_every_connection_is_stop_all() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.open(1, for_s=3600)
    async with linked(dispenser) as seat:
        assert dispenser.commands == [STOP_ALL]
        assert dispenser.acknowledged == [STOP_ALL]
        assert not dispenser.open_slots
        dispenser.drop()
        await seat.until(online=False)
        await seat.until(online=True)
        assert dispenser.commands == [STOP_ALL, STOP_ALL]


@in_virtual_time
async def test_sprays_are_written_in_order_and_numbered() -> None:
    async with linked() as seat:
        commands = [spraying(n % 2, (n + 1) / 10) for n in range(10)]
        told = [seat.spray(command) for command in commands]
        await asyncio.sleep(0.01)
        assert seat.dispenser.sprays == commands
        assert all(len(each.written_at) == 1 and not (each.failures or each.drops) for each in told)
        assert all(b == a + 1 for (_, a, _), (_, b, _) in pairwise(seat.dispenser.got))


@in_virtual_time
async def test_the_numbers_start_again_after_the_last() -> None:
    async with linked() as seat:
        for _ in range(0x10000 // MOST_WAITING + 1):
            for _ in range(MOST_WAITING):
                seat.spray(spraying(0, duration_ms=1))
            await asyncio.sleep(0.001)
        numbers = [seq for _, seq, _ in seat.dispenser.got]
        assert len(numbers) > 0x10000
        assert all(b == (a + 1) & 0xFFFF for a, b in pairwise(numbers))
        assert seat.state.online
        assert not seat.state.stuck


@in_virtual_time
async def test_a_stop_overtakes_what_waits_and_what_it_stops_is_never_written() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.05
        first = seat.spray(spraying(0, 0.1))
        await asyncio.sleep(0.01)
        stopped = seat.spray(spraying(0, 0.2))
        other = seat.spray(spraying(1, 0.3))
        seat.link.stop(Command.stop(0))
        after = seat.spray(spraying(0, 0.4))
        assert stopped.drops == 1
        await asyncio.sleep(1)
        assert seat.dispenser.commands == [
            STOP_ALL,
            spraying(0, 0.1),
            Command.stop(0),
            spraying(1, 0.3),
            spraying(0, 0.4),
        ]
        assert [len(each.written_at) for each in (first, stopped, other, after)] == [1, 0, 1, 1]


@in_virtual_time
async def test_stop_all_leaves_nothing_waiting() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.05
        seat.spray(spraying(0))
        await asyncio.sleep(0.01)
        waiting = [seat.spray(spraying(n)) for n in range(3)]
        seat.link.stop(Command.stop(1))
        seat.link.stop(STOP_ALL)
        await asyncio.sleep(1)
        assert seat.dispenser.commands == [STOP_ALL, spraying(0), STOP_ALL]
        assert [each.drops for each in waiting] == [1, 1, 1]


@in_virtual_time
async def test_of_what_is_withdrawn_nothing_is_sprayed_that_waits() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.4
        seat.spray(spraying(2), cue=FILMS)
        await asyncio.sleep(0.01)
        mine, films = seat.spray(spraying(0)), seat.spray(spraying(0, 0.5), cue=FILMS)
        seat.spray(spraying(1), is_level=True)
        seat.link.withdraw(Withdraw(CUE, None, None))
        assert (mine.drops, films.failures) == (1, 0)
        await asyncio.sleep(2)
        assert seat.dispenser.commands == [
            STOP_ALL,
            spraying(2),
            spraying(0, 0.5),
            spraying(1),
        ]


@in_virtual_time
async def test_what_is_being_written_when_it_is_withdrawn_is_closed_afterwards() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.4
        for what in (
            Withdraw(CUE, None, None),
            Withdraw(None, CUE.owner, None),
            Withdraw(None, None, None),
        ):
            seat.spray(spraying(0, duration_ms=5000))
            await asyncio.sleep(0.2)
            seat.link.withdraw(what)
            after = seat.spray(spraying(0, 0.5), cue=FILMS)
            before = len(seat.dispenser.commands)
            await asyncio.sleep(2)
            assert seat.dispenser.commands[before:] == [
                spraying(0, duration_ms=5000),
                Command.stop(0),
                spraying(0, 0.5),
            ]
            assert len(after.written_at) == 1


@in_virtual_time
async def test_what_goes_on_is_closed_when_it_is_withdrawn_and_what_is_over_is_left_alone() -> None:
    async with linked() as seat:
        seat.spray(spraying(0, duration_ms=1000))
        seat.spray(spraying(1, duration_ms=100))
        await asyncio.sleep(0.5)
        seat.link.withdraw(Withdraw(CUE, None, None))
        await asyncio.sleep(0.1)
        assert seat.dispenser.commands[3:] == [Command.stop(0)]
        assert not seat.dispenser.open_slots


@in_virtual_time
async def test_what_a_stop_closes_is_not_closed_twice_when_it_is_withdrawn() -> None:
    async with linked() as seat:
        seat.spray(spraying(0, duration_ms=1000))
        await asyncio.sleep(0.1)
        seat.link.stop(Command.stop(0))
        await asyncio.sleep(0.1)
        seat.link.withdraw(Withdraw(CUE, None, None))
        await asyncio.sleep(0.1)
        assert seat.dispenser.commands[2:] == [Command.stop(0)]


@in_virtual_time
async def test_of_levels_only_the_newest_of_each_slot_waits() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.05
        seat.spray(spraying(2, 0.05), is_level=True)
        await asyncio.sleep(0.01)
        for percent in range(1, 101):
            seat.spray(spraying(0, percent / 100), is_level=True)
            seat.spray(spraying(1, percent / 200), is_level=True)
        await asyncio.sleep(1)
        assert seat.dispenser.sprays == [spraying(2, 0.05), spraying(0, 1.0), spraying(1, 0.5)]


@in_virtual_time
async def test_a_cue_takes_the_slot_from_a_level_that_waits_and_cues_never_merge() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.05
        seat.spray(spraying(2))
        await asyncio.sleep(0.01)
        level = seat.spray(spraying(0, 0.1), is_level=True)
        seat.spray(spraying(0, 0.5))
        seat.spray(spraying(0, 0.5))
        await asyncio.sleep(1)
        assert level.drops == 1
        assert seat.dispenser.sprays == [spraying(2), spraying(0, 0.5), spraying(0, 0.5)]


@in_virtual_time
async def test_a_spray_that_has_waited_too_long_is_dropped_and_counted() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.2
        seat.spray(spraying(0, 0.1))
        await asyncio.sleep(0.01)
        late = seat.spray(spraying(0, 0.2), within_s=0.1)
        in_time = seat.spray(spraying(0, 0.3), within_s=0.5)
        state = await seat.until(expired=1)
        assert (late.failures + late.drops, late.expirations, len(in_time.written_at)) == (0, 1, 1)
        assert seat.dispenser.sprays == [spraying(0, 0.1), spraying(0, 0.3)]
        assert state.online


@in_virtual_time
async def test_a_cue_that_waited_keeps_its_duration_and_a_level_keeps_its_end() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.2
        seat.spray(spraying(2))
        await asyncio.sleep(0.01)
        seat.spray(spraying(0, duration_ms=1000), within_s=0.5)
        seat.spray(spraying(1, duration_ms=1000), is_level=True, within_s=1.0)
        await asyncio.sleep(1)
        _, cue, step = seat.dispenser.sprays
        assert cue.duration_ms == 1000
        assert step.duration_ms in {609, 610}  # it was told 0.4 s after all this began


@in_virtual_time
async def test_a_step_of_a_level_that_is_as_good_as_over_is_not_told() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.2
        seat.spray(spraying(2))
        step = seat.spray(spraying(1), is_level=True, within_s=0.2005)
        await seat.until(expired=1)
        assert step.expirations == 1
        assert seat.dispenser.sprays == [spraying(2)]


@in_virtual_time
async def test_more_sprays_than_may_wait_fail_at_once() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.01
        told = [seat.spray(spraying(0)) for _ in range(MOST_WAITING + 3)]
        assert sum(each.drops for each in told) == 3
        await asyncio.sleep(1)
        assert len(seat.dispenser.sprays) == MOST_WAITING


@in_virtual_time
async def test_a_spray_for_a_device_that_is_away_fails_at_once() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.present.clear()
    async with row([dispenser]) as (seat,):
        await asyncio.sleep(1)
        assert seat.spray(spraying(0)).drops == 1
        seat.link.stop(STOP_ALL)
        dispenser.present.set()
        await seat.until(online=True)
        assert dispenser.commands == [STOP_ALL]


@in_virtual_time
async def test_the_latency_is_measured_and_smoothed() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 0.015
        seat.spray(spraying(0))
        assert (await seat.until(latency_ms=15.0)).online
        seat.dispenser.write_takes_s = 0.023
        seat.spray(spraying(0))
        await seat.until(latency_ms=16.0)


# Closing


@in_virtual_time
async def test_a_slot_that_does_not_close_is_told_three_times_and_then_stuck() -> None:
    async with linked() as seat:
        seat.dispenser.stuck_slots.add(1)
        seat.spray(spraying(0, duration_ms=5000))
        seat.spray(spraying(1, duration_ms=5000))
        await asyncio.sleep(0.1)
        seat.link.stop(Command.stop(1))
        stopped_at = asyncio.get_running_loop().time()
        await seat.until(stuck=True)
        assert asyncio.get_running_loop().time() - stopped_at <= 1.0
        stops = [at for at, _, command in seat.dispenser.got if command == Command.stop(1)]
        assert len(stops) == 3
        assert seat.dispenser.open_slots == {0, 1}
        assert seat.spray(spraying(0)).drops == 1


@in_virtual_time
async def test_a_slot_that_comes_loose_is_stuck_no_longer() -> None:
    async with linked() as seat:
        seat.dispenser.stuck_slots.add(1)
        seat.spray(spraying(1))
        seat.link.stop(STOP_ALL)
        seat.spray(spraying(1))
        await seat.until(stuck=True)
        told = len(seat.dispenser.commands)
        await asyncio.sleep(10)
        assert len(seat.dispenser.commands) - told in {4, 5}
        seat.dispenser.loosen(1)
        assert not seat.state.stuck
        assert seat.spray(spraying(1)).drops == 0


@in_virtual_time
async def test_a_stop_that_was_lost_is_told_again() -> None:
    async with linked() as seat:
        seat.spray(spraying(0, duration_ms=5000))
        await asyncio.sleep(0.1)
        seat.dispenser.lost_writes = 1
        seat.link.stop(STOP_ALL)
        await asyncio.sleep(0.5)
        assert seat.dispenser.commands[2:] == [Command.stop(0)]
        assert not seat.dispenser.open_slots
        await asyncio.sleep(2)
        assert not any(state.stuck for state in seat.states)


@in_virtual_time
async def test_what_a_device_said_before_a_stop_is_no_answer_to_it() -> None:
    async with linked() as seat:
        seat.dispenser.stuck_slots.add(0)
        seat.spray(spraying(0, duration_ms=5000))
        await asyncio.sleep(0.1)
        _, seq, _ = seat.dispenser.got[-1]
        seat.link.stop(Command.stop(0))
        await asyncio.sleep(0.01)
        seat.dispenser.say(gatt.STATUS, Status(seq, Activity.IDLE, 0).encode())
        assert (await seat.until(stuck=True)).online


@in_virtual_time
async def test_a_slot_that_stays_open_beyond_its_spray_is_told_to_close() -> None:
    async with linked() as seat:
        seat.dispenser.stuck_slots.add(0)
        seat.spray(spraying(0, duration_ms=1000))
        await asyncio.sleep(1.4)
        assert seat.dispenser.commands == [STOP_ALL, spraying(0, duration_ms=1000)]
        await asyncio.sleep(0.2)
        assert seat.dispenser.commands[2:] == [Command.stop(0)]
        await seat.until(stuck=True)
        assert seat.dispenser.commands[2:] == [Command.stop(0)] * 3


@in_virtual_time
async def test_a_slow_write_of_a_spray_is_not_taken_for_a_slot_left_open() -> None:
    async with linked() as seat:
        for _ in range(30):
            seat.dispenser.write_takes_s = 1.5
            seat.spray(spraying(0, duration_ms=2000))
            await asyncio.sleep(2.5)
        assert {command.op for command in seat.dispenser.commands[1:]} == {Op.SPRAY}


# The end


@in_virtual_time
async def test_at_the_end_everything_is_stopped_and_the_device_let_go() -> None:
    async with linked() as seat:
        seat.spray(spraying(0, duration_ms=5000))
        await asyncio.sleep(0.1)
        seat.dispenser.write_takes_s = 0.2
        seat.spray(spraying(1, duration_ms=5000))
        await asyncio.sleep(0.1)
        waiting = seat.spray(spraying(1))
        await seat.end()
        assert seat.dispenser.commands[-1] == STOP_ALL
        assert seat.dispenser.acknowledged == [STOP_ALL, STOP_ALL]
        assert waiting.drops == 1
        assert not seat.dispenser.open_slots
        assert not seat.dispenser.connected


@in_virtual_time
async def test_a_device_that_hangs_does_not_hold_up_the_end() -> None:
    async with linked() as seat:
        seat.dispenser.answers.clear()
        seat.spray(spraying(0))
        await asyncio.sleep(0.1)
        assert await seat.end() <= link.STOP_WITHIN_S + link.DISCONNECT_WITHIN_S + 0.01


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.0101, 0.015, 0.0201, 1.0])
def test_a_link_can_be_ended_at_any_time(after_s: float, caplog: pytest.LogCaptureFixture) -> None:
    @in_virtual_time
    async def play() -> None:
        dispenser = FakeDispenser("C4:01")
        dispenser.discovery_takes_s = 0.01
        async with row([dispenser]):
            await asyncio.sleep(after_s)
        assert not dispenser.connected
        assert not caplog.messages

    play()

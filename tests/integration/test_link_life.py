"""How one device's link comes and goes, over air and in time that are made up."""

import asyncio
from itertools import pairwise

import pytest

from scentrt.adapters.dispensers import gatt, link
from scentrt.adapters.dispensers.gatt import Activity, SlotReading, Status
from scentrt.adapters.dispensers.link_state import LinkState
from tests.integration.fake_air import PROFILE, FakeDispenser, in_virtual_time
from tests.integration.linked_seats import linked, many, row, spraying

# Connecting


@in_virtual_time
async def test_links_of_one_adapter_connect_one_by_one_and_within_its_slots() -> None:
    dispensers = many(6)
    async with row(dispensers, slots=4) as seats:
        await asyncio.sleep(1)
        assert sum(seat.state.online for seat in seats) == 4
        tries = [at for dispenser in dispensers for at in dispenser.connects]
        assert all(b - a > 0.0099 for a, b in pairwise(sorted(tries)))
        gone = next(d for d in dispensers if d.connected)
        gone.present.clear()
        gone.drop()
        await asyncio.sleep(1)
        assert sum(seat.state.online for seat in seats) == 4


@in_virtual_time
async def test_the_next_connects_while_one_is_asked_what_it_offers() -> None:
    dispensers = many(6)
    for dispenser in dispensers:
        dispenser.discovery_takes_s = 1.0
    async with row(dispensers) as seats:
        await asyncio.sleep(1.1)
        assert all(seat.state.online for seat in seats)


@in_virtual_time
async def test_a_device_that_does_not_say_what_it_offers_is_given_up() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.discovery_takes_s = 3600
    async with row([dispenser]) as (seat,):
        await seat.until(problem="C4:01 does not say what it offers")
        assert not dispenser.connected
        dispenser.discovery_takes_s = 0
        await seat.until(online=True)


@in_virtual_time
async def test_a_device_that_is_away_keeps_nobody_from_connecting() -> None:
    dispensers = many(7)
    dispensers[0].present.clear()
    async with row(dispensers) as seats:
        await asyncio.sleep(1)
        assert [seat.state.online for seat in seats] == [False] + [True] * 6
        await asyncio.sleep(5)
        state = seats[0].state
        assert state.problem == "C4:00 is not there: is it on, and its address right?"
        dispensers[0].present.set()
        assert (await seats[0].until(online=True)).problem is None


@in_virtual_time
async def test_a_link_that_fails_tries_again_ever_more_slowly() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.refused_connects = 9
    async with row([dispenser]) as (seat,):
        await seat.until(online=True)
        waits = [b - a - dispenser.connect_takes_s for a, b in pairwise(dispenser.connects)]
        for number, wait in enumerate(waits):
            longest = min(5.0, 0.2 * 2**number)
            assert longest / 2 - 0.01 <= wait <= longest + 0.01


@in_virtual_time
async def test_a_link_that_has_lasted_comes_back_as_fast_as_the_first_time() -> None:
    async with linked() as seat:
        for _ in range(5):
            await asyncio.sleep(6)
            seat.dispenser.drop()
            await seat.until(online=False)
            came_back = asyncio.get_running_loop().time()
            await seat.until(online=True)
            assert asyncio.get_running_loop().time() - came_back < 0.3


@in_virtual_time
async def test_when_all_links_drop_at_once_all_are_back_within_five_seconds() -> None:
    dispensers = many(24)
    for dispenser in dispensers:
        dispenser.connect_takes_s = 0.1
    async with row(dispensers, slots=24) as seats:
        for seat in seats:
            await seat.until(online=True)
        for dispenser in dispensers:
            dispenser.drop()
        await asyncio.sleep(0.001)
        assert not any(seat.state.online for seat in seats)
        await asyncio.sleep(5)
        assert all(seat.state.online for seat in seats)


@in_virtual_time
async def test_a_device_of_another_profile_is_refused_with_what_it_lacks() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.characteristics = frozenset({gatt.COMMAND, gatt.STATUS})
    async with row([dispenser]) as (seat,):
        await asyncio.sleep(1)
        assert not seat.state.online
        assert seat.state.problem is not None
        assert gatt.SLOTS in seat.state.problem
        assert dispenser.commands == []
        assert not dispenser.connected
        dispenser.characteristics = frozenset(gatt.REQUIRED)
        state = await seat.until(online=True)
        assert (state.battery_percent, state.firmware) == (None, None)


@in_virtual_time
async def test_a_device_that_is_too_old_is_told_of_with_its_firmware() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.characteristics = PROFILE - {gatt.SLOTS}
    dispenser.firmware = b"0.3.1\r\xff\0"
    async with row([dispenser]) as (seat,):
        await asyncio.sleep(1)
        assert seat.state.problem == (
            "C4:01 is no dispenser that we know: it lacks slots "
            f"({gatt.SLOTS}); update its firmware, which is '0.3.1', or put the address of another "
            "device there"
        )


@in_virtual_time
async def test_a_device_need_not_say_what_firmware_it_runs() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.refuses = {gatt.FIRMWARE}
    async with linked(dispenser) as seat:
        assert seat.state.firmware is None


@in_virtual_time
async def test_a_device_that_does_not_answer_the_connection_is_given_up() -> None:
    dispensers = many(2)
    dispensers[0].answers.clear()
    async with row(dispensers) as seats:
        await asyncio.sleep(link.CONNECTED_WITHIN_S + 1)
        assert seats[0].state.problem == "C4:00 did not connect in time"
        assert seats[1].state.online
        dispensers[0].answers.set()
        await seats[0].until(online=True)


# Staying


@in_virtual_time
async def test_an_idle_device_is_asked_how_it_is() -> None:
    async with linked() as seat:
        await asyncio.sleep(20)
        gaps = [b - a for a, b in pairwise(seat.dispenser.status_reads)]
        assert len(gaps) >= 9
        assert gaps == pytest.approx([link.KEEP_ALIVE_S] * len(gaps), abs=0.01)


@in_virtual_time
async def test_a_device_that_speaks_is_not_asked() -> None:
    async with linked() as seat:
        reads = len(seat.dispenser.status_reads)
        for _ in range(20):
            seat.spray(spraying(0))
            await asyncio.sleep(1)
        assert len(seat.dispenser.status_reads) == reads


@in_virtual_time
async def test_how_fast_a_device_is_told_is_noted_while_it_speaks_all_the_time() -> None:
    async with linked() as seat:
        reads = len(seat.dispenser.status_reads)
        seat.dispenser.write_takes_s = 0.02
        expired = seat.spray(spraying(0), within_s=-1)
        for _ in range(20):
            seat.spray(spraying(0))
            await asyncio.sleep(0.25)
        assert expired.expirations == 1
        assert len(seat.dispenser.status_reads) == reads
        assert seat.state.expired == 1
        assert seat.state.latency_ms == pytest.approx(20, abs=0.5)
        assert sum(a.latency_ms != b.latency_ms for a, b in pairwise(seat.states)) <= 3


@in_virtual_time
async def test_a_device_that_has_died_silently_is_noticed() -> None:
    async with linked() as seat:
        seat.dispenser.answers.clear()
        await asyncio.sleep(link.KEEP_ALIVE_S + link.PATIENCE_S + 0.1)
        assert not seat.state.online
        await seat.until(problem="C4:01 does not answer")
        seat.dispenser.answers.set()
        await seat.until(online=True)


@in_virtual_time
async def test_a_write_that_hangs_ends_the_link_and_drops_what_waits() -> None:
    async with linked() as seat:
        await asyncio.sleep(1)
        seat.dispenser.write_takes_s = 3600
        told = [seat.spray(spraying(n)) for n in range(3)]
        await asyncio.sleep(link.PATIENCE_S + 0.1)
        assert seat.state.problem == "C4:01 does not take what is written to it"
        assert [(each.failures, each.drops) for each in told] == [(1, 0), (0, 1), (0, 1)]
        seat.dispenser.write_takes_s = 0
        await seat.until(online=True)
        assert seat.dispenser.sprays == []


@in_virtual_time
async def test_a_link_that_breaks_while_it_is_written_drops_what_waits() -> None:
    async with linked() as seat:
        seat.dispenser.write_takes_s = 1.0
        told = [seat.spray(spraying(n)) for n in range(3)]
        await asyncio.sleep(0.1)
        seat.dispenser.drop()
        await seat.until(online=False)
        assert [(each.failures, each.drops) for each in told] == [(1, 0), (0, 1), (0, 1)]


@in_virtual_time
async def test_a_link_that_is_cancelled_as_it_fails_ends_and_does_not_connect_again() -> None:
    async with linked() as seat:
        seat.dispenser.drop()
        async with asyncio.timeout(60):
            assert await seat.end() < 1
        assert len(seat.dispenser.connects) == 1
        assert not seat.state.online


@in_virtual_time
async def test_what_a_device_says_of_itself_is_passed_on() -> None:
    async with linked() as seat:
        assert seat.state.slots == (SlotReading(0, 600, 7), SlotReading(1, 600, 9))
        assert seat.state.battery_percent == 100
        seat.dispenser.say(gatt.BATTERY_LEVEL, bytes([12]))
        seat.dispenser.say(gatt.SLOTS, gatt.encode_slots([SlotReading(0, 1, 7)]))
        seat.dispenser.say(gatt.STATUS, Status(1, Activity.FAULT, 0).encode())
        assert seat.state == LinkState(
            online=True,
            fault=True,
            slots=(SlotReading(0, 1, 7),),
            readings=2,
            battery_percent=12,
            firmware="1.2.0",
        )


@in_virtual_time
async def test_a_device_is_asked_now_and_then_what_is_left_in_its_slots() -> None:
    async with linked() as seat:
        await asyncio.sleep(link.SLOTS_EVERY_S + 1)
        assert seat.state.readings == 2  # to say the same again is a reading, too
        seat.dispenser.slots = (SlotReading(0, 200, 7),)
        for _ in range(10 * int(link.SLOTS_EVERY_S)):  # while it never falls silent
            seat.spray(spraying(0, duration_ms=90))
            await asyncio.sleep(0.1)
        assert (seat.state.readings, seat.state.slots) == (3, (SlotReading(0, 200, 7),))


@in_virtual_time
async def test_a_battery_that_the_system_keeps_for_itself_is_no_reason_to_leave_a_device() -> None:
    dispenser = FakeDispenser("C4:01")
    dispenser.refuses.add(gatt.BATTERY_LEVEL)
    async with linked(dispenser) as seat:
        assert seat.state.battery_percent is None
        told = seat.spray(spraying(0))
        await asyncio.sleep(0.01)
        assert len(told.written_at) == 1


@in_virtual_time
async def test_nonsense_from_a_device_is_no_reason_to_leave_it() -> None:
    async with linked() as seat:
        before = seat.state
        for uuid in (gatt.STATUS, gatt.SLOTS, gatt.BATTERY_LEVEL):
            seat.dispenser.say(uuid, b"\xff\xff\xff")
        await asyncio.sleep(0.1)
        assert seat.state == before
        assert len(seat.dispenser.connects) == 1

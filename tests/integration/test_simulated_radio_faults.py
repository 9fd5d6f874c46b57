"""How simulated dispensers in this process fail, and what bleak is told; and many of them."""

import asyncio
from itertools import pairwise

import pytest
from bleak import BleakScanner
from bleak.exc import (
    BleakDeviceNotFoundError,
    BleakError,
)

from scentrt.adapters.aio_thread import AioThread
from simulators.ble.air import Air
from simulators.ble.peripheral import Faults
from tests.integration.in_the_air import client_of, listen, play, put, write
from tests.integration.linked_theatre import theatre
from tests.integration.orders import (
    BATTERY_LEVEL,
    COMMAND,
    FAULT,
    IDLE,
    SERIAL,
    SERVICE,
    SPRAYING,
    STATUS,
    spray,
    status,
    stop,
    stop_all,
    until,
)

# Faults


def test_an_absent_device_is_neither_heard_nor_connected_to_until_it_is_back() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        lost = asyncio.Event()
        client = client_of(
            air, device, timeout=0.2, disconnected_callback=lambda _client: lost.set()
        )
        await client.connect()
        device.set_faults(Faults(absent=True))
        await lost.wait()
        assert not await BleakScanner.discover(timeout=0.12, backend=air.scanner_backend)
        with pytest.raises(BleakDeviceNotFoundError):
            await client.connect()
        device.set_faults(Faults())
        await client.connect()
        assert client.is_connected

    play(scenario)


def test_a_link_drops_after_so_many_writes_and_only_once() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        lost = asyncio.Event()
        client = client_of(air, device, disconnected_callback=lambda _client: lost.set())
        device.set_faults(Faults(drop_after_writes=2))
        await client.connect()
        await write(client, spray(1, slot=0, duration_ms=10))
        await write(client, spray(2, slot=0, duration_ms=10))
        await lost.wait()
        assert not client.is_connected
        with pytest.raises(BleakError):
            await write(client, stop_all(3))
        await client.connect()
        for seq in range(4, 8):
            await client.write_gatt_char(COMMAND, stop_all(seq), response=True)
        assert len(device.dispenser.received) == 6

    play(scenario)


def test_a_link_drops_at_its_time() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        lost = asyncio.Event()
        async with client_of(air, device, disconnected_callback=lambda _client: lost.set()):
            device.set_faults(Faults(drop_after_s=0.05))
            assert not lost.is_set()
            await lost.wait()
            assert not device.is_linked

    play(scenario)


def test_who_waits_for_an_answer_when_the_link_breaks_gets_an_error_and_is_not_cancelled() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        device.set_faults(Faults(late_s=5, drop_after_s=0.3))
        async with client_of(air, device) as client:
            with pytest.raises(BleakError, match="disconnected"):
                await client.read_gatt_char(STATUS)

    play(scenario)


def test_the_answer_to_a_question_that_was_given_up_is_none_to_the_next() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        async with client_of(air, device) as client:
            device.set_faults(Faults(late_s=0.05))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await client.read_gatt_char(STATUS)
            assert await client.read_gatt_char(SERIAL) == b"SD-0001"

    play(scenario)


def test_a_late_device_obeys_in_time_and_answers_late() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        device.set_faults(Faults(late_s=0.2))
        loop = asyncio.get_running_loop()
        async with client_of(air, device) as client:
            said = await listen(client, STATUS)
            await client.write_gatt_char(COMMAND, spray(1, slot=0, duration_ms=10), response=True)
            assert loop.time() - device.dispenser.received[0].at >= 0.2
            assert status(await said.next()).seq == 1

    play(scenario)


def test_lost_writes_never_reach_the_valve_and_those_after_them_do() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        device.set_faults(Faults(lose_writes=2))
        async with client_of(air, device) as client:
            for seq in (1, 2, 3):
                await write(client, spray(seq, slot=0, duration_ms=10))
            await until(lambda: len(device.dispenser.received) == 1)
            assert status(await client.read_gatt_char(STATUS)).seq == 3

    play(scenario)


def test_a_stuck_valve_does_not_close_when_told_and_says_so() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        device.set_faults(Faults(stuck_slots=frozenset({1})))
        async with client_of(air, device) as client:
            said = await listen(client, STATUS)
            await write(client, spray(1, slot=1, duration_ms=5000))
            assert status(await said.next()) == (1, SPRAYING, 0b10)
            for seq in (2, 3, 4):
                await write(client, stop(seq, slot=1))
                assert status(await said.next()) == (seq, FAULT, 0b10)
            device.set_faults(Faults())
            assert status(await said.next()) == (4, IDLE, 0)

    play(scenario)


def test_a_low_battery_is_notified_and_can_be_read() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        async with client_of(air, device) as client:
            levels = await listen(client, BATTERY_LEVEL)
            device.set_faults(Faults(battery_percent=4))
            assert await levels.next() == bytes([4])
            assert await client.read_gatt_char(BATTERY_LEVEL) == bytes([4])

    play(scenario)


def test_writes_wait_for_the_links_next_turn_and_arrive_together() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        device.set_faults(Faults(interval_s=0.1))
        async with client_of(air, device) as client:
            await write(client, stop_all(0))
            await until(lambda: len(device.dispenser.received) == 1)  # a turn is just over
            for seq in (1, 2, 3):
                await write(client, stop_all(seq))
            await until(lambda: len(device.dispenser.received) == 4)
        first, *together = [command.at for command in device.dispenser.received]
        assert together[0] - first == pytest.approx(0.1, abs=0.05)
        assert all(later - earlier < 0.02 for earlier, later in pairwise(together))

    play(scenario)


def test_who_connects_when_the_radio_is_switched_off_is_told_so() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        device.set_faults(Faults(absent=True))
        connecting = asyncio.create_task(client_of(air, device).connect())
        await until(lambda: air.central.is_le_connecting)
        await air.aclose()
        with pytest.raises(BleakError, match="switched off"):
            await connecting

    play(scenario)


def test_only_the_services_asked_for_are_looked_into() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        async with client_of(air, device, services=[SERVICE]) as client:
            assert [service.uuid for service in client.services] == [SERVICE]
            await write(client, stop_all(1))

    play(scenario)


# Many


def test_24_devices_that_drop_at_once_are_all_noticed_and_all_come_back() -> None:
    async def scenario(air: Air) -> None:
        devices = [await put(air, f"SD-{number:04d}") for number in range(24)]
        lost: list[str] = []
        clients = [
            client_of(air, device, disconnected_callback=lambda client: lost.append(client.address))
            for device in devices
        ]
        await asyncio.gather(*(client.connect() for client in clients))
        for device in devices:
            device.drop()
        await until(lambda: len(lost) == 24)
        assert set(lost) == {device.address for device in devices}
        await asyncio.gather(*(client.connect() for client in clients))
        for client in clients:
            await write(client, stop_all(9))
        await until(lambda: all(device.dispenser.received for device in devices))

    play(scenario)


async def test_100_devices_are_all_linked() -> None:
    async with theatre(100) as here:
        assert all(state.online and not state.impostor for state in here.states)


async def test_the_radio_lives_in_the_asyncio_thread_from_one_call_to_the_next() -> None:
    async with AioThread() as aio:
        air = await aio.call(open_air)
        device = await aio.call(put, air)
        client = client_of(air, device)
        await aio.call(client.connect)
        await aio.call(write, client, stop_all(1))
        await aio.call(until, lambda: len(device.dispenser.received) == 1)
        await aio.call(air.aclose)
        assert not client.is_connected


async def open_air() -> Air:
    air = Air()
    await air.open()
    return air

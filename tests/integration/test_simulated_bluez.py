"""Simulated dispensers behind a simulated BlueZ: bleak's own Linux backend, over a real D-Bus."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import (
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)

from simulators.ble.peripheral import Faults
from tests.integration.bluez_radio import Radio, find, let_go, simulated_radio
from tests.integration.in_the_air import listen, write
from tests.integration.orders import (
    BATTERY_LEVEL,
    CHALLENGE,
    COMMAND,
    FAULT,
    IDLE,
    RESPONSE,
    SERIAL,
    SERVICE,
    SLOTS,
    SPRAYING,
    STATUS,
    slots,
    spray,
    status,
    stop,
    stop_all,
    until,
)

pytestmark = pytest.mark.needs("dbus-daemon", "dbus")

KEY = b"known to two"
ADAPTERS = ("hci0", "hci1", "hci2", "hci3")


@pytest.fixture(scope="module")
def radio() -> Iterator[Radio]:
    """Run one simulator for all tests, each of which takes devices of its own."""
    numbers = ("--devices", "64", "--adapters", "4")
    with simulated_radio(*numbers, "--key", KEY.hex()) as radio:
        yield radio


# Finding and connecting


def test_a_scan_finds_dispensers_by_their_service(radio: Radio) -> None:
    async def scenario() -> None:
        found = await BleakScanner.discover(timeout=0.3, return_adv=True, service_uuids=[SERVICE])
        assert {address: said.local_name for address, (_, said) in found.items()} == {
            device.address: device.serial for device in radio.bluez.devices
        }
        other = ["0000180d-0000-1000-8000-00805f9b34fb"]
        assert not await BleakScanner.discover(timeout=0.15, service_uuids=other)

    radio.play(scenario)


def test_an_address_is_enough_to_connect(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        # With several adapters, bleak takes any for its default.
        async with BleakClient(device.address, timeout=2, bluez={"adapter": "hci0"}) as client:
            assert await client.read_gatt_char(SERIAL) == device.serial.encode()
            assert radio.report(device).adapter == "/org/bluez/hci0"
            service = client.services.get_service(SERVICE)
            assert service is not None
            assert {c.uuid: set(c.properties) for c in service.characteristics} == {
                COMMAND: {"write", "write-without-response"},
                STATUS: {"read", "notify"},
                SLOTS: {"read", "notify"},
                CHALLENGE: {"write"},
                RESPONSE: {"read", "notify"},
            }
            command = service.get_characteristic(COMMAND)
            assert command is not None
            assert command.max_write_without_response_size == 244
        assert radio.report(device).adapter is None

    radio.play(scenario)


def test_a_connected_device_is_not_heard_by_any_adapter(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)):
            for adapter in ("hci0", "hci1"):
                heard = await BleakScanner.discover(timeout=0.15, bluez={"adapter": adapter})
                assert heard
                assert device.address not in {other.address for other in heard}

    radio.play(scenario)


def test_disconnecting_tells_the_callback_and_the_device_can_be_connected_to_again(
    radio: Radio,
) -> None:
    device = radio.take()

    async def scenario() -> None:
        told: list[BleakClient] = []
        client = BleakClient(await find(device), disconnected_callback=told.append)
        for times in (1, 2):
            await client.connect()
            await client.disconnect()
            assert told == [client] * times

    radio.play(scenario)


def test_an_adapter_has_seven_links_and_another_one_has_seven_more(radio: Radio) -> None:
    *devices, eighth = [radio.take() for _ in range(8)]

    async def scenario() -> None:
        clients = [BleakClient(await find(device)) for device in devices]
        await asyncio.gather(*(client.connect() for client in clients))
        with pytest.raises(BleakDBusError, match="le-connection-concurrent-connection-limit"):
            await BleakClient(await find(eighth)).connect()
        async with BleakClient(await find(eighth, "hci1")):
            assert radio.report(eighth).adapter == "/org/bluez/hci1"
        await clients[0].disconnect()
        async with BleakClient(await find(eighth)):
            assert radio.report(eighth).adapter == "/org/bluez/hci0"
        for client in clients:
            await client.disconnect()

    radio.play(scenario)


def test_giving_up_on_a_connection_leaves_the_adapter_free_for_the_next(radio: Radio) -> None:
    gone, there = radio.take(), radio.take()

    async def scenario() -> None:
        found = await find(gone)
        radio.bluez.set_faults(Faults(absent=True), gone.serial)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await BleakClient(found).connect()
        async with BleakClient(await find(there)) as client:
            assert client.is_connected

    radio.play(scenario)


def test_a_device_that_is_not_heard_any_more_is_forgotten() -> None:
    with simulated_radio("--devices", "1", "--forget-after", "0.2") as radio:
        device = radio.take()

        async def scenario() -> None:
            found = await find(device)
            radio.bluez.set_faults(Faults(absent=True))
            await asyncio.sleep(0.5)  # longer than it is remembered, and nothing tells when it ends
            with pytest.raises(BleakError, match="not found"):
                await BleakClient(found).connect()
            radio.bluez.set_faults(Faults())
            async with BleakClient(await find(device)) as client:
                assert client.is_connected

        radio.play(scenario)


def test_pairing_asks_nobody(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device), pair=True) as client:
            assert client.is_connected
            await client.pair()  # again is nothing

    radio.play(scenario)


# Spraying


@pytest.mark.parametrize("response", [False, True])
def test_a_slot_opens_when_told_and_closes_by_itself(radio: Radio, *, response: bool) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            said, left = await listen(client, STATUS), await listen(client, SLOTS)
            await client.write_gatt_char(
                COMMAND, spray(7, slot=2, duration_ms=200), response=response
            )
            assert status(await said.next()) == (7, SPRAYING, 0b100)
            assert status(await said.next()) == (7, IDLE, 0)
            assert slots(await left.next())[2] == (3_599.8, 3)
        [opening] = radio.report(device).openings
        assert (opening.slot, opening.intensity) == (2, 1.0)
        assert opening.closed_at - opening.opened_at == pytest.approx(0.2)

    radio.play(scenario)


def test_commands_arrive_in_the_order_in_which_they_were_written(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            commands = [spray(seq, slot=0, duration_ms=10) for seq in range(50)]
            for command in commands:
                await write(client, command)
            await client.write_gatt_char(COMMAND, stop_all(50), response=True)
            received = [command.value for command in radio.report(device).received]
            assert received == [*commands, stop_all(50)]

    radio.play(scenario)


def test_a_write_that_is_answered_does_not_overtake_one_that_is_not(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            for seq in range(0, 40, 2):
                spraying = write(client, spray(seq, slot=0, duration_ms=10))
                stopping = client.write_gatt_char(COMMAND, stop_all(seq + 1), response=True)
                await asyncio.gather(spraying, stopping)
            received = [command.value[1] for command in radio.report(device).received]
            assert received == list(range(40))

    radio.play(scenario)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"\x01", BleakGATTProtocolErrorCode.INVALID_ATTRIBUTE_VALUE_LENGTH),
        (spray(1, slot=9, duration_ms=10), BleakGATTProtocolErrorCode.VALUE_NOT_ALLOWED),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_where_an_answer_is_asked_for(
    radio: Radio, value: bytes, code: BleakGATTProtocolErrorCode
) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            await write(client, value)
            with pytest.raises(BleakGATTProtocolError) as refused:
                await client.write_gatt_char(COMMAND, value, response=True)
            assert refused.value.code == code

    radio.play(scenario)


def test_a_device_proves_that_it_knows_its_key(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            await client.write_gatt_char(CHALLENGE, bytes(range(32)), response=True)
            proof = hmac.digest(KEY, bytes(range(32)), hashlib.sha256)
            assert await client.read_gatt_char(RESPONSE) == proof

    radio.play(scenario)


# Faults


def test_an_absent_device_is_lost_and_not_found_until_it_is_back() -> None:
    async def scenario() -> None:
        lost = asyncio.Event()
        client = BleakClient(await find(device), disconnected_callback=lambda _client: lost.set())
        await client.connect()
        radio.bluez.set_faults(Faults(absent=True), device.serial)
        await lost.wait()
        await let_go(client)
        with pytest.raises(BleakDBusError, match="le-connection-timeout"):
            await client.connect()
        with pytest.raises(BleakDeviceNotFoundError):
            await BleakClient(device.address, timeout=0.2).connect()
        radio.bluez.set_faults(Faults(), device.serial)
        await client.connect()
        await client.disconnect()

    with simulated_radio("--devices", "1", "--connect-timeout", "0.3") as radio:
        device = radio.take()
        radio.play(scenario)


@pytest.mark.parametrize("faults", [Faults(drop_after_writes=2), Faults(drop_after_s=0.05)])
def test_a_link_drops_once_and_comes_back(radio: Radio, faults: Faults) -> None:
    device = radio.take()

    async def scenario() -> None:
        lost = asyncio.Event()
        client = BleakClient(await find(device), disconnected_callback=lambda _client: lost.set())
        await client.connect()
        radio.bluez.set_faults(faults, device.serial)
        with suppress(BleakError):  # it may be lost by then
            await write(client, stop_all(1))
            await write(client, stop_all(2))
        await lost.wait()
        with pytest.raises(BleakError):
            await write(client, stop_all(3))
        await let_go(client)
        await client.connect()
        again = [stop_all(seq) for seq in range(4, 8)]
        for command in again:
            await client.write_gatt_char(COMMAND, command, response=True)
        assert [command.value for command in radio.report(device).received][-4:] == again
        await client.disconnect()

    radio.play(scenario)


def test_who_waits_for_an_answer_when_the_link_breaks_gets_an_error(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            radio.bluez.set_faults(Faults(late_s=5, drop_after_s=0.1), device.serial)
            with pytest.raises(BleakError):
                await client.read_gatt_char(STATUS)

    radio.play(scenario)


def test_a_late_device_obeys_in_time_and_answers_late(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        radio.bluez.set_faults(Faults(late_s=0.2), device.serial)
        async with BleakClient(await find(device)) as client:
            await client.write_gatt_char(COMMAND, spray(1, slot=0, duration_ms=10), response=True)
            answered = loop.time()
            assert answered - radio.report(device).received[0].at >= 0.2

    radio.play(scenario)


def test_lost_writes_never_reach_the_valve_and_those_after_them_do(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        radio.bluez.set_faults(Faults(lose_writes=2), device.serial)
        async with BleakClient(await find(device)) as client:
            for seq in (1, 2, 3):
                await write(client, spray(seq, slot=0, duration_ms=10))
            assert status(await client.read_gatt_char(STATUS)).seq == 3
            assert len(radio.report(device).received) == 1

    radio.play(scenario)


def test_a_stuck_valve_does_not_close_when_told_and_says_so(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        radio.bluez.set_faults(Faults(stuck_slots=frozenset({1})), device.serial)
        async with BleakClient(await find(device)) as client:
            said = await listen(client, STATUS)
            await write(client, spray(1, slot=1, duration_ms=5000))
            assert status(await said.next()) == (1, SPRAYING, 0b10)
            await write(client, stop(2, slot=1))
            assert status(await said.next()) == (2, FAULT, 0b10)

    radio.play(scenario)


def test_a_low_battery_is_notified(radio: Radio) -> None:
    device = radio.take()

    async def scenario() -> None:
        async with BleakClient(await find(device)) as client:
            levels = await listen(client, BATTERY_LEVEL)
            radio.bluez.set_faults(Faults(battery_percent=4), device.serial)
            assert await levels.next() == bytes([4])

    radio.play(scenario)


def test_24_devices_on_four_adapters_drop_at_once_and_all_come_back(radio: Radio) -> None:
    devices = [radio.take() for _ in range(24)]

    async def scenario() -> None:
        lost: list[str] = []
        clients = [
            BleakClient(
                await find(device, ADAPTERS[number % 4]),
                disconnected_callback=lambda client: lost.append(client.address),
            )
            for number, device in enumerate(devices)
        ]
        await asyncio.gather(*(client.connect() for client in clients))
        radio.bluez.drop()
        await until(lambda: len(lost) == 24)
        assert set(lost) == {device.address for device in devices}
        await asyncio.gather(*(let_go(client) for client in clients))
        await asyncio.gather(*(client.connect() for client in clients))
        for client in clients:
            await client.write_gatt_char(COMMAND, stop_all(9), response=True)
        reports = [radio.report(device) for device in devices]
        assert all(len(device.received) == 1 for device in reports)
        assert {device.adapter for device in reports} == {f"/org/bluez/{a}" for a in ADAPTERS}
        await asyncio.gather(*(client.disconnect() for client in clients))

    radio.play(scenario)


# The control line


def test_a_request_for_a_device_that_is_not_there_is_answered_with_a_sentence(
    radio: Radio,
) -> None:
    with pytest.raises(LookupError, match="there is no device SD-0099"):
        radio.bluez.drop("SD-0099")
    device = radio.take()
    assert radio.report(device).serial == device.serial

"""Simulated dispensers in this process, through bleak's public API: over Bumble, in real time."""

import asyncio
import hashlib
import hmac

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import (
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)

from simulators.ble.air import Air
from simulators.ble.dispenser import Dispenser, Identity
from simulators.ble.peripheral import Faults
from simulators.ble.profile import Services
from tests.integration.in_the_air import client_of, listen, play, put, write
from tests.integration.orders import (
    BATTERY_LEVEL,
    CHALLENGE,
    COMMAND,
    FIRMWARE,
    IDLE,
    MANUFACTURER,
    MODEL,
    RESPONSE,
    SERIAL,
    SERVICE,
    SLOTS,
    SPRAYING,
    STATUS,
    slots,
    spray,
    status,
    stop_all,
    until,
)

# Finding and connecting


def test_a_scan_finds_dispensers_by_their_service_and_tells_their_serial_numbers() -> None:
    async def scenario(air: Air) -> None:
        first, second = await put(air, "SD-0001"), await put(air, "SD-0002")
        found = await BleakScanner.discover(
            timeout=0.15,
            return_adv=True,
            service_uuids=[SERVICE],
            backend=air.scanner_backend,
        )
        assert {address: said.local_name for address, (_, said) in found.items()} == {
            first.address: "SD-0001",
            second.address: "SD-0002",
        }
        assert all(said.service_uuids == [SERVICE] for _, said in found.values())

    play(scenario)


def test_a_scan_for_another_service_finds_nothing() -> None:
    async def scenario(air: Air) -> None:
        await put(air)
        other = ["0000180d-0000-1000-8000-00805f9b34fb"]
        assert not await BleakScanner.discover(
            timeout=0.15, service_uuids=other, backend=air.scanner_backend
        )

    play(scenario)


def test_a_device_that_a_scan_found_can_be_connected_to_and_says_what_it_is() -> None:
    async def scenario(air: Air) -> None:
        await put(air, "SD-0042")
        device = await BleakScanner.find_device_by_name("SD-0042", backend=air.scanner_backend)
        assert device is not None
        async with BleakClient(device, backend=air.client_backend) as client:
            said = {
                uuid: bytes(await client.read_gatt_char(uuid)).decode()
                for uuid in (MANUFACTURER, MODEL, SERIAL, FIRMWARE)
            }
            assert said == {
                MANUFACTURER: "The Scents Company",
                MODEL: "Dispenser D1",
                SERIAL: "SD-0042",
                FIRMWARE: "1.0.0",
            }
            assert await client.read_gatt_char(BATTERY_LEVEL) == bytes([100])

    play(scenario)


def test_a_connection_has_the_profiles_characteristics_and_room_for_whole_values() -> None:
    async def scenario(air: Air) -> None:
        async with client_of(air, await put(air)) as client:
            assert client.mtu_size == 247
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

    play(scenario)


def test_a_device_of_another_profile_shows_its_own_services() -> None:
    async def scenario(air: Air) -> None:
        lamp = "0000aaaa-0000-4000-8000-000000000001"
        services: Services = {lamp: {"0000aaaa-0000-4000-8000-000000000002": ("read",)}}
        device = await air.add(Dispenser(Identity("LAMP")), services=services)
        async with client_of(air, device) as client:
            assert client.services.get_service(SERVICE) is None
            assert client.services.get_service(lamp) is not None

    play(scenario)


def test_disconnecting_tells_the_callback_and_the_device_can_be_connected_to_again() -> None:
    async def scenario(air: Air) -> None:
        told: list[BleakClient] = []
        client = client_of(air, await put(air), disconnected_callback=told.append)
        for times in (1, 2):
            await client.connect()
            await client.disconnect()
            assert told == [client] * times
            assert not client.is_connected
        await client.disconnect()  # again is nothing
        assert len(told) == 2

    play(scenario)


def test_giving_up_on_a_connection_leaves_the_adapter_free_for_the_next() -> None:
    async def scenario(air: Air) -> None:
        gone, there = await put(air, "SD-0001"), await put(air, "SD-0002")
        gone.set_faults(Faults(absent=True))
        for wait_s in (0.0, 0.001, 0.02):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await client_of(air, gone).connect()
            async with client_of(air, there) as client:
                assert client.is_connected
        gone.set_faults(Faults())
        async with client_of(air, gone) as client:
            assert client.is_connected

    play(scenario)


def test_pairing_is_refused_in_so_many_words() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        with pytest.raises(BleakError, match="no pairing"):
            await client_of(air, device, pair=True).connect()
        async with client_of(air, device) as client:
            with pytest.raises(BleakError, match="no pairing"):
                await client.pair()

    play(scenario)


# Spraying


@pytest.mark.parametrize("response", [False, True])
def test_a_slot_opens_when_told_and_closes_by_itself(*, response: bool) -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        async with client_of(air, device) as client:
            said = await listen(client, STATUS)
            await client.write_gatt_char(
                COMMAND, spray(7, slot=2, duration_ms=80, intensity=51), response=response
            )
            assert status(await said.next()) == (7, SPRAYING, 0b100)
            assert status(await said.next()) == (7, IDLE, 0)
        [opening] = device.dispenser.openings(asyncio.get_running_loop().time())
        assert (opening.slot, opening.intensity) == (2, 0.2)
        assert opening.closed_at - opening.opened_at == pytest.approx(0.08)
        assert opening.dose_s == pytest.approx(0.016)

    play(scenario)


def test_what_is_left_in_a_vial_is_notified_when_its_valve_closes() -> None:
    async def scenario(air: Air) -> None:
        async with client_of(air, await put(air)) as client:
            full = slots(await client.read_gatt_char(SLOTS))
            assert full == {slot: (3_600.0, slot + 1) for slot in range(5)}
            left = await listen(client, SLOTS)
            await write(client, spray(1, slot=0, duration_ms=200))
            assert slots(await left.next()) == {**full, 0: (3_599.8, 1)}

    play(scenario)


def test_a_valve_closes_by_itself_also_when_its_link_is_gone() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        async with client_of(air, device) as client:
            await client.write_gatt_char(COMMAND, spray(1, slot=0, duration_ms=100), response=True)
            device.drop()
            await until(lambda: not client.is_connected)
            assert device.dispenser.open_slots == 1
        await until(lambda: not device.dispenser.open_slots)

    play(scenario)


def test_commands_arrive_in_the_order_in_which_they_were_written() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        async with client_of(air, device) as client:
            commands = [spray(seq, slot=0, duration_ms=10) for seq in range(50)]
            for command in commands:
                await write(client, command)
            await client.write_gatt_char(COMMAND, stop_all(50), response=True)
            received = [command.value for command in device.dispenser.received]
            assert received == [*commands, stop_all(50)]

    play(scenario)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"\x01", BleakGATTProtocolErrorCode.INVALID_ATTRIBUTE_VALUE_LENGTH),
        (spray(1, slot=9, duration_ms=10), BleakGATTProtocolErrorCode.VALUE_NOT_ALLOWED),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_where_an_answer_is_asked_for(
    value: bytes, code: BleakGATTProtocolErrorCode
) -> None:
    async def scenario(air: Air) -> None:
        async with client_of(air, await put(air)) as client:
            await write(client, value)
            with pytest.raises(BleakGATTProtocolError) as refused:
                await client.write_gatt_char(COMMAND, value, response=True)
            assert refused.value.code == code
            assert status(await client.read_gatt_char(STATUS)) == (0, IDLE, 0)

    play(scenario)


def test_a_device_proves_that_it_knows_its_key() -> None:
    async def scenario(air: Air) -> None:
        async with client_of(air, await put(air, key=b"known to two")) as client:
            said = await listen(client, RESPONSE)
            await client.write_gatt_char(CHALLENGE, bytes(range(32)), response=True)
            proof = hmac.digest(b"known to two", bytes(range(32)), hashlib.sha256)
            assert await said.next() == proof
            assert await client.read_gatt_char(RESPONSE) == proof

    play(scenario)

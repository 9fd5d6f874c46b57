"""The radio through bleak, over the air that this process simulates."""

import asyncio
from typing import Any

import pytest
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason

from scentrt.adapters.dispensers.claims import Claims
from scentrt.adapters.dispensers.radio import Backend, BleakRadio, Found, LinkFailed, Refused, scan
from simulators.ble import profile
from simulators.ble.air import Air
from simulators.ble.dispenser import Dispenser, Identity
from simulators.ble.peripheral import Faults
from simulators.ble.places import nth_serial
from tests.integration.in_the_air import play, put
from tests.integration.orders import CHALLENGE, SERIAL, SERVICE, STATUS, until


class MissingScanner(BaseBleakScanner):
    """What bleak's own scanners do where there is no Bluetooth."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(None, None)

    async def start(self) -> None:
        reason = BleakBluetoothNotAvailableReason.NO_BLUETOOTH
        raise BleakBluetoothNotAvailableError("No Bluetooth adapters found.", reason)

    async def stop(self) -> None:
        raise AssertionError("it was never started")


def backend(air: Air) -> Backend:
    return Backend(air.client_backend, air.scanner_backend)


def test_a_device_is_found_by_its_address_or_by_its_name() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air, "SD-0042")
        for name in (device.address.lower(), "sd-0042"):
            found = await BleakRadio(backend=backend(air)).find(name)
            await found.connect(lambda: None)
            await found.discover()
            assert await found.read(SERIAL) == b"SD-0042"
            await found.disconnect()

    play(scenario)


def test_a_name_that_looks_like_an_address_takes_nobodys_seat() -> None:
    async def scenario(air: Air) -> None:
        sought = "F0:F1:F2:F3:F4:F5"
        await put(air, sought)
        radio = BleakRadio(backend=backend(air))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await radio.find(sought)
        genuine = await air.add(Dispenser(Identity("SD-0001")), address=sought)
        await (await radio.find(sought)).disconnect()
        assert genuine.address == sought

    play(scenario)


def test_a_device_that_is_named_twice_is_used_for_one_seat_only() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air, "SD-0042")
        claims = Claims()
        first, second = (BleakRadio(backend=backend(air), claims=claims) for _ in range(2))
        found = await first.find(device.address)
        for _ in range(2):
            with pytest.raises(LinkFailed) as refused:
                await second.find("sd-0042")
            assert str(refused.value) == (
                f"sd-0042 is the same device as {device.address}: leave it at one seat, under one "
                "name"
            )
        await found.connect(lambda: None)
        await found.discover()
        await found.disconnect()
        await first.find(device.address)

    play(scenario)


def test_a_serial_that_two_devices_advertise_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(air: Air) -> None:
        first = await put(air, "SD-0042")
        radio = BleakRadio(backend=backend(air))
        found = await radio.find("SD-0042")
        await found.connect(lambda: None)
        await found.discover()
        second = await put(air, "SD-0042")
        other = await put(air, "SD-0001")
        problem = (
            f"SD-0042 answers at {first.address} and at {second.address}: name it by its address"
        )
        await radio.find(second.address)
        await radio.find(other.address)
        assert problem in caplog.text
        await found.disconnect()

    play(scenario)


def test_a_scan_finds_every_dispenser_once_and_nothing_else() -> None:
    async def scenario(air: Air) -> None:
        devices = [await put(air, nth_serial(number)) for number in range(1, 4)]
        connected = await BleakRadio(backend=backend(air)).find(devices[2].address)
        await connected.connect(lambda: None)
        await connected.discover()
        heart_rate = {"0000180d-0000-1000-8000-00805f9b34fb": profile.SERVICES[SERVICE]}
        await air.add(Dispenser(Identity("a pulse meter")), services=heart_rate)
        found = await scan(None, backend(air), seconds=0.15)
        assert {(each.address, each.serial) for each in found} == {
            (devices[0].address, "SD-0001"),
            (devices[1].address, "SD-0002"),
        }
        assert len(found) == 2
        await connected.disconnect()

    play(scenario)


class CrowdedScanner(MissingScanner):
    """Hears three dispensers at once, and one of them again, from further away."""

    async def start(self) -> None:
        for address, rssi in [("C4:01", -80), ("C4:02", -40), ("C4:03", -60), ("C4:02", -70)]:
            said = AdvertisementData(None, {}, {}, [SERVICE], None, rssi, ())
            self.create_or_update_device(address, address, None, None, said)

    async def stop(self) -> None:
        pass


def test_a_scan_lists_the_strongest_first_as_they_were_heard_last() -> None:
    async def scenario(air: Air) -> None:
        crowded = Backend(air.client_backend, CrowdedScanner)
        assert await scan(None, crowded, seconds=0) == [
            Found("C4:03", None, -60),
            Found("C4:02", None, -70),
            Found("C4:01", None, -80),
        ]

    play(scenario)


def test_a_scan_without_an_adapter_says_so() -> None:
    async def scenario(air: Air) -> None:
        with pytest.raises(LinkFailed, match="the Bluetooth adapter hci3 is not there"):
            await scan("hci3", Backend(air.client_backend, MissingScanner), seconds=5)

    play(scenario)


def test_an_adapter_is_free_again_when_a_connection_is_given_up() -> None:
    async def scenario(air: Air) -> None:
        gone, there = await put(air, "SD-0001"), await put(air, "SD-0002")
        radio = BleakRadio(backend=backend(air))
        absent, present = await radio.find("SD-0001"), await radio.find("SD-0002")
        gone.set_faults(Faults(absent=True))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await absent.connect(lambda: None)
        await present.connect(lambda: None)
        await present.discover()
        assert there.is_linked
        await absent.disconnect()
        await present.disconnect()

    play(scenario)


def test_a_device_can_be_let_go_before_it_has_said_what_it_offers() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        found = await BleakRadio(backend=backend(air)).find(device.address)
        with pytest.raises(LinkFailed, match="has not been connected"):
            await found.discover()
        await found.connect(lambda: None)
        assert device.is_linked
        assert not any(uuid in found.characteristics for uuid in (STATUS, CHALLENGE))
        await found.disconnect()
        await until(lambda: not device.is_linked)

    play(scenario)


async def never(*_: object) -> None:
    await asyncio.Event().wait()


def test_a_device_that_is_lost_before_it_has_said_what_it_offers_has_gone() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        waiting_for_ever = type("SilentClient", (air.client_backend,), {"_discover": never})
        radio = BleakRadio(backend=Backend(waiting_for_ever, air.scanner_backend))
        found = await radio.find(device.address)
        lost = asyncio.Event()
        await found.connect(lost.set)
        device.drop()
        with pytest.raises(LinkFailed, match="has gone"):
            await found.discover()
        assert lost.is_set()
        await found.disconnect()

    play(scenario)


def test_who_refuses_is_told_from_who_is_gone() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        found = await BleakRadio(backend=backend(air)).find(device.address)
        await found.connect(lambda: None)
        await found.discover()
        with pytest.raises(Refused, match="could not be written"):
            await found.write(CHALLENGE, b"too short", acknowledged=True)
        await found.disconnect()
        with pytest.raises(LinkFailed) as gone:
            await found.read(STATUS)
        assert not isinstance(gone.value, Refused)

    play(scenario)


def test_all_who_look_for_devices_are_told_what_the_adapter_lacks_and_may_ask_again() -> None:
    async def scenario(air: Air) -> None:
        radio = BleakRadio("hci3", Backend(air.client_backend, MissingScanner))
        for _ in range(2):
            finding = (radio.find(nth_serial(number)) for number in range(3))
            failures = await asyncio.gather(*finding, return_exceptions=True)
            assert {type(failure) for failure in failures} == {LinkFailed}
            assert {str(failure) for failure in failures} == {
                "the Bluetooth adapter hci3 is not there: plug it in, or name another; on Linux, "
                "`bluetoothctl list` shows them"
            }

    play(scenario)


def test_where_there_is_no_pairing_the_setting_is_named() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        found = await BleakRadio(backend=backend(air), pair=True).find(device.address)
        with pytest.raises(LinkFailed) as failed:
            await found.connect(lambda: None)
        assert str(failed.value) == (
            f"{device.address} could not be paired and connected (where there is no pairing, set "
            "`pair = false` under [bluetooth]): the simulated radio has no pairing"
        )
        assert not device.is_linked

    play(scenario)

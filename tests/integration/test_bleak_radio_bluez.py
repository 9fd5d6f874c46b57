"""The radio through bleak's BlueZ backend, over a simulated BlueZ on a real D-Bus."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.radio import BleakRadio, LinkFailed, scan
from simulators.ble.bluez.bus import private_bus
from simulators.ble.bluez.process import SimulatedBluez
from tests.integration.ble_zone import CountingThread, Zone, seats_of
from tests.integration.bluez_radio import Radio, find, simulated_radio
from tests.integration.linked_theatre import SPRAY, STOP_ALL, ops
from tests.integration.orders import SERIAL

pytestmark = pytest.mark.needs("dbus-daemon", "dbus")

KEY = b"what every device here knows"


@pytest.fixture(scope="module")
def bluez() -> Iterator[Radio]:
    with simulated_radio("--devices", "24", "--adapters", "4", "--key", KEY.hex()) as radio:
        yield radio


@pytest.mark.parametrize("pair", [False, True])
def test_a_device_is_paired_with_where_that_is_wanted(bluez: Radio, *, pair: bool) -> None:
    device = bluez.take()

    async def scenario() -> None:
        radio = BleakRadio("hci1", pair=pair)
        for _ in range(2):
            found = await radio.find(device.serial)
            await found.connect(lambda: None)
            await found.discover()
            assert bluez.report(device).adapter == "/org/bluez/hci1"
            assert await found.read(SERIAL) == device.serial.encode()
            await found.disconnect()
        assert (await find(device, "hci1")).details["props"]["Paired"] is pair

    bluez.play(scenario)


def test_a_device_that_is_connected_is_taken_over_only_where_that_is_wanted(bluez: Radio) -> None:
    device = bluez.take()

    async def scenario() -> None:
        connected = await BleakRadio("hci0").find(device.serial)
        await connected.connect(lambda: None)
        await connected.discover()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await BleakRadio("hci0").find(device.serial)
        await BleakRadio("hci0", takes_over=True).find(device.serial)
        await connected.disconnect()

    bluez.play(scenario)


def test_an_adapter_that_is_not_there_is_named_and_the_others_work(bluez: Radio) -> None:
    device = bluez.take()

    async def scenario() -> None:
        finding = BleakRadio("hci0").find(device.serial)
        missing, found = await asyncio.gather(
            BleakRadio("hci7").find(device.serial), finding, return_exceptions=True
        )
        assert isinstance(missing, LinkFailed)
        assert missing.who == "the Bluetooth adapter hci7"
        assert missing.problem.startswith("is not there: plug it in")
        assert not isinstance(found, BaseException)
        await found.connect(lambda: None)
        await found.discover()
        await found.disconnect()

    bluez.play(scenario)


@pytest.mark.parametrize("adapter", ["hci1", None])
def test_a_scan_finds_the_dispensers_that_advertise(bluez: Radio, adapter: str | None) -> None:
    device = bluez.take()

    async def scenario() -> None:
        connected = await BleakRadio("hci0").find(device.serial)
        await connected.connect(lambda: None)
        await connected.discover()
        found = await scan(adapter, None, seconds=0.3)
        assert {(each.address, each.serial) for each in found} == {
            (other.address, other.serial) for other in bluez.bluez.devices if other != device
        }
        assert len(found) == len(bluez.bluez.devices) - 1
        await connected.disconnect()

    bluez.play(scenario)


@pytest.mark.parametrize("adapter", ["hci0", None])
def test_a_bus_without_bluez_says_how_to_start_it(adapter: str | None) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkFailed, match="systemctl start bluetooth"):
            await BleakRadio(adapter).find("SD-0001")

    with private_bus() as bus, pytest.MonkeyPatch.context() as environment:
        environment.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
        asyncio.run(scenario())


def test_a_machine_without_a_bus_says_how_to_start_bluez(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkFailed, match="systemctl start bluetooth"):
            await BleakRadio("hci0").find("SD-0001")

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'no-bus'}")
        asyncio.run(scenario())


async def test_an_adapter_that_is_not_there_costs_its_own_seats_and_no_others(
    bluez: Radio,
) -> None:
    async with CountingThread() as aio:
        adapters = [Adapter(name, BleakRadio(name)) for name in ("hci0", "hci7")]
        house = Zone(aio, [bluez.take().address for _ in range(4)], adapters)
        states = house.ble.states
        async with house.running():
            await house.until(lambda: all(s.online or s.problem for s in states.values()))
            assert [state.online for state in states.values()] == [True, False] * 2
            problem = states[house.seats[1]].problem
            assert problem is not None
            assert problem.startswith("the Bluetooth adapter hci7 is not there: plug it in")
            house.spray()
            await house.done_by_all(4)
            assert sum(w.written for w in house.written) == 2


async def test_24_links_on_four_adapters_that_all_drop_are_whole_again_within_5_s(
    bluez: Radio,
) -> None:
    simulator = bluez.bluez
    async with CountingThread() as aio:
        adapters = [Adapter(name, BleakRadio(name)) for name in ("hci0", "hci1", "hci2", "hci3")]
        addresses = [device.address for device in simulator.devices]
        house = Zone(aio, addresses, adapters, dict.fromkeys(seats_of(24), KEY))
        async with house.running():
            await house.online()
            house.spray(duration_ms=5000)
            await until_asked(simulator, [SPRAY])
            simulator.drop()
            await house.until(lambda: not any(s.online for s in house.ble.states.values()))
            with trio.fail_after(30):
                await house.online()
            house.spray()
            await until_asked(simulator, [SPRAY, STOP_ALL, SPRAY])
    assert not any(report.adapter for report in simulator.report())


async def until_asked(simulator: SimulatedBluez, last: list[int]) -> None:
    """Wait until this is what all devices were asked for last."""
    with trio.fail_after(30):
        while any(  # noqa: ASYNC110  # no event comes from another process
            ops(device.received)[-len(last) :] != last for device in simulator.report()
        ):
            await trio.sleep(0.01)

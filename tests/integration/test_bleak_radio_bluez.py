"""The radio through bleak's BlueZ backend, over a simulated BlueZ on a real D-Bus."""

import os
from collections.abc import Iterator

import pytest

from scentrt.adapters.dispensers.radio import BleakRadio
from simulators.ble.bluez.process import is_possible
from tests.integration.bluez_radio import Radio, find, simulated_radio
from tests.integration.orders import SERIAL


@pytest.fixture(scope="module", autouse=True)
def _dbus_daemon() -> None:
    if not is_possible() and "CI" not in os.environ:
        pytest.skip("the simulated BlueZ needs dbus-daemon, which is missing here (package dbus)")


@pytest.fixture(scope="module")
def bluez() -> Iterator[Radio]:
    with simulated_radio("--devices", "24", "--adapters", "2") as radio:
        yield radio


@pytest.mark.parametrize("pair", [False, True])
def test_a_device_is_paired_with_where_that_is_wanted(bluez: Radio, *, pair: bool) -> None:
    device = bluez.take()

    async def scenario() -> None:
        radio = BleakRadio("hci1", pair=pair)
        for _ in range(2):
            found = await radio.find(device.serial)
            await found.connect(lambda: None)
            assert bluez.report(device).adapter == "/org/bluez/hci1"
            assert await found.read(SERIAL) == device.serial.encode()
            await found.disconnect()
        assert (await find(device, "hci1")).details["props"]["Paired"] is pair

    bluez.play(scenario)

"""A simulated BlueZ for a test, and a loop in which bleak uses it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice

from simulators.ble.bluez.control import Device, DeviceReport
from simulators.ble.bluez.process import SimulatedBluez, simulated_bluez
from simulators.ble.peripheral import Faults
from tests.integration.orders import SERVICE, until

Scenario: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class Radio:
    """A simulator, and a loop for bleak, which keeps one connection to the bus in each loop."""

    def __init__(self, bluez: SimulatedBluez, runner: asyncio.Runner) -> None:
        self.bluez = bluez
        self._runner = runner
        self._devices = iter(bluez.devices)

    def take(self) -> Device:
        """Return a device that nobody has used yet."""
        return next(self._devices)

    def report(self, device: Device) -> DeviceReport:
        """Return what a device got."""
        [found] = self.bluez.report(device.serial)
        return found

    def play(self, scenario: Scenario) -> None:
        """Play a scenario, and undo what it did to the devices."""

        async def in_time() -> None:
            async with asyncio.timeout(60):
                await scenario()

        try:
            self._runner.run(in_time())
        finally:
            self.bluez.set_faults(Faults())
            self.bluez.drop()


@contextmanager
def simulated_radio(*options: str) -> Iterator[Radio]:
    """Start a simulator with these options, and lead bleak to it."""
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as environment:
        with simulated_bluez(*options) as bluez:
            for name, value in bluez.environment.items():
                environment.setenv(name, value)
            yield Radio(bluez, runner)
        # bleak never closes its connection by itself: it ends with the bus, and is waited for.
        runner.run(until(lambda: len(asyncio.all_tasks()) == 1))


async def find(device: Device, adapter: str = "hci0") -> BLEDevice:
    """Scan for a device with an adapter."""
    found = await BleakScanner.find_device_by_name(
        device.serial, timeout=60, service_uuids=[SERVICE], bluez={"adapter": adapter}
    )
    assert found is not None
    return found


async def let_go(client: BleakClient) -> None:
    """Give up what bleak holds of a link that broke: its connection to the bus stays otherwise."""
    await client.disconnect()

"""An air of a test's own, with simulated dispensers, for bleak's public API."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from bleak import BleakClient

from simulators.ble.air import Air
from simulators.ble.dispenser import Dispenser, Identity
from simulators.ble.peripheral import Peripheral
from tests.integration.orders import COMMAND, Notified

Scenario: TypeAlias = Callable[[Air], Coroutine[Any, Any, None]]


def play(scenario: Scenario) -> None:
    """Play a scenario in an air of its own, in a loop of its own."""

    async def in_air() -> None:
        async with asyncio.timeout(60), Air() as air:
            await scenario(air)
        assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing is left running

    asyncio.run(in_air())


async def put(air: Air, serial: str = "SD-0001", key: bytes | None = None) -> Peripheral:
    """Put a device on the air."""
    return await air.add(Dispenser(Identity(serial), key=key))


def client_of(air: Air, device: Peripheral, **options: Any) -> BleakClient:
    """Return a client for a device, not connected yet."""
    return BleakClient(device.address, backend=air.client_backend, **options)


async def write(client: BleakClient, value: bytes) -> None:
    """Write a command without asking for an answer."""
    await client.write_gatt_char(COMMAND, value, response=False)


async def listen(client: BleakClient, characteristic: str) -> Notified:
    """Subscribe to a characteristic."""
    notified = Notified()
    await client.start_notify(characteristic, notified.take)
    return notified

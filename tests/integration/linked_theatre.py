"""A zone whose devices are in simulated air, and linked to it as in production."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.link_state import LinkState
from scentrt.adapters.dispensers.radio import Backend, BleakRadio
from scentrt.domain.cues import SeatId
from simulators.ble.air import Air
from simulators.ble.dispenser import Received
from simulators.ble.peripheral import Peripheral
from simulators.ble.places import nth_serial
from tests.integration.ble_zone import CountingThread, Zone, seats_of
from tests.integration.in_the_air import put

SPRAY, STOP_ALL = 1, 3
"""What a command asks for, as its first byte says."""

KEY = b"what every device here knows"


class Theatre:
    """A zone, and its devices at the other end of the air."""

    def __init__(self, house: Zone, devices: list[Peripheral]) -> None:
        self.house = house
        self.devices = devices

    @property
    def states(self) -> list[LinkState]:
        """What each device is known to be, in the order of the seats."""
        return list(self.house.ble.states.values())

    def history(self, seat: SeatId) -> list[LinkState]:
        """Return what one device is known to be, and to have been since `changes` were cleared."""
        then = [state for changed, state in self.house.changes if changed == seat]
        return [*then, self.house.ble.states[seat]]

    async def until_all(self, holds: Callable[[LinkState], bool]) -> None:
        """Wait until something is known of all devices."""
        await self.house.until(lambda: all(map(holds, self.states)))

    async def received(self) -> list[list[Received]]:
        """Return what each device has got."""
        got: list[list[Received]] = []
        await self.house.in_the_thread(
            lambda: got.extend(list(device.dispenser.received) for device in self.devices)
        )
        return got

    async def until_received(self, holds: Callable[[list[list[int]]], bool]) -> None:
        """Wait until something holds of what was asked of each device, by the kinds of commands."""
        with trio.fail_after(30):
            while not holds(list(map(ops, await self.received()))):  # noqa: ASYNC110  # no event
                await trio.sleep(0.01)

    async def drop_all(self) -> None:
        """Break all links at once."""

        def drop() -> None:
            for device in self.devices:
                device.drop()

        await self.house.in_the_thread(drop)


@asynccontextmanager
async def theatre(seats: int = 24) -> AsyncIterator[Theatre]:
    """Connect so many devices, for as long as the block lasts."""
    async with CountingThread() as aio:
        air = await aio.call(open_air)
        try:
            devices = [await aio.call(put, air, nth_serial(n + 1), KEY) for n in range(seats)]
            radio = BleakRadio(backend=Backend(air.client_backend, air.scanner_backend))
            addresses = [device.address for device in devices]
            keys = dict.fromkeys(seats_of(seats), KEY)
            house = Zone(aio, addresses, [Adapter("the air", radio, seats)], keys)
            async with house.running():
                await house.online()
                yield Theatre(house, devices)
        finally:
            with trio.CancelScope(shield=True):
                await aio.call(air.aclose)


async def open_air() -> Air:
    air = Air(advertised_every_ms=20)
    await air.open()
    return air


def ops(commands: list[Received]) -> list[int]:
    """Return what each command asks for."""
    return [command.value[0] for command in commands]

"""A theatre's devices on a simulated radio, for a test to look at and to break."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, TypeVar

import trio
from bleak.args import SizedBuffer
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from simulators.ble.air import Air
from simulators.ble.backend import BumbleClient
from simulators.ble.dispenser import Dispenser, Identity, Opening
from simulators.ble.house import SimulatedHouse
from simulators.ble.peripheral import Faults
from tests.e2e.speaking import PATIENCE_S, Message, Speaker, enter

T = TypeVar("T")

ONLINE_WITHIN_S = 20.0
"""24 devices are connected in one or two seconds, on a machine with nothing else to do."""

CLONE, CLONES_ADDRESS = "the clone", "C4:5C:E7:FF:FF:FF"


class Airwaves(SimulatedHouse):
    """The devices of a house, by the names that the theatre has for them.

    Whatever is asked of a device is done in the asyncio thread, as long as there is one, and blocks
    the caller until it has been: in there, nothing waits for trio.
    """

    def __init__(self) -> None:
        super().__init__()
        self._air = Air(advertised_every_ms=20)  # no test is about how long connecting takes
        self._write_takes_s: dict[str, float] = {}
        self._held: set[str] = set()

    async def open(
        self, devices: Sequence[str], keys: Mapping[str, bytes]
    ) -> tuple[type[BaseBleakClient], type[BaseBleakScanner]]:
        """Switch the devices on."""
        self._loop = asyncio.get_running_loop()
        client, scanner = await super().open(devices, keys)
        slow = {"takes_s": self._write_takes_s, "held": self._held}
        return type("Client", (_SlowClient, client), slow), scanner

    def set_faults(self, faults: Faults, *names: str) -> None:
        """Have these devices misbehave from now on; all, where none is named."""

        def break_them() -> None:
            for name in names or self.peripherals:
                self.peripherals[name].set_faults(faults)

        self._do(break_them)

    def slow_down(self, name: str, write_takes_s: float) -> None:
        """Have the server's Bluetooth stack take so long over each write to a device."""
        self._write_takes_s[self.peripherals[name].address] = write_takes_s

    def holds_a_write_to(self, name: str) -> bool:
        """Return whether the stack has a write to a device that it has not sent yet."""
        return self.peripherals[name].address in self._held

    def add_clone(self, serial: str) -> None:
        """Put another device of this serial number on the air, which has no key."""
        adding = self._air.add(Dispenser(Identity(serial)), CLONES_ADDRESS)
        added = asyncio.run_coroutine_threadsafe(adding, self._loop)
        self.peripherals[CLONE] = added.result(PATIENCE_S)

    def received(self) -> dict[str, list[bytes]]:
        """Return the commands that each device has got."""
        return self._do(
            lambda: {
                name: [command.value for command in device.dispenser.received]
                for name, device in self.peripherals.items()
            }
        )

    def openings(self) -> dict[str, list[Opening]]:
        """Return when the valves of each device were open; what is open still, until now."""
        return self._do(
            lambda: {
                name: device.dispenser.openings(self._loop.time())
                for name, device in self.peripherals.items()
            }
        )

    def open_slots(self) -> dict[str, int]:
        """Return the devices of which a valve is open, and which, as bits."""
        return self._do(
            lambda: {
                name: device.dispenser.open_slots
                for name, device in self.peripherals.items()
                if device.dispenser.open_slots
            }
        )

    def _do(self, fn: Callable[[], T]) -> T:
        async def do() -> T:
            return fn()

        if self._loop.is_closed():
            return fn()
        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(PATIENCE_S)


class _SlowClient(BumbleClient):
    """A stack that says of a write when it has been sent, as that of Windows does."""

    takes_s: ClassVar[Mapping[str, float]]
    """By address."""

    held: ClassVar[set[str]]
    """The addresses to which a write waits."""

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: SizedBuffer,
        response: bool,
    ) -> None:
        self.held.add(self.address)
        began = asyncio.get_running_loop().time()
        while (takes_s := self.takes_s.get(self.address, 0)) > 0:
            over_s = asyncio.get_running_loop().time() - began
            if over_s >= takes_s:
                break
            await asyncio.sleep(min(takes_s - over_s, 0.01))  # it may be made quicker meanwhile
        self.held.discard(self.address)
        await super().write_gatt_char(characteristic, data, response)


@asynccontextmanager
async def watch(url: str) -> AsyncIterator[Speaker]:
    """Enter as an operator who hears what becomes of the seats, once all of them are online."""
    async with enter(url, "operator") as desk:
        await desk.ask("subscribe", events=["zone"])
        await until_online(desk)
        yield desk


async def seats_of(client: Speaker) -> dict[str, Message]:
    """Return the state of zone A's seats."""
    first = await client.ask("state", zone="A")
    seats = first["seats"]
    for page in range(2, first["pages"] + 1):
        seats += (await client.ask("state", zone="A", page=page))["seats"]
    return {seat["seat"]: seat for seat in seats}


async def until_told(client: Speaker, seat: str, **device: object) -> None:
    """Wait until the state says these things of a seat's device, of which no event tells."""
    with trio.fail_after(PATIENCE_S):
        while device.items() - (await seats_of(client))[seat]["device"].items():  # noqa: ASYNC110
            await trio.sleep(0.02)


async def until_online(client: Speaker, *seats: str) -> None:
    """Wait until these seats are online, or all; who asks has subscribed to `zone`."""
    with trio.fail_after(ONLINE_WITHIN_S):
        while True:
            states = await seats_of(client)
            if all(states[seat]["online"] for seat in seats or states):
                break
            await client.hear("zone")
    await client.hear_all("zone")

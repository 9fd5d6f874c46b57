"""How quick the simulated radios are: `python -m simulators.ble --help`.

Over either radio, through bleak: how long it takes until all devices are connected; how long a
write without response keeps its caller; and how long it takes until the device has it, which is
where the connection interval counts. Over Bumble also without bleak, for comparison.
"""

import argparse
import asyncio
import os
import struct
from collections.abc import Awaitable, Callable
from time import monotonic

from bleak import BleakClient, BleakScanner
from bumble.core import UUID
from bumble.device import Peer
from bumble.hci import Address

from simulators.ble import profile
from simulators.ble.air import Air
from simulators.ble.bluez.process import SimulatedBluez, simulated_bluez
from simulators.ble.dispenser import Dispenser, Identity
from simulators.ble.peripheral import Faults, Peripheral
from simulators.ble.places import nth_serial

INTERVALS_S = (0.0, 0.015)
PAUSE_S = 0.003
SPRAY = struct.Struct("<BHBBH")


async def measure_air(devices: int, writes: int) -> None:
    """Measure the radio in this loop."""
    async with Air() as air:
        peripherals = [
            await air.add(Dispenser(Identity(nth_serial(number + 1)))) for number in range(devices)
        ]
        raw = await air.add(Dispenser(Identity(nth_serial(devices + 1))))
        clients = [BleakClient(p.address, backend=air.client_backend) for p in peripherals]
        await connect_all(clients)
        command = clients[0].services.get_characteristic(profile.COMMAND)
        if command is None:
            raise AssertionError("a dispenser has a command characteristic")
        peer = Peer(await air.central.connect_le(Address(raw.address)))
        await peer.discover_all()  # type: ignore[no-untyped-call]  # Bumble leaves it untyped
        [proxy] = peer.get_characteristics_by_uuid(UUID(profile.COMMAND))

        def arrived(peripheral: Peripheral) -> list[float]:
            return [received.at for received in peripheral.dispenser.received]

        for interval_s in INTERVALS_S:
            for peripheral in (peripherals[0], raw):
                peripheral.set_faults(Faults(interval_s=interval_s))
                peripheral.dispenser.received.clear()
            sent = await write(
                lambda value: clients[0].write_gatt_char(command, value, response=False), writes
            )
            tell("bleak over Bumble", interval_s, sent, arrived(peripherals[0]))
            sent = await write(lambda value: peer.write_value(proxy, value), writes)
            tell("Bumble alone", interval_s, sent, arrived(raw))


async def measure_bluez(bluez: SimulatedBluez, writes: int) -> None:
    """Measure the radio of the other process, whose clock is the same."""
    found = await BleakScanner.discover(timeout=0.5, service_uuids=[profile.DISPENSER])
    clients = [BleakClient(device) for device in found]
    await connect_all(clients)
    client, serial = clients[0], found[0].name or ""
    for interval_s in INTERVALS_S:
        bluez.set_faults(Faults(interval_s=interval_s))
        before = len(bluez.report(serial)[0].received)
        sent = await write(
            lambda value: client.write_gatt_char(profile.COMMAND, value, response=False), writes
        )
        arrived = [received.at for received in bluez.report(serial)[0].received[before:]]
        tell("bleak over BlueZ", interval_s, sent, arrived)
    await asyncio.gather(*(client.disconnect() for client in clients))


async def connect_all(clients: list[BleakClient]) -> None:
    """Connect to all devices at once, and say how long it took."""
    began = monotonic()
    await asyncio.gather(*(client.connect() for client in clients))
    print(f"{len(clients)} devices connected in {monotonic() - began:.2f} s")


async def write(send: Callable[[bytes], Awaitable[None]], writes: int) -> list[tuple[float, float]]:
    """Return when each write began and ended, having waited until the last has arrived."""
    times = []
    for seq in range(writes):
        value = SPRAY.pack(profile.Op.SPRAY, seq, 0, 255, 1)
        began = monotonic()
        await send(value)
        times.append((began, monotonic()))
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(0.2)
    return times


def tell(way: str, interval_s: float, sent: list[tuple[float, float]], at: list[float]) -> None:
    """Print what came of it, in microseconds."""
    calls = [ended - began for began, ended in sent]
    journeys = [there - began for (began, _), there in zip(sent, at, strict=True)]
    print(
        f"{way:18} interval {interval_s * 1000:2.0f} ms   call {_figures(calls)}   "
        f"until it is there {_figures(journeys)}"
    )


def _figures(times_s: list[float]) -> str:
    ordered = sorted(times_s)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e6 for share in (0.5, 0.99))
    return f"p50 {p50:6.0f} us, p99 {p99:6.0f} us"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m simulators.ble", description=__doc__)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--writes", type=int, default=1000)
    arguments = parser.parse_args()
    asyncio.run(measure_air(arguments.devices, arguments.writes))
    options = ("--devices", str(arguments.devices), "--links", str(arguments.devices))
    with simulated_bluez(*options) as bluez:
        os.environ.update(bluez.environment)
        asyncio.run(measure_bluez(bluez, arguments.writes))


if __name__ == "__main__":
    main()

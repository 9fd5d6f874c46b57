"""What a write over GATT is measured against: bleak with nothing around it.

Run as a program, with the name of a radio and how many devices there are to be, it connects to as
many simulated dispensers and says so in a line. For each number on its standard input it then
writes, without response, to so many of them at once, in turn, and prints when each write began and
ended, in seconds of `perf_counter`.
"""

import asyncio
import json
import logging
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, cycle, islice
from time import perf_counter

from bleak import BleakClient, BleakScanner

from simulators.ble import profile
from simulators.ble.air import Air
from simulators.ble.dispenser import Dispenser, Identity
from simulators.ble.places import nth_serial

SPRAY = struct.Struct("<BHBBH")
LEVEL, DURATION_MS = 3, 1
"""As little as the server is asked for, in the device's units."""


async def serve(radio: str, devices: int) -> None:
    """Be connected, and write when asked to, until nobody asks any more."""
    numbers = count()

    async def write(client: BleakClient) -> tuple[float, float]:
        value = SPRAY.pack(profile.Op.SPRAY, next(numbers) & 0xFFFF, 0, LEVEL, DURATION_MS)
        command = commands[client.address]
        began = perf_counter()
        await client.write_gatt_char(command, value, response=False)
        return began, perf_counter()

    async with RADIOS[radio](devices) as clients:
        await asyncio.gather(*(client.connect() for client in clients))
        for client in clients:
            # The server listens, too, and hears of every spray that it has begun and ended.
            for uuid in (profile.STATUS, profile.SLOTS, profile.BATTERY_LEVEL):
                await client.start_notify(uuid, lambda *_: None)
        # Looked up once, as the server does: bleak would search all of them for each write.
        commands = {
            client.address: characteristic
            for client in clients
            for characteristic in client.services.characteristics.values()
            if characteristic.uuid == profile.COMMAND
        }
        print("connected", flush=True)
        turns = cycle(clients)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer
        )
        while line := await lines.readline():
            written = await asyncio.gather(*map(write, islice(turns, int(line))))
            print(json.dumps(written), flush=True)


@asynccontextmanager
async def over_bumble(devices: int) -> AsyncIterator[list[BleakClient]]:
    """Have devices on a radio in this loop."""
    async with Air() as air:
        there = [await air.add(Dispenser(Identity(nth_serial(n + 1)))) for n in range(devices)]
        yield [BleakClient(device.address, backend=air.client_backend) for device in there]


@asynccontextmanager
async def over_bluez(devices: int) -> AsyncIterator[list[BleakClient]]:
    """Find devices on the BlueZ that this environment leads to."""
    # It warns that there is no bluetoothctl, which nothing here needs.
    logging.getLogger("bleak").setLevel(logging.ERROR)
    found = await BleakScanner.discover(timeout=0.5, service_uuids=[profile.DISPENSER])
    yield [BleakClient(device) for device in found[:devices]]


RADIOS = {"bumble": over_bumble, "bluez": over_bluez}


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))

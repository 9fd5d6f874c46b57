"""What a test writes to a dispenser and waits for, laid out by hand from the protocol page."""

import asyncio
import struct
from collections.abc import Callable
from typing import NamedTuple

SERVICE = "5ce70000-0000-4000-8000-000000000001"
COMMAND = "5ce70000-0000-4000-8000-000000000002"
STATUS = "5ce70000-0000-4000-8000-000000000003"
SLOTS = "5ce70000-0000-4000-8000-000000000004"
CHALLENGE = "5ce70000-0000-4000-8000-000000000005"
RESPONSE = "5ce70000-0000-4000-8000-000000000006"
MODEL = "00002a24-0000-1000-8000-00805f9b34fb"
SERIAL = "00002a25-0000-1000-8000-00805f9b34fb"
FIRMWARE = "00002a26-0000-1000-8000-00805f9b34fb"
MANUFACTURER = "00002a29-0000-1000-8000-00805f9b34fb"
BATTERY_LEVEL = "00002a19-0000-1000-8000-00805f9b34fb"

IDLE, SPRAYING, FAULT = 0, 1, 2


class Status(NamedTuple):
    """A value of the status characteristic."""

    seq: int
    state: int
    open_slots: int


def spray(seq: int, slot: int, duration_ms: int, intensity: int = 255) -> bytes:
    """Return a command that opens a slot."""
    return struct.pack("<BHBBH", 1, seq, slot, intensity, duration_ms)


def stop(seq: int, slot: int) -> bytes:
    """Return a command that closes a slot."""
    return struct.pack("<BHBBH", 2, seq, slot, 0, 0)


def stop_all(seq: int) -> bytes:
    """Return a command that closes everything."""
    return struct.pack("<BHBBH", 3, seq, 0, 0, 0)


def status(value: bytes | bytearray) -> Status:
    """Return what a device says of itself."""
    return Status(*struct.unpack("<HBB", value))


def slots(value: bytes | bytearray) -> dict[int, tuple[float, int]]:
    """Return what is left in each slot, in dose-seconds, and the code of its vial."""
    return {slot: (ds / 10, code) for slot, ds, code in struct.iter_unpack("<BHH", value)}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens on another task; fails after a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # nobody there sets an event
            await asyncio.sleep(0.001)


class Notified(asyncio.Queue[bytes]):
    """The values that a device notified of; hand `take` to bleak."""

    def take(self, _characteristic: object, value: bytearray) -> None:
        """Put a value in line."""
        self.put_nowait(bytes(value))

    async def next(self) -> bytes:
        """Wait for the next value, at most five seconds."""
        async with asyncio.timeout(5):
            return await self.get()

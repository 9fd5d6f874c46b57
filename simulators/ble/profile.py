"""The dispenser's GATT profile, as its firmware knows it: identifiers, layouts and refusals.

Written from the protocol page and not from the server's codec, so that the two have to agree over
the air. Numbers are little-endian.

Two characteristics are more than the page asks for. They let a device prove who it is, since an
address can be copied: whoever writes 16 to 64 bytes of its own choice to `CHALLENGE` reads their
HMAC-SHA256 under the device's key, 32 bytes, from `RESPONSE`, or is notified of it. A device
without a key, and one that was not challenged on this connection, answers with nothing.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

Property: TypeAlias = Literal["read", "write", "write-without-response", "notify"]


def _dispenser_uuid(number: int) -> str:
    return f"5ce70000-0000-4000-8000-{number:012x}"


def _sig_uuid(number: int) -> str:
    """Return an identifier that the Bluetooth SIG assigned, in full."""
    return f"0000{number:04x}-0000-1000-8000-00805f9b34fb"


DISPENSER = _dispenser_uuid(1)
COMMAND = _dispenser_uuid(2)
STATUS = _dispenser_uuid(3)
SLOTS = _dispenser_uuid(4)
CHALLENGE = _dispenser_uuid(5)
RESPONSE = _dispenser_uuid(6)

DEVICE_INFORMATION = _sig_uuid(0x180A)
MODEL = _sig_uuid(0x2A24)
SERIAL = _sig_uuid(0x2A25)
FIRMWARE = _sig_uuid(0x2A26)
MANUFACTURER = _sig_uuid(0x2A29)

BATTERY = _sig_uuid(0x180F)
BATTERY_LEVEL = _sig_uuid(0x2A19)

Services: TypeAlias = Mapping[str, Mapping[str, tuple[Property, ...]]]
SERVICES: Services = {
    DEVICE_INFORMATION: dict.fromkeys((MANUFACTURER, MODEL, SERIAL, FIRMWARE), ("read",)),
    BATTERY: {BATTERY_LEVEL: ("read", "notify")},
    DISPENSER: {
        COMMAND: ("write-without-response", "write"),
        STATUS: ("read", "notify"),
        SLOTS: ("read", "notify"),
        CHALLENGE: ("write",),
        RESPONSE: ("read", "notify"),
    },
}
"""What a dispenser offers: services, their characteristics, and what may be done with each."""

MTU = 247
"""What dispensers and both radios agree on: the most that fits one packet of Bluetooth 4.2."""


class AttError(IntEnum):
    """Why a device refuses, in the numbers of the attribute protocol."""

    READ_NOT_PERMITTED = 0x02
    WRITE_NOT_PERMITTED = 0x03
    INVALID_LENGTH = 0x0D
    VALUE_NOT_ALLOWED = 0x13


class Refused(Exception):
    """The device does not take a request, and `error` is what it answers."""

    def __init__(self, error: AttError) -> None:
        super().__init__(error.name.lower().replace("_", " "))
        self.error = error


class Op(IntEnum):
    """What a command asks for."""

    SPRAY = 1
    STOP_SLOT = 2
    STOP_ALL = 3


class State(IntEnum):
    """How a device is: in `FAULT`, a valve is open that should not be."""

    IDLE = 0
    SPRAYING = 1
    FAULT = 2


_COMMAND = struct.Struct("<BHBBH")
_STATUS = struct.Struct("<HBB")
_SLOT = struct.Struct("<BHH")


@dataclass(frozen=True, slots=True)
class Command:
    """An order for one slot, or for all of them."""

    op: Op
    seq: int
    slot: int
    intensity: float
    duration_s: float


def read_command(value: bytes) -> Command:
    """Return what was written to `COMMAND`; raises `Refused`."""
    if len(value) != _COMMAND.size:
        raise Refused(AttError.INVALID_LENGTH)
    op, seq, slot, intensity, duration_ms = _COMMAND.unpack(value)
    try:
        known = Op(op)
    except ValueError:
        raise Refused(AttError.VALUE_NOT_ALLOWED) from None
    return Command(known, seq, slot, intensity / 255, duration_ms / 1000)


def write_status(seq: int, state: State, open_slots: int) -> bytes:
    """Return a value of `STATUS`; `open_slots` has a bit for each slot, the lowest for slot 0."""
    return _STATUS.pack(seq, state, open_slots)


def write_slot(slot: int, remaining_s: float, code: int) -> bytes:
    """Return the part of a value of `SLOTS` that tells of one slot."""
    return _SLOT.pack(slot, min(round(remaining_s * 10), 0xFFFF), code)

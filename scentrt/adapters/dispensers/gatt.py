"""The GATT profile of a dispenser: what it is told and what it says, from intent to bytes and back.

Pure. One service, and in it, little-endian:

- command, written: op u8, seq u16, slot u8, intensity u8, duration_ms u16
- status, read and notified: seq u16, state u8, open slots u8
- slots, read and notified: for each, slot u8, remaining_ds u16, code u16
- challenge, written: 16 to 64 bytes that were never used before
- response, read: HMAC-SHA256 of the challenge under the device's key; nothing without a key
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Self

from scentrt.domain.doses import US_PER_S
from scentrt.errors import ScentError

SERVICE = "5ce70000-0000-4000-8000-000000000001"
COMMAND = "5ce70000-0000-4000-8000-000000000002"
STATUS = "5ce70000-0000-4000-8000-000000000003"
SLOTS = "5ce70000-0000-4000-8000-000000000004"
CHALLENGE = "5ce70000-0000-4000-8000-000000000005"
RESPONSE = "5ce70000-0000-4000-8000-000000000006"
FIRMWARE = "00002a26-0000-1000-8000-00805f9b34fb"
"""Of the Device Information service (0x180A) of the Bluetooth SIG."""
BATTERY_LEVEL = "00002a19-0000-1000-8000-00805f9b34fb"
"""Of the Battery Service (0x180F) of the Bluetooth SIG."""

REQUIRED = {COMMAND: "command", STATUS: "status", SLOTS: "slots"}
"""What a device must have to be a dispenser of ours, and how each is called."""

SEEN_SLOTS = range(8)
"""The slots that a status can show as open; a device may have more."""

SHORTEST_KEY_BYTES = 16
LONGEST_FIRMWARE = 64
"""Characters of a firmware's revision that are shown; a device could send 512 bytes."""

CHALLENGE_BYTES = 32

_COMMAND = Struct("<BHBBH")
_STATUS = Struct("<HBB")
_SLOT = Struct("<BHH")
_LONGEST_MS = 0xFFFF
_MOST_DS = 0xFFFF


class BadValue(ScentError):
    """A value does not fit the profile; `value` is what came, as `what`."""

    def __init__(self, what: str, value: bytes, problem: str) -> None:
        super().__init__(f"{what} {value.hex() or 'without any bytes'}: {problem}")
        self.what = what
        self.value = value


class Op(IntEnum):
    """What a command asks for."""

    SPRAY = 1
    STOP_SLOT = 2
    STOP_ALL = 3


@dataclass(frozen=True, slots=True)
class Command:
    """What a dispenser is told, in its own units, but for the number that each device counts.

    So one command serves many devices: each encodes it with its own `seq`.
    """

    op: Op
    slot: int = 0
    intensity: int = 0
    duration_ms: int = 0

    @classmethod
    def spray(cls, slot: int, intensity: float, duration_ms: float) -> Self:
        """Return the spray that comes closest to what is asked (intensity above 0, to 1).

        The weakest spray there is stands for anything weaker, so none is rounded to nothing. It
        never lasts longer than asked: below a millisecond, not at all.
        """
        level = min(255, max(1, round(intensity * 255)))
        return cls(Op.SPRAY, slot, level, min(_LONGEST_MS, int(duration_ms)))

    @classmethod
    def stop(cls, slot: int | None) -> Self:
        """Return the command that closes one slot, or all of them."""
        return cls(Op.STOP_ALL) if slot is None else cls(Op.STOP_SLOT, slot)

    def encode(self, seq: int) -> bytes:
        """Return the bytes to write; `seq` (0-65,535) comes back in the status."""
        return _COMMAND.pack(self.op, seq, self.slot, self.intensity, self.duration_ms)


def decode_command(value: bytes) -> tuple[int, Command]:
    """Return number and command; raises `BadValue`."""
    if len(value) != _COMMAND.size:
        raise BadValue("command", value, f"expected {_COMMAND.size} bytes")
    op, seq, slot, intensity, duration_ms = _COMMAND.unpack(value)
    try:
        return seq, Command(Op(op), slot, intensity, duration_ms)
    except ValueError:
        raise BadValue("command", value, f"there is no op {op}") from None


class Activity(IntEnum):
    """What a dispenser says it is doing."""

    IDLE = 0
    SPRAYING = 1
    FAULT = 2


@dataclass(frozen=True, slots=True)
class Status:
    """What a dispenser says of itself; `seq` is the number of the last command that it got."""

    seq: int
    activity: Activity
    open_slots: int
    """A bitmap: bit 0 is slot 0."""

    def is_open(self, slot: int) -> bool:
        """Say whether a slot is open, as far as a status can show it."""
        return bool(self.open_slots >> slot & 1)

    def slots(self) -> list[int]:
        """Return the slots that are open."""
        return [slot for slot in SEEN_SLOTS if self.open_slots >> slot & 1]

    def encode(self) -> bytes:
        """Return the bytes that say this."""
        return _STATUS.pack(self.seq, self.activity, self.open_slots)


def decode_status(value: bytes) -> Status:
    """Return the status; raises `BadValue`."""
    if len(value) != _STATUS.size:
        raise BadValue("status", value, f"expected {_STATUS.size} bytes")
    seq, activity, open_slots = _STATUS.unpack(value)
    try:
        return Status(seq, Activity(activity), open_slots)
    except ValueError:
        raise BadValue("status", value, f"there is no state {activity}") from None


@dataclass(frozen=True, slots=True)
class SlotReading:
    """What a dispenser says of one slot: what is left there, and the code of what it holds."""

    slot: int
    remaining_ds: int
    """In tenths of a dose-second."""
    code: int

    @property
    def left_us(self) -> int | None:
        """What is left in micro-dose-seconds; None for more than the device can count to."""
        return None if self.remaining_ds == _MOST_DS else self.remaining_ds * (US_PER_S // 10)


def encode_slots(readings: Sequence[SlotReading]) -> bytes:
    """Return the bytes that say this."""
    return b"".join(_SLOT.pack(r.slot, r.remaining_ds, r.code) for r in readings)


def decode_slots(value: bytes) -> tuple[SlotReading, ...]:
    """Return a reading for each slot, in the device's order; raises `BadValue`."""
    if len(value) % _SLOT.size:
        raise BadValue("slots", value, f"expected {_SLOT.size} bytes for each slot")
    readings = tuple(SlotReading(*fields) for fields in _SLOT.iter_unpack(value))
    if len({reading.slot for reading in readings}) < len(readings):
        raise BadValue("slots", value, "a slot is there twice")
    return readings


def decode_battery(value: bytes) -> int:
    """Return the charge in percent; raises `BadValue`."""
    if len(value) != 1 or value[0] > 100:
        raise BadValue("battery level", value, "expected one byte from 0 to 100")
    return value[0]


def decode_firmware(value: bytes) -> str:
    """Return the firmware's revision as it can be shown, without what is no text in it."""
    return "".join(filter(str.isprintable, value.decode(errors="ignore")))[:LONGEST_FIRMWARE]


def is_proof(key: bytes, challenge: bytes, response: bytes) -> bool:
    """Say whether only who knows the key can have given this response to the challenge."""
    return hmac.compare_digest(hmac.digest(key, challenge, "sha256"), response)


def is_behind(seq: int, other: int) -> bool:
    """Say whether `seq` was counted before `other`, of numbers that start again after 65,535."""
    return seq != other and (other - seq) & 0xFFFF < 0x8000

"""A seat's dispenser: valves that open when told and close by themselves. Pure: it is given time.

Bytes and the time come in, values for whoever reads or listens come out. Times are seconds on one
clock of the caller's that never steps backwards.
"""

import hashlib
import hmac
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from simulators.ble import profile
from simulators.ble.profile import AttError, Op, Refused, State

KEPT = 10_000
"""How many commands and openings a device remembers: an evening's worth, and no more."""

SLOTS_AT_MOST = 8  # the bits of the status value


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says of itself."""

    serial: str
    model: str = "Dispenser D1"
    firmware: str = "1.0.0"
    manufacturer: str = "The Scents Company"


@dataclass(frozen=True, slots=True)
class Vial:
    """What is in a slot: its code, and how many seconds it lasts at full intensity."""

    code: int
    remaining_s: float = 3_600.0


FULL = tuple(Vial(code) for code in range(1, 6))
"""A device that is freshly filled, with a slot for each scent of the market research."""


@dataclass(frozen=True, slots=True)
class Received:
    """A command as it came, also one that was refused."""

    at: float
    value: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """A valve that was open at one intensity, and the dose that came out, in dose-seconds."""

    slot: int
    intensity: float
    opened_at: float
    closed_at: float
    dose_s: float


@dataclass(slots=True)
class _Valve:
    code: int
    remaining_s: float
    """What the vial holds; while the valve is open, what it held when that began."""

    is_open: bool = False
    is_stuck: bool = False
    intensity: float = 0.0
    since: float = 0.0
    until: float = 0.0

    @property
    def closes_at(self) -> float:
        """When it closes by itself: its time is over, or its vial is dry."""
        return min(self.until, self.since + self.remaining_s / self.intensity)

    def dose_s(self, now: float) -> float:
        """Return what came out since the valve was opened."""
        if not self.is_open:
            return 0.0
        return min(self.intensity * (now - self.since), self.remaining_s)


class Dispenser:
    """A device with up to eight slots.

    Args:
      key: what it proves its identity with; without one, it cannot.
    """

    def __init__(
        self,
        identity: Identity,
        vials: Sequence[Vial] = FULL,
        *,
        key: bytes | None = None,
        battery_percent: int = 100,
    ) -> None:
        if len(vials) > SLOTS_AT_MOST:
            raise ValueError(f"a dispenser has at most {SLOTS_AT_MOST} slots, not {len(vials)}")
        self.identity = identity
        self.battery_percent = battery_percent
        self.received: deque[Received] = deque(maxlen=KEPT)
        self.commands = 0
        """How many commands there were, also beyond those that are remembered."""
        self._key = key
        self._valves = [_Valve(vial.code, vial.remaining_s) for vial in vials]
        self._past: deque[Opening] = deque(maxlen=KEPT)
        self._seq = 0
        self._response = b""

    @property
    def next_closing(self) -> float | None:
        """When a valve closes by itself, if one is going to: call `advance` then."""
        return min(
            (v.closes_at for v in self._valves if v.is_open and not v.is_stuck), default=None
        )

    @property
    def open_slots(self) -> int:
        """Which valves are open, with a bit for each slot, the lowest for slot 0."""
        return sum(1 << slot for slot, valve in enumerate(self._valves) if valve.is_open)

    def advance(self, now: float) -> None:
        """Let the time pass: valves close at the very end of their duration, not at `now`."""
        for slot, valve in enumerate(self._valves):
            if valve.is_open and not valve.is_stuck and valve.closes_at <= now:
                self._close(slot, valve.closes_at)

    def write(self, characteristic: str, value: bytes, now: float) -> None:
        """Take what was written; raises `Refused`."""
        self.advance(now)
        match characteristic:
            case profile.COMMAND:
                self.received.append(Received(now, value))
                self.commands += 1
                self._obey(profile.read_command(value), now)
            case profile.CHALLENGE:
                if not 16 <= len(value) <= 64:
                    raise Refused(AttError.INVALID_LENGTH)
                if self._key is not None:
                    self._response = hmac.digest(self._key, value, hashlib.sha256)
            case _:
                raise Refused(AttError.WRITE_NOT_PERMITTED)

    def read(self, characteristic: str, now: float) -> bytes:
        """Return the value of a characteristic; raises `Refused`."""
        self.advance(now)
        match characteristic:
            case profile.STATUS:
                return profile.write_status(self._seq, self._state(now), self.open_slots)
            case profile.SLOTS:
                return b"".join(
                    profile.write_slot(slot, valve.remaining_s - valve.dose_s(now), valve.code)
                    for slot, valve in enumerate(self._valves)
                )
            case profile.RESPONSE:
                return self._response
            case profile.BATTERY_LEVEL:
                return bytes([self.battery_percent])
            case profile.MANUFACTURER:
                return self.identity.manufacturer.encode()
            case profile.MODEL:
                return self.identity.model.encode()
            case profile.SERIAL:
                return self.identity.serial.encode()
            case profile.FIRMWARE:
                return self.identity.firmware.encode()
            case _:
                raise Refused(AttError.READ_NOT_PERMITTED)

    def forget_challenge(self) -> None:
        """End what was proved: the next connection has to ask again."""
        self._response = b""

    def stick(self, slots: Collection[int], now: float) -> None:
        """Have these valves, and no others, stay open once they are; those freed close if due."""
        self.advance(now)
        for slot, valve in enumerate(self._valves):
            valve.is_stuck = slot in slots
            if valve.is_open and not valve.is_stuck and valve.closes_at <= now:
                self._close(slot, now)

    def openings(self, now: float) -> list[Opening]:
        """Return what was open when, in the order of closing; what is open still, until now."""
        self.advance(now)
        return [
            *self._past,
            *(self._opening(slot, now) for slot, v in enumerate(self._valves) if v.is_open),
        ]

    def _obey(self, command: profile.Command, now: float) -> None:
        if command.op is Op.STOP_ALL:
            for slot in range(len(self._valves)):
                self._stop(slot, now)
        elif command.slot >= len(self._valves):
            raise Refused(AttError.VALUE_NOT_ALLOWED)
        elif command.op is Op.STOP_SLOT or not command.intensity * command.duration_s:
            self._stop(command.slot, now)
        else:
            self._open(command.slot, command.intensity, now, now + command.duration_s)
        self._seq = command.seq

    def _open(self, slot: int, intensity: float, now: float, until: float) -> None:
        valve = self._valves[slot]
        if valve.is_open:
            self._close(slot, now)
        if valve.remaining_s > 0:
            valve.is_open = True
            valve.intensity, valve.since, valve.until = intensity, now, until

    def _stop(self, slot: int, now: float) -> None:
        valve = self._valves[slot]
        if valve.is_open:
            valve.until = min(valve.until, now)
            if not valve.is_stuck:
                self._close(slot, now)

    def _close(self, slot: int, at: float) -> None:
        opening, valve = self._opening(slot, at), self._valves[slot]
        self._past.append(opening)
        # A vial ends empty, and not at what rounding left in it.
        is_dry = valve.since + valve.remaining_s / valve.intensity <= at
        valve.remaining_s = 0.0 if is_dry else valve.remaining_s - opening.dose_s
        valve.is_open = False

    def _opening(self, slot: int, until: float) -> Opening:
        valve = self._valves[slot]
        return Opening(slot, valve.intensity, valve.since, until, valve.dose_s(until))

    def _state(self, now: float) -> State:
        still_open = [valve for valve in self._valves if valve.is_open]
        if any(valve.closes_at <= now for valve in still_open):
            return State.FAULT
        return State.SPRAYING if still_open else State.IDLE

"""Dispensers in memory, on air that carries what it is told to: a `Radio` and its `Device`s.

They keep to the profile as real ones would, and have the faults that real ones have. For asyncio,
on any clock; `in_virtual_time` gives a test one that costs no time.
"""

import asyncio
import functools
import hashlib
import hmac
import selectors
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from scentrt.adapters.dispensers import gatt
from scentrt.adapters.dispensers.gatt import Activity, Command, Op, SlotReading, Status
from scentrt.adapters.dispensers.radio import LinkFailed, Refused

Hear = Callable[[bytes], None]

PROFILE = frozenset(
    {*gatt.REQUIRED, gatt.BATTERY_LEVEL, gatt.FIRMWARE, gatt.CHALLENGE, gatt.RESPONSE}
)


class FakeDispenser:
    """One dispenser. Its faults are attributes that a test sets, at any time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.characteristics = PROFILE
        self.key = b""
        """What it proves its identity with; without one, it answers with nothing."""
        self.refuses: set[str] = set()
        """The characteristics that it does not let anybody read or write."""
        self.present = asyncio.Event()
        self.present.set()
        self.stuck_slots: set[int] = set()
        """These do not close."""
        self.lost_writes = 0
        """So many writes, from now on, get lost on the way."""
        self.drops_at: str | None = None
        """The connection breaks when somebody reads or writes this characteristic."""
        self.refused_connects = 0
        self.answers = asyncio.Event()
        """While this is not set, whatever is asked of it hangs."""
        self.answers.set()
        self.deaf = False
        """It hangs, and cannot even be given up."""
        self.connect_takes_s = 0.01
        self.discovery_takes_s = 0.0
        self.write_takes_s = 0.0

        self.connected = False
        self._is_known = False
        self.connects: list[float] = []
        """When somebody tried to connect."""
        self.got: list[tuple[float, int, Command]] = []
        """When it got which command, under which number."""
        self.acknowledged: list[Command] = []
        self.status_reads: list[float] = []
        self.slots: tuple[SlotReading, ...] = (SlotReading(0, 600, 7), SlotReading(1, 600, 9))
        self.battery_percent = 100
        self.firmware = b"1.2.0"
        self.challenges: list[bytes] = []
        self._seq = 40_000
        self._open: dict[int, asyncio.TimerHandle] = {}
        self._hears: dict[str, Hear] = {}
        self._on_lost: Callable[[], None] | None = None

    @property
    def commands(self) -> list[Command]:
        """What it was told, in order."""
        return [command for _, _, command in self.got]

    @property
    def sprays(self) -> list[Command]:
        """Which sprays it was told, in order."""
        return [command for command in self.commands if command.op is Op.SPRAY]

    @property
    def open_slots(self) -> set[int]:
        """Which of its slots are open at this moment."""
        return set(self._open)

    def drop(self) -> None:
        """Lose the connection."""
        self.connected = False
        self._hears.clear()
        if self._on_lost is not None:
            self._on_lost()

    def say(self, characteristic: str, value: bytes) -> None:
        """Notify a value, if anybody listens."""
        if characteristic in self._hears:
            self._hears[characteristic](value)

    def open(self, slot: int, for_s: float) -> None:
        """Open a slot, as it does when it is told to."""
        if slot in self._open:
            self._open.pop(slot).cancel()
        self._open[slot] = asyncio.get_running_loop().call_later(for_s, self._close, slot)

    def loosen(self, slot: int) -> None:
        """Let a slot that is stuck close."""
        self.stuck_slots.discard(slot)
        self._close(slot)

    # As a `Device`

    async def connect(self, on_lost: Callable[[], None]) -> None:
        self.connects.append(_now())
        await self._hang()
        await asyncio.sleep(self.connect_takes_s)
        if self.refused_connects:
            self.refused_connects -= 1
            raise LinkFailed(self.name, "could not be connected")
        self._on_lost = on_lost
        self.connected = True
        self._is_known = False

    async def discover(self) -> None:
        await self._hang()
        await asyncio.sleep(self.discovery_takes_s)
        if not self.connected:
            raise LinkFailed(self.name, "is not connected")
        self._is_known = True

    async def disconnect(self) -> None:
        await self._hang()
        self._on_lost = None
        self.connected = False
        self._hears.clear()

    async def read(self, characteristic: str) -> bytes:
        if characteristic == gatt.STATUS:
            self.status_reads.append(_now())
        await self._exchange(characteristic)
        match characteristic:
            case gatt.STATUS:
                return self._status()
            case gatt.FIRMWARE:
                return self.firmware
            case gatt.RESPONSE:
                return self._response()
            case gatt.SLOTS:
                return gatt.encode_slots(self.slots)
            case _:
                return bytes([self.battery_percent])

    async def write(self, characteristic: str, value: bytes, *, acknowledged: bool) -> None:
        await self._exchange(characteristic)
        if characteristic == gatt.CHALLENGE:
            assert acknowledged
            self.challenges.append(value)
            return
        assert characteristic == gatt.COMMAND
        if self.write_takes_s:
            await asyncio.sleep(self.write_takes_s)
        if self.lost_writes and not acknowledged:
            self.lost_writes -= 1
            return
        seq, command = gatt.decode_command(value)
        self.got.append((_now(), seq, command))
        if acknowledged:
            self.acknowledged.append(command)
        self._obey(seq, command)

    async def subscribe(self, characteristic: str, hear: Hear) -> None:
        await self._exchange(characteristic)
        self._hears[characteristic] = hear

    def _obey(self, seq: int, command: Command) -> None:
        self._seq = seq
        match command.op:
            case Op.SPRAY:
                self.open(command.slot, command.duration_ms / 1000)
            case Op.STOP_SLOT:
                self._close(command.slot)
            case Op.STOP_ALL:
                for slot in list(self._open):
                    self._close(slot)
        self.say(gatt.STATUS, self._status())

    def _close(self, slot: int) -> None:
        if slot in self._open and slot not in self.stuck_slots:
            self._open.pop(slot).cancel()
            self.say(gatt.STATUS, self._status())

    def _status(self) -> bytes:
        activity = Activity.SPRAYING if self._open else Activity.IDLE
        bitmap = sum(1 << slot for slot in self._open if slot in gatt.SEEN_SLOTS)
        return Status(self._seq, activity, bitmap).encode()

    def _response(self) -> bytes:
        if not self.key or not self.challenges:
            return b""
        return hmac.digest(self.key, self.challenges[-1], hashlib.sha256)

    async def _exchange(self, characteristic: str) -> None:
        await self._hang()
        if characteristic == self.drops_at:
            self.drop()
        if not self.connected:
            raise LinkFailed(self.name, "is not connected")
        if not self._is_known:
            raise LinkFailed(self.name, "was not asked what it offers")
        if characteristic in self.refuses:
            raise Refused(self.name, "does not permit this")

    async def _hang(self) -> None:
        while not self.answers.is_set():
            try:
                await self.answers.wait()
            except asyncio.CancelledError:
                if not self.deaf:
                    raise


class FakeRadio:
    """The air of one adapter: it finds the dispensers that are there."""

    def __init__(self, dispensers: Iterable[FakeDispenser]) -> None:
        self._dispensers = {dispenser.name: dispenser for dispenser in dispensers}

    async def find(self, name: str) -> FakeDispenser:
        dispenser = self._dispensers[name]
        await dispenser.present.wait()
        return dispenser


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Make a test of an asyncio function, on a clock that jumps over all waiting."""

    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
            runner.run(_awaiting(test))

    return run


async def _awaiting(test: Callable[[], Awaitable[None]]) -> None:
    await test()


def _now() -> float:
    return asyncio.get_running_loop().time()


class _JumpingSelector(selectors.SelectSelector):
    """Never wait, but put the clock forward to when the waiting would have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self.now += max(0.0, timeout)
        return super().select(0)


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

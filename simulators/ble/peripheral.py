"""A dispenser behind a radio: what distance and bad luck do to what is sent to it.

Both simulated radios drive their devices through this, in the asyncio loop they run in, so that a
device and its faults are the same over either.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from simulators.ble import profile
from simulators.ble.dispenser import Dispenser

TOLD = (profile.STATUS, profile.BATTERY_LEVEL, profile.RESPONSE)
"""What a device notifies of whenever it has changed."""


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a device and its link misbehave. As it is: not at all, at a usual distance.

    `drop_after_s` and `drop_after_writes` count from when the faults are set, and come true once;
    the write that is the last one is still obeyed. Lost writes reach the device, which answers
    them where an answer is due, and then does nothing.
    """

    absent: bool = False
    """It is switched off for the radio: no advertisement, no link."""
    drop_after_s: float | None = None
    drop_after_writes: int | None = None
    late_s: float = 0.0
    """How much later than it should it sends every answer and notification."""
    lose_writes: int = 0
    """How many of the next commands are lost."""
    stuck_slots: frozenset[int] = frozenset()
    """Valves that do not close once they are open."""
    battery_percent: int | None = None
    """What the battery is down to; as it was, if left out."""
    interval_s: float = 0.015
    """The connection interval: what is sent waits for its link's next turn; 0 for none."""


class LinkLost(Exception):
    """The link broke, and what was under way on it did not arrive."""


class Radio(Protocol):
    """What a peripheral asks of the radio it is on."""

    def notify(self, characteristic: str, value: bytes) -> None:
        """Send a value to who listens to it."""

    def drop(self) -> None:
        """Break the link, if there is one, as distance does."""

    def advertise(self) -> None:
        """Become findable, or cease to: the peripheral was `absent`, or no longer is."""


class _Link:
    """One connection: whatever is carried arrives at the next connection event, in order."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._queue: deque[Callable[[], None]] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._event: asyncio.TimerHandle | None = None
        self._is_closed = False

    def carry(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` at the next event; never, if the link breaks before."""
        if self._is_closed:
            return
        if self._event is None and not self.interval_s:
            deliver()
            return
        self._queue.append(deliver)
        if self._event is None:
            turns = math.floor((self._loop.time() - self._began) / self.interval_s) + 1
            self._event = self._loop.call_at(self._began + turns * self.interval_s, self._turn)

    async def arrival(self) -> None:
        """Wait until what is sent now has arrived; raises `LinkLost`."""
        await self._wait(self.carry)

    async def pause(self, delay_s: float) -> None:
        """Wait a while; raises `LinkLost` as soon as the link breaks."""
        await self._wait(lambda wake: self._loop.call_later(delay_s, wake))

    async def _wait(self, arrange: Callable[[Callable[[], None]], object]) -> None:
        if self._is_closed:
            raise LinkLost
        waiting = self._loop.create_future()
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

        def wake() -> None:
            if not waiting.done():
                waiting.set_result(None)

        arrange(wake)
        if not waiting.done():
            await waiting

    def close(self) -> None:
        self._is_closed = True
        self._queue.clear()
        if self._event is not None:
            self._event.cancel()
        for waiting in list(self._waiting):
            if not waiting.done():
                waiting.set_exception(LinkLost())

    def _turn(self) -> None:
        self._event = None
        arrived, self._queue = self._queue, deque()
        for deliver in arrived:
            deliver()


class Peripheral:
    """A dispenser, its address and its faults, on a radio; made in the loop that it lives in."""

    def __init__(self, address: str, dispenser: Dispenser, radio: Radio) -> None:
        self.address = address
        self.dispenser = dispenser
        self._radio = radio
        self._loop = asyncio.get_running_loop()
        self._link: _Link | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._told: dict[str, bytes] = {}
        self._was_open = 0
        self.faults = Faults()
        self._lose_writes = 0
        self._writes_left: int | None = None

    @property
    def is_linked(self) -> bool:
        """Whether somebody is connected to it."""
        return self._link is not None

    def set_faults(self, faults: Faults) -> None:
        """Misbehave like this from now on, and not as before."""
        was_absent, self.faults = self.faults.absent, faults
        self._lose_writes = faults.lose_writes
        self._writes_left = faults.drop_after_writes
        self._at("drop", self._in(faults.drop_after_s), self.drop)
        if faults.battery_percent is not None:
            self.dispenser.battery_percent = faults.battery_percent
        if self._link is not None:
            self._link.interval_s = faults.interval_s
        self.dispenser.stick(faults.stuck_slots, self._loop.time())
        self._tell()
        if faults.absent:
            self.drop()
        if faults.absent != was_absent:
            self._radio.advertise()

    def drop(self) -> None:
        """Break the link, as distance does; the device is there again at once."""
        if self.is_linked:
            self._radio.drop()

    def on_linked(self) -> None:
        """Take note of a connection; the radio calls this."""
        self._link = _Link(self.faults.interval_s)
        self._told = self._news()
        self._was_open = self.dispenser.open_slots

    def on_unlinked(self) -> None:
        """Take note that the connection is over, however it ended; the radio calls this."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self.dispenser.forget_challenge()

    def close(self) -> None:
        """End the timers: nothing happens any more."""
        for timer in self._timers.values():
            timer.cancel()
        self.on_unlinked()

    async def write(self, characteristic: str, value: bytes) -> None:
        """Carry a value to the device, and its answer back; raises `Refused` and `LinkLost`.

        Without anybody who awaits an answer, this is a write without response.
        """
        link = self._require_link()
        await link.arrival()
        is_command = characteristic == profile.COMMAND
        if is_command and self._lose_writes:
            self._lose_writes -= 1
        else:
            self._hand_over(characteristic, value)
            if is_command:
                self._count_down()
        await self._answer(link)

    async def read(self, characteristic: str) -> bytes:
        """Carry a request to the device, and the value back; raises `Refused` and `LinkLost`."""
        link = self._require_link()
        await link.arrival()
        value = self._value(characteristic)
        await self._answer(link)
        return value

    def _require_link(self) -> _Link:
        if self._link is None:
            raise LinkLost
        return self._link

    def _hand_over(self, characteristic: str, value: bytes) -> None:
        try:
            self.dispenser.write(characteristic, value, self._loop.time())
        finally:
            self._tell()

    def _count_down(self) -> None:
        if self._writes_left is not None:
            self._writes_left -= 1
            if not self._writes_left:
                self._writes_left = None
                self.drop()

    async def _answer(self, link: _Link) -> None:
        if self.faults.late_s:
            await link.pause(self.faults.late_s)
        await link.arrival()

    def _tell(self) -> None:
        """Notify of what has changed, and wait for the next valve to close by itself."""
        self._at("closing", self.dispenser.next_closing, self._pass_time)
        if self._link is None:
            return
        told, self._told = self._told, self._news()
        for characteristic, value in self._told.items():
            if value != told[characteristic]:
                self._notify(self._link, characteristic, value)
        was_open, self._was_open = self._was_open, self.dispenser.open_slots
        if was_open & ~self._was_open:
            # What is left in a vial is told when its valve closes: while it is open, it changes
            # all the time.
            self._notify(self._link, profile.SLOTS, self._value(profile.SLOTS))

    def _news(self) -> dict[str, bytes]:
        """Return what is told whenever it has changed, as it is now."""
        return {uuid: self._value(uuid) for uuid in TOLD}

    def _value(self, characteristic: str) -> bytes:
        return self.dispenser.read(characteristic, self._loop.time())

    def _notify(self, link: _Link, characteristic: str, value: bytes) -> None:
        def send() -> None:
            link.carry(lambda: self._radio.notify(characteristic, value))

        if self.faults.late_s:
            self._loop.call_later(self.faults.late_s, send)
        else:
            send()

    def _pass_time(self) -> None:
        self.dispenser.advance(self._loop.time())
        self._tell()

    def _in(self, delay_s: float | None) -> float | None:
        return None if delay_s is None else self._loop.time() + delay_s

    def _at(self, name: str, when: float | None, act: Callable[[], None]) -> None:
        """Set one of the timers anew; without a time, to never."""
        if name in self._timers:
            self._timers.pop(name).cancel()
        if when is not None:
            self._timers[name] = self._loop.call_at(when, act)

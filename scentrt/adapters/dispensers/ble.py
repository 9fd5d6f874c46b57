"""Dispensers on Bluetooth LE, as a zone sees them from trio's side.

The links live in the asyncio thread. An order for any number of seats crosses over once, and what
became of it comes back in one piece; so does what happened to many links at the same time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn

import trio

from scentrt.actors.clock import ServerClock
from scentrt.actors.messages import DeviceState
from scentrt.actors.reports import Written
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.gatt import Command
from scentrt.adapters.dispensers.link import Link
from scentrt.adapters.dispensers.link_state import LinkState
from scentrt.adapters.dispensers.orders import SprayOrder
from scentrt.domain.cues import SeatId, Spray
from scentrt.domain.decisions import Withdraw

log = logging.getLogger(__name__)

PIECE_S = 0.1
"""How long a fast device's word may wait for that of slow ones, before it is passed on alone."""

GATHER_S = 0.01
"""How long a change waits for others that can cross over with it."""

STOP_WITHIN_S = 2.0
"""How long stopping may take, whatever hangs."""

OnChange = Callable[[SeatId, LinkState, LinkState], None]
"""Told which seat it is, what its link was like, and what it is like now."""


class BleDispensers:
    """The dispensers of one zone: `Dispensers`, with a link for each seat that has a device.

    A device whose seat has one of the `keys` must prove that it knows it.

    `on_change` is called in trio's thread whenever a link or its device has changed; `states` has
    the latest of each. Neither it nor a `done` may raise: what they raise is logged and lost.
    """

    def __init__(
        self,
        aio: AioThread,
        clock: ServerClock,
        devices: Mapping[SeatId, str],
        adapters: Mapping[SeatId, Adapter],
        keys: Mapping[SeatId, bytes],
        on_change: OnChange,
    ) -> None:
        self._aio = aio
        self._clock = clock
        self._on_change = on_change
        self.states = dict.fromkeys(devices, LinkState())
        self._news = trio.Event()
        # From here on, all of this is touched in the asyncio thread only.
        self._links = {
            seat: Link(device, adapters[seat], partial(self._note, seat), keys.get(seat))
            for seat, device in devices.items()
        }
        self._seats = {device: seat for seat, device in devices.items()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: dict[SeatId, LinkState] = {}

    async def wait_online(self, seat: SeatId) -> None:
        """Wait until a seat's device is connected; for ever, if it never is."""
        while not self.states[seat].online:
            await self._news.wait()

    async def run(self) -> NoReturn:
        """Keep the devices connected until cancelled, and then stop them all.

        Stopping is shielded, and gives up after `STOP_WITHIN_S`.
        """
        self._aio.post(self._start)
        try:
            await trio.sleep_forever()
        finally:
            stopped = trio.Event()
            self._aio.post(self._stop, stopped)
            with trio.move_on_after(STOP_WITHIN_S, shield=True):
                await stopped.wait()
            if not stopped.is_set():
                log.error("not every dispenser could be stopped in time")

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        """Open a slot at these seats; what still waits when it expires is not told any more."""
        if not seats:
            return
        now_ms, now = self._clock.now_ms(), time.monotonic()
        command = Command.spray(spray.slot, spray.intensity, spray.duration_ms)
        if not command.duration_ms:
            done(Written(len(seats), 0, now_ms, now_ms))  # over before a device could count to one
            return
        offset_ms = now_ms - now * 1000
        tally = _Tally(len(seats), offset_ms, self._seats, partial(self._report, done))
        expires = (spray.expires_ms - offset_ms) / 1000
        order = SprayOrder(command, spray.cue, now, expires, tally)
        self._aio.post(self._spray, order, tally, seats)

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        """Close a slot at these seats, or all their slots."""
        self._aio.post(self._halt, Command.stop(slot), seats)

    def withdraw(self, what: Withdraw) -> None:
        """Forget the sprays meant that wait, and end those that began late."""
        self._aio.post(self._withdraw, what)

    def device(self, seat: SeatId) -> DeviceState | None:
        """Return what is known of a seat's device; None where it has none."""
        state = self.states.get(seat)
        if state is None:
            return None
        return DeviceState(
            latency_ms=state.latency_ms,
            battery_percent=state.battery_percent,
            firmware=state.firmware,
            expired=state.expired,
            problem=state.problem,
        )

    def _hear(self, done: Callable[[Written], None], written: Written) -> None:
        try:
            done(written)
        except Exception:
            log.exception("a report could not be taken")

    def _hear_changes(self, changed: Mapping[SeatId, LinkState]) -> None:
        self._news.set()
        self._news = trio.Event()
        for seat, state in changed.items():
            former, self.states[seat] = self.states[seat], state
            try:
                self._on_change(seat, former, state)
            except Exception:
                log.exception("the change at %s could not be taken", seat)

    # In the asyncio thread

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = {loop.create_task(link.run()) for link in self._links.values()}

    def _stop(self, stopped: trio.Event) -> None:
        for task in self._tasks:
            task.cancel()
        ended = asyncio.gather(*self._tasks, return_exceptions=True)
        ended.add_done_callback(lambda _: self._aio.post_back(stopped.set))

    def _spray(self, order: SprayOrder, tally: "_Tally", seats: Sequence[SeatId]) -> None:
        tally.begin()
        for seat in seats:
            link = self._links.get(seat)
            if link is None:
                tally.lacks(seat)
            else:
                link.spray(order)

    def _halt(self, command: Command, seats: Sequence[SeatId]) -> None:
        for seat in seats:
            link = self._links.get(seat)
            if link is not None:
                link.stop(command)

    def _withdraw(self, what: Withdraw) -> None:
        for seat in self._links if what.seats is None else what.seats:
            link = self._links.get(seat)
            if link is not None:
                link.withdraw(what)

    def _report(self, done: Callable[[Written], None], written: Written) -> None:
        self._aio.post_back(self._hear, done, written)

    def _note(self, seat: SeatId, state: LinkState) -> None:
        if not self._changed:
            asyncio.get_running_loop().call_later(GATHER_S, self._cross)
        self._changed[seat] = state

    def _cross(self) -> None:
        changed, self._changed = self._changed, {}
        self._aio.post_back(self._hear_changes, changed)


class _Tally:
    """Put together what became of an order at each of its devices, for as long as `PIECE_S`.

    `offset_ms` makes the server's clock of the loop's, and `seats` tells whose a device is. Used in
    the asyncio thread.
    """

    def __init__(
        self,
        devices: int,
        offset_ms: float,
        seats: Mapping[str, SeatId],
        report: Callable[[Written], None],
    ) -> None:
        self._left = devices
        self._offset_ms = offset_ms
        self._seats = seats
        self._report = report
        self._written = self._failed = self._expired = 0
        self._untold: list[SeatId] = []
        self._first = self._last = 0.0

    def begin(self) -> None:
        """Wait for the devices from now on."""
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PIECE_S, self._pass_on)

    def written(self, at: float) -> None:
        """Count a device that has it."""
        if not self._written:
            self._first = at
        self._written += 1
        self._last = at
        self._count()

    def failed(self) -> None:
        """Count a device that may have got it or not."""
        self._failed += 1
        self._count()

    def dropped(self, device: str) -> None:
        """Count a device that will not get it."""
        self.lacks(self._seats[device])

    def lacks(self, seat: SeatId) -> None:
        """Count a seat where nothing will get it."""
        self._failed += 1
        self._untold.append(seat)
        self._count()

    def expired(self, device: str) -> None:
        """Count a device that it was too late for."""
        self._expired += 1
        self._untold.append(self._seats[device])
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self._timer.cancel()
            self._pass_on()

    def _pass_on(self) -> None:
        if self._written or self._failed or self._expired:
            first, last = self._first, self._last
            if not self._written:
                first = last = self._loop.time()
            self._report(
                Written(
                    self._written,
                    self._failed,
                    first * 1000 + self._offset_ms,
                    last * 1000 + self._offset_ms,
                    expired=self._expired,
                    untold=tuple(self._untold),
                )
            )
            self._written = self._failed = self._expired = 0
            self._untold.clear()
        if self._left:
            self._timer = self._loop.call_later(PIECE_S, self._pass_on)

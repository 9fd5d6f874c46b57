"""A zone whose dispensers a test links by itself, from trio's side."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVarTuple

import trio

from scentrt.actors.clock import ServerClock
from scentrt.actors.reports import Written
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.dispensers.adapter import Adapter, assign_adapters
from scentrt.adapters.dispensers.ble import BleDispensers
from scentrt.adapters.dispensers.link_state import LinkState
from scentrt.domain.cues import CueKey, OwnerId, SeatId, Spray

Args = TypeVarTuple("Args")

CUE = CueKey(OwnerId("s-1"), "c-1")


def seats_of(number: int) -> list[SeatId]:
    """Return so many seats, in one row."""
    return [SeatId(f"A-1-{n}") for n in range(1, number + 1)]


class CountingThread(AioThread):
    """An asyncio thread that counts the crossings, there and back."""

    def __init__(self) -> None:
        super().__init__()
        self.crossings = [0, 0]

    def post(self, fn: Callable[[*Args], object], *args: *Args) -> None:
        self.crossings[0] += 1
        super().post(fn, *args)

    def post_back(self, fn: Callable[[*Args], object], *args: *Args) -> None:
        self.crossings[1] += 1
        super().post_back(fn, *args)


class Zone:
    """A seat for each device, their links spread over adapters, and all that they have said."""

    def __init__(
        self,
        aio: CountingThread,
        devices: Sequence[str],
        adapters: Sequence[Adapter],
        keys: Mapping[SeatId, bytes] | None = None,
    ) -> None:
        self.aio = aio
        self.clock = ServerClock()
        self.seats = seats_of(len(devices))
        self.changes: list[tuple[SeatId, LinkState]] = []
        self.on_change: Callable[[SeatId, LinkState], None] = lambda *_: None
        self._news = trio.Event()
        self.ble = BleDispensers(
            aio,
            self.clock,
            dict(zip(self.seats, devices, strict=True)),
            assign_adapters("devices", self.seats, adapters),
            keys or {},
            self._hear,
        )
        self.written: list[Written] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the links for as long as the block lasts."""
        async with trio.open_nursery() as linking:
            linking.start_soon(self.ble.run)
            yield
            linking.cancel_scope.cancel()

    def _hear(self, seat: SeatId, former: LinkState, state: LinkState) -> None:
        assert former != state == self.ble.states[seat]
        self.changes.append((seat, state))
        self._news.set()
        self.on_change(seat, state)

    def spray(
        self,
        intensity: float = 0.8,
        *,
        at: Sequence[SeatId] | None = None,
        cue: CueKey | None = CUE,
        duration_ms: float = 1500,
        within_ms: float = 500,
        done: Callable[[Written], None] | None = None,
    ) -> None:
        """Have these seats sprayed, or all; without a cue, as a step of a level."""
        expires_ms = self.clock.now_ms() + (duration_ms if cue is None else within_ms)
        spray = Spray(0, intensity, duration_ms, cue, expires_ms)
        self.ble.spray(spray, self.seats if at is None else at, done or self.done)

    def done(self, written: Written) -> None:
        self.written.append(written)
        self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that dispensers have said."""
        with trio.fail_after(120):
            while not holds():
                await self._news.wait()
                self._news = trio.Event()

    async def online(self) -> None:
        """Wait until all are connected."""
        await self.until(lambda: all(state.online for state in self.ble.states.values()))

    async def done_by_all(self, seats: int) -> None:
        """Wait until so many seats are accounted for."""
        await self.until(
            lambda: sum(w.written + w.failed + w.expired for w in self.written) == seats
        )

    async def in_the_thread(self, fn: Callable[[], object]) -> None:
        """Do something to the air, where the air is."""

        async def do() -> None:
            fn()

        await self.aio.call(do)

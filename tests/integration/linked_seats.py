"""Seats whose links a test runs by itself, over air that is made up. For asyncio."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.gatt import Command
from scentrt.adapters.dispensers.link import Link
from scentrt.adapters.dispensers.link_state import LinkState
from scentrt.adapters.dispensers.orders import SprayOrder
from scentrt.domain.cues import CueKey, OwnerId
from tests.integration.fake_air import FakeDispenser, FakeRadio

STOP_ALL = Command.stop(None)
CUE = CueKey(OwnerId("s-1"), "c-1")


def spraying(slot: int, intensity: float = 1.0, duration_ms: float = 100.0) -> Command:
    return Command.spray(slot, intensity, duration_ms)


class Told:
    """What became of one order."""

    def __init__(self) -> None:
        self.written_at: list[float] = []
        self.failures = 0
        self.drops = 0
        self.expirations = 0

    def written(self, at: float) -> None:
        self.written_at.append(at)

    def failed(self) -> None:
        self.failures += 1

    def dropped(self, device: str) -> None:
        self.drops += 1

    def expired(self, device: str) -> None:
        self.expirations += 1


class Seat:
    """A link, and all that it has said of itself."""

    def __init__(
        self, dispenser: FakeDispenser, adapter: Adapter, key: bytes | None = None
    ) -> None:
        self.dispenser = dispenser
        self.states = [LinkState()]
        self._changed = asyncio.Event()
        self.link = Link(dispenser.name, adapter, self._hear, key)
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> LinkState:
        return self.states[-1]

    def spray(
        self,
        command: Command,
        *,
        cue: CueKey = CUE,
        is_level: bool = False,
        within_s: float = 10.0,
    ) -> Told:
        told, now = Told(), asyncio.get_running_loop().time()
        self.link.spray(SprayOrder(command, None if is_level else cue, now, now + within_s, told))
        return told

    async def until(self, **wanted: object) -> LinkState:
        """Wait until the link says all this of itself."""
        async with asyncio.timeout(60):
            while any(getattr(self.state, name) != value for name, value in wanted.items()):
                self._changed.clear()
                await self._changed.wait()
        return self.state

    def _hear(self, state: LinkState) -> None:
        self.states.append(state)
        self._changed.set()

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.link.run())

    async def end(self) -> float:
        """Cancel the link, and return how long it took to end."""
        assert self._task is not None
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        return loop.time() - began


@asynccontextmanager
async def linked(dispenser: FakeDispenser | None = None) -> AsyncIterator[Seat]:
    """Connect one dispenser, for as long as the block lasts."""
    async with row([dispenser or FakeDispenser("C4:01")]) as (seat,):
        await seat.until(online=True)
        yield seat


@asynccontextmanager
async def row(
    dispensers: Iterable[FakeDispenser], slots: int = 7, key: bytes | None = None
) -> AsyncIterator[list[Seat]]:
    """Begin to connect dispensers through one adapter; with a key, all have to prove it."""
    dispensers = list(dispensers)
    adapter = Adapter("hci0", FakeRadio(dispensers), slots)
    seats = [Seat(dispenser, adapter, key) for dispenser in dispensers]
    for seat in seats:
        seat.begin()
    try:
        yield seats
    finally:
        for seat in seats:
            await seat.end()


def many(number: int) -> list[FakeDispenser]:
    return [FakeDispenser(f"C4:{n:02}") for n in range(number)]

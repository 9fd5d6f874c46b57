"""One zone on a stage of its own: its actor, dispensers that do as the test says, and a store."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio

from scentrt.actors.actor import supervise
from scentrt.actors.clock import ServerClock
from scentrt.actors.house import Latch
from scentrt.actors.ledger import Ledger
from scentrt.actors.messages import DeviceState, TakeCue
from scentrt.actors.reports import Report, Written
from scentrt.actors.zone import ZoneActor
from scentrt.domain.cues import Cue, CueKey, OwnerId, Scent, SeatId, Spray, ZoneId
from scentrt.domain.decisions import Accepted, Withdraw
from scentrt.domain.doses import Limits
from scentrt.domain.events import LevelChanged, PublicEvent
from scentrt.domain.layout import ZonePlan
from scentrt.domain.vials import ScentSupply
from scentrt.errors import ActorCrashed
from tests.memory_store import MemoryStore
from tests.vials import CATALOGUE

GAME = OwnerId("s-game")
SEA, PINE = Scent("sea-breeze"), Scent("pine")


@dataclass(frozen=True, slots=True)
class Sprayed:
    """An order to spray, and when it came."""

    at_ms: float
    spray: Spray
    seats: tuple[SeatId, ...]


@dataclass(frozen=True, slots=True)
class Halted:
    """An order to close a slot, all of them where it is None."""

    slot: int | None
    seats: tuple[SeatId, ...]


class StagedDispensers:
    """Dispensers of one zone that note what they are told.

    Those in `silent` take an order and do not say so before `speak`, those in `jammed` say that
    they cannot, and those in `slow` that it has become too late. While `broken` they have a bug: a
    spray crashes whoever orders it.
    """

    def __init__(self, clock: ServerClock) -> None:
        self._clock = clock
        self._unsaid: list[Callable[[], None]] = []
        self.orders: list[Sprayed | Halted] = []
        self.open: set[tuple[SeatId, int]] = set()
        self.silent: set[SeatId] = set()
        self.jammed: set[SeatId] = set()
        self.slow: set[SeatId] = set()
        self.broken = False
        self.devices: dict[SeatId, DeviceState] = {}

    @property
    def sprayed(self) -> list[Sprayed]:
        """The orders to spray, in order."""
        return [order for order in self.orders if isinstance(order, Sprayed)]

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        """Open a slot at these seats."""
        if self.broken:
            raise ZeroDivisionError
        now_ms = self._clock.now_ms()
        self.orders.append(Sprayed(now_ms, spray, tuple(seats)))
        self.open |= {(seat, spray.slot) for seat in seats}
        for seat in seats:
            jammed, slow = seat in self.jammed, seat in self.slow
            ok = not jammed and not slow
            say = partial(
                done,
                Written(
                    int(ok),
                    int(jammed),
                    now_ms,
                    now_ms,
                    expired=int(slow),
                    untold=() if ok else (seat,),
                ),
            )
            if seat in self.silent:
                self._unsaid.append(say)
            else:
                say()

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        """Close a slot at these seats, or all their slots."""
        self.orders.append(Halted(slot, tuple(seats)))
        self.open -= {
            (seat, open_slot)
            for seat, open_slot in self.open
            if seat in seats and slot in {None, open_slot}
        }

    def withdraw(self, what: Withdraw) -> None:
        """Do nothing: nothing waits here."""

    def device(self, seat: SeatId) -> DeviceState | None:
        """Return what the test has put into `devices`."""
        return self.devices.get(seat)

    def speak(self) -> None:
        """Let the silent ones say what they have done so far."""
        for say in self._unsaid:
            say()
        self._unsaid.clear()


@dataclass(slots=True)
class Audience:
    """Listeners that note what they are told."""

    events: list[PublicEvent] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)

    def publish(self, event: PublicEvent) -> None:
        self.events.append(event)

    def tell_level(self, zone: ZoneId, change: LevelChanged) -> None:
        self.levels.append(change.state)


@dataclass(slots=True)
class Storekeeper:
    """Whoever sees to the supplies, and notes what is reported."""

    reports: list[tuple[ScentSupply, ...]] = field(default_factory=list)

    def report(self, zone: ZoneId, supply: tuple[ScentSupply, ...]) -> None:
        self.reports.append(supply)


class Stage:
    """What outlives one process, `store`, and what does not, which each `play` builds anew."""

    def __init__(self, zone: str = "A", rows: int = 2, seats_per_row: int = 3) -> None:
        self.store = MemoryStore()
        self.clock = ServerClock()
        self.latch = Latch(panicked=False)
        self.limits = Limits()
        self.plan = ZonePlan(ZoneId(zone), rows, seats_per_row, (SEA, PINE))
        self.seats = tuple(self.plan.seat_ids())
        self.dispensers = StagedDispensers(self.clock)
        self.audience = Audience()
        self.storekeeper = Storekeeper()
        self.reports: list[Report] = []

    @asynccontextmanager
    async def play(self) -> AsyncIterator[None]:
        """Run ledger and zone for as long as the block lasts, then stop them in good order."""
        self.ledger = Ledger(self.store)
        self.zone = ZoneActor(
            self.plan.id,
            partial(self.plan.seats, online=True),
            limits=self.limits,
            dispensers=self.dispensers,
            ledger=self.ledger,
            listeners=self.audience,
            clock=self.clock,
            latch=self.latch,
            supplies=self.storekeeper,
            catalogue=CATALOGUE,
        )
        self.ref = self.zone.ref
        self.ended = trio.Event()
        async with trio.open_nursery() as writing:
            await writing.start(self.ledger.run)
            async with trio.open_nursery() as self.playing:
                self.playing.start_soon(self._supervise)
                yield
                self.playing.cancel_scope.cancel()
            writing.cancel_scope.cancel()

    async def _supervise(self) -> None:
        try:
            await supervise(self.zone.mailbox, self.zone.run)
        finally:
            self.ended.set()

    @asynccontextmanager
    async def play_and_be_killed(self) -> AsyncIterator[None]:
        """Run as `play` does, but write nothing of what ends after the block.

        The ledger tries to, for a second.
        """
        async with self.play():
            yield
            self.store.writable = False
        self.store.writable = True

    def cue(
        self,
        id: str | int = "c-1",
        *,
        scent: Scent = SEA,
        intensity: float = 1.0,
        duration_ms: float = 1_000,
        in_ms: float = 0,
        ttl_ms: float = 500,
        seats: tuple[SeatId, ...] | None = None,
        mix: bool = False,
    ) -> TakeCue:
        """Return a message with a cue that is due in so long, and whose report is noted."""
        now_ms = self.clock.now_ms()
        cue = Cue(
            key=CueKey(GAME, id),
            scent=scent,
            intensity=intensity,
            duration_ms=duration_ms,
            due_ms=now_ms + in_ms,
            ttl_ms=ttl_ms,
            asked_ms=now_ms,
            seats=seats,
            mix=mix,
        )
        return TakeCue(cue, self.reports.append)

    async def targets(self, message: TakeCue) -> int:
        """Have a cue decided, and return how many seats it reaches."""
        verdict = await self.ref.ask(message)
        assert isinstance(verdict, Accepted)
        return verdict.targets

    async def crash(self) -> None:
        """Have the zone crash over a cue, and return at once."""
        self.dispensers.broken = True
        cue = self.cue(f"crash at {self.clock.now_ms()}", scent=PINE, mix=True)
        with pytest.raises(ActorCrashed):
            await self.ref.ask(replace(cue, report=None))
        self.dispensers.broken = False

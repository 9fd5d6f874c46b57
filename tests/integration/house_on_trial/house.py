"""A house whose parts, and the way to whose disk, fail at will.

Its zones, its stock and what is between them are joined as `bootstrap` joins them, without the
doors to the outside.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from scentrt.actors.actor import Message, Ref, supervise
from scentrt.actors.clock import ServerClock
from scentrt.actors.herald import Herald
from scentrt.actors.house import Guests, House, Latch
from scentrt.actors.ledger import Ledger, StoredDoses, TheatreStore, Writes
from scentrt.actors.messages import Contents, Page, ReadPage
from scentrt.actors.order_desk import OrderDesk
from scentrt.actors.refills import RefillClerk, RefillStore
from scentrt.actors.reports import Written
from scentrt.actors.stock_room import StockRoom
from scentrt.actors.ushers import Ushers
from scentrt.actors.vial_desk import VialDesk
from scentrt.actors.zone import ZoneActor
from scentrt.adapters.dispensers.memory import MemoryDispensers
from scentrt.domain.cues import SeatId, Spray, ZoneId
from scentrt.domain.decisions import Halt, Release
from scentrt.domain.doses import Limits
from scentrt.domain.events import LevelChanged, PublicEvent, VialsLoaded
from scentrt.domain.layout import TheatrePlan
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.refills import Refill, ZoneRefill
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import DEFAULT_LOW, ScentSupply, SeatedVial, VialId
from scentrt.errors import ActorCrashed, StoreUnavailable
from scentrt.service_layer.changes import Changes
from scentrt.service_layer.messagebus import MessageBus
from tests.integration.house_on_trial.archives import Archive
from tests.unit.devices import Devices
from tests.unit.venue import NOON


class Stumble(Exception):
    """A bug, where one is wanted."""


class Wire:
    """What is between a house and its disk: every write takes its time here, or gets nowhere.

    A write takes `write_s` before it is on disk, and as long again before that is known. There are
    `writes_left` to come, where that is said, or none after the next refill where it
    `ends_with_a_refill`; since `cut_ms` there are none.
    """

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self.write_s = 0.0
        self.writes_left: int | None = None
        self.ends_with_a_refill = False
        self.cut_ms: float | None = None
        self.under_way = 0
        self._now_ms = now_ms
        self._turn = trio.StrictFIFOLock()

    def cut(self) -> None:
        """Let nothing through from now on."""
        self.writes_left = 0
        if self.cut_ms is None:
            self.cut_ms = self._now_ms()

    def mend(self) -> None:
        """Let everything through again."""
        self.writes_left = self.cut_ms = None
        self.ends_with_a_refill = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write within the block, one after the other; whoever is cancelled finishes all the same.

        Raises `StoreUnavailable`.
        """
        self.under_way += 1
        try:
            with trio.CancelScope(shield=True):
                async with self._turn:
                    await trio.sleep(self.write_s)
                    if self.writes_left == 0:
                        self.cut()
                        raise StoreUnavailable("the database is away")
                    if self.writes_left is not None:
                        self.writes_left -= 1
                    yield
                    await trio.sleep(self.write_s)
        finally:
            self.under_way -= 1


class WiredStore:
    """A theatre's store at the end of a wire."""

    def __init__(self, store: TheatreStore, wire: Wire) -> None:
        self._store = store
        self._wire = wire

    async def panicked(self) -> bool:
        return await self._store.panicked()

    async def doses(self, zone: ZoneId, since_s: int) -> StoredDoses:
        return await self._store.doses(zone, since_s)

    async def vials(self, zone: ZoneId) -> tuple[SeatedVial, ...]:
        return await self._store.vials(zone)

    async def settings(self, zone: ZoneId) -> dict[SeatId, SeatChange]:
        return await self._store.settings(zone)

    async def commit(self, writes: Writes) -> None:
        async with self._wire.writing():
            await self._store.commit(writes)


class WiredRefills:
    """Refills at the end of a wire."""

    def __init__(self, store: RefillStore, wire: Wire) -> None:
        self._store = store
        self._wire = wire

    async def open_refills(self) -> tuple[ZoneRefill, ...]:
        return await self._store.open_refills()

    async def next_number(self, zone: ZoneId, sku: Sku) -> int:
        return await self._store.next_number(zone, sku)

    async def is_ordered(self, refill: Refill) -> bool:
        return await self._store.is_ordered(refill)

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        async with self._wire.writing():
            await self._store.put(refill, instead_of)
            if self._wire.ends_with_a_refill:
                self._wire.cut()


class When(Enum):
    """When somebody stumbles: before what he is told to do is stored, or at once after that."""

    BEFORE = "before"
    AFTER = "after"


class StumblingLedger(Ledger):
    """A ledger over which the next one stumbles who hands in what he has decided."""

    stumble: When | None = None

    async def commit(self, changes: Changes) -> None:
        when, self.stumble = self.stumble, None
        if when is When.BEFORE:
            raise Stumble
        await super().commit(changes)
        if when is When.AFTER:
            raise Stumble


class HouseClock(ServerClock):
    """A clock that starts at noon with trio's, so that a history happens twice in the same way."""

    def __init__(self) -> None:
        self._offset_ms = NOON


class Step(Enum):
    """What a zone does for others, and may stumble over."""

    SPRAY = "spray"
    TELL = "tell"
    REPORT = "report"


class Fittings(MemoryDispensers):
    """The dispensers of a zone, and all others with whom it has to do: it stumbles `over` one.

    Dispensers are real things: `devices` go on by themselves when the house has died, and hear no
    more. `planned_ms` is when each breath of theirs was to end. Of those that are jammed the zone
    hears when they `own_up`.
    """

    def __init__(
        self, clock: ServerClock, devices: Devices, planned_ms: list[float], clerk: RefillClerk
    ) -> None:
        super().__init__(clock)
        self.over: Step | None = None
        self.are_wired = True
        self._devices = devices
        self._planned_ms = planned_ms
        self._now_ms = clock.now_ms
        self._clerk = clerk
        self._unsaid: list[Callable[[], None]] = []

    def spray(self, spray: Spray, seats: Sequence[SeatId], done: Callable[[Written], None]) -> None:
        self._step(Step.SPRAY)
        now_ms, devices = self._now_ms(), self._devices
        devices.obey([Release(spray, tuple(seats))], now_ms)
        new = len(devices.breaths) - len(self._planned_ms)
        self._planned_ms += [now_ms + spray.duration_ms] * new
        untold = tuple(seat for seat in seats if new < len(seats) and seat in devices.jammed)
        if untold:
            said = Written(0, len(untold), now_ms, now_ms, untold=untold)
            self._unsaid.append(partial(done, said))
        super().spray(spray, [seat for seat in seats if seat not in untold], done)

    def own_up(self) -> None:
        """Say what has reached nobody."""
        unsaid, self._unsaid = self._unsaid, []
        for say in unsaid:
            say()

    def halt(self, slot: int | None, seats: Sequence[SeatId]) -> None:
        if self.are_wired:
            self._devices.obey([Halt(slot, tuple(seats))], self._now_ms())
        super().halt(slot, seats)

    def publish(self, event: PublicEvent) -> None:
        self._step(Step.TELL)

    def tell_level(self, zone: ZoneId, change: LevelChanged) -> None:
        self._step(Step.TELL)

    def report(self, zone: ZoneId, supply: tuple[ScentSupply, ...]) -> None:
        self._step(Step.REPORT)
        self._clerk.report(zone, supply)

    def _step(self, step: Step) -> None:
        if self.over is step:
            self.over = None
            raise Stumble


class Poison(Message[None]):
    """What no zone can take."""


@dataclass(frozen=True, slots=True)
class LivingHouse:
    """A house at work. `came_ms` is when each vial was told to have been loaded."""

    nursery: trio.Nursery
    clock: ServerClock
    wire: Wire
    ledger: StumblingLedger
    bus: MessageBus
    desk: VialDesk
    house: House
    actors: Mapping[ZoneId, ZoneActor]
    fittings: Mapping[ZoneId, Fittings]
    came_ms: Mapping[VialId, float]

    async def settle(self) -> None:
        """Wait until everybody has done what there is to do now."""
        await wait_all_tasks_blocked()
        while self.wire.under_way:
            await trio.sleep(0.001 + self.wire.write_s)
            await wait_all_tasks_blocked()

    async def page(self, zone: ZoneId) -> Page:
        """Look at all seats of a zone, as soon as it is open."""
        while True:
            try:
                return await self.actors[zone].ref.ask(ReadPage(1, _all))
            except ActorCrashed:
                continue

    def die(self) -> None:
        """Let nothing out of the house any more, neither to its disk nor to its dispensers."""
        self.wire.cut()
        for fittings in self.fittings.values():
            fittings.are_wired = False


def _all(_: Contents) -> int:
    return 1_000


@asynccontextmanager
async def open_house(
    archive: Archive,
    plan: TheatrePlan,
    limits: Limits,
    devices: Mapping[ZoneId, Devices],
    planned_ms: Mapping[ZoneId, list[float]],
) -> AsyncIterator[LivingHouse]:
    """Open a house over an archive, and close it as the server does."""
    async with archive.open() as shelves:
        clock = HouseClock()
        wire = Wire(clock.now_ms)
        ledger = StumblingLedger(WiredStore(shelves.store, wire))
        herald = Herald(clock.now_ms)
        new_unit = partial(shelves.new_unit, ledger.commit)
        room = StockRoom(new_unit, herald.proclaim)
        bus = MessageBus(room, OrderDesk(new_unit, room.settle))
        actors: dict[ZoneId, ZoneActor] = {}
        fittings: dict[ZoneId, Fittings] = {}
        refs: dict[ZoneId, Ref] = {}
        ushers = Ushers(refs)
        ushers.listen_to(herald)
        clerk = RefillClerk(
            plan,
            bus,
            shelves.views,
            WiredRefills(shelves.refills, wire),
            ledger.vials_stored,
            DEFAULT_LOW,
            ushers.tell_refill,
        )
        clerk.listen_to(herald)
        came_ms: dict[VialId, float] = {}
        herald.add(
            lambda event, at_ms: came_ms.update((vial.id, at_ms) for vial in event.vials),
            VialsLoaded,
        )
        latch = Latch(await ledger.panicked())
        for zone in plan.zones:
            fitted = Fittings(clock, devices[zone.id], planned_ms[zone.id], clerk)
            fittings[zone.id] = fitted
            actors[zone.id] = ZoneActor(
                zone.id,
                partial(zone.seats, online=True),
                limits=limits,
                dispensers=fitted,
                ledger=ledger,
                listeners=fitted,
                clock=clock,
                latch=latch,
                supplies=fitted,
                low_below=DEFAULT_LOW,
                catalogue=plan.catalogue,
            )
        refs.update((id, actor.ref) for id, actor in actors.items())
        house = House(plan, refs, Guests(), ledger, clock, latch)
        desk = VialDesk(plan, bus, shelves.views, ushers)
        async with (
            _running(ledger.run),
            _running(room.run),
            _running(clerk.run),
            trio.open_nursery() as nursery,
        ):
            for actor in actors.values():
                nursery.start_soon(supervise, actor.mailbox, actor.run)
            for actor in actors.values():
                await actor.opened.wait()
            yield LivingHouse(
                nursery, clock, wire, ledger, bus, desk, house, actors, fittings, came_ms
            )
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _running(run: Callable[..., Awaitable[object]]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield
        nursery.cancel_scope.cancel()

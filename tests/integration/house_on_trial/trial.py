"""A house on trial: it is asked for things, gets into trouble meanwhile, and is judged."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import trio
from hypothesis.stateful import RuleBasedStateMachine
from trio.testing import MockClock

from scentrt.domain.doses import US_PER_S, Limits
from scentrt.errors import ActorCrashed, ScentError, StockError, StoreUnavailable
from tests.integration.house_on_trial.archives import Archive
from tests.integration.house_on_trial.attempts import NOTHING_DONE, PLAN, Attempt, Build
from tests.integration.house_on_trial.house import LivingHouse, Poison, Stumble, When, open_house
from tests.integration.house_on_trial.model import Facts, Truth
from tests.memory_stock import Tables
from tests.trio_host import TrioHost

T = TypeVar("T")

LIMITS = Limits(dose_per_minute_us=15 * US_PER_S, dose_per_hour_us=120 * US_PER_S, clearing_ms=500)

WRITTEN_WITHIN_MS = 2_000.0
"""What a zone has decided is on disk by then, where that takes what is written."""

CAUGHT_UP_MS = 3_000.0
"""After an outage all of it is, by then."""

SLOW_S = 0.2
"""How long a write takes, where something is to happen meanwhile."""


@dataclass(frozen=True, slots=True)
class Bug:
    """Whoever hands in what he has decided stumbles; whoever asked asks once more."""

    when: When


@dataclass(frozen=True, slots=True)
class ZonesCrash:
    """The zones crash, so long after it was asked, while something else is being written."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Outage:
    """The database is away."""


@dataclass(frozen=True, slots=True)
class Death:
    """The server dies, after so many more writes."""

    writes: int


Trouble: TypeAlias = Bug | ZonesCrash | Outage | Death | None

NOBODY_KNOWS = object()
"""What became of something over which the server died."""


class HouseOnTrial(RuleBasedStateMachine):
    """A house over an archive, what was promised by it, and what is really in its vials."""

    archive_type: Callable[[], Archive]
    """What makes an empty archive."""

    def __init__(self) -> None:
        super().__init__()
        self.archive = self.archive_type()
        self.truth = Truth(zone.id for zone in PLAN.zones)
        self.facts = Facts()
        self.now_ms = self.asked_ms = 0.0
        self.elapsed_s = 0.0
        self.last: Build | None = None  # what was asked last
        self.panicked: bool | None = False  # None: nobody knows
        self.outage_ms = (-CAUGHT_UP_MS, -CAUGHT_UP_MS)  # the last one that has ended
        self.lost_doses = False
        self._tables: Tables | None = None
        self.open()

    def teardown(self) -> None:
        self.house.wire.mend()
        self.host.close()
        self.archive.discard()

    # Lives

    @property
    def house(self) -> LivingHouse:
        """The house in its present life."""
        return self.host.context

    @property
    def is_cut(self) -> bool:
        """Whether the database is away."""
        return self.house.wire.cut_ms is not None

    def open(self) -> None:
        """Let a house begin its life, with what is in the archive and nothing else."""
        clock = MockClock(autojump_threshold=0)
        clock.jump(self.elapsed_s)
        self.host: TrioHost[LivingHouse] = TrioHost(self.living, clock)
        self.run(self.settled)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[LivingHouse]:
        try:
            async with open_house(
                self.archive, PLAN, LIMITS, self.truth.devices, self.truth.planned_ms
            ) as house:
                yield house
        finally:
            self.elapsed_s = trio.current_time()

    def restart(self) -> None:
        """Let the server end in good order, with a database that takes everything."""
        if self.is_cut:
            self.mend()
            self.run(self.pass_time, CAUGHT_UP_MS / 1000)
        self.host.close()
        self.open()
        self.learn_of_panic()

    def die(self) -> None:
        """Let the server die as things stand, and another one begin."""
        safe_ms = self.safe_ms()
        self.lost_doses |= safe_ms < self.now_ms - WRITTEN_WITHIN_MS
        self.house.die()
        self.host.close()
        self.outage_ms = (-CAUGHT_UP_MS, -CAUGHT_UP_MS)
        self.open()
        self.truth.lose(safe_ms)
        self.learn_of_panic()

    def safe_ms(self) -> float:
        """Return until when everything is surely on disk."""
        began_ms, ended_ms = self.outage_by(self.now_ms)
        caught_up = ended_ms + CAUGHT_UP_MS <= self.now_ms
        return (self.now_ms if caught_up else began_ms) - WRITTEN_WITHIN_MS

    def outage_by(self, now_ms: float) -> tuple[float, float]:
        """Return when the last outage began, and ended: now, if the database is away.

        One before which nobody has caught up with the last is no other one.
        """
        began_ms, ended_ms = self.outage_ms
        cut_ms = self.house.wire.cut_ms
        if cut_ms is None:
            return began_ms, ended_ms
        return began_ms if cut_ms < ended_ms + CAUGHT_UP_MS else cut_ms, now_ms

    def learn_of_panic(self) -> None:
        """See whether there is a panic, after a restart."""
        panicked = self.house.house.panicked
        assert self.panicked in {None, panicked}
        self.panicked = panicked

    def mend(self) -> None:
        """Let the database come back, if it is away."""
        if self.is_cut:
            self.outage_ms = self.outage_by(self.house.clock.now_ms())
            self.house.wire.mend()

    # What is asked

    @property
    def tables(self) -> Tables:
        """What is stored of the stock."""
        if self._tables is None:
            self._tables = self.archive.tables()
        return self._tables

    def run(self, async_fn: Callable[..., Awaitable[T]], *args: object) -> T:
        """Do something in the house, and see what time it is then."""
        self._tables = None
        answer: T = self.host.run(self._timed, async_fn, *args)
        return answer

    async def _timed(self, async_fn: Callable[..., Awaitable[T]], *args: object) -> T:
        try:
            return await async_fn(*args)
        finally:
            self.now_ms = self.house.clock.now_ms()

    async def settled(self) -> None:
        await self.house.settle()
        for _ in range(20):
            if self.is_cut or not self.archive.tables().unsettled:
                return
            await trio.sleep(0.5)
            await self.house.settle()
        raise AssertionError("something is left to be done")

    async def pass_time(self, span_s: float) -> None:
        await trio.sleep(span_s)
        await self.settled()

    def attempt(self, build: Build, trouble: Trouble = None) -> None:
        """Ask for something, and if somebody stumbled over it, once more as things stand then."""
        self.last = build
        outcome = self.perform(build(self.facts, self.tables), trouble)
        if isinstance(outcome, ActorCrashed):
            self.perform(build(self.facts, self.tables), None)

    def perform(self, attempt: Attempt, trouble: Trouble) -> object:
        """Ask for something, and hold what has become of it against what was to be expected."""
        before = self.facts
        was_cut = self.is_cut or isinstance(trouble, Outage)
        outcome = self.run(self.carried_out, attempt, trouble)
        if isinstance(trouble, Death):
            self.die()
        any_of_it = (before, *attempt.after)
        match outcome:
            case StockError():
                assert isinstance(outcome, attempt.refused)
                possible: tuple[Facts, ...] = (before,)
            case StoreUnavailable():
                assert was_cut or isinstance(trouble, Death)
                possible = (before,) if was_cut else any_of_it
            case ActorCrashed():
                assert isinstance(trouble, Bug | ZonesCrash)
                possible = any_of_it
            case _ if outcome is NOBODY_KNOWS:
                possible = any_of_it
            case _ if outcome is NOTHING_DONE:
                possible = (before,)
            case _:
                assert not attempt.refused
                possible = attempt.after[-1:]
        self.facts = Facts.of(self.tables)
        assert self.facts in possible
        self.truth.follow(self.tables, self.asked_ms, self.now_ms, self.house.came_ms, attempt.to)
        if attempt.to is not None and outcome is not NOBODY_KNOWS:
            self.truth.overlook(attempt.places, self.asked_ms)
        return outcome

    async def carried_out(self, attempt: Attempt, trouble: Trouble) -> object:
        house, outcomes = self.house, list[object]()

        async def ask() -> None:
            try:
                outcomes.append(await attempt.ask(house))
            except Stumble:
                outcomes.append(ActorCrashed("whoever it was"))
            except ScentError as error:
                outcomes.append(error)

        usual_s = house.wire.write_s
        match trouble:
            case Bug(when):
                house.ledger.stumble = when
            case ZonesCrash() if not self.is_cut:
                house.wire.write_s = SLOW_S
                while not house.wire.under_way:  # noqa: ASYNC110  (soon a second is over)
                    await trio.sleep(0.05)
            case Outage():
                house.wire.cut()
            case Death(writes) if not self.is_cut:
                house.wire.writes_left = writes
        self.asked_ms = house.clock.now_ms()  # until then the vials have given what was sprayed
        house.nursery.start_soon(ask)
        match trouble:
            case ZonesCrash(after_s):
                await trio.sleep(after_s)
                for actor in house.actors.values():
                    actor.ref.tell(Poison(), urgent=True)
            case Death():
                await house.settle()
                return outcomes[0] if outcomes else NOBODY_KNOWS
        while not outcomes:  # noqa: ASYNC110  (who asked for it need not know)
            await trio.sleep(0.02)
        house.ledger.stumble, house.wire.write_s = None, usual_s
        if isinstance(trouble, Outage):
            self.mend()
        await (house.settle() if isinstance(outcomes[0], ActorCrashed) else self.settled())
        return outcomes[0]

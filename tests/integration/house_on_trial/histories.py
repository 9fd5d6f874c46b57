"""Histories of a house.

Whatever is asked goes through its real parts, and any of them may fail meanwhile: a zone, a
product, the disk, or the whole server, of which only what is on disk is left.
"""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import trio
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from scentrt.actors.messages import CancelCue, Stop, TakeCue
from scentrt.actors.refills import LAST_RETRY_S
from scentrt.actors.vial_desk import Load, Unload
from scentrt.domain.cues import Cue, CueKey, OwnerId, Scent, SeatId, ZoneId
from scentrt.domain.decisions import Refusal, Refused
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Whereabouts
from scentrt.errors import ActorCrashed
from scentrt.service_layer.changes import LineKey
from tests.integration.house_on_trial.attempts import (
    BREEZE,
    ECO,
    FOREST,
    PINE,
    SEA,
    ZONES,
    A,
    B,
    allocating,
    cancelling,
    loading,
    receiving,
    resizing,
    unloading,
)
from tests.integration.house_on_trial.house import Poison, Step, When
from tests.integration.house_on_trial.judge import JudgedHouse
from tests.integration.house_on_trial.trial import (
    Bug,
    Death,
    Outage,
    Trouble,
    ZonesCrash,
)

GAME = OwnerId("s-game")
FIRST = OrderId("o-0")


class Change(Enum):
    """What may be changed in the stock."""

    RECEIVE = "receive a batch"
    ALLOCATE = "allocate a line"
    RESIZE = "set how many a batch has"
    CANCEL = "cancel an order"


class Mishap(Enum):
    """What may happen by itself."""

    ZONE = "a zone crashes"
    REPORT = "a zone crashes as it tells what is left"
    DEATH = "the server dies"
    RESTART = "the server is restarted"
    OUTAGE = "the database goes, or is back"
    SLOWNESS = "the database becomes slow, or quick"


zones = st.sampled_from([A, A, B])
skus = st.sampled_from([SEA, SEA, ECO, PINE])
some_seats = st.sampled_from([None, None, (1,), (2,), (1, 2)])
choices = st.integers(0, 5)
troubles: st.SearchStrategy[Trouble] = st.sampled_from(
    [
        *[None] * 12,
        *map(Bug, When),
        *map(ZonesCrash, (0.0, 0.1, 0.3)),
        Outage(),
        *map(Death, (0, 1, 2, 4)),
    ]
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A cue as it will be asked for; `then_s` later it is stopped, or all is, if anything is.

    Where it `is_missed`, no dispenser takes what is sprayed until then, and says so only then.
    """

    to: tuple[ZoneId, ...]
    seats: tuple[int, ...] | None
    scent: Scent
    intensity: float
    lasts_ms: float
    in_ms: float
    priority: int
    mix: bool
    over: Step | None
    then_s: float
    stop: type[CancelCue | Stop] | None
    is_missed: bool


cues = st.builds(
    Asked,
    to=st.sampled_from([(A, B), (A,), (B,)]),
    seats=some_seats,
    scent=st.sampled_from([BREEZE, BREEZE, FOREST]),
    intensity=st.sampled_from([1.0, 1.0, 0.3]),
    lasts_ms=st.sampled_from([900.0, 1_700.0, 300.0, 3_000.0, 9_000.0]),
    in_ms=st.sampled_from([0.0, 0.0, 100.0, 1_500.0]),
    priority=st.sampled_from([5, 5, 9]),
    mix=st.booleans(),
    over=st.sampled_from([None] * 12 + [Step.SPRAY, Step.TELL]),
    then_s=st.sampled_from([0.3, 1.0, 0.01, 1.0, 2.5, 2.5, 7.0]),
    stop=st.sampled_from([None, None, None, CancelCue, Stop]),
    is_missed=st.sampled_from([False] * 5 + [True]),
)
shows = st.lists(cues, max_size=5)


def seats_of(zone: ZoneId, numbers: tuple[int, ...] | None) -> tuple[SeatId, ...] | None:
    """Return seats by their numbers, as far as the zone has them; None for all of them."""
    if numbers is None:
        return None
    return tuple(SeatId(f"{zone}-1-{n}") for n in numbers if n <= ZONES[zone].seats_per_row)


class HouseHistories(JudgedHouse):
    """A house, and everything that is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.cues = 0

    @initialize(stocked=st.sampled_from([True, True, True, False]), show=shows)
    def open_the_doors(self, stocked: bool, show: list[Asked]) -> None:
        if stocked:
            for sku, qty in (SEA, 8), (ECO, 3), (PINE, 5):
                self.attempt(receiving(self.next_batch, sku, qty))
                self.attempt(allocating(FIRST, sku, 3))
            for zone, sku in (A, SEA), (A, PINE), (B, SEA):
                self.attempt(loading(Load(FIRST, sku, zone)))
        self.play(show)

    # The stock

    @property
    def next_batch(self) -> BatchRef:
        """The reference of a batch that nobody knows."""
        return BatchRef(f"b-{len(self.facts.batches)}")

    def choose_line(self, which: int) -> LineKey:
        """Return one of the lines that there are, or one that there is not."""
        lines = [*self.tables.lines, (SEA, OrderId("nobody's"))]
        return lines[which % len(lines)]

    @rule(what=st.sampled_from(Change), which=choices, sku=skus, qty=choices, trouble=troubles)
    def change_stock(self, what: Change, which: int, sku: Sku, qty: int, trouble: Trouble) -> None:
        match what:
            case Change.RECEIVE:
                build = receiving(self.next_batch, sku, 2 * qty)
            case Change.ALLOCATE:
                build = allocating(OrderId(f"o-{which}"), sku, 1 + qty)
            case Change.RESIZE:
                batches = [*self.facts.batches, self.next_batch]
                build = resizing(batches[which % len(batches)], 2 * qty)
            case Change.CANCEL:
                build = cancelling(self.choose_line(which)[1])
            case _:
                assert_never(what)
        self.attempt(build, trouble)

    @rule(
        which=choices,
        zone=zones,
        seats=some_seats,
        most=st.sampled_from([None, None, 1, 2]),
        trouble=troubles,
    )
    def load(
        self,
        which: int,
        zone: ZoneId,
        seats: tuple[int, ...] | None,
        most: int | None,
        trouble: Trouble,
    ) -> None:
        sku, orderid = self.choose_line(which)
        named = seats_of(zone, seats)
        wish = Load(orderid, sku, zone, named or None, None if named else most)
        self.attempt(loading(wish), trouble)

    @rule(
        zone=zones,
        seats=some_seats,
        slot=st.sampled_from([None, 0, 1]),
        to=st.sampled_from([Whereabouts.RETURNED, Whereabouts.DISCARDED]),
        trouble=troubles,
        then=st.none() | troubles.map(lambda trouble: (trouble,)),
    )
    def unload(
        self,
        zone: ZoneId,
        seats: tuple[int, ...] | None,
        slot: int | None,
        to: Whereabouts,
        trouble: Trouble,
        then: tuple[Trouble] | None,
    ) -> None:
        """And `then` load what the same orders still have."""
        before = self.facts.seated
        self.attempt(unloading(Unload(zone, to, seats_of(zone, seats), slot=slot)), trouble)
        gone = {key: None for place, key in before.items() if place not in self.facts.seated}
        if then is not None:
            for sku, orderid in gone:
                self.attempt(loading(Load(orderid, sku, zone)), then[0])

    @rule(which=choices, first=troubles, then=troubles)
    def bring_a_refill(self, which: int, first: Trouble, then: Trouble) -> None:
        """Throw the low vials of a scent away, and load what was ordered for them."""
        ordered = [row for row in self.archive.refills() if row.is_open]
        if ordered:
            row = ordered[which % len(ordered)]
            low = Unload(row.zone, Whereabouts.DISCARDED, scent=row.refill.scent, below_percent=20)
            self.attempt(unloading(low), first)
            self.attempt(loading(Load(row.refill.orderid, row.refill.sku, row.zone)), then)

    @precondition(lambda self: self.last)
    @rule(trouble=troubles)
    def ask_once_more(self, trouble: Trouble) -> None:
        assert self.last is not None
        self.attempt(self.last, trouble)

    # The theatre

    @rule(show=shows, stumble=st.none() | st.sampled_from(When))
    def play(self, show: list[Asked], stumble: When | None = None) -> None:
        """Meanwhile a refill may be ordered, over which somebody may stumble."""
        self.house.ledger.stumble = stumble
        for asked in show:
            self.run(self.cued, asked)
        self.house.ledger.stumble = None

    @rule(show=shows, writes=st.none() | st.integers(0, 12))
    def play_until_the_power_fails(self, show: list[Asked], writes: int | None) -> None:
        """After so many writes, or with a refill; at the end the server dies."""
        if not self.is_cut:
            self.house.wire.writes_left = writes
            self.house.wire.ends_with_a_refill = writes is None
        self.play(show)
        self.die()

    @rule(show=shows, pause_s=st.sampled_from([0.0, 0.0, 61.0]))
    def play_after_a_pause(self, show: list[Asked], pause_s: float) -> None:
        self.run(self.pass_time, pause_s)
        self.play(show)

    async def cued(self, asked: Asked) -> None:
        self.cues += 1
        for zone in asked.to:
            if asked.is_missed:
                self.truth.devices[zone].jammed.update(ZONES[zone].seat_ids())
            fittings = self.house.fittings[zone]
            fittings.over = asked.over
            try:
                verdict = await self.house.actors[zone].ref.ask(TakeCue(self.cue(zone, asked)))
            except ActorCrashed:
                assert asked.over is not None
            else:
                assert not self.panicked or verdict == Refused(Refusal.PANIC)
            await self.settled()
            fittings.over = None
        await self.pass_time(asked.then_s)
        for zone in asked.to:
            self.truth.devices[zone].jammed.clear()
            self.house.fittings[zone].own_up()
        await self.settled()
        if asked.stop is not None:
            now_ms = self.house.clock.now_ms()
            stop = Stop(None, None, now_ms)
            cancel = CancelCue(CueKey(GAME, self.cues), now_ms)
            for zone in asked.to:
                ref = self.house.actors[zone].ref
                if asked.stop is Stop:
                    await ref.ask(stop, urgent=True)
                else:
                    await ref.ask(cancel, urgent=True)
            await self.settled()

    def cue(self, zone: ZoneId, asked: Asked) -> Cue:
        now_ms = self.house.clock.now_ms()
        return Cue(
            CueKey(GAME, self.cues),
            asked.scent,
            asked.intensity,
            asked.lasts_ms,
            now_ms + asked.in_ms,
            500,
            now_ms,
            seats_of(zone, asked.seats),
            asked.priority,
            asked.mix,
        )

    @rule(meanwhile=st.none() | st.sampled_from(Mishap), show=st.lists(cues, max_size=1))
    def panic(self, meanwhile: Mishap | None, show: list[Asked]) -> None:
        """And release, after something may have happened meanwhile."""
        self.run(self.house.house.panic)
        self.panicked = None if self.is_cut else True
        if meanwhile is not None:
            self.befall(meanwhile, A)
        self.play(show)
        self.mend()
        self.run(self.house.house.release)
        self.panicked = False
        self.run(self.settled)

    # What happens

    @rule(what=st.sampled_from(Mishap), zone=zones)
    def befall(self, what: Mishap, zone: ZoneId) -> None:
        match what:
            case Mishap.ZONE | Mishap.REPORT:
                self.run(self.crash, zone, what)
            case Mishap.DEATH:
                self.die()
            case Mishap.RESTART:
                self.restart()
            case Mishap.OUTAGE if self.is_cut:
                self.mend()
            case Mishap.OUTAGE:
                self.house.wire.cut()
            case Mishap.SLOWNESS:
                self.house.wire.write_s = 0.0 if self.house.wire.write_s else 0.1
            case _:
                assert_never(what)

    async def crash(self, zone: ZoneId, what: Mishap) -> None:
        fittings = self.house.fittings[zone]
        if what is Mishap.REPORT:
            fittings.over = Step.REPORT
            await trio.sleep(1)
        else:
            self.house.actors[zone].ref.tell(Poison(), urgent=True)
        await self.settled()
        fittings.over = None

    @rule()
    def all_is_well_for_a_while(self) -> None:
        """Then every need is known and looked after."""
        self.mend()
        self.run(self.pass_time, 3 * LAST_RETRY_S)
        self.judge_needs()

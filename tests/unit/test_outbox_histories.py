"""Whatever goes away, crashes or restarts, everything arrives, and in order.

A letter that is put off lets the others pass; it arrives too, or is too old, and kept.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from scentrt.actors.outbox import LAST_DEFERRAL_S, Outbox, PutOff
from scentrt.errors import Deferred, DeliveryFailed, StoreUnavailable, Undeliverable
from scentrt.service_layer.deliveries import Delivery
from tests.memory_deliveries import MemoryDeliveries

KINDS = ("redis", "email")

GIVE_UP_AFTER_S = 5.0


def now_ms() -> float:
    return trio.current_time() * 1000


class Happening(Enum):
    """What may happen in the life of an outbox."""

    REDIS_COMMIT = auto()
    EMAIL_COMMIT = auto()
    LETTER_TO_NOBODY = auto()
    OUTSIDE_GOES_OR_COMES = auto()
    MAILBOXES_FILL_OR_EMPTY = auto()
    READING_FAILS_OR_WORKS = auto()
    WRITING_FAILS_OR_WORKS = auto()
    CRASH = auto()
    RESTART = auto()


commits = st.sampled_from([Happening.REDIS_COMMIT, Happening.EMAIL_COMMIT])
happenings = st.tuples(
    st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.1, 1.0, 20.0]),
    commits | commits | st.just(Happening.MAILBOXES_FILL_OR_EMPTY) | st.sampled_from(Happening),
)
"""Something that happens, so many seconds after what happened before it."""


class Life:
    """One process: what it sends, and a store and an outside that it loses when it is killed."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._killed = False
        self.arrived: dict[str, list[int]] = defaultdict(list)
        self.was_killed_or_could_not_write = False
        self.outbox = Outbox(self, dict.fromkeys(KINDS, self), now_ms, {"email": GIVE_UP_AFTER_S})
        self.scope = trio.CancelScope()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.outbox.run(task_status)

    def kill(self) -> None:
        """End it as a power cut does: nothing it begins from here on has any effect."""
        self._killed = True
        self.was_killed_or_could_not_write = True
        self.scope.cancel()

    async def fresh_deliveries(self, kind: str, after_id: int, limit: int) -> Sequence[Delivery]:
        return await self._world.store.fresh_deliveries(kind, after_id, limit)

    async def put_off(self, kind: str) -> PutOff:
        return await self._world.store.put_off(kind)

    async def due_deliveries(self, kind: str, by_ms: float, limit: int) -> Sequence[Delivery]:
        return await self._world.store.due_deliveries(kind, by_ms, limit)

    async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
        self._check_that_it_lives()
        await self._world.store.strike_out_deliveries(ids)

    async def put_off_deliveries(self, until_ms: Mapping[int, float]) -> None:
        self._check_that_it_lives()
        await self._world.store.put_off_deliveries(until_ms)

    async def give_up_deliveries(self, reasons: Mapping[int, str], at_ms: float) -> None:
        self._check_that_it_lives()
        for id in reasons:
            self._world.given_up_at_age[id] = at_ms / 1000 - self._world.sent_at[id]
        await self._world.store.give_up_deliveries(reasons, at_ms)

    def _check_that_it_lives(self) -> None:
        if self._killed:
            raise StoreUnavailable("this process is dead")
        if not self._world.store.writable:
            self.was_killed_or_could_not_write = True

    async def deliver(self, delivery: Delivery) -> None:
        await trio.sleep(self._world.half_way_s)
        if self._world.outside_is_away:
            raise DeliveryFailed("the outside is away")
        if delivery.id in self._world.to_nobody:
            raise Undeliverable("nobody lives here")
        if delivery.kind == "email" and delivery.id % 2 and self._world.mailboxes_are_full:
            self._world.put_off.add(delivery.id)
            raise Deferred("their mailbox is full")
        self.arrived[delivery.kind].append(delivery.id)
        await trio.sleep(self._world.half_way_s)


class World:
    """What outlives the processes."""

    def __init__(self, call_s: float, half_way_s: float) -> None:
        self.store = MemoryDeliveries()
        self.store.call_s = call_s
        self.half_way_s = half_way_s
        self.outside_is_away = False
        self.mailboxes_are_full = False  # those of every second letter
        self.to_nobody: set[int] = set()
        self.put_off: set[int] = set()
        self.sent_at: dict[int, float] = {}
        self.given_up_at_age: dict[int, float] = {}
        self.sent: dict[str, list[int]] = defaultdict(list)
        self.lives: list[Life] = []

    async def play(self, history: Sequence[tuple[float, Happening]]) -> None:
        async with trio.open_nursery() as nursery:
            await self._begin_life(nursery)
            for after_s, happening in history:
                await trio.sleep(after_s)
                match happening:
                    case Happening.REDIS_COMMIT:
                        self._commit("redis")
                    case Happening.EMAIL_COMMIT:
                        self._commit("email")
                    case Happening.LETTER_TO_NOBODY:
                        self.to_nobody.add(self._commit("email"))
                    case Happening.OUTSIDE_GOES_OR_COMES:
                        self.outside_is_away = not self.outside_is_away
                    case Happening.MAILBOXES_FILL_OR_EMPTY:
                        self.mailboxes_are_full = not self.mailboxes_are_full
                    case Happening.READING_FAILS_OR_WORKS:
                        self.store.readable = not self.store.readable
                    case Happening.WRITING_FAILS_OR_WORKS:
                        self.store.writable = not self.store.writable
                    case Happening.CRASH:
                        self.lives[-1].kill()
                        await self._begin_life(nursery)
                    case Happening.RESTART:
                        self.lives[-1].scope.cancel()
                        await trio.sleep(5)
                        await self._begin_life(nursery)
            self.outside_is_away = self.mailboxes_are_full = False
            self.store.readable = self.store.writable = True
            await trio.sleep(600 + LAST_DEFERRAL_S)
            nursery.cancel_scope.cancel()

    async def _begin_life(self, nursery: trio.Nursery) -> None:
        self.lives.append(Life(self))
        await nursery.start(self.lives[-1].run)

    def _commit(self, kind: str) -> int:
        number = sum(map(len, self.sent.values())) + 1
        self.store.put(str(number), kind)
        self.sent[kind].append(number)
        self.sent_at[number] = trio.current_time()
        self.lives[-1].outbox.wake()
        return number


@pytest.mark.soak
@given(
    st.lists(happenings, max_size=60),
    st.sampled_from([0.0, 0.001, 0.05]),
    st.sampled_from([0.0, 0.001, 0.03, 0.5]),
)
def test_everything_arrives_in_order_over_crashes_and_outages(
    history: list[tuple[float, Happening]], call_s: float, half_way_s: float
) -> None:
    world = World(call_s, half_way_s)
    trio.run(world.play, history, clock=MockClock(autojump_threshold=0))
    assert world.store.event_ids == []
    given_up = {int(number) for number in world.store.given_up}
    arrived = {id for life in world.lives for ids in life.arrived.values() for id in ids}
    assert world.to_nobody <= given_up <= world.to_nobody | world.put_off
    for id in given_up - world.to_nobody:
        assert world.given_up_at_age[id] >= GIVE_UP_AFTER_S
    assert arrived | given_up == {id for ids in world.sent.values() for id in ids}
    for kind, everything in world.sent.items():
        # All others pass those that were put off or given up, and go on as if these were not there.
        sent = [id for id in everything if id not in world.put_off | given_up]
        spans = [
            [id for id in life.arrived[kind] if id not in world.put_off | given_up]
            for life in world.lives
        ]
        # One process sends without gaps, without doubles and in order.
        for span in spans:
            if span:
                first = sent.index(span[0])
                assert span == sent[first : first + len(span)]
        # The next one goes on where it was, or sends again what is not known to have arrived.
        done = 0
        for span in spans:
            if span:
                assert sent.index(span[0]) <= done
                done = max(done, sent.index(span[-1]) + 1)
        assert done == len(sent)
        # After an orderly end that is at most the one that was under way.
        lives = zip(world.lives, spans, strict=True)
        for (life, before), (_, after) in pairwise((life, span) for life, span in lives if span):
            if not life.was_killed_or_could_not_write:
                assert after[0] >= before[-1]

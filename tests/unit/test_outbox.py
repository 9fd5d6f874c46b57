"""The outbox brings everything to the outside, in order, whatever is away meanwhile."""

import logging
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors import outbox
from scentrt.actors.outbox import Outbox, OutboxHealth
from scentrt.errors import Deferred, DeliveryFailed, ScentError, Undeliverable
from scentrt.service_layer.deliveries import Delivery
from tests.memory_deliveries import MemoryDeliveries

HEALTHY = OutboxHealth(waiting=0, put_off=0, failing=False, away=False, given_up=0)

DAY_S = 86_400


class Outside:
    """A channel that notes what arrives; `away` and `poison` make it raise, `takes_s` slow."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.poison: dict[str, ScentError] = {}
        self.takes_s = 0.0
        self.arrived: list[str] = []
        self.attempted_at: list[float] = []

    async def deliver(self, delivery: Delivery) -> None:
        self.attempted_at.append(trio.current_time())
        await trio.sleep(self.takes_s)
        if self.away is not None:
            raise self.away
        if delivery.event_id in self.poison:
            raise self.poison[delivery.event_id]
        self.arrived.append(delivery.event_id)


def now_ms() -> float:
    return trio.current_time() * 1000


class Desk:
    """An outbox with two channels, on a store that outlives it."""

    def __init__(self) -> None:
        self.store = MemoryDeliveries()
        self.redis, self.email = Outside(), Outside()
        self.outbox = self.new_outbox()

    def new_outbox(self) -> Outbox:
        """Return an outbox as a process has it."""
        channels = {"redis": self.redis, "email": self.email}
        return Outbox(self.store, channels, now_ms, {"email": 5 * DAY_S})

    def commit(self, *event_ids: str, kind: str = "redis") -> None:
        """Commit some deliveries, and wake the outbox as a commit does."""
        for event_id in event_ids:
            self.store.put(event_id, kind)
        self.outbox.wake()


@pytest.fixture
async def desk(nursery: trio.Nursery) -> AsyncIterator[Desk]:
    """A desk whose outbox runs."""
    desk = Desk()
    await nursery.start(desk.outbox.run)
    await wait_all_tasks_blocked()
    yield desk
    nursery.cancel_scope.cancel()


async def test_what_is_committed_arrives_at_once_in_order_and_is_struck_out(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.commit("a", "b", "c")
    await wait_all_tasks_blocked()
    assert desk.redis.arrived == ["a", "b", "c"]
    assert desk.store.event_ids == []
    assert trio.current_time() == 0


async def test_each_kind_takes_its_own_channel(desk: Desk, autojump_clock: MockClock) -> None:
    desk.commit("mail", kind="email")
    desk.commit("message")
    await wait_all_tasks_blocked()
    assert (desk.redis.arrived, desk.email.arrived) == (["message"], ["mail"])


async def test_what_an_earlier_process_left_is_delivered_without_a_commit(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    desk.store.put("left")
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.outbox.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert desk.redis.arrived == ["left"]


async def test_a_kind_without_a_channel_stays_where_it_is(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.commit("owl", kind="owl")
    await trio.sleep(60)
    assert desk.store.event_ids == ["owl"]


async def test_a_dead_channel_does_not_hold_up_the_other(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.email.takes_s = 1_000
    desk.commit("mail", kind="email")
    desk.commit("message")
    await trio.sleep(1)
    assert desk.redis.arrived == ["message"]


async def test_a_commit_during_a_look_is_not_missed(desk: Desk, autojump_clock: MockClock) -> None:
    desk.store.call_s = 1
    desk.commit("a")
    await trio.sleep(0.5)  # it looks
    desk.commit("b")
    await trio.sleep(10)
    assert desk.redis.arrived == ["a", "b"]


async def test_a_commit_at_any_moment_of_the_round_is_not_missed(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.store.call_s = desk.redis.takes_s = 0.3
    sent = [str(number) for number in range(40)]
    for event_id in sent:
        desk.commit(event_id)
        await trio.sleep(0.07)
    await trio.sleep(60)
    assert desk.redis.arrived == sent
    assert desk.store.event_ids == []


async def test_many_wake_ups_cost_few_looks(desk: Desk, autojump_clock: MockClock) -> None:
    before = desk.store.looks
    desk.commit(*"abcdefghij")
    for _ in range(100):
        desk.outbox.wake()
    await wait_all_tasks_blocked()
    assert desk.store.looks - before <= 2 * 2  # for each kind: what there is, and that it is all


async def test_an_idle_outbox_leaves_the_database_alone(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.commit("a")
    await wait_all_tasks_blocked()
    before = desk.store.looks
    await trio.sleep(3600)
    assert desk.store.looks == before


async def test_what_the_outside_refuses_is_tried_until_it_is_taken_and_nothing_overtakes_it(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.away = DeliveryFailed("Redis is away")
    desk.commit("a", "b")
    await trio.sleep(60)
    assert desk.redis.arrived == []
    assert desk.store.event_ids == ["a", "b"]
    desk.commit("c")
    desk.redis.away = None
    await trio.sleep(5)
    assert desk.redis.arrived == ["a", "b", "c"]


async def test_pauses_between_attempts_double_to_five_seconds_and_are_never_quite_the_same(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.away = DeliveryFailed("Redis is away")
    desk.commit("a")
    await trio.sleep(300)
    pauses = [after - before for before, after in pairwise(desk.redis.attempted_at)]
    longest = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    longest += [5] * (len(pauses) - len(longest))
    assert len(pauses) > 60
    for pause, most in zip(pauses, longest, strict=True):
        assert most / 2 <= pause <= most
    assert len({round(pause, 6) for pause in pauses}) == len(pauses)


async def test_after_a_success_the_next_outage_begins_with_the_first_pause(
    desk: Desk, autojump_clock: MockClock
) -> None:
    for event_id in ("a", "b"):
        desk.redis.away = DeliveryFailed("Redis is away")
        desk.commit(event_id)
        await trio.sleep(60)
        desk.redis.away = None
        await trio.sleep(5)
        desk.redis.attempted_at.clear()
    desk.redis.away = DeliveryFailed("Redis is away")
    desk.commit("c")
    await trio.sleep(0.11)
    assert len(desk.redis.attempted_at) >= 2


async def test_new_commits_do_not_hurry_a_channel_that_is_away(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.away = DeliveryFailed("Redis is away")
    desk.commit("a")
    await trio.sleep(60)
    attempts = len(desk.redis.attempted_at)
    for _ in range(100):
        desk.commit("more")
        await trio.sleep(0.05)
    assert len(desk.redis.attempted_at) - attempts <= 3


async def test_an_outage_is_logged_once_and_so_is_its_end(
    desk: Desk, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.INFO, logger="scentrt")
    for _ in range(2):
        desk.redis.away = DeliveryFailed("Redis is away")
        desk.commit("a", "b")
        await trio.sleep(60)
        desk.redis.away = None
        await trio.sleep(60)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"] * 2
    assert "Redis is away" in caplog.records[0].getMessage()


async def test_what_can_never_go_is_logged_kept_aside_and_stops_nobody(
    desk: Desk, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    desk.redis.poison["b"] = Undeliverable("it holds nothing to publish")
    desk.commit("a", "b", "c")
    await wait_all_tasks_blocked()
    assert desk.redis.arrived == ["a", "c"]
    assert desk.store.event_ids == []
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "redis of b" in record.getMessage()
    assert "holds nothing" in record.getMessage()
    assert desk.outbox.health["redis"].given_up == 1
    assert desk.store.given_up == {"b": "it holds nothing to publish"}


async def test_a_bug_in_a_channel_is_logged_with_its_traceback_and_loses_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    desk.redis.away = ZeroDivisionError("oh")
    desk.commit("a")
    await trio.sleep(10)
    assert "Traceback" in caplog.text
    health = desk.outbox.health["redis"]
    assert (health.failing, health.away) == (True, False)
    desk.redis.away = None
    await trio.sleep(5)
    assert desk.redis.arrived == ["a"]


async def test_without_a_database_it_tries_on_and_delivers_when_there_is_one(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.store.readable = False
    desk.commit("a")
    await trio.sleep(60)
    health = desk.outbox.health["redis"]
    assert (health.failing, health.away) == (True, False)
    desk.store.readable = True
    await trio.sleep(5)
    assert desk.redis.arrived == ["a"]
    assert desk.outbox.health["redis"] == HEALTHY


async def test_what_could_not_be_struck_out_is_not_sent_again_by_the_same_process(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.store.writable = False
    desk.commit("a", "b")
    await trio.sleep(60)
    assert desk.redis.arrived == ["a", "b"]
    desk.store.writable = True
    await trio.sleep(5)
    assert desk.redis.arrived == ["a", "b"]
    assert desk.store.event_ids == []


async def test_what_a_look_shows_although_it_was_struck_out_is_not_sent_again(
    autojump_clock: MockClock,
) -> None:
    class StaleStore(MemoryDeliveries):
        async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
            await trio.lowlevel.checkpoint()

    store, redis = StaleStore(), Outside()
    box = Outbox(store, {"redis": redis}, now_ms)
    async with trio.open_nursery() as nursery:
        await nursery.start(box.run)
        for event_id in ("a", "b"):
            store.put(event_id)
            box.wake()
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert redis.arrived == ["a", "b"]


async def test_nothing_more_is_sent_while_nothing_can_be_struck_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(outbox, "PAGE", 2)
    desk.store.writable = False
    desk.commit(*"abcdef")
    await trio.sleep(60)
    assert desk.redis.arrived == ["a", "b"]
    desk.store.writable = True
    await trio.sleep(10)
    assert desk.redis.arrived == list("abcdef")


async def test_a_backlog_goes_out_page_by_page_with_few_commits(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(outbox, "PAGE", 10)
    sent = [str(number) for number in range(95)]
    desk.commit(*sent)
    await wait_all_tasks_blocked()
    assert desk.redis.arrived == sent
    assert [len(ids) for ids in desk.store.strikes] == [10] * 9 + [5]


async def test_what_was_sent_slowly_does_not_wait_for_its_page_to_be_struck_out(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.takes_s = 1
    desk.commit("a", "b", "c")
    await trio.sleep(2.5)
    assert desk.store.event_ids == ["c"]


async def test_what_was_sent_before_an_outage_is_struck_out_during_it(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison["b"] = DeliveryFailed("Redis has gone")
    desk.commit("a", "b")
    await wait_all_tasks_blocked()
    assert desk.store.event_ids == ["b"]


async def test_health_tells_how_many_wait_and_whether_it_fails(
    desk: Desk, autojump_clock: MockClock
) -> None:
    assert desk.outbox.health == {"redis": HEALTHY, "email": HEALTHY}
    desk.redis.away = DeliveryFailed("Redis is away")
    desk.commit("a", "b")
    await trio.sleep(10)
    desk.commit("c")
    await trio.sleep(5)
    assert desk.outbox.health == {
        "redis": OutboxHealth(waiting=3, put_off=0, failing=True, away=True, given_up=0),
        "email": HEALTHY,
    }
    desk.redis.away = None
    await trio.sleep(5)
    assert desk.outbox.health["redis"] == HEALTHY


async def test_an_orderly_end_strikes_out_what_has_arrived(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.redis.takes_s = 0.04
    desk.commit("a", "b", "c")
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.outbox.run)
        await trio.sleep(0.06)
        assert (desk.redis.arrived, desk.store.event_ids) == (["a"], ["a", "b", "c"])
        nursery.cancel_scope.cancel()
    assert desk.store.event_ids == ["b", "c"]


@pytest.mark.parametrize("taking", ["the channel", "the pause", "the database"])
async def test_it_ends_at_once_whatever_it_is_at(taking: str, autojump_clock: MockClock) -> None:
    desk = Desk()
    match taking:
        case "the channel":
            desk.redis.takes_s = 1_000
        case "the pause":
            desk.redis.away = DeliveryFailed("Redis is away")
        case _:
            desk.store.readable = False
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.outbox.run)
        desk.commit("a")
        await trio.sleep(60)
        ended_at = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == ended_at
    assert desk.store.event_ids == ["a"]


async def test_an_end_is_not_held_up_for_long_by_a_database_that_hangs(
    autojump_clock: MockClock,
) -> None:
    class HangingStore(MemoryDeliveries):
        async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
            await trio.sleep_forever()

    store, redis = HangingStore(), Outside()
    store.put("a")
    async with trio.open_nursery() as nursery:
        await nursery.start(Outbox(store, {"redis": redis}, now_ms).run)
        await trio.sleep(60)
        ended_at = trio.current_time()
        nursery.cancel_scope.cancel()
    assert redis.arrived == ["a"]
    assert trio.current_time() - ended_at <= outbox.LAST_WRITING_S


# One that is not taken for now


FULL = Deferred("their mailbox is full")


async def test_one_that_is_not_taken_for_now_lets_those_behind_it_pass_and_arrives_later(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison = {"b": FULL, "d": FULL}
    desk.commit("a", "b", "c", "d", "e")
    await wait_all_tasks_blocked()
    assert desk.redis.arrived == ["a", "c", "e"]
    assert desk.store.event_ids == ["b", "d"]
    assert desk.outbox.health["redis"] == OutboxHealth(0, 2, failing=False, away=False, given_up=0)
    desk.redis.poison.clear()
    await trio.sleep(10)
    assert desk.redis.arrived[:3] == ["a", "c", "e"]
    assert sorted(desk.redis.arrived[3:]) == ["b", "d"]
    assert desk.store.event_ids == []
    assert desk.outbox.health["redis"] == HEALTHY


async def test_one_that_is_never_taken_is_tried_ever_more_seldom(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison = {"b": FULL}
    desk.commit("b")
    await trio.sleep(DAY_S)
    pauses = [after - before for before, after in pairwise(desk.redis.attempted_at)]
    assert DAY_S / outbox.LAST_DEFERRAL_S <= len(pauses) < 150
    assert pauses[0] <= outbox.FIRST_DEFERRAL_S
    assert outbox.LAST_DEFERRAL_S / 2 <= pauses[-1] <= outbox.LAST_DEFERRAL_S
    assert desk.store.event_ids == ["b"]
    desk.commit("c")
    await wait_all_tasks_blocked()
    assert desk.redis.arrived == ["c"]


async def test_a_letter_that_is_not_taken_for_five_days_is_given_up_and_kept(
    desk: Desk, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    desk.email.poison = {"a": FULL}
    desk.commit("a", kind="email")
    await trio.sleep(5 * DAY_S - 1)
    assert desk.store.event_ids == ["a"]
    await trio.sleep(outbox.LAST_DEFERRAL_S)
    assert (desk.store.event_ids, desk.outbox.health["email"].given_up) == ([], 1)
    assert desk.store.given_up == {"a": "5.0 days old, and still: their mailbox is full"}
    assert "email of a is given up, and kept as undelivered: 5.0 days old" in caplog.text


async def test_an_event_is_never_given_up_for_its_age(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison = {"a": FULL}
    desk.commit("a")
    await trio.sleep(30 * DAY_S)
    desk.redis.poison.clear()
    await trio.sleep(outbox.LAST_DEFERRAL_S)
    assert desk.redis.arrived == ["a"]


async def test_a_mail_server_that_is_away_for_long_makes_nobody_give_up(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LAST_RETRY_S", 1_000.0)
    desk = Desk()
    await nursery.start(desk.outbox.run)
    desk.email.poison = {"a": FULL}
    desk.commit("a", "b", kind="email")
    await trio.sleep(60)
    desk.email.away = DeliveryFailed("away")
    desk.commit("c", kind="email")
    await trio.sleep(10 * DAY_S)
    assert desk.store.event_ids == ["a", "c"]
    desk.email.away, desk.email.poison = None, {}
    await trio.sleep(1_000)
    nursery.cancel_scope.cancel()
    assert sorted(desk.email.arrived) == ["a", "b", "c"]


async def test_one_that_is_not_taken_for_now_survives_the_death_of_the_outside(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison = {"a": FULL}
    desk.commit("a", "b")
    await wait_all_tasks_blocked()
    desk.redis.away = DeliveryFailed("away")
    desk.redis.poison.clear()
    desk.commit("c")
    await trio.sleep(200)
    assert desk.redis.arrived == ["b"]
    health = desk.outbox.health["redis"]
    assert (health.failing, health.away) == (True, True)
    desk.redis.away = None
    await trio.sleep(200)
    assert sorted(desk.redis.arrived) == ["a", "b", "c"]
    assert desk.store.event_ids == []


async def test_the_next_process_sends_what_was_put_off_when_it_is_due(
    autojump_clock: MockClock,
) -> None:
    desk = Desk()
    desk.redis.poison = {"a": FULL}
    for event_id in "a", "c":
        async with trio.open_nursery() as nursery:
            desk.outbox = desk.new_outbox()
            await nursery.start(desk.outbox.run)
            desk.commit(event_id)
            await wait_all_tasks_blocked()
            if event_id == "c":
                assert (desk.redis.arrived, desk.outbox.health["redis"].put_off) == (["c"], 1)
                await trio.sleep(5)
            nursery.cancel_scope.cancel()
        desk.redis.poison.clear()
    assert desk.redis.arrived == ["c", "a"]
    assert desk.store.event_ids == []


async def test_however_many_are_put_off_and_however_slowly_that_goes_what_is_new_does_not_wait(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PAGE", 5)
    desk = Desk()
    names = [f"n-{number}" for number in range(100)]
    desk.redis.poison = dict.fromkeys(names, FULL)
    desk.commit(*names)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.outbox.run)
        await wait_all_tasks_blocked()
        assert desk.outbox.health["redis"].put_off == 100
        desk.redis.takes_s = 10  # the server thinks about each
        await trio.sleep(600)
        for number in range(20):
            desk.commit(f"new-{number}")
            await trio.sleep(21)  # the one under way, and itself
            assert f"new-{number}" in desk.redis.arrived
        assert desk.outbox.health["redis"].put_off == 100
        desk.redis.poison.clear()
        await trio.sleep(2 * outbox.LAST_DEFERRAL_S)
        nursery.cancel_scope.cancel()
    assert set(names) <= set(desk.redis.arrived)
    assert desk.store.event_ids == []


async def test_what_was_put_off_is_tried_again_though_others_never_end(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison = {"a": FULL}
    desk.redis.takes_s = 0.5
    desk.commit("a")
    for number in range(200):
        desk.commit(f"n-{number}")
        await trio.sleep(0.4)
        if number == 50:
            desk.redis.poison.clear()
    assert "a" in desk.redis.arrived


async def test_what_could_not_be_written_down_as_put_off_or_given_up_is_so_later(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.redis.poison = {"a": FULL, "b": Undeliverable("it holds nothing")}
    desk.store.writable = False
    desk.commit("a", "b", "c")
    await trio.sleep(60)
    assert len(desk.redis.attempted_at) == 3
    desk.store.writable = True
    desk.redis.poison = {}
    await trio.sleep(5)
    assert desk.redis.arrived == ["c", "a"]
    assert (desk.store.given_up, desk.store.event_ids) == ({"b": "it holds nothing"}, [])

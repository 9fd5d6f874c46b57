"""What we publish reaches a real Redis, and its subscribers, also over its deaths."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

from scentrt.actors.clock import ServerClock
from scentrt.actors.outbox import Outbox
from scentrt.adapters import redis_pubsub
from scentrt.adapters.redis_pubsub import RedisAddress, RedisChannel
from scentrt.errors import DeliveryFailed, Undeliverable
from scentrt.service_layer.deliveries import Delivery
from tests.e2e.speaking import until
from tests.integration.redis_server import RedisServer, address
from tests.memory_deliveries import MemoryDeliveries

pytestmark = pytest.mark.needs("redis-server", "redis-server")

ALLOCATED = {"orderid": "o-1", "sku": "LAMP", "qty": 3, "batchref": "b-1"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for subscribers only briefly, where a test has none."""
    monkeypatch.setattr(redis_pubsub, "SUBSCRIBERS_BACK_WITHIN_S", 0.05)


def delivery(event_id: str, payload: str = "") -> Delivery:
    publication = {"channel": "line_allocated", "message": ALLOCATED}
    payload = payload or msgspec.json.encode(publication).decode()
    return Delivery(1, event_id, "redis", payload, 0)


@asynccontextmanager
async def open_channel(at: RedisAddress) -> AsyncIterator[RedisChannel]:
    channel = RedisChannel(at)
    async with trio.open_nursery() as nursery:
        await nursery.start(channel.run)
        yield channel
        nursery.cancel_scope.cancel()


async def insist(channel: RedisChannel, delivery: Delivery) -> None:
    """Deliver as the outbox does: it is chance whether a dead connection was noticed before."""
    with trio.fail_after(30):
        while True:
            try:
                await channel.deliver(delivery)
                return
            except DeliveryFailed:
                await trio.sleep(0.01)


async def test_a_message_is_published_as_the_contract_says_with_its_event_id(
    redis: RedisServer,
) -> None:
    async with (
        redis.listening("line_allocated") as listener,
        open_channel(address(redis)) as channel,
    ):
        await channel.deliver(delivery("e-1"))
        assert await listener.next() == {**ALLOCATED, "event_id": "e-1"}


async def test_messages_arrive_in_the_order_of_their_delivery(redis: RedisServer) -> None:
    sent = [f"e-{number}" for number in range(100)]
    async with (
        redis.listening("line_allocated") as listener,
        open_channel(address(redis)) as channel,
    ):
        for event_id in sent:
            await channel.deliver(delivery(event_id))
        assert [(await listener.next())["event_id"] for _ in sent] == sent


@pytest.mark.parametrize(
    "payload", ["nonsense", "[]", "{}", '{"channel":"c"}', '{"channel":"c","message":"text"}']
)
async def test_a_payload_that_holds_no_message_is_undeliverable(
    redis: RedisServer, payload: str
) -> None:
    async with open_channel(address(redis)) as channel:
        with pytest.raises(Undeliverable, match="nothing to publish"):
            await channel.deliver(delivery("e-1", payload))


async def test_without_redis_a_delivery_fails_and_with_it_the_next_one_succeeds(
    redis: RedisServer, impatient: None
) -> None:
    redis.kill()
    async with open_channel(address(redis)) as channel:
        with pytest.raises(DeliveryFailed, match=f"127.0.0.1:{redis.port}"):
            await channel.deliver(delivery("e-1"))
        redis.start()
        await channel.deliver(delivery("e-1"))


async def test_a_redis_that_died_unnoticed_costs_no_message(redis: RedisServer) -> None:
    async with open_channel(address(redis)) as channel:
        async with redis.listening("line_allocated"):
            await channel.deliver(delivery("e-1"))
        redis.kill()
        redis.start()
        async with redis.listening("line_allocated") as listener:
            await insist(channel, delivery("e-2"))
            assert (await listener.next())["event_id"] == "e-2"


async def test_a_redis_that_hangs_fails_the_delivery_in_time_and_is_not_heaped_with_attempts(
    redis: RedisServer,
) -> None:
    async with (
        redis.listening("line_allocated") as listener,
        open_channel(address(redis, timeout_s=0.2)) as channel,
    ):
        await channel.deliver(delivery("e-1"))
        redis.freeze()
        for _ in range(5):
            with trio.fail_after(30), pytest.raises(DeliveryFailed):
                await channel.deliver(delivery("e-2"))
        redis.thaw()
        for event_id in ("e-2", "e-3"):
            await channel.deliver(delivery(event_id))
        heard = [await listener.next()]
        while heard[-1]["event_id"] != "e-3":
            heard.append(await listener.next())
    # The first attempt at the second was with Redis when it froze; no other one was.
    assert [message["event_id"] for message in heard] == ["e-1", "e-2", "e-2", "e-3"]


async def test_a_delivery_under_way_can_be_cancelled(redis: RedisServer, impatient: None) -> None:
    async with open_channel(address(redis, timeout_s=60)) as channel:
        await channel.deliver(delivery("e-1"))
        redis.freeze()
        with trio.fail_after(30):
            with trio.move_on_after(0.05) as given_up:
                await channel.deliver(delivery("e-2"))
            assert given_up.cancelled_caught
            redis.thaw()
            await channel.deliver(delivery("e-3"))


async def test_a_server_that_is_no_redis_fails_the_delivery() -> None:
    async def http(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, http, [listener])
        at = RedisAddress("127.0.0.1", listener.socket.getsockname()[1], timeout_s=1)
        async with open_channel(at) as channel:
            with trio.fail_after(30), pytest.raises(DeliveryFailed):
                await channel.deliver(delivery("e-1"))
        nursery.cancel_scope.cancel()


async def test_a_redis_with_a_password_wants_the_right_one(
    redis: RedisServer, impatient: None
) -> None:
    redis.command("CONFIG", "SET", "requirepass", "sesame")
    for wrong in (None, "seed"):
        at = RedisAddress(redis.host, redis.port, password=wrong)
        async with open_channel(at) as channel:
            with pytest.raises(DeliveryFailed):
                await channel.deliver(delivery("e-1"))
    at = RedisAddress(redis.host, redis.port, password="sesame")
    assert "sesame" not in repr(at)
    async with open_channel(at) as channel:
        await channel.deliver(delivery("e-1"))


async def test_a_channel_that_is_closed_takes_nothing(redis: RedisServer) -> None:
    async with open_channel(address(redis)) as channel:
        pass
    with pytest.raises(DeliveryFailed):
        await channel.deliver(delivery("e-1"))


async def test_after_a_new_start_of_redis_nothing_is_published_before_its_subscribers_are_back(
    redis: RedisServer,
) -> None:
    async with open_channel(address(redis)) as channel:
        async with redis.listening("line_allocated"), redis.listening("line_allocated"):
            await channel.deliver(delivery("e-1"))
        redis.kill()
        redis.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(insist, channel, delivery("e-2"))
            async with redis.listening("line_allocated") as first:
                await trio.sleep(0.2)
                async with redis.listening("line_allocated") as second:
                    for listener in (first, second):
                        assert (await listener.next())["event_id"] == "e-2"


async def test_the_first_message_waits_a_moment_for_whoever_starts_together_with_us(
    redis: RedisServer,
) -> None:
    async with open_channel(address(redis)) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(channel.deliver, delivery("e-1"))
        await trio.sleep(0.2)
        async with redis.listening("line_allocated") as listener:
            assert (await listener.next())["event_id"] == "e-1"


async def test_where_nobody_listens_messages_go_out_all_the_same(
    redis: RedisServer, impatient: None
) -> None:
    async with open_channel(address(redis)) as channel:
        with trio.fail_after(2):
            await channel.deliver(delivery("e-1"))


async def test_whoever_may_not_look_at_subscribers_may_publish(redis: RedisServer) -> None:
    redis.command("ACL", "SETUSER", "default", "-pubsub")
    async with open_channel(address(redis)) as channel:
        with trio.fail_after(2):
            await channel.deliver(delivery("e-1"))


async def test_with_redis_killed_and_back_nothing_is_missed_of_what_goes_out(
    redis: RedisServer,
) -> None:
    store = MemoryDeliveries()
    heard: list[str] = []

    async def listen_as_others_do() -> None:
        while True:
            try:
                async with redis.listening("line_allocated") as listener:
                    while True:
                        heard.append((await listener.next())["event_id"])
            except OSError:
                await trio.sleep(0.3)

    sent = [f"e-{number}" for number in range(300)]
    async with open_channel(address(redis)) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(listen_as_others_do)
        await until(lambda: redis.command("PUBSUB", "NUMSUB", "line_allocated")[-1:] == b"1")
        outbox = Outbox(store, {"redis": channel}, ServerClock().now_ms)
        nursery.start_soon(outbox.run)
        for number, event_id in enumerate(sent):
            store.put(event_id, "redis", delivery(event_id).payload)
            outbox.wake()
            await trio.sleep(0.002)
            if number == 100:
                redis.kill()
            if number == 200:
                redis.start()
        await until(lambda: not store.event_ids)
        await until(lambda: heard and heard[-1] == sent[-1])
        nursery.cancel_scope.cancel()
    assert list(dict.fromkeys(heard)) == sent

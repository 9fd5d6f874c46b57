"""What is published on a real Redis reaches us, also over its deaths, and never too much of it."""

import logging
from collections.abc import AsyncIterator

import anyio
import pytest
import trio
from anyio.abc import ByteReceiveStream, ByteStream
from anyio.streams.stapled import StapledByteStream

from scentrt.adapters import redis_pubsub
from scentrt.adapters.redis_pubsub import RedisSubscriber
from scentrt.entrypoints.redis_consumer import consume_commands
from tests.e2e.speaking import until
from tests.integration.redis_server import RedisServer, address

pytestmark = pytest.mark.needs("redis-server", "redis-server")


class Listening:
    """What a subscriber of ours has handed over."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = redis
        self.subscriber = RedisSubscriber(address(redis))
        self.heard: list[tuple[str, bytes]] = []
        self.go_on = trio.Event()
        self.go_on.set()

    async def handle(self, channel: str, data: bytes) -> None:
        await self.go_on.wait()
        self.heard.append((channel, data))

    async def heard_all(self, *data: bytes) -> None:
        await until(lambda: len(self.heard) >= len(data))
        assert [message for _, message in self.heard] == list(data)


@pytest.fixture
async def listening(redis: RedisServer, nursery: trio.Nursery) -> AsyncIterator[Listening]:
    listening = Listening(redis)
    nursery.start_soon(listening.subscriber.listen, ["one", "two"], listening.handle)
    await until(lambda: listening.subscriber.connected)
    yield listening
    nursery.cancel_scope.cancel()


async def test_messages_of_all_channels_are_handed_over_in_order(listening: Listening) -> None:
    listening.redis.publish("one", "1")
    listening.redis.publish("two", b"\xff")
    listening.redis.publish("three", "3")
    listening.redis.publish("one", "")
    await listening.heard_all(b"1", b"\xff", b"")
    assert [channel for channel, _ in listening.heard] == ["one", "two", "one"]


async def test_a_subscriber_is_back_when_redis_is_and_says_loss_and_return_once(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        caplog.clear()
        listening.redis.kill()
        await until(lambda: not listening.subscriber.connected)
        await trio.sleep(0.5)  # some attempts
        listening.redis.start()
        await until(lambda: listening.subscriber.connected)
        listening.heard.clear()
        listening.redis.publish("one", "1")
        await listening.heard_all(b"1")
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "WARNING"]


async def test_a_subscriber_can_be_there_before_redis(redis: RedisServer) -> None:
    redis.kill()
    listening = Listening(redis)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.subscriber.listen, ["one"], listening.handle)
        await trio.sleep(0.2)
        redis.start()
        await until(lambda: listening.subscriber.connected)
        redis.publish("one", "1")
        await listening.heard_all(b"1")
        nursery.cancel_scope.cancel()


async def test_while_a_handler_is_busy_messages_wait_in_order_and_none_is_read(
    listening: Listening,
) -> None:
    listening.go_on = trio.Event()
    sent = [b"%d" % number + b" " * 10_000 for number in range(1_000)]
    for message in sent:
        assert await trio.to_thread.run_sync(listening.redis.publish, "one", message) == 1
    buffered = b"".join(
        line
        for line in listening.redis.command("CLIENT", "LIST", "TYPE", "pubsub").split()
        if line.startswith(b"tot-mem=")
    )
    assert int(buffered.removeprefix(b"tot-mem=")) > 1_000_000  # they are there, and not with us
    listening.go_on.set()
    await listening.heard_all(*sent)


async def test_no_more_is_read_than_is_handled_also_while_the_handler_goes_on(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = b"x" * 10_000
    read = handled = ahead = 0

    class Counted(ByteReceiveStream):
        def __init__(self, stream: ByteStream) -> None:
            self._stream = stream

        async def receive(self, max_bytes: int = 65_536) -> bytes:
            nonlocal read
            data = await self._stream.receive(max_bytes)
            read += len(data)
            return data

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def connect_counted(host: str, port: int) -> ByteStream:
        stream = await anyio.connect_tcp(host, port)
        return StapledByteStream(stream, Counted(stream))

    async def handle(channel: str, data: bytes) -> None:
        nonlocal handled, ahead
        await trio.sleep(0.001)
        ahead = max(ahead, read - handled)
        handled += len(data)

    monkeypatch.setattr(redis_pubsub, "connect_tcp", connect_counted)
    subscriber = RedisSubscriber(address(redis))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscriber.listen, ["one"], handle)
        await until(lambda: subscriber.connected)
        for _ in range(200):
            redis.publish("one", message)
        await until(lambda: handled == 200 * len(message))
        nursery.cancel_scope.cancel()
    assert ahead < 2 * 65_536


async def test_a_message_beyond_all_bounds_ends_the_connection_and_the_next_one_is_heard(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    listening.redis.publish("one", "x" * 2 * redis_pubsub.MAX_MESSAGE_BYTES)
    await until(lambda: "is back" in caplog.text)
    assert f"more than {redis_pubsub.MAX_MESSAGE_BYTES} bytes" in caplog.text
    listening.redis.publish("one", "1")
    await listening.heard_all(b"1")


async def test_a_subscription_that_is_refused_is_told_and_tried_again(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.command("ACL", "SETUSER", "default", "resetchannels")
    subscriber = RedisSubscriber(address(redis, timeout_s=0.2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscriber.listen, ["one"], Listening(redis).handle)
        await until(lambda: "does not let us subscribe" in caplog.text)
        assert not subscriber.connected
        redis.command("ACL", "SETUSER", "default", "allchannels")
        await until(lambda: subscriber.connected)
        assert len(redis.command("CLIENT", "LIST").split(b"\n")) <= 3  # with the one that asks
        nursery.cancel_scope.cancel()


async def test_after_every_loss_the_first_attempt_comes_soon(listening: Listening) -> None:
    with trio.fail_after(4):
        for _ in range(10):
            listening.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: not listening.subscriber.connected)
            await until(lambda: listening.subscriber.connected)


@pytest.mark.parametrize("state", ["away", "frozen", "idle", "busy"])
async def test_listening_can_be_cancelled_at_any_time(redis: RedisServer, state: str) -> None:
    listening = Listening(redis)
    if state == "away":
        redis.kill()
    if state == "frozen":
        redis.freeze()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.subscriber.listen, ["one"], listening.handle)
        if state in {"idle", "busy"}:
            await until(lambda: listening.subscriber.connected)
        if state == "busy":
            listening.go_on = trio.Event()
            redis.publish("one", "1")
        await trio.sleep(0.1)
        with trio.fail_after(30):
            nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint_if_cancelled()


async def test_a_handler_that_fails_costs_the_connection_and_not_the_subscriber(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    listening = Listening(redis)

    async def handle(channel: str, data: bytes) -> None:
        if data == b"bad":
            raise ZeroDivisionError
        await listening.handle(channel, data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.subscriber.listen, ["one"], handle)
        await until(lambda: listening.subscriber.connected)
        redis.publish("one", "bad")
        await until(lambda: "is back" in caplog.text)
        assert "ZeroDivisionError" in caplog.text
        redis.publish("one", "good")
        await listening.heard_all(b"good")
        nursery.cancel_scope.cancel()


async def test_a_command_published_on_a_real_redis_changes_a_batch(redis: RedisServer) -> None:
    changed: list[tuple[str, int]] = []

    async def change_batch_quantity(ref: str, qty: int) -> None:
        changed.append((ref, qty))

    subscriber = RedisSubscriber(address(redis))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume_commands, subscriber, change_batch_quantity)
        await until(lambda: subscriber.connected)
        redis.publish("change_batch_quantity", '{"batchref":"b-1","qty":5}')
        redis.publish("change_batch_quantity", "nonsense")
        redis.publish("change_batch_quantity", '{"ref":"b-2","qty":0}')
        await until(lambda: len(changed) == 2)
        nursery.cancel_scope.cancel()
    assert changed == [("b-1", 5), ("b-2", 0)]

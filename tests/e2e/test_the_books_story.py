"""The story of *Architecture Patterns with Python*, over HTTP, Redis and SMTP, with mishaps."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.e2e.server_process import ServerProcess, serve
from tests.e2e.shop import Shop, enter_shop
from tests.integration.mail_server import MailServer
from tests.integration.redis_server import Listener, RedisServer

pytestmark = pytest.mark.needs("redis-server", "redis-server")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    redis = RedisServer(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    with server.running():
        yield server


@asynccontextmanager
async def company(
    folder: Path, redis: RedisServer, mail: MailServer
) -> AsyncIterator[tuple[ServerProcess, Shop]]:
    """Run a server that knows where Redis and the mail server are."""
    environment = {
        "SCENTRT_REDIS__HOST": redis.host,
        "SCENTRT_REDIS__PORT": str(redis.port),
        "SCENTRT_EMAIL__HOST": mail.host,
        "SCENTRT_EMAIL__PORT": str(mail.port),
    }
    async with serve(folder, env=environment) as server, enter_shop(server.http_url) as shop:
        yield server, shop


async def hear(listener: Listener, number: int) -> list[dict[str, Any]]:
    """Wait for so many allocations, told each once: what is told again is known by its id."""
    heard: dict[str, dict[str, Any]] = {}
    while len(heard) < number:
        message = await listener.next()
        heard[message.pop("event_id")] = message
    return list(heard.values())


async def change_quantity(redis: RedisServer, ref: str, qty: int) -> None:
    """Say through Redis how many a batch has, to a server that listens."""
    message = msgspec.json.encode({"batchref": ref, "qty": qty})
    with trio.fail_after(30):
        while not redis.publish("change_batch_quantity", message):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_change_batch_quantity_leading_to_reallocation(
    tmp_path: Path, redis: RedisServer, mail: MailServer
) -> None:
    async with (
        redis.listening("line_allocated") as listener,
        company(tmp_path, redis, mail) as (server, shop),
    ):
        await shop.add_batch("earlier", "LAMP", 10, "2030-01-01")
        await shop.add_batch("later", "LAMP", 10, "2030-01-02")
        await shop.allocate("o-1", "LAMP", 10)
        assert await shop.allocations("o-1") == {"LAMP": "earlier"}

        await change_quantity(redis, "earlier", 5)
        first, moved = await hear(listener, 2)
        assert first == {"orderid": "o-1", "sku": "LAMP", "qty": 10, "batchref": "earlier"}
        assert moved == {"orderid": "o-1", "sku": "LAMP", "qty": 10, "batchref": "later"}
        assert await shop.allocations("o-1") == {"LAMP": "later"}

        await server.stop()


async def test_out_of_stock_email(tmp_path: Path, redis: RedisServer, mail: MailServer) -> None:
    async with company(tmp_path, redis, mail) as (server, shop):
        await shop.add_batch("b-1", "LAMP", 5)
        await shop.allocate("o-2", "LAMP", 6)
        with trio.fail_after(30):
            while not mail.messages:  # noqa: ASYNC110 (it is in another thread)
                await trio.sleep(0.01)
        [letter] = mail.messages
        assert (letter["From"], letter["To"]) == ("allocations@example.com", "stock@made.com")
        assert "Out of stock for LAMP" in letter.get_content()
        assert await shop.allocations("o-2") == {}
        await server.stop()


async def test_nothing_is_missed_while_redis_is_gone_and_the_server_is_killed_meanwhile(
    tmp_path: Path, redis: RedisServer, mail: MailServer
) -> None:
    async with company(tmp_path, redis, mail) as (server, shop):
        await shop.add_batch("b-1", "LAMP", 100)
        async with redis.listening("line_allocated") as listener:
            await shop.allocate("o-0", "LAMP", 1)
            await hear(listener, 1)
        redis.kill()
        for number in range(1, 11):
            await shop.allocate(f"o-{number}", "LAMP", 1)
        await server.kill()
    async with company(tmp_path, redis, mail) as (server, shop):
        await shop.allocate("o-11", "LAMP", 1)
        redis.start()
        async with redis.listening("line_allocated") as listener:
            heard = [message["orderid"] for message in await hear(listener, 11)]
        # One that had just arrived when the server was killed may come again, before them.
        assert [order for order in heard if order != "o-0"][:10] == [
            f"o-{number}" for number in range(1, 11)
        ]
        assert (await shop.product("LAMP"))["allocated"] == 12
        await server.stop()

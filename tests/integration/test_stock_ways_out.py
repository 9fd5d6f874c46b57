"""What the stock room of a whole server tells Redis and writes by e-mail, and what it hears."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from scentrt.domain.commands import Allocate, CreateBatch, PlaceOrder, RegisterCustomer
from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.service_layer.messagebus import MessageBus
from tests.conftest import House, OpenHouse
from tests.e2e.shop import enter_shop
from tests.integration.mail_server import MailServer
from tests.integration.redis_server import RedisServer

pytestmark = pytest.mark.needs("redis-server", "redis-server")

LAMP = Sku("LAMP")


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    with server.running():
        yield server


@asynccontextmanager
async def connected(
    open_house: OpenHouse, redis: RedisServer, mail: MailServer
) -> AsyncIterator[House]:
    async with open_house(
        redis={"host": redis.host, "port": redis.port},
        email={"host": mail.host, "port": mail.port, "stock_team": "lamps@example.com"},
    ) as house:
        yield house


async def stocked(bus: MessageBus) -> None:
    await bus.handle(CreateBatch(BatchRef("b-late"), LAMP, 10, date(2030, 1, 2)))
    await bus.handle(CreateBatch(BatchRef("b-soon"), LAMP, 10, date(2030, 1, 1)))


async def letters(mail: MailServer, number: int) -> list[tuple[str, str]]:
    """Wait for so many letters, and return whom each is to and what it says."""
    with trio.fail_after(30):
        while len(mail.messages) < number:  # noqa: ASYNC110 (it is in another thread)
            await trio.sleep(0.01)
    return [(letter["To"], letter.get_content().strip()) for letter in mail.messages]


async def test_a_quantity_that_comes_through_redis_moves_a_line_and_that_is_published(
    open_house: OpenHouse, redis: RedisServer, mail: MailServer
) -> None:
    async with (
        redis.listening("line_allocated") as listener,
        connected(open_house, redis, mail) as house,
    ):
        bus = house.server.stock.bus
        await stocked(bus)
        assert await bus.handle(Allocate(OrderId("o-1"), LAMP, 10)) == "b-soon"
        first: dict[str, Any] = await listener.next()
        del first["event_id"]
        assert first == {"orderid": "o-1", "sku": "LAMP", "qty": 10, "batchref": "b-soon"}

        change = msgspec.json.encode({"batchref": "b-soon", "qty": 5})
        with trio.fail_after(30):
            while not redis.publish("change_batch_quantity", change):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert (await listener.next())["batchref"] == "b-late"


async def test_what_is_out_of_stock_is_mailed_to_the_stock_team(
    open_house: OpenHouse, redis: RedisServer, mail: MailServer
) -> None:
    async with connected(open_house, redis, mail) as house:
        await stocked(house.server.stock.bus)
        assert await house.server.stock.bus.handle(Allocate(OrderId("o-1"), LAMP, 11)) is None
        assert await letters(mail, 1) == [("lamps@example.com", "Out of stock for LAMP")]
        [letter] = mail.messages
        assert letter["From"] == "allocations@example.com"
        assert letter["Subject"] == "allocation service notification"


async def test_a_customer_is_written_to_and_letters_wait_for_a_mail_server_that_is_away(
    open_house: OpenHouse, redis: RedisServer
) -> None:
    mail = MailServer()
    with mail.running():
        pass  # it has a port now, and nobody is there
    async with connected(open_house, redis, mail) as house:
        bus = house.server.stock.bus
        await stocked(bus)
        await bus.handle(RegisterCustomer(CustomerName("Anna"), "Lane 1", "anna@example.com"))
        line = OrderLine(OrderId("o-1"), LAMP, 10)
        await bus.handle(PlaceOrder(OrderId("o-1"), (line,), CustomerName("Anna")))
    with mail.running():
        async with connected(open_house, redis, mail):
            [(to, body)] = await letters(mail, 1)
    assert to == "anna@example.com"
    assert "01 January 2030" in body


@pytest.mark.parametrize(("answer", "outcome"), [("550 no such user", 1), ("452 it is full", 0)])
async def test_a_letter_that_is_refused_for_good_is_kept_and_counted_and_one_for_now_tried_again(
    open_house: OpenHouse, mail: MailServer, tmp_path: Path, answer: str, outcome: int
) -> None:
    mail.rcpt = answer
    async with open_house(email={"host": mail.host, "port": mail.port}) as house:
        bus = house.server.stock.bus
        await stocked(bus)
        await bus.handle(Allocate(OrderId("o-1"), LAMP, 11))
        reading = "outbox_undeliverable_total" if outcome else "outbox_put_off"
        async with enter_shop(house.http_url) as shop:
            with trio.fail_after(10):
                while (  # noqa: ASYNC110
                    f'scentrt_{reading}{{kind="email"}} 1.0'
                    not in (await shop.get("/metrics")).text
                ):
                    await trio.sleep(0.01)
            remarks = (await shop.get("/readyz")).json()["remarks"]
        assert remarks == ["given up by email since the start: 1; see the log"] * outcome
        mail.rcpt = "250 OK"
        assert len(await letters(mail, 1 - outcome)) == 1 - outcome
    with closing(sqlite3.connect(tmp_path / "scentrt.db")) as database:
        kept = database.execute("SELECT kind, payload, reason FROM undelivered").fetchall()
    assert len(kept) == outcome
    for kind, payload, reason in kept:
        assert (kind, msgspec.json.decode(payload)["to"]) == ("email", "stock@made.com")
        assert "550" in reason


async def test_without_redis_and_mail_server_the_log_has_the_letters(
    open_house: OpenHouse, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house() as house:
        await stocked(house.server.stock.bus)
        await house.server.stock.bus.handle(Allocate(OrderId("o-1"), LAMP, 11))
        with trio.fail_after(30):
            while "Out of stock for LAMP" not in caplog.text:  # noqa: ASYNC110
                await trio.sleep(0.01)

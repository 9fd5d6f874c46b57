"""What HTTP says where the stock room is too busy, or its database away."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NoReturn, TypeVar

import httpx
import pytest
import trio

from scentrt.actors.vial_desk import ClosedHouse, VialDesk
from scentrt.domain.commands import Command
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.layout import DEFAULT_THEATRE
from scentrt.domain.names import CustomerName, OrderId, Sku
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import VialId
from scentrt.entrypoints.http.app import create_app
from scentrt.entrypoints.http.health import Readiness
from scentrt.entrypoints.http.metrics import Metrics
from scentrt.errors import (
    ActorCrashed,
    ActorStopped,
    Busy,
    StoreUnavailable,
    UnitRefused,
    UnknownSeat,
)
from scentrt.service_layer.messagebus import Owner
from scentrt.service_layer.views import NO_VIAL, VialFilter
from tests.conftest import House
from tests.e2e.shop import Shop, enter_shop
from tests.e2e.speaking import enter
from tests.memory_store import MemoryStore
from tests.stock_stage import open_stock

R = TypeVar("R")


class Closed:
    """Views of a database that is away."""

    async def allocations(self, orderid: OrderId) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def product(self, sku: Sku) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def products(self, after: Sku, limit: int) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def order(self, orderid: OrderId) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def orders(self, after: OrderId, limit: int) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def customers(self, after: CustomerName, limit: int) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def journal(self, after: int, limit: int, zone: ZoneId | None) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def vials(
        self, wanted: VialFilter, after: VialId = NO_VIAL, limit: int | None = None
    ) -> NoReturn:
        raise StoreUnavailable("the database is away")

    async def refills(self, zone: ZoneId | None, after: OrderId, limit: int) -> NoReturn:
        raise StoreUnavailable("the database is away")


class Nobody:
    """A desk that knows no seat."""

    async def read(self, seat: SeatId) -> NoReturn:
        raise UnknownSeat(seat)

    async def page(self, after: SeatId, most: int) -> NoReturn:
        raise UnknownSeat(after)

    async def change(self, seat: SeatId, change: SeatChange) -> NoReturn:
        raise UnknownSeat(seat)


class Failing:
    """A bus that can carry nothing out."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def handle(self, command: Command[R]) -> R:
        raise self._error


@asynccontextmanager
async def shop_of(bus: Owner) -> AsyncIterator[Shop]:
    vials = VialDesk(DEFAULT_THEATRE, bus, Closed(), ClosedHouse())
    app = create_app(bus, Closed(), Readiness, Metrics(), seats=Nobody(), vials=vials)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://roxy") as client:
        yield Shop(client)


LINE: dict[str, object] = {"orderid": "o-1", "sku": "SEA", "qty": 1}
POSTS: dict[str, dict[str, object]] = {
    "/add_batch": {"ref": "b-1", "sku": "SEA", "qty": 1},
    "/allocate": LINE,
    "/batches/b-1/quantity": {"qty": 1},
    "/batches/b-1/eta": {"eta": None},
    "/batches/b-1/receive": {},
    "/orders": {"orderid": "o-1", "lines": [{"sku": "SEA", "qty": 1}]},
    "/orders/o-1/cancel": {},
    "/customers": {"name": "n", "address": "a", "email": "e@x"},
}
GETS = [
    "/vials",
    "/refills",
    "/allocations/o-1",
    "/products",
    "/products/SEA",
    "/orders",
    "/orders/o-1",
    "/customers",
]


def is_put_off(answer: httpx.Response) -> bool:
    return (
        answer.status_code == 503
        and answer.headers["retry-after"] == "1"
        and set(answer.json()) == {"message"}
    )


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailable("disk I/O error"),
        Busy("product SEA", 50),
        ActorCrashed("product SEA"),
        ActorStopped("the stock room"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_every_command_is_put_off_with_a_time_to_come_again(error: Exception) -> None:
    async with shop_of(Failing(error)) as shop:
        for path, body in POSTS.items():
            answer = await shop.post(path, **body)
            assert is_put_off(answer), (path, answer.text)
            assert str(error) in answer.json()["message"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            UnitRefused("FOREIGN KEY constraint failed"),
            "Somebody changed the same at the same time; send it again",
        ),
        (
            ActorCrashed("product SEA"),
            "It may be done or not; send it again: product SEA failed and is being restarted",
        ),
        (ActorStopped("the stock room"), "It is not done: the stock room has stopped"),
        (Busy("product SEA", 50), "Too busy: product SEA has a full mailbox, try again in 50 ms"),
        (StoreUnavailable("disk I/O error"), "The database is away: disk I/O error"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whoever_is_put_off_is_told_the_reason(error: Exception, message: str) -> None:
    async with shop_of(Failing(error)) as shop:
        answer = await shop.post("/allocate", **LINE)
        assert is_put_off(answer)
        assert answer.json() == {"message": message}


async def test_whoever_looks_is_put_off_while_the_database_is_away() -> None:
    async with shop_of(Failing(ZeroDivisionError())) as shop:
        for path in GETS:
            assert is_put_off(await shop.get(path)), path


async def test_when_the_database_is_back_orders_are_taken_without_a_restart() -> None:
    store = MemoryStore()
    async with open_stock(store) as stage, shop_of(stage.bus) as shop:
        await shop.add_batch("b-1", "SEA", 10)
        store.writable = False
        assert is_put_off(await shop.post("/allocate", **LINE))
        store.stock.readable = False
        assert is_put_off(await shop.post("/add_batch", ref="b-2", sku="PINE", qty=1))
        store.writable = store.stock.readable = True
        assert not store.stock.tables.allocations
        await shop.allocate("o-1", "SEA", 1)
        assert [orderid for _, orderid in store.stock.tables.allocations] == ["o-1"]


async def test_a_full_mailbox_puts_off_those_who_do_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scentrt.actors.product.MAILBOX_CAPACITY", 2)
    store = MemoryStore()
    answers: list[httpx.Response] = []
    async with open_stock(store) as stage, shop_of(stage.bus) as shop:
        await shop.add_batch("b-1", "SEA", 10)
        store.commit_s = 0.05

        async def ask(orderid: str) -> None:
            answers.append(await shop.post("/allocate", **{**LINE, "orderid": orderid}))

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ask, f"o-{number}")
        taken = [answer for answer in answers if answer.status_code == 202]
        assert 2 <= len(taken) < 8
        assert all(is_put_off(answer) for answer in answers if answer not in taken)
        assert len(store.stock.tables.allocations) == len(taken)


async def test_while_another_program_holds_the_database_orders_are_put_off_and_cues_go_on(
    house: House, tmp_path: Path
) -> None:
    async with enter_shop(house.http_url) as shop:
        await shop.add_batch("b-1", "SEA", 10)
        with closing(sqlite3.connect(tmp_path / "scentrt.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await shop.post("/allocate", **LINE)
            assert is_put_off(answer), answer.text
            ready = await shop.get("/readyz")
            assert ready.status_code == 503
            assert "orders are put off, and cues go on" in ready.json()["reasons"][0]
            async with enter(house.gateway_url, "operator") as operator:
                await operator.ask("panic")
                ready = await shop.get("/readyz")
                assert "the panic is not on disk" in ready.json()["reasons"][1]
                other.execute("ROLLBACK")
                assert (await operator.ask("release"))["type"] == "released"
        assert await shop.allocations("o-1") == {}
        await shop.allocate("o-1", "SEA", 1)
        assert await shop.allocations("o-1") == {"SEA": "b-1"}
        assert (await shop.get("/readyz")).status_code == 200

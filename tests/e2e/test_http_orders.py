"""Orders of many lines, customers and shipments over HTTP: what goes beyond the contract."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from tests.conftest import House
from tests.e2e.shop import Shop, enter_shop

ROXY = {"name": "Roxy", "address": "7 Fleet Street\nLondon", "email": "box@roxy.example"}


@pytest.fixture
async def shop(house: House) -> AsyncIterator[Shop]:
    async with enter_shop(house.http_url) as opened:
        yield opened


async def settled(shop: Shop, orderid: str) -> dict[str, Any]:
    """Return an order when its products have decided about each of its lines."""
    with trio.fail_after(30):
        while True:
            order = await shop.order(orderid)
            states = {line["state"] for line in order["lines"]}
            if not (states & {"accepted"} or (order["cancelled"] and states)):
                return order
            await trio.sleep(0.01)


def line(sku: str, qty: int) -> dict[str, object]:
    return {"sku": sku, "qty": qty}


class TestOrders:
    async def test_an_order_is_accepted_whole_and_each_line_allocated_or_back_ordered(
        self, shop: Shop
    ) -> None:
        await shop.add_batch("s-1", "SEA", 10, "2026-03-12")
        await shop.add_batch("p-1", "PINE", 1)
        lines = [line("SEA", 4), line("PINE", 2)]
        answer = await shop.post("/orders", orderid="o-1", lines=lines)
        assert answer.status_code == 202
        assert answer.json() == {"orderid": "o-1", "location": "/orders/o-1"}
        assert answer.headers["location"] == "/orders/o-1"
        assert await settled(shop, "o-1") == {
            "orderid": "o-1",
            "customer": None,
            "cancelled": False,
            "lines": [
                {"sku": "PINE", "qty": 2, "state": "back-ordered", "batchref": None, "eta": None},
                {
                    "sku": "SEA",
                    "qty": 4,
                    "state": "allocated",
                    "batchref": "s-1",
                    "eta": "2026-03-12",
                },
            ],
        }

    async def test_the_same_order_again_changes_nothing_and_another_is_a_conflict(
        self, shop: Shop
    ) -> None:
        await shop.add_batch("s-1", "SEA", 10)
        for _ in range(2):
            answer = await shop.post("/orders", orderid="o-1", lines=[line("SEA", 4)])
            assert answer.status_code == 202
            await settled(shop, "o-1")
        assert (await shop.product("SEA"))["allocated"] == 4
        answer = await shop.post("/orders", orderid="o-1", lines=[line("SEA", 5)])
        assert answer.status_code == 409
        assert "other lines" in answer.json()["message"]

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            ({"lines": [line("SEA", 1), line("PINE", 1)]}, "Invalid sku PINE"),
            ({"lines": [line("SEA", 1), line("SEA", 2)]}, "Invalid order o-1: it names SEA twice"),
            ({"lines": [line("SEA", 1)], "customer": "Rex"}, "Unknown customer Rex"),
        ],
    )
    async def test_or_it_is_not_accepted_at_all(
        self, shop: Shop, order: dict[str, object], message: str
    ) -> None:
        await shop.add_batch("s-1", "SEA", 10)
        answer = await shop.post("/orders", orderid="o-1", **order)
        assert (answer.status_code, answer.json()) == (400, {"message": message})
        assert (await shop.get("/orders/o-1")).status_code == 404
        assert (await shop.product("SEA"))["allocated"] == 0

    async def test_a_cancelled_order_gives_its_lines_to_those_who_wait(self, shop: Shop) -> None:
        await shop.add_batch("s-1", "SEA", 10)
        await shop.post("/orders", orderid="o-1", lines=[line("SEA", 10)])
        await settled(shop, "o-1")
        await shop.post("/orders", orderid="o-2", lines=[line("SEA", 3)])
        assert (await settled(shop, "o-2"))["lines"][0]["state"] == "back-ordered"
        for _ in range(2):
            answer = await shop.post("/orders/o-1/cancel")
            assert (answer.status_code, answer.json()) == (202, "OK")
        assert (await settled(shop, "o-1"))["cancelled"]
        assert await shop.allocations("o-2") == {"SEA": "s-1"}

    async def test_an_order_whose_lines_were_allocated_one_by_one_is_an_order_too(
        self, shop: Shop
    ) -> None:
        await shop.add_batch("s-1", "SEA", 10)
        await shop.add_batch("p-1", "PINE", 10, "2030-01-02")
        await shop.post("/orders", orderid="o-2", lines=[line("SEA", 3)])
        await settled(shop, "o-2")
        for sku in "SEA", "PINE":
            await shop.post("/allocate", orderid="o-1", sku=sku, qty=4)
        told = (await shop.get("/orders/o-1")).json()
        assert told == {
            "orderid": "o-1",
            "customer": None,
            "cancelled": False,
            "lines": [
                {**line("PINE", 4), "state": "allocated", "batchref": "p-1", "eta": "2030-01-02"},
                {**line("SEA", 4), "state": "allocated", "batchref": "s-1", "eta": None},
            ],
        }
        first = (await shop.get("/orders", limit=1)).json()
        assert first == {"orders": [told], "next": "o-1"}
        [second] = (await shop.get("/orders", after="o-1")).json()["orders"]
        assert second["orderid"] == "o-2"

    @pytest.mark.parametrize("placed", [True, False])
    async def test_a_cancelled_order_takes_no_line_any_more(self, shop: Shop, placed: bool) -> None:
        await shop.add_batch("s-1", "SEA", 10)
        if placed:
            await shop.post("/orders", orderid="o-1", lines=[line("SEA", 3)])
        else:
            await shop.post("/allocate", orderid="o-1", sku="SEA", qty=3)
        await shop.post("/orders/o-1/cancel")
        for qty in 3, 3, 20:
            answer = await shop.post("/allocate", orderid="o-1", sku="SEA", qty=qty)
            assert answer.status_code == 409
            assert answer.json() == {"message": "Order o-1 was cancelled"}
        answer = await shop.post("/orders", orderid="o-1", lines=[line("SEA", 3)])
        assert answer.status_code == 409
        told = await settled(shop, "o-1")
        assert (told["cancelled"], told["lines"]) == (True, [])
        assert (await shop.product("SEA"))["allocated"] == 0
        assert (await shop.post("/orders/o-1/cancel")).status_code == 202

    async def test_what_was_never_ordered_is_not_found(self, shop: Shop) -> None:
        for answer in await shop.get("/orders/o-1"), await shop.post("/orders/o-1/cancel"):
            assert (answer.status_code, answer.json()) == (404, {"message": "Unknown order o-1"})

    async def test_orders_and_customers_come_page_by_page(self, shop: Shop) -> None:
        await shop.add_batch("s-1", "SEA", 100)
        names = [f"n-{number}" for number in range(3)]
        for name in reversed(names):
            await shop.post("/orders", orderid=name, lines=[line("SEA", 1)])
            await shop.post("/customers", **{**ROXY, "name": name})
        for path, key in ("orders", "orderid"), ("customers", "name"):
            first = (await shop.get(f"/{path}", limit=2)).json()
            assert [each[key] for each in first[path]] == names[:2]
            assert first["next"] == names[1]
            last = (await shop.get(f"/{path}", after=first["next"], limit=2)).json()
            assert [each[key] for each in last[path]] == names[2:]
            assert last["next"] is None
            for query in {"limit": 0}, {"limit": 1001}, {"limit": "x"}:
                answer = await shop.get(f"/{path}", **query)
                assert answer.status_code == 422
                assert answer.json()["detail"][0]["loc"] == ["query", "limit"]


class TestCustomers:
    async def test_the_same_customer_again_changes_nothing_and_another_is_a_conflict(
        self, shop: Shop
    ) -> None:
        for _ in range(2):
            answer = await shop.post("/customers", **ROXY)
            assert (answer.status_code, answer.json()) == (201, "OK")
        answer = await shop.post("/customers", **{**ROXY, "email": "new@roxy.example"})
        assert answer.status_code == 409
        assert (await shop.get("/customers")).json() == {"customers": [ROXY], "next": None}

    async def test_an_order_may_name_one(self, shop: Shop) -> None:
        await shop.add_batch("s-1", "SEA", 10)
        await shop.post("/customers", **ROXY)
        lines = [line("SEA", 1)]
        answer = await shop.post("/orders", orderid="o-1", lines=lines, customer="Roxy")
        assert answer.status_code == 202
        assert (await shop.order("o-1"))["customer"] == "Roxy"


class TestShipments:
    async def test_a_shipment_arrives_earlier_or_later_and_then_it_is_here(
        self, shop: Shop
    ) -> None:
        await shop.add_batch("a", "SEA", 10, "2026-03-10")
        await shop.add_batch("b", "SEA", 10, "2026-03-20")
        answer = await shop.post("/batches/b/eta", eta="2026-03-01")
        assert (answer.status_code, answer.json()) == (202, "OK")
        await shop.allocate("o-1", "SEA", 10)
        assert await shop.allocations("o-1") == {"SEA": "b"}
        answer = await shop.client.post("/batches/a/receive")
        assert (answer.status_code, answer.json()) == (202, "OK")
        assert (await shop.post("/batches/b/eta", eta=None)).status_code == 202
        assert [batch["eta"] for batch in (await shop.product("SEA"))["batches"]] == [None, None]

    async def test_an_unknown_one_is_not_found(self, shop: Shop) -> None:
        for answer in (
            await shop.post("/batches/b/eta", eta=None),
            await shop.client.post("/batches/b/receive"),
        ):
            assert (answer.status_code, answer.json()) == (404, {"message": "Unknown batch b"})

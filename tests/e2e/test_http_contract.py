"""Every sentence of the contract about the stock over HTTP, over real sockets."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import House
from tests.e2e.shop import Shop, enter_shop

TOMORROW, LATER = "2026-03-03", "2026-03-12"


@pytest.fixture
async def shop(house: House) -> AsyncIterator[Shop]:
    async with enter_shop(house.http_url) as opened:
        yield opened


def said(answer: httpx.Response) -> tuple[int, object]:
    return answer.status_code, answer.json()


class TestAddBatch:
    @pytest.mark.parametrize("eta", ["2026-03-03", None])
    async def test_a_batch_is_made_known_with_an_iso_date_or_null(
        self, shop: Shop, eta: str | None
    ) -> None:
        answer = await shop.post("/add_batch", ref="b-1", sku="SEA", qty=100, eta=eta)
        assert said(answer) == (201, "OK")
        assert (await shop.product("SEA"))["batches"] == [
            {"ref": "b-1", "eta": eta, "purchased": 100, "allocated": 0, "available": 100}
        ]

    async def test_the_eta_may_be_left_out(self, shop: Shop) -> None:
        assert said(await shop.post("/add_batch", ref="b-1", sku="SEA", qty=0)) == (201, "OK")
        assert (await shop.product("SEA"))["batches"][0]["eta"] is None

    async def test_the_same_batch_again_changes_nothing(self, shop: Shop) -> None:
        await shop.add_batch("b-1", "SEA", 100, TOMORROW)
        await shop.allocate("o-1", "SEA", 10)
        before = await shop.product("SEA")
        answer = await shop.post("/add_batch", ref="b-1", sku="SEA", qty=100, eta=TOMORROW)
        assert said(answer) == (201, "OK")
        assert await shop.product("SEA") == before

    @pytest.mark.parametrize("other", [{"sku": "PINE"}, {"qty": 99}, {"eta": LATER}, {"eta": None}])
    async def test_the_same_reference_for_another_batch_is_a_conflict(
        self, shop: Shop, other: dict[str, object]
    ) -> None:
        first = {"ref": "b-1", "sku": "SEA", "qty": 100, "eta": TOMORROW}
        await shop.post("/add_batch", **first)
        before = await shop.product("SEA")
        answer = await shop.post("/add_batch", **{**first, **other})
        message = "Batch b-1 is another one: its SKU, quantity or ETA differs"
        assert said(answer) == (409, {"message": message})
        assert await shop.product("SEA") == before


class TestAllocate:
    async def test_a_line_goes_to_the_warehouse_first_and_then_to_what_comes_first(
        self, shop: Shop
    ) -> None:
        await shop.add_batch("later", "SEA", 10, LATER)
        await shop.add_batch("tomorrow", "SEA", 10, TOMORROW)
        await shop.add_batch("here", "SEA", 10)
        for number, ref in enumerate(["here", "tomorrow", "later"]):
            answer = await shop.post("/allocate", orderid=f"o-{number}", sku="SEA", qty=10)
            assert said(answer) == (202, "OK")
            assert await shop.allocations(f"o-{number}") == {"SEA": ref}

    async def test_out_of_stock_is_answered_the_same(self, shop: Shop) -> None:
        await shop.add_batch("b-1", "SEA", 5)
        answer = await shop.post("/allocate", orderid="o-1", sku="SEA", qty=6)
        assert said(answer) == (202, "OK")
        assert await shop.allocations("o-1") == {}

    async def test_an_unknown_sku_is_told(self, shop: Shop) -> None:
        answer = await shop.post("/allocate", orderid="o-1", sku="PINE", qty=1)
        assert said(answer) == (400, {"message": "Invalid sku PINE"})

    async def test_the_same_line_again_changes_nothing(self, shop: Shop) -> None:
        await shop.add_batch("b-1", "SEA", 100)
        await shop.allocate("o-1", "SEA", 10)
        assert said(await shop.post("/allocate", orderid="o-1", sku="SEA", qty=10)) == (202, "OK")
        assert (await shop.product("SEA"))["allocated"] == 10

    async def test_the_same_order_and_sku_with_another_quantity_is_a_conflict(
        self, shop: Shop
    ) -> None:
        await shop.add_batch("b-1", "SEA", 100)
        await shop.allocate("o-1", "SEA", 10)
        answer = await shop.post("/allocate", orderid="o-1", sku="SEA", qty=11)
        assert said(answer) == (409, {"message": "Order o-1 has a line of 10 SEA already"})
        assert (await shop.product("SEA"))["allocated"] == 10


class TestAllocations:
    async def test_they_are_told_in_the_order_of_allocation(self, shop: Shop) -> None:
        for sku in ("SEA", "PINE", "MOSS"):
            await shop.add_batch(f"{sku}-1", sku, 100)
        for sku in ("PINE", "SEA", "MOSS"):
            await shop.allocate("o-1", sku, 1)
        assert said(await shop.get("/allocations/o-1")) == (
            200,
            [
                {"sku": "PINE", "batchref": "PINE-1"},
                {"sku": "SEA", "batchref": "SEA-1"},
                {"sku": "MOSS", "batchref": "MOSS-1"},
            ],
        )

    async def test_an_order_without_any_is_not_found(self, shop: Shop) -> None:
        answer = await shop.get("/allocations/o-1")
        assert said(answer) == (404, {"message": "Order o-1 has no allocations"})


class TestBatchQuantity:
    async def test_lines_that_no_longer_fit_move_to_other_batches(self, shop: Shop) -> None:
        await shop.add_batch("here", "SEA", 50)
        await shop.add_batch("later", "SEA", 50, LATER)
        await shop.allocate("o-1", "SEA", 20)
        await shop.allocate("o-2", "SEA", 20)
        assert said(await shop.post("/batches/here/quantity", qty=25)) == (202, "OK")
        assert await shop.allocations("o-1") == {"SEA": "here"}
        assert await shop.allocations("o-2") == {"SEA": "later"}

    async def test_or_are_back_ordered_and_filled_when_stock_comes(self, shop: Shop) -> None:
        await shop.add_batch("b-1", "SEA", 50)
        await shop.allocate("o-1", "SEA", 20)
        assert said(await shop.post("/batches/b-1/quantity", qty=0)) == (202, "OK")
        assert await shop.allocations("o-1") == {}
        assert (await shop.product("SEA"))["back_orders"] == 1
        await shop.add_batch("b-2", "SEA", 20)
        assert await shop.allocations("o-1") == {"SEA": "b-2"}

    async def test_an_unknown_batch_is_not_found(self, shop: Shop) -> None:
        answer = await shop.post("/batches/b-1/quantity", qty=5)
        assert said(answer) == (404, {"message": "Unknown batch b-1"})


class TestProducts:
    async def test_what_there_is_is_told_of_each_batch_and_of_all_of_them(self, shop: Shop) -> None:
        await shop.add_batch("later", "SEA", 100, LATER)
        await shop.add_batch("here", "SEA", 10)
        await shop.add_batch("p-1", "PINE", 7)
        await shop.allocate("o-1", "SEA", 8)
        await shop.allocate("o-2", "SEA", 30)
        sea = {
            "sku": "SEA",
            "purchased": 110,
            "allocated": 38,
            "available": 72,
            "back_orders": 0,
            "batches": [
                {"ref": "here", "eta": None, "purchased": 10, "allocated": 8, "available": 2},
                {"ref": "later", "eta": LATER, "purchased": 100, "allocated": 30, "available": 70},
            ],
        }
        assert said(await shop.get("/products/SEA")) == (200, sea)
        everything = (await shop.get("/products")).json()
        assert [product["sku"] for product in everything["products"]] == ["PINE", "SEA"]
        assert everything["products"][1] == sea
        assert everything["next"] is None

    async def test_an_unknown_one_is_not_found(self, shop: Shop) -> None:
        answer = await shop.get("/products/PINE")
        assert said(answer) == (404, {"message": "Unknown sku PINE"})

    async def test_they_come_page_by_page(self, shop: Shop) -> None:
        skus = [f"SKU-{number}" for number in range(5)]
        for sku in skus:
            await shop.add_batch(f"{sku}-1", sku, 1)
        found, pages, after = [], 0, ""
        while True:
            page = (await shop.get("/products", after=after, limit=2)).json()
            found += [product["sku"] for product in page["products"]]
            pages += 1
            if page["next"] is None:
                break
            after = page["next"]
        assert (found, pages) == (skus, 3)


@pytest.mark.parametrize(
    "name", ["a/b", "50% off", "naïve 😀", "?x=1&y#z", "a//b", "a+b", "/quantity", "ends/", "%2F"]
)
async def test_names_may_have_in_them_what_urls_do_not(shop: Shop, name: str) -> None:
    await shop.add_batch(name, name, 10)
    await shop.allocate(name, name, 3)
    assert await shop.allocations(name) == {name: name}
    path = httpx.URL(shop.client.base_url).copy_with(
        raw_path=b"/batches/" + "".join(f"%{b:02X}" for b in name.encode()).encode() + b"/quantity"
    )
    assert (await shop.client.post(path, json={"qty": 7})).status_code == 202
    assert (await shop.product(name))["available"] == 4
    await shop.post("/orders", orderid=f"{name}!", lines=[{"sku": name, "qty": 1}])
    assert (await shop.order(f"{name}!"))["orderid"] == f"{name}!"
    answer = await shop.post("/orders", orderid=f"{name}!", lines=[{"sku": name, "qty": 1}])
    assert (await shop.client.get(answer.headers["location"])).json()["orderid"] == f"{name}!"

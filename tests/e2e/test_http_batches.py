"""Many batches over HTTP: all of them or none."""

import trio

from scentrt.domain.commands import MOST_BATCHES
from tests.conftest import House
from tests.e2e.shop import enter_shop


def told(*batches: tuple[str, str, int]) -> list[dict[str, object]]:
    return [{"ref": ref, "sku": sku, "qty": qty} for ref, sku, qty in batches]


async def test_all_are_known_afterwards_and_once_more_changes_nothing(house: House) -> None:
    batches = told(("b-1", "SEA", 10), ("b-2", "PINE", 5))
    batches[1]["eta"] = "2026-03-02"
    async with enter_shop(house.http_url) as shop:
        for new in 2, 0:
            answer = await shop.post("/batches", batches=batches)
            assert (answer.status_code, answer.json()) == (201, {"new": new})
        assert (await shop.product("PINE"))["batches"] == [
            {"ref": "b-2", "eta": "2026-03-02", "purchased": 5, "allocated": 0, "available": 5}
        ]
        await shop.allocate("o-1", "SEA", 10)
        assert await shop.allocations("o-1") == {"SEA": "b-1"}


async def test_where_some_are_others_none_is_imported_and_these_are_named(house: House) -> None:
    async with enter_shop(house.http_url) as shop:
        await shop.add_batch("b-1", "SEA", 10)
        batches = told(("b-0", "TAR", 1), ("b-1", "SEA", 11), ("b-2", "PINE", 5))
        for path in "/batches", "/batches?dry_run=true":
            answer = await shop.post(path, batches=batches)
            assert answer.status_code == 409
            assert answer.json() == {
                "message": "b-1 is another one: SKU, quantity or ETA differs",
                "refs": ["b-1"],
            }
        assert (await shop.get("/products/TAR")).status_code == 404


async def test_a_dry_run_changes_nothing(house: House) -> None:
    async with enter_shop(house.http_url) as shop:
        answer = await shop.post("/batches?dry_run=true", batches=told(("b-1", "SEA", 10)))
        assert answer.json() == {"new": 1}
        assert (await shop.get("/products")).json()["products"] == []


async def test_a_product_that_is_asked_for_meanwhile_takes_them_into_account(
    house: House,
) -> None:
    async with enter_shop(house.http_url) as shop:
        await shop.add_batch("b-1", "SEA", 1)
        await shop.allocate("o-1", "SEA", 2)
        order = {"orderid": "o-2", "lines": [{"sku": "SEA", "qty": 3}]}
        assert (await shop.post("/orders", **order)).status_code == 202
        await shop.post("/batches", batches=told(("b-2", "SEA", 5)))
        with trio.fail_after(30):
            while await shop.allocations("o-2") != {"SEA": "b-2"}:  # noqa: ASYNC110 (over HTTP)
                await trio.sleep(0.01)
        await shop.allocate("o-1", "SEA", 2)
        assert await shop.allocations("o-1") == {"SEA": "b-2"}


async def test_what_does_not_fit_is_told_by_its_place(house: House) -> None:
    async with enter_shop(house.http_url) as shop:
        answer = await shop.post("/batches", batches=told(("b-1", "SEA", 10), ("b-2", "SEA", -1)))
        assert answer.status_code == 422
        [misfit] = answer.json()["detail"]
        assert misfit["loc"] == ["body", "batches", 1, "qty"]
        assert (await shop.post("/batches", batches=[])).status_code == 422
        assert (await shop.client.post("/batches", content=b"[]")).status_code == 422
        assert (await shop.get("/products")).json()["products"] == []


async def test_as_many_as_there_may_be_are_taken_and_no_more(house: House) -> None:
    batches = told(*((f"batch-{n}", f"SKU-{n % 900}", n) for n in range(MOST_BATCHES + 1)))
    async with enter_shop(house.http_url) as shop:
        assert (await shop.post("/batches", batches=batches)).status_code == 422
        answer = await shop.post("/batches", batches=batches[1:])
        assert (answer.status_code, answer.json()) == (201, {"new": MOST_BATCHES})

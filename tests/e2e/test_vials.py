"""Vials from the stock into the seats and back, over HTTP and at the command line."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from typer.testing import CliRunner

from scentrt.adapters.database_check import check_file
from scentrt.entrypoints.cli import app
from scentrt.errors import ConfigError
from tests.conftest import House, OpenHouse
from tests.e2e.server_process import ServerProcess, serve
from tests.e2e.shop import Shop, enter_shop
from tests.e2e.speaking import Speaker, enter

SKU = "SEABREEZE"


@pytest.fixture
async def shop(house: House) -> AsyncIterator[Shop]:
    """A shop with thirty vials of sea-breeze for one order."""
    async with enter_shop(house.http_url) as shop:
        await shop.add_batch("b-1", SKU, 40)
        await shop.allocate("o-1", SKU, 30)
        yield shop


async def load(shop: Shop, **more: Any) -> httpx.Response:
    """Load vials of the order into zone A."""
    return await shop.post("/vials/load", **{"orderid": "o-1", "sku": SKU, "zone": "A", **more})


async def slots(watch: Speaker, seat: str) -> list[Any]:
    """Return what the gateway says to be left in the slots of a seat, by SKU."""
    state = await watch.ask("state", zone="A")
    [found] = [each for each in state["seats"] if each["seat"] == seat]
    return [(slot["sku"], slot["batchref"], slot["remaining_s"]) for slot in found["slots"]]


class TestOverHttp:
    async def test_a_vial_that_was_loaded_stands_in_its_slot(
        self, house: House, shop: Shop
    ) -> None:
        async with enter(house.gateway_url, "operator") as watch:
            answer = await load(shop, seats=["A-1-3"])
            assert answer.status_code == 200
            [vial] = answer.json()["vials"]
            assert vial == {
                "id": 1,
                "zone": "A",
                "seat": "A-1-3",
                "slot": 0,
                "sku": SKU,
                "batchref": "b-1",
                "capacity_s": 3600,
                "remaining_s": 3600,
            }
            assert answer.json()["left"] == 29
            assert (await slots(watch, "A-1-3"))[0] == (SKU, "b-1", 3600)
        assert (await shop.get("/vials", zone="A")).json() == {
            "vials": [{**vial, "orderid": "o-1", "where": "seated"}],
            "next": None,
        }

    async def test_what_is_sprayed_is_gone_when_it_comes_back(
        self, house: House, shop: Shop
    ) -> None:
        async with enter(house.gateway_url, "operator") as watch:
            await load(shop, seats=["A-1-3"])
            await watch.cue("c-1", to={"seats": ["A-1-3"]}, intensity=1.0, duration_ms=10_000)
            taken = await shop.post("/vials/unload", zone="A", to="return", scent="sea-breeze")
            [vial] = taken.json()["vials"]
            assert 3590 <= vial["remaining_s"] < 3600, (
                "what ran was ended, and saved what it had not given"
            )
            assert (await slots(watch, "A-1-3"))[0] == (None, None, None)
            again = (await load(shop, seats=["A-1-4"])).json()["vials"]
            assert again == [{**vial, "seat": "A-1-4"}], "what came back goes first"
            assert (await slots(watch, "A-1-4"))[0][0] == SKU

    async def test_a_whole_zone_is_filled_and_once_more_changes_nothing(self, shop: Shop) -> None:
        first = (await load(shop)).json()
        assert (len(first["vials"]), first["left"]) == (24, 6)
        assert (await load(shop)).json() == first
        pages = [(await shop.get("/vials", limit=20)).json()]
        pages.append((await shop.get("/vials", limit=20, after=pages[0]["next"])).json())
        assert [len(page["vials"]) for page in pages] == [20, 4]
        assert pages[1]["next"] is None

    @pytest.mark.parametrize(
        ("wish", "status", "sentence"),
        [
            ({"sku": "TAR"}, 400, "sku: TAR does not come in vials here"),
            ({"zone": "C"}, 400, "zone: there is no zone C; there are A"),
            (
                {"seats": ["A-9-9"]},
                400,
                "seats: A-9-9 is no seat of zone A, whose last",
            ),
            ({"orderid": "o-9"}, 404, f"Order o-9 has no line of {SKU}: allocate one first"),
            ({"seats": ["A-1-1"], "most": 1}, 400, "most: is for a whole zone"),
            ({"seats": []}, 422, "seats"),
            ({"most": 0}, 422, "most"),
        ],
    )
    async def test_what_cannot_be_is_a_sentence_and_changes_nothing(
        self, shop: Shop, wish: dict[str, Any], status: int, sentence: str
    ) -> None:
        answer = await load(shop, **wish)
        assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
        assert (await shop.get("/vials")).json()["vials"] == []

    async def test_vials_pin_their_line_and_its_batch(self, shop: Shop) -> None:
        await load(shop, seats=["A-1-1"])
        await shop.allocate("o-2", SKU, 5)
        for refused in (
            await shop.post("/orders/o-1/cancel"),
            await shop.post("/batches/b-1/quantity", qty=29),
        ):
            assert refused.status_code == 409
        assert (await shop.post("/batches/b-1/quantity", qty=30)).status_code == 202
        assert await shop.allocations("o-1") == {SKU: "b-1"}
        assert await shop.allocations("o-2") == {}

    async def test_vials_outlive_a_restart(self, open_house: OpenHouse) -> None:
        async with open_house() as house, enter_shop(house.http_url) as shop:
            await shop.add_batch("b-1", SKU, 40)
            await shop.allocate("o-1", SKU, 30)
            await load(shop, most=2)
            await shop.post("/vials/unload", zone="A", to="discard", seats=["A-1-2"])
        async with (
            open_house() as house,
            enter(house.gateway_url, "operator") as watch,
            enter_shop(house.http_url) as shop,
        ):
            assert (await slots(watch, "A-1-1"))[0] == (SKU, "b-1", 3600)
            assert (await slots(watch, "A-1-2"))[0] == (None, None, None)
            assert (await load(shop, seats=["A-1-2"])).json()["left"] == 27


class TestOnTheGateway:
    async def test_what_happens_to_the_stock_is_told(self, house: House) -> None:
        async with (
            enter(house.gateway_url, "operator") as watch,
            enter_shop(house.http_url) as shop,
        ):
            await watch.ask("subscribe", events=["stock"])
            before = await watch.now()
            await shop.add_batch("b-1", SKU, 10)
            await shop.allocate("o-1", SKU, 10)
            await shop.allocate("o-2", SKU, 1)
            await load(shop, seats=["A-1-1", "A-1-2"])
            await shop.post("/vials/unload", zone="A", to="discard", slot=0)
            heard = [await watch.hear("stock") for _ in range(5)]
            for event in heard:
                assert before <= event.pop("at") <= await watch.now()
                assert (event.pop("type"), event.pop("sku")) == ("stock", SKU)
            of_o1 = {"orderid": "o-1", "batchref": "b-1"}
            assert heard == [
                {"change": "batch-created", "qty": 10, "batchref": "b-1", "eta": None},
                {"change": "allocated", "qty": 10, **of_o1},
                {"change": "out-of-stock"},
                {"change": "vials-loaded", "qty": 2, "zone": "A", **of_o1},
                {"change": "vials-unloaded", "qty": 2, "zone": "A", "to": "discarded", **of_o1},
            ]

    async def test_only_stock_of_the_wanted_scents_is_told(self, house: House) -> None:
        async with (
            enter(house.gateway_url, "operator") as watch,
            enter_shop(house.http_url) as shop,
        ):
            await watch.ask("subscribe", events=["stock", "scent"], scents=["forest"], zones=["A"])
            for ref, sku in ("b-1", SKU), ("b-2", "PAPER"), ("b-3", "FOREST"):
                await shop.add_batch(ref, sku, 10)
            assert (await watch.hear("stock"))["batchref"] == "b-3"
            await watch.hear_nothing_of("stock")

    async def test_who_wants_no_stock_hears_none(self, house: House) -> None:
        async with (
            enter(house.gateway_url, "operator") as watch,
            enter(house.gateway_url, "operator", "other") as other,
            enter_shop(house.http_url) as shop,
        ):
            await watch.ask("subscribe", events=["scent", "zone"])
            reply = await other.ask("subscribe", events=["stock"])
            await shop.add_batch("b-1", SKU, 10)
            await other.hear("stock")
            await other.ask("unsubscribe", subscription=reply["subscription"])
            await shop.add_batch("b-2", SKU, 10)
            await watch.hear_nothing_of("stock")
            await other.hear_nothing_of("stock")


class TestRefills:
    async def test_a_zone_that_runs_dry_orders_its_refill_once(
        self, open_house: OpenHouse, tmp_path: Path
    ) -> None:
        file = tmp_path / "roxy.toml"
        file.write_text(
            'name = "Roxy"\n[[zones]]\nid = "A"\nrows = 1\nseats_per_row = 2\n'
            f'slots = ["sea-breeze"]\n[[products]]\nsku = "{SKU}"\nscent = "sea-breeze"\n'
            "capacity_s = 1\n",
            encoding="utf-8",
        )
        async with open_house(theatre=file) as house, enter_shop(house.http_url) as shop:
            async with enter(house.gateway_url, "operator") as watch:
                await shop.add_batch("b-1", SKU, 3)
                await shop.allocate("o-1", SKU, 2)
                await load(shop)
                await watch.ask("subscribe", events=["zone"])
                await watch.cue("c-1", intensity=1.0, duration_ms=900)
                await watch.hear_until("zone", change="refill-out-of-stock")
                await shop.add_batch("b-2", SKU, 5, "2030-01-02")
                await watch.hear_until("zone", change="refill-ordered")
                refill = {
                    "zone": "A",
                    "scent": "sea-breeze",
                    "sku": SKU,
                    "orderid": f"refill-A-{SKU}-1",
                    "qty": 2,
                    "status": "ordered",
                    "batchref": "b-2",
                    "eta": "2030-01-02",
                }
                assert (await shop.get("/refills")).json() == {"refills": [refill], "next": None}
                await shop.post("/batches/b-2/receive")
                await shop.post("/vials/unload", zone="A", to="discard")
                answer = await load(shop, orderid=refill["orderid"])
                assert len(answer.json()["vials"]) == 2, answer.text
                await watch.hear_until("zone", change="refill-met")
            [met] = (await shop.get("/refills", zone="A")).json()["refills"]
            assert (met["status"], met["eta"]) == ("met", None)


# At the command line


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scentrt(*command: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed."""
    done = CliRunner().invoke(app, command)
    if isinstance(done.exception, ConfigError):  # which `main` prints
        return 2, str(done.exception)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output


LOAD = ("vials", "load", "o-1", SKU, "--zone", "A")
UNLOAD = ("vials", "unload", "--zone", "A", "--to", "return")


def rows(printed: str) -> list[list[str]]:
    """Return the rows of a table."""
    return [line.split() for line in printed.splitlines() if line.strip().startswith("A-")]


class TestAtTheCommandLine:
    def test_vials_are_loaded_listed_and_unloaded_by_the_command_itself(self, folder: Path) -> None:
        scentrt("stock", "receive", "b-1", SKU, "10")
        scentrt("stock", "allocate", "o-1", SKU, "4")
        code, printed = scentrt(*LOAD, "--seat", "A-1-2", "--seat", "A-1-1")
        assert (code, "2 vials. o-1 has 2 more." in printed) == (0, True)
        code, printed = scentrt("vials", "list", "--zone", "A")
        assert rows(printed) == [
            ["A-1-2", SKU, "b-1", "o-1", "0", "3,600", "s", "3,600", "s", "100"],
            ["A-1-1", SKU, "b-1", "o-1", "0", "3,600", "s", "3,600", "s", "100"],
        ]
        code, printed = scentrt(*UNLOAD, "--seat", "A-1-1")
        assert (code, "1 vial returned." in printed) == (0, True)
        code, printed = scentrt(*LOAD)
        assert (code, "4 vials. That is all of o-1." in printed) == (0, True)
        assert list(check_file(folder / "scentrt.db")) == []

    @pytest.mark.parametrize(
        ("command", "code", "sentence"),
        [
            ((*LOAD, "--seat", "A-9-9"), 1, "seats: A-9-9 is no seat of zone A"),
            (("vials", "load", "o-9", SKU, "--zone", "A"), 1, "Order o-9 has no line of"),
            (("vials", "load", "o-1", "TAR", "--zone", "A"), 1, "sku: TAR does not come in vials"),
            (("vials", "load", "o-1", SKU, "--zone", "C"), 1, "zone: there is no zone C"),
            (("vials", "unload", "--zone", "A", "--to", "sink"), 2, "'sink' is not one of"),
            ((*UNLOAD, "--below", "0"), 2, "--below"),
            ((*LOAD, "--db", "other.db"), 2, "there is no such file; name a database with --db"),
            ((*LOAD, "--theatre", "none.toml"), 2, "none.toml: cannot be read"),
        ],
    )
    def test_what_cannot_be_is_a_sentence(
        self, command: tuple[str, ...], code: int, sentence: str
    ) -> None:
        scentrt("stock", "receive", "b-1", SKU, "10")
        scentrt("stock", "allocate", "o-1", SKU, "4")
        done, printed = scentrt(*command)
        assert (done, sentence in " ".join(printed.split())) == (code, True), printed

    async def test_a_server_that_runs_is_asked(self, folder: Path) -> None:
        async with serve(folder) as server:
            await through(server, "stock", "receive", "b-1", SKU, "10")
            await through(server, "stock", "allocate", "o-1", SKU, "4")
            code, printed = await through(server, *LOAD, "--most", "3")
            assert (code, "3 vials. o-1 has 1 more." in printed) == (0, True), printed
            async with enter(server.gateway_url, "operator") as watch:
                assert (await slots(watch, "A-1-3"))[0] == (SKU, "b-1", 3600)
                code, printed = await through(server, *UNLOAD, "--slot", "0")
                assert (code, "3 vials returned." in printed) == (0, True), printed
                assert (await slots(watch, "A-1-3"))[0] == (None, None, None)
            code, printed = await through(server, *LOAD, "--seat", "B-1-1")
            assert (code, "seats: B-1-1 is no seat of zone A" in printed) == (1, True)


async def through(server: ServerProcess, *command: str) -> tuple[int, str]:
    """Run a command that is told where a server listens."""
    http = ("--http", server.http_url.removeprefix("http://"))
    return await trio.to_thread.run_sync(partial(scentrt, *command, *http))

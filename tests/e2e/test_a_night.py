"""One night over the public edges: from the delivery into the seats, dry, and filled again."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from scentrt.adapters.database_check import check_file
from tests.conftest import OpenHouse
from tests.e2e.shop import Shop, enter_shop
from tests.e2e.speaking import Speaker, enter
from tests.integration.mail_server import MailServer
from tests.integration.redis_server import Listener, RedisServer

THEATRE = """\
name = "Roxy"
[[zones]]
id = "A"
rows = 1
seats_per_row = 2
slots = ["sea-breeze", "forest"]
[[products]]
sku = "SEABREEZE"
scent = "sea-breeze"
capacity_s = 0.5
[[products]]
sku = "FOREST"
scent = "forest"
capacity_s = 0.5
"""
SCENTS = {"SEABREEZE": "sea-breeze", "FOREST": "forest"}


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    with server.running():
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer | None]:
    """A Redis, where there is one."""
    if shutil.which("redis-server") is None:
        yield None
        return
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


class Night:
    """Who takes part: a game, a desk that looks on, and the stock room's shop."""

    def __init__(self, game: Speaker, desk: Speaker, shop: Shop) -> None:
        self.game = game
        self.desk = desk
        self.shop = shop

    async def play_until_dry(self, scent: str) -> int:
        """Send cues of a twentieth of a second until no vial lasts for another; count them."""
        played = 0
        for number in count():
            answer = await self.game.cue(
                f"{scent}-{number}", scent, intensity=1.0, duration_ms=50, mix=True
            )
            assert answer["targets"] in {0, 2}
            played += int(answer["targets"]) // 2
            if answer["skipped"] == {"empty": 2}:
                return played
            await trio.sleep(0.01)
        raise AssertionError

    async def refill(self, sku: str) -> dict[str, Any]:
        """Return the one refill of a product; the zone's state tells it alike until it is met."""
        refills = (await self.shop.get("/refills", zone="A")).json()["refills"]
        [refill] = [each for each in refills if each["sku"] == sku]
        state = await self.desk.ask("state", zone="A")
        shown = [{"zone": "A", **each} for each in state.get("refills", ()) if each["sku"] == sku]
        assert shown == ([] if refill["status"] == "met" else [refill])
        found: dict[str, Any] = refill
        return found

    async def hear_of_refill(self, change: str, sku: str) -> None:
        """Hear on the subscription to the zone what has become of a refill."""
        await self.desk.hear_until("zone", change=f"refill-{change}", scent=SCENTS[sku])

    async def load(self, orderid: str, sku: str) -> tuple[int, int]:
        """Load all vials of an order; say how many stand there, and how many it has left."""
        answer = await self.shop.post("/vials/load", orderid=orderid, sku=sku, zone="A")
        assert answer.status_code == 200, answer.text
        return len(answer.json()["vials"]), answer.json()["left"]

    async def change_vials(self, orderid: str, sku: str) -> None:
        """Throw away what is nearly empty, and load those of an order instead."""
        away = await self.shop.post(
            "/vials/unload", zone="A", to="discard", scent=SCENTS[sku], below_percent=20
        )
        assert len(away.json()["vials"]) == 2
        assert await self.load(orderid, sku) == (2, 0)

    async def where(self, sku: str, where: str) -> int:
        """Return how many vials of a product are there."""
        return len((await self.shop.get("/vials", sku=sku, where=where)).json()["vials"])

    async def account_for(self, sku: str, *orders: str) -> dict[str, int]:
        """Return where all that was ever bought of a product has gone."""
        batches = (await self.shop.product(sku))["batches"]
        lines = 0
        for order in orders:
            [line] = (await self.shop.order(order))["lines"]
            lines += line["qty"]
        seated, discarded = await self.where(sku, "seated"), await self.where(sku, "discarded")
        available = sum(batch["available"] for batch in batches)
        return {
            "purchased": sum(batch["purchased"] for batch in batches),
            "in stock": available + lines - seated - discarded,
            "in seats": seated,
            "discarded": discarded,
        }

    async def released_s(self, scent: str, at_least: float) -> float:
        """Return what the journal says was released of a scent, once it is so much."""
        with trio.fail_after(30):
            while True:
                lines = (await self.shop.get("/journal", zone="A", limit=1000)).json()["releases"]
                released = sum(line["dose_s"] for line in lines if line["scent"] == scent)
                if released > at_least:
                    return float(released)
                await trio.sleep(0.05)


async def letter(mail: MailServer) -> tuple[str, str]:
    """Return to whom the only letter went, and what it says."""
    with trio.fail_after(30):
        while not mail.messages:  # noqa: ASYNC110  (it comes in a thread)
            await trio.sleep(0.01)
    [message] = mail.messages
    return message["To"], message.get_content().strip()


async def hear_allocated(listener: Listener, orderid: str) -> str:
    """Return the batch of which Redis tells for an order."""
    while (message := await listener.next())["orderid"] != orderid:
        pass
    return str(message["batchref"])


async def test_a_night_from_the_delivery_into_the_seats_dry_and_filled_again(
    open_house: OpenHouse, tmp_path: Path, mail: MailServer, redis: RedisServer | None
) -> None:
    (tmp_path / "roxy.toml").write_text(THEATRE, encoding="utf-8")
    ways_out: dict[str, Any] = {"email": {"host": mail.host, "port": mail.port}}
    if redis is not None:
        ways_out["redis"] = {"host": redis.host, "port": redis.port}
    async with (
        open_house(theatre=tmp_path / "roxy.toml", **ways_out) as house,
        enter(house.gateway_url) as game,
        enter(house.gateway_url, "operator") as desk,
        enter_shop(house.http_url) as shop,
    ):
        night = Night(game, desk, shop)
        await desk.ask("subscribe", events=["zone", "stock"])
        # The doors are closed: five vials of the one scent come in, and two of the other.
        for sku, qty in ("SEABREEZE", 5), ("FOREST", 2):
            await shop.add_batch(f"first-{sku}", sku, qty)
            await shop.allocate(f"opening-{sku}", sku, 2)
            assert await night.load(f"opening-{sku}", sku) == (2, 0)

        # The one runs dry, and its zone orders what is in the warehouse.
        played = {"SEABREEZE": await night.play_until_dry("sea-breeze")}
        await night.hear_of_refill("ordered", "SEABREEZE")
        await desk.hear_until(
            "stock", change="allocated", orderid="refill-A-SEABREEZE-1", batchref="first-SEABREEZE"
        )
        sea = await night.refill("SEABREEZE")
        assert (sea["orderid"], sea["qty"]) == ("refill-A-SEABREEZE-1", 2)
        assert (sea["status"], sea["batchref"]) == ("ordered", "first-SEABREEZE")

        # The other runs dry as well, and there is none: the stock team gets a letter.
        played["FOREST"] = await night.play_until_dry("forest")
        await night.hear_of_refill("out-of-stock", "FOREST")
        await desk.hear_until("stock", change="out-of-stock", sku="FOREST")
        assert (await night.refill("FOREST"))["status"] == "out-of-stock"
        assert await letter(mail) == ("stock@made.com", "Out of stock for FOREST")

        # A lorry comes, and nobody has to ask again.
        if redis is None:
            await shop.add_batch("second-FOREST", "FOREST", 4)
        else:
            async with redis.listening("line_allocated") as listener:
                await shop.add_batch("second-FOREST", "FOREST", 4)
                assert await hear_allocated(listener, "refill-A-FOREST-1") == "second-FOREST"
        await night.hear_of_refill("ordered", "FOREST")
        await desk.hear_until(
            "stock", change="allocated", orderid="refill-A-FOREST-1", batchref="second-FOREST"
        )

        # An usher changes the vials, and the need is met.
        for sku in SCENTS:
            await night.change_vials(f"refill-A-{sku}-1", sku)
            await night.hear_of_refill("met", sku)
            assert (await night.refill(sku))["status"] == "met"
            assert (await game.cue(sku, SCENTS[sku], duration_ms=1, mix=True))["targets"] == 2

        orders = {sku: (f"opening-{sku}", f"refill-A-{sku}-1") for sku in SCENTS}
        assert [await night.account_for(sku, *orders[sku]) for sku in SCENTS] == [
            {"purchased": 5, "in stock": 1, "in seats": 2, "discarded": 2},
            {"purchased": 6, "in stock": 2, "in seats": 2, "discarded": 2},
        ]
        for sku, scent in SCENTS.items():
            first_vials_s = 2 * 0.050 * played[sku]
            released_s = await night.released_s(scent, at_least=first_vials_s)
            assert released_s == pytest.approx(first_vials_s + 2 * 0.001 * 0.5)
        assert [each["qty"] for each in (await shop.get("/refills")).json()["refills"]] == [2, 2]
        assert len(mail.messages) == 1
    assert list(check_file(tmp_path / "scentrt.db")) == []

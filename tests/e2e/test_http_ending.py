"""A server that stops, or is killed, in the middle of orders: what was acknowledged is there."""

from pathlib import Path

import httpx
import pytest
import trio

from tests.e2e.server_process import serve
from tests.e2e.shop import Shop, enter_shop

CLIENTS = 8
ENOUGH = 80
"""Acknowledged orders, before the server is ended."""


class Load:
    """Clients who order one thing after the other, alone and several at a time, until the end."""

    def __init__(self) -> None:
        self.allocated: set[str] = set()
        self.ordered: set[str] = set()
        self.asked = 0
        self.enough = trio.Event()

    async def run(self, shop: Shop) -> None:
        """Order until the server has gone."""
        while True:
            self.asked += 1
            orderid = f"o-{self.asked}"
            lines = [{"sku": sku, "qty": 1} for sku in ("SEA", "PINE")]
            try:
                if self.asked % 4:
                    answer = await shop.post("/allocate", orderid=orderid, sku="SEA", qty=1)
                    acknowledged = self.allocated
                else:
                    answer = await shop.post("/orders", orderid=orderid, lines=lines)
                    acknowledged = self.ordered
            except httpx.TransportError:
                return
            if answer.status_code == 202:
                acknowledged.add(orderid)
            else:
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"] == "1"
            if len(self.allocated) + len(self.ordered) == ENOUGH:
                self.enough.set()


async def settled(shop: Shop, orderid: str) -> dict[str, str]:
    """Return the allocations of an order when all of its lines have one."""
    with trio.fail_after(30):
        while True:
            found = await shop.allocations(orderid)
            if len(found) == 2:
                return found
            await trio.sleep(0.01)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_every_order_that_was_acknowledged_is_there_after_a_restart(
    tmp_path: Path, end: str
) -> None:
    load = Load()
    async with serve(tmp_path) as server, enter_shop(server.http_url) as shop:
        for sku in ("SEA", "PINE"):
            await shop.add_batch(f"{sku}-1", sku, 1_000_000)
        async with trio.open_nursery() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(load.run, shop)
            await load.enough.wait()
            await (server.stop() if end == "stop" else server.kill())
    async with serve(tmp_path) as server, enter_shop(server.http_url) as shop:
        for orderid in load.allocated:
            assert await shop.allocations(orderid) == {"SEA": "SEA-1"}
        for orderid in load.ordered:
            assert await settled(shop, orderid) == {"SEA": "SEA-1", "PINE": "PINE-1"}
        sea = await shop.product("SEA")
        assert ENOUGH <= sea["allocated"] <= load.asked
        assert sea["allocated"] + sea["available"] == sea["purchased"]
        await server.stop()

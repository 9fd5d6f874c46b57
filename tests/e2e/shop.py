"""A shop that asks the server about the stock over HTTP, said shortly."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx

from tests.browser import browse


class Shop:
    """A client of the HTTP edge."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def post(self, path: str, **body: object) -> httpx.Response:
        """Send a JSON object."""
        return await self.client.post(path, json=body)

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """Look at something."""
        return await self.client.get(path, params=query)

    async def add_batch(self, ref: str, sku: str, qty: int, eta: str | None = None) -> None:
        """Make a batch known, which must succeed."""
        answer = await self.post("/add_batch", ref=ref, sku=sku, qty=qty, eta=eta)
        assert (answer.status_code, answer.json()) == (201, "OK")

    async def allocate(self, orderid: str, sku: str, qty: int) -> None:
        """Have a line allocated, which must succeed, or be out of stock."""
        answer = await self.post("/allocate", orderid=orderid, sku=sku, qty=qty)
        assert (answer.status_code, answer.json()) == (202, "OK")

    async def allocations(self, orderid: str) -> dict[str, str]:
        """Return the batch of each SKU of an order."""
        answer = await self.get(f"/allocations/{quote(orderid, safe='')}")
        if answer.status_code == 404:
            return {}
        return {line["sku"]: line["batchref"] for line in answer.json()}

    async def product(self, sku: str) -> dict[str, Any]:
        """Return what there is of a product."""
        answer = await self.get(f"/products/{quote(sku, safe='')}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def order(self, orderid: str) -> dict[str, Any]:
        """Return what has become of an order."""
        answer = await self.get(f"/orders/{quote(orderid, safe='')}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def enter_shop(http_url: str) -> AsyncIterator[Shop]:
    """Open a client, with connections that are kept."""
    async with browse(http_url, timeout=10) as client:
        yield Shop(client)

"""What can be looked at over HTTP: what is there, and what became of orders."""

import json
from collections.abc import Iterable
from typing import Annotated, TypeAlias

import trio
from fastapi import FastAPI, Path, Query, Response
from pydantic import BaseModel, TypeAdapter
from starlette.exceptions import HTTPException

from scentrt.domain.names import CustomerName, OrderId, Sku
from scentrt.entrypoints.http.answers import (
    Allocated,
    Customer,
    Customers,
    Json,
    Order,
    Orders,
    Product,
    Products,
)
from scentrt.entrypoints.http.document import told
from scentrt.errors import UnknownOrder
from scentrt.service_layer.views import Views

MOST_PER_PAGE = 1_000

After: TypeAlias = Annotated[
    str, Query(description="Where the last page ended: its `next`. Nothing begins the list")
]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=MOST_PER_PAGE)]
PER_PAGE = 100

_ALLOCATIONS = TypeAdapter(list[Allocated])

_PRODUCT = {
    "sku": "SEA-BREEZE",
    "purchased": 150,
    "allocated": 60,
    "available": 90,
    "back_orders": 0,
    "batches": [
        {"ref": "batch-001", "eta": None, "purchased": 50, "allocated": 50, "available": 0},
        {
            "ref": "batch-002",
            "eta": "2026-03-02",
            "purchased": 100,
            "allocated": 10,
            "available": 90,
        },
    ],
}
_ORDER = {
    "orderid": "order-17",
    "customer": "Roxy Cinema",
    "cancelled": False,
    "lines": [
        {
            "sku": "SEA-BREEZE",
            "qty": 10,
            "state": "allocated",
            "batchref": "batch-002",
            "eta": "2026-03-02",
        }
    ],
}
_CUSTOMER = {
    "name": "Roxy Cinema",
    "address": "7 Fleet Street, London",
    "email": "box-office@roxy.example",
}


class StockPages:
    """Show what the views see. Whatever was acknowledged before, is in it."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get(
            "/allocations/{orderid:path}",
            tags=["orders"],
            summary="Where the lines of an order come from",
            **told(
                200,
                "In the order of their allocation",
                [{"sku": "SEA-BREEZE", "batchref": "batch-001"}],
                refuses={404: "Order order-17 has no allocations"},
            ),
        )(self.allocations)
        app.get(
            "/products",
            tags=["stock"],
            summary="What there is",
            **told(
                200,
                "A page",
                {"products": [_PRODUCT], "next": "SEA-BREEZE"},
                gives=Products,
            ),
        )(self.products)
        app.get(
            "/products/{sku:path}",
            tags=["stock"],
            summary="What there is of a product",
            **told(200, "All of it", _PRODUCT, gives=Product, refuses={404: "Unknown sku PINE"}),
        )(self.product)
        app.get(
            "/orders",
            tags=["orders"],
            summary="Orders, however they came",
            **told(200, "A page", {"orders": [_ORDER], "next": None}, gives=Orders),
        )(self.orders)
        app.get(
            "/orders/{orderid:path}",
            tags=["orders"],
            summary="What became of an order",
            **told(
                200, "As it is now", _ORDER, gives=Order, refuses={404: "Unknown order order-17"}
            ),
        )(self.order)
        app.get(
            "/customers",
            tags=["orders"],
            summary="Who places orders",
            **told(200, "A page", {"customers": [_CUSTOMER], "next": None}, gives=Customers),
        )(self.customers)

    async def allocations(
        self, orderid: Annotated[str, Path(description="The id of an order")]
    ) -> Response:
        """Return the batch of each line that is allocated, whoever asked for it."""
        found = await self._views.allocations(OrderId(orderid))
        if not found:
            raise HTTPException(404, f"Order {orderid} has no allocations")
        return Json(_ALLOCATIONS.dump_json([Allocated.of(view) for view in found]))

    async def products(self, after: After = "", limit: Limit = PER_PAGE) -> Response:
        """Return products with their batches, by SKU and page by page."""
        found = await self._views.products(Sku(after), limit + 1)
        follows = found[limit - 1].sku if len(found) > limit else None
        return await page_of("products", map(Product.of, found[:limit]), follows)

    async def product(self, sku: Annotated[str, Path(description="A product")]) -> Response:
        """Return a product with its batches."""
        found = await self._views.product(Sku(sku))
        if found is None:
            raise HTTPException(404, f"Unknown sku {sku}")
        return _json(Product.of(found))

    async def orders(self, after: After = "", limit: Limit = PER_PAGE) -> Response:
        """Return orders, by id and page by page."""
        found = await self._views.orders(OrderId(after), limit + 1)
        follows = found[limit - 1].orderid if len(found) > limit else None
        return await page_of("orders", map(Order.of, found[:limit]), follows)

    async def order(
        self, orderid: Annotated[str, Path(description="The id of an order")]
    ) -> Response:
        """Return an order, placed or allocated line by line, with what has become of each line."""
        found = await self._views.order(OrderId(orderid))
        if found is None:
            raise UnknownOrder(orderid)
        return _json(Order.of(found))

    async def customers(self, after: After = "", limit: Limit = PER_PAGE) -> Response:
        """Return customers, by name and page by page."""
        found = await self._views.customers(CustomerName(after), limit + 1)
        follows = found[limit - 1].name if len(found) > limit else None
        return await page_of("customers", map(Customer.of, found[:limit]), follows)


async def page_of(name: str, answers: Iterable[BaseModel], follows: str | int | None) -> Json:
    """Return a page of a list: its items under `name`, and where the next one begins."""
    items = []
    for answer in answers:
        items.append(answer.model_dump_json())
        await trio.lowlevel.checkpoint()  # for the cues: an order may have a thousand lines
    listed = ",".join(items)
    return Json(f'{{"{name}":[{listed}],"next":{json.dumps(follows)}}}')


def _json(answer: BaseModel) -> Json:
    return Json(answer.model_dump_json())

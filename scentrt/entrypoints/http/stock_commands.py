"""What can be asked of the stock over HTTP."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.routing import APIRoute

from scentrt.domain.commands import CancelOrder, CheckBatches, ImportBatches, ReceiveBatch
from scentrt.domain.names import BatchRef, OrderId
from scentrt.entrypoints.http.answers import OK, Accepted, Imported, Json
from scentrt.entrypoints.http.bodies import (
    NewBatch,
    NewBatches,
    NewCustomer,
    NewEta,
    NewLine,
    NewOrder,
    NewQuantity,
    read,
    read_batches,
)
from scentrt.entrypoints.http.document import told
from scentrt.service_layer.messagebus import Owner

RefInPath: TypeAlias = Annotated[str, Path(description="The reference of a batch")]
DryRun: TypeAlias = Annotated[bool, Query(description="Only say what would be answered")]
OrderInPath: TypeAlias = Annotated[str, Path(description="The id of an order")]

# The same answers for all; nobody adds to them.
_KNOWN, _ACCEPTED = Json(OK, 201), Json(OK, 202)

_NO_SKU = {400: "Invalid sku SEA-BREEZE"}
_NO_BATCH = {404: "Unknown batch batch-001"}


class PlainRoute(APIRoute):
    """A route that FastAPI documents and otherwise leaves alone, for what is called most.

    Its function takes the request and nothing else, and returns the response.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


class StockCommands:
    """Hand in what comes over HTTP at the message bus.

    Whatever was answered with 201 or 202 is on disk.
    """

    def __init__(self, bus: Owner) -> None:
        self._bus = bus

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, those first that are called most."""
        app.router.add_api_route(
            "/allocate",
            self.allocate,
            methods=["POST"],
            route_class_override=PlainRoute,
            tags=["orders"],
            summary="Allocate a line",
            **told(
                202,
                "Allocated, or out of stock",
                "OK",
                takes=NewLine,
                refuses={**_NO_SKU, 409: "Order order-17 has a line of 5 SEA-BREEZE already"},
            ),
        )
        app.router.add_api_route(
            "/add_batch",
            self.add_batch,
            methods=["POST"],
            route_class_override=PlainRoute,
            tags=["stock"],
            summary="Make a batch known",
            **told(
                201,
                "It is known",
                "OK",
                takes=NewBatch,
                refuses={409: "Batch batch-001 is another one: its SKU, quantity or ETA differs"},
            ),
        )
        app.post(
            "/batches",
            tags=["stock"],
            summary="Make the batches of a delivery note known",
            **told(
                201,
                "All of them are known",
                {"new": 1},
                gives=Imported,
                takes=NewBatches,
                refuses={409: "batch-001, batch-002 are other ones: SKU, quantity or ETA differs"},
            ),
        )(self.add_batches)
        # Names may have slashes in them, hence the paths.
        app.post(
            "/batches/{ref:path}/quantity",
            tags=["stock"],
            summary="Set how many a batch has",
            **told(202, "So many it has", "OK", takes=NewQuantity, refuses=_NO_BATCH),
        )(self.change_quantity)
        app.post(
            "/batches/{ref:path}/eta",
            tags=["stock"],
            summary="Set when a batch arrives",
            **told(202, "It arrives then", "OK", takes=NewEta, refuses=_NO_BATCH),
        )(self.change_eta)
        app.post(
            "/batches/{ref:path}/receive",
            tags=["stock"],
            summary="Take a shipment into the warehouse",
            **told(202, "It is there", "OK", refuses=_NO_BATCH),
        )(self.receive)
        app.post(
            "/orders",
            tags=["orders"],
            summary="Place an order of many lines",
            **told(
                202,
                "Accepted, all of it",
                {"orderid": "order-17", "location": "/orders/order-17"},
                gives=Accepted,
                takes=NewOrder,
                refuses={
                    **_NO_SKU,
                    409: "Order order-17 was placed with other lines or by another",
                },
            ),
        )(self.place_order)
        app.post(
            "/orders/{orderid:path}/cancel",
            tags=["orders"],
            summary="Cancel an order",
            **told(202, "Its lines are given up", "OK", refuses={404: "Unknown order order-17"}),
        )(self.cancel_order)
        app.post(
            "/customers",
            tags=["orders"],
            summary="Make a customer known",
            **told(
                201,
                "It is known",
                "OK",
                takes=NewCustomer,
                refuses={
                    400: "Invalid customer Roxy Cinema: 'Roxy @x' is no address of e-mail",
                    409: "Customer Roxy Cinema is registered with another address or e-mail",
                },
            ),
        )(self.register_customer)

    async def allocate(self, request: Request) -> Response:
        """Allocate a line to the batch that serves it first: the warehouse, then by ETA.

        The same line again changes nothing. Out of stock, it is answered the same and the stock
        team is told; look at `/orders/{orderid}`. What is there is for whoever asks first: those on
        back-order have been offered it before, and it is too little for each of them. A cancelled
        order takes no line any more.
        """
        line = await read(NewLine, request)
        await self._bus.handle(line.command())
        return _ACCEPTED

    async def add_batch(self, request: Request) -> Response:
        """Make a batch known, in the warehouse or, with an `eta`, on its way.

        The same batch again changes nothing. Back-orders are filled from it before anybody else
        gets any of it, the oldest first, each whose whole line fits on one batch.
        """
        batch = await read(NewBatch, request)
        await self._bus.handle(batch.command())
        return _KNOWN

    async def add_batches(
        self,
        request: Request,
        dry_run: DryRun = False,  # noqa: FBT002 (a query has a name)
    ) -> Response:
        """Make batches known, all of them or, with 409 and the `refs` of those that differ, none.

        The same ones again change nothing. Back-orders are filled from them.
        """
        batches = await read_batches(request)
        new = await self._bus.handle(CheckBatches(batches) if dry_run else ImportBatches(batches))
        return Json(Imported(new=new).model_dump_json(), 201)

    async def change_quantity(self, ref: RefInPath, request: Request) -> Response:
        """Set how many a batch has; lines that no longer fit are moved, or back-ordered.

        Those that were allocated last give way first, and of them the first finds a place first.
        Back-orders are filled from what comes free. Many thousands of lines are moved in parts:
        if this is cut short by 503, some have been, and the same again moves the rest.
        """
        quantity = await read(NewQuantity, request)
        await self._bus.handle(quantity.command(BatchRef(ref)))
        return _ACCEPTED

    async def change_eta(self, ref: RefInPath, request: Request) -> Response:
        """Set when a batch arrives, null if it has. Its lines stay."""
        eta = await read(NewEta, request)
        await self._bus.handle(eta.command(BatchRef(ref)))
        return _ACCEPTED

    async def receive(self, ref: RefInPath) -> Response:
        """Take a shipment into the warehouse, as it has arrived. Its lines stay."""
        await self._bus.handle(ReceiveBatch(BatchRef(ref)))
        return _ACCEPTED

    async def place_order(self, request: Request) -> Response:
        """Accept an order whole, or not at all; then each line is allocated or back-ordered.

        `location` says where to look what has become of them. The same order again changes nothing.
        """
        order = await read(NewOrder, request)
        await self._bus.handle(order.command())
        location = f"/orders/{quote(order.orderid, safe='')}"
        accepted = Accepted(orderid=order.orderid, location=location)
        return Json(accepted.model_dump_json(), 202, {"Location": location})

    async def cancel_order(self, orderid: OrderInPath) -> Response:
        """Give up every line of an order, however it was asked for, and take none any more.

        That is final. Once more changes nothing.
        """
        await self._bus.handle(CancelOrder(OrderId(orderid)))
        return _ACCEPTED

    async def register_customer(self, request: Request) -> Response:
        """Make a customer known, for orders to name; the same one again changes nothing."""
        customer = await read(NewCustomer, request)
        await self._bus.handle(customer.command())
        return _KNOWN

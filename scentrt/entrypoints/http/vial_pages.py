"""Vials over HTTP: to load them and take them out, and to see which stand where."""

import json
from collections.abc import Iterable
from typing import Annotated, TypeAlias

import trio
from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel

from scentrt.actors.vial_desk import VialKeeper
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.vials import SeatedVial, VialId, Whereabouts
from scentrt.entrypoints.http.answers import (
    Json,
    LoadedVials,
    Refills,
    StoredVial,
    TakenVials,
    Vial,
    VialPage,
    ZoneRefill,
)
from scentrt.entrypoints.http.bodies import LoadWish, UnloadWish, read
from scentrt.entrypoints.http.document import told
from scentrt.entrypoints.http.stock_pages import PER_PAGE, After, Limit
from scentrt.service_layer.views import VialFilter, Views

AfterVial: TypeAlias = Annotated[
    int, Query(ge=0, le=2**53 - 1, description="Where the last page ended: its `next`")
]
_ANY = "All, if left out"
Wanted: TypeAlias = Annotated[str | None, Query(description=_ANY)]
Where: TypeAlias = Annotated[Whereabouts, Query(description="Where they are")]

_VIAL = {
    "id": 7,
    "zone": "A",
    "seat": "A-1-3",
    "slot": 0,
    "sku": "SEABREEZE",
    "batchref": "batch-001",
    "capacity_s": 3600.0,
    "remaining_s": 3600.0,
}
_REFILL = {
    "zone": "A",
    "scent": "sea-breeze",
    "sku": "SEABREEZE",
    "orderid": "refill-A-SEABREEZE-1",
    "qty": 12,
    "status": "ordered",
    "batchref": "batch-002",
    "eta": "2026-03-02",
}


class VialPages:
    """Hand in at the vial desk what comes over HTTP, and show what there is."""

    def __init__(self, vials: VialKeeper, views: Views) -> None:
        self._vials = vials
        self._views = views

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        app.post(
            "/vials/load",
            tags=["vials"],
            summary="Load vials of an order into slots",
            **told(
                200,
                "They stand there",
                {"vials": [_VIAL], "left": 9},
                gives=LoadedVials,
                takes=LoadWish,
                refuses={
                    400: "zone: there is no zone C; there are A, B",
                    404: "Order order-17 has no line of SEABREEZE: allocate one first",
                    409: "Slot 0 of A-1-3 has a vial already: unload it first",
                },
            ),
        )(self.load)
        app.post(
            "/vials/unload",
            tags=["vials"],
            summary="Take vials out of their slots",
            **told(
                200,
                "They are out",
                {"vials": [{**_VIAL, "remaining_s": 41.5}]},
                gives=TakenVials,
                takes=UnloadWish,
                refuses={400: "zone: there is no zone C; there are A, B"},
            ),
        )(self.unload)
        app.get(
            "/vials",
            tags=["vials"],
            summary="Which vials are where",
            **told(
                200,
                "A page",
                {"vials": [{**_VIAL, "orderid": "order-17", "where": "seated"}], "next": None},
                gives=VialPage,
            ),
        )(self.vials)
        app.get(
            "/refills",
            tags=["vials"],
            summary="What zones have ordered by themselves",
            **told(200, "A page", {"refills": [_REFILL], "next": None}, gives=Refills),
        )(self.refills)

    async def load(self, request: Request) -> Response:
        """Take vials out of the stock for an order's line, and have them stand in slots of a zone.

        With `seats`, at all of these or nothing happens, and at most 1,000 at a time; without,
        wherever the zone has room, as many as there are, or `most`. What was returned is used
        first. Those of the line that stand there already count, so that the same once more changes
        nothing. `left` is how many more it has. A line from which vials were taken stays on its
        batch.
        """
        wish = await read(LoadWish, request)
        loaded = await self._vials.load(wish.wish())
        return Json(f'{{"vials":{await _listed(loaded.vials)},"left":{loaded.left}}}')

    async def unload(self, request: Request) -> Response:
        """Take vials out of their slots, `to` the stock (`return`) or the bin (`discard`).

        Only those that `seats`, `scent`, `slot` and `below_percent` let through, where they are
        given. What runs there is ended first. An empty vial is discarded in any case.
        """
        wish = await read(UnloadWish, request)
        return Json(f'{{"vials":{await _listed(await self._vials.unload(wish.wish()))}}}')

    async def vials(
        self,
        zone: Wanted = None,
        seat: Wanted = None,
        sku: Wanted = None,
        orderid: Wanted = None,
        where: Where = Whereabouts.SEATED,
        after: AfterVial = 0,
        limit: Limit = PER_PAGE,
    ) -> Response:
        """Return vials in the order in which they came out of the stock, page by page.

        What stands in a seat may have been used for a second more by now.
        """
        wanted = VialFilter(
            None if zone is None else ZoneId(zone),
            None if seat is None else SeatId(seat),
            None if sku is None else Sku(sku),
            None if orderid is None else OrderId(orderid),
            where,
        )
        found = await self._views.vials(wanted, VialId(after), limit + 1)
        follows = found[limit - 1].vial.id if len(found) > limit else None
        listed = await _joined(StoredVial.of_taken(taken) for taken in found[:limit])
        return Json(f'{{"vials":{listed},"next":{json.dumps(follows)}}}')

    async def refills(
        self, zone: Wanted = None, after: After = "", limit: Limit = PER_PAGE
    ) -> Response:
        """Return what zones that ran dry have ordered, by the ids of the orders and page by page.

        `wanted` is not decided yet; `ordered` is allocated, or where `batchref` is null, on
        back-order; `out-of-stock` is ordered when there is stock again; `met` is over, as the zone
        has enough; `cancelled` was given up by somebody, and is not ordered again before that.
        """
        of_zone = None if zone is None else ZoneId(zone)
        found = await self._views.refills(of_zone, OrderId(after), limit + 1)
        follows = found[limit - 1].refill.orderid if len(found) > limit else None
        listed = await _joined(ZoneRefill.of(refill) for refill in found[:limit])
        return Json(f'{{"refills":{listed},"next":{json.dumps(follows)}}}')


async def _listed(vials: Iterable[SeatedVial]) -> str:
    return await _joined(map(Vial.of, vials))


async def _joined(answers: Iterable[BaseModel]) -> str:
    items = []
    for answer in answers:
        items.append(answer.model_dump_json())
        await trio.lowlevel.checkpoint()  # for the cues: a zone may have ten thousand vials
    return f"[{','.join(items)}]"

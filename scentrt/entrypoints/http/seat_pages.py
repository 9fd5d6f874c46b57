"""Seats over HTTP: what whoever sits there wants, and how the dispenser there is used."""

import json
from typing import Annotated, TypeAlias

from fastapi import FastAPI, Path, Request, Response

from scentrt.actors.seat_desk import SeatKeeper
from scentrt.domain.cues import SeatId
from scentrt.entrypoints.http.answers import Json, Seat, Seats
from scentrt.entrypoints.http.bodies import NewSettings, SettingsChange, read
from scentrt.entrypoints.http.document import told
from scentrt.entrypoints.http.stock_pages import PER_PAGE, After, Limit

SeatInPath: TypeAlias = Annotated[
    str, Path(description="A seat; goggles by their name, once they have connected")
]

_SEAT = {
    "zone": "A",
    "seat": "A-1-3",
    "opted_out": False,
    "averse_to": ["nightclub"],
    "gain": 1.2,
    "delay_ms": 150.0,
}
_NO_SEAT = {404: "there is no seat 'A-9-9'"}
_REFUSED = {**_NO_SEAT, 400: "averse_to: no zone carries 'sea-breze'"}


class SeatPages:
    """Hand in at the seat desk what comes over HTTP."""

    def __init__(self, desk: SeatKeeper) -> None:
        self._desk = desk

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        app.get(
            "/seats",
            tags=["seats"],
            summary="What is set for each seat",
            **told(
                200,
                "A page",
                {"seats": [_SEAT], "next": "A-1-3"},
                gives=Seats,
                refuses=_NO_SEAT,
            ),
        )(self.seats)
        # Goggles may have slashes in their names.
        app.get(
            "/seats/{seat:path}",
            tags=["seats"],
            summary="What is set for a seat",
            **told(200, "All of it", _SEAT, gives=Seat, refuses=_NO_SEAT),
        )(self.seat)
        app.put(
            "/seats/{seat:path}",
            tags=["seats"],
            summary="Set all that can be set for a seat",
            **told(200, "Set, and stored", _SEAT, gives=Seat, takes=NewSettings, refuses=_REFUSED),
        )(self.put)
        app.patch(
            "/seats/{seat:path}",
            tags=["seats"],
            summary="Set some of what can be set for a seat",
            **told(
                200, "Set, and stored", _SEAT, gives=Seat, takes=SettingsChange, refuses=_REFUSED
            ),
        )(self.patch)

    async def seats(self, after: After = "", limit: Limit = PER_PAGE) -> Response:
        """Return seats in the order of the house, page by page; goggles come last, by name."""
        cards = await self._desk.page(SeatId(after), limit + 1)
        follows = cards[limit - 1].seat if len(cards) > limit else None
        listed = ",".join(Seat.of(card).model_dump_json() for card in cards[:limit])
        return Json(f'{{"seats":[{listed}],"next":{json.dumps(follows)}}}')

    async def seat(self, seat: SeatInPath) -> Response:
        """Return what is set for a seat, all of it."""
        return Json(Seat.of(await self._desk.read(SeatId(seat))).model_dump_json())

    async def put(self, seat: SeatInPath, request: Request) -> Response:
        """Set everything for a seat, in effect at once: what runs and is not wanted any more stops.

        A field that is left out is refused, so that nobody's allergy is forgotten; to change one,
        send `PATCH`. It is on disk when it is answered. With 503 it is in effect, and will be
        stored as soon as the database takes it.
        """
        settings = await read(NewSettings, request)
        card = await self._desk.change(SeatId(seat), settings.change())
        return Json(Seat.of(card).model_dump_json())

    async def patch(self, seat: SeatInPath, request: Request) -> Response:
        """Set what is sent, as `PUT` does, and leave the rest as it is."""
        change = await read(SettingsChange, request)
        card = await self._desk.change(SeatId(seat), change.change())
        return Json(Seat.of(card).model_dump_json())

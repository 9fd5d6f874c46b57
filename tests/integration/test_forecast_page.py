"""The forecast over HTTP, and the inventory that it takes of the zones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import httpx
import pytest
import trio

from scentrt.actors import inventory
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.forecast import SeatNow, SlotNow
from scentrt.domain.layout import DEFAULT_THEATRE
from scentrt.domain.seat_settings import SeatSettings
from scentrt.domain.seats import Seat, Slot, Vial
from scentrt.entrypoints.cue_list import MOST_CUES
from scentrt.entrypoints.http.app import create_app
from scentrt.entrypoints.http.forecast import ForecastPage
from scentrt.entrypoints.http.health import Readiness
from scentrt.entrypoints.http.metrics import Metrics
from scentrt.errors import Busy
from tests.browser import browse
from tests.conftest import House

A, SEA = ZoneId("A"), Scent("sea-breeze")
CUE: dict[str, Any] = {
    "at_ms": 65_000,
    "scent": "sea-breeze",
    "intensity": 0.5,
    "duration_ms": 8_000,
    "to": {"all": True},
}


def seats(*left_s: float | None) -> list[SeatNow]:
    return [
        SeatNow(
            A,
            SeatId(f"A-1-{number}"),
            (SlotNow(SEA, None if left is None else round(left * US_PER_S)),),
        )
        for number, left in enumerate(left_s, 1)
    ]


@asynccontextmanager
async def shop(house: House, *left_s: float | None) -> AsyncIterator[httpx.AsyncClient]:
    async def seats_now() -> list[SeatNow]:
        return seats(*left_s)

    async with client(house, ForecastPage(DEFAULT_THEATRE, seats_now, max_spray_ms=10_000)) as http:
        yield http


def client(house: House, page: ForecastPage) -> httpx.AsyncClient:
    stock = house.server.stock
    app = create_app(
        stock.bus, stock.views, Readiness, Metrics(), seats=house.server.seats, forecasts=page
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://roxy")


async def test_what_runs_dry_and_what_to_load_is_answered(house: House) -> None:
    async with shop(house, 7.5, 3, None) as http:
        again = {**CUE, "at_ms": 5_000}
        answer = await http.post("/forecast", json={"cues": [CUE, again]})
        assert answer.status_code == 200
        assert answer.json() == {
            "lasts": False,
            "cues": 2,
            "ends_ms": 73_000,
            "unsprayed": [],
            "scents": [
                {
                    "zone": "A",
                    "scent": "sea-breeze",
                    "lasts": False,
                    "seats": 3,
                    "needed_s": 24,
                    "present_s": 10.5,
                    "uncounted_s": 8,
                    "uncounted_seats": 1,
                    "short_s": 12,
                    "short_seats": 2,
                    "runs_dry": {"cue": 1, "at_ms": 5_000, "seats": ["A-1-2"]},
                    "load": [
                        {
                            "sku": "SEABREEZE",
                            "capacity_s": 3_600,
                            "vials": 2,
                            "seats": 2,
                            "during_show": 0,
                        }
                    ],
                }
            ],
        }


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        (b'{"cues":[{}]}', ["body", "cues", 0, "at_ms"]),
        (b'{"cues":[]}', ["body"]),
        (b'{"cues":3}', ["body", "cues"]),
        (b"{}", ["body", "cues"]),
        (b"[]", ["body", "cues"]),
        (b"{", ["body"]),
        (b"[" * 5_000, ["body", "cues"]),
        (b'{"cues":[' + b"," * MOST_CUES + b"]}", ["body"]),
    ],
)
async def test_what_does_not_fit_is_told_by_its_place(
    house: House, body: bytes, loc: list[str | int]
) -> None:
    async with shop(house) as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/forecast", content=body, headers=headers)
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, loc)
        assert answer.json()["detail"][0]["msg"]
        assert (await http.post("/forecast", content=body)).status_code == 422


async def test_names_that_nobody_has_are_told_each_by_its_cue(house: House) -> None:
    async with shop(house) as http:
        odd = {**CUE, "scent": "tar", "to": {"seats": ["A-9-9"]}}
        answer = await http.post("/forecast", json={"cues": [CUE, odd]})
        assert answer.status_code == 422
        assert [fault["loc"] for fault in answer.json()["detail"]] == [
            ["body", "cues", 1, "scent"],
            ["body", "cues", 1, "to", "seats"],
        ]


async def test_a_zone_that_cannot_answer_puts_it_off(house: House) -> None:
    async def seats_now() -> NoReturn:
        raise Busy("zone A", 50)

    page = ForecastPage(DEFAULT_THEATRE, seats_now, max_spray_ms=10_000)
    async with client(house, page) as http:
        answer = await http.post("/forecast", json={"cues": [CUE]})
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_a_house_without_vials_is_not_counted(house: House) -> None:
    async with browse(house.http_url) as http:
        answer = (await http.post("/forecast", json={"cues": [CUE]})).json()
        assert answer["lasts"]
        [scent] = answer["scents"]
        assert (scent["seats"], scent["needed_s"], scent["present_s"]) == (24, 96, None)
        assert (scent["uncounted_seats"], scent["uncounted_s"]) == (24, 96)


async def test_the_document_shows_a_list_that_is_taken(house: House) -> None:
    async with browse(house.http_url) as http:
        document = (await http.get("/openapi.json")).json()
        content = document["paths"]["/forecast"]["post"]["requestBody"]["content"]
        shown = content["application/json"]
        assert shown["schema"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        assert (await http.post("/forecast", json=shown["example"])).status_code == 200


async def test_cues_are_decided_while_a_forecast_is_made(house: House) -> None:
    many = [{**CUE, "at_ms": n, "to": {"seats": ["A-1-1"]}} for n in range(MOST_CUES)]
    async with (
        browse(house.http_url, timeout=60) as http,
        trio.open_nursery() as nursery,
    ):

        async def ask() -> None:
            answer = await http.post("/forecast", json={"cues": many})
            assert answer.json()["cues"] == MOST_CUES

        for _ in range(3):
            nursery.start_soon(ask)
        assert (await http.get("/healthz")).status_code == 200


async def test_every_seat_is_asked_of_its_zone_page_by_page(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "SLOTS_PER_PAGE", 20)
    found = await inventory.take_inventory(house.server.house)
    [plan] = house.server.house.plan.zones
    slots = tuple(SlotNow(scent, None) for scent in plan.slots)
    assert found == [SeatNow(A, id, slots) for id in plan.seat_ids()]


def test_of_a_seat_it_is_noted_what_is_in_its_vials_and_what_is_set_there() -> None:
    seat = Seat(SeatId("A-1-1"), [Slot(0, SEA, Vial(7)), Slot(1, SEA)], Limits())
    assert inventory.seat_now(A, seat).slots == (SlotNow(SEA, 7), SlotNow(SEA, None))
    seat.settle(SeatSettings(opted_out=True, averse_to=frozenset({SEA}), gain=0.5))
    now = inventory.seat_now(A, seat)
    assert (now.opted_out, now.averse_to, now.gain) == (True, frozenset({SEA}), 0.5)

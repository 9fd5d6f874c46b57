"""The HTTP server says whether the server is alive and able to serve, to those who may know."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from scentrt.domain.cues import ZoneId
from scentrt.entrypoints.http.app import create_app
from scentrt.entrypoints.http.health import Readiness
from scentrt.entrypoints.http.metrics import Metrics
from simulators.client import Refused, open_client
from tests.browser import browse
from tests.conftest import House
from tests.e2e.speaking import until

READY = Readiness()


def client(
    house: House, readiness: Readiness, lets_in: Callable[[str | None], bool] | None
) -> httpx.AsyncClient:
    stock = house.server.stock
    app = create_app(
        stock.bus,
        stock.views,
        lambda: readiness,
        Metrics(),
        seats=house.server.seats,
        lets_in=lets_in,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://roxy")


@pytest.fixture
async def closed(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that lets in whoever says `open sesame`."""
    async with client(house, READY, lambda token: token == "open sesame") as http:
        yield http


async def test_a_server_that_can_serve_says_so_and_what_is_amiss_all_the_same(house: House) -> None:
    async with client(house, Readiness(remarks=("the database is 6.0 s behind",)), None) as http:
        assert (await http.get("/healthz")).json() == {"status": "alive"}
        answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "reasons": [],
        "remarks": ["the database is 6.0 s behind"],
    }


async def test_a_server_that_cannot_serve_says_why_and_is_alive_all_the_same(house: House) -> None:
    async with client(house, Readiness(reasons=("zone A is not open",)), None) as http:
        assert (await http.get("/healthz")).status_code == 200
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["zone A is not open"]


@pytest.mark.parametrize(
    "header",
    [None, "", "open sesame", "Basic open sesame", "Bearer", "Bearer ", "Bearer óther"],
)
async def test_whoever_brings_no_token_that_is_known_learns_nothing(
    closed: httpx.AsyncClient, header: str | None
) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/nothing"):
        answer = await closed.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {"message": "Send an operator's token: 'Authorization: Bearer …'"}


@pytest.mark.parametrize("header", ["Bearer open sesame", "bearer  open sesame "])
async def test_whoever_brings_one_comes_in(closed: httpx.AsyncClient, header: str) -> None:
    answer = await closed.get("/readyz", headers={"Authorization": header})
    assert answer.status_code == 200


async def test_while_a_zone_is_restarted_the_server_is_not_ready_and_a_second_later_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with (
        open_client(house.gateway_url, role="engine", name="game") as game,
        browse(house.http_url) as http,
    ):
        zone = house.server.actors[ZoneId("A")]
        with monkeypatch.context() as patch:
            patch.setattr(house.memory("A"), "spray", broken)
            patch.setattr(zone, "_open", broken)
            with pytest.raises(Refused) as refused:
                await game.cue("jungle", {"zones": ["A"]})
            assert (refused.value.code, refused.value.retryable) == ("internal", True)
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["zone A is not open"])
        await until(lambda: zone.is_open)
        assert (await http.get("/readyz")).status_code == 200
        assert (await game.cue("jungle", {"zones": ["A"]}))["targets"] == 24

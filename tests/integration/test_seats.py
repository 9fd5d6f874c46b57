"""What is set for seats over HTTP and by `scentrt seats`, and how it is seen over WebSocket."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trio
from typer.testing import CliRunner

from scentrt.entrypoints.cli import app
from scentrt.errors import ConfigError
from tests.browser import browse
from tests.conftest import House, OpenHouse
from tests.e2e.speaking import Message, enter, until
from tests.e2e.theatres import theatre, two_zones

USUAL: Message = {"opted_out": False, "averse_to": [], "gain": 1.0, "delay_ms": 0.0}


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with browse(house.http_url) as client:
        yield client


async def seat_of(house: House, seat: str) -> Message:
    async with enter(house.gateway_url, "operator") as desk:
        seats = (await desk.ask("state", zone="A"))["seats"]
        found: Message = next(each for each in seats if each["seat"] == seat)
        del found["slots"]
        return found


class TestHttp:
    async def test_a_seat_is_as_usual_until_something_is_set(
        self, house: House, http: httpx.AsyncClient
    ) -> None:
        usual = {"zone": "A", "seat": "A-1-3", **USUAL}
        assert (await http.get("/seats/A-1-3")).json() == usual
        assert await seat_of(house, "A-1-3") == {
            "seat": "A-1-3",
            "online": True,
            "opted_out": False,
        }

    async def test_all_is_set_at_once_and_some_of_it_later_and_all_look_on(
        self, house: House, http: httpx.AsyncClient
    ) -> None:
        async with enter(house.gateway_url, "engine") as game:
            await game.ask("subscribe", events=["zone"])
            wanted = {"opted_out": False, "averse_to": ["forest"], "gain": 1.5, "delay_ms": 20}
            answer = await http.put("/seats/A-1-3", json=wanted)
            assert answer.status_code == 200
            assert answer.json() == {"zone": "A", "seat": "A-1-3", **wanted}
            event = await game.hear("zone")
            assert (event["change"], event["seat"]) == ("seat-changed", "A-1-3")
            assert (await game.cue("c-1", "forest"))["skipped"] == {"opted-out": 1}
            answer = await http.patch("/seats/A-1-3", json={"opted_out": True, "gain": 1})
            assert answer.json() == {
                "zone": "A",
                "seat": "A-1-3",
                **wanted,
                "opted_out": True,
                "gain": 1.0,
            }
        assert await seat_of(house, "A-1-3") == {
            "seat": "A-1-3",
            "online": True,
            "opted_out": True,
            "averse_to": ["forest"],
            "delay_ms": 20.0,
        }

    async def test_it_outlives_the_server_and_beats_the_theatre_file(
        self, open_house: OpenHouse, tmp_path: Path
    ) -> None:
        file = two_zones(tmp_path)  # in which A-1-2 has opted out
        async with (
            open_house(theatre=file) as house,
            browse(house.http_url) as http,
        ):
            assert (await http.get("/seats/A-1-2")).json()["opted_out"]
            for seat, opted_out in (("A-1-2", False), ("A-1-1", True)):
                await http.patch(f"/seats/{seat}", json={"opted_out": opted_out})
        async with open_house(theatre=file) as house:
            assert [(await seat_of(house, f"A-1-{n}"))["opted_out"] for n in (1, 2)] == [
                True,
                False,
            ]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"gain": 0}, "gain"),
            ({"gain": 0.049}, "gain"),
            ({"gain": 2.01}, "gain"),
            ({"gain": "1"}, "gain"),
            ({"gain": True}, "gain"),
            ({"delay_ms": -1}, "delay_ms"),
            ({"delay_ms": 2_000.5}, "delay_ms"),
            ({"opted_out": 1}, "opted_out"),
            ({"averse_to": "forest"}, "averse_to"),
            ({"averse_to": [""]}, "averse_to"),
            ({"averse_to": [f"scent-{n}" for n in range(17)]}, "averse_to"),
            ({"delay": 1}, "delay"),
        ],
    )
    async def test_what_does_not_fit_is_told_by_field_and_changes_nothing(
        self, http: httpx.AsyncClient, body: dict[str, Any], field: str
    ) -> None:
        for method, sent in (("PATCH", body), ("PUT", {**USUAL, **body})):
            answer = await http.request(method, "/seats/A-1-3", json=sent)
            assert answer.status_code == 422, answer.text
            assert field in {place for each in answer.json()["detail"] for place in each["loc"]}
        for text in ('{"gain": NaN}', '{"gain": 1e999}', "[]", "{", ""):
            headers = {"Content-Type": "application/json"}
            answer = await http.patch("/seats/A-1-3", content=text, headers=headers)
            assert answer.status_code == 422, answer.text
        assert (await http.get("/seats/A-1-3")).json() == {"zone": "A", "seat": "A-1-3", **USUAL}

    async def test_put_wants_all_of_it_so_that_no_allergy_is_forgotten(
        self, http: httpx.AsyncClient
    ) -> None:
        await http.patch("/seats/A-1-3", json={"averse_to": ["forest"]})
        answer = await http.put("/seats/A-1-3", json={"opted_out": False, "gain": 1, "delay_ms": 0})
        assert answer.status_code == 422
        assert (await http.get("/seats/A-1-3")).json()["averse_to"] == ["forest"]

    async def test_unknown_seats_and_scents_are_told(self, http: httpx.AsyncClient) -> None:
        for answer in (
            await http.get("/seats/A-9-9"),
            await http.patch("/seats/A-9-9", json={"gain": 1}),
            await http.put("/seats/A-9-9", json=USUAL),
            await http.get("/seats", params={"after": "A-9-9"}),
        ):
            assert (answer.status_code, answer.json()) == (
                404,
                {"message": "there is no seat 'A-9-9'"},
            )
        answer = await http.patch("/seats/A-1-1", json={"averse_to": ["forrest"]})
        assert (answer.status_code, answer.json()) == (
            400,
            {"message": "averse_to: no zone carries 'forrest'"},
        )

    async def test_goggles_are_seats_once_they_have_connected(
        self, house: House, http: httpx.AsyncClient
    ) -> None:
        name = "player/7 ü"
        path = f"/seats/{quote(name, safe='')}"
        assert (await http.patch(path, json={"opted_out": True})).status_code == 404
        async with enter(house.gateway_url, "goggles", name):
            assert (await http.patch(path, json={"opted_out": True})).status_code == 200
        async with enter(house.gateway_url, "engine") as game:
            answer = await game.cue("gone", "forest", {"goggles": [name]})
            assert answer["skipped"] == {"opted-out": 1}
            async with enter(house.gateway_url, "goggles", name):
                answer = await game.cue("back", "forest", {"goggles": [name]})
                assert answer["skipped"] == {"opted-out": 1}

    async def test_all_seats_come_page_by_page(self, house: House, http: httpx.AsyncClient) -> None:
        async with enter(house.gateway_url, "goggles", "player-7"):
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                query: dict[str, str | int] = {"after": after, "limit": 10}
                page = (await http.get("/seats", params=query)).json()
                found += [each["seat"] for each in page["seats"]]
                after = page["next"]
        expected = [f"A-{row}-{number}" for row in range(1, 5) for number in range(1, 7)]
        assert found == [*expected, "player-7"]

    async def test_no_page_misses_goggles_that_come_anew_meanwhile(
        self, house: House, http: httpx.AsyncClient
    ) -> None:
        for name in ("g3", "g1", "g2"):
            async with enter(house.gateway_url, "goggles", name):
                pass
        first = (await http.get("/seats", params={"limit": 25})).json()
        assert first["seats"][-1]["seat"] == first["next"] == "g1"
        async with enter(house.gateway_url, "goggles", "g1"):
            second = (await http.get("/seats", params={"after": "g1"})).json()
        assert [each["seat"] for each in second["seats"]] == ["g2", "g3"]

    async def test_without_the_database_it_is_in_effect_and_stored_later(
        self, house: House, http: httpx.AsyncClient, tmp_path: Path
    ) -> None:
        db = tmp_path / "scentrt.db"
        with closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await http.patch("/seats/A-1-3", json={"opted_out": True})
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "1"
            assert "It is in effect, and will be stored" in answer.json()["message"]
            assert (await http.get("/seats/A-1-3")).json()["opted_out"]
            other.execute("ROLLBACK")
        await until(lambda: stored(db))
        assert stored(db) == [("A", "A-1-3", 1, None, None, None)]

    async def test_the_page_of_a_zone_with_all_that_can_be_set_stays_under_its_limit(
        self, open_house: OpenHouse, tmp_path: Path
    ) -> None:
        scents = [f"{n:04}" + "\N{GRINNING FACE}" * 30 for n in range(16)]
        zone = {"rows": 10, "seats_per_row": 10, "slots": scents}
        everything = {"averse_to": scents, "gain": 1 / 3, "delay_ms": 1999.0000001}
        async with (
            open_house(theatre=theatre(tmp_path, A=zone)) as house,
            browse(house.http_url) as http,
            enter(house.gateway_url) as client,  # which sees to it that frames are under 32 KiB
        ):
            for n in range(1, 11):
                answer = await http.patch(f"/seats/A-1-{n}", json=everything)
                assert answer.status_code == 200, answer.text
            page = await client.ask("state", zone="A")
            for number in range(2, page["pages"] + 1):
                await client.ask("state", zone="A", page=number)
            assert page["seats"][0]["averse_to"] == sorted(scents)


def stored(db: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(db)) as reading:
        return reading.execute("SELECT * FROM seat_settings").fetchall()


class TestCommand:
    @staticmethod
    def run(*command: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["seats", *command])
        if isinstance(done.exception, ConfigError):  # which `main` prints
            return 2, str(done.exception)
        assert isinstance(done.exception, SystemExit | None), done.exception
        return done.exit_code, done.output

    async def through(self, house: House, *command: str) -> tuple[int, str]:
        where = ("--http", house.http_url.removeprefix("http://"))
        return await trio.to_thread.run_sync(partial(self.run, *command, *where))

    @pytest.mark.parametrize("said", ["<html>Welcome!</html>", "{}", "[1]"])
    async def test_what_is_no_scentrt_is_said_to_be_none(self, said: str) -> None:
        async def answer(stream: trio.SocketStream) -> None:
            async with stream:
                await stream.receive_some()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n"
                await stream.send_all((head + said).encode())

        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, answer, [listener])
            address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
            ask = partial(self.run, "show", "A-1-3", "--http", address)
            code, printed = await trio.to_thread.run_sync(ask)
            assert (code, f"what answers at {address} is no ScentRT" in printed) == (2, True)
            nursery.cancel_scope.cancel()

    async def test_seats_are_set_shown_and_listed(self, house: House) -> None:
        assert await self.through(house, "list") == (
            0,
            "Nothing is set for any seat: see scentrt seats set --help.\n",
        )
        done, printed = await self.through(
            house, "set", "A-1-3", "--averse", "forest", "--averse", "jungle", "--gain", "1.25"
        )
        assert (done, printed.split()[-8:]) == (
            0,
            ["A", "A-1-3", "yes", "forest,", "jungle", "1.25", "0", "ms"],
        )
        done, printed = await self.through(house, "set", "A-1-3", "--opt-out", "--delay-ms", "150")
        assert (done, printed.split()[-8:]) == (
            0,
            ["A", "A-1-3", "none", "forest,", "jungle", "1.25", "150", "ms"],
        )
        await self.through(house, "set", "A-1-3", "--opt-in", "--averse-to-none")
        card = {**USUAL, "zone": "A", "seat": "A-1-3", "gain": 1.25, "delay_ms": 150.0}
        done, printed = await self.through(house, "show", "A-1-3", "--json")
        assert (done, json.loads(printed)) == (0, card)
        done, printed = await self.through(house, "list", "--json")
        assert (done, json.loads(printed)) == (0, [card])
        done, printed = await self.through(house, "list", "--all", "--json")
        assert (done, len(json.loads(printed))) == (0, 24)

    async def test_what_the_server_refuses_is_a_sentence(self, house: House) -> None:
        assert await self.through(house, "show", "A-9-9") == (1, "there is no seat 'A-9-9'\n")
        assert await self.through(house, "set", "A-1-1", "--averse", "tar") == (
            1,
            "averse_to: no zone carries 'tar'\n",
        )

    @pytest.mark.parametrize(
        ("command", "sentence"),
        [
            (("set", "A-1-1"), "say what: --opt-out, --averse, --gain or --delay-ms"),
            (("set", "A-1-1", "--gain", "0"), "--gain: expected a number from 0.05 to 2, not 0"),
            (
                ("set", "A-1-1", "--gain", "nan"),
                "--gain: expected a number from 0.05 to 2, not nan",
            ),
            (("set", "A-1-1", "--delay-ms", "2001"), "--delay-ms"),
            (("set", "A-1-1", "--averse", "x", "--averse-to-none"), "give this or --averse"),
            (("show", "A-1-1", "--http", "127.0.0.1:1"), "no server answers at 127.0.0.1:1; start"),
        ],
    )
    def test_wrong_usage_is_a_sentence(
        self,
        command: tuple[str, ...],
        sentence: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        done, printed = self.run(*command)
        assert (done, sentence in printed) == (2, True), printed

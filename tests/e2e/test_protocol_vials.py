"""Vials and refills in the state of a zone and in its events, and the journal over HTTP."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import trio

from scentrt.actors.messages import PutVials, SetRefill, SlotsHeard, TakeVials
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus
from tests.browser import browse
from tests.conftest import House, OpenHouse
from tests.e2e.speaking import MSGPACK, enter
from tests.e2e.theatres import theatre
from tests.vials import seated, store

A11, A12 = SeatId("A-1-1"), SeatId("A-1-2")
SEA = Scent("sea-breeze")


@pytest.fixture
def vials(tmp_path: Path) -> None:
    """Have vials in two seats when the house opens."""
    store(tmp_path / "scentrt.db", [seated(1, A11, left_s=50.5), seated(2, A12, left_s=10)])


async def journal(house: House, lines: int, **query: Any) -> dict[str, Any]:
    """Return a page of the journal, once it has so many lines."""
    async with browse(house.http_url) as client:
        with trio.fail_after(10):
            while True:
                answer = await client.get("/journal", params=query)
                assert answer.status_code == 200, answer.text
                page: dict[str, Any] = answer.json()
                if len(page["releases"]) >= lines:
                    return page
                await trio.sleep(0.05)


@pytest.mark.usefixtures("vials")
@pytest.mark.parametrize("subprotocol", ["scentrt.v1.json", MSGPACK])
async def test_the_state_tells_of_each_vial_and_of_the_scent_in_all_of_them(
    open_house: OpenHouse, subprotocol: str
) -> None:
    async with (
        open_house() as house,
        enter(house.gateway_url, subprotocol=subprotocol) as client,
    ):
        state = await client.ask("state", zone="A")
        assert state["supply"] == [
            {"scent": SEA, "remaining_s": 60.5, "capacity_s": 200.0, "vials": 2, "low": 1}
        ]
        assert "refills" not in state
        sea, nightclub = state["seats"][0]["slots"][:2]
        assert sea == {
            "slot": 0,
            "scent": SEA,
            "sku": "SEABREEZE",
            "batchref": "b-1",
            "remaining_s": 50.5,
        }
        assert nightclub["remaining_s"] is nightclub["sku"] is nightclub["batchref"] is None


@pytest.mark.usefixtures("vials")
async def test_what_is_in_a_vial_falls_while_it_sprays_and_a_stop_keeps_the_rest(
    open_house: OpenHouse,
) -> None:
    async with open_house() as house, enter(house.gateway_url) as client:

        async def left_s() -> float:
            state = await client.ask("state", zone="A")
            return float(state["seats"][0]["slots"][0]["remaining_s"])

        assert (await client.cue("c", SEA, {"seats": [A11]}, intensity=1.0, duration_ms=10_000))[
            "targets"
        ] == 1
        falling = [await left_s() for _ in range(5)]
        assert falling == sorted(falling, reverse=True)
        assert 40.5 <= falling[-1] < falling[0] <= 50.5
        await client.ask("stop")
        kept = await left_s()
        assert kept <= falling[-1]
        assert await left_s() == kept


@pytest.mark.usefixtures("vials")
async def test_a_cue_that_a_vial_does_not_last_for_leaves_its_seat_out_as_empty(
    open_house: OpenHouse,
) -> None:
    async with open_house() as house, enter(house.gateway_url) as client:
        for number in range(2):
            row = {"seats": [A11, A12]}
            answer = await client.cue(number, SEA, row, intensity=1.0, duration_ms=10_000)
            await client.ask("cancel", cue=number)
        assert answer["targets"] + sum(answer["skipped"].values()) == 2
        assert answer["skipped"] == {"empty": 1}


async def test_vials_that_come_and_go_are_told_with_their_scent(house: House) -> None:
    zone = house.server.actors[ZoneId("A")].ref
    async with (
        enter(house.gateway_url) as client,
        enter(house.gateway_url, "operator") as deaf,
    ):
        await client.ask("subscribe", events=["zone"], zones=["A"], scents=[SEA])
        await deaf.ask("subscribe", events=["zone"], scents=["forest"])
        zone.tell(PutVials((seated(1, A11), seated(2, A12))), urgent=True)
        zone.tell(PutVials((seated(3, A11, 3, sku="FOREST", batchref="b-2"),)), urgent=True)
        await zone.ask(TakeVials(((A12, 0),)), urgent=True)
        zone.tell(
            SetRefill(SEA, Refill(SEA, Sku("S"), OrderId("o"), 1, RefillStatus.OUT_OF_STOCK)),
            urgent=True,
        )
        told = [await client.hear("zone") for _ in range(3)]
        assert [(each["change"], each["seat"], each["scent"]) for each in told] == [
            ("vials-loaded", None, SEA),
            ("vials-unloaded", A12, SEA),
            ("refill-out-of-stock", None, SEA),
        ]
        assert (await deaf.hear("zone"))["scent"] == "forest"
        await client.ask("stop")


async def test_an_event_of_the_zone_has_no_scent_where_none_is_meant(house: House) -> None:
    async with enter(house.gateway_url, "operator") as client:
        await client.ask("subscribe", events=["zone"], zones=["A"])
        await client.ask("panic")
        assert "scent" not in await client.hear("zone")


async def test_the_state_tells_of_refills_and_of_what_devices_report(house: House) -> None:
    zone = house.server.actors[ZoneId("A")].ref
    refill = Refill(
        SEA,
        Sku("SEABREEZE"),
        OrderId("refill-A-SEABREEZE-1"),
        12,
        RefillStatus.ORDERED,
        BatchRef("b-7"),
        date(2026, 3, 2),
    )
    async with enter(house.gateway_url) as client:
        zone.tell(SetRefill(SEA, refill), urgent=True)
        zone.tell(SlotsHeard(A11, {0: 12_300_000}))
        state = await client.ask("state", zone="A")
        assert state["refills"] == [
            {
                "scent": SEA,
                "sku": "SEABREEZE",
                "orderid": "refill-A-SEABREEZE-1",
                "qty": 12,
                "status": "ordered",
                "batchref": "b-7",
                "eta": "2026-03-02",
            }
        ]
        assert "supply" not in state
        slots = state["seats"][0]["slots"]
        assert slots[0]["reported_s"] == 12.3
        assert "reported_s" not in slots[1]


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}"])
async def test_the_longest_names_of_vials_and_refills_fit_in_each_page(
    open_house: OpenHouse, tmp_path: Path, letter: str
) -> None:
    scents = [f"{n:04}" + letter * 60 for n in range(16)]
    plan = {"Z" * 32: {"rows": 3, "seats_per_row": 3, "slots": scents}}
    skus = [letter * 127 + f"{n:x}" for n in range(16)]
    products = dict(zip(skus, scents, strict=True))
    async with (
        open_house(theatre=theatre(tmp_path, products, **plan)) as house,
        enter(house.gateway_url) as client,
    ):
        zone = house.server.actors[ZoneId("Z" * 32)].ref
        seats = [SeatId(f"{'Z' * 32}-{row}-{n}") for row in (1, 2, 3) for n in (1, 2, 3)]
        many = [
            seated(
                16 * n + slot,
                seat,
                slot,
                sku=skus[slot],
                batchref=letter * 255,
                zone="Z" * 32,
                left_s=0.000001,
            )
            for n, seat in enumerate(seats)
            for slot in range(16)
        ]
        zone.tell(PutVials(tuple(many)), urgent=True)
        for n, scent in enumerate(scents):
            refill = Refill(
                Scent(scent),
                Sku(letter * 255),
                OrderId(f"refill-{letter * 255}-{n}"),
                99_999,
                RefillStatus.OUT_OF_STOCK,
                BatchRef(letter * 255),
                date(2026, 3, 2),
            )
            zone.tell(SetRefill(Scent(scent), refill), urgent=True)
        first = await client.ask("state", zone="Z" * 32)  # whoever hears it sees to its size
        assert len(first["supply"]) >= 8
        assert len(first["supply"]) + first.get("supply_left_out", 0) == 16
        assert len(first["refills"]) + first["refills_left_out"] == 16
        told = len(first["seats"])
        for page in range(2, first["pages"] + 1):
            state = await client.ask("state", zone="Z" * 32, page=page)
            assert "supply" not in state
            assert "refills" not in state
            told += len(state["seats"])
        assert told == 9
        assert first["seats"][0]["slots"][0]["sku"] == letter * 100


@pytest.mark.usefixtures("vials")
async def test_the_journal_tells_who_released_what_from_which_vials_page_by_page(
    open_house: OpenHouse,
) -> None:
    async with open_house() as house:
        async with enter(house.gateway_url, name="my-game") as client:
            await client.cue("c-1", SEA, {"seats": [A11]}, intensity=0.5, duration_ms=1_000)
            await client.cue(
                2, "forest", {"zones": ["A"]}, mix=True, intensity=1.0, duration_ms=100
            )
        page = await journal(house, 2)
        one, two = page["releases"][:2]
        assert one.pop("at") == pytest.approx(house.server.clock.now_ms(), abs=60_000)
        assert one.pop("session").startswith("s-")
        assert one == {
            "id": 1,
            "zone": "A",
            "source": "my-game",
            "cue": "c-1",
            "scent": SEA,
            "sku": "SEABREEZE",
            "batchref": "b-1",
            "seats": [A11],
            "dose_s": 0.5,
            "ended": None,
        }
        assert (two["cue"], two["sku"], two["seats"], two["dose_s"]) == (2, None, None, 2.4)
        first = await journal(house, 1, limit=1)
        assert (len(first["releases"]), first["next"]) == (1, 1)
        second = await journal(house, 1, limit=1, after=first["next"], zone="A")
        assert second["releases"][0]["cue"] == 2
        assert (await journal(house, 0, zone="B")) == {"releases": [], "next": None}


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "limit=0", "limit=1001", f"after={2**63}"]
)
async def test_a_page_of_the_journal_that_cannot_be_is_refused(house: House, query: str) -> None:
    async with browse(house.http_url) as client:
        answer = await client.get(f"/journal?{query}")
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.usefixtures("vials")
async def test_a_vial_stays_what_it_is_when_the_slots_are_planned_anew(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    row = {"rows": 1, "seats_per_row": 2, "slots": ["pine", "tar"]}
    plan = theatre(tmp_path, {"SEABREEZE": SEA}, A=row, B={**row, "slots": [SEA]})
    async with (
        open_house(theatre=plan) as house,
        browse(house.http_url) as http,
        enter(house.gateway_url, "operator") as client,
    ):
        slots = (await client.ask("state", zone="A"))["seats"][0]["slots"]
        assert [(slot["slot"], slot["scent"]) for slot in slots] == [(0, SEA), (1, "tar")]
        accepted = await client.cue("of-the-vial", SEA, {"seats": [A11]})
        assert (accepted["targets"], accepted["skipped"]) == (1, {})
        accepted = await client.cue("as-planned", "pine", {"seats": [A11]})
        assert accepted["skipped"] == {"no-such-scent": 1}
        answer = await http.patch(f"/seats/{A11}", json={"averse_to": [SEA]})
        assert answer.status_code == 200, answer.text
        accepted = await client.cue("averse", SEA, {"seats": [A11, A12]})
        assert (accepted["targets"], accepted["skipped"]) == (1, {"opted-out": 1})
        (remark,) = (await http.get("/readyz")).json()["remarks"]
        assert "SEABREEZE in slot 0 of A-1-1 (2 in all)" in remark
        unloaded = await http.post(
            "/vials/unload", json={"zone": "A", "to": "return", "scent": SEA}
        )
        assert len(unloaded.json()["vials"]) == 2
        assert (await http.get("/readyz")).json()["remarks"] == []
        slots = (await client.ask("state", zone="A"))["seats"][0]["slots"]
        assert [(slot["slot"], slot["scent"]) for slot in slots] == [(0, "pine"), (1, "tar")]


@pytest.mark.usefixtures("vials")
async def test_nothing_is_sprayed_from_a_vial_that_is_in_no_catalogue_any_more(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    row = {"rows": 1, "seats_per_row": 3, "slots": ["sea-breeze", "tar"]}
    async with (
        open_house(theatre=theatre(tmp_path, A=row)) as house,
        browse(house.http_url) as http,
        enter(house.gateway_url, "operator") as client,
    ):
        accepted = await client.cue("c", SEA, {"seats": [A11, "A-1-3"]})
        assert (accepted["targets"], accepted["skipped"]) == (1, {"no-such-scent": 1})
        slots = (await client.ask("state", zone="A"))["seats"][0]["slots"]
        assert (slots[0]["scent"], slots[0]["sku"]) == ("", "SEABREEZE")
        (remark,) = (await http.get("/readyz")).json()["remarks"]
        assert "add them to [[products]], or unload them" in remark


@pytest.mark.usefixtures("vials")
async def test_the_vials_of_a_zone_that_is_gone_can_be_unloaded(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    row = {"rows": 1, "seats_per_row": 1, "slots": ["tar"]}
    async with (
        open_house(theatre=theatre(tmp_path, B=row)) as house,
        browse(house.http_url) as http,
    ):
        unloaded = await http.post("/vials/unload", json={"zone": "A", "to": "return"})
        assert [vial["seat"] for vial in unloaded.json()["vials"]] == [A11, A12]
        listed = await http.get("/vials", params={"where": "seated"})
        assert listed.json()["vials"] == []

"""The state of a zone, page by page."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import MSGPACK, Message, Speaker, enter
from tests.e2e.theatres import big_theatre, theatre, two_zones

SCENTS = ["sea-breeze", "nightclub", "jungle", "forest", "busy-street"]


async def all_pages(client: Speaker, zone: str) -> list[Message]:
    """Return all seats of a zone; whoever hears a page checks that it is under 32 KiB."""
    first = await client.ask("state", zone=zone)
    seats: list[Message] = first["seats"]
    for number in range(2, first["pages"] + 1):
        page = await client.ask("state", zone=zone, page=number)
        assert (page["page"], page["pages"]) == (number, first["pages"])
        assert page["revision"] == first["revision"]
        seats += page["seats"]
    return seats


@pytest.mark.parametrize("role", ["engine", "goggles", "operator"])
async def test_the_state_of_a_zone_tells_its_seats_and_their_slots(house: House, role: str) -> None:
    async with enter(house.gateway_url, role) as client:
        state = await client.ask("state", id=8, zone="A")
        seats = state.pop("seats")
        revision = state.pop("revision")
        assert isinstance(revision, int)
        assert state == {"type": "state", "re": 8, "zone": "A", "page": 1, "pages": 1}
        assert [seat["seat"] for seat in seats] == [
            f"A-{row}-{number}" for row in range(1, 5) for number in range(1, 7)
        ]
        assert seats[2] == {
            "seat": "A-1-3",
            "online": True,
            "opted_out": False,
            "slots": [
                {"slot": n, "scent": scent, "sku": None, "batchref": None, "remaining_s": None}
                for n, scent in enumerate(SCENTS)
            ],
        }


async def test_a_slot_without_a_vial_sprays_too(house: House) -> None:
    async with enter(house.gateway_url) as client:
        slots = (await client.ask("state", zone="A"))["seats"][0]["slots"]
        for slot in slots:
            assert slot["sku"] is slot["batchref"] is slot["remaining_s"] is None
            answer = await client.cue(slot["slot"], slot["scent"], mix=True)
            assert (answer["targets"], answer["skipped"]) == (24, {})


async def test_who_opted_out_and_who_is_offline_is_seen(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    async with (
        open_house(theatre=two_zones(tmp_path), simulate=False) as house,
        enter(house.gateway_url) as client,
    ):
        seats = (await client.ask("state", zone="A"))["seats"]
        assert [seat["seat"] for seat in seats if seat["opted_out"]] == ["A-1-2"]
        assert [seat["seat"] for seat in seats if seat["online"]] == []


async def test_the_goggles_that_are_there_are_the_seats_of_their_zone(house: House) -> None:
    pine = {"slot": 2, "scent": "pine", "remaining_s": 200}
    async with enter(house.gateway_url, "operator") as operator:
        assert (await operator.ask("state", zone="goggles"))["seats"] == []
        async with (
            enter(house.gateway_url, "goggles", "player-7", dispenser={"slots": [pine]}),
            enter(house.gateway_url, "goggles", "player-8"),
        ):
            await operator.cue("c", "forest", {"zones": ["goggles"]})
            assert (await operator.ask("state", zone="goggles"))["seats"] == [
                {
                    "seat": "player-7",
                    "online": True,
                    "opted_out": False,
                    "slots": [{**pine, "sku": None, "batchref": None}],
                },
                {"seat": "player-8", "online": True, "opted_out": False, "slots": []},
            ]


@pytest.mark.parametrize("subprotocol", ["scentrt.v1.json", MSGPACK])
async def test_a_large_zone_comes_in_pages_that_are_whole_together(
    open_house: OpenHouse, tmp_path: Path, subprotocol: str
) -> None:
    async with (
        open_house(theatre=big_theatre(tmp_path)) as house,
        enter(house.gateway_url, subprotocol=subprotocol) as client,
    ):
        seats = await all_pages(client, "A")
        assert [seat["seat"] for seat in seats] == [
            f"A-{row}-{number}" for row in range(1, 41) for number in range(1, 51)
        ]
        assert {len(seat["slots"]) for seat in seats} == {5}


@pytest.mark.parametrize("slots", [1, 16])
async def test_the_longest_names_fit_in_a_page_as_well(
    open_house: OpenHouse, tmp_path: Path, slots: int
) -> None:
    scents = [f"{n:04}" + '"\N{GRINNING FACE}' * 30 for n in range(slots)]
    zone = {"rows": 20, "seats_per_row": 20, "slots": scents}
    async with (
        open_house(theatre=theatre(tmp_path, None, **{"Z" * 32: zone}), simulate=False) as house,
        enter(house.gateway_url) as client,
    ):
        assert len(await all_pages(client, "Z" * 32)) == 400


async def test_goggles_of_the_longest_names_fit_in_a_page_as_well(house: House) -> None:
    scents = [f"{n:04}" + "\N{GRINNING FACE}" * 60 for n in range(64)]
    slots = [{"slot": n, "scent": scent} for n, scent in enumerate(scents)]
    names = [f"{n:03}" + "\N{GRINNING FACE}" * 125 for n in range(40)]
    first: Message = {"role": "goggles", "name": names[0], "dispenser": {"slots": slots}}
    async with AsyncExitStack() as audience:
        client = await audience.enter_async_context(enter(house.gateway_url, **first))
        for name in names[1:]:
            await audience.enter_async_context(enter(house.gateway_url, "goggles", name))
        seats = await all_pages(client, "goggles")
        assert sorted(len(seat["slots"]) for seat in seats) == [0] * 39 + [64]


async def test_a_page_that_is_not_there_is_a_bad_message(house: House) -> None:
    async with enter(house.gateway_url) as client:
        for page in (0, -1, 2, 1.5, "1", True):
            assert (await client.ask("state", zone="A", page=page))["code"] == "bad-message"


async def test_the_state_of_an_unknown_zone_is_refused(house: House) -> None:
    async with enter(house.gateway_url) as client:
        assert (await client.ask("state", zone="Z"))["code"] == "unknown-zone"
        assert (await client.ask("state"))["code"] == "bad-message"

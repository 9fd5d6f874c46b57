"""Stop, panic and release: what ends, for whom, and how soon."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import ZONE_A, Message, Speaker, enter
from tests.e2e.theatres import big_theatre

FRONT: Message = {"seats": ["A-1-1", "A-1-2"]}
BACK: Message = {"seats": ["A-4-5", "A-4-6"]}


def open_seats(house: House) -> set[str]:
    return {seat for seat, _ in house.memory("A").open_slots()}


# Stop


async def test_a_stop_says_how_many_sprays_it_stopped(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("c", duration_ms=5000)
        assert await client.ask("stop", id=4) == {"type": "stopped", "re": 4, "stopped": 24}
        assert open_seats(house) == set()
        assert (await client.ask("stop"))["stopped"] == 0


@pytest.mark.parametrize(
    ("to", "left"),
    [
        ({"all": True}, set()),
        ({"zones": ["A"]}, set()),
        ({"seats": ["A-1-1", "A-4-5"]}, {"A-1-2", "A-4-6"}),
        ({"zones": ["goggles"]}, {"A-1-1", "A-1-2", "A-4-5", "A-4-6"}),
    ],
)
async def test_a_stop_with_to_stops_what_is_there(
    house: House, to: Message, left: set[str]
) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("front", to=FRONT, duration_ms=5000)
        await client.cue("back", to=BACK, duration_ms=5000)
        assert (await client.ask("stop", to=to))["stopped"] == 4 - len(left)
        assert open_seats(house) == left


async def test_a_stop_at_some_seats_leaves_a_waiting_cue_its_others(house: House) -> None:
    async with enter(house.gateway_url) as client:
        due = await client.now() + 150
        await client.cue("c", to=FRONT, at=due, ttl_ms=5000, duration_ms=5000, report=True)
        assert (await client.ask("stop", to={"seats": ["A-1-1"]}))["stopped"] == 0
        assert (await client.hear("report"))["written"] == 1
        assert open_seats(house) == {"A-1-2"}


@pytest.mark.parametrize("role", ["engine", "operator"])
async def test_a_stop_drops_what_waits(house: House, role: str) -> None:
    async with enter(house.gateway_url, role) as client, enter(house.gateway_url) as other:
        due = await client.now() + 150
        await client.cue("mine", to=FRONT, at=due)
        assert (await client.ask("stop"))["stopped"] == 0
        await other.cue("later", to=BACK, at=due + 20, ttl_ms=5000, duration_ms=5000, report=True)
        await other.hear("report")
        assert open_seats(house) == {"A-4-5", "A-4-6"}


async def test_an_operator_stops_everything_there(house: House) -> None:
    async with (
        enter(house.gateway_url) as one,
        enter(house.gateway_url) as other,
        enter(house.gateway_url, "operator") as operator,
    ):
        await one.cue("c", to=FRONT, duration_ms=5000)
        await other.say("level", scent="forest", intensity=0.1, to=BACK, ttl_ms=5000)
        await other.hear("level-state")
        assert (await operator.ask("stop", to={"seats": ["A-1-1"]}))["stopped"] == 1
        assert open_seats(house) == {"A-1-2", "A-4-5", "A-4-6"}
        assert (await operator.ask("stop"))["stopped"] == 3
        assert open_seats(house) == set()
        assert (await other.hear("level-state"))["state"] == "ended"


async def test_after_a_stop_new_cues_are_taken(house: House) -> None:
    async with enter(house.gateway_url, "operator") as operator:
        await operator.ask("stop")
        assert (await operator.cue("c"))["targets"] == 24


NOBODY: list[tuple[Message, str]] = [
    ({"zones": ["Z"]}, "unknown-zone"),
    ({"seats": ["Z-1-1"]}, "unknown-seat"),
    ({"goggles": ["nobody"]}, "unknown-goggles"),
    ({}, "bad-message"),
    ({"all": False}, "bad-message"),
]


async def test_a_stop_for_nobody_stops_nothing(house: House, subtests: pytest.Subtests) -> None:
    async with enter(house.gateway_url, "operator") as operator:
        await operator.cue("c", duration_ms=5000)
        for to, code in NOBODY:
            with subtests.test(to=to):
                assert (await operator.ask("stop", to=to))["code"] == code
        assert len(open_seats(house)) == 24


async def test_a_stop_overtakes_every_spray_that_waits(house: House) -> None:
    """Whatever was asked before a stop, nothing of it is open once the stop is answered."""
    async with enter(house.gateway_url) as client:
        cue = {"scent": "forest", "intensity": 0.001, "duration_ms": 9000, "to": ZONE_A}
        for n in range(20):
            for m in range(10):
                await client.say("cue", id=f"{n}-{m}", priority=m, **cue)
            await client.ask("stop")
            assert open_seats(house) == set()
            for m in range(10):
                assert (await client.reply_to(f"{n}-{m}"))["type"] == "accepted"
            assert open_seats(house) == set()


async def test_an_operators_stop_overtakes_the_sprays_of_others(house: House) -> None:
    async with enter(house.gateway_url) as client, enter(house.gateway_url, "operator") as operator:
        due = await client.now() + 60_000
        for n in range(50):
            await client.cue(n, to=FRONT, at=due)
        await client.say(
            "cue", id="last", scent="forest", intensity=0.1, duration_ms=9000, to=FRONT
        )
        await client.reply_to("last")
        await operator.ask("stop")
        assert open_seats(house) == set()


# Panic


async def test_panic_stops_everything_and_refuses_cues_until_release(house: House) -> None:
    async with (
        enter(house.gateway_url) as engine,
        enter(house.gateway_url, "operator") as operator,
    ):
        await engine.cue("runs", duration_ms=5000)
        await engine.cue("waits", at=await engine.now() + 100)
        panicked = await operator.ask("panic", id=5)
        assert (panicked["type"], panicked["re"], panicked["stopped"]) == ("panicked", 5, 24)
        assert open_seats(house) == set()

        for client in (engine, operator):
            error = await client.cue("refused")
            assert (error["re"], error["code"], error["retryable"]) == ("refused", "panic", False)
            later = await client.cue("later", at=await client.now() + 60_000)
            assert later["code"] == "panic"
        released = await operator.ask("release", id=6)
        assert released == {"type": "released", "re": 6}
        assert (await engine.cue("refused", to=FRONT, duration_ms=5000))["targets"] == 2
        assert open_seats(house) == {"A-1-1", "A-1-2"}


async def test_what_waited_before_a_panic_does_not_come_back_with_its_release(
    house: House,
) -> None:
    async with enter(house.gateway_url, "operator") as operator:
        due = await operator.now() + 150
        await operator.cue("dropped", at=due, ttl_ms=5000)
        await operator.ask("panic")
        await operator.ask("release")
        await operator.cue("later", to=FRONT, at=due + 20, ttl_ms=5000, report=True)
        await operator.hear_until("report", cue="later")
        assert {told.seat for told in house.memory("A").received} == {"A-1-1", "A-1-2"}


async def test_a_panic_again_and_a_release_without_one_are_answered_all_the_same(
    house: House,
) -> None:
    async with enter(house.gateway_url, "operator") as operator:
        assert (await operator.ask("release"))["type"] == "released"
        assert (await operator.ask("panic"))["type"] == "panicked"
        assert (await operator.ask("panic"))["type"] == "panicked"
        assert (await operator.ask("release"))["type"] == "released"
        assert (await operator.cue("c"))["type"] == "accepted"


async def test_an_operator_who_waits_for_the_disk_is_not_taken_to_be_silent(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    async with (
        open_house(gateway={"max_silence_ms": 500}) as house,
        enter(house.gateway_url, "operator") as operator,
    ):
        await operator.ask("panic")
        with closing(sqlite3.connect(tmp_path / "scentrt.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await operator.ask("release"))["code"] == "internal"
        assert (await operator.ask("release"))["type"] == "released"


async def test_any_operator_may_release(house: House) -> None:
    async with enter(house.gateway_url, "operator", "one") as one:
        await one.ask("panic")
    async with enter(house.gateway_url, "operator", "other") as other:
        assert (await other.cue("c"))["code"] == "panic"
        assert (await other.ask("release"))["type"] == "released"
        assert (await other.cue("c"))["type"] == "accepted"


@pytest.mark.parametrize("role", ["engine", "goggles"])
@pytest.mark.parametrize("request_type", ["panic", "release"])
async def test_panic_is_for_operators(house: House, role: str, request_type: str) -> None:
    async with enter(house.gateway_url, role) as client:
        assert (await client.ask(request_type))["code"] == "forbidden"
        async with enter(house.gateway_url, "operator") as operator:
            assert (await operator.cue("c"))["type"] == "accepted"


async def test_goggles_may_not_stop(house: House) -> None:
    async with enter(house.gateway_url, "goggles") as goggles:
        assert (await goggles.ask("stop"))["code"] == "forbidden"


async def test_the_latch_outlives_a_restart(open_house: OpenHouse) -> None:
    async with open_house() as house, enter(house.gateway_url, "operator") as operator:
        await operator.ask("panic")
    async with open_house() as house, enter(house.gateway_url, "operator") as operator:
        assert (await operator.cue("c"))["code"] == "panic"
        await operator.ask("release")
    async with open_house() as house, enter(house.gateway_url, "operator") as operator:
        assert (await operator.cue("c"))["type"] == "accepted"


# Overtaking in a big house


async def test_in_a_big_house_a_stop_leaves_nothing_of_a_flood_of_cues(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    """More cues than the zone can decide at once wait when each engine stops its own."""
    async with (
        open_house(theatre=big_theatre(tmp_path)) as house,
        enter(house.gateway_url) as one,
        enter(house.gateway_url) as two,
        enter(house.gateway_url) as three,
        enter(house.gateway_url) as four,
    ):

        async def flood_and_stop(engine: Speaker) -> None:
            cue = {"scent": "forest", "intensity": 0.001, "duration_ms": 9000, "to": {"all": True}}
            for priority in range(10):
                await engine.say("cue", id=f"c-{priority}", priority=priority, **cue)
            await engine.ask("stop")
            for priority in range(10):
                assert (await engine.reply_to(f"c-{priority}"))["type"] == "accepted"

        async with trio.open_nursery() as floods:
            for engine in (one, two, three, four):
                floods.start_soon(flood_and_stop, engine)
        assert open_seats(house) == set()

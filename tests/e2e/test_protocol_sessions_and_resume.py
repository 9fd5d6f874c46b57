"""What belongs to a session, what ends with it, and how it is taken up again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from scentrt.entrypoints.gateway import server
from tests.conftest import House, OpenHouse
from tests.e2e.speaking import Message, Speaker, enter, until

FRONT: Message = {"seats": ["A-1-1"]}
BACK: Message = {"seats": ["A-4-6"]}


@asynccontextmanager
async def watching(house: House) -> AsyncIterator[Speaker]:
    """Enter as an operator who is told of all scents."""
    async with enter(house.gateway_url, "operator", "watch") as watch:
        await watch.ask("subscribe", events=["scent", "zone", "level"])
        yield watch


def open_at(house: House, seat: str) -> bool:
    return any(open_seat == seat for open_seat, _ in house.memory("A").open_slots())


async def spray_and_level(engine: Speaker) -> None:
    """Let a spray run in front and a level at the back, both for long."""
    await engine.cue("running", to=FRONT, duration_ms=9000)
    await engine.say("level", scent="forest", intensity=0.1, to=BACK, ttl_ms=9000)
    assert (await engine.hear("level-state"))["state"] == "active"


# What belongs to a session


async def test_ids_belong_to_a_session_so_two_may_use_the_same(house: House) -> None:
    async with enter(house.gateway_url) as one, enter(house.gateway_url) as other:
        assert (await one.cue("c-1", to=FRONT))["targets"] == 1
        answer = await other.cue("c-1", to=BACK)

        assert (answer["targets"], answer["duplicate"]) == (1, False)
        assert {told.seat for told in house.memory("A").received} == {"A-1-1", "A-4-6"}


async def test_a_cue_is_its_owners_to_cancel(house: House) -> None:
    async with (
        enter(house.gateway_url) as one,
        enter(house.gateway_url) as other,
        enter(house.gateway_url, "operator") as operator,
    ):
        await one.cue("mine", to=FRONT, duration_ms=5000)
        assert (await other.ask("cancel", cue="mine"))["code"] == "unknown-cue"
        assert (await operator.ask("cancel", cue="mine"))["code"] == "unknown-cue"
        assert open_at(house, "A-1-1")


async def test_an_engines_stop_is_for_what_is_its_own(house: House) -> None:
    async with enter(house.gateway_url) as one, enter(house.gateway_url) as other:
        await one.cue("c", to=FRONT, duration_ms=5000)
        await other.cue("c", to=BACK, duration_ms=5000)
        assert (await other.ask("stop"))["stopped"] == 1
        assert open_at(house, "A-1-1")
        assert not open_at(house, "A-4-6")


# How a session ends


async def break_off(client: Speaker) -> None:
    client.line.cut()


async def hang_up_the_line(client: Speaker) -> None:
    await client.line.aclose()


async def fall_silent(client: Speaker) -> None:
    client.line.hold()


@pytest.mark.parametrize("leave", [break_off, hang_up_the_line, fall_silent])
async def test_levels_and_running_sprays_of_a_client_that_is_gone_stop_within_a_second(
    open_house: OpenHouse, leave: object
) -> None:
    max_silence_s = 0.5
    async with (
        open_house(gateway={"max_silence_ms": max_silence_s * 1000}) as house,
        watching(house) as watch,
        enter(house.gateway_url) as other,
    ):
        await other.cue("others", to={"seats": ["A-2-2"]}, duration_ms=9000)
        async with enter(house.gateway_url) as client:
            await spray_and_level(client)
            gone = trio.current_time()
            assert callable(leave)
            await leave(client)

            end = await watch.hear("scent-end")
            await watch.hear_until("scent-level", intensity=0)
            took = trio.current_time() - gone
            assert took < (max_silence_s + 1 if leave is fall_silent else 1)
            assert (end["cue"], end["seats"], end["reason"]) == (
                "running",
                ["A-1-1"],
                "client-gone",
            )
            assert {seat for seat, _ in house.memory("A").open_slots()} == {"A-2-2"}
            client.line.let_go()
            await client.hear_the_end()
        async with enter(house.gateway_url, resume=client.session) as again:
            assert again.session == client.session


async def test_when_a_client_leaves_cleanly_its_levels_end_and_its_sprays_end_by_themselves(
    house: House,
) -> None:
    async with watching(house) as watch:
        async with enter(house.gateway_url) as client:
            await client.cue("running", to=FRONT, duration_ms=700)
            await client.say("level", scent="forest", intensity=0.1, to=BACK, ttl_ms=9000)
            await client.hear("level-state")

        await watch.hear_until("scent-level", intensity=0)
        assert not open_at(house, "A-4-6")
        assert open_at(house, "A-1-1")
        await until(lambda: not open_at(house, "A-1-1"))
        await watch.hear_nothing_of("scent-end")


async def test_when_a_client_leaves_cleanly_its_waiting_cues_are_dropped(house: House) -> None:
    async with watching(house) as watch, enter(house.gateway_url) as other:
        async with enter(house.gateway_url) as client:
            due = await client.now() + 300
            await client.cue("dropped", to=FRONT, at=due)
        await other.cue("later", to=FRONT, at=due + 50)

        assert (await watch.hear("scent"))["cue"] == "later"


async def test_what_closed_cleanly_cannot_be_resumed(house: House) -> None:
    async with enter(house.gateway_url) as client:
        session = client.session
    async with enter(house.gateway_url, resume=session) as again:
        assert again.session != session


# Coming back


def test_a_client_may_come_back_within_five_seconds() -> None:
    assert server.RESUME_WITHIN_S == 5


async def test_a_client_that_is_back_in_time_has_the_same_session_and_its_waiting_cues(
    house: House,
) -> None:
    async with watching(house) as watch:
        async with enter(house.gateway_url) as client:
            due = await client.now() + 400
            await client.cue("waits", to=FRONT, at=due, report=True)
            client.line.cut()
            await client.hear_the_end()
        await until(lambda: house.server.gateway.clients == 1)
        async with enter(house.gateway_url, resume=client.session) as again:
            assert again.session == client.session

            heard = await watch.hear("scent")
            report = await again.hear("report")
            assert (heard["cue"], report["cue"], report["written"]) == ("waits", "waits", 1)
            assert heard["at"] >= due


async def test_waiting_cues_of_a_client_that_is_not_back_in_time_are_dropped(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RESUME_WITHIN_S", 0.1)
    async with watching(house) as watch, enter(house.gateway_url) as other:
        async with enter(house.gateway_url) as client:
            due = await client.now() + 400
            await client.cue("dropped", to=FRONT, at=due, ttl_ms=5000)
            client.line.cut()
            await client.hear_the_end()
        await other.cue("later", to=FRONT, at=due + 50)
        assert (await watch.hear("scent"))["cue"] == "later"

        async with enter(house.gateway_url, resume=client.session) as late:
            assert late.session != client.session
            assert (await late.ask("cancel", cue="dropped"))["code"] == "unknown-cue"
        await watch.hear_nothing_of("scent")


async def test_a_cue_that_falls_due_while_its_owner_is_away_waits_as_long_as_its_ttl(
    house: House,
) -> None:
    async with watching(house) as watch:
        async with enter(house.gateway_url) as client:
            due = await client.now() + 150
            await client.cue("patient", to=FRONT, at=due, ttl_ms=9000, report=True)
            await client.cue("hasty", to=BACK, at=due, ttl_ms=50, report=True)
            client.line.cut()
            await client.hear_the_end()
        while await watch.now() < due + 100:
            await watch.hear_nothing_of("scent")
        async with enter(house.gateway_url, resume=client.session) as again:
            reports = {
                r["cue"]: r for r in (await again.hear("report"), await again.hear("report"))
            }
            assert (reports["patient"]["written"], reports["patient"]["expired"]) == (1, 0)
            assert (reports["hasty"]["written"], reports["hasty"]["expired"]) == (0, 1)
            assert (await watch.hear("scent"))["cue"] == "patient"
        await watch.hear_nothing_of("scent")


async def test_after_a_resume_the_ids_are_known_and_nothing_is_sprayed_twice(house: House) -> None:
    async with enter(house.gateway_url) as client:
        first = await client.cue("c-1", to=FRONT, duration_ms=10)
        client.line.cut()
        await client.hear_the_end()
    await until(lambda: house.server.gateway.clients == 0)
    async with enter(house.gateway_url, resume=client.session) as again:
        second = await again.cue("c-1", to=FRONT, duration_ms=10)
        assert second == {**first, "duplicate": True}
        assert len(house.memory("A").received) == 1


async def test_after_a_resume_cues_can_be_cancelled_and_levels_begin_anew(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await spray_and_level(client)
        await client.cue("waits", to=FRONT, at=await client.now() + 60_000)
        client.line.cut()
        await client.hear_the_end()
    await until(lambda: not house.memory("A").open_slots())
    async with enter(house.gateway_url, resume=client.session) as again:
        assert (await again.ask("cancel", cue="waits"))["type"] == "cancelled"
        await again.say("level", scent="forest", intensity=0.1, to=BACK)
        assert (await again.hear("level-state"))["state"] == "active"


async def test_who_resumes_over_a_connection_that_hangs_takes_everything_with_him(
    house: House,
) -> None:
    async with watching(house) as watch, enter(house.gateway_url) as hanging:
        await spray_and_level(hanging)
        hanging.line.hold()
        async with enter(house.gateway_url, resume=hanging.session) as again:
            assert again.session == hanging.session
            hanging.line.let_go()
            assert await hanging.hear_the_end() == 1008

            assert open_at(house, "A-1-1")
            assert open_at(house, "A-4-6")
            await watch.hear_nothing_of("scent-end")
            assert (await again.ask("cancel", cue="running"))["stopped"] == 1


@pytest.mark.parametrize("other", [{"role": "operator"}, {"name": "other-game"}])
async def test_a_session_is_resumed_only_in_its_own_role_and_name(
    house: House, other: Message
) -> None:
    async with enter(house.gateway_url) as client:
        who = {"role": "engine", "name": "game", **other}
        async with enter(house.gateway_url, **who, resume=client.session) as stranger:
            assert stranger.session != client.session
        assert (await client.ask("ping", t0=1))["type"] == "pong"


async def test_an_unknown_session_is_no_obstacle_to_a_new_one(house: House) -> None:
    async with enter(house.gateway_url, resume="s-7f3a") as client:
        assert client.session != "s-7f3a"


async def test_goggles_resume_their_session_like_everybody(house: House) -> None:
    async with enter(house.gateway_url, "goggles", "player-7") as goggles:
        goggles.line.cut()
        await goggles.hear_the_end()
    await until(lambda: house.server.gateway.clients == 0)
    async with enter(house.gateway_url, "goggles", "player-7", resume=goggles.session) as again:
        assert again.session == goggles.session


async def test_a_newer_connection_of_a_goggles_name_replaces_the_older(house: House) -> None:
    async with (
        enter(house.gateway_url) as engine,
        enter(house.gateway_url, "goggles", "player-7") as older,
        enter(house.gateway_url, "goggles", "player-7") as newer,
    ):
        assert await older.hear_the_end() == 1008
        await newer.ask("subscribe", events=["scent"], seats=["player-7"])
        answer = await engine.cue("c", to={"goggles": ["player-7"]})
        assert answer["targets"] == 1
        assert (await newer.hear("scent"))["cue"] == "c"


async def test_engines_of_one_name_are_as_many_as_they_like(house: House) -> None:
    async with enter(house.gateway_url) as one, enter(house.gateway_url) as other:
        assert (await one.ask("ping", t0=1))["type"] == "pong"
        assert (await other.ask("ping", t0=1))["type"] == "pong"

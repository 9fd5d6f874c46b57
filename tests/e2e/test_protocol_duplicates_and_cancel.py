"""A cue that comes twice, and a cue that is taken back."""

import pytest

from scentrt.entrypoints.gateway import session
from tests.conftest import House
from tests.e2e.speaking import Message, enter, until

SEAT: Message = {"seats": ["A-1-1"]}


def sprays(house: House) -> int:
    return len(house.memory("A").received)


# Duplicates


async def test_the_same_id_again_gets_the_first_answer_as_a_duplicate(house: House) -> None:
    async with enter(house.gateway_url) as client:
        first = await client.cue("c-17", to=SEAT, duration_ms=1)
        await until(lambda: not house.memory("A").open_slots())
        for _ in range(3):
            assert await client.cue("c-17", to=SEAT, duration_ms=1) == {**first, "duplicate": True}
        assert sprays(house) == 1


async def test_the_id_alone_makes_a_duplicate_whatever_else_is_said(house: House) -> None:
    async with enter(house.gateway_url) as client:
        first = await client.cue("c", to=SEAT)
        other = await client.cue("c", "jungle", {"zones": ["A"]}, intensity=1, report=True)
        assert other == {**first, "duplicate": True}
        assert sprays(house) == 1
        await client.hear_nothing_of("report")


async def test_a_number_and_a_string_are_two_ids(house: House) -> None:
    async with enter(house.gateway_url) as client:
        assert (await client.cue(7, to=SEAT))["duplicate"] is False
        assert (await client.cue("7", to={"seats": ["A-1-2"]}))["duplicate"] is False
        assert sprays(house) == 2


async def test_a_duplicate_in_flight_gets_its_own_answer_and_nothing_is_sprayed_twice(
    house: House,
) -> None:
    async with enter(house.gateway_url) as client:
        for n in range(50):
            cue = {"scent": "forest", "intensity": 0.1, "duration_ms": 1, "to": SEAT, "mix": True}
            for _ in range(3):
                await client.say("cue", id=n, **cue)
            answers = [await client.reply_to(n) for _ in range(3)]
            assert [answer.pop("duplicate") for answer in answers] == [False, True, True]
            assert answers[0] == answers[1] == answers[2]
        ids = [told.spray.cue for told in house.memory("A").received]
        assert len(ids) == len(set(ids))


async def test_a_cue_that_waits_is_known_again_too(house: House) -> None:
    async with enter(house.gateway_url) as client:
        due = await client.now() + 150
        first = await client.cue("c", to=SEAT, at=due, report=True)
        again = await client.cue("c", to=SEAT, at=due + 1000, report=True)
        assert again == {**first, "duplicate": True}
        assert (await client.hear("report"))["written"] == 1
        assert (await client.cue("c", to=SEAT))["duplicate"] is True
        assert sprays(house) == 1


async def test_a_cue_that_was_cancelled_stays_known(house: House) -> None:
    async with enter(house.gateway_url) as client:
        first = await client.cue("c", at=await client.now() + 60_000)
        await client.ask("cancel", cue="c")
        assert await client.cue("c") == {**first, "duplicate": True}
        assert sprays(house) == 0


async def test_a_cue_that_was_refused_may_be_sent_again_under_its_id(house: House) -> None:
    async with enter(house.gateway_url) as client:
        assert (await client.cue("c", "tar"))["code"] == "unknown-scent"
        assert (await client.cue("c", intensity=2))["code"] == "bad-message"
        assert (await client.cue("c"))["duplicate"] is False


def test_ten_thousand_ids_are_known_for_five_minutes() -> None:
    assert session.REMEMBERED_CUES == 10_000
    assert session.REMEMBERED_MS == 5 * 60_000


async def test_the_last_ids_are_known_however_many_came_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "REMEMBERED_CUES", 100)
    async with enter(house.gateway_url) as client, enter(house.gateway_url) as other:
        first = await client.cue("mine")
        for n in range(300):
            await client.cue(n, to=SEAT, at=first["due"] + 3_600_000)
            await other.cue(n, to=SEAT, at=first["due"] + 3_600_000)
        for n in range(200, 300):
            assert (await client.cue(n, to=SEAT))["duplicate"] is True
        assert sprays(house) == 24


# Cancel


async def test_a_cue_that_runs_is_stopped_by_cancel(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        await client.cue("c-17", to={"seats": ["A-1-1", "A-1-2"]}, duration_ms=5000)
        await client.cue("other", to={"seats": ["A-1-3"]}, duration_ms=5000)

        reply = await client.ask("cancel", id=3, cue="c-17")
        assert reply == {"type": "cancelled", "re": 3, "cue": "c-17", "stopped": 2}
        assert house.memory("A").open_slots() == {("A-1-3", 0)}
        end = await client.hear("scent-end")
        assert (end["cue"], end["reason"]) == ("c-17", "cancelled")


async def test_a_cue_that_waits_is_unscheduled_by_cancel(house: House) -> None:
    async with enter(house.gateway_url) as client:
        due = await client.now() + 150
        await client.cue("c", at=due)
        assert (await client.ask("cancel", cue="c"))["stopped"] == 0
        await client.cue("later", to=SEAT, at=due + 20, ttl_ms=5000, report=True)
        await client.hear("report")
        assert sprays(house) == 1


async def test_a_cue_that_waits_can_be_cancelled_however_many_came_since(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "REMEMBERED_CUES", 10)
    async with enter(house.gateway_url) as client:
        due = await client.now() + 300
        await client.cue("tomorrow", to={"all": True}, at=due)
        for n in range(20):
            await client.cue(n, to=SEAT, at=due + 3_600_000)
        for _ in range(2):
            reply = await client.ask("cancel", id=3, cue="tomorrow")
            assert reply == {"type": "cancelled", "re": 3, "cue": "tomorrow", "stopped": 0}
        await client.cue("later", to=SEAT, at=due + 20, ttl_ms=5000, report=True)
        await client.hear("report")
        assert sprays(house) == 1


async def test_a_cue_that_is_over_can_be_cancelled_to_no_effect(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("c", duration_ms=1)
        await until(lambda: not house.memory("A").open_slots())
        for _ in range(2):
            assert (await client.ask("cancel", cue="c"))["stopped"] == 0


async def test_a_cue_that_was_never_sent_is_unknown(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue(5)
        for unknown in ("never-sent", 6, "5"):
            error = await client.ask("cancel", cue=unknown)
            assert (error["code"], error["retryable"]) == ("unknown-cue", False)


async def test_a_cancel_right_behind_its_cue_leaves_nothing_open(house: House) -> None:
    """It may overtake the cue; which of them comes first, each is answered once."""
    async with enter(house.gateway_url) as client:
        for n in range(50):
            cue = {"scent": "forest", "intensity": 0.01, "duration_ms": 9000, "to": SEAT}
            await client.say("cue", id=n, **cue)
            await client.say("cancel", id=f"cancel-{n}", cue=n)
            stopped = (await client.reply_to(f"cancel-{n}"))["stopped"]
            answer = await client.reply_to(n)

            assert answer["type"] == "accepted"
            assert answer["targets"] == stopped
            assert answer["duplicate"] is False
            assert house.memory("A").open_slots() == set()


async def test_a_cancel_over_several_zones_has_one_answer(house: House) -> None:
    async with (
        enter(house.gateway_url, "goggles", "player-7"),
        enter(house.gateway_url) as client,
    ):
        await client.cue("c", to={"all": True}, duration_ms=5000)
        assert (await client.ask("cancel", cue="c"))["stopped"] == 25

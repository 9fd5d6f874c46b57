"""Goggles: seats of a zone of their own, and some of them dispense by themselves."""

import pytest
import trio

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import PATIENCE_S, Message, connect, enter

PLAYER: Message = {"goggles": ["player-7"]}
PINE: Message = {"slot": 0, "scent": "pine", "remaining_s": 200}
ROSE: Message = {"slot": 3, "scent": "rose"}


def dispensing(*slots: Message) -> Message:
    return {"role": "goggles", "name": "player-7", "dispenser": {"slots": list(slots)}}


# A zone of their own


async def test_goggles_are_seats_of_the_zone_goggles_called_by_their_names(house: House) -> None:
    async with (
        enter(house.gateway_url, "goggles", "player-7") as seven,
        enter(house.gateway_url, "goggles", "player-8") as eight,
        enter(house.gateway_url) as engine,
    ):
        await seven.ask("subscribe", events=["scent"], seats=["player-7"])
        await eight.ask("subscribe", events=["scent"], zones=["goggles"])
        await engine.cue("one", to=PLAYER, duration_ms=1)
        await engine.cue("both", to={"zones": ["goggles"]}, priority=6)

        for goggles in (seven, eight):
            one, both = [await goggles.hear("scent") for _ in "12"]
            assert (one["zone"], one["cue"], one["seats"]) == ("goggles", "one", ["player-7"])
            assert (both["zone"], both["cue"], both["seats"]) == ("goggles", "both", None)


async def test_goggles_that_do_not_dispense_are_told_by_their_events_alone(house: House) -> None:
    async with (
        enter(house.gateway_url, "goggles", "player-7") as goggles,
        enter(house.gateway_url) as engine,
    ):
        await goggles.ask("subscribe", events=["scent"], seats=["player-7"])
        await engine.cue("c", to=PLAYER, duration_ms=5000, report=True)
        assert (await engine.hear("report"))["written"] == 1
        await engine.ask("cancel", cue="c")
        assert (await goggles.hear("scent"))["cue"] == "c"
        assert (await goggles.hear("scent-end"))["cue"] == "c"
        await goggles.hear_nothing_of("spray", "level", "stop")


async def test_goggles_are_under_the_same_limits(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"dose_per_minute_s": 1}) as house,
        enter(house.gateway_url, "goggles", "player-7"),
        enter(house.gateway_url) as engine,
    ):
        await engine.cue("forest", "forest", PLAYER, intensity=0.5, duration_ms=1000)
        assert (await engine.cue("busy", "forest", PLAYER))["skipped"] == {"busy": 1}
        assert (await engine.cue("clearing", "jungle", PLAYER))["skipped"] == {"clearing": 1}
        much = await engine.cue("d", "jungle", PLAYER, mix=True, intensity=1, duration_ms=600)
        assert much["skipped"] == {"dose-limit": 1}


async def test_what_a_player_has_had_still_counts_when_he_comes_back(
    open_house: OpenHouse,
) -> None:
    async with (
        open_house(limits={"dose_per_minute_s": 0.1}) as house,
        enter(house.gateway_url) as engine,
    ):
        async with enter(house.gateway_url, "goggles", "player-7") as goggles:
            await goggles.ask("subscribe", events=["scent"])
            await engine.cue("c", "forest", PLAYER, intensity=1, duration_ms=100)
            ended = (await goggles.hear("scent"))["at"] + 100
            while await goggles.now() < ended:
                pass
        async with enter(house.gateway_url, "goggles", "player-7"):
            again = await engine.cue("d", "forest", PLAYER, intensity=1, duration_ms=50)
            assert again["skipped"] == {"dose-limit": 1}


async def test_goggles_are_under_the_same_stops(house: House) -> None:
    async with (
        enter(house.gateway_url, "goggles", "player-7") as goggles,
        enter(house.gateway_url) as engine,
        enter(house.gateway_url, "operator") as operator,
    ):
        await goggles.ask("subscribe", events=["scent"])
        for n, stop in enumerate(({"to": PLAYER}, {"to": {"zones": ["goggles"]}}, {})):
            await engine.cue(f"c-{n}", to=PLAYER, duration_ms=5000)
            assert (await operator.ask("stop", **stop))["stopped"] == 1
            assert (await goggles.hear("scent-end"))["cue"] == f"c-{n}"


# Goggles that dispense


async def test_a_spray_is_told_and_what_is_answered_is_reported(house: House) -> None:
    async with (
        enter(house.gateway_url, **dispensing(PINE, ROSE)) as goggles,
        enter(house.gateway_url) as engine,
    ):
        for cue, scent, slot, ok in (("c-17", "pine", 0, True), (18, "rose", 3, False)):
            answer = await engine.cue(
                cue, scent, PLAYER, intensity=0.8, duration_ms=1500, mix=True, report=True
            )
            assert answer["targets"] == 1
            assert await goggles.hear("spray") == {
                "type": "spray",
                "cue": cue,
                "slot": slot,
                "intensity": 0.8,
                "duration_ms": 1500,
            }
            await goggles.say("sprayed", cue=cue, ok=ok)
            report = await engine.hear("report")
            assert (report["cue"], report["written"], report["failed"]) == (cue, ok, not ok)
            assert (report["first_ms"] is not None) == ok


async def test_a_spray_that_is_not_answered_counts_as_failed(house: House) -> None:
    """The goggles are given a second; that others have answered does not depend on it."""
    async with (
        enter(house.gateway_url, **dispensing(PINE)) as goggles,
        enter(house.gateway_url, "goggles", "player-8"),
        enter(house.gateway_url) as engine,
    ):
        await engine.cue("c", "pine", {"zones": ["goggles"]}, report=True)
        await goggles.hear("spray")
        report = await engine.hear("report")
        assert (report["written"], report["failed"]) == (1, 1)


async def test_a_spray_that_is_not_answered_before_its_goggles_leave_counts_as_failed(
    house: House,
) -> None:
    async with enter(house.gateway_url) as engine:
        async with enter(house.gateway_url, **dispensing(PINE)) as goggles:
            await engine.cue("c", "pine", PLAYER, duration_ms=5000, report=True)
            await goggles.hear("spray")
        report = await engine.hear("report")
        assert (report["written"], report["failed"]) == (0, 1)


async def test_an_answer_that_nobody_waits_for_means_nothing(house: House) -> None:
    async with (
        enter(house.gateway_url, **dispensing(PINE)) as goggles,
        enter(house.gateway_url) as engine,
    ):
        await goggles.say("sprayed", cue="never", ok=True)
        await engine.cue("c", "pine", PLAYER, report=True)
        await goggles.hear("spray")
        for ok in (True, False, False):
            await goggles.say("sprayed", cue="c", ok=ok)
        assert (await engine.hear("report"))["written"] == 1
        await goggles.hear_nothing_of("error")
        await engine.hear_nothing_of("report")


async def test_only_goggles_can_say_that_they_sprayed(house: House) -> None:
    async with enter(house.gateway_url) as engine:
        await engine.say("sprayed", cue="c", ok=True)
        assert (await engine.hear("error"))["code"] == "forbidden"


async def test_a_stop_names_the_slot_and_a_panic_means_all(house: House) -> None:
    async with (
        enter(house.gateway_url, **dispensing(PINE, ROSE)) as goggles,
        enter(house.gateway_url, "operator") as operator,
    ):
        await operator.cue("c", "rose", PLAYER, duration_ms=5000)
        await goggles.hear("spray")
        await operator.ask("cancel", cue="c")
        assert await goggles.hear("stop") == {"type": "stop", "slot": 3}
        await operator.ask("panic")
        assert await goggles.hear("stop") == {"type": "stop", "slot": None}


async def test_a_level_is_told_step_by_step_and_stopped_at_its_end(house: House) -> None:
    async with (
        enter(house.gateway_url, **dispensing(PINE)) as goggles,
        enter(house.gateway_url) as engine,
    ):
        for intensity in (0.35, 0.7):
            await engine.say("level", scent="pine", intensity=intensity, to=PLAYER, ttl_ms=5000)
            step = await goggles.hear("level")
            assert 0 < step.pop("ttl_ms") <= 5000
            assert step == {"type": "level", "slot": 0, "intensity": intensity}
        await engine.say("level", scent="pine", intensity=0, to=PLAYER)
        assert await goggles.hear("stop") == {"type": "stop", "slot": 0}


async def test_slow_goggles_get_the_newest_step_of_a_level_and_none_of_those_between(
    house: House,
) -> None:
    async with (
        enter(house.gateway_url, **dispensing(PINE)) as goggles,
        enter(house.gateway_url) as engine,
    ):
        goggles.line.hold()
        for n in range(32):  # some 10 KiB each, which is more than the kernel holds
            await goggles.say("state", id=f"page-{n}", zone="A")
        for n in range(1, 301):
            await engine.say("level", scent="pine", intensity=n / 300, to=PLAYER, ttl_ms=9000)
            await engine.now()
        goggles.line.let_go()
        heard = await goggles.hear_until("level", intensity=1)
        intensities = [step["intensity"] for step in heard]
        assert intensities == sorted(intensities)
        assert len(heard) < 150


async def test_scents_that_goggles_bring_along_are_known_and_others_are_not_theirs(
    house: House,
) -> None:
    async with enter(house.gateway_url) as engine:
        assert (await engine.cue("early", "pine", PLAYER))["code"] == "unknown-scent"
        async with enter(house.gateway_url, **dispensing(PINE)):
            answer = await engine.cue("c", "pine", {"all": True})
            assert (answer["targets"], answer["skipped"]) == (1, {"no-such-scent": 24})
            other = await engine.cue("d", "forest", PLAYER)
            assert other["skipped"] == {"no-such-scent": 1}


async def test_what_remains_is_used_up_until_the_slot_is_empty(house: House) -> None:
    vial = {"slot": 0, "scent": "pine", "remaining_s": 1}
    async with (
        enter(house.gateway_url, **dispensing(vial)) as goggles,
        enter(house.gateway_url) as engine,
    ):
        assert (await engine.cue("a", "pine", PLAYER, intensity=1, duration_ms=50))["targets"] == 1
        left_s = 1.0
        with trio.fail_after(PATIENCE_S):
            while left_s > 0.95:  # what has not left the slot yet is still there
                state = await goggles.ask("state", zone="goggles")
                assert state["seats"][0]["slots"][0]["remaining_s"] <= left_s
                left_s = state["seats"][0]["slots"][0]["remaining_s"]
        assert left_s == 0.95
        later = await engine.now() + 10_000
        much = await engine.cue("b", "pine", PLAYER, intensity=1, duration_ms=960, at=later)
        assert much["skipped"] == {"empty": 1}
        rest = await engine.cue("c", "pine", PLAYER, intensity=1, duration_ms=950, at=later)
        assert rest["targets"] == 1


async def test_a_slot_that_is_empty_is_skipped(house: House) -> None:
    vial = {"slot": 0, "scent": "pine", "remaining_s": 0.1}
    async with (
        enter(house.gateway_url, **dispensing(vial)),
        enter(house.gateway_url) as engine,
    ):
        much = await engine.cue("b", "pine", PLAYER, intensity=1, duration_ms=101)
        assert (much["targets"], much["skipped"]) == (0, {"empty": 1})
        assert (await engine.cue("c", "pine", PLAYER, intensity=1, duration_ms=100))["targets"] == 1


async def test_a_slot_of_which_nobody_knows_what_remains_is_never_empty(house: House) -> None:
    async with (
        enter(house.gateway_url, **dispensing(ROSE)),
        enter(house.gateway_url) as engine,
    ):
        assert (await engine.cue("c", "rose", PLAYER, duration_ms=10_000))["targets"] == 1
        state = await engine.ask("state", zone="goggles")
        assert state["seats"][0]["slots"][0]["remaining_s"] is None


async def test_what_a_newer_connection_brings_replaces_what_the_older_had(house: House) -> None:
    async with (
        enter(house.gateway_url) as engine,
        enter(house.gateway_url, **dispensing(PINE)) as older,
    ):
        await engine.cue("old", "pine", PLAYER, duration_ms=5000)
        await older.hear("spray")
        async with enter(house.gateway_url, **dispensing(ROSE)) as newer:
            assert await older.hear_the_end() == 1008
            assert (await engine.cue("c", "pine", PLAYER))["code"] == "unknown-scent"
            assert (await engine.cue("d", "rose", PLAYER, mix=True))["targets"] == 1
            assert (await newer.hear("spray"))["cue"] == "d"


NO_DISPENSERS: list[Message] = [
    {},
    {"slots": []},
    {"slots": [PINE, PINE]},
    {"slots": [{**PINE, "slot": -1}]},
    {"slots": [{**PINE, "slot": 256}]},
    {"slots": [{**PINE, "slot": True}]},
    {"slots": [{**PINE, "scent": ""}]},
    {"slots": [{**PINE, "remaining_s": -1}]},
    {"slots": [{**PINE, "colour": "green"}]},
    {"slots": [{"scent": "pine"}]},
    {"slots": {"0": "pine"}},
]


async def test_a_dispenser_that_cannot_be_is_a_bad_message(
    house: House, subtests: pytest.Subtests
) -> None:
    async with connect(house.gateway_url) as goggles:
        hello = {"protocol": 1, "role": "goggles", "name": "player-7"}
        for dispenser in NO_DISPENSERS:
            with subtests.test(dispenser=dispenser):
                error = await goggles.ask("hello", **hello, dispenser=dispenser)
                assert error["code"] == "bad-message"
        assert (await goggles.ask("hello", **hello))["type"] == "welcome"

"""Levels: continuous sources that a game updates as often as it likes."""

import pytest

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import ZONE_A, Message, Speaker, enter, until

SEAT: Message = {"seats": ["A-1-1"]}


def level(intensity: float, scent: str = "forest", to: Message = SEAT, **more: float) -> Message:
    return {"scent": scent, "intensity": intensity, "to": to, **more}


def steps(house: House) -> list[tuple[int, float]]:
    """Return slot and intensity of each step that the dispensers were told."""
    return [(told.spray.slot, told.spray.intensity) for told in house.memory("A").received]


async def hold(client: Speaker, scent: str = "forest", to: Message = SEAT) -> None:
    """Begin a level that lasts as long as a test."""
    await client.say("level", **level(0.1, scent, to, ttl_ms=9000))
    assert (await client.hear("level-state"))["state"] == "active"


async def test_a_level_sprays_without_being_answered_but_for_its_state(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.say("level", **level(0.35, ttl_ms=5000))
        state = await client.hear("level-state")
        assert state == {"type": "level-state", "scent": "forest", "to": SEAT, "state": "active"}
        assert steps(house) == [(3, 0.35)]
        assert house.memory("A").open_slots() == {("A-1-1", 3)}
        await client.hear_nothing_of("error", "accepted", "level-state")


@pytest.mark.parametrize(
    "to",
    [{"all": True}, {"zones": ["A"]}, {"seats": ["A-1-1", "A-2-2"]}, {"goggles": ["player-7"]}],
)
async def test_a_level_is_for_whomever_a_cue_can_be_for(house: House, to: Message) -> None:
    async with (
        enter(house.gateway_url, "goggles", "player-7"),
        enter(house.gateway_url) as client,
    ):
        await client.say("level", **level(0.35, to=to))
        state = await client.hear("level-state")
        assert (state["to"], state["state"]) == (to, "active")


async def test_a_level_that_goes_on_is_told_of_once(house: House) -> None:
    async with enter(house.gateway_url) as client:
        for n in range(60):
            await client.say("level", **level(0.1 + n / 1000, ttl_ms=5000))
        assert (await client.hear("level-state"))["state"] == "active"
        await until(lambda: steps(house)[-1] == (3, 0.159))
        await client.hear_nothing_of("level-state")


async def test_a_level_for_everybody_is_told_of_once_although_nobody_wears_goggles(
    house: House,
) -> None:
    everybody: Message = {"all": True}
    async with enter(house.gateway_url) as client:
        for _ in range(10):
            await client.say("level", **level(0.01, to=everybody, ttl_ms=50))
            for state in ("active", "ended"):
                assert (await client.hear("level-state"))["state"] == state
        await client.hear_nothing_of("level-state")


async def test_a_level_ends_when_its_ttl_passes_without_a_newer_one(house: House) -> None:
    async with enter(house.gateway_url) as client:
        begun = await client.now()
        await client.say("level", **level(0.1, ttl_ms=200))
        assert (await client.hear("level-state"))["state"] == "active"
        assert (await client.hear("level-state"))["state"] == "ended"
        assert await client.now() >= begun + 200
        assert house.memory("A").open_slots() == set()


async def test_a_level_lasts_half_a_second_by_default(house: House) -> None:
    async with enter(house.gateway_url) as client:
        begun = await client.now()
        await client.say("level", **level(0.1))
        assert (await client.hear("level-state"))["state"] == "active"
        (told,) = house.memory("A").received
        assert told.spray.duration_ms <= 500
        assert begun + 500 <= told.at_ms + told.spray.duration_ms


async def test_intensity_0_ends_a_level_now(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await hold(client)
        await client.say("level", **level(0))
        assert (await client.hear("level-state"))["state"] == "ended"
        assert house.memory("A").open_slots() == set()


async def test_levels_of_one_session_mix(house: House) -> None:
    """Two scents at one seat, and two sources of one scent, which add up."""
    async with enter(house.gateway_url) as client:
        await hold(client, "forest")
        await hold(client, "jungle")
        assert house.memory("A").open_slots() == {("A-1-1", 3), ("A-1-1", 2)}

        await hold(client, "forest", {"seats": ["A-1-1", "A-1-2"]})
        together = [told for told in house.memory("A").received if told.seat == "A-1-1"][-1]
        assert together.spray.slot == 3
        assert together.spray.intensity == pytest.approx(0.2)
        await client.say("level", **level(0, "forest", {"seats": ["A-1-1", "A-1-2"]}))
        assert (await client.hear("level-state"))["state"] == "ended"
        slot, intensity = steps(house)[-1]
        assert slot == 3
        assert intensity == pytest.approx(0.1)
        assert house.memory("A").open_slots() == {("A-1-1", 3), ("A-1-1", 2)}


async def test_the_latest_wins_for_each_sender(house: House) -> None:
    async with enter(house.gateway_url) as one, enter(house.gateway_url) as other:
        await hold(one, to=SEAT)
        await hold(other, to={"seats": ["A-1-2"]})
        await one.say("level", **level(0, to=SEAT))
        assert (await one.hear("level-state"))["state"] == "ended"
        assert house.memory("A").open_slots() == {("A-1-2", 3)}
        await other.hear_nothing_of("level-state")


# What becomes of one


async def test_a_senders_level_waits_for_the_scent_of_another_to_clear(house: House) -> None:
    async with enter(house.gateway_url) as one, enter(house.gateway_url) as other:
        await hold(one, "forest")
        await other.say("level", **level(0.1, "jungle"))
        assert (await other.hear("level-state"))["state"] == "clearing"


async def test_where_a_cue_sprays_a_level_is_busy_and_comes_again_with_its_next_update(
    house: House,
) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("c", "forest", SEAT, duration_ms=5000)
        await client.say("level", **level(0.1, ttl_ms=5000))
        assert (await client.hear("level-state"))["state"] == "busy"
        await client.ask("cancel", cue="c")
        await client.say("level", **level(0.1, ttl_ms=5000))
        assert (await client.hear("level-state"))["state"] == "active"


async def test_levels_count_against_the_dose_limit_and_say_so_once(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"dose_per_minute_s": 0.5}) as house,
        enter(house.gateway_url) as client,
    ):
        await client.cue("c", "forest", SEAT, intensity=1, duration_ms=400)
        await until(lambda: not house.memory("A").open_slots())
        for _ in range(5):
            await client.say("level", **level(1, ttl_ms=5000))
        assert (await client.hear("level-state"))["state"] == "dose-limit"
        assert len(steps(house)) == 1
        await client.hear_nothing_of("level-state")


async def test_a_level_uses_up_the_dose_that_a_cue_then_lacks(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"dose_per_minute_s": 0.5}) as house,
        enter(house.gateway_url) as client,
    ):
        await client.say("level", **level(1, ttl_ms=400))
        assert (await client.hear("level-state"))["state"] == "active"
        assert (await client.hear("level-state"))["state"] == "ended"
        cue = await client.cue("c", "forest", SEAT, intensity=1, duration_ms=200)
        assert cue["skipped"] == {"dose-limit": 1}


async def test_a_level_is_offline_once_its_goggles_have_left(house: House) -> None:
    to = {"goggles": ["player-7"]}
    async with enter(house.gateway_url) as client:
        async with enter(house.gateway_url, "goggles", "player-7"):
            await hold(client, to=to)
        assert (await client.hear("level-state"))["state"] == "offline"
        await client.say("level", **level(0.1, to=to))
        await client.hear_nothing_of("level-state")


async def test_a_panic_refuses_levels_until_it_is_over(house: House) -> None:
    async with enter(house.gateway_url) as client, enter(house.gateway_url, "operator") as operator:
        await hold(client)
        await operator.ask("panic")
        assert (await client.hear("level-state"))["state"] == "panic"
        assert house.memory("A").open_slots() == set()
        await client.say("level", **level(0.1, ttl_ms=5000))
        await client.hear_nothing_of("level-state")
        assert house.memory("A").open_slots() == set()
        await operator.ask("release")
        await hold(client)


async def test_a_stop_ends_levels(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await hold(client, to=ZONE_A)
        await client.ask("stop")
        assert (await client.hear("level-state"))["state"] == "ended"
        assert house.memory("A").open_slots() == set()


# What is no level


@pytest.mark.parametrize("role", ["operator", "goggles"])
async def test_levels_are_for_engines(house: House, role: str) -> None:
    async with enter(house.gateway_url, role) as client:
        await client.say("level", **level(0.1))
        error = await client.hear("error")
        assert error["code"] == "forbidden"
        assert "re" not in error
        assert steps(house) == []


WRONG: list[Message] = [
    {"intensity": 1.1},
    {"intensity": -0.1},
    {"intensity": True},
    {"intensity": None},
    {"ttl_ms": 0},
    {"ttl_ms": "long"},
    {"to": {}},
    {"to": {"all": True, "zones": ["A"]}},
    {"scent": 5},
    {"at": 1764000000000},
    {"id": 5},
]


async def test_a_level_that_is_wrong_is_a_bad_message(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url) as client:
        for wrong in WRONG:
            with subtests.test(**wrong):
                await client.say("level", **{**level(0.1), **wrong})
                error = await client.hear("error")
                assert error["code"] == "bad-message"
                assert error.get("re") == wrong.get("id")
        assert steps(house) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"scent": "tar"}, "unknown-scent"),
        ({"to": {"zones": ["Z"]}}, "unknown-zone"),
        ({"to": {"seats": ["A-9-9"]}}, "unknown-seat"),
        ({"to": {"goggles": ["nobody"]}}, "unknown-goggles"),
    ],
)
async def test_a_level_for_nobody_is_refused_once_however_often_it_comes(
    house: House, wrong: Message, code: str
) -> None:
    async with enter(house.gateway_url) as client:
        for _ in range(5):
            await client.say("level", **{**level(0.1), **wrong})
        assert (await client.hear("error"))["code"] == code
        await client.hear_nothing_of("error", "level-state")

"""What a cue may say, whom it reaches, and who is left out for which reason."""

from pathlib import Path

import pytest

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import ZONE_A, Message, enter, until
from tests.e2e.theatres import two_zones

SEAT: Message = {"seats": ["A-1-1"]}
CUE: Message = {"scent": "sea-breeze", "intensity": 0.5, "duration_ms": 500, "to": ZONE_A}


def sprayed(house: House, zone: str = "A") -> list[str]:
    return [told.seat for told in house.memory(zone).received]


# The request and its reply


@pytest.mark.parametrize("role", ["engine", "operator"])
async def test_a_cue_is_accepted_with_when_it_is_due_and_how_many_it_reaches(
    house: House, role: str
) -> None:
    async with enter(house.gateway_url, role) as client:
        due = await client.now() - 20
        answer = await client.ask(
            "cue", id="c-17", **CUE, at=due, ttl_ms=9000, priority=5, mix=False, report=False
        )

        assert answer == {
            "type": "accepted",
            "re": "c-17",
            "due": due,
            "targets": 24,
            "skipped": {},
            "duplicate": False,
        }


async def test_a_cue_opens_the_slot_of_its_scent_as_strong_and_as_long_as_it_says(
    house: House,
) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("c", "jungle", SEAT, intensity=0.8, duration_ms=1500)
        (told,) = house.memory("A").received
        assert (told.seat, told.spray.slot) == ("A-1-1", 2)
        assert (told.spray.intensity, told.spray.duration_ms) == (0.8, 1500)


async def test_without_at_a_cue_is_due_when_it_comes(house: House) -> None:
    async with enter(house.gateway_url) as client:
        before = await client.now()
        due = (await client.cue("c"))["due"]
        assert before <= due <= await client.now()


async def test_goggles_may_not_send_cues(house: House) -> None:
    async with enter(house.gateway_url, "goggles", "player-7") as goggles:
        assert (await goggles.cue("c"))["code"] == "forbidden"
        assert (await goggles.ask("cancel", cue="c"))["code"] == "forbidden"
        assert sprayed(house) == []


# Whom it is for


TARGETS: list[tuple[Message, int]] = [
    ({"all": True}, 25),
    ({"zones": ["A"]}, 24),
    ({"zones": ["goggles"]}, 1),
    ({"zones": ["A", "goggles"]}, 25),
    ({"zones": ["A", "A"]}, 24),
    ({"seats": ["A-1-3"]}, 1),
    ({"seats": ["A-1-3", "A-4-6", "A-1-3"]}, 2),
    ({"seats": ["A-1-3", "player-7"]}, 2),
    ({"goggles": ["player-7"]}, 1),
]


async def test_a_cue_reaches_exactly_whom_it_is_for(
    house: House, subtests: pytest.Subtests
) -> None:
    async with (
        enter(house.gateway_url, "goggles", "player-7"),
        enter(house.gateway_url) as client,
    ):
        for n, (to, targets) in enumerate(TARGETS):
            with subtests.test(to=to):
                before = len(sprayed(house))
                answer = await client.cue(f"c-{n}", to=to)
                assert (answer["targets"], answer["skipped"]) == (targets, {})
                seats = sprayed(house)[before:]
                assert len(seats) == len(set(seats))
                assert targets - 1 <= len(seats) <= targets
                await client.ask("stop")


NO_TARGETS: list[object] = [
    {},
    None,
    "A",
    ["A"],
    {"all": False},
    {"all": 1},
    {"zones": []},
    {"zones": "A"},
    {"zones": ["A"], "seats": ["A-1-1"]},
    {"all": True, "zones": ["A"]},
    {"zones": [5]},
    {"zones": [""]},
    {"zones": None},
    {"everybody": True},
    {"zones": ["A"], "row": 3},
]


async def test_to_is_exactly_one_of_all_zones_seats_and_goggles(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url) as client:
        for to in NO_TARGETS:
            with subtests.test(to=to):
                error = await client.ask("cue", id="c", **{**CUE, "to": to})
                assert error["code"] == "bad-message"
        assert sprayed(house) == []


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ({"zones": ["A", "Z"]}, "unknown-zone"),
        ({"seats": ["A-1-1", "A-9-9"]}, "unknown-seat"),
        ({"goggles": ["nobody"]}, "unknown-goggles"),
    ],
)
async def test_who_names_somebody_unknown_reaches_nobody(
    house: House, to: Message, code: str
) -> None:
    async with enter(house.gateway_url) as client:
        error = await client.cue("c", to=to)
        assert (error["code"], error["retryable"]) == (code, False)
        assert sprayed(house) == []
        assert (await client.cue("c"))["duplicate"] is False  # as if it had never been sent


async def test_a_cue_for_several_zones_has_one_answer(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    async with open_house(theatre=two_zones(tmp_path)) as house, enter(house.gateway_url) as client:
        answer = await client.cue("c", "forest", {"all": True}, report=True)
        assert (answer["targets"], answer["skipped"]) == (9, {"opted-out": 1})
        assert (await client.hear("report"))["written"] == 9
        assert (len(sprayed(house, "A")), len(sprayed(house, "B"))) == (5, 4)


# What its fields may be


IN_RANGE: list[Message] = [
    {"intensity": 1},
    {"intensity": 0.001},
    {"duration_ms": 1},
    {"duration_ms": 10_000},
    {"duration_ms": 33.4},
    {"ttl_ms": 1},
    {"ttl_ms": 86_400_000},
    {"priority": 0},
    {"priority": 9},
    {"priority": 5.0},
    {"mix": True},
]

OUT_OF_RANGE: list[Message] = [
    {"scent": 5},
    {"scent": ""},
    {"intensity": 0},
    {"intensity": -0.5},
    {"intensity": 1.001},
    {"intensity": True},
    {"intensity": "1"},
    {"intensity": None},
    {"duration_ms": 0},
    {"duration_ms": 0.5},
    {"duration_ms": 10_001},
    {"duration_ms": False},
    {"ttl_ms": 0},
    {"ttl_ms": -1},
    {"ttl_ms": "soon"},
    {"at": "now"},
    {"at": True},
    {"priority": -1},
    {"priority": 10},
    {"priority": 4.5},
    {"mix": 1},
    {"report": "yes"},
    {"colour": "blue"},
]


async def test_the_ends_of_each_range_are_in_it(house: House, subtests: pytest.Subtests) -> None:
    async with enter(house.gateway_url) as client:
        soon = await client.now() + 60_000
        for n, fields in enumerate(IN_RANGE):
            with subtests.test(**fields):
                answer = await client.ask("cue", id=f"c-{n}", **{**CUE, "at": soon, **fields})
                assert answer["targets"] == 24


async def test_what_is_out_of_range_is_a_bad_message_that_names_the_field(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url) as client:
        for field in OUT_OF_RANGE:
            with subtests.test(**field):
                error = await client.ask("cue", id="c", **{**CUE, **field})
                assert (error["code"], error["retryable"]) == ("bad-message", False)
                assert next(iter(field)) in error["message"]
        assert sprayed(house) == []


async def test_what_must_be_there_must_be_there(house: House, subtests: pytest.Subtests) -> None:
    async with enter(house.gateway_url) as client:
        for field in CUE:
            with subtests.test(field):
                some = {name: value for name, value in CUE.items() if name != field}
                error = await client.ask("cue", id="c", **some)
                assert error["code"] == "bad-message"
                assert field in error["message"]


async def test_the_longest_spray_is_configured(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"max_spray_ms": 300}) as house,
        enter(house.gateway_url) as client,
    ):
        assert (await client.cue("c", duration_ms=301))["code"] == "bad-message"
        assert (await client.cue("c", duration_ms=300))["targets"] == 24


# Who is left out, and why


async def test_seats_that_opted_out_or_lack_the_scent_are_skipped(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    async with open_house(theatre=two_zones(tmp_path)) as house, enter(house.gateway_url) as client:
        answer = await client.cue("c", "sea-breeze", {"all": True})
        assert (answer["targets"], answer["skipped"]) == (5, {"opted-out": 1, "no-such-scent": 4})
        assert "A-1-2" not in sprayed(house)
        assert sprayed(house, "B") == []


async def test_a_scent_that_no_zone_carries_is_unknown(house: House) -> None:
    async with enter(house.gateway_url) as client:
        error = await client.cue("c-17", "tar")
        assert (error["re"], error["code"]) == ("c-17", "unknown-scent")
        assert "'tar'" in error["message"]


async def test_seats_without_a_dispenser_that_can_be_reached_are_offline(
    open_house: OpenHouse,
) -> None:
    async with open_house(simulate=False) as house, enter(house.gateway_url) as client:
        answer = await client.cue("c")
        assert (answer["targets"], answer["skipped"]) == (0, {"offline": 24})


async def test_goggles_that_have_left_are_offline(house: House) -> None:
    async with enter(house.gateway_url) as client:
        async with enter(house.gateway_url, "goggles", "player-7"):
            pass
        answer = await client.cue("c", to={"goggles": ["player-7"]})
        assert (answer["targets"], answer["skipped"]) == (0, {"offline": 1})


async def test_another_scent_has_to_wait_until_the_last_has_cleared(
    open_house: OpenHouse,
) -> None:
    async with (
        open_house(limits={"clearing_s": 0.4}) as house,
        enter(house.gateway_url) as client,
    ):
        await client.cue("sea", "sea-breeze", SEAT, duration_ms=10)
        await until(lambda: not house.memory("A").open_slots())
        assert (await client.cue("early", "jungle", SEAT))["skipped"] == {"clearing": 1}
        assert (await client.cue("same", "sea-breeze", SEAT, duration_ms=20))["targets"] == 1
        cleared = await client.now() + 20 + 400
        assert (await client.cue("later", "jungle", SEAT, at=cleared, report=True))["targets"] == 1
        assert (await client.hear("report"))["written"] == 1


async def test_a_mix_joins_another_scent_that_has_not_cleared(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("sea", "sea-breeze", SEAT, duration_ms=5000)
        assert (await client.cue("alone", "jungle", SEAT))["skipped"] == {"clearing": 1}
        assert (await client.cue("mixed", "jungle", SEAT, mix=True))["targets"] == 1
        assert house.memory("A").open_slots() == {("A-1-1", 0), ("A-1-1", 2)}


async def test_a_slot_is_busy_for_its_equals_and_gives_way_to_a_higher_priority(
    house: House,
) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        await client.cue("first", to=SEAT, duration_ms=5000)  # of priority 5, the default
        for priority in (0, 4, 5):
            again = await client.cue(f"again-{priority}", to=SEAT, priority=priority)
            assert again["skipped"] == {"busy": 1}
        assert (await client.cue("urgent", to=SEAT, duration_ms=50, priority=6))["targets"] == 1

        assert (await client.hear("scent"))["cue"] == "first"
        end = await client.hear("scent-end")
        assert (end["cue"], end["reason"]) == ("first", "displaced")
        assert (await client.hear("scent"))["cue"] == "urgent"


async def test_a_seat_gets_no_more_than_its_dose_in_a_minute(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"dose_per_minute_s": 1}) as house,
        enter(house.gateway_url) as client,
    ):
        assert (await client.cue("half", to=SEAT, intensity=0.5, duration_ms=1000))["targets"] == 1
        await client.ask("stop")
        whole = await client.cue("whole", to=SEAT, intensity=1, duration_ms=1000)
        assert whole["skipped"] == {"dose-limit": 1}
        neighbour = await client.cue("n", to={"seats": ["A-1-2"]}, intensity=1, duration_ms=1000)
        assert neighbour["targets"] == 1


async def test_a_seat_gets_no_more_than_its_dose_in_an_hour(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"dose_per_hour_s": 0.1}) as house,
        enter(house.gateway_url) as client,
    ):
        assert (await client.cue("c", to=SEAT, intensity=1, duration_ms=80))["targets"] == 1
        await until(lambda: not house.memory("A").open_slots())
        more = await client.cue("d", to=SEAT, intensity=1, duration_ms=21)
        assert more["skipped"] == {"dose-limit": 1}
        much = await client.cue("e", to={"seats": ["A-1-2"]}, intensity=1, duration_ms=101)
        assert much["skipped"] == {"dose-limit": 1}

"""Events: who is told what, in which order, and with which revision."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import Message, enter, until
from tests.e2e.theatres import big_theatre, two_zones

SEAT: Message = {"seats": ["A-1-1"]}


# What is told


async def test_a_spray_at_every_seat_of_a_zone_is_told_without_naming_them(house: House) -> None:
    async with (
        enter(house.gateway_url, "operator") as watch,
        enter(house.gateway_url) as engine,
    ):
        reply = await watch.ask("subscribe", id=7, events=["scent"])
        assert reply == {"type": "subscribed", "re": 7, "subscription": "sub-1"}
        before = await engine.now()
        await engine.cue("c-17", intensity=0.8, duration_ms=1500)

        event = await watch.hear("scent")
        assert before <= event.pop("at") <= await engine.now()
        revision = event.pop("revision")
        assert event == {
            "type": "scent",
            "zone": "A",
            "cue": "c-17",
            "scent": "sea-breeze",
            "intensity": 0.8,
            "duration_ms": 1500,
            "seats": None,
        }
        await engine.ask("cancel", cue="c-17")
        assert await watch.hear("scent-end") == {
            "type": "scent-end",
            "zone": "A",
            "revision": revision + 1,
            "cue": "c-17",
            "scent": "sea-breeze",
            "seats": None,
            "reason": "cancelled",
        }


@pytest.mark.parametrize("role", ["engine", "goggles", "operator"])
async def test_a_spray_at_some_seats_names_them_to_whoever_subscribes(
    house: House, role: str
) -> None:
    async with enter(house.gateway_url, role) as watch, enter(house.gateway_url) as engine:
        await watch.ask("subscribe", events=["scent"])
        await engine.cue(5, to={"seats": ["A-1-3", "A-1-1"]})
        event = await watch.hear("scent")
        assert (event["cue"], sorted(event["seats"])) == (5, ["A-1-1", "A-1-3"])


async def test_the_end_of_a_spray_is_told_only_where_it_comes_early(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        await client.cue("short", to=SEAT, duration_ms=1)
        await until(lambda: not house.memory("A").open_slots())
        await client.cue("long", to=SEAT, duration_ms=5000)
        await client.ask("stop")
        told = [
            (e["type"], e["cue"]) for e in [await client.hear("scent", "scent-end") for _ in "123"]
        ]
        assert told == [("scent", "short"), ("scent", "long"), ("scent-end", "long")]


@pytest.mark.parametrize(
    ("request_type", "reason"), [("stop", "stopped"), ("panic", "panic"), ("cancel", "cancelled")]
)
async def test_an_early_end_tells_its_reason(house: House, request_type: str, reason: str) -> None:
    async with enter(house.gateway_url, "operator") as client:
        await client.ask("subscribe", events=["scent"])
        await client.cue("c", to=SEAT, duration_ms=5000)
        fields = {"cue": "c"} if request_type == "cancel" else {}
        await client.ask(request_type, **fields)
        end = await client.hear("scent-end")
        assert (end["cue"], end["seats"], end["reason"]) == ("c", ["A-1-1"], reason)


async def test_what_reaches_nobody_is_no_event(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        await client.cue("runs", to=SEAT, duration_ms=5000)
        await client.cue("skipped", to=SEAT)
        await client.cue("last", to={"seats": ["A-1-2"]})
        assert [(await client.hear("scent"))["cue"] for _ in "12"] == ["runs", "last"]


async def test_a_zone_event_tells_of_seats_that_come_and_go(house: House) -> None:
    async with enter(house.gateway_url, "operator") as watch:
        await watch.ask("subscribe", events=["zone"], zones=["goggles"])
        async with enter(house.gateway_url, "goggles", "player-7"):
            come = await watch.hear("zone")
        gone = await watch.hear("zone")
        assert (come["zone"], come["seat"], gone["seat"]) == ("goggles", "player-7", "player-7")
        assert gone["revision"] == come["revision"] + 1


async def test_there_is_nothing_to_tell_of_the_stock_yet_but_it_may_be_asked_for(
    house: House,
) -> None:
    async with enter(house.gateway_url, "operator") as watch:
        assert (await watch.ask("subscribe", events=["stock"]))["type"] == "subscribed"
        await watch.cue("c")
        await watch.hear_nothing_of("scent", "zone")


# Order


async def test_events_come_in_order_and_each_zone_counts_its_own_revisions(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    async with (
        open_house(theatre=two_zones(tmp_path)) as house,
        enter(house.gateway_url, "operator") as watch,
        enter(house.gateway_url) as one,
        enter(house.gateway_url) as other,
    ):
        await watch.ask("subscribe", events=["scent", "zone", "level"])
        cue = {"scent": "forest", "intensity": 0.01, "duration_ms": 5000, "to": {"all": True}}
        for n in range(40):
            for client in (one, other):
                await client.say("cue", id=f"c-{n}", priority=n % 10, **cue)
                await client.say("stop", id=f"s-{n}")
        await one.settle()
        await other.settle()
        await one.cue("last", "forest", {"all": True})

        revisions: dict[str, list[int]] = {"A": [], "B": []}
        done: set[str] = set()
        while done != {"A", "B"}:
            event = await watch.hear("scent", "scent-end")
            revisions[event["zone"]].append(event["revision"])
            if event["cue"] == "last":
                done.add(event["zone"])
        for numbers in revisions.values():
            first, last = numbers[0], numbers[-1]
            assert numbers == list(range(first, last + 1))
            assert len(numbers) > 10


async def test_the_revision_is_the_one_that_state_tells(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        for n in range(3):
            await client.cue(f"c-{n}", to={"seats": [f"A-1-{n + 1}"]})
            revision = (await client.hear("scent"))["revision"]
            assert (await client.ask("state", zone="A"))["revision"] == revision


async def test_a_new_subscriber_is_told_what_happens_from_then_on(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("before", to=SEAT)
        await client.ask("state", zone="A")
        await client.ask("subscribe", events=["scent"])
        await client.cue("after", to={"seats": ["A-1-2"]})
        assert (await client.hear("scent"))["cue"] == "after"


# Filters


async def test_without_filters_everything_of_a_kind_is_told(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    async with (
        open_house(theatre=two_zones(tmp_path)) as house,
        enter(house.gateway_url) as client,
    ):
        await client.ask("subscribe", events=["scent"])
        await client.cue("c", "forest", {"all": True})
        assert {(await client.hear("scent"))["zone"] for _ in "12"} == {"A", "B"}


FILTERS: list[tuple[Message, list[str]]] = [
    ({"zones": ["A"]}, ["sea-1", "forest-2", "zone-A"]),
    ({"zones": ["B"]}, ["zone-B"]),
    ({"zones": ["A", "B"]}, ["sea-1", "forest-2", "zone-A", "zone-B"]),
    ({"scents": ["sea-breeze"]}, ["sea-1"]),
    ({"seats": ["A-1-1"]}, ["sea-1", "zone-A"]),
    ({"seats": ["B-1-1"]}, ["zone-B"]),
    ({"seats": ["A-1-1", "B-1-1"]}, ["sea-1", "zone-A", "zone-B"]),
    ({"zones": ["A"], "scents": ["forest"]}, ["forest-2", "zone-A"]),
    ({"seats": ["A-1-1"], "scents": ["forest"]}, ["zone-A"]),
    ({"zones": ["B"], "seats": ["A-1-1"]}, []),
]


async def test_filters_let_through_what_passes_all_of_them(
    open_house: OpenHouse, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    async with (
        open_house(theatre=two_zones(tmp_path)) as house,
        enter(house.gateway_url) as engine,
        AsyncExitStack() as audience,
    ):
        watchers = []
        for filters, told in FILTERS:
            watch = await audience.enter_async_context(enter(house.gateway_url, "operator"))
            await watch.ask("subscribe", events=["scent"], **filters)
            watchers.append((filters, told, watch))
        await engine.ask("subscribe", events=["scent"])  # and is told after all the others
        await engine.cue("sea-1", "sea-breeze", {"seats": ["A-1-1"]}, duration_ms=1)
        await engine.cue("forest-2", "forest", {"seats": ["A-2-2"]}, duration_ms=1)
        await engine.cue("zone-A", "forest", {"zones": ["A"]}, mix=True, priority=6)
        await engine.cue("zone-B", "forest", {"zones": ["B"]})
        for _ in range(4):
            await engine.hear("scent")

        for filters, told, watch in watchers:
            with subtests.test(**filters):
                assert [event["cue"] for event in await watch.hear_all("scent")] == told


async def test_one_event_comes_once_however_many_subscriptions_want_it(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        await client.ask("subscribe", events=["scent", "scent"], zones=["A"])
        await client.cue("one", to=SEAT)
        await client.cue("two", to={"seats": ["A-1-2"]})
        assert [(await client.hear("scent"))["cue"] for _ in "12"] == ["one", "two"]


async def test_after_unsubscribe_nothing_more_is_told(house: House) -> None:
    async with enter(house.gateway_url) as client:
        first = (await client.ask("subscribe", events=["scent"], zones=["A"]))["subscription"]
        await client.ask("subscribe", events=["scent"], seats=["A-1-2"])
        reply = await client.ask("unsubscribe", id=9, subscription=first)
        assert reply == {"type": "unsubscribed", "re": 9, "subscription": first}
        await client.cue("unheard", to=SEAT)
        await client.cue("heard", to={"seats": ["A-1-2"]})
        assert (await client.hear("scent"))["cue"] == "heard"
        assert (await client.ask("unsubscribe", subscription=first))["code"] == "bad-message"


NO_SUBSCRIPTIONS: list[tuple[Message, str]] = [
    ({"zones": ["Z"]}, "unknown-zone"),
    ({"seats": ["A-9-9"]}, "unknown-seat"),
    ({"scents": ["tar"]}, "unknown-scent"),
    ({"events": []}, "bad-message"),
    ({"events": ["weather"]}, "bad-message"),
    ({"events": "scent"}, "bad-message"),
    ({"events": None}, "bad-message"),
    ({"zones": []}, "bad-message"),
    ({"seats": "A-1-1"}, "bad-message"),
    ({"colours": ["blue"]}, "bad-message"),
]


async def test_a_subscription_that_cannot_be_is_refused(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url) as client:
        for wrong, code in NO_SUBSCRIPTIONS:
            with subtests.test(**wrong):
                error = await client.ask("subscribe", **{"events": ["scent"], **wrong})
                assert error["code"] == code
        await client.cue("c")
        await client.hear_nothing_of("scent")


# Size


async def test_an_event_for_many_seats_goes_in_several_frames_of_one_revision(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    """Each frame is under 32 KiB, which whoever hears it checks."""
    seats = [f"A-{row}-{number}" for row in range(1, 41) for number in range(1, 51)]
    async with (
        open_house(theatre=big_theatre(tmp_path)) as house,
        enter(house.gateway_url) as client,
    ):
        await client.ask("subscribe", events=["scent"])
        await client.cue("one", to={"seats": [seats[0]]}, duration_ms=9000)
        await client.hear("scent")
        answer = await client.cue("most", duration_ms=9000)
        assert (answer["targets"], answer["skipped"]) == (1999, {"busy": 1})
        await client.ask("cancel", cue="most")
        await client.cue("end", "jungle", {"seats": [seats[1]]}, mix=True)

        for kind in ("scent", "scent-end"):
            named: list[str] = []
            revisions = set()
            while len(named) < 1999:
                event = await client.hear(kind)
                named += event["seats"]
                revisions.add(event["revision"])
            assert named == seats[1:]
            assert len(revisions) == 1
        assert (await client.hear("scent"))["cue"] == "end"


async def test_seats_with_the_longest_names_fit_in_the_frames_as_well(house: House) -> None:
    names = [f"{n:03}" + "\N{GRINNING FACE}" * 125 for n in range(80)]
    async with enter(house.gateway_url, "operator") as watch:
        await watch.ask("subscribe", events=["scent"])
        async with AsyncExitStack() as audience:
            for name in names:
                await audience.enter_async_context(enter(house.gateway_url, "goggles", name))
            await watch.cue("c", to={"goggles": names[1:]})
            told: list[str] = []
            while len(told) < 79:
                told += (await watch.hear("scent"))["seats"]
            assert told == names[1:]

"""When a cue is dispatched, when it is dropped, and what its report says."""

from tests.conftest import House
from tests.e2e.speaking import Message, enter

SEAT: Message = {"seats": ["A-1-1"]}
DAY_MS = 24 * 3_600_000


async def test_a_cue_with_a_time_is_dispatched_then_and_not_before(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        due = await client.now() + 200
        answer = await client.cue("c", at=due, ttl_ms=5000, report=True)
        assert (answer["due"], answer["targets"]) == (due, 24)
        assert house.memory("A").received == []

        at = (await client.hear("scent"))["at"]
        lateness_ms = (await client.hear("report"))["lateness_ms"]
        assert at >= due
        assert abs(at - due - lateness_ms) < 1
        assert min(told.at_ms for told in house.memory("A").received) >= due


async def test_cues_are_dispatched_in_the_order_in_which_they_are_due(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        now = await client.now()
        for n in (3, 1, 2):
            to = {"seats": [f"A-1-{n}"]}
            await client.cue(n, to=to, at=now + 150 + 20 * n, ttl_ms=5000)

        assert [(await client.hear("scent"))["cue"] for _ in range(3)] == [1, 2, 3]


async def test_of_two_that_are_due_at_once_the_higher_priority_goes_first(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        due = await client.now() + 150
        low = await client.cue("low", to=SEAT, at=due, ttl_ms=5000, priority=1, report=True)
        high = await client.cue("high", to=SEAT, at=due, ttl_ms=5000, priority=2)
        assert (low["targets"], high["targets"]) == (1, 1)  # neither runs as things stand

        assert (await client.hear("scent"))["cue"] == "high"
        assert (await client.hear("report"))["written"] == 0
        await client.hear_nothing_of("scent", "scent-end")


async def test_a_cue_that_waits_is_decided_again_when_it_is_due(house: House) -> None:
    async with enter(house.gateway_url) as client:
        due = await client.now() + 200
        waits = await client.cue("waits", "jungle", at=due, ttl_ms=5000, report=True)
        await client.cue("now", "forest", {"seats": ["A-1-1", "A-1-2"]}, duration_ms=5000)

        assert waits["targets"] == 24
        assert (await client.hear("report"))["written"] == 22


async def test_what_is_to_clear_by_then_is_not_skipped_beforehand(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("now", "forest", SEAT, duration_ms=100)
        soon = await client.now() + 1000
        later = await client.now() + 10_000
        assert (await client.cue("soon", "jungle", SEAT, at=soon))["skipped"] == {"clearing": 1}
        assert (await client.cue("later", "jungle", SEAT, at=later))["targets"] == 1


async def test_a_cue_may_be_up_to_a_day_ahead(house: House) -> None:
    async with enter(house.gateway_url) as client:
        now = await client.now()
        tomorrow = await client.cue("tomorrow", at=now + DAY_MS - 10_000)
        assert (tomorrow["type"], tomorrow["targets"]) == ("accepted", 24)
        error = await client.cue("later", at=now + DAY_MS + 10_000)
        assert error["code"] == "bad-message"
        assert "at" in error["message"]


async def test_a_cue_that_comes_late_is_dispatched_as_long_as_its_ttl_lasts(house: House) -> None:
    async with enter(house.gateway_url) as client:
        past = await client.now() - 1000
        answer = await client.cue("late", to=SEAT, at=past, ttl_ms=60_000, report=True)
        assert (answer["due"], answer["targets"]) == (past, 1)
        assert 1000 <= (await client.hear("report"))["lateness_ms"] < 60_000


async def test_a_cue_whose_ttl_is_over_is_too_late_and_may_be_sent_again(house: House) -> None:
    async with enter(house.gateway_url) as client:
        past = await client.now() - 1000
        error = await client.cue("c", at=past, ttl_ms=999)
        assert (error["re"], error["code"], error["retryable"]) == ("c", "too-late", False)
        assert house.memory("A").received == []
        assert (await client.cue("c"))["duplicate"] is False


async def test_the_ttl_is_half_a_second_by_default(house: House) -> None:
    async with enter(house.gateway_url) as client:
        assert (await client.cue("a", at=await client.now() - 510))["code"] == "too-late"
        assert (await client.cue("b", at=await client.now() - 250))["targets"] == 24


# Reports


async def test_a_report_follows_the_answer_and_tells_what_became_of_the_cue(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.say(
            "cue",
            id="c-17",
            scent="sea-breeze",
            intensity=0.5,
            duration_ms=100,
            to={"all": True},
            report=True,
        )
        accepted = await client.hear("accepted", "report")
        report = await client.hear("accepted", "report")

        assert (accepted["type"], accepted["targets"]) == ("accepted", 24)
        times = [report.pop(name) for name in ("lateness_ms", "first_ms", "last_ms")]
        assert report == {
            "type": "report",
            "cue": "c-17",
            "written": 24,
            "failed": 0,
            "expired": 0,
        }
        lateness_ms, first_ms, last_ms = times
        assert lateness_ms >= 0
        assert 0 <= first_ms <= last_ms


async def test_a_report_comes_for_those_who_asked_and_once(house: House) -> None:
    async with enter(house.gateway_url) as client, enter(house.gateway_url) as other:
        await client.cue("without", to=SEAT, duration_ms=1)
        await client.cue("with", to={"seats": ["A-1-2"]}, report=True)
        assert (await client.hear("report"))["cue"] == "with"
        await client.hear_nothing_of("report")
        await other.hear_nothing_of("report")


async def test_a_cue_that_reaches_nobody_is_reported_as_well(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.cue("sea", to=SEAT, duration_ms=5000)
        await client.cue("jungle", "jungle", SEAT, report=True)
        report = await client.hear("report")
        assert (report["written"], report["failed"], report["expired"]) == (0, 0, 0)
        assert (report["first_ms"], report["last_ms"]) == (None, None)


async def test_what_is_cancelled_before_its_time_is_reported_as_nothing_if_at_all(
    house: House,
) -> None:
    async with enter(house.gateway_url) as client:
        due = await client.now() + 150
        await client.cue("cancelled", at=due, report=True)
        await client.ask("cancel", cue="cancelled")
        await client.cue("after", at=due + 20, ttl_ms=5000, report=True)
        *before, after = await client.hear_until("report", cue="after")
        assert after["written"] == 24
        assert all(report["written"] == report["failed"] == 0 for report in before)

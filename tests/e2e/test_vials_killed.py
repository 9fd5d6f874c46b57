"""A server that is killed in the middle of cues: what its vials hold when it is back."""

import os
import random
from pathlib import Path

import httpx
import pytest
import trio

from scentrt.domain.cues import SeatId
from simulators.client import Closed
from tests.e2e import night_shift
from tests.e2e.night_shift import Lost, Nights, NightShift
from tests.e2e.server_process import ServerProcess, serve
from tests.e2e.shop import enter_shop
from tests.vials import seated, store, stored_levels

THEATRE = """\
name = "Small"
[[zones]]
id = "A"
rows = 2
seats_per_row = 2
slots = ["pine"]
[[products]]
sku = "SEABREEZE"
scent = "pine"
"""
SEATS = [SeatId(f"A-{row}-{number}") for row in (1, 2) for number in (1, 2)]
FULL_US, CUE_US = 300_000_000, 5_000

KILLS = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 4


async def left_us(server: ServerProcess) -> list[int]:
    """Return what a server says is left at each seat."""
    async with server.operator() as desk:
        seats = (await desk.state("A"))["seats"]
        return [round(seat["slots"][0]["remaining_s"] * 1e6) for seat in seats]


@pytest.mark.parametrize("ends", ["killed", "stopped"])
async def test_vials_hold_after_a_restart_what_the_journal_says_that_they_have_not_given(
    tmp_path: Path, ends: str
) -> None:
    (tmp_path / "small.toml").write_text(THEATRE, encoding="utf-8")
    database = tmp_path / "vials.db"
    store(database, [seated(n, s, left_s=300, capacity_s=300) for n, s in enumerate(SEATS)])
    options = ("--theatre", "small.toml", "--db", str(database))
    decided = 0
    async with serve(tmp_path, *options) as server, server.engine() as game:
        seen = FULL_US
        with trio.fail_after(20):
            while decided < 60 or seen == FULL_US:  # at least once it was written down meanwhile
                answer = await game.cue("pine", {"all": True}, duration_ms=5, intensity=1.0)
                assert answer["targets"] == 4
                decided += 1
                await trio.sleep(0.02)  # a little longer than a cue lasts
                if decided % 20 == 0:
                    seen = min(stored_levels(database).values())
        await (server.kill() if ends == "killed" else server.stop())
    levels = set(stored_levels(database).values())
    assert len(levels) == 1
    [left] = levels
    assert FULL_US - decided * CUE_US <= left <= seen
    if ends == "stopped":
        assert left == FULL_US - decided * CUE_US
    async with serve(tmp_path, *options) as server:
        assert await left_us(server) == [left] * 4
        journal = (await server.get("/journal?limit=1000")).json()["releases"]
        assert sum(line["dose_s"] for line in journal) == pytest.approx(4 * (FULL_US - left) / 1e6)
        assert {(line["batchref"], line["source"]) for line in journal} == {("b-1", "game")}
        async with server.engine() as game:
            await game.cue("pine", {"all": True}, duration_ms=1, intensity=1.0)
            assert max(await left_us(server)) < left
        await server.stop()


async def work_until_killed(
    server: ServerProcess, shift: NightShift, asked: int, after_s: float
) -> float:
    """Kill a night's server so long after so much was asked; return when that was."""
    killed_s = 0.0

    async def kill() -> None:
        nonlocal killed_s
        while shift.asked < asked:  # noqa: ASYNC110  (who works need not know)
            await trio.sleep(0.005)
        await trio.sleep(after_s)
        killed_s = trio.current_time()
        await server.kill()

    async with (
        server.engine() as game,
        enter_shop(server.http_url) as shop,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(kill)
        try:
            await shift.work(game, shop)
        except (Closed, httpx.TransportError):
            assert killed_s, "it ended by itself"
    return killed_s


@pytest.mark.soak
async def test_a_night_that_is_killed_at_any_moment_loses_a_second_and_no_vial_and_no_order(
    tmp_path: Path,
) -> None:
    (tmp_path / "small.toml").write_text(night_shift.THEATRE, encoding="utf-8")
    path, chance, nights = tmp_path / "night.db", random.Random(0), Nights()
    options = ("--theatre", "small.toml", "--db", str(path))
    lost: list[Lost] = []
    for night in range(KILLS):
        shift = NightShift(f"n{night}", nights, chance)
        async with serve(tmp_path, *options, env=night_shift.LIMITS) as server:
            asked, after_s = chance.randint(5, 250), chance.uniform(0, 0.1)
            with trio.fail_after(60):
                killed_s = await work_until_killed(server, shift, asked, after_s)
        lost.append(shift.check(path, killed_s))
    refills = night_shift.read(path).refills
    print(  # noqa: T201  (for who soaks: pytest -s)
        f"{KILLS} kills: {nights.counted} cues from {len(nights.vials)} vials, {len(refills)} "
        f"refills; the oldest cue lost was {max(each.first_s for each in lost):.2f} s old, and "
        f"the most lost at once {max(each.levels for each in lost)} of the levels, "
        f"{max(each.journal for each in lost)} of the journal"
    )
    assert nights.counted > 5 * KILLS, "there was something to lose"
    assert max(each.levels for each in lost) > 0
    async with serve(tmp_path, *options) as server, server.operator() as desk:
        shown = {
            (seat["seat"], slot["slot"]): round(slot["remaining_s"] * 1e6)
            for seat in (await desk.state("A"))["seats"]
            for slot in seat["slots"]
            if slot["sku"] is not None
        }
        await server.stop()
    assert shown == {
        (row.seat, row.slot): row.left_us
        for row in night_shift.read(path).vials.values()
        if row.whereabouts == "seated"
    }

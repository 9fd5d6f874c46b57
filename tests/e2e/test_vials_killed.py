"""A server that is killed in the middle of cues: what its vials hold when it is back."""

from pathlib import Path

import pytest
import trio

from scentrt.domain.cues import SeatId
from tests.e2e.server_process import ServerProcess, serve
from tests.vials import seated, store, stored_levels

THEATRE = """\
name = "Small"
[[zones]]
id = "A"
rows = 2
seats_per_row = 2
slots = ["pine"]
"""
SEATS = [SeatId(f"A-{row}-{number}") for row in (1, 2) for number in (1, 2)]
FULL_US, CUE_US = 300_000_000, 5_000


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

"""What devices on Bluetooth LE are told, from a client's words to the bytes that arrive."""

from itertools import pairwise
from pathlib import Path

import pytest
import trio

from tests.conftest import OpenHouse
from tests.e2e.airwaves import Airwaves, watch
from tests.e2e.speaking import enter, until
from tests.e2e.theatres import one_row
from tests.integration.orders import spray, stop, stop_all


async def test_a_cue_a_stop_and_a_panic_reach_every_device(open_house: OpenHouse) -> None:
    radio = Airwaves()
    told = [stop_all(1)]

    async def arrives(command: bytes) -> None:
        told.append(command)
        await until(lambda: all(got[: len(told)] == told for got in radio.received().values()))

    async with open_house(airwaves=radio) as house, watch(house.gateway_url) as desk:
        answer = await desk.cue("c", "jungle", intensity=0.8, duration_ms=1500, report=True)
        assert (answer["targets"], answer["skipped"]) == (24, {})
        report = await desk.hear("report")
        assert (report["written"], report["failed"], report["expired"]) == (24, 0, 0)
        assert 0 <= report["first_ms"] <= report["last_ms"]
        await arrives(spray(2, slot=2, duration_ms=1500, intensity=204))
        assert len(radio.open_slots()) == 24

        assert (await desk.ask("stop"))["stopped"] == 24
        await arrives(stop(3, slot=2))
        assert radio.open_slots() == {}

        await desk.cue("d", "jungle", intensity=1.0, duration_ms=10_000)
        await arrives(spray(4, slot=2, duration_ms=10_000))
        assert (await desk.ask("panic"))["stopped"] == 24
        await arrives(stop_all(5))
        assert radio.open_slots() == {}


async def test_what_is_for_some_seats_reaches_no_other_device(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path)) as house,
        watch(house.gateway_url) as desk,
    ):
        await desk.cue("faint", "forest", {"seats": ["A-1-2"]}, intensity=0.0001, duration_ms=9000)
        await until(lambda: radio.open_slots() == {"SIM-A-1-2": 0b10})
        await desk.cue("full", "sea-breeze", {"seats": ["A-1-3"]}, intensity=1, duration_ms=9000)
        await until(lambda: radio.open_slots() == {"SIM-A-1-2": 0b10, "SIM-A-1-3": 0b1})
        await desk.ask("stop", to={"seats": ["A-1-2"]})
        await until(lambda: radio.open_slots() == {"SIM-A-1-3": 0b1})
        await desk.ask("cancel", cue="full")
        await until(lambda: not radio.open_slots())
        # The weakest spray that there is, and not none.
        weakest = spray(2, slot=1, duration_ms=9000, intensity=1)
        assert radio.received() == {
            "SIM-A-1-1": [stop_all(1)],
            "SIM-A-1-2": [stop_all(1), weakest, stop(3, slot=1)],
            "SIM-A-1-3": [stop_all(1), spray(2, slot=0, duration_ms=9000), stop(3, slot=0)],
        }


async def test_levels_at_60_hz_arrive_as_their_newest_values_and_end_with_their_sender(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path, seats=2)) as house,
        watch(house.gateway_url),
        enter(house.gateway_url) as game,
    ):
        radio.slow_down("SIM-A-1-1", write_takes_s=0.2)
        for frame in range(1, 31):
            level = {"scent": "forest", "intensity": frame / 100, "ttl_ms": 9000}
            await game.say("level", **level, to={"zones": ["A"]})
            await trio.sleep(1 / 60)
        assert (await game.hear("level-state"))["state"] == "active"
        await until(lambda: all(of[-1].intensity > 0.29 for of in radio.openings().values()))
        game.line.cut()
        await until(lambda: not radio.open_slots())

        slow, fast = radio.openings().values()
        for openings in (slow, fast):
            assert {opening.slot for opening in openings} == {1}
            percent = [round(100 * opening.intensity) for opening in openings]
            assert percent == sorted(set(percent))
            assert percent[-1] == 30
            # One long release: it is open at the newest intensity until the next one comes.
            assert all(one.closed_at == new.opened_at for one, new in pairwise(openings))
            assert openings[-1].closed_at - openings[-1].opened_at < 9
        assert len(fast) > 2 * len(slow)


async def test_a_cue_that_waits_too_long_for_a_slow_device_expires_there_and_nowhere_else(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path)) as house,
        watch(house.gateway_url) as desk,
    ):
        radio.slow_down("SIM-A-1-1", write_takes_s=0.3)
        await desk.cue("first", "forest", duration_ms=20)
        await desk.cue("second", duration_ms=20, mix=True, ttl_ms=100, report=True)
        report = await desk.hear("report")
        assert (report["written"], report["failed"], report["expired"]) == (2, 0, 1)
        await until(lambda: len(radio.received()["SIM-A-1-1"]) == 2)
        sprays = {name: [c for c in got if c[0] == 1] for name, got in radio.received().items()}
        assert [len(commands) for commands in sprays.values()] == [1, 2, 2]


async def test_a_cancel_or_a_stop_also_takes_back_what_a_slow_device_has_yet_to_be_told(
    open_house: OpenHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scentrt.adapters.dispensers.link.PATIENCE_S", 60)
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path, seats=1)) as house,
        watch(house.gateway_url) as desk,
    ):
        radio.slow_down("SIM-A-1-1", write_takes_s=60)
        for cue, scent in {
            "told": "forest",
            "cancelled": "sea-breeze",
            "stopped": "forest",
        }.items():
            await desk.cue(
                cue, scent, duration_ms=50, ttl_ms=60_000, mix=True, report=cue != "told"
            )
            await until(lambda: radio.holds_a_write_to("SIM-A-1-1"))
            await trio.sleep(0.06)  # by now it is over, as the zone sees it
        assert (await desk.ask("cancel", cue="cancelled"))["stopped"] == 0
        report = await desk.hear("report")
        assert (report["cue"], report["written"], report["failed"]) == ("cancelled", 0, 1)
        assert (await desk.ask("stop"))["stopped"] == 0
        report = await desk.hear("report")
        assert (report["cue"], report["written"], report["failed"]) == ("stopped", 0, 1)
        radio.slow_down("SIM-A-1-1", write_takes_s=0)
        await desk.cue("after", duration_ms=50, ttl_ms=60_000, mix=True)
        told = [
            stop_all(1),
            spray(2, slot=1, duration_ms=50, intensity=128),
            stop(3, slot=1),
            spray(4, slot=0, duration_ms=50, intensity=128),
        ]
        await until(lambda: len(radio.received()["SIM-A-1-1"]) == len(told))
        assert radio.received()["SIM-A-1-1"] == told

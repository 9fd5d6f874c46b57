"""Devices on Bluetooth LE that fail: who is told, and that the others miss nothing."""

from pathlib import Path

import pytest
import trio

from scentrt.domain.cues import ZoneId
from simulators.ble.peripheral import Faults
from tests.browser import browse
from tests.conftest import House, OpenHouse
from tests.e2e.airwaves import CLONE, Airwaves, seats_of, until_told, watch
from tests.e2e.conftest import Row
from tests.e2e.speaking import Message, Speaker, until
from tests.e2e.theatres import one_row
from tests.integration.orders import spray, stop, stop_all

FIRST: Message = {"seats": ["A-1-1"]}
DEVICE = "SIM-A-1-1"
KEY = "00112233445566778899aabbccddeeff"


async def remarks(house: House) -> list[str]:
    """Return what is amiss with a server that is ready all the same."""
    async with browse(house.http_url) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    said: list[str] = answer.json()["remarks"]
    return said


async def changed(desk: Speaker, change: str, seat: str = "A-1-1") -> None:
    """Hear that a seat has become something, and that nothing has become of any other."""
    event = await desk.hear("zone")
    assert (event["change"], event["seat"]) == (change, seat)


async def test_a_device_that_drops_is_skipped_and_comes_back_closed_and_the_others_miss_nothing(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path, seats=8)) as house,
        watch(house.gateway_url) as desk,
    ):
        assert await remarks(house) == []
        await desk.cue("runs", duration_ms=10_000)
        await until(lambda: len(radio.open_slots()) == 8)
        radio.set_faults(Faults(absent=True), DEVICE)
        await changed(desk, "seat-offline")
        assert not (await seats_of(desk))["A-1-1"]["online"]
        assert await remarks(house) == ["zone A: the dispenser of A-1-1 cannot be reached"]
        for number in range(10):
            answer = await desk.cue(number, "forest", mix=True, duration_ms=1, report=True)
            assert (answer["targets"], answer["skipped"]) == (7, {"offline": 1})
            report = await desk.hear("report")
            assert (report["written"], report["failed"], report["expired"]) == (7, 0, 0)
            await trio.sleep(0.002)  # or the slots would be busy still
        radio.set_faults(Faults(), DEVICE)
        await changed(desk, "seat-online")
        assert (await seats_of(desk))["A-1-1"]["online"]
        assert await remarks(house) == []
        assert (await desk.cue("last", "forest", mix=True, duration_ms=99))["targets"] == 8

        first, last = (spray(n, slot, ms, 128) for n, slot, ms in [(2, 0, 10_000), (13, 1, 99)])
        between = [spray(3 + n, slot=1, duration_ms=1, intensity=128) for n in range(10)]
        await until(lambda: all(got[-1][3:] == last[3:] for got in radio.received().values()))
        received = radio.received()
        assert received.pop(DEVICE)[:3] == [stop_all(1), first, stop_all(3)]
        # A slow machine may have a slot closed once more, which misses nothing.
        sprays = [each[3:] for each in (first, *between, last)]
        for got in received.values():
            assert got[:2] == [stop_all(1), first]
            assert [each[3:] for each in got if each[0] == first[0]] == sprays
        await desk.hear_nothing_of("zone")


async def test_a_valve_that_sticks_is_left_out_until_it_comes_loose(row: Row) -> None:
    row.radio.set_faults(Faults(stuck_slots=frozenset({0})), DEVICE)
    await row.desk.cue("c", duration_ms=9000)
    await until(lambda: len(row.radio.open_slots()) == 3)
    await row.desk.ask("stop")
    await changed(row.desk, "seat-stuck")
    told = row.radio.received()[DEVICE]
    assert len([command for command in told if command[0] == 2]) == 3
    seats = await seats_of(row.desk)
    assert [seat.get("stuck") for seat in seats.values()] == [True, None, None]
    assert await remarks(row.house) == [
        "zone A: the dispenser of A-1-1 does not close",
        "zone A: the dispenser of A-1-1 reports a fault",
    ]
    answer = await row.desk.cue("d", "forest", mix=True, report=True)
    assert (answer["targets"], answer["skipped"]) == (2, {"stuck": 1})
    assert (await row.desk.hear("report"))["written"] == 2
    row.radio.set_faults(Faults(), DEVICE)
    await changed(row.desk, "seat-loose")
    assert await remarks(row.house) == []
    assert row.radio.received()[DEVICE] == told
    assert (await row.desk.cue("e", "forest", {"seats": ["A-1-1"]}, mix=True))["targets"] == 1


async def test_a_stop_that_is_lost_is_told_again(row: Row) -> None:
    await row.desk.cue("c", duration_ms=9000)
    await until(lambda: len(row.radio.open_slots()) == 3)
    row.radio.set_faults(Faults(lose_writes=1), DEVICE)
    await row.desk.ask("stop")
    await until(lambda: not row.radio.open_slots())
    assert row.radio.received()[DEVICE][2:] == [stop(4, slot=0)]
    await row.desk.hear_nothing_of("zone")


async def test_a_battery_that_runs_low_is_told(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    assert (await seats_of(row.desk))["A-1-1"]["device"]["battery_percent"] == 100
    for percent in (16, 15, 14):
        row.radio.set_faults(Faults(battery_percent=percent), DEVICE)
        await until_told(row.desk, "A-1-1", battery_percent=percent)
        low = ["zone A: the dispenser of A-1-1 has a low battery"] if percent < 16 else []
        assert await remarks(row.house) == low
    assert [line for line in caplog.messages if "battery" in line] == [
        f"A-1-1 ({DEVICE}): the battery is down to 15 %"
    ]


async def test_a_device_that_answers_late_sprays_and_stops_in_time(row: Row) -> None:
    row.radio.set_faults(Faults(late_s=1), DEVICE)
    began = trio.current_time()
    await row.desk.cue("c", duration_ms=9000, report=True)
    assert (await row.desk.hear("report"))["written"] == 3
    await until(lambda: len(row.radio.open_slots()) == 3)
    await row.desk.ask("stop")
    await until(lambda: not row.radio.open_slots())
    assert trio.current_time() - began < 1  # in which the device has not answered even once
    await row.desk.hear_nothing_of("zone")
    row.radio.set_faults(Faults(), DEVICE)


async def test_a_clone_without_the_key_is_never_told_to_spray_and_the_genuine_device_comes_back(
    open_house: OpenHouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    radio, roxy = Airwaves(), one_row(tmp_path, devices={"A-1-1": "SD-0001"})
    secrets = roxy.with_suffix(".secrets.toml")
    secrets.write_text(f'[keys]\nSD-0001 = "{KEY}"\n', encoding="utf-8")
    secrets.chmod(0o600)
    async with (
        open_house(airwaves=radio, theatre=roxy) as house,
        watch(house.gateway_url) as desk,
    ):
        radio.add_clone("SD-0001")
        radio.set_faults(Faults(absent=True), "SD-0001")
        await changed(desk, "seat-offline")
        await changed(desk, "seat-impostor")
        clone = radio.peripherals[CLONE]
        await until(lambda: clone.dispenser.commands > 1 and not clone.is_linked)
        radio.set_faults(Faults(absent=True), CLONE)
        answer = await desk.cue("c", report=True)
        assert (answer["targets"], answer["skipped"]) == (2, {"offline": 1})
        assert (await desk.hear("report"))["written"] == 2
        said = await remarks(house)
        assert "zone A: the dispenser of A-1-1 cannot prove who it is" in said
        problem = (await seats_of(desk))["A-1-1"]["device"]["problem"]
        assert problem.startswith("SD-0001 could not prove that it has its key")
        radio.set_faults(Faults(), "SD-0001")
        await changed(desk, "seat-online")
        assert await remarks(house) == []
        assert {command[0] for command in radio.received()[CLONE]} == {3}
        assert (await desk.cue("d", "forest", FIRST))["targets"] == 1
        await until(radio.open_slots)
    assert KEY not in caplog.text


async def test_a_zone_that_crashes_comes_back_with_its_seats_as_their_devices_are(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    row.radio.set_faults(Faults(stuck_slots=frozenset({0})), DEVICE)
    await row.desk.cue("c", duration_ms=9000)
    await until(lambda: len(row.radio.open_slots()) == 3)
    await row.desk.ask("stop", to=FIRST)
    await changed(row.desk, "seat-stuck")
    row.radio.set_faults(Faults(absent=True), "SIM-A-1-2")
    await changed(row.desk, "seat-offline", "A-1-2")
    with monkeypatch.context() as patch:
        patch.setattr(row.house.server.linked[ZoneId("A")], "spray", broken)
        refused = await row.desk.cue("d", "forest", mix=True)
    assert (refused["code"], refused["retryable"]) == ("internal", True)
    event = await row.desk.hear("zone")
    assert event["change"] == "restarted"
    await until(lambda: "SIM-A-1-3" not in row.radio.open_slots())
    answer = await row.desk.cue("e", "forest", mix=True)
    assert (answer["targets"], answer["skipped"]) == (1, {"offline": 1, "stuck": 1})
    row.radio.set_faults(Faults(), DEVICE, "SIM-A-1-2")
    await changed(row.desk, "seat-loose")
    await changed(row.desk, "seat-online", "A-1-2")
    assert (await row.desk.cue("f", mix=True))["targets"] == 3

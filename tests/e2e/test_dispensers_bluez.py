"""`scentrt serve` with devices behind BlueZ, as in a theatre: only that BlueZ is simulated."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from scentrt.entrypoints.cli import main
from simulators.ble.bluez.process import SimulatedBluez, simulated_bluez
from tests.browser import browse
from tests.conftest import OpenHouse
from tests.e2e.airwaves import seats_of, until_online, watch
from tests.e2e.server_process import FREE_PORTS, serve
from tests.e2e.speaking import enter, until
from tests.e2e.theatres import one_row, theatre
from tests.integration.orders import spray, stop_all

ADAPTERS = ["hci0", "hci1", "hci2", "hci3"]
SCENTS = ["sea-breeze", "nightclub", "jungle", "forest", "busy-street"]
WHOLE_AGAIN_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def bluez() -> Iterator[SimulatedBluez]:
    """Run one simulator for all tests: 24 devices, which four adapters of seven links hear."""
    with simulated_bluez("--devices", "24", "--adapters", "4", "--links", "7") as simulated:
        yield simulated


def received(bluez: SimulatedBluez) -> list[list[bytes]]:
    return [[command.value for command in device.received] for device in bluez.report()]


@pytest.mark.needs("dbus-daemon", "dbus")
async def test_24_devices_on_four_adapters_are_sprayed_lost_found_again_and_left_closed(
    bluez: SimulatedBluez, tmp_path: Path
) -> None:
    names = [d.serial if n % 2 else d.address for n, d in enumerate(bluez.devices)]
    seats = [f"A-{row}-{number}" for row in range(1, 5) for number in range(1, 7)]
    devices = dict(zip(seats, names, strict=True))
    theatre(tmp_path, A={"rows": 4, "seats_per_row": 6, "slots": SCENTS, "devices": devices})
    adapters = {"SCENTRT_BLUETOOTH__ADAPTERS": json.dumps(ADAPTERS)}
    env = {**bluez.environment, **adapters}
    async with serve(tmp_path, "--theatre", "theatre.toml", env=env, simulated=False) as server:
        async with watch(server.gateway_url) as desk:
            await desk.cue("c", "jungle", duration_ms=9000, report=True)
            report = await desk.hear("report")
            assert (report["written"], report["failed"], report["expired"]) == (24, 0, 0)
            told = [stop_all(1), spray(2, slot=2, duration_ms=9000, intensity=128)]
            await until(lambda: received(bluez) == [told] * 24)
            used = [device.adapter for device in bluez.report()]
            assert [used.count(f"/org/bluez/{name}") for name in ADAPTERS] == [6, 6, 6, 6]

            bluez.drop()
            dropped = trio.current_time()
            for _ in seats:
                await desk.hear_until("zone", change="seat-offline")
            await until_online(desk)
            assert trio.current_time() - dropped < WHOLE_AGAIN_WITHIN_S
            assert [commands[:3] for commands in received(bluez)] == [[*told, stop_all(3)]] * 24

            await desk.cue("d", "forest", mix=True, duration_ms=9000, report=True)
            assert (await desk.hear("report"))["written"] == 24
            server.process.send_signal(signal.SIGTERM)
            assert await desk.hear_the_end() == 1001
        await server.stop()
    for device in bluez.report():
        assert device.adapter is None
        assert device.received[-1].value[0] == 3
        assert [opening.slot for opening in device.openings] == [2, 3]
        assert all(opening.closed_at - opening.opened_at < 9 for opening in device.openings)


@pytest.mark.needs("dbus-daemon", "dbus")
async def test_an_adapter_that_is_not_there_costs_its_seats_only(
    bluez: SimulatedBluez, open_house: OpenHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bluez.environment.items():
        monkeypatch.setenv(name, value)
    devices = {f"A-1-{n}": f"SD-000{n}" for n in range(1, 5)}
    file = one_row(tmp_path, seats=4, devices=devices)
    async with (
        open_house(simulate=False, theatre=file, bluetooth={"adapters": ["hci0", "hci9"]}) as house,
        enter(house.gateway_url, "operator") as desk,
        browse(house.http_url) as http,
    ):
        await desk.ask("subscribe", events=["zone"])
        await until_online(desk, "A-1-1", "A-1-3")
        answer = await desk.cue("c", report=True)
        assert (answer["targets"], answer["skipped"]) == (2, {"offline": 2})
        assert (await desk.hear("report"))["written"] == 2
        problems = [seat["device"]["problem"] for seat in (await seats_of(desk)).values()]
        assert problems[::2] == [None, None]
        assert all("the Bluetooth adapter hci9 is not there" in said for said in problems[1::2])
        ready = (await http.get("/readyz")).json()
        assert ready["remarks"] == ["zone A: the dispenser of A-1-2, A-1-4 cannot be reached"]


def test_too_few_adapters_are_refused_with_how_many_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one_row(tmp_path, seats=24, devices={f"A-1-{n}": f"SD-{n:04}" for n in range(1, 25)})
    monkeypatch.setenv("SCENTRT_BLUETOOTH__ADAPTERS", '["hci0", "hci1"]')
    command = ["scentrt", "serve", *FREE_PORTS, "--theatre", "theatre.toml"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 2
    assert capsys.readouterr().err == (
        "scentrt: theatre.toml: devices: 24 dispensers and only 14 links on 2 Bluetooth adapters: "
        "add 2 adapters, or spread the theatre over 2 nodes\n"
    )

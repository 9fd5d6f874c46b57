"""`scentrt devices` as its users start it, with a simulated BlueZ for the system's own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from scentrt.entrypoints.cli import app
from scentrt.errors import ConfigError
from scentrt.theatre_file import load_theatre
from simulators.ble.bluez.process import SimulatedBluez, simulated_bluez
from simulators.ble.profile import Op, read_command
from tests.e2e.server_process import serve

pytestmark = pytest.mark.needs("dbus-daemon", "dbus")

ROXY = """\
name = "Roxy"
[[zones]]
id = "A"
rows = 1
seats_per_row = 4
slots = ["sea-breeze", "pine"]
"""
WITH_DEVICES = ROXY + '[zones.devices]\nA-1-1 = "SD-0002"\nA-1-2 = "C4:5C:E7:00:00:01"\n'


@pytest.fixture(scope="module")
def bluez() -> Iterator[SimulatedBluez]:
    with simulated_bluez("--devices", "3") as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def folder(bluez: SimulatedBluez, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, where the simulated BlueZ is the system's."""
    for name, value in bluez.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def devices(*command: str, answers: str = "") -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed."""
    options = ["devices", *command, "--theatre", "roxy.toml"]
    done = CliRunner().invoke(app, options, input=answers, env={"COLUMNS": "200"})
    error = done.exception
    while isinstance(error, BaseExceptionGroup):
        [error] = error.exceptions
    if isinstance(error, ConfigError):  # which `main` prints
        return 2, str(error)
    assert isinstance(error, SystemExit | None)
    return done.exit_code, done.output


def theatre(folder: Path, text: str) -> None:
    (folder / "roxy.toml").write_text(text, encoding="utf-8")


def puffs(bluez: SimulatedBluez, serial: str) -> list[tuple[int, float, float]]:
    """Return slot, intensity and duration of the sprays that a device was told."""
    [report] = bluez.report(serial)
    commands = [read_command(received.value) for received in report.received]
    return [
        (command.slot, round(command.intensity, 2), command.duration_s)
        for command in commands
        if command.op is Op.SPRAY
    ]


def test_a_scan_lists_the_dispensers_and_whose_seat_each_is(
    bluez: SimulatedBluez, folder: Path
) -> None:
    theatre(folder, WITH_DEVICES + 'A-1-3 = "SD-0009"\n')
    code, printed = devices("scan", "--for", "0.5")
    assert (code, "3 dispensers heard" in printed) == (0, True)
    rows = [line.split() for line in printed.splitlines() if "SD-000" in line]
    assert sorted((row[1], row[3], row[7]) for row in rows) == [
        ("SD-0001", "C4:5C:E7:00:00:01", "A-1-2"),
        ("SD-0002", "C4:5C:E7:00:00:02", "A-1-1"),
        ("SD-0003", "C4:5C:E7:00:00:03", "-"),
    ]
    assert "Not heard: the devices of A-1-3." in printed


def test_devices_are_given_to_the_seats_at_which_somebody_has_smelled_them(
    bluez: SimulatedBluez, folder: Path
) -> None:
    theatre(folder, ROXY + '[zones.devices]\nA-1-1 = "SD-0002"\n')
    before = [len(puffs(bluez, serial)) for serial in ("SD-0001", "SD-0002", "SD-0003")]
    code, printed = devices("assign", "--for", "0.5", answers="again\nA-1-1\nA-9-9\nA-1-3\n\n")
    assert code == 0, printed
    assert "'A-1-1' is no seat without a device" in printed
    assert "2 assigned; 1 seats have no device yet." in printed
    [zone] = load_theatre(folder / "roxy.toml").zones
    given = {seat: device.name for seat, device in zone.devices.items()}
    assert given == {"A-1-1": "SD-0002", "A-1-3": "SD-0001", "A-1-2": "SD-0003"}
    after = [len(puffs(bluez, serial)) for serial in ("SD-0001", "SD-0002", "SD-0003")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 0, 1]


def test_who_quits_keeps_what_was_assigned_before(bluez: SimulatedBluez, folder: Path) -> None:
    theatre(folder, ROXY)
    code, printed = devices("assign", "--for", "0.5", answers="skip\n\nquit\n")
    assert (code, "1 assigned; 3 seats have no device yet." in printed) == (0, True)
    [zone] = load_theatre(folder / "roxy.toml").zones
    assert [device.name for device in zone.devices.values()] == ["SD-0002"]


def test_whoever_is_there_no_more_ends_the_walk(bluez: SimulatedBluez, folder: Path) -> None:
    theatre(folder, ROXY)
    code, printed = devices("assign", "--for", "0.5")
    assert (code, "0 assigned; 4 seats have no device yet." in printed) == (0, True)


async def test_in_a_panic_no_device_puffs_to_be_assigned(
    bluez: SimulatedBluez, folder: Path
) -> None:
    theatre(folder, ROXY)
    before = [len(puffs(bluez, device.serial)) for device in bluez.devices]
    async with serve(folder, "--theatre", "roxy.toml") as server:
        async with server.operator() as operator:
            await operator.request({"type": "panic"})
        code, printed = await trio.to_thread.run_sync(devices, "assign", "--for", "0.5")
        assert (code, "is in use by process" in printed) == (2, True)
        await server.stop()
    code, printed = await trio.to_thread.run_sync(
        partial(devices, "assign", "--for", "0.5", answers="skip\nskip\nskip\n")
    )
    assert printed.count("did not puff: the house is in panic") == 3
    assert [len(puffs(bluez, device.serial)) for device in bluez.devices] == before


def test_a_seat_puffs_without_a_server_and_within_its_limits(
    bluez: SimulatedBluez, folder: Path
) -> None:
    theatre(folder, WITH_DEVICES)
    (folder / "scentrt.toml").write_text("[limits]\ndose_per_minute_s = 0.4\n", encoding="utf-8")
    before = len(puffs(bluez, "SD-0002"))
    code, printed = devices("puff", "A-1-1", "pine")
    assert (code, printed) == (0, "A-1-1 puffed pine: 0.5 s at 50%.\n")
    assert puffs(bluez, "SD-0002")[before:] == [(1, 0.5, 0.5)]
    code, printed = devices("puff", "A-1-1", "pine")
    assert (code, "A-1-1 did not puff: the seat has had as much as it may have" in printed) == (
        1,
        True,
    )
    assert len(puffs(bluez, "SD-0002")) == before + 1


async def test_a_seat_puffs_through_the_server_that_runs(
    bluez: SimulatedBluez, folder: Path
) -> None:
    theatre(folder, WITH_DEVICES)
    before = len(puffs(bluez, "SD-0001"))
    puff = partial(devices, "puff", "A-1-2")
    options = ("--theatre", "roxy.toml")
    async with serve(folder, *options, env=bluez.environment, simulated=False) as server:
        address = server.gateway_url.removeprefix("ws://").rstrip("/")
        async with server.operator() as operator:
            await operator.subscribe("zone")
            while (await server.get("/readyz")).json()["remarks"]:
                await anext(operator.events())
        code, printed = await trio.to_thread.run_sync(puff, "sea-breeze", "--gateway", address)
        assert (code, printed) == (0, "A-1-2 puffed sea-breeze: 0.5 s at 50%.\n")
        assert puffs(bluez, "SD-0001")[before:] == [(0, 0.5, 0.5)]
        code, printed = await trio.to_thread.run_sync(puff, "pine", "--gateway", "127.0.0.1:1")
        assert code == 2
        assert f"is in use by process {server.process.pid}" in printed
        assert "nor does that server answer at 127.0.0.1:1" in printed
        await server.stop()


async def test_a_puff_of_another_database_takes_no_device_from_the_server_that_runs(
    bluez: SimulatedBluez, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scentrt.entrypoints.devices.CONNECTED_WITHIN_S", 1.0)
    theatre(folder, WITH_DEVICES)
    before = len(puffs(bluez, "SD-0001"))
    puff = partial(devices, "puff", "A-1-2", "pine", "--db", "other.db")
    options = ("--theatre", "roxy.toml")
    async with serve(folder, *options, env=bluez.environment, simulated=False) as server:
        async with server.operator() as operator:
            await operator.subscribe("zone")
            while (await server.get("/readyz")).json()["remarks"]:
                await anext(operator.events())
        code, printed = await trio.to_thread.run_sync(puff)
        assert (code, "did not connect within 1 s" in printed) == (2, True), printed
        assert len(puffs(bluez, "SD-0001")) == before
        assert (await server.get("/readyz")).json()["remarks"] == []
        await server.stop()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("puff", "A-1-9", "pine"), "SEAT: there is no seat 'A-1-9'; the last one is 'A-1-4'"),
        (("puff", "A-1-1", "tar"), "SCENT: zone A carries sea-breeze, pine, not 'tar'"),
        (("puff", "A-1-4", "pine"), "devices: 'A-1-4' has no device; give it one with"),
    ],
)
def test_what_cannot_puff_is_named_in_a_sentence(
    bluez: SimulatedBluez, folder: Path, command: tuple[str, ...], sentence: str
) -> None:
    theatre(folder, WITH_DEVICES)
    code, printed = devices(*command)
    assert (code, sentence in printed) == (2, True), printed

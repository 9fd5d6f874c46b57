"""The doctor on a real machine: real sockets, files and servers, and a simulated BlueZ or none."""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from scentrt.checkup.examination import Options, examine
from scentrt.checkup.findings import Finding
from scentrt.checkup.machine import (
    measure_naps,
    read_clock,
    scentrt_answers,
    try_address,
)
from simulators.ble.bluez.process import simulated_bluez
from tests.conftest import OpenHouse
from tests.wakeful_clock import run

EIGHT = """\
name = "Roxy"
[[zones]]
id = "A"
rows = 2
seats_per_row = 4
slots = ["pine"]
[zones.devices]
"""
EIGHT += "\n".join(f'A-{row}-{n} = "D-{row}-{n}"' for row in (1, 2) for n in (1, 2, 3, 4))


@pytest.fixture(autouse=True)
def _in_a_folder_without_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing that is set here, nor any Bluetooth of this machine, be found."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SCENTRT_") or name == "API_HOST":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    (tmp_path / "roxy.toml").write_text(EIGHT, encoding="utf-8")


def options(**given: str) -> Options:
    """Return options with free ports, where none are given."""
    free = {"gateway": "127.0.0.1:0", "http": "127.0.0.1:0"}
    return Options(Path(given.pop("theatre", "roxy.toml")), **{**free, **given})


def verdicts(options: Options) -> dict[str, str]:
    """Return by subject how things are, but for the clock and timer of the machine at hand."""
    return without_machine(run(partial(examine, options)))


def verdicts_in_time(options: Options) -> dict[str, str]:
    """Do as `verdicts`, in four seconds of a machine that is not paused meanwhile."""

    async def examine_in_time() -> list[Finding]:
        with trio.fail_after(4):
            return list(await examine(options))

    return without_machine(run(examine_in_time))


def without_machine(findings: Iterable[Finding]) -> dict[str, str]:
    found = {each.subject: str(each.verdict) for each in findings}
    del found["clock"], found["timer"]
    return found


def finding(subject: str, options: Options) -> Finding:
    """Return what is found of one thing."""
    findings = run(partial(examine, options))
    [found] = [each for each in findings if each.subject == subject]
    return found


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, int]]:
    """Listen somewhere, and take nobody in."""
    with socket.create_server((host, 0)) as server:
        yield server, server.getsockname()[1]


def let_go(pipe: str) -> None:
    """Open a pipe for a moment, so that a thread that waits for it can end."""
    os.close(os.open(pipe, os.O_RDWR))


@pytest.mark.needs("dbus-daemon", "dbus")
class TestBluetooth:
    @pytest.mark.parametrize(
        ("adapters", "settings", "expected"),
        [
            ("0", {}, {"bluetooth": "green", "adapters": "red", "links": "red"}),
            ("1", {}, {"bluetooth": "green", "hci0": "green", "links": "red"}),
            ("1", {"LINKS": "8"}, {"bluetooth": "green", "hci0": "green", "links": "green"}),
            (
                "2",
                {"ADAPTERS": '["hci0", "hci1"]', "LINKS": "4"},
                {"bluetooth": "green", "hci0": "green", "hci1": "green", "links": "green"},
            ),
            (
                "1",
                {"ADAPTERS": '["hci0", "hci7"]', "LINKS": "8"},
                {"bluetooth": "green", "hci0": "green", "hci7": "red", "links": "green"},
            ),
        ],
    )
    def test_eight_devices_want_adapters_that_are_there_and_links_enough(
        self,
        monkeypatch: pytest.MonkeyPatch,
        adapters: str,
        settings: dict[str, str],
        expected: dict[str, str],
    ) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"SCENTRT_BLUETOOTH__{name}", value)
        with simulated_bluez("--adapters", adapters, "--devices", "1") as bluez:
            for name, value in bluez.environment.items():
                monkeypatch.setenv(name, value)
            found = verdicts(options())
        assert {s: v for s, v in found.items() if s in expected} == expected
        others = {"theatre", "settings", "gateway", "http", "database", "disk"}
        assert found.keys() == expected.keys() | others


class TestWithoutBluetooth:
    def test_a_theatre_with_devices_cannot_run_and_one_without_can(self) -> None:
        assert (finding("bluetooth", options())).verdict == "red"
        Path("scentrt.toml").write_text("simulate = true", encoding="utf-8")
        assert (finding("bluetooth", options())).verdict == "yellow"
        assert (finding("theatre", options())).verdict == "yellow"

    def test_where_the_theatre_is_not_known_bluetooth_may_be_needed(self) -> None:
        found = verdicts(options(theatre="none.toml"))
        assert (found["theatre"], found["bluetooth"]) == ("red", "red")


class TestSettings:
    def test_settings_that_do_not_load_are_one_red_line_and_the_rest_is_looked_at(
        self,
    ) -> None:
        Path("scentrt.toml").write_text("[gateway]\nprot = 1", encoding="utf-8")
        assert verdicts(options()) == {"settings": "red", "bluetooth": "red"}
        found = finding("settings", options())
        assert found.fix == "gateway.prot: there is no such setting; did you mean 'port'?"

    def test_a_variable_that_means_nothing_is_yellow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCENTRT_GATWAY__PORT", "1")
        findings = run(partial(examine, options()))
        assert [each.verdict for each in findings if each.subject == "settings"] == [
            "yellow",
            "green",
        ]

    def test_a_door_that_anybody_could_enter_is_red(self) -> None:
        found = finding("settings", options(gateway="0.0.0.0:0"))
        assert found.verdict == "red"
        assert "scentrt token new --role engine" in found.fix

    def test_an_option_that_makes_no_sense_is_red(self) -> None:
        found = finding("settings", options(http="nonsense"))
        assert found.fix.startswith("--http: expected HOST:PORT")


class TestSecrets:
    def test_those_beside_the_theatre_are_their_owners_only(self) -> None:
        assert "secrets" not in verdicts(options())
        path = Path("roxy.secrets.toml")
        path.write_text(f'[keys]\nD-1-1 = "{"0f" * 16}"\n', encoding="utf-8")
        path.chmod(0o600)
        found = finding("secrets", options())
        assert (found.verdict, found.found) == ("green", f"{path}: 1 of 8 devices have a key")
        path.chmod(0o644)
        found = finding("secrets", options())
        assert (found.verdict, "chmod 600" in found.fix) == ("red", True)

    def test_a_key_of_a_device_that_is_not_there_is_yellow(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = Path("keys.toml")
        path.write_text(f'[keys]\nX-1 = "{"0f" * 16}"\n', encoding="utf-8")
        path.chmod(0o600)
        monkeypatch.setenv("SCENTRT_BLUETOOTH__SECRETS", str(path))
        findings = run(partial(examine, options()))
        said = [(each.verdict, each.found) for each in findings if each.subject == "secrets"]
        assert said == [
            ("yellow", "keys.toml: keys: no seat has a device 'X-1'; is that a spare?"),
            ("green", "keys.toml: 0 of 8 devices have a key"),
        ]


class TestTheatre:
    def test_a_device_that_cannot_be_used_is_a_yellow_line_of_its_own(self) -> None:
        Path("roxy.toml").write_text(EIGHT + '\nA-9-9 = "D-9-9"\n', encoding="utf-8")
        [green, yellow] = [
            each for each in run(partial(examine, options())) if each.subject == "theatre"
        ]
        assert (green.verdict, yellow.verdict) == ("green", "yellow")
        assert yellow.found.startswith("roxy.toml line 16: there is no seat 'A-9-9'; ")


class TestAddresses:
    async def test_a_running_server_is_green_with_its_database_and_yellow_with_another(
        self, open_house: OpenHouse, tmp_path: Path
    ) -> None:
        async with open_house() as house:
            there = {
                "gateway": urlsplit(house.gateway_url).netloc,
                "http": urlsplit(house.http_url).netloc,
            }
            same = await examine(options(db=str(tmp_path / "scentrt.db"), **there))
            shown = {each.subject: (each.verdict, each.found) for each in same}
            assert shown["gateway"] == ("green", f"a server runs on {there['gateway']}")
            assert shown["http"] == ("green", f"a server runs on {there['http']}")
            assert shown["database"][1].endswith(f"with process id {os.getpid()}")
            assert (shown["database"][0], shown["doses"][0]) == ("green", "green")

            other = await examine(options(db="other.db", **there))
            doors = [each for each in other if each.subject in there]
            assert [each.verdict for each in doors] == ["yellow", "yellow"]

    async def test_a_server_that_wants_a_token_is_known_by_asking_for_it(
        self, open_house: OpenHouse
    ) -> None:
        operator = {"role": "operator", "sha256": "0" * 64}
        async with open_house(http={"host": "0.0.0.0"}, tokens=[operator]) as house:
            port = urlsplit(house.http_url).port or 0
            assert await trio.to_thread.run_sync(scentrt_answers, "0.0.0.0", port)

    def test_another_program_is_red_also_one_that_says_nothing(self) -> None:
        with listening() as (_, gateway), listening() as (_, http):
            found = verdicts(options(gateway=f":{gateway}", http=f":{http}"))
        assert (found["gateway"], found["http"]) == ("red", "red")

    def test_trying_an_address_leaves_it_free(self) -> None:
        with listening() as (_, port):
            taken = try_address("http", "127.0.0.1", port)
            assert (taken.in_use, taken.problem) == (True, "Address already in use")
        for _ in range(2):
            assert not try_address("http", "127.0.0.1", port).problem
        socket.create_server(("127.0.0.1", port)).close()

    @pytest.mark.parametrize("host", ["192.0.2.1", "two..dots", "x" * 64])
    def test_what_this_machine_is_not_called_cannot_be_listened_on(self, host: str) -> None:
        facts = try_address("http", host, 0)
        assert facts.problem
        assert not facts.in_use

    @pytest.mark.skipif(not socket.has_ipv6, reason="this Python knows no IPv6")
    def test_ipv6_is_an_address_as_well(self) -> None:
        assert not try_address("http", "::1", 0).problem


class TestWhateverHangs:
    def test_it_is_a_finding_within_four_seconds(self, tmp_path: Path) -> None:
        os.mkfifo("pipe.db")
        with socket.socket(socket.AF_UNIX) as bus, listening() as (_, port):
            bus.bind(str(tmp_path / "no-bus"))
            bus.listen()
            found = verdicts_in_time(options(db="pipe.db", http=f":{port}"))
        assert found["bluetooth"] == found["http"] == found["database"] == "red"
        assert found["gateway"] == "green"
        let_go("pipe.db")

    def test_a_theatre_file_that_never_comes_does_not_hold_up_the_rest(self) -> None:
        os.mkfifo("theatre")
        found = verdicts_in_time(options(theatre="theatre"))
        assert found == {"settings": "red", "bluetooth": "red"}
        let_go("theatre")


class TestTime:
    def test_the_clock_is_that_of_the_system(self) -> None:
        assert abs(read_clock().now_s - time.time()) < 60

    async def test_naps_end_after_they_were_due(self) -> None:
        late_ms = await measure_naps()
        assert late_ms
        assert min(late_ms) >= 0

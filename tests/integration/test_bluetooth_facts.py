"""What is seen of a machine's Bluetooth, over a real D-Bus with a simulated BlueZ or without."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bleak import BleakClient
from dbus_fast.aio import MessageBus

from scentrt.adapters.dispensers import bluetooth
from scentrt.adapters.dispensers.bluetooth import (
    AdapterFacts,
    BluetoothUnreachable,
    LinkedDevice,
    Obstacle,
    read_bluetooth,
)
from simulators.ble.bluez.bus import private_bus
from tests.integration.bluez_radio import find, simulated_radio
from tests.integration.orders import until

FORBIDDING = '<policy context="default"><deny send_destination="org.bluez"/></policy>'

HCI0 = AdapterFacts("hci0", "00:5C:E7:00:00:00", powered=True)
HCI1 = AdapterFacts("hci1", "00:5C:E7:00:00:01", powered=True)


@pytest.fixture
def lead_to(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return what sets the environment, in which nothing leads anywhere yet."""
    monkeypatch.delenv("BLEAK_DBUS_AUTH_UID", raising=False)
    return monkeypatch


def obstacle() -> Obstacle:
    """Return what stands between here and BlueZ."""
    with pytest.raises(BluetoothUnreachable) as unreachable:
        asyncio.run(read_bluetooth())
    assert unreachable.value.detail
    return unreachable.value.obstacle


def held() -> tuple[int, int]:
    """Return how many tasks this loop has, and how many files this process has open."""
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def deaf_bus(folder: Path) -> Iterator[str]:
    """Listen where a bus should be, and never say a word."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "bus"))
        listening.listen()
        yield f"unix:path={folder / 'bus'}"


@pytest.mark.needs("dbus-daemon", "dbus")
class TestWithABus:
    @pytest.mark.parametrize("there", [(), (HCI0,), (HCI0, HCI1)])
    def test_every_adapter_is_seen(self, there: tuple[AdapterFacts, ...]) -> None:
        async def scenario() -> None:
            facts = await read_bluetooth()
            assert (facts.backend, facts.adapters) == ("bluez_dbus", there)

        with simulated_radio("--adapters", str(len(there)), "--devices", "1") as radio:
            radio.play(scenario)

    def test_the_tenth_adapter_comes_after_the_second(self) -> None:
        async def scenario() -> None:
            facts = await read_bluetooth()
            assert facts.adapters is not None
            assert [each.name for each in facts.adapters[:3]] == ["hci0", "hci1", "hci2"]
            assert facts.adapters[-1].name == "hci10"

        with simulated_radio("--adapters", "11", "--devices", "0") as radio:
            radio.play(scenario)

    def test_a_link_is_seen_at_its_adapter_for_as_long_as_it_lasts(self) -> None:
        async def linked() -> list[tuple[LinkedDevice, ...]]:
            return [each.linked for each in (await read_bluetooth()).adapters or ()]

        with simulated_radio("--adapters", "2", "--devices", "2") as radio:
            device = radio.take()

            async def scenario() -> None:
                async with BleakClient(await find(device, "hci1")):
                    assert await linked() == [(), (LinkedDevice(device.address, device.serial),)]
                assert await linked() == [(), ()]

            radio.play(scenario)

    def test_looking_leaves_no_connection_to_the_bus(self) -> None:
        with simulated_radio("--devices", "0") as radio:

            async def scenario() -> None:
                before = held()
                await read_bluetooth()
                await until(lambda: held() == before)

            radio.play(scenario)

    def test_bluez_that_does_not_run_is_not_there_and_not_started(
        self, tmp_path: Path, lead_to: pytest.MonkeyPatch
    ) -> None:
        started = tmp_path / "started"
        (tmp_path / "org.bluez.service").write_text(
            f"[D-BUS Service]\nName=org.bluez\nExec=/usr/bin/touch {started}\n", encoding="utf-8"
        )
        with private_bus(f"<servicedir>{tmp_path}</servicedir>") as address:
            lead_to.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            assert obstacle() is Obstacle.NOT_RUNNING
        assert not started.exists()

    def test_bluez_may_be_forbidden(self, lead_to: pytest.MonkeyPatch) -> None:
        async def ask(address: str) -> None:
            bluez = await MessageBus(bus_address=address).connect()
            await bluez.request_name("org.bluez")
            with pytest.raises(BluetoothUnreachable) as unreachable:
                await read_bluetooth()
            assert unreachable.value.obstacle is Obstacle.FORBIDDEN
            bluez.disconnect()

        with private_bus(FORBIDDING) as address:
            lead_to.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            asyncio.run(ask(address))

    def test_the_bus_may_shut_this_user_out(self, lead_to: pytest.MonkeyPatch) -> None:
        with private_bus() as address:
            lead_to.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            lead_to.setenv("BLEAK_DBUS_AUTH_UID", "4242")  # bleak's, which we are to respect
            assert obstacle() is Obstacle.SHUT_OUT


class TestWithoutABus:
    @pytest.mark.parametrize(
        ("address", "reason"),
        [
            ("nonsense", Obstacle.BAD_ADDRESS),
            ("carrier-pigeon:coop=1", Obstacle.BAD_ADDRESS),
            ("unix:path=/nowhere/bus", Obstacle.NO_BUS),
        ],
    )
    def test_it_is_said_what_is_wrong_with_the_address(
        self, lead_to: pytest.MonkeyPatch, address: str, reason: Obstacle
    ) -> None:
        lead_to.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        with pytest.raises(BluetoothUnreachable, match=address) as unreachable:
            asyncio.run(read_bluetooth())
        assert unreachable.value.obstacle is reason

    def test_a_bus_that_says_nothing_is_not_waited_for(
        self, tmp_path: Path, lead_to: pytest.MonkeyPatch
    ) -> None:
        lead_to.setattr(bluetooth, "ANSWERS_WITHIN_S", 0.05)
        with deaf_bus(tmp_path) as address:
            lead_to.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            assert obstacle() is Obstacle.SILENT

"""How devices on Bluetooth LE are left when the server ends: closed, and in time."""

import pytest
import trio

from simulators.ble.peripheral import Faults
from tests.conftest import OpenHouse
from tests.e2e.airwaves import Airwaves, watch
from tests.e2e.speaking import enter, until


async def test_at_the_end_every_valve_is_closed_by_a_command_in_time_whatever_hangs(
    open_house: OpenHouse,
) -> None:
    radio, ended = Airwaves(), trio.Event()

    async def linger(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with watch(url) as desk:
            await desk.cue("c", duration_ms=10_000)
            await until(lambda: len(radio.open_slots()) == 24)
            desk.line.hold()
            task_status.started()
            await ended.wait()
            desk.line.let_go()
            assert await desk.hear_the_end() == 1001

    async with trio.open_nursery() as outside:
        with trio.CancelScope() as patience:
            async with open_house(airwaves=radio) as house:
                await outside.start(linger, house.gateway_url)
                radio.set_faults(Faults(late_s=10), "SIM-A-1-1", "SIM-A-1-2")
                radio.set_faults(Faults(absent=True), "SIM-A-1-3")
                patience.deadline = trio.current_time() + 2
        assert not patience.cancelled_caught
        ended.set()

    received, openings = radio.received(), radio.openings()
    received.pop("SIM-A-1-3")  # which cannot be reached, and closes by itself
    assert len(received) == 23
    for name, commands in received.items():
        assert commands[-1][0] == 3
        (opening,) = openings[name]
        assert opening.closed_at - opening.opened_at < 9  # by itself, it closes after ten


async def test_it_ends_at_once_while_devices_are_still_being_connected(
    open_house: OpenHouse, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(airwaves=Airwaves()) as house:
        async with enter(house.gateway_url) as game:
            await game.ask("subscribe", events=["zone"])
            for _ in range(4):
                await game.hear("zone")
        leaving = trio.current_time()
    assert trio.current_time() - leaving < 30
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []

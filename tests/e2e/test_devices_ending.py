"""How devices on Bluetooth LE are left when the server ends: closed, and in time."""

from pathlib import Path

import trio

from tests.conftest import OpenHouse
from tests.e2e.airwaves import Airwaves, watch
from tests.e2e.theatres import one_row


async def test_who_lingers_at_the_door_holds_up_neither_the_devices_nor_the_end(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio, ended = Airwaves(), trio.Event()

    async def linger(url: str, task_status: trio.TaskStatus[None]) -> None:
        async with watch(url) as desk:
            await desk.cue("c", duration_ms=10_000)
            desk.line.hold()
            task_status.started()
            await ended.wait()
            desk.line.let_go()
            assert await desk.hear_the_end() == 1001

    async with trio.open_nursery() as outside:
        with trio.CancelScope() as patience:
            async with open_house(airwaves=radio, theatre=one_row(tmp_path)) as house:
                await outside.start(linger, house.gateway_url)
                patience.deadline = trio.current_time() + 3
        assert not patience.cancelled_caught
        ended.set()

"""What the log and the remarks say of a device on Bluetooth LE."""

import logging

import pytest
import trio

from scentrt.actors.actor import Mailbox, Ref
from scentrt.actors.clock import ServerClock
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.dispensers import gatt
from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.gatt import Activity, Status
from scentrt.bootstrap.bluetooth import device_remarks, link_zone
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.layout import DevicePlan, ZonePlan
from tests.integration.fake_air import FakeDispenser, FakeRadio

SEAT = SeatId("A-1-1")
ZONE = ZonePlan(ZoneId("A"), 1, 1, (), devices={SEAT: DevicePlan("C4:01")})


async def test_a_fault_that_a_device_reports_is_logged_when_it_begins_and_remarked_upon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dispenser = FakeDispenser("C4:01")
    async with AioThread() as aio, trio.open_nursery() as nursery:
        adapters = {SEAT: Adapter("hci0", FakeRadio([dispenser]))}
        refs = {ZONE.id: Ref(Mailbox("A", 10))}
        dispensers = link_zone(ZONE, aio, ServerClock(), adapters, {}, refs)
        nursery.start_soon(dispensers.run)

        async def say(characteristic: str, value: bytes, **heard: object) -> None:
            aio.post(dispenser.say, characteristic, value)
            with trio.fail_after(30):
                while any(  # noqa: ASYNC110  # no event comes from the other thread
                    getattr(dispensers.states[SEAT], name) != it for name, it in heard.items()
                ):
                    await trio.sleep(0.005)

        with trio.fail_after(30):
            await dispensers.wait_online(SEAT)
        assert list(device_remarks(ZONE.id, dispensers.states)) == []
        await say(gatt.STATUS, Status(1, Activity.FAULT, 0).encode(), fault=True)
        await say(gatt.BATTERY_LEVEL, bytes([80]), battery_percent=80)
        assert list(device_remarks(ZONE.id, dispensers.states)) == [
            "zone A: the dispenser of A-1-1 reports a fault"
        ]
        await say(gatt.STATUS, Status(1, Activity.IDLE, 0).encode(), fault=False)
        assert list(device_remarks(ZONE.id, dispensers.states)) == []
        nursery.cancel_scope.cancel()
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == ["A-1-1 (C4:01): the dispenser reports a fault"]

"""What devices on Bluetooth LE say of their vials, held against what was counted."""

from pathlib import Path

import trio

from scentrt.actors.messages import PutVials
from scentrt.domain.cues import SeatId, ZoneId
from tests.conftest import OpenHouse
from tests.e2e.airwaves import Airwaves, seats_of, watch
from tests.e2e.speaking import PATIENCE_S, Message, Speaker
from tests.e2e.theatres import one_row
from tests.vials import seated

PRODUCTS = {"SEABREEZE": "sea-breeze"}
ROW = [SeatId(f"A-1-{number}") for number in (1, 2, 3)]


async def first_slot(desk: Speaker, seat: SeatId) -> Message:
    """Return the first slot of a seat, once its device has said what is left there."""
    with trio.fail_after(PATIENCE_S):
        while True:
            slot: Message = (await seats_of(desk))[seat]["slots"][0]
            if "reported_s" in slot:
                return slot
            await trio.sleep(0.02)


async def test_a_device_is_heard_whenever_a_slot_has_closed_and_doubted_where_it_disagrees(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path, products=PRODUCTS)) as house,
        watch(house.gateway_url) as desk,
    ):
        assert (await first_slot(desk, ROW[0]))["reported_s"] == 3_600
        right = seated(1, ROW[0], left_s=3_600, capacity_s=3_600)
        wrong = seated(2, ROW[1], left_s=300, capacity_s=3_600)
        house.server.actors[ZoneId("A")].ref.tell(PutVials((right, wrong)), urgent=True)
        assert (await desk.hear("zone"))["change"] == "vials-loaded"
        slots = [(await seats_of(desk))[seat]["slots"][0] for seat in ROW]
        assert ["reported_s" in slot for slot in slots] == [False, False, True]

        for number in range(2):
            row = {"seats": ROW[:2]}
            await desk.cue(number, "sea-breeze", row, intensity=1.0, duration_ms=200)
            for seat in ROW[:2]:
                await first_slot(desk, seat)
            await trio.sleep(0.3)
        told = await desk.hear("zone")
        assert (told["change"], told["seat"], told["scent"]) == (
            *("vial-disagrees", "A-1-2"),
            "sea-breeze",
        )
        slot = await first_slot(desk, ROW[0])
        assert slot["remaining_s"] == 3_599.6
        assert abs(slot["reported_s"] - 3_599.6) < 0.5
        assert (await first_slot(desk, ROW[1]))["remaining_s"] == 299.6


async def test_a_spray_that_came_too_late_for_its_device_costs_its_vial_nothing(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path, products=PRODUCTS)) as house,
        watch(house.gateway_url) as desk,
    ):
        vial = seated(1, ROW[0], left_s=300, capacity_s=3_600)
        house.server.actors[ZoneId("A")].ref.tell(PutVials((vial,)), urgent=True)
        radio.slow_down("SIM-A-1-1", 0.3)
        for number in range(2):  # the second waits behind the first
            seat = {"seats": ROW[:1]}
            await desk.cue(number, "sea-breeze", seat, intensity=1.0, duration_ms=50, ttl_ms=100)
            await trio.sleep(0.06)
        with trio.fail_after(PATIENCE_S):
            while (await first_slot(desk, ROW[0]))["remaining_s"] < 299.95:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert sum(map(len, radio.openings().values())) == 1

"""Theatre files with devices, on the air: what they say is what is connected to."""

from pathlib import Path

import pytest

from simulators.ble.places import nth_address
from tests.browser import browse
from tests.conftest import OpenHouse
from tests.e2e.airwaves import Airwaves, watch
from tests.e2e.speaking import until
from tests.e2e.theatres import one_row


async def test_devices_that_cannot_be_used_are_left_out_with_a_word_and_the_others_work(
    open_house: OpenHouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    devices = {"A-1-1": "SD-0001", "A-1-2": "SD-0002", "A-1-9": "SD-0009", "A-1-3": "SD-0003"}
    file = one_row(tmp_path, seats=4, devices=devices)
    with file.open("a", encoding="utf-8") as more:
        more.write('A-1-3 = "SD-0004"\nA-1-4 = "sd-0002"\n')
    said = [
        f"{file} line 9: 'SD-0002' is at 'A-1-2' and at 'A-1-4' (line 13); leave it at one",
        f"{file} line 11: 'A-1-3' has another device in line 12; leave the right one",
        f"{file} line 10: there is no seat 'A-1-9'; the last one is 'A-1-4'",
    ]
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=file) as house,
        watch(house.gateway_url) as desk,
        browse(house.http_url) as http,
    ):
        assert [line for line in caplog.messages if str(file) in line] == said
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["remarks"]) == (200, said)
        assert radio.peripherals.keys() == {"SD-0001", "SIM-A-1-2", "SIM-A-1-3", "SIM-A-1-4"}
        await desk.cue("c", to={"seats": ["A-1-1"]})
        await until(lambda: radio.open_slots() == {"SD-0001": 0b1})


async def test_on_a_simulated_radio_any_seat_may_have_any_address(
    open_house: OpenHouse, tmp_path: Path
) -> None:
    radio, address = Airwaves(), nth_address(1)
    file = one_row(tmp_path, devices={"A-1-2": address.lower()})
    async with (
        open_house(airwaves=radio, theatre=file) as house,
        watch(house.gateway_url) as desk,
    ):
        devices = radio.peripherals
        assert [device.address for device in devices.values()].count(address) == 1
        await desk.cue("c", to={"seats": ["A-1-2"]})
        await until(radio.open_slots)
        assert [devices[name].address for name in radio.open_slots()] == [address]

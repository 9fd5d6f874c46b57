"""The radio through bleak, over the air that this process simulates."""


import pytest

from scentrt.adapters.dispensers.radio import Backend, BleakRadio, LinkFailed, Refused
from simulators.ble.air import Air
from tests.integration.in_the_air import play, put
from tests.integration.orders import CHALLENGE, SERIAL, STATUS


def backend(air: Air) -> Backend:
    return Backend(air.client_backend, air.scanner_backend)


def test_a_device_is_found_by_its_address_or_by_its_name() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air, "SD-0042")
        radio = BleakRadio(backend=backend(air))
        for name in (device.address.lower(), "sd-0042"):
            found = await radio.find(name)
            await found.connect(lambda: None)
            assert await found.read(SERIAL) == b"SD-0042"
            await found.disconnect()

    play(scenario)


def test_who_refuses_is_told_from_who_is_gone() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        found = await BleakRadio(backend=backend(air)).find(device.address)
        await found.connect(lambda: None)
        with pytest.raises(Refused, match="could not be written"):
            await found.write(CHALLENGE, b"too short", acknowledged=True)
        await found.disconnect()
        with pytest.raises(LinkFailed) as gone:
            await found.read(STATUS)
        assert not isinstance(gone.value, Refused)

    play(scenario)


def test_where_there_is_no_pairing_the_setting_is_named() -> None:
    async def scenario(air: Air) -> None:
        device = await put(air)
        found = await BleakRadio(backend=backend(air), pair=True).find(device.address)
        with pytest.raises(LinkFailed) as failed:
            await found.connect(lambda: None)
        assert str(failed.value) == (
            f"{device.address} could not be paired and connected (where there is no pairing, set "
            "`pair = false` under [bluetooth]): the simulated radio has no pairing"
        )
        assert not device.is_linked

    play(scenario)

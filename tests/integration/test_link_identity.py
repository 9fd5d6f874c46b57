"""How a device proves to its link who it is, over air and in time that are made up."""

import asyncio

import pytest

from scentrt.adapters.dispensers import gatt
from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.gatt import Op
from scentrt.adapters.dispensers.link import Link
from tests.integration.fake_air import PROFILE, FakeDispenser, FakeRadio, in_virtual_time
from tests.integration.linked_seats import STOP_ALL, row, spraying

KEY = b"a secret of two!"


def dispenser(key: bytes = KEY) -> FakeDispenser:
    dispenser = FakeDispenser("C4:01")
    dispenser.key = key
    return dispenser


@in_virtual_time
async def test_a_device_that_has_its_key_is_sprayed() -> None:
    genuine = dispenser()
    async with row([genuine], key=KEY) as (seat,):
        assert not (await seat.until(online=True)).impostor
        told = seat.spray(spraying(0))
        await asyncio.sleep(0.01)
        assert len(told.written_at) == 1
        assert not any(state.impostor for state in seat.states)


@in_virtual_time
async def test_every_connection_asks_a_question_of_its_own() -> None:
    genuine = dispenser()
    async with row([genuine], key=KEY) as (seat,):
        for _ in range(3):
            await seat.until(online=True)
            genuine.drop()
            await seat.until(online=False)
        assert len(set(genuine.challenges)) == len(genuine.challenges) == 3
        assert {len(challenge) for challenge in genuine.challenges} == {32}


@pytest.mark.parametrize(
    ("disguise", "reason"),
    [
        ({"key": b"a secret of three"}, "gave a wrong answer"),
        ({"key": b""}, "gave a wrong answer"),
        ({"characteristics": PROFILE - {gatt.CHALLENGE}}, "cannot be asked"),
        ({"characteristics": PROFILE - {gatt.RESPONSE}}, "cannot be asked"),
        ({"refuses": {gatt.CHALLENGE}}, "does not permit this"),
        ({"refuses": {gatt.RESPONSE}}, "does not permit this"),
    ],
    ids=["another key", "no key", "no challenge", "no response", "deaf", "mute"],
)
def test_what_cannot_prove_itself_is_never_sprayed_and_tried_again_until_the_device_is_back(
    disguise: dict[str, object], reason: str
) -> None:
    @in_virtual_time
    async def play() -> None:
        clone = dispenser()
        for name, value in disguise.items():
            setattr(clone, name, value)
        async with row([clone], key=KEY) as (seat,):
            await seat.until(impostor=True)
            assert not clone.connected
            await asyncio.sleep(60)
            assert seat.state.problem is not None
            assert f"could not prove that it has its key, since it {reason}" in seat.state.problem
            assert seat.spray(spraying(0)).drops == 1
            assert {command.op for command in clone.commands} == {Op.STOP_ALL}
            assert not any(state.online for state in seat.states)
            assert 10 < len(clone.connects) < 30
            clone.key, clone.characteristics, clone.refuses = KEY, PROFILE, set()
            state = await seat.until(impostor=False)
            assert (state.online, state.problem) == (True, None)

    play()


@in_virtual_time
async def test_the_proof_of_one_connection_is_none_on_the_next() -> None:
    genuine = dispenser()
    async with row([genuine], key=KEY) as (seat,):
        await seat.until(online=True)
        genuine.key = b""
        genuine.drop()
        await seat.until(impostor=True)
        assert not seat.state.online


@in_virtual_time
async def test_whatever_is_open_is_closed_before_anything_is_asked() -> None:
    genuine = dispenser()
    genuine.open(1, for_s=3600)
    genuine.refuses = {gatt.CHALLENGE}
    async with row([genuine], key=KEY) as (seat,):
        await seat.until(impostor=True)
        assert genuine.commands == [STOP_ALL]
        assert not genuine.open_slots


@in_virtual_time
async def test_a_link_that_breaks_over_the_question_says_nothing_against_the_device() -> None:
    genuine = dispenser()
    genuine.drops_at = gatt.RESPONSE
    async with row([genuine], key=KEY) as (seat,):
        await asyncio.sleep(1)
        genuine.drops_at = None
        await seat.until(online=True)
        assert len(genuine.connects) > 1
        assert not any(state.impostor for state in seat.states)


@in_virtual_time
async def test_without_a_key_nobody_is_asked() -> None:
    genuine = dispenser()
    async with row([genuine]) as (seat,):
        await seat.until(online=True)
        assert genuine.challenges == []


def test_a_key_that_could_be_guessed_is_refused() -> None:
    adapter = Adapter("hci0", FakeRadio([]))
    with pytest.raises(ValueError, match="C4:01 has less than 16 bytes"):
        Link("C4:01", adapter, lambda _: None, b"short")

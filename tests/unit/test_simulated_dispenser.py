"""The simulated device by itself: bytes and time in, valves and values out."""

import hashlib
import hmac
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.ble import profile
from simulators.ble.dispenser import Dispenser, Identity, Opening, Vial
from simulators.ble.profile import AttError, Refused
from tests.integration.orders import (
    CHALLENGE,
    COMMAND,
    FAULT,
    IDLE,
    RESPONSE,
    SLOTS,
    SPRAYING,
    STATUS,
    slots,
    spray,
    status,
    stop,
    stop_all,
)


def device(*remaining_s: float, key: bytes | None = None) -> Dispenser:
    vials = [Vial(code, left) for code, left in enumerate(remaining_s, start=1)]
    return Dispenser(Identity("SD-0001"), vials or (Vial(1), Vial(2)), key=key)


def test_a_valve_closes_at_the_end_of_its_duration_however_late_anybody_looks() -> None:
    dispenser = device()
    dispenser.write(COMMAND, spray(1, slot=0, duration_ms=1500, intensity=51), now=10.0)
    assert status(dispenser.read(STATUS, 11.4)) == (1, SPRAYING, 0b01)
    assert dispenser.next_closing == 11.5
    assert status(dispenser.read(STATUS, 60.0)) == (1, IDLE, 0)
    [opening] = dispenser.openings(60.0)
    assert opening == Opening(0, 0.2, 10.0, 11.5, opening.dose_s)
    assert opening.dose_s == pytest.approx(0.3)


def test_slots_open_and_close_independently() -> None:
    dispenser = device()
    dispenser.write(COMMAND, spray(1, slot=0, duration_ms=1000), now=0.0)
    dispenser.write(COMMAND, spray(2, slot=1, duration_ms=1000), now=0.5)
    assert status(dispenser.read(STATUS, 0.5)) == (2, SPRAYING, 0b11)
    dispenser.write(COMMAND, stop(3, slot=0), now=0.6)
    assert status(dispenser.read(STATUS, 0.6)) == (3, SPRAYING, 0b10)
    dispenser.write(COMMAND, stop_all(4), now=0.7)
    assert status(dispenser.read(STATUS, 0.7)) == (4, IDLE, 0)


def test_a_spray_on_an_open_slot_takes_the_place_of_the_one_that_runs() -> None:
    dispenser = device()
    dispenser.write(COMMAND, spray(1, slot=0, duration_ms=1000, intensity=255), now=0.0)
    dispenser.write(COMMAND, spray(2, slot=0, duration_ms=1000, intensity=51), now=0.5)
    assert [(o.intensity, o.opened_at, o.closed_at) for o in dispenser.openings(9.0)] == [
        (1.0, 0.0, 0.5),
        (0.2, 0.5, 1.5),
    ]


def test_a_vial_that_runs_dry_closes_its_valve_and_opens_it_no_more() -> None:
    dispenser = device(0.5)
    dispenser.write(COMMAND, spray(1, slot=0, duration_ms=2000, intensity=51), now=0.0)
    assert dispenser.next_closing == pytest.approx(0.4 + 1.6)  # duration, before 2.5 s of vial
    dispenser.write(COMMAND, spray(2, slot=0, duration_ms=2000), now=1.0)
    assert dispenser.next_closing == pytest.approx(1.3)
    assert slots(dispenser.read(SLOTS, 2.0)) == {0: (0.0, 1)}
    dispenser.write(COMMAND, spray(3, slot=0, duration_ms=2000), now=3.0)
    assert status(dispenser.read(STATUS, 3.0)) == (3, IDLE, 0)


def test_a_stuck_valve_stays_open_and_is_told_of_as_a_fault_until_it_is_freed() -> None:
    dispenser = device()
    dispenser.stick({0}, now=0.0)
    dispenser.write(COMMAND, spray(1, slot=0, duration_ms=1000), now=0.0)
    assert status(dispenser.read(STATUS, 0.5)).state == SPRAYING
    dispenser.write(COMMAND, stop_all(2), now=0.6)
    assert status(dispenser.read(STATUS, 0.6)) == (2, FAULT, 0b1)
    assert dispenser.next_closing is None
    dispenser.stick((), now=3.0)
    assert status(dispenser.read(STATUS, 3.0)) == (2, IDLE, 0)
    assert [(o.opened_at, o.closed_at) for o in dispenser.openings(3.0)] == [(0.0, 3.0)]


@pytest.mark.parametrize(
    ("characteristic", "value", "error"),
    [
        (COMMAND, b"", AttError.INVALID_LENGTH),
        (COMMAND, bytes(8), AttError.INVALID_LENGTH),
        (COMMAND, bytes([9, 0, 0, 0, 0, 0, 0]), AttError.VALUE_NOT_ALLOWED),
        (COMMAND, spray(1, slot=2, duration_ms=1), AttError.VALUE_NOT_ALLOWED),
        (CHALLENGE, bytes(15), AttError.INVALID_LENGTH),
        (STATUS, bytes(4), AttError.WRITE_NOT_PERMITTED),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    characteristic: str, value: bytes, error: AttError
) -> None:
    dispenser = device()
    before = dispenser.read(STATUS, 0.0)
    with pytest.raises(Refused) as refused:
        dispenser.write(characteristic, value, 0.0)
    assert refused.value.error is error
    assert dispenser.read(STATUS, 0.0) == before


def test_a_command_cannot_be_read() -> None:
    with pytest.raises(Refused, match="read not permitted"):
        device().read(COMMAND, 0.0)


def test_a_challenge_is_answered_with_the_devices_key_until_the_link_ends() -> None:
    dispenser = device(key=b"known to two")
    dispenser.write(CHALLENGE, bytes(range(16)), 0.0)
    expected = hmac.digest(b"known to two", bytes(range(16)), hashlib.sha256)
    assert dispenser.read(RESPONSE, 0.0) == expected
    dispenser.forget_challenge()
    assert dispenser.read(RESPONSE, 0.0) == b""


def test_a_device_without_a_key_answers_a_challenge_with_nothing() -> None:
    dispenser = device()
    dispenser.write(CHALLENGE, bytes(16), 0.0)
    assert dispenser.read(RESPONSE, 0.0) == b""


def test_more_slots_than_the_status_has_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 8"):
        Dispenser(Identity("SD-0001"), [Vial(1)] * 9)


SLOT = st.integers(0, 1)
ORDER = st.one_of(
    st.builds(spray, st.just(1), SLOT, st.integers(0, 4000), st.integers(0, 255)),
    st.builds(stop, st.just(2), SLOT),
    st.just(stop_all(3)),
)


@given(st.lists(st.tuples(st.floats(0, 3), ORDER), max_size=30))
def test_no_valve_is_ever_open_longer_than_told_nor_gives_more_than_its_vial_held(
    orders: list[tuple[float, bytes]],
) -> None:
    dispenser = device(5.0, 5.0)
    sprays: list[tuple[int, float, float]] = []
    now = 0.0
    for pause_s, order in orders:
        now += pause_s
        dispenser.write(COMMAND, order, now)
        command = profile.read_command(order)
        if command.op is profile.Op.SPRAY:
            sprays.append((command.slot, now, now + command.duration_s))
    end = now + 10
    openings = dispenser.openings(end)
    assert status(dispenser.read(STATUS, end)).state == IDLE
    for opening in openings:
        assert (opening.slot, opening.opened_at) in {(slot, at) for slot, at, _ in sprays}
        assert opening.closed_at <= max(
            until for slot, at, until in sprays if (slot, at) == (opening.slot, opening.opened_at)
        )
    for slot, (left_s, _) in slots(dispenser.read(SLOTS, end)).items():
        given_s = sum(dose_of(openings, slot))
        assert given_s <= 5.0 + 1e-9
        assert left_s == pytest.approx(5.0 - given_s, abs=0.051)


def dose_of(openings: list[Opening], slot: int) -> Iterator[float]:
    return (opening.dose_s for opening in openings if opening.slot == slot)

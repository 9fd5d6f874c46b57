"""The dispenser's profile in bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scentrt.adapters.dispensers.gatt import (
    Activity,
    BadValue,
    Command,
    Op,
    SlotReading,
    Status,
    decode_battery,
    decode_command,
    decode_slots,
    decode_status,
    encode_slots,
    is_behind,
    is_proof,
)

bytes_, shorts = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
commands = st.builds(Command, st.sampled_from(Op), bytes_, bytes_, shorts)
statuses = st.builds(Status, shorts, st.sampled_from(Activity), bytes_)
slots = st.lists(
    st.builds(SlotReading, bytes_, shorts, shorts), unique_by=lambda reading: reading.slot
)
intensities = st.floats(0, 1, exclude_min=True)


def test_a_command_is_written_as_the_protocol_says() -> None:
    command = Command.spray(slot=3, intensity=0.8, duration_ms=1500)
    assert command.encode(0x0102) == bytes([1, 0x02, 0x01, 3, 204, 0xDC, 0x05])
    assert Command.stop(3).encode(7) == bytes([2, 7, 0, 3, 0, 0, 0])
    assert Command.stop(None).encode(7) == bytes([3, 7, 0, 0, 0, 0, 0])


def test_a_status_and_slots_are_read_as_the_protocol_says() -> None:
    status = decode_status(bytes([0x02, 0x01, 1, 0b101]))
    assert status == Status(0x0102, Activity.SPRAYING, 0b101)
    assert [status.is_open(slot) for slot in range(9)] == [True, False, True] + [False] * 6
    assert status.slots() == [0, 2]
    assert decode_slots(bytes([1, 0x58, 0x02, 9, 0])) == (SlotReading(1, 600, 9),)
    assert decode_slots(b"") == ()
    assert decode_battery(b"\x64") == 100


def test_a_proof_is_the_hmac_of_the_challenge_under_the_key() -> None:
    # RFC 4231, test case 2
    proof = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    challenge = b"what do ya want for nothing?"
    assert is_proof(b"Jefe", challenge, proof)
    assert not is_proof(b"Jeff", challenge, proof)
    assert not is_proof(b"Jefe", challenge + b"?", proof)
    for value in (b"", proof[:-1], proof + b"\0", bytes(32)):
        assert not is_proof(b"Jefe", challenge, value)


@given(shorts, commands)
def test_commands_come_through_the_air_as_they_are(seq: int, command: Command) -> None:
    assert decode_command(command.encode(seq)) == (seq, command)


@given(statuses)
def test_statuses_come_through_the_air_as_they_are(status: Status) -> None:
    assert decode_status(status.encode()) == status


@given(slots)
def test_slots_come_through_the_air_as_they_are(readings: list[SlotReading]) -> None:
    assert decode_slots(encode_slots(readings)) == tuple(readings)


def test_more_than_a_device_can_count_to_says_nothing_of_how_much_is_left() -> None:
    assert SlotReading(0, 123, 7).left_us == 12_300_000
    assert SlotReading(0, 0xFFFF, 7).left_us is None


@given(st.binary(max_size=24))
def test_whatever_can_be_read_is_written_with_the_same_bytes(value: bytes) -> None:
    with suppress(BadValue):
        seq, command = decode_command(value)
        assert command.encode(seq) == value
    with suppress(BadValue):
        assert decode_status(value).encode() == value
    with suppress(BadValue):
        assert encode_slots(decode_slots(value)) == value
    with suppress(BadValue):
        assert bytes([decode_battery(value)]) == value


@given(intensities, st.floats(1, 60_000))
def test_a_spray_never_lasts_longer_than_asked_and_is_never_nothing(
    intensity: float, duration_ms: float
) -> None:
    command = Command.spray(0, intensity, duration_ms)
    assert 1 <= command.intensity <= 255
    assert abs(command.intensity - intensity * 255) <= 1
    assert duration_ms - 1 < command.duration_ms <= duration_ms


@pytest.mark.parametrize("duration_ms", [0.99, 70_000.0])
def test_what_a_device_cannot_count_is_cut_short(duration_ms: float) -> None:
    assert Command.spray(0, 1.0, duration_ms).duration_ms in {0, 65_535}


@pytest.mark.parametrize(
    ("decode", "value"),
    [
        (decode_command, bytes(6)),
        (decode_command, bytes(8)),
        (decode_command, bytes([4, 0, 0, 0, 0, 0, 0])),
        (decode_status, b""),
        (decode_status, bytes(5)),
        (decode_status, bytes([0, 0, 3, 0])),
        (decode_slots, bytes(4)),
        (decode_slots, bytes(6)),
        (decode_slots, bytes(10)),
        (decode_battery, b""),
        (decode_battery, bytes([101])),
        (decode_battery, bytes(2)),
    ],
)
def test_bytes_that_mean_nothing_are_refused_with_what_they_were(
    decode: object, value: bytes
) -> None:
    assert callable(decode)
    with pytest.raises(BadValue) as refused:
        decode(value)
    assert refused.value.value == value


@given(shorts, st.integers(1, 0x7FFF))
def test_a_number_is_behind_those_counted_after_it_also_around_the_end(
    seq: int, further: int
) -> None:
    later = (seq + further) & 0xFFFF
    assert is_behind(seq, later)
    assert not is_behind(later, seq)
    assert not is_behind(seq, seq)

"""What a link makes of the word of a device whose slots it follows."""

from math import inf

import pytest

from scentrt.adapters.dispensers.gatt import Activity, Status
from scentrt.adapters.dispensers.valves import (
    LATE_S,
    STUCK_AFTER_S,
    TELL_AGAIN_S,
    TELL_STUCK_S,
    TOLD_IN_VAIN,
    Valves,
)


def status(seq: int, *open_slots: int) -> Status:
    bitmap = sum(1 << slot for slot in open_slots)
    return Status(seq, Activity.SPRAYING if open_slots else Activity.IDLE, bitmap)


def test_nobody_looks_at_a_device_that_was_told_nothing() -> None:
    valves = Valves()
    assert valves.look_at == inf
    valves.see(status(0), now=1.0)
    assert valves.look_at == inf


def test_a_spray_whose_end_the_device_tells_is_not_looked_at() -> None:
    valves = Valves()
    valves.opens(0, seq=7, ends=2.0)
    valves.see(status(7, 0), now=1.0)
    valves.see(status(7), now=2.01)
    assert valves.look_at == inf


@pytest.mark.parametrize("before", [status(6), status(7, 0), status(7)])
def test_a_spray_whose_end_the_device_does_not_tell_is_looked_at(before: Status) -> None:
    valves = Valves()
    valves.opens(0, seq=7, ends=2.0)
    valves.see(before, now=1.0)
    assert valves.look_at == 2.0 + LATE_S


def test_what_was_said_before_a_spray_is_not_taken_for_its_end() -> None:
    valves = Valves()
    valves.opens(0, seq=7, ends=1.0)
    valves.see(status(6), now=1.2)
    valves.see(status(7, 0), now=1.3)
    assert valves.look_at == 1.0 + LATE_S


def test_a_slot_that_is_open_when_it_is_looked_at_is_told_to_close() -> None:
    valves = Valves()
    valves.opens(0, seq=7, ends=2.0)
    valves.opens(1, seq=8, ends=60.0)
    now = valves.look_at
    valves.see(status(8, 0, 1), now, asked_at=now)
    assert valves.look_at <= now
    assert valves.still_open(now) == (0,)
    assert valves.look_at == now + TELL_AGAIN_S


def test_a_slot_that_is_closed_when_it_is_looked_at_is_left_alone() -> None:
    valves = Valves()
    valves.opens(0, seq=7, ends=2.0)
    now = valves.look_at
    valves.see(status(7), now, asked_at=now)
    assert valves.look_at == inf


def test_a_slot_that_nobody_opened_is_told_to_close_at_once() -> None:
    valves = Valves()
    valves.see(status(3, 4), now=1.0)
    assert valves.look_at == 1.0
    assert valves.still_open(1.0) == (4,)


def look(valves: Valves, now: float, seq: int, *open_slots: int) -> tuple[int, ...]:
    """Look at a device at that time, tell what is open to close, and return what was told."""
    valves.see(status(seq, *open_slots), now, asked_at=now)
    told = valves.still_open(now)
    for slot in told:
        valves.told_to_close(slot, seq, now)
    return told


def test_a_slot_that_stays_open_is_stuck_until_it_closes() -> None:
    valves = Valves()
    valves.opens(0, seq=7, ends=2.0)
    for _ in range(TOLD_IN_VAIN):
        assert look(valves, valves.look_at, 7, 0) == (0,)
        assert not valves.stuck
    assert look(valves, valves.look_at, 7, 0) == ()
    assert valves.stuck
    assert 2.5 + STUCK_AFTER_S <= valves.look_at - TELL_STUCK_S < 3.5
    valves.see(status(7), now=valves.look_at)
    assert not valves.stuck


def test_a_slot_that_was_not_told_often_enough_is_not_stuck_however_long_that_is_ago() -> None:
    valves = Valves()
    valves.told_to_close(0, seq=7, now=1.0)
    for pause_s in (60.0, 0.3):
        assert look(valves, valves.look_at + pause_s, 7, 0) == (0,)
    assert look(valves, valves.look_at, 7, 0) == ()
    assert valves.stuck


def test_a_slot_that_is_told_over_and_over_has_its_time_all_the_same() -> None:
    valves = Valves()
    for tenth in range(5):
        valves.told_to_close(0, seq=7, now=1 + tenth / 10)
    assert look(valves, valves.look_at, 7, 0) == (0,)
    assert not valves.stuck


def test_slots_that_a_status_cannot_show_are_not_looked_for() -> None:
    valves = Valves()
    valves.opens(8, seq=7, ends=2.0)
    assert valves.look_at == inf

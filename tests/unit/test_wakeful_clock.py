"""The clock of the tests."""

import time

import pytest
import trio

from tests.wakeful_clock import LONGEST_S


async def test_a_pause_of_the_whole_process_ends_nobodys_time() -> None:
    with trio.fail_after(5 * LONGEST_S):
        for _ in range(3):
            time.sleep(3 * LONGEST_S)  # noqa: ASYNC251  # nothing in this process gets a turn
            await trio.lowlevel.checkpoint()


async def test_a_deadline_comes_for_who_only_waits() -> None:
    began = time.perf_counter()
    with trio.move_on_after(3 * LONGEST_S):
        await trio.sleep_forever()
    assert time.perf_counter() - began >= 3 * LONGEST_S


async def test_a_clock_of_the_tests_own_goes_before(autojump_clock: trio.abc.Clock) -> None:
    began = time.perf_counter()
    await trio.sleep(3600)
    assert time.perf_counter() - began < 3600


@pytest.mark.parametrize("past_s", [0.0, 1.0])
async def test_a_deadline_that_is_over_does_not_wait(past_s: float) -> None:
    with trio.move_on_at(trio.current_time() - past_s) as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught

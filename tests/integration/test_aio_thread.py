"""The bridge to the asyncio thread, with the real thread; so the clock is real too."""

import asyncio
import contextlib
import math
import random
import threading
from collections.abc import AsyncIterator

import pytest
import trio

from scentrt.adapters.aio_thread import AioThread


@pytest.fixture
async def aio() -> AsyncIterator[AioThread]:
    async with AioThread() as aio:
        yield aio


class Bell:
    """Tell trio that something has come so far on the asyncio side, and the other way round."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._rung = trio.Event()

    def ring(self) -> None:
        self._token.run_sync_soon(self._rung.set)

    async def wait(self) -> None:
        with trio.fail_after(30):
            await self._rung.wait()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def test_a_call_returns_what_the_asyncio_function_returned(aio: AioThread) -> None:
    assert await aio.call(double, 21) == 42


async def test_a_call_runs_in_the_one_asyncio_thread(aio: AioThread) -> None:
    async def where() -> tuple[str, asyncio.AbstractEventLoop]:
        return threading.current_thread().name, asyncio.get_running_loop()

    first, second = await aio.call(where), await aio.call(where)
    assert first == second
    assert first[0] == "aio"


async def test_an_error_crosses_over_as_it_is(aio: AioThread) -> None:
    error = LookupError("no such vial")

    async def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        await aio.call(fail)
    assert caught.value is error


async def test_a_function_that_cannot_be_called_raises_in_its_caller_only(aio: AioThread) -> None:
    with pytest.raises(TypeError):
        await aio.call(double)  # type: ignore[arg-type]  # the mistake this is about
    assert await aio.call(double, 1) == 2


async def test_calls_run_side_by_side(aio: AioThread) -> None:
    everybody_is_here = asyncio.Barrier(50)

    async def meet() -> None:
        async with everybody_is_here:
            pass

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(aio.call, meet)


async def test_a_cancelled_call_returns_when_the_asyncio_task_has_cleaned_up(
    aio: AioThread,
) -> None:
    begun = Bell()
    cleaned_up = False

    async def work() -> None:
        nonlocal cleaned_up
        try:
            begun.ring()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            cleaned_up = True

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(aio.call, work)
            await begun.wait()
            scope.cancel()
    assert scope.cancelled_caught
    assert cleaned_up


async def test_a_call_in_a_cancelled_scope_never_begins(aio: AioThread) -> None:
    ran = False

    async def work() -> None:
        nonlocal ran
        ran = True

    with trio.CancelScope() as scope:
        scope.cancel()
        await aio.call(work)
    await aio.call(double, 1)  # whatever was handed over before has run by now
    assert scope.cancelled_caught
    assert not ran


async def test_a_call_cancelled_while_the_loop_is_busy_never_begins(aio: AioThread) -> None:
    busy, go_on = Bell(), threading.Event()
    ran = False

    async def block() -> None:
        busy.ring()
        go_on.wait(5)

    async def work() -> None:
        nonlocal ran
        ran = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(aio.call, block)
        await busy.wait()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(aio.call, work)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                go_on.set()
    assert scope.cancelled_caught
    assert not ran


async def test_a_result_reached_in_spite_of_the_cancellation_is_not_lost(aio: AioThread) -> None:
    begun = Bell()

    async def commit() -> str:
        begun.ring()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "committed"

    results = []

    async def caller() -> None:
        results.append(await aio.call(commit))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert results == ["committed"]


async def test_a_call_says_done_exactly_when_it_was_done_however_late_it_is_cancelled(
    aio: AioThread,
) -> None:
    """The cancellation races with the completion; what the two sides believe must agree."""
    rng = random.Random(4711)
    done = set()

    async def commit(number: int, delay_s: float) -> int:
        await asyncio.sleep(delay_s)
        done.add(number)
        return number

    # Some are done in any case and some never are, however fast the machine; the rest race.
    races = [(0.0, math.inf), (60.0, 0.0001)] + 400 * [(0.0, 0.0008)]
    reported = set()
    for number, (delay_s, at_most_s) in enumerate(races):
        with trio.move_on_after(at_most_s if number < 2 else rng.uniform(0, at_most_s)):
            reported.add(await aio.call(commit, number, delay_s))
    assert reported == done
    assert 0 in done
    assert 1 not in done


async def test_what_the_library_cancels_by_itself_is_an_error_and_no_cancellation(
    aio: AioThread,
) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(trio.BrokenResourceError):
        await aio.call(give_up)


async def test_an_error_in_a_callback_of_the_loop_leaves_it_running(
    aio: AioThread, caplog: pytest.LogCaptureFixture
) -> None:
    def explode() -> None:
        raise ZeroDivisionError

    async def plant() -> None:
        asyncio.get_running_loop().call_soon(explode)

    await aio.call(plant)
    assert await aio.call(double, 4) == 8
    assert "ZeroDivisionError" in caplog.text


async def test_closing_lets_a_running_call_end() -> None:
    begun = Bell()
    results = []

    async def work() -> str:
        begun.ring()
        await asyncio.sleep(0.05)
        return "ended by itself"

    async def caller(aio: AioThread) -> None:
        results.append(await aio.call(work))

    async with trio.open_nursery() as nursery, AioThread() as aio:
        nursery.start_soon(caller, aio)
        await begun.wait()
    assert results == ["ended by itself"]


async def test_closing_cancels_a_call_that_takes_too_long() -> None:
    begun = Bell()
    cancelled = False

    async def work() -> None:
        nonlocal cancelled
        begun.ring()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    async def caller(aio: AioThread) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await aio.call(work)

    async with trio.open_nursery() as nursery, AioThread(grace_s=0.05) as aio:
        nursery.start_soon(caller, aio)
        await begun.wait()
    assert cancelled


async def test_closing_leaves_a_thread_that_hangs_behind_and_answers_its_callers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, go_on = Bell(), threading.Event()

    async def hang() -> None:
        begun.ring()
        go_on.wait(60)

    async def caller(aio: AioThread) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await aio.call(hang)

    async with trio.open_nursery() as nursery:
        async with AioThread(grace_s=0.05) as aio:
            nursery.start_soon(caller, aio)
            await begun.wait()
            started = trio.current_time()
        assert trio.current_time() - started < 30
    assert "left behind" in caplog.text
    go_on.set()
    await trio.to_thread.run_sync(join_aio_threads)


async def test_closing_is_done_also_when_cancelled_and_twice() -> None:
    with trio.CancelScope() as scope:
        async with AioThread() as aio:
            await aio.call(double, 1)
            scope.cancel()
    await aio.aclose()
    assert not aio_threads()


async def test_a_closed_thread_refuses_calls() -> None:
    async with AioThread() as aio:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await aio.call(double, 1)


async def test_nobody_waits_for_ever_when_the_loop_dies(caplog: pytest.LogCaptureFixture) -> None:
    begun = Bell()

    async def work() -> None:
        begun.ring()
        await asyncio.sleep(60)

    async def die() -> None:
        raise SystemExit(3)

    async def caller(aio: AioThread) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await aio.call(work)

    with trio.fail_after(30):
        async with AioThread() as aio, trio.open_nursery() as nursery:
            nursery.start_soon(caller, aio)
            await begun.wait()
            with pytest.raises(SystemExit):
                await aio.call(die)
    with pytest.raises(trio.ClosedResourceError) as refused:
        await aio.call(double, 1)
    assert isinstance(refused.value.__cause__, SystemExit)
    assert "the asyncio loop failed" in caplog.text


def test_the_thread_ends_with_the_trio_run_also_when_that_fails() -> None:
    async def main() -> None:
        async with AioThread() as aio, trio.open_nursery() as nursery:
            nursery.start_soon(aio.call, asyncio.sleep, 60)
            await trio.testing.wait_all_tasks_blocked()
            raise RuntimeError

    with pytest.raises(ExceptionGroup):
        trio.run(main)
    assert not aio_threads()


def test_a_thread_that_outlives_its_run_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """Not the way to use it; but its last words then go nowhere, and must not fail there."""

    def die() -> None:
        raise SystemExit

    async def plant() -> None:
        asyncio.get_running_loop().call_later(0.05, die)

    async def main() -> None:
        aio = await AioThread().__aenter__()
        await aio.call(plant)

    trio.run(main)
    join_aio_threads()  # and a thread that ends with an exception fails the test
    assert "the asyncio loop failed" in caplog.text


def aio_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aio"]


def join_aio_threads() -> None:
    for thread in aio_threads():
        thread.join(5)
        assert not thread.is_alive()

"""The asyncio thread: where libraries that know only asyncio live, and how trio calls them.

One thread with one asyncio loop, shared by all who need one. Little crosses: a call there, and its
outcome back. The thread shares the interpreter lock with the theatre's own loop, so what runs in it
must be light.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Args = TypeVarTuple("Args")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Call(Generic[T]):
    """What both sides know of one call: how it runs, and whether its caller was cancelled."""

    task: asyncio.Task[T] | None = None
    raise_cancelled: Callable[[], NoReturn] | None = None


class AioThread:
    """Own one asyncio loop in a thread of its own, for as long as the ``async with`` lasts.

    Leaving the block closes it as `aclose` does. It is used by the trio run that opened it, once.

    Args:
      grace_s: how long closing lets running calls go on before it cancels them, and then how long
        it waits for them to obey.
    """

    def __init__(self, *, grace_s: float = 1.0) -> None:
        self._grace_s = grace_s
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        # A daemon, because the interpreter waits for any other thread at its exit: a library that
        # hangs in here could keep the process from ending, although `aclose` gave up on it.
        self._thread = threading.Thread(target=self._run, name="aio", daemon=True)
        self._halt = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()  # of calls; touched in the thread only
        self._callers: set[trio.lowlevel.Task] = set()  # not answered yet; touched in trio only
        self._closing = False
        self._failure: BaseException | None = None
        self._ended = trio.Event()

    async def __aenter__(self) -> Self:
        self._token = trio.lowlevel.current_trio_token()
        # Made here, so that nobody waits for the thread: what is posted to a loop before it runs
        # is the first that it runs.
        self._loop = self._runner.get_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # Protected, because a KeyboardInterrupt after the call was handed over and before its caller
    # sleeps would have trio wake a task that does not sleep, and that ends the run.
    @trio.lowlevel.enable_ki_protection
    async def call(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run ``async_fn(*args)`` as a task of the asyncio loop, and return or raise its outcome.

        Calls begin in the order in which they were made, and then run side by side.

        Cancellation crosses over, but the call does not return before the asyncio task has ended,
        and the task says how: a result that it reached all the same is returned, an error raised,
        and only a task that the cancellation ended raises `trio.Cancelled`. So what is done is
        never reported as undone. A call made in a cancelled scope does not begin. Work that must
        not end half-way is called under a shield.

        Raises:
          trio.ClosedResourceError: the thread was closed, or had died, before; nothing was run.
          trio.BrokenResourceError: the call was cut short on the asyncio side: by closing, by the
            library itself, or because the loop died. How far it came is not known.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closing:
            raise trio.ClosedResourceError("the asyncio thread is closed") from self._failure
        caller = trio.lowlevel.current_task()
        call = _Call[T]()

        async def invoke() -> T:
            return await async_fn(*args)

        def begin() -> None:
            call.task = task = self._loop.create_task(invoke())
            self._tasks.add(task)
            task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            self.post_back(self._answer, caller)

        def cancel() -> None:
            if call.task is not None:
                call.task.cancel()

        def abort(raise_cancelled: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            call.raise_cancelled = raise_cancelled
            self.post(cancel)
            return trio.lowlevel.Abort.FAILED

        self._callers.add(caller)
        self.post(begin)
        await trio.lowlevel.wait_task_rescheduled(abort)

        if call.task is None or not call.task.done():
            raise trio.BrokenResourceError("the asyncio thread ended first") from self._failure
        if not call.task.cancelled():
            return call.task.result()
        if call.raise_cancelled is not None:
            call.raise_cancelled()
        raise trio.BrokenResourceError("the call was cancelled on the asyncio side")

    def post(self, fn: Callable[[*Args], object], *args: *Args) -> None:
        """Run ``fn(*args)`` in the asyncio loop soon, and do not wait for it.

        May be called from either thread. Returns at once and never raises: what `fn` raises, the
        loop logs. All that is posted, and the calls, begin in the order in which they were made. A
        thread that is closed runs nothing more, and says nothing of it.
        """
        # A closed loop needs nothing either: those who wait are answered all together, by the last
        # word of the thread.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(fn, *args)

    def post_back(self, fn: Callable[[*Args], object], *args: *Args) -> None:
        """Run ``fn(*args)`` in trio's thread soon, and do not wait for it: the way back of `post`.

        May be called from either thread. Returns at once and never raises. All that is posted runs
        in order. `fn` must not raise: as with everything that trio is handed from outside, that
        would end the whole run.
        """
        # When the run is over, nobody is left to be told.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(fn, *args)

    async def aclose(self) -> None:
        """End the loop and its thread. Shielded, bounded in time, and safe to repeat.

        New calls are refused at once. Those that run have `grace_s` to end by themselves, then
        they are cancelled; after as long again the thread is left behind, and whoever still waits
        is answered with `trio.BrokenResourceError`.
        """
        self._closing = True
        self.post(self._halt.set)
        with trio.move_on_after(2 * self._grace_s, shield=True):
            await self._ended.wait()
        if self._ended.is_set():
            self._thread.join()  # it has said its last word already
        else:
            logger.error("the asyncio thread hangs and is left behind")
            self._answer_all()

    def _run(self) -> None:
        try:
            with self._runner:
                self._runner.run(self._serve())
        except BaseException as error:
            # Also a SystemExit from a library: a thread would end silently, with its callers
            # waiting for ever.
            logger.exception("the asyncio loop failed")
            self._failure = error
        finally:
            self.post_back(self._on_end)

    async def _serve(self) -> None:
        await self._halt.wait()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace_s)
        # What still runs, the runner cancels as it closes.

    def _on_end(self) -> None:
        self._closing = True
        self._answer_all()
        self._ended.set()

    def _answer(self, caller: trio.lowlevel.Task) -> None:
        if caller in self._callers:
            self._callers.remove(caller)
            trio.lowlevel.reschedule(caller)

    def _answer_all(self) -> None:
        for caller in list(self._callers):
            self._answer(caller)

"""One trio run that waits while something synchronous, like a state machine, decides what is next.

The run lives in a greenlet of its own: nothing in it moves but during a call of `run`.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import greenlet  # type: ignore[import-untyped]  # ships no types that mypy finds
import trio
import trio.abc

from tests.wakeful_clock import run

C = TypeVar("C")
T = TypeVar("T")


class TrioHost(Generic[C]):
    """Hold an async context open between calls; `context` is what it has yielded."""

    context: C

    def __init__(
        self,
        open_context: Callable[[], AbstractAsyncContextManager[C]],
        clock: trio.abc.Clock | None = None,
    ) -> None:
        self._greenlet = greenlet.greenlet(self._host)
        self._switch(open_context, clock)

    def run(self, async_fn: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call something in the run, and return or raise what it does."""
        outcome: T = self._switch(lambda: async_fn(*args))
        return outcome

    def close(self) -> None:
        """Leave the context and end the run."""
        self._switch(None)

    def _switch(self, *args: object) -> Any:
        self._greenlet.parent = greenlet.getcurrent()
        return self._greenlet.switch(*args)

    def _host(
        self,
        open_context: Callable[[], AbstractAsyncContextManager[C]],
        clock: trio.abc.Clock | None = None,
    ) -> None:
        async def serve() -> None:
            async with open_context() as self.context:
                job = self._greenlet.parent.switch()
                while job is not None:
                    try:
                        result = await job()
                    except Exception as error:  # noqa: BLE001  # raised where it was asked for
                        job = self._greenlet.parent.throw(error)
                    else:
                        job = self._greenlet.parent.switch(result)

        run(serve, clock=clock)

"""The forecast over HTTP: a cue list against the seats of the house as they are now."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec
import trio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from scentrt.domain.forecast import PlannedCue, SeatNow, Steps, finish, forecasting
from scentrt.domain.layout import TheatrePlan
from scentrt.entrypoints.cue_list import (
    EXAMPLE,
    BadCueList,
    CueFault,
    CueList,
    CueReader,
    why_unreadable,
)
from scentrt.entrypoints.forecast_answer import Outlook
from scentrt.entrypoints.http.answers import Json
from scentrt.entrypoints.http.bodies import json_of
from scentrt.entrypoints.http.document import told

T = TypeVar("T")

_CUES = [msgspec.json.decode(line) for line in EXAMPLE.splitlines()]
_OUTLOOK = {
    "lasts": False,
    "cues": 240,
    "ends_ms": 6_131_500,
    "unsprayed": [],
    "scents": [
        {
            "zone": "A",
            "scent": "sea-breeze",
            "lasts": False,
            "seats": 24,
            "needed_s": 1_920,
            "present_s": 4_310.5,
            "uncounted_s": 0,
            "uncounted_seats": 0,
            "short_s": 12.5,
            "short_seats": 2,
            "runs_dry": {"cue": 177, "at_ms": 4_512_000, "seats": ["A-1-3", "A-1-4"]},
            "load": [
                {
                    "sku": "SEABREEZE",
                    "capacity_s": 3_600,
                    "vials": 2,
                    "seats": 2,
                    "during_show": 0,
                }
            ],
        }
    ],
}


class _Cues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cue list whose cues are still to be read."""

    cues: list[msgspec.Raw]


class ForecastPage:
    """Answer what a show needs, one forecast at a time.

    Args:
      inventory: what returns the seats as they are now; may raise `ActorError`.
    """

    def __init__(
        self,
        plan: TheatrePlan,
        inventory: Callable[[], Awaitable[Sequence[SeatNow]]],
        *,
        max_spray_ms: float,
    ) -> None:
        self._reader = CueReader(plan, max_spray_ms=max_spray_ms)
        self._catalogue = plan.catalogue
        self._inventory = inventory
        self._turn = trio.Lock()

    def add_to(self, app: FastAPI) -> None:
        """Add the route."""
        described = told(
            200,
            "What it needs, whether it lasts and, if not, what to load",
            _OUTLOOK,
            gives=Outlook,
            takes=CueList,
        )
        content = described["openapi_extra"]["requestBody"]["content"]["application/json"]
        content["example"] = {"cues": _CUES}
        app.post(
            "/forecast",
            tags=["theatre"],
            summary="Whether what is in the vials lasts for a show",
            **described,
        )(self.forecast)

    async def forecast(self, request: Request) -> Response:
        """Hold the cues of a show against what is in the vials of the seats now.

        It is the most that the cues can need: dose limits and clearing are not simulated, and every
        seat counts as online. Nothing changes.
        """
        sent = await json_of(request)
        async with self._turn:
            try:
                cues = await _aside(self._read(sent))
            except BadCueList as bad:
                raise _misfit(bad.faults) from bad
            seats = await self._inventory()
            return Json(await _aside(self._answer(cues, seats)))

    def _read(self, sent: bytes) -> Steps[list[PlannedCue]]:
        try:
            listed = msgspec.json.decode(sent, type=_Cues)
        except msgspec.ValidationError as error:
            problem = 'expected {"cues": […]}, a list of cues'
            raise BadCueList(CueFault(None, "cues", problem)) from error
        except (ValueError, RecursionError) as error:
            raise BadCueList(CueFault(None, "", why_unreadable(error))) from error
        return (yield from self._reader.reading(listed.cues))

    def _answer(self, cues: Sequence[PlannedCue], seats: Sequence[SeatNow]) -> Steps[str]:
        found = yield from forecasting(cues, seats, self._catalogue)
        return (yield from Outlook.telling(found)).model_dump_json()


async def _aside(steps: Steps[T]) -> T:
    """Take steps in a thread that gives the interpreter away after each of them.

    So a cue waits for one step at most, and on a machine that is busy it comes before the thread.
    In slices between the cues, in trio's own thread, it came several times as late.
    """
    return await trio.to_thread.run_sync(
        finish, steps, partial(time.sleep, 0), abandon_on_cancel=True
    )


def _misfit(faults: Sequence[CueFault]) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "cue", "loc": fault.loc, "msg": fault.problem} for fault in faults]
    )

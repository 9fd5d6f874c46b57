"""What is answered where something cannot be done."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from scentrt.entrypoints.http.answers import Misfit, Misfits
from scentrt.errors import (
    ActorCrashed,
    ActorError,
    ActorStopped,
    ImportConflict,
    NotInStockRoom,
    StockConflict,
    StockError,
    StoredLater,
    StoreUnavailable,
    UnitRefused,
    UnknownCustomer,
    UnknownName,
    UnknownScent,
)

RETRY_AFTER_S = 1
"""Whole seconds, as HTTP has it: a full mailbox is worked off sooner, and a database that is away
is looked for about as often."""


def add_refusals(app: FastAPI) -> None:
    """Answer errors with `{"message": "…"}` and the status of their kind."""
    app.add_exception_handler(RequestValidationError, _show_misfits)
    app.add_exception_handler(StockError, _refuse)
    app.add_exception_handler(UnknownName, _not_found)
    app.add_exception_handler(StoreUnavailable, _put_off)
    app.add_exception_handler(ActorError, _put_off)
    app.add_exception_handler(HTTPException, _pass_on)


async def _show_misfits(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    misfits = [_misfit(problem) for problem in error.errors()]
    first, more = misfits[0], len(misfits) - 1
    message = f"{'.'.join(map(str, first.loc))}: {first.msg}"
    if more:
        message += f"; and {more:,} more, see 'detail'"
    return JSONResponse(Misfits(message=message, detail=misfits).model_dump(), 422)


def _misfit(problem: Mapping[str, Any]) -> Misfit:
    kind, loc = problem["type"], problem["loc"]
    match kind:
        case "string_pattern_mismatch":
            msg = f"Input should be {_FITTING.get(loc[-1], 'one line of text, no space first')}"
        case "extra_forbidden" if loc[0] == "body":
            msg = "There is no such field here; leave it out"
        case "too_short" | "too_long":  # a list is read into a tuple, which is nobody's business
            msg = problem["msg"].replace("Tuple", "List").replace(" after validation", "")
        case _:
            msg = problem["msg"]
    return Misfit(type=kind, loc=list(loc), msg=msg)


_FITTING = {
    "address": "text without control characters",
    "email": "an address of e-mail, like box-office@roxy.example",
}
"""What would fit, by the field, where the pattern of it would say nothing."""


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    match error:
        case UnknownCustomer():  # the order is what was asked for, and it names nobody
            status = 400
        case NotInStockRoom():
            status = 404
        case StockConflict():
            status = 409
        case _:
            status = 400
    refs = {"refs": error.refs} if isinstance(error, ImportConflict) else {}
    return JSONResponse({"message": str(error), **refs}, status)


async def _not_found(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnknownScent):  # only what is sent names scents, and only in one field
        return JSONResponse({"message": f"averse_to: {error}"}, 400)
    return JSONResponse({"message": str(error)}, 404)


async def _put_off(_: Request, error: Exception) -> JSONResponse:
    match error:
        case UnitRefused():  # in whose words only the database's constraints are
            message = "Somebody changed the same at the same time; send it again"
        case StoredLater():
            message = f"It is in effect, and will be stored; the database is away: {error}"
        case StoreUnavailable():
            message = f"The database is away: {error}"
        case ActorCrashed():
            message = f"It may be done or not; send it again: {error}"
        case ActorStopped():
            message = f"It is not done: {error}"
        case _:
            message = f"Too busy: {error}"
    return JSONResponse({"message": message}, 503, {"Retry-After": str(RETRY_AFTER_S)})


async def _pass_on(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message, headers = error.detail, error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        takes = ", ".join(_methods_at(request))
        message = f"{request.url.path} takes {takes} and no {request.method}"
        headers = {"Allow": takes}
    elif "route" not in request.scope:
        message = f"There is nothing at {request.url.path}; see /docs for what there is"
    return JSONResponse({"message": message}, error.status_code, headers)


def _methods_at(request: Request) -> list[str]:
    """Return the methods of all routes of a path: Starlette tells those of the first alone."""
    return sorted(
        {
            method
            for route in request.app.routes
            if route.matches(request.scope)[0] is Match.PARTIAL
            for method in route.methods
        }
    )

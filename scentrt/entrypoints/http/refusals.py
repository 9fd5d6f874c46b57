"""What is answered where something cannot be done."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from scentrt.errors import (
    ActorCrashed,
    ActorError,
    ActorStopped,
    ImportConflict,
    NotInStockRoom,
    StockConflict,
    StockError,
    StoreUnavailable,
    UnitRefused,
    UnknownCustomer,
)

RETRY_AFTER_S = 1
"""Whole seconds, as HTTP has it: a full mailbox is worked off sooner, and a database that is away
is looked for about as often."""


def add_refusals(app: FastAPI) -> None:
    """Answer errors with `{"message": "…"}` and the status of their kind."""
    app.add_exception_handler(StockError, _refuse)
    app.add_exception_handler(StoreUnavailable, _put_off)
    app.add_exception_handler(ActorError, _put_off)
    app.add_exception_handler(HTTPException, _pass_on)


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


async def _put_off(_: Request, error: Exception) -> JSONResponse:
    match error:
        case UnitRefused():  # in whose words only the database's constraints are
            message = "Somebody changed the same at the same time; send it again"
        case StoreUnavailable():
            message = f"The database is away: {error}"
        case ActorCrashed():
            message = f"It may be done or not; send it again: {error}"
        case ActorStopped():
            message = f"It is not done: {error}"
        case _:
            message = f"Too busy: {error}"
    return JSONResponse({"message": message}, 503, {"Retry-After": str(RETRY_AFTER_S)})


async def _pass_on(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)

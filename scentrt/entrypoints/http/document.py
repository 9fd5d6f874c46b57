"""What the OpenAPI document says of a route, beyond what FastAPI sees in its function."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

import msgspec
import trio
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route

from scentrt.entrypoints.cue_list import CueList
from scentrt.entrypoints.forecast_answer import Outlook
from scentrt.entrypoints.http.answers import ANSWERS, Misfits, Problem
from scentrt.entrypoints.http.bodies import BODIES, refuse_other_queries

_MISFITS = {
    "message": "body.qty: Input should be greater than or equal to 1",
    "detail": [
        {
            "type": "greater_than_equal",
            "loc": ["body", "qty"],
            "msg": "Input should be greater than or equal to 1",
        }
    ],
}

_ASKED = {
    "message": "query.limit: Input should be less than or equal to 1000",
    "detail": [
        {
            "type": "less_than_equal",
            "loc": ["query", "limit"],
            "msg": "Input should be less than or equal to 1000",
        }
    ],
}


def told(
    status: int,
    what: str,
    example: object,
    *,
    gives: type[BaseModel] | None = None,
    takes: type[BaseModel | CueList] | None = None,
    refuses: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """Describe a route of the stock, as keywords for FastAPI.

    It refuses a query that it does not know; with a body, as that is read.

    Args:
      status: that of an answer; `what` says what it means, and `example` is one.
      gives: the shape of the answer, where it is an object.
      takes: the shape of the body, where there is one.
      refuses: messages by their status.
    """
    refused = {**(refuses or {}), 503: "The database is away: disk I/O error"}
    responses: dict[int, dict[str, Any]] = {status: _response(what, gives, example)}
    responses |= {no: _response(_WHY[no], Problem, {"message": m}) for no, m in refused.items()}
    responses[503]["headers"] = {
        "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
    }
    described: dict[str, Any] = {"status_code": status, "responses": responses}
    responses[422] = _response("Something does not fit", Misfits, _MISFITS if takes else _ASKED)
    if takes is None:
        described["dependencies"] = [Depends(refuse_other_queries)]
    else:
        body = {"application/json": {"schema": _reference(takes)}}
        described["openapi_extra"] = {"requestBody": {"required": True, "content": body}}
    return described


_WHY = {
    400: "What is named there is not known",
    404: "There is nothing of this name",
    409: "Something else is in the way",
    503: "Try again",
}


def _response(what: str, gives: type[BaseModel] | None, example: object) -> dict[str, Any]:
    # Had FastAPI the shape itself, it would prepare to write it, a hundred times at each start.
    shape = {} if gives is None else {"schema": _reference(gives)}
    return {"description": what, "content": {"application/json": {**shape, "example": example}}}


def _reference(shape: type[BaseModel | CueList]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _forget_misfits_of_paths(document: dict[str, Any]) -> None:
    """Take back what FastAPI says of 422 by itself: whatever stands in a path fits."""
    for methods in document["paths"].values():
        for operation in methods.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in "HTTPValidationError", "ValidationError":
        document["components"]["schemas"].pop(name, None)


def _schemas() -> dict[str, Any]:
    """Return the shapes to which routes refer by their names."""
    _, found = models_json_schema(
        [
            *((body, "validation") for body in BODIES),
            *((answer, "serialization") for answer in (*ANSWERS, Outlook)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    _, cue_list = msgspec.json.schema_components(
        [CueList], ref_template="#/components/schemas/{name}"
    )
    return {**found["$defs"], **cue_list}


def complete_document(app: FastAPI, *, protected: bool) -> None:
    """Have an application that has all its routes tell its document, complete.

    It is made when somebody first asks, which spares the start a tenth of a second, and in a
    thread, which spares that to the cues.
    """
    begin, turn = app.openapi, Lock()

    def openapi() -> dict[str, Any]:
        with turn:
            if app.openapi_schema is None:
                document = begin()
                _complete(document, protected=protected)
            assert app.openapi_schema is not None
            return app.openapi_schema

    async def tell(_: Request) -> Response:
        return JSONResponse(await trio.to_thread.run_sync(openapi))

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own advice
    # Before FastAPI's own route, which makes it in everybody's thread.
    app.router.routes.insert(0, Route("/openapi.json", tell))


def _complete(document: dict[str, Any], *, protected: bool) -> None:
    document["components"]["schemas"] |= _schemas()
    _forget_misfits_of_paths(document)
    if protected:
        document["components"]["securitySchemes"] = {
            "operator": {"type": "http", "scheme": "bearer"}
        }
        document["security"] = [{"operator": []}]

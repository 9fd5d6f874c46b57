"""The HTTP server: whether the server is alive, and whether it can serve."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

import scentrt


class Alive(BaseModel):
    """The process runs."""

    status: str = "alive"


class Ready(BaseModel):
    """Whether the server can serve; `reasons` say why not, `remarks` what is amiss all the same."""

    ready: bool
    reasons: list[str] = []
    remarks: list[str] = []


@dataclass(frozen=True, slots=True)
class Readiness:
    """What stands in the way of serving, and what is amiss without standing in the way."""

    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def create_app(
    readiness: Callable[[], Readiness], lets_in: Callable[[str | None], bool] | None = None
) -> FastAPI:
    """Build the application; `readiness` is asked at each request and must not wait.

    With `lets_in`, every request must bring a bearer token that it says yes to.
    """
    app = FastAPI(title="ScentRT", version=scentrt.__version__)
    if lets_in is not None:
        app.add_middleware(TokenCheck, lets_in=lets_in)

    @app.get("/healthz")
    async def healthz() -> Alive:
        """Answer 200 as long as the process is alive."""
        return Alive()

    @app.get("/readyz", responses={503: {"model": Ready, "description": "Not able to serve"}})
    async def readyz(response: Response) -> Ready:
        """Answer 200 when cues are taken, 503 and why when they are not."""
        now = readiness()
        if now.reasons:
            response.status_code = 503
        return Ready(ready=not now.reasons, reasons=list(now.reasons), remarks=list(now.remarks))

    return app


class TokenCheck:
    """Turn away, with 401, whoever brings no token or a wrong one."""

    def __init__(self, app: ASGIApp, lets_in: Callable[[str | None], bool]) -> None:
        self._app = app
        self._lets_in = lets_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may come in."""
        app = self._app
        if scope["type"] == "http":
            scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self._lets_in(token.strip()):
                app = JSONResponse(
                    {"message": "Send an operator's token: 'Authorization: Bearer …'"},
                    status_code=401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
        await app(scope, receive, send)

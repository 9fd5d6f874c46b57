"""Whether the server is alive, and whether it can serve."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI, Response
from pydantic import BaseModel


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


def add_health(app: FastAPI, readiness: Callable[[], Readiness]) -> None:
    """Add the routes; `readiness` is asked at each request and must not wait."""

    @app.get("/healthz", tags=["server"], summary="Is it alive")
    async def healthz() -> Alive:
        """Answer 200 as long as the process is alive."""
        return Alive()

    @app.get(
        "/readyz",
        tags=["server"],
        summary="Can it serve",
        responses={503: {"model": Ready, "description": "Not able to serve"}},
    )
    async def readyz(response: Response) -> Ready:
        """Answer 200 when cues are taken, 503 and why when they are not."""
        now = readiness()
        if now.reasons:
            response.status_code = 503
        return Ready(ready=not now.reasons, reasons=list(now.reasons), remarks=list(now.remarks))

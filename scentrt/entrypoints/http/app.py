"""The application that is served over HTTP."""

from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

import scentrt
from scentrt.actors.seat_desk import SeatKeeper
from scentrt.actors.vial_desk import VialKeeper
from scentrt.entrypoints.http.document import complete_document
from scentrt.entrypoints.http.forecast import ForecastPage
from scentrt.entrypoints.http.gate import OriginCheck, TokenCheck
from scentrt.entrypoints.http.health import Readiness, add_health
from scentrt.entrypoints.http.journal_page import JournalPage
from scentrt.entrypoints.http.metrics import (
    CONTENT_TYPE_LATEST,
    CountedOwner,
    CountedRequests,
    Metrics,
)
from scentrt.entrypoints.http.refusals import add_refusals
from scentrt.entrypoints.http.seat_pages import SeatPages
from scentrt.entrypoints.http.stock_commands import StockCommands
from scentrt.entrypoints.http.stock_pages import StockPages
from scentrt.entrypoints.http.vial_pages import VialPages
from scentrt.service_layer.messagebus import Owner
from scentrt.service_layer.views import Views

_ABOUT = """\
Orders are allocated to batches here, durably: whatever was answered with 201 or 202 is on disk.

The same request may be sent again at any time, and changes nothing that is done already; 503 asks
for that. Quantities are whole numbers. Names are one line of text; in a path, percent-encode them.
Errors are `{"message": "…"}`, a sentence; with 422, `detail` says of everything that does not fit
where it is and what would.
"""


def create_app(
    bus: Owner,
    views: Views,
    readiness: Callable[[], Readiness],
    metrics: Metrics,
    *,
    seats: SeatKeeper,
    lets_in: Callable[[str | None], bool] | None = None,
    allows_origin: Callable[[str], bool] = lambda _: False,
    forecasts: ForecastPage | None = None,
    vials: VialKeeper | None = None,
) -> FastAPI:
    """Build the application.

    Args:
      bus: where commands are handed in, a `MessageBus`.
      seats: where it is set what seats want, a `SeatDesk`.
      readiness: asked at each request; must not wait.
      lets_in: if given, every request must bring a bearer token that it says yes to.
      allows_origin: without tokens, which web pages may call, beside this server's own.
      forecasts: what tells whether vials last, where there is a theatre.
      vials: where they are loaded and unloaded, likewise.
    """
    gate = (
        Middleware(OriginCheck, allows=allows_origin)
        if lets_in is None
        else Middleware(TokenCheck, lets_in=lets_in)
    )
    app = FastAPIOffline(  # its /docs loads nothing from elsewhere
        title="ScentRT",
        version=scentrt.__version__,
        description=_ABOUT,
        redoc_url=None,
        middleware=[Middleware(CountedRequests, metrics=metrics), gate],
    )
    StockCommands(CountedOwner(bus, metrics)).add_to(app)
    StockPages(views).add_to(app)
    SeatPages(seats).add_to(app)
    if forecasts is not None:
        forecasts.add_to(app)
    JournalPage(views).add_to(app)
    if vials is not None:
        VialPages(vials, views).add_to(app)
    add_health(app, readiness)
    add_refusals(app)

    @app.get(
        "/metrics",
        tags=["server"],
        summary="How it is, for Prometheus",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    )
    async def metrics_page() -> Response:
        """Return what is counted and measured, by names that begin with `scentrt_`."""
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    complete_document(app, protected=lets_in is not None)
    return app

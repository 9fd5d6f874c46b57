"""What an order over HTTP is measured against: the server's HTTP, at which nothing is to be done.

Run as a program, it prints its address. A POST to `/empty` passes through everything that an order
does until its function is called, and is answered.
"""

import trio
from fastapi import FastAPI, Request, Response
from starlette.middleware import Middleware

from scentrt.bootstrap.server import tune_process
from scentrt.bootstrap.sockets import listener_of, listening_on, url_of
from scentrt.entrypoints.http.answers import OK, Json
from scentrt.entrypoints.http.gate import OriginCheck
from scentrt.entrypoints.http.metrics import CountedRequests, Metrics
from scentrt.entrypoints.http.server import serve_http
from scentrt.entrypoints.http.stock_commands import PlainRoute


def create_app() -> FastAPI:
    """Build the server's application, with one route."""
    app = FastAPI(
        middleware=[
            Middleware(CountedRequests, metrics=Metrics()),
            Middleware(OriginCheck, allows=lambda _: False),
        ]
    )
    answered = Json(OK, 202)

    async def empty(_: Request) -> Response:
        return answered

    app.router.add_api_route("/empty", empty, methods=["POST"], route_class_override=PlainRoute)
    return app


async def serve() -> None:
    """Serve on a free port until cancelled."""
    with listening_on("http", "127.0.0.1", 0) as listening:
        app = create_app()
        tune_process()
        print(url_of("http", listening), flush=True)
        await serve_http(app, listener_of(listening), trio.Event())


if __name__ == "__main__":
    trio.run(serve)

"""Who is let in: on this machine everybody but web pages, and from elsewhere who has a token."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from scentrt.config import is_loopback


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


class OriginCheck:
    """Turn away, with 403, the pages of other sites: they reach what only this machine reaches.

    `allows` says which may all the same. A page of this server's own, such as its `/docs`, may if
    it was called by an address of this machine and not by a name, since a name may be anybody's.
    """

    def __init__(self, app: ASGIApp, allows: Callable[[str], bool]) -> None:
        self._app = app
        self._allows = allows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may come in."""
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if not (origin is None or self._allows(origin) or _is_own(origin, headers)):
                app = JSONResponse(
                    {"message": "Pages of other sites are not allowed; see 'origins'"},
                    status_code=403,
                )
        await app(scope, receive, send)


def _is_own(origin: str, headers: Headers) -> bool:
    host = headers.get("host", "")
    name = host.rpartition(":")[0] or host
    return origin == f"http://{host}" and is_loopback(name.removeprefix("[").removesuffix("]"))

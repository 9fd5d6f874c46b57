"""The HTTP server: h11 over trio, and each connection behind a boundary of its own.

A request is read whole before the application sees it, and its size and its time are bounded, so
that no handler waits for a client. Whatever a client sends, or does not send or read, it ends his
connection at most. HTTP/1.1 is all there is: no second protocol, and nothing to upgrade to.
"""

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from typing import NoReturn, TypeAlias
from urllib.parse import unquote

import h11
import trio
from starlette.types import ASGIApp, Message, Scope

MOST_HEAD = 16 * 1024
MOST_BODY = 1024 * 1024
MOST_CONNECTIONS = 500
"""Shops have a few dozen; more would take the file descriptors that the audience needs."""

IDLE_S = 60.0
"""How long a connection is kept on which nothing is asked, longer than clients keep theirs."""
HEAD_WITHIN_S = 5.0
BODY_WITHIN_S = 5.0
TAKEN_WITHIN_S = 5.0
"""How long a client may take to accept each piece of an answer."""
LINGER_S = 2.0
"""How long a refused client may go on sending before he is cut, and then may miss the refusal."""
GRACE_S = 1.0
"""How long a request that is under way may take when the server stops."""

FEW = 16
REQUESTS_PER_TURN = 4
"""Of more than a few. Each is a tenth of a millisecond of work before it is answered, and another
one after."""

_PIECE = 64 * 1024

log = logging.getLogger(__name__)

_Event: TypeAlias = "h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]"


async def serve_http(
    app: ASGIApp,
    listener: trio.SocketListener,
    stopping: trio.Event,
    on_refusal: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve `app` until `stopping` is set.

    Then nobody is taken in any more, idle connections are closed, and requests that are under way
    are answered within `GRACE_S`.

    `on_refusal` is told the status of whatever is answered here, past the application.
    """
    turns = _Turns()
    door = _Door(app, turns, on_refusal)
    async with trio.open_nursery() as always:
        always.start_soon(turns.run)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as taking_in:
                serve = partial(trio.serve_listeners, handler_nursery=connections)
                taking_in.start_soon(serve, door.serve, [listener])
                await stopping.wait()
                taking_in.cancel_scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + GRACE_S
            door.close()
        always.cancel_scope.cancel()


class _Refused(Exception):
    """A request that never gets as far as the application."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class _Turns:
    """Let a few requests go on at a time, and in between everybody else.

    Whatever is able to go on at one moment does, before anybody looks for what is new. With the
    requests of 200 shops that would be a tenth of a second, in which a cue waits. A few go on
    together, a millisecond or two at most, so that what they order is stored together.
    """

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._came = trio.Event()

    async def run(self) -> NoReturn:
        """Let them go on, in the order in which they came."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            while self._waiting:
                waiting = len(self._waiting)
                self._waiting.unpark(count=waiting if waiting <= FEW else REQUESTS_PER_TURN)
                await trio.lowlevel.checkpoint()

    async def take(self) -> None:
        """Return when it is one's turn."""
        self._came.set()
        await self._waiting.park()


class _Door:
    """All connections."""

    def __init__(self, app: ASGIApp, turns: _Turns, on_refusal: Callable[[int], None]) -> None:
        self._app = app
        self._turns = turns
        self._on_refusal = on_refusal
        self._open: set[_Connection] = set()
        self._is_closed = False

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = _Connection(self._app, self._turns, stream, self._on_refusal)
        try:
            async with stream:
                if len(self._open) >= MOST_CONNECTIONS:
                    await connection.refuse(_Refused(503, "too many connections"))
                elif not self._is_closed:
                    self._open.add(connection)
                    await connection.serve()
        except (OSError, trio.BrokenResourceError):
            pass  # the client went away
        except Exception:
            log.exception("an HTTP connection failed")
        finally:
            self._open.discard(connection)

    def close(self) -> None:
        self._is_closed = True
        for connection in self._open:
            connection.let_go()


class _Connection:
    """One connection: its requests, one after the other."""

    def __init__(
        self,
        app: ASGIApp,
        turns: _Turns,
        stream: trio.SocketStream,
        on_refusal: Callable[[int], None],
    ) -> None:
        self._app = app
        self._turns = turns
        self._on_refusal = on_refusal
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        self._waiting = trio.CancelScope()  # for a request to begin
        self._is_last = False  # the request that is under way, or waited for
        self._is_lost = False  # the client does not take what it is sent

    def let_go(self) -> None:
        """Take no further request."""
        self._is_last = True
        self._waiting.cancel()

    async def serve(self) -> None:
        """Answer requests until there are no more."""
        peer = self._stream.socket.getpeername()
        try:
            while (request := await self._read_head()) is not None:
                body = await self._read_body(request)
                await self._answer(_scope_of(request, peer), body)
                if self._is_last or self._is_lost or not self._is_through:
                    return
                self._http.start_next_cycle()
        except _Refused as refused:
            await self.refuse(refused)
            await self._linger()

    async def refuse(self, refused: _Refused) -> None:
        """Answer in place of the application, for the last time."""
        self._is_last = True
        self._on_refusal(refused.status)
        body = json.dumps({"message": str(refused)}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if refused.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        await self._write(self._start(refused.status, headers) + self._rest(body))

    @property
    def _is_through(self) -> bool:
        return self._http.our_state is self._http.their_state is h11.DONE

    # Reading

    async def _read_head(self) -> h11.Request | None:
        """Read the head of the next request; None where no more comes."""
        event = self._next_event()
        if event is h11.NEED_DATA:
            self._waiting.deadline = trio.current_time() + IDLE_S
            with self._waiting:
                self._http.receive_data(await self._stream.receive_some(_PIECE))
            if self._waiting.cancelled_caught:
                return None
            self._waiting = trio.CancelScope()
            await self._turns.take()
            event = self._next_event()
        deadline = trio.current_time() + HEAD_WITHIN_S
        while event is h11.NEED_DATA:
            await self._receive_by(deadline, f"the head took more than {HEAD_WITHIN_S:g} s")
            event = self._next_event()
        if not isinstance(event, h11.Request):
            return None
        if not event.http_version.startswith(b"1."):
            raise _Refused(505, "HTTP/1.1 is spoken here")
        return event

    async def _read_body(self, request: h11.Request) -> bytes:
        told = dict(request.headers).get(b"content-length", b"0")
        body = bytearray()
        deadline = trio.current_time() + BODY_WITHIN_S
        while max(len(body), int(told)) <= MOST_BODY:
            match self._next_event():
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage():
                    return bytes(body)
                case _:
                    late = f"the body took more than {BODY_WITHIN_S:g} s"
                    await self._receive_by(deadline, late)
        raise _Refused(413, f"the body is larger than {MOST_BODY:,} bytes")

    def _next_event(self) -> _Event:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise _Refused(error.error_status_hint, f"{error!s:.200}") from error

    async def _receive_by(self, deadline: float, late: str) -> None:
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await self._write(self._http.send(go_on) or b"")
        try:
            with trio.fail_at(deadline):
                self._http.receive_data(await self._stream.receive_some(_PIECE))
        except trio.TooSlowError:
            raise _Refused(408, late) from None

    async def _linger(self) -> None:
        # Closed at once, a socket with something unread takes what was just written with it.
        with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError):
            await self._stream.send_eof()
            while await self._stream.receive_some(_PIECE):
                pass

    # Answering

    async def _answer(self, scope: Scope, body: bytes) -> None:
        asked: Message | None = {"type": "http.request", "body": body, "more_body": False}
        held = b""

        async def receive() -> Message:
            nonlocal asked
            if asked is None:
                await trio.sleep_forever()  # until the answer is there
            message, asked = asked, None
            return message

        async def send(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                await self._turns.take()
                held = self._start(message["status"], [*message.get("headers", ())])
                return
            data = b"" if scope["method"] == "HEAD" else message.get("body", b"")
            ends = not message.get("more_body", False)
            head, held = held, b""
            await self._write(head + self._rest(data, ends=ends))

        try:
            await self._app(scope, receive, send)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if self._http.our_state is h11.SEND_RESPONSE:
                raise _Refused(500, "the server failed at this request") from None
            # What was begun cannot be taken back, and its end would be a lie.

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        headers.append((b"date", _date()))
        if self._is_last:
            headers.append((b"connection", b"close"))
        return self._http.send(h11.Response(status_code=status, headers=headers)) or b""

    def _rest(self, data: bytes, *, ends: bool = True) -> bytes:
        sent = (self._http.send(h11.Data(data=data)) or b"") if data else b""
        return sent + (self._http.send(h11.EndOfMessage()) or b"") if ends else sent

    async def _write(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            if self._is_lost:
                return
            in_time = trio.CancelScope(deadline=trio.current_time() + TAKEN_WITHIN_S)
            try:
                with in_time:
                    await self._stream.send_all(data[at : at + _PIECE])
            except trio.BrokenResourceError:
                self._is_lost = True
            self._is_lost |= in_time.cancelled_caught


def _scope_of(request: h11.Request, peer: tuple[str, int]) -> Scope:
    target = request.target
    if not target.startswith(b"/"):  # the absolute form, as proxies may have it
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.http_version.decode(),
        "method": request.method.decode(),
        "scheme": "http",
        "path": unquote(path.decode()),  # what is no UTF-8 becomes U+FFFD, and is found nowhere
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers),
        "client": peer[:2],
        "server": None,
    }


def _date() -> bytes:
    return _date_at(int(time.time()))


@lru_cache(maxsize=1)
def _date_at(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()

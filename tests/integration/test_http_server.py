"""The HTTP server takes requests from whoever keeps the rules, and suffers from nobody else."""

import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from starlette.types import Receive, Scope, Send

from scentrt.bootstrap.sockets import listener_of, listening_on
from scentrt.entrypoints.http import server
from scentrt.entrypoints.http.server import MOST_BODY, REQUESTS_PER_TURN, serve_http

GET = b"GET /who HTTP/1.1\r\nHost: roxy\r\n\r\n"
HUGE = 8 * 1024 * 1024
"""More than the kernel holds for a client who does not read."""


class Echo:
    """Answers method, path and size of the body; some paths do something else.

    `seen` has every request that was asked, `going` is set for one that waits for `go`.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.going = trio.Event()
        self.go = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        self.seen.append(scope["path"])
        answer = f"{scope['method']} {scope['path']} {len(body)}".encode()
        match scope["path"]:
            case "/bug":
                raise ZeroDivisionError
            case "/huge":
                answer = b"x" * HUGE
            case "/wait":
                self.going.set()
                await self.go.wait()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/half":
            raise ZeroDivisionError
        await send({"type": "http.response.body", "body": answer})


class Client:
    """One connection, byte by byte."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._early = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self) -> tuple[int, bytes]:
        """Return status and body of the next answer."""
        while b"\r\n\r\n" not in self._early:
            self._early += await self._more()
        head, _, self._early = self._early.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields.get(b"content-length", b"0"))
        while len(self._early) < size:
            self._early += await self._more()
        body, self._early = self._early[:size], self._early[size:]
        return int(head.split()[1]), body

    async def problem(self) -> tuple[int, str]:
        """Return status and message of an answer that is the last one."""
        status, body = await self.answer()
        await self.ends()
        return status, json.loads(body)["message"]

    async def ends(self) -> None:
        """Wait until the server has ended the connection, having said no more."""
        assert not self._early
        assert await self.stream.receive_some() == b""

    async def _more(self) -> bytes:
        data = bytes(await self.stream.receive_some())
        assert data, "the connection ended"
        return data


class Served:
    """A server of `Echo`."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.app = Echo()
        self.stopping = trio.Event()
        self.stopped = trio.Event()
        self._listener = listener
        self._at = listener.socket.getsockname()

    async def run(self) -> None:
        await serve_http(self.app, self._listener, self.stopping)
        self.stopped.set()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        with trio.fail_after(30):
            async with await trio.open_tcp_stream(*self._at) as stream:
                yield Client(stream)

    async def is_well(self) -> bool:
        """Say whether somebody else is served."""
        async with self.client() as client:
            await client.send(GET)
            return await client.answer() == (200, b"GET /who 0")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    with listening_on("http", "127.0.0.1", 0) as listening:
        async with trio.open_nursery() as nursery:
            served = Served(listener_of(listening))
            nursery.start_soon(served.run)
            yield served
            nursery.cancel_scope.cancel()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server wait for clients for tenths of a second instead of seconds."""
    for name in ("HEAD_WITHIN_S", "BODY_WITHIN_S", "TAKEN_WITHIN_S", "LINGER_S"):
        monkeypatch.setattr(server, name, 0.2)


def post(path: str, *fields: str, body: bytes = b"") -> bytes:
    head = "\r\n".join((f"POST {path} HTTP/1.1", "Host: roxy", *fields))
    return head.encode() + b"\r\n\r\n" + body


class TestRequests:
    async def test_one_connection_takes_many_requests_also_before_the_first_is_answered(
        self, served: Served
    ) -> None:
        async with served.client() as client:
            await client.send(GET)
            assert await client.answer() == (200, b"GET /who 0")
            await client.send(post("/a%2Fb", "Content-Length: 3", body=b"abc") + GET)
            assert await client.answer() == (200, b"POST /a/b 3")
            assert await client.answer() == (200, b"GET /who 0")

    async def test_a_request_may_come_byte_by_byte_and_its_body_in_chunks(
        self, served: Served
    ) -> None:
        chunks = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        async with served.client() as client:
            for byte in post("/", "Transfer-Encoding: chunked", body=chunks):
                await client.send(bytes([byte]))
            assert await client.answer() == (200, b"POST / 5")

    async def test_whoever_asks_whether_to_send_a_body_is_told_to(self, served: Served) -> None:
        async with served.client() as client:
            await client.send(post("/", "Content-Length: 3", "Expect: 100-continue"))
            assert await client.answer() == (100, b"")
            await client.send(b"abc")
            assert await client.answer() == (200, b"POST / 3")

    async def test_head_is_answered_without_a_body(self, served: Served) -> None:
        async with served.client() as client:
            await client.send(b"HEAD / HTTP/1.1\r\nHost: roxy\r\nConnection: close\r\n\r\n")
            assert b"content-length: 8" in (head := bytes(await client.stream.receive_some()))
            assert head.endswith(b"\r\n\r\n")
            await client.ends()

    async def test_proxies_may_name_the_host_in_the_target(self, served: Served) -> None:
        async with served.client() as client:
            await client.send(b"GET http://roxy/who?x HTTP/1.1\r\nHost: roxy\r\n\r\n")
            assert await client.answer() == (200, b"GET /who 0")

    async def test_a_client_of_old_is_answered_once(self, served: Served) -> None:
        async with served.client() as client:
            await client.send(b"GET /who HTTP/1.0\r\n\r\n")
            assert await client.answer() == (200, b"GET /who 0")
            await client.ends()

    async def test_a_client_that_has_said_all_is_answered_still(self, served: Served) -> None:
        async with served.client() as client:
            await client.send(GET)
            await client.stream.send_eof()
            assert await client.answer() == (200, b"GET /who 0")
            await client.ends()

    async def test_an_upgrade_is_not_taken_up(self, served: Served) -> None:
        async with served.client() as client:
            await client.send(
                b"GET /who HTTP/1.1\r\nHost: roxy\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
            )
            assert await client.answer() == (200, b"GET /who 0")


class TestLimits:
    async def test_a_body_may_have_a_mebibyte(self, served: Served) -> None:
        async with served.client() as client:
            body = bytes(MOST_BODY)
            await client.send(post("/", f"Content-Length: {MOST_BODY}", body=body))
            assert await client.answer() == (200, f"POST / {MOST_BODY}".encode())

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            (f"Content-Length: {MOST_BODY + 1}", b""),
            (f"Content-Length: {HUGE}", bytes(HUGE)),
            ("Content-Length: 99999999999999999999", b""),
            ("Transfer-Encoding: chunked", f"{HUGE:x}\r\n".encode() + bytes(HUGE)),
        ],
    )
    async def test_a_larger_one_is_refused_also_to_him_who_sends_it_all_first(
        self, served: Served, field: str, body: bytes
    ) -> None:
        async with served.client() as client:
            await client.send(post("/", field, body=body))
            await client.stream.send_eof()
            assert await client.problem() == (413, "the body is larger than 1,048,576 bytes")
        assert served.app.seen == []

    @pytest.mark.parametrize(
        ("status", "data"),
        [
            (400, b"\0\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: roxy\r\nHost: rex\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: roxy\r\nContent-Length: -1\r\n\r\n"),
            (400, b"GET /\xff HTTP/1.1\r\nHost: roxy\r\n\r\n"),
            (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
            (400, post("/", "Transfer-Encoding: chunked", body=b"x\r\n")),
            (400, post("/", "Content-Length: 5", body=b"four")),
            (431, b"GET / HTTP/1.1\r\nX: " + b"x" * 17_000),
            (501, post("/", "Transfer-Encoding: gzip")),
        ],
    )
    async def test_what_is_no_request_is_refused(
        self, served: Served, status: int, data: bytes
    ) -> None:
        async with served.client() as client:
            await client.send(data)
            await client.stream.send_eof()
            assert (await client.problem())[0] == status
        assert served.app.seen == []
        assert await served.is_well()

    @pytest.mark.usefixtures("hasty")
    @pytest.mark.parametrize("data", [GET[:-1], post("/", "Content-Length: 9", body=b"half")])
    async def test_a_client_that_takes_too_long_is_cut(self, served: Served, data: bytes) -> None:
        async with served.client() as client:
            await client.send(data)
            status, message = await client.problem()
        assert status == 408
        assert message.endswith("took more than 0.2 s")
        assert served.app.seen == []

    @pytest.mark.usefixtures("hasty")
    async def test_a_client_that_trickles_is_cut_all_the_same(self, served: Served) -> None:
        async with served.client() as client, trio.open_nursery() as nursery:

            async def trickle() -> None:
                while True:
                    await client.send(b"x")
                    await trio.sleep(0.05)

            await client.send(post("/", "Content-Length: 900000"))
            nursery.start_soon(trickle)
            assert (await client.answer())[0] == 408
            nursery.cancel_scope.cancel()

    async def test_a_client_that_goes_in_the_middle_is_missed_by_nobody(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        for data in (b"", GET[:-1], post("/", "Content-Length: 9", body=b"half")):
            async with served.client() as client:
                await client.send(data)
        async with served.client() as client:
            await client.send(post("/wait"))
            await served.app.going.wait()
        served.app.go.set()
        assert await served.is_well()
        assert served.app.seen == ["/wait", "/who"]
        assert not caplog.records

    async def test_there_are_so_many_connections_and_no_more(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "MOST_CONNECTIONS", 1)
        async with served.client() as first:
            await first.send(GET)
            assert await first.answer() == (200, b"GET /who 0")
            async with served.client() as second:
                assert await second.problem() == (503, "too many connections")
            await first.send(GET)
            assert await first.answer() == (200, b"GET /who 0")


class TestTurns:
    async def test_requests_that_come_all_at_once_let_others_go_on_in_between(
        self, served: Served
    ) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(served.client()) for _ in range(50)]
            await trio.testing.wait_all_tasks_blocked()
            for client in clients:
                os.write(client.stream.socket.fileno(), GET)  # with nobody's turn in between
            most = 0
            while len(served.app.seen) < len(clients):
                before = len(served.app.seen)
                await trio.lowlevel.checkpoint()
                most = max(most, len(served.app.seen) - before)
            # Some may go on late in one round of the loop, and as many early in the next.
            assert most <= 2 * REQUESTS_PER_TURN
            for client in clients:
                assert await client.answer() == (200, b"GET /who 0")


class TestFaults:
    async def test_a_bug_is_answered_and_logged_and_concerns_nobody_else(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with served.client() as client:
            await client.send(post("/bug"))
            assert await client.problem() == (500, "the server failed at this request")
        assert [record.message for record in caplog.records] == ["POST /bug failed"]
        assert caplog.records[0].exc_info
        assert await served.is_well()

    async def test_an_answer_that_was_begun_and_cannot_be_ended_ends_with_the_connection(
        self, served: Served, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with served.client() as client:
            await client.send(post("/half"))
            await client.ends()
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert await served.is_well()


class TestStopping:
    async def test_who_is_idle_is_let_go_and_who_has_asked_is_answered(
        self, served: Served
    ) -> None:
        async with served.client() as new, served.client() as idle, served.client() as busy:
            await idle.send(GET)
            assert await idle.answer() == (200, b"GET /who 0")
            await busy.send(post("/wait"))
            await served.app.going.wait()
            served.stopping.set()
            await new.ends()
            await idle.ends()
            served.app.go.set()
            assert await busy.answer() == (200, b"POST /wait 0")
            await busy.ends()
            await served.stopped.wait()

    @pytest.mark.usefixtures("hasty")
    async def test_neither_a_client_who_does_not_read_nor_one_who_does_not_write_delays_it(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "GRACE_S", 0.1)
        monkeypatch.setattr(server, "TAKEN_WITHIN_S", 60)
        monkeypatch.setattr(server, "HEAD_WITHIN_S", 60)
        async with served.client() as deaf, served.client() as mute, served.client() as slow:
            await deaf.send(post("/huge"))
            await mute.send(GET[:-1])
            await slow.send(post("/wait"))
            await served.app.going.wait()
            served.stopping.set()
            with trio.fail_after(30):
                await served.stopped.wait()

    @pytest.mark.usefixtures("hasty")
    async def test_a_client_who_does_not_read_is_cut(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "GRACE_S", 60)
        async with served.client() as deaf:
            await deaf.send(post("/huge"))
            assert await deaf.stream.receive_some(1)
            served.stopping.set()
            await served.stopped.wait()

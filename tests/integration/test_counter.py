"""What the counter asks of a server, and what it makes of what that says or does not say."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio

from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    CheckBatches,
    Command,
    CreateBatch,
    ImportBatches,
    ReceiveBatch,
)
from scentrt.domain.names import BatchRef, OrderId
from scentrt.entrypoints.counter import Counter
from scentrt.errors import ConfigError, DatabaseInUse, ImportConflict, StockError, StoreUnavailable
from tests.goods import PINE, SEA, TODAY

B1 = CreateBatch(BatchRef("b/1"), SEA, 10, TODAY)
LINE = Allocate(OrderId("o/1"), SEA, 4)


@dataclass
class Server:
    """A server that gives its `answers`, each a status and a text, and then hangs up."""

    answers: list[tuple[int, str]]
    heard: list[str] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one request."""
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += await stream.receive_some()
        head, _, body = asked.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
        while lengths and len(body) < int(lengths[0][15:]):
            body += await stream.receive_some()
        self.heard.append((head.partition(b" HTTP/1.1\r\n")[0] + b" " + body).decode())
        if self.answers:
            status, said = self.answers.pop(0)
            head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(said)}\r\n\r\n".encode()
            await stream.send_all(head + said.encode())


@asynccontextmanager
async def serving(*answers: tuple[int, str]) -> AsyncIterator[tuple[Server, Counter]]:
    server = Server(list(answers))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        port: int = listener.socket.getsockname()[1]
        yield server, Counter("0.0.0.0", port, None, DatabaseInUse("a.db", "is in use by 7"))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("command", "answers", "asked", "answer"),
    [
        (
            B1,
            [(201, '"OK"')],
            ['POST /add_batch {"ref": "b/1", "sku": "SEA-BREEZE", "qty": 10, "eta": "2026-03-02"}'],
            None,
        ),
        (ReceiveBatch(BatchRef("b/1")), [(202, "OK")], ["POST /batches/b%2F1/receive "], None),
        (
            LINE,
            [
                (202, "OK"),
                (
                    200,
                    json.dumps([{"sku": PINE, "batchref": "b-2"}, {"sku": SEA, "batchref": "b/1"}]),
                ),
            ],
            [
                'POST /allocate {"orderid": "o/1", "sku": "SEA-BREEZE", "qty": 4}',
                "GET /allocations/o%2F1 ",
            ],
            "b/1",
        ),
        (LINE, [(202, "OK"), (404, '{"message": "none"}')], None, None),
        (LINE, [(202, "OK"), (200, '[{"sku": "PINE", "batchref": "b-2"}]')], None, None),
        (
            CheckBatches((CreateBatch(BatchRef("b-2"), PINE, 1),)),
            [(201, '{"new": 1}')],
            [
                "POST /batches?dry_run=true "
                '{"batches": [{"ref": "b-2", "sku": "PINE-FOREST", "qty": 1, "eta": null}]}'
            ],
            1,
        ),
        (ImportBatches((B1,)), [(201, '{"new": 0}')], None, 0),
    ],
)
async def test_a_command_is_asked_over_http_and_answered_as_its_owner_would(
    command: Command[Any],
    answers: list[tuple[int, str]],
    asked: list[str] | None,
    answer: object,
) -> None:
    async with serving(*answers) as (server, counter):
        assert await counter.handle(command) == answer
        assert asked is None or server.heard == asked
        assert server.answers == []


@pytest.mark.parametrize(
    ("status", "said", "error", "sentence"),
    [
        (400, '{"message": "Invalid sku X"}', StockError, "Invalid sku X"),
        (404, '{"message": "Unknown batch b-1"}', StockError, "Unknown batch b-1"),
        (409, '{"message": "b-1 is another one"}', StockError, "b-1 is another one"),
        (409, '{"message": "-", "refs": ["b-1"]}', ImportConflict, "b-1 is another one"),
        (413, '{"message": "the body is too large"}', StockError, "too large; split it"),
        (422, '{"detail": []}', StockError, "the server answers 422"),
        (401, '{"message": "Send a token"}', ConfigError, "--token: .* Send a token"),
        (503, '{"message": "Too busy: -"}', StoreUnavailable, "Too busy"),
        (500, "<html>", StoreUnavailable, "the server answers 500: <html>"),
    ],
)
async def test_a_refusal_is_raised_as_what_it_is(
    status: int, said: str, error: type[Exception], sentence: str
) -> None:
    async with serving((status, said)) as (_, counter):
        with pytest.raises(error, match=sentence):
            await counter.handle(ImportBatches((B1,)))


async def test_what_was_asked_and_not_answered_may_be_done_and_is_said_so() -> None:
    async with serving() as (server, counter):
        with pytest.raises(StoreUnavailable, match="may have done it or not"):
            await counter.handle(LINE)
        assert len(server.heard) == 1


async def test_where_nobody_answers_it_is_said_how_to_name_the_server() -> None:
    counter = Counter("127.0.0.1", 1, None, DatabaseInUse("a.db", "is in use by 7"))
    with pytest.raises(ConfigError, match=r"is in use by 7; nor does .* at 127\.0\.0\.1:1: name"):
        await counter.handle(LINE)


async def test_what_no_command_of_ours_asks_is_a_mistake_of_ours() -> None:
    counter = Counter("127.0.0.1", 1, None, DatabaseInUse("a.db", "is in use by 7"))
    with pytest.raises(TypeError, match="is not asked over HTTP"):
        await counter.handle(CancelOrder(OrderId("o-1")))

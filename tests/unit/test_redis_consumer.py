"""Commands from Redis are carried out in order, and nothing unreadable stops those behind it."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from scentrt.entrypoints.redis_consumer import MAX_CRASHES, MAX_MESSAGE_BYTES, consume_commands
from scentrt.errors import ActorCrashed, Busy, ScentError, StoreUnavailable, UnknownName


class Messages:
    """A subscriber that brings these messages, and then none."""

    def __init__(self, *data: bytes) -> None:
        self._data = data
        self.channels: Sequence[str] = ()

    async def listen(
        self, channels: Sequence[str], handle: Callable[[str, bytes], Awaitable[None]]
    ) -> NoReturn:
        self.channels = channels
        for message in self._data:
            await handle(channels[0], message)
        await trio.sleep_forever()


class Stock:
    """Whoever changes quantities: fails as told for each batch, each failure once."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception]] = {}
        self.changed: list[tuple[str, int]] = []
        self.attempted_at: list[float] = []

    async def change_batch_quantity(self, ref: str, qty: int) -> None:
        self.attempted_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if failures := self.failures.get(ref):
            raise failures.pop(0)
        self.changed.append((ref, qty))


async def consume(*data: bytes, stock: Stock | None = None) -> Stock:
    """Have these messages carried out, and return the stock as it is a minute later."""
    stock = stock or Stock()
    with trio.move_on_after(60):
        await consume_commands(Messages(*data), stock.change_batch_quantity)
    return stock


def command(ref: str, qty: int) -> bytes:
    return f'{{"batchref":"{ref}","qty":{qty}}}'.encode()


async def test_it_listens_to_the_channel_of_the_contract(autojump_clock: MockClock) -> None:
    messages = Messages()
    with trio.move_on_after(1):
        await consume_commands(messages, Stock().change_batch_quantity)
    assert messages.channels == ["change_batch_quantity"]


@pytest.mark.parametrize(
    ("data", "change"),
    [
        (b'{"batchref":"b-1","qty":5}', ("b-1", 5)),
        (b'{"ref":"b-1","qty":5}', ("b-1", 5)),
        (b'{"batchref":"b-1","ref":"b-1","qty":0}', ("b-1", 0)),
        (b' {"qty":5,"batchref":"\\u00f6","event_id":"e-1"} ', ("ö", 5)),
        (b'{"batchref":"b-1","qty":9223372036854775807}', ("b-1", 2**63 - 1)),
    ],
)
async def test_a_message_that_can_be_read_is_carried_out(
    data: bytes, change: tuple[str, int], autojump_clock: MockClock
) -> None:
    assert (await consume(data)).changed == [change]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "truncated"),
        (b"nonsense", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"{}", "qty"),
        (b'{"batchref":"b-1"}', "qty"),
        (b'{"qty":5}', "batchref"),
        (b'{"batchref":null,"qty":5}', "batchref"),
        (b'{"batchref":"","qty":5}', "batchref"),
        (b'{"batchref":7,"qty":5}', "batchref"),
        (b'{"batchref":"b-1","ref":"b-2","qty":5}', "two batches"),
        (b'{"batchref":"b-1","qty":true}', "bool"),
        (b'{"batchref":"b-1","qty":5.5}', "float"),
        (b'{"batchref":"b-1","qty":5.0}', "float"),
        (b'{"batchref":"b-1","qty":"5"}', "str"),
        (b'{"batchref":"b-1","qty":null}', "null"),
        (b'{"batchref":"b-1","qty":-1}', ">= 0"),
        (b'{"batchref":"b-1","qty":NaN}', "malformed"),
        (b'{"batchref":"b-1","qty":9223372036854775808}', "<="),
        (b'{"batchref":"b-1","qty":5}' + b" " * MAX_MESSAGE_BYTES, "bytes"),
        (b"[" * MAX_MESSAGE_BYTES, "object"),
    ],
)
async def test_a_message_that_cannot_be_read_is_logged_and_skipped(
    data: bytes, problem: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    stock = await consume(data, command("b-9", 9))
    assert stock.changed == [("b-9", 9)]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert problem in record.getMessage()
    assert len(record.getMessage()) < 600


@given(data=st.binary(max_size=60))
def test_no_message_whatever_stops_the_next(data: bytes) -> None:
    stock = trio.run(consume, data, command("b-9", 9), clock=MockClock(autojump_threshold=0))
    assert stock.changed[-1] == ("b-9", 9)


async def test_a_message_cannot_forge_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    stock = Stock()
    stock.failures["b\nERROR"] = [ZeroDivisionError()]
    await consume(b"\nERROR", b'{"batchref":"b\\nERROR","qty":1}', stock=stock)
    assert len(caplog.records) == 2
    assert all("\n" not in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "failure", [Busy("product LAMP", 50), StoreUnavailable("the database is away")]
)
async def test_what_cannot_be_done_now_is_tried_again_and_the_later_ones_wait(
    failure: ScentError, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    stock = Stock()
    stock.failures["b-1"] = [failure] * 5
    await consume(command("b-1", 1), command("b-2", 2), command("b-1", 3), stock=stock)
    assert stock.changed == [("b-1", 1), ("b-2", 2), ("b-1", 3)]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert str(failure) in record.getMessage()


async def test_pauses_between_attempts_grow_to_five_seconds(autojump_clock: MockClock) -> None:
    stock = Stock()
    stock.failures["b-1"] = [StoreUnavailable("the database is away")] * 1_000
    await consume(command("b-1", 1), stock=stock)
    assert 12 <= len(stock.attempted_at) <= 32
    assert stock.attempted_at[1] <= 0.1
    assert 2.5 <= stock.attempted_at[-1] - stock.attempted_at[-2] <= 5


async def test_an_actor_that_crashed_once_gets_the_command_again(
    autojump_clock: MockClock,
) -> None:
    stock = Stock()
    stock.failures["b-1"] = [ActorCrashed("product LAMP")]
    await consume(command("b-1", 1), stock=stock)
    assert stock.changed == [("b-1", 1)]


async def test_a_command_that_crashes_its_actor_again_and_again_is_skipped(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    stock = Stock()
    stock.failures["b-1"] = [ActorCrashed("product LAMP")] * 1_000
    await consume(command("b-1", 1), command("b-2", 2), stock=stock)
    assert stock.changed == [("b-2", 2)]
    assert len(stock.attempted_at) == MAX_CRASHES + 1
    assert "skipped the quantity 1 of batch 'b-1'" in caplog.text


async def test_an_unknown_batch_is_logged_and_skipped(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    stock = Stock()
    stock.failures["b-1"] = [UnknownName("b-1", "there is no batch 'b-1'")]
    await consume(command("b-1", 1), command("b-2", 2), stock=stock)
    assert stock.changed == [("b-2", 2)]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "there is no batch 'b-1'" in record.getMessage()


async def test_a_bug_is_logged_with_its_traceback_and_stops_nobody(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    stock = Stock()
    stock.failures["b-1"] = [ZeroDivisionError()]
    await consume(command("b-1", 1), command("b-2", 2), stock=stock)
    assert stock.changed == [("b-2", 2)]
    assert "Traceback" in caplog.text


async def test_it_can_be_cancelled_while_it_waits(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.ERROR)
    stock = Stock()
    stock.failures["b-1"] = [StoreUnavailable("the database is away")] * 1_000
    with trio.move_on_after(7) as scope:
        await consume_commands(Messages(command("b-1", 1)), stock.change_batch_quantity)
    assert scope.cancelled_caught
    assert trio.current_time() == 7
    assert not caplog.records

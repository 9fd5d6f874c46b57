"""Who reads what of a connection, and how much is let in of what belongs to no message."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio_websocket import ConnectionClosed, wrap_server_stream

from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.turnstile import MOST_NOISE, NOISE_PER_S, SLICE, Turnstile
from tests.e2e.hostility import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame, request


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Jump once the sockets have had time to carry what is on its way."""
    return trio.testing.MockClock(autojump_threshold=0.02)


class Client:
    """The other end of a connection of which the server reads through a turnstile."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._stream = trio.SocketStream(sock)
        self.heard: list[str | bytes] = []
        self.ended: ConnectionClosed | None = None

    async def send(self, data: bytes) -> None:
        """Send some bytes, and give them time to be read."""
        await self._stream.send_all(data)
        await trio.sleep(0.01)

    async def end(self) -> None:
        """Be gone without a word."""
        await self._stream.send_eof()
        await trio.sleep(0.01)

    async def vanish(self, data: bytes) -> None:
        """Send some bytes, and be gone before any of them is read."""
        os.write(self._stream.socket.fileno(), data)
        self._stream.socket.close()
        await trio.sleep(0.01)

    async def answered_after_s(self, data: bytes) -> float:
        """Return how long the pong takes of a ping that is sent behind all this."""
        started = trio.current_time()
        await self._stream.send_all(data + frame(PING, b"last"))
        got = b""
        while not got.endswith(b"last"):
            got += await self._stream.receive_some()
        return trio.current_time() - started


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    near, far = socket.socketpair()
    sock = trio.socket.from_stdlib_socket(far)
    async with FrameStream(near) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        turnstile = Turnstile(stream, trio.CancelScope())
        await sock.send(request())
        asked = await wrap_server_stream(nursery, turnstile, 1, receive_buffer_size=SLICE)
        ws = await asked.accept()
        turnstile.open(ws)
        assert (await sock.recv(4096)).startswith(b"HTTP/1.1 101 ")

        client = Client(sock)

        async def hear() -> None:
            try:
                while True:
                    client.heard.append(await turnstile.message())
            except ConnectionClosed as closed:
                client.ended = closed

        nursery.start_soon(hear)
        with sock:
            yield client
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("noise", [frame(PONG), frame(CONTINUATION, fin=False)])
async def test_noise_beyond_its_measure_comes_in_slowly(
    noise: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    size = len(noise)
    async with connected() as client:
        assert await client.answered_after_s(frame(TEXT, fin=False)) == 0
        assert await client.answered_after_s(noise * ((MOST_NOISE - 100) // size)) == 0
        more = 3 * NOISE_PER_S // size
        assert await client.answered_after_s(noise * more) == pytest.approx(3, rel=0.1)
        await trio.sleep(MOST_NOISE / NOISE_PER_S)
        assert await client.answered_after_s(noise * more) == 0


@pytest.mark.parametrize("size", [40, 1000])
async def test_messages_are_no_noise(size: int, autojump_clock: trio.testing.MockClock) -> None:
    message = frame(BINARY, bytes(size))
    async with connected() as client:
        assert await client.answered_after_s(message * (2 * MOST_NOISE // len(message))) == 0


ENDINGS = [
    (frame(CLOSE, b"\x03\xe8"), 1000),
    (frame(TEXT, b"\xff"), 1007),
    (frame(TEXT, b"3", masked=False), 1002),
]
FRAGMENTS = frame(TEXT, b"2", fin=False) + frame(PONG) + frame(CONTINUATION, b"3")


@pytest.mark.parametrize("cut", [1, 7, 20])
@pytest.mark.parametrize("between", [frame(PONG), FRAGMENTS, frame(BINARY, bytes(65_536))])
async def test_messages_come_in_order_whoever_reads_them(
    between: bytes, cut: int, autojump_clock: trio.testing.MockClock
) -> None:
    first, last = frame(TEXT, b"1"), frame(TEXT, b"4")
    data = first + between + last
    async with connected() as client:
        await client.send(data[:cut])
        await client.send(data[cut:])
        assert client.heard[0] == "1"
        assert client.heard[-1] == "4"
        assert len(client.heard) == 2 + (between != frame(PONG))


@pytest.mark.parametrize(("ending", "code"), ENDINGS)
async def test_what_came_before_the_end_is_heard_and_what_came_behind_it_is_not(
    ending: bytes, code: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with connected() as client:
        await client.send(frame(TEXT, b"1") + frame(TEXT, b"2") + ending + frame(TEXT, b"3"))
        assert client.heard == ["1", "2"]
        assert client.ended is not None
        assert client.ended.reason is not None
        assert client.ended.reason.code == code


async def test_who_is_gone_in_the_middle_of_a_message_has_sent_those_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.send(frame(TEXT, b"1") + frame(TEXT, b"half")[:8])
        await client.end()
        assert client.heard == ["1"]
        assert client.ended is not None


async def test_a_ping_is_answered_behind_as_many_messages_as_come_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.answered_after_s(frame(TEXT, b"1") * 1_000)
        assert len(client.heard) == 1_000


async def test_who_is_lost_behind_many_pings_is_noticed_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as client:
        await client.vanish(frame(TEXT, b"1") + frame(PING) * 680)
        assert client.heard == ["1"]
        assert client.ended is not None

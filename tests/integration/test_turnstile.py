"""How much is let in of what belongs to no message."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio_websocket import wrap_server_stream

from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.turnstile import MOST_NOISE, NOISE_PER_S, Turnstile
from tests.e2e.hostility import BINARY, CONTINUATION, PING, PONG, TEXT, frame, request


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """Jump once the sockets have had time to carry what is on its way."""
    return trio.testing.MockClock(autojump_threshold=0.02)


class Client:
    """The other end of a connection of which the server reads through a turnstile."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._stream = trio.SocketStream(sock)

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
        asked = await wrap_server_stream(nursery, turnstile, 1)
        ws = await asked.accept()
        turnstile.open(ws)
        assert (await sock.recv(4096)).startswith(b"HTTP/1.1 101 ")

        async def hear() -> None:
            while True:
                turnstile.excuse(len(await ws.get_message()))

        nursery.start_soon(hear)
        with sock:
            yield Client(sock)
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

"""A real Redis of a test's own, which can be killed, stopped and started again."""

import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from scentrt.adapters.redis_pubsub import RedisAddress

STARTS_WITHIN_S = 10


class Listener:
    """A subscriber that shares no code with ours."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> Any:
        """Return the next message, decoded from JSON."""
        with trio.fail_after(30):
            _kind, _channel, data = [await self._bulk() for _ in range(await self._length(b"*"))]
        return msgspec.json.decode(data)

    async def skip_confirmation(self) -> None:
        """Read the answer to SUBSCRIBE: two strings and a number."""
        await self._length(b"*")
        for _ in range(2):
            await self._bulk()
        await self._length(b":")

    async def _bulk(self) -> bytes:
        length = await self._length(b"$")
        while len(self._buffer) < length + 2:
            await self._read()
        data, self._buffer = self._buffer[:length], self._buffer[length + 2 :]
        return data

    async def _length(self, sigil: bytes) -> int:
        while b"\r\n" not in self._buffer:
            await self._read()
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        assert line.startswith(sigil), line
        return int(line[1:])

    async def _read(self) -> None:
        data = await self._stream.receive_some()
        if not data:
            raise ConnectionError("Redis has closed")
        self._buffer += data


class RedisServer:
    """A `redis-server` on a free port, always the same one, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.host = "127.0.0.1"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server((self.host, 0)) as probe:
            self.port: int = probe.getsockname()[1]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        nothing_saved = ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
        here = ("--bind", self.host, "--port", str(self.port))
        self._process = subprocess.Popen(
            ["redis-server", *here, *nothing_saved], stdout=subprocess.DEVNULL
        )
        give_up_at = time.monotonic() + STARTS_WITHIN_S
        while not self._answers():
            assert time.monotonic() < give_up_at, "redis-server does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang, with all its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[Listener]:
        """Subscribe to a channel while the block lasts."""
        async with await trio.open_tcp_stream(self.host, self.port) as stream:
            await stream.send_all(f"SUBSCRIBE {channel}\r\n".encode())
            listener = Listener(stream)
            await listener.skip_confirmation()
            yield listener

    def command(self, *words: str | bytes) -> bytes:
        """Say something to it, and return its answer as it stands."""
        encoded = [word.encode() if isinstance(word, str) else word for word in words]
        request = b"*%d\r\n" % len(encoded)
        request += b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            connection.sendall(request)
            return connection.recv(65_536).strip()

    def publish(self, channel: str, data: str | bytes) -> int:
        """Publish something, and return how many subscribers got it."""
        return int(self.command("PUBLISH", channel, data)[1:])

    def _answers(self) -> bool:
        try:
            return self.command("PING") == b"+PONG"
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def address(redis: RedisServer, timeout_s: float = 5) -> RedisAddress:
    """Return where a Redis is, as our adapter wants to know it."""
    return RedisAddress(redis.host, redis.port, timeout_s=timeout_s)

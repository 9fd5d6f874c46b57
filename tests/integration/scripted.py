"""A WebSocket server that follows a script, to see what clients make of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)

from simulators.client import MSGPACK, Message

SERVER_TIME = 1_764_000_000_000.0
WELCOME: Message = {
    "type": "welcome",
    "protocol": 1,
    "server": "script",
    "session": "s-1",
    "server_time": SERVER_TIME,
    "max_silence_ms": 5000,
    "zones": [{"zone": "A", "seats": 24, "scents": ["sea-breeze", "forest"]}],
}


class Peer:
    """The server's end of one connection, for a script to speak through."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self._binary = socket.subprotocol == MSGPACK

    async def say(self, **message: Any) -> None:
        """Send a message of these fields."""
        if self._binary:
            await self.socket.send_message(msgspec.msgpack.encode(message))
        else:
            await self.socket.send_message(msgspec.json.encode(message).decode())

    async def hear(self) -> Message:
        """Wait for a message; raises `ConnectionClosed`, which ends a script."""
        frame = await self.socket.get_message()
        assert isinstance(frame, bytes) == self._binary
        heard: Message = (msgspec.msgpack if self._binary else msgspec.json).decode(frame)
        return heard

    async def hear_the_end(self) -> int:
        """Wait until the client has closed, and return its close code."""
        with suppress(ConnectionClosed):
            while True:
                await self.hear()
        closed = self.socket.closed
        assert closed is not None
        return closed.code

    async def welcome(self) -> Message:
        """Answer the hello, and return it."""
        hello = await self.hear()
        await self.say(re=hello["id"], **WELCOME)
        return hello

    async def pong(self, ping: Message) -> None:
        """Answer a ping, at a time that stands still."""
        await self.say(type="pong", re=ping["id"], t0=ping["t0"], t1=SERVER_TIME, t2=SERVER_TIME)


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[str]:
    """Follow the script with every client; yields the URL."""

    async def serve(request: WebSocketRequest) -> None:
        socket = await request.accept(subprotocol=next(iter(request.proposed_subprotocols), None))
        with suppress(ConnectionClosed):
            await script(Peer(socket))

    async with trio.open_nursery() as nursery:
        listening = await nursery.start(partial(serve_websocket, serve, "127.0.0.1", 0, None))
        yield f"ws://127.0.0.1:{listening.port}/"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def raw_server(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Hand every connection over as it comes; yields the URL of a WebSocket that may be none."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


async def silent(peer: Peer) -> None:
    """Welcome, and say nothing more."""
    await peer.welcome()
    await peer.hear_the_end()

"""What the server is measured against: trio-websocket with nothing around it.

Run as a program, it prints its address and serves three paths: `/echo` sends back what it gets,
who connects to `/audience` listens, and what `/crier` is sent goes to the audience, with one
`send_message` after the other.
"""

from functools import partial

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)


async def serve() -> None:
    """Serve on a free port until cancelled."""
    audience: list[WebSocketConnection] = []

    async def take(request: WebSocketRequest) -> None:
        websocket = await request.accept()
        if request.path == "/audience":
            audience.append(websocket)
        try:
            while True:
                message = await websocket.get_message()
                for each in audience if request.path == "/crier" else [websocket]:
                    await each.send_message(message)
        except ConnectionClosed:
            if websocket in audience:
                audience.remove(websocket)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, take, "127.0.0.1", 0, None))
        print(f"ws://127.0.0.1:{server.port}", flush=True)


if __name__ == "__main__":
    trio.run(serve)

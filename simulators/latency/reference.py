"""What the server is measured against: trio-websocket with nothing around it.

Run as a program, it prints its address and serves four paths: `/echo` sends back what it gets, who
connects to `/audience` listens, and what `/crier` is sent goes to the audience, with one
`send_message` after the other. `/sleeper` is sent a list of seconds, sleeps until each of them has
passed, with a task for each, and answers how late it woke, in milliseconds.
"""

import json
from functools import partial

import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)


async def sleep(seconds: list[float]) -> list[float]:
    """Return how late `trio.sleep_until` wakes."""
    began = trio.current_time()
    late_ms: list[float] = []

    async def wake(deadline: float) -> None:
        await trio.sleep_until(deadline)
        late_ms.append((trio.current_time() - deadline) * 1000)

    async with trio.open_nursery() as nursery:
        for each in seconds:
            nursery.start_soon(wake, began + each)
    return late_ms


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
                if request.path == "/sleeper":
                    message = json.dumps(await sleep(json.loads(message)))
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

"""What the server is measured against: trio-websocket with nothing around it.

Run as a program, it prints its address and serves five paths: `/echo` sends back what it gets, who
connects to `/audience` listens, and what `/crier` is sent goes to the audience, with one
`send_message` after the other. `/printer` is sent whole frames for the audience and hands them to
the kernel, one socket after the other: nobody who writes to each is faster. `/sleeper` is sent a
list of seconds, sleeps until each of them has passed, with a task for each, and answers how late it
woke, in milliseconds.
"""

import json
import os
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream


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
    audience: dict[WebSocketConnection, int] = {}  # and their sockets

    async def take(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            websocket = await request.accept()
            if request.path == "/audience":
                audience[websocket] = stream.socket.fileno()
            try:
                while True:
                    message = await websocket.get_message()
                    match request.path, message:
                        case "/printer", bytes(frame):
                            for sock in audience.values():
                                os.write(sock, frame)
                        case "/crier", _:
                            for each in audience:
                                await each.send_message(message)
                        case "/sleeper", _:
                            late_ms = await sleep(json.loads(message))
                            await websocket.send_message(json.dumps(late_ms))
                        case _:
                            await websocket.send_message(message)
            except ConnectionClosed:
                audience.pop(websocket, None)

    async with trio.open_nursery() as nursery:
        serve_tcp = partial(trio.serve_tcp, take, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve_tcp)
        print(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}", flush=True)


if __name__ == "__main__":
    trio.run(serve)

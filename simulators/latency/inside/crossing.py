"""The way from the theatre's loop into the thread in which bleak lives, and nothing else.

Run as a program, for each line on its standard input it goes that way once, and prints as JSON how
long that took, in milliseconds.
"""

import json
import sys
from time import perf_counter

import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.bootstrap.server import tune_process


async def serve() -> None:
    """Cross over when asked to, until nobody asks any more."""
    async with AioThread() as aio:
        tune_process()
        print("open", flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            arrived = trio.Event()
            came: list[float] = []

            def arrive(came: list[float], arrived: trio.Event) -> None:
                came.append(perf_counter())
                aio.post_back(arrived.set)

            began = perf_counter()
            aio.post(arrive, came, arrived)
            await arrived.wait()
            print(json.dumps((came[0] - began) * 1000), flush=True)


if __name__ == "__main__":
    trio.run(serve)

"""The stock room of a server without its doors: askers call the message bus themselves.

Run as a program, with how many products there are, how many lines are allocated to them before,
and perhaps where the database is to be, it takes for each line on its standard input two numbers:
how many lines to allocate, and by how many askers at once. It prints as JSON how many that were in
a second, and how long each took, in milliseconds. Products, ledger and database are the server's
own, wired as in a server and tuned as in a server.
"""

import json
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from scentrt.actors.ledger import Ledger, Writes
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.bootstrap.server import tune_process
from scentrt.bootstrap.stock import build_stock
from scentrt.domain.commands import Allocate, CreateBatch
from scentrt.domain.events import Allocated, BatchCreated
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.service_layer.changes import Changes, Version
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.messagebus import MessageBus

PLENTY = 10**9


async def serve(path: Path, skus: int, lines_before: int) -> None:
    """Allocate lines when asked to, until nobody asks any more."""
    names = [Sku(f"s-{number}") for number in range(skus)]
    numbers = count()
    async with AioThread() as aio, open_store(aio, path) as store:
        for sku in names:
            await fill(store, sku, lines_before // skus)
        ledger = Ledger(store)
        stock = build_stock(store, ledger, Outlets())
        async with trio.open_nursery() as writing:
            await writing.start(ledger.run)
            async with trio.open_nursery() as rooms:
                await rooms.start(stock.room.run)
                for sku in names:  # so that it is in memory
                    await stock.bus.handle(CreateBatch(BatchRef(f"b-{sku}"), sku, PLENTY))
                tune_process()
                print("open", flush=True)
                while line := await trio.to_thread.run_sync(sys.stdin.readline):
                    lines, askers = map(int, line.split())
                    print(json.dumps(await allocate(stock.bus, names, numbers, lines, askers)))
                    sys.stdout.flush()
                rooms.cancel_scope.cancel()
            writing.cancel_scope.cancel()


async def fill(store: SqlTheatreStore, sku: Sku, lines: int) -> None:
    """Have a product, a batch of it, and so many lines that are allocated to that."""
    ref = BatchRef(f"b-{sku}")
    made = {ref: BatchCreated(ref, sku, PLENTY, None)}
    changes = Changes({sku: Version(None, 1)}, made)
    for number in range(lines):
        changes.note(Allocated(OrderId(f"before-{number}"), sku, 1, ref))
    await store.commit(Writes(units=(changes,)))


async def allocate(
    bus: MessageBus, names: list[Sku], numbers: Iterator[int], lines: int, askers: int
) -> dict[str, object]:
    """Have lines allocated by so many at once, of one product after the other."""
    waiting = islice(numbers, lines)
    took_ms: list[float] = []

    async def ask() -> None:
        for number in waiting:
            began = perf_counter()
            await bus.handle(Allocate(OrderId(f"o-{number}"), names[number % len(names)], 1))
            took_ms.append((perf_counter() - began) * 1000)

    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(askers):
            nursery.start_soon(ask)
    return {"per_s": lines / (perf_counter() - began), "took_ms": took_ms}


if __name__ == "__main__":
    with TemporaryDirectory(prefix="scentrt-latency-") as directory:
        where = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(directory) / "scentrt.db"
        trio.run(serve, where, int(sys.argv[1]), int(sys.argv[2]))

"""How many lines are allocated in a second: `python -m tests.integration.allocation_rate`.

Beside SQLite itself, in the same run, which is given the same rows of as many lines at once and has
nothing to decide. Everything is durable: WAL and ``synchronous=FULL``.
"""

import gc
import platform
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from scentrt.actors.ledger import Writes
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import open_store
from scentrt.domain.commands import Allocate, CreateBatch
from scentrt.domain.events import Allocated, BatchCreated
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.service_layer.changes import Changes, Version
from scentrt.service_layer.messagebus import MessageBus
from tests.stock_stage import stock_in_sql

ASKERS = 64
LINES = 20_000
LINES_BEFORE = 100_000
ROUNDS = 3


async def raw(path: Path) -> float:
    """Return how many lines SQLite takes in a second, `ASKERS` at once."""
    async with AioThread() as aio, open_store(aio, path):
        pass  # for its tables
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("INSERT INTO products VALUES ('s-0', 0)")
        connection.execute(
            "INSERT INTO batches (reference, sku, told_quantity, purchased_quantity) "
            "VALUES ('b-0', 's-0', 1000000000, 1000000000)"
        )
        began = perf_counter()
        for first in range(0, LINES, ASKERS):
            orders = [f"o-{number}" for number in range(first, first + ASKERS)]
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE products SET version_number = version_number + 1")
            connection.executemany(
                "INSERT INTO order_lines VALUES ('s-0', ?, 1)", [(order,) for order in orders]
            )
            for table in ("allocations", "allocations_view"):
                connection.executemany(
                    f"INSERT INTO {table} (sku, orderid, batchref) VALUES ('s-0', ?, 'b-0')",
                    [(order,) for order in orders],
                )
            connection.executemany(
                "INSERT INTO outbox (event_id, kind, payload, created_ms) "
                "VALUES (?, 'redis', json_object('orderid', ?), 0)",
                [(order, order) for order in orders],
            )
            connection.execute("COMMIT")
        return LINES / (perf_counter() - began)


async def through_the_bus(path: Path, skus: int, lines_before: int) -> tuple[float, list[float]]:
    """Return how many lines the bus allocates in a second, and how long each took, in seconds."""
    names = [Sku(f"s-{number}") for number in range(skus)]
    async with AioThread() as aio, open_store(aio, path) as store:
        for sku in names:
            ref = BatchRef(f"b-{sku}")
            changes = Changes({sku: Version(None, 1)}, {ref: BatchCreated(ref, sku, 10**9, None)})
            for number in range(lines_before // skus):
                changes.note(Allocated(OrderId(f"before-{number}"), sku, 1, ref))
            await store.commit(Writes(units=(changes,)))
        async with stock_in_sql(store) as bus:
            for sku in names:  # so that it is in memory
                await bus.handle(CreateBatch(BatchRef(f"b-{sku}"), sku, 10**9))
            took: list[float] = []
            numbers = count()
            began = perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(ASKERS):
                    nursery.start_soon(be_an_asker, bus, names, numbers, took)
            return len(took) / (perf_counter() - began), took


async def be_an_asker(
    bus: MessageBus, names: list[Sku], numbers: Iterator[int], took: list[float]
) -> None:
    """Ask for one line after the other."""
    while (number := next(numbers)) < LINES:
        began = perf_counter()
        await bus.handle(Allocate(OrderId(f"o-{number}"), names[number % len(names)], 1))
        took.append(perf_counter() - began)


async def main(directory: Path) -> None:
    """Measure all of it in turns, and say what came out."""
    files = (directory / f"{number}.db" for number in count())
    cases = {"1 SKU": (1, 0), "100 SKUs": (100, 0), "1 SKU with 100,000 lines": (1, LINES_BEFORE)}
    rates: dict[str, list[float]] = {case: [] for case in ("SQLite alone", *cases)}
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        rates["SQLite alone"].append(await raw(next(files)))
        for case, (skus, lines_before) in cases.items():
            rate, took = await through_the_bus(next(files), skus, lines_before)
            rates[case].append(rate)
            times[case] += took
    say(f"{ASKERS} askers, {ROUNDS} rounds of {LINES:,} lines, Python {platform.python_version()}")
    for case, measured in rates.items():
        took = sorted(times.get(case, []))
        percentiles = [f"p{p} {took[len(took) * p // 100] * 1000:.1f} ms" for p in (50, 99) if took]
        spread = f"({min(measured):,.0f} to {max(measured):,.0f})"
        say(f"{case:>26}: {median(measured):7,.0f}/s {spread} {' '.join(percentiles)}")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # as the server does
    sys.setswitchinterval(0.0005)
    with TemporaryDirectory() as directory:
        trio.run(main, Path(directory))

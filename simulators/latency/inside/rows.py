"""What an allocation is measured against: SQLite, which is given the same rows in the same groups.

Run as a program, it takes for each line on its standard input two numbers, stores so many lines, so
many in a transaction, and prints as JSON how many that were in a second. It has nothing to decide.
Everything is durable: WAL and ``synchronous=FULL``.
"""

import json
import sqlite3
import sys
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import open_store


async def make_tables(path: Path) -> None:
    """Have the server make its tables."""
    async with AioThread() as aio, open_store(aio, path):
        pass


def store(connection: sqlite3.Connection, orders: list[str]) -> None:
    """Store what is stored when a line of each of these orders is allocated together."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE products SET version_number = version_number + 1")
    connection.executemany(
        "INSERT INTO order_lines (sku, orderid, qty) VALUES ('s-0', ?, 1)",
        [(order,) for order in orders],
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


def serve(path: Path) -> None:
    """Store lines when asked to, until nobody asks any more."""
    trio.run(make_tables, path)
    numbers = count()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("INSERT INTO products VALUES ('s-0', 0)")
        connection.execute(
            "INSERT INTO batches (reference, sku, told_quantity, purchased_quantity) "
            "VALUES ('b-0', 's-0', 1000000000, 1000000000)"
        )
        print("open", flush=True)
        for line in sys.stdin:
            lines, together = map(int, line.split())
            began = perf_counter()
            for first in range(0, lines, together):
                size = min(together, lines - first)
                store(connection, [f"o-{number}" for number in islice(numbers, size)])
            print(json.dumps({"per_s": lines / (perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    with TemporaryDirectory(prefix="scentrt-latency-") as directory:
        serve(Path(directory) / "scentrt.db")

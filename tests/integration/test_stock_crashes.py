"""A server that is killed at any moment has kept everything that it acknowledged, once."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import open_store
from scentrt.service_layer.changes import LineKey, Unsettled
from tests.integration.stock_under_load import FIRST_QUANTITY, REFS
from tests.memory_stock import Tables
from tests.stock_stage import stock_in_sql
from tests.stored_stock import read_tables, wrong_totals

KILLS = 500 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 4
KILLS_PER_DATABASE = 20


class Promises:
    """What processes that were killed had been asked for, and what they had acknowledged."""

    def __init__(self) -> None:
        self.lines: dict[LineKey, int] = {}  # acknowledged, and not asked to be cancelled
        self.orders: dict[str, list[list[Any]]] = {}
        self.cancelled: set[str] = set()
        self.allocated: set[LineKey] = set()
        self.delivered: set[LineKey] = set()
        # What each batch may have by now: what was acknowledged last, or asked for since.
        self.quantities: dict[str, set[int]] = {ref: {FIRST_QUANTITY} for ref in REFS}
        self.unanswered: list[list[Any]] = []

    def hear(self, line: str) -> None:
        """Take in a line that a process has said."""
        match json.loads(line):
            case ["ask", *words]:
                if words not in self.unanswered:
                    self.unanswered.append(words)
                if words[0] == "cancel":
                    orderid = words[1]
                    self.lines = {key: q for key, q in self.lines.items() if key[1] != orderid}
                elif words[0] == "quantity":
                    self.quantities[words[1]].add(words[2])
            case ["ack", *words, answer]:
                self.unanswered.remove(words)
                self.hear_done(words, answer)
            case ["out", orderid, sku, _]:
                self.delivered.add((sku, orderid))

    def hear_done(self, words: list[Any], answer: object) -> None:
        """Take in what has been acknowledged."""
        match words:
            case ["allocate", orderid, sku, qty]:
                if answer is not None:
                    self.lines[sku, orderid] = qty
                    self.allocated.add((sku, orderid))
            case ["place", orderid, lines]:
                self.orders[orderid] = lines
                self.lines.update({(sku, orderid): qty for sku, qty in lines})
            case ["cancel", orderid]:
                self.cancelled.add(orderid)
            case ["quantity", ref, qty]:
                self.quantities[ref] = {qty} | {
                    words[2] for words in self.unanswered if words[:2] == ["quantity", ref]
                }

    def check(self, tables: Tables) -> None:
        """Compare with what is on disk."""
        missing = {key for key, qty in self.lines.items() if tables.lines.get(key) != qty}
        assert not missing, "lines that were acknowledged are lost"
        assert self.orders.keys() <= tables.orders.keys()
        assert all(tables.orders[orderid].cancelled for orderid in self.cancelled)  # type: ignore[index]  # as JSON tells it
        given_up = {what for key, what in tables.unsettled.items() if key[1] in self.cancelled}
        assert given_up <= {Unsettled.CANCEL}
        for ref, quantities in self.quantities.items():
            qty = tables.batches[ref].qty  # type: ignore[index]  # as JSON tells it
            # One that shrinks does so in parts.
            assert qty in quantities or min(quantities) < qty < max(quantities)
        pending = {
            (message["sku"], message["orderid"])
            for message in (json.loads(d.payload).get("message") for d in tables.deliveries)
            if message is not None
        }
        assert self.allocated <= self.delivered | pending, "allocations were not published"


def check_that_all_fits(path: Path, tables: Tables) -> None:
    """Check what must hold in any database of the stock."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert wrong_totals(path) == []
    assert tables.view == tables.allocations
    to_fill = {key for key, what in tables.unsettled.items() if what is Unsettled.FILL}
    places = Counter([*tables.allocations, *tables.back_orders, *to_fill])
    unplaced_and_cancelled = tables.lines.keys() - places.keys()
    assert all(tables.unsettled[key] is Unsettled.CANCEL for key in unplaced_and_cancelled)
    assert max(places.values(), default=1) == 1, "a line is in two places"


def run_and_kill(path: Path, name: str, promises: Promises, chance: random.Random) -> None:
    """Run a server under load, kill it at some moment, and note what it has promised."""
    again = list(promises.unanswered)
    command = [sys.executable, "-m", "tests.integration.stock_under_load", str(path), name]
    # Into a file: what a killed process has written there stays, and nobody has to keep reading.
    said = path.with_suffix(f".{name}.said")
    with (
        said.open("w") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, text=True) as server,
    ):
        try:
            assert server.stdin is not None
            json.dump(again, server.stdin)
            server.stdin.close()
            while said.stat().st_size == 0 and server.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.random() ** 2)  # at any moment, early ones more often
        finally:
            server.kill()
    first, *lines = said.read_text().splitlines()
    said.unlink()
    assert first == '["open"]'
    for line in lines:
        promises.hear(line)


@pytest.mark.soak
async def test_nothing_that_was_acknowledged_is_lost_or_done_twice_when_the_server_is_killed(
    tmp_path: Path,
) -> None:
    chance = random.Random(0)
    acknowledged = 0
    for first in range(0, KILLS, KILLS_PER_DATABASE):
        path, promises = tmp_path / f"stock-{first}.db", Promises()
        for number in range(first, min(KILLS, first + KILLS_PER_DATABASE)):
            run_and_kill(path, str(number), promises, chance)
            tables = read_tables(path)
            promises.check(tables)
            check_that_all_fits(path, tables)
        acknowledged += len(promises.lines)
        async with AioThread() as aio, open_store(aio, path) as store, stock_in_sql(store):
            with trio.fail_after(30):
                while read_tables(path).unsettled:  # noqa: ASYNC110  # it is on disk, not here
                    await trio.sleep(0.01)
        promises.check(read_tables(path))
        check_that_all_fits(path, read_tables(path))
    assert acknowledged > 10 * KILLS, "there was some load"

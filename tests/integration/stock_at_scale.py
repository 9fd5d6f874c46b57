"""What much stock costs everybody else: `python -m tests.integration.stock_at_scale`.

In one process with a served theatre: how late the loop wakes (a heartbeat), how long a cue takes to
be accepted over its WebSocket, how long another product's allocation and a look at the stock wait,
while a batch of many lines shrinks to nothing and grows again, and while big orders come in.
"""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import trio

from scentrt.actors.ledger import Writes
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import open_store
from scentrt.bootstrap import open_server, tune_process
from scentrt.bootstrap.server import Server
from scentrt.config import GatewaySection, HttpSection, Settings
from scentrt.domain.commands import Allocate, ChangeBatchQuantity, CreateBatch, PlaceOrder
from scentrt.domain.events import Allocated, BatchCreated
from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.service_layer.changes import Changes, Version
from simulators.client import open_client

LINES = 100_000
LINES_AT_ONCE = 10_000
PRODUCTS = 1_000
ORDERS = 16
EVERY_S = 0.002

BIG, OTHER = Sku("BIG"), Sku("OTHER")
B1 = BatchRef("b-1")


class Watch:
    """How long everybody else waits; `worst` has the longest of each by name, in milliseconds."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.took: dict[str, list[float]] = {}

    def note(self, what: str, took_s: float) -> None:
        """Take in how long something took."""
        self.took.setdefault(what, []).append(took_s * 1000)

    @asynccontextmanager
    async def over(self, what: str) -> AsyncIterator[None]:
        """Watch for as long as the block lasts, and say what came out."""
        self.took.clear()
        async with trio.open_nursery() as nursery:
            for watch in (self._heartbeat, self._cues, self._allocations, self._looks):
                nursery.start_soon(watch)
            await trio.sleep(0.2)
            self.took.clear()
            began = perf_counter()
            yield
            seconds = perf_counter() - began
            await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        say(f"{what}: {seconds:.2f} s")
        for name, took in self.took.items():
            took.sort()
            say(
                f"    {name:>12}: p50 {took[len(took) // 2]:7.1f} ms  "
                f"p99 {took[len(took) * 99 // 100]:7.1f} ms  max {took[-1]:7.1f} ms  ({len(took)})"
            )

    async def _heartbeat(self) -> None:
        while True:
            due = trio.current_time() + EVERY_S
            await trio.sleep_until(due)
            self.note("heartbeat", trio.current_time() - due)

    async def _cues(self) -> None:
        async with open_client(self._server.gateway_url, role="engine", name="watch") as client:
            while True:
                began = perf_counter()
                await client.cue("jungle", {"seats": ["A-1-1"]}, intensity=0.01, duration_ms=1)
                self.note("cue", perf_counter() - began)
                await trio.sleep(5 * EVERY_S)

    async def _allocations(self) -> None:
        while True:
            began = perf_counter()
            order = OrderId(f"w-{began}")
            await self._server.stock.bus.handle(Allocate(order, OTHER, 1))
            self.note("allocation", perf_counter() - began)
            await trio.sleep(EVERY_S)

    async def _looks(self) -> None:
        while True:
            began = perf_counter()
            await self._server.stock.views.product(OTHER)
            self.note("look", perf_counter() - began)
            await trio.sleep(EVERY_S)


async def fill(path: Path) -> None:
    """Put so many lines on one batch."""
    async with AioThread() as aio, open_store(aio, path) as store:
        new = BatchCreated(B1, BIG, LINES, None)
        await store.commit(Writes(units=(Changes({BIG: Version(None, 1)}, {B1: new}),)))
        for first in range(0, LINES, LINES_AT_ONCE):
            version = 1 + first // LINES_AT_ONCE
            changes = Changes({BIG: Version(version, version + 1)})
            for number in range(first, first + LINES_AT_ONCE):
                changes.note(Allocated(OrderId(f"o-{number}"), BIG, 1, B1))
                changes.allocations_view.add((BIG, OrderId(f"o-{number}")), B1)
            await store.commit(Writes(units=(changes,)))


async def main(folder: Path) -> None:
    """Measure all of it, and say what came out."""
    path = folder / "theatre.db"
    await fill(path)
    settings = Settings(
        db=str(path),
        simulate=True,
        gateway=GatewaySection(host="127.0.0.1", port=0),
        http=HttpSection(host="127.0.0.1", port=0),
    )
    async with open_server(settings) as server:
        bus = server.stock.bus
        await bus.handle(CreateBatch(BatchRef("b-other"), OTHER, 10**9))
        await bus.handle(Allocate(OrderId("first"), BIG, 1))  # so that it is in memory
        names = [Sku(f"s-{number}") for number in range(PRODUCTS)]
        async with trio.open_nursery() as nursery:
            for sku in names:
                nursery.start_soon(bus.handle, CreateBatch(BatchRef(f"b-{sku}"), sku, 10**6))
        tune_process()
        watch = Watch(server)
        async with watch.over("nothing else"):
            await trio.sleep(2)
        async with watch.over(f"an order of {PRODUCTS:,} lines, products in memory"):
            await place(server, "warm", names)
        async with watch.over(f"{ORDERS} orders of {PRODUCTS:,} lines"), trio.open_nursery() as n:
            for number in range(ORDERS):
                n.start_soon(place, server, f"big-{number}", names)
        async with watch.over(f"a batch of {LINES:,} lines shrinks to nothing"):
            await bus.handle(ChangeBatchQuantity(B1, 0))
        async with watch.over("and grows again"):
            await bus.handle(ChangeBatchQuantity(B1, LINES))
        async with watch.over("and to half of it, and grows again"):
            await bus.handle(ChangeBatchQuantity(B1, LINES // 2))
            await bus.handle(ChangeBatchQuantity(B1, LINES))


async def place(server: Server, name: str, skus: list[Sku]) -> None:
    """Place an order of one of each, and wait until none of it is left to be done."""
    order = OrderId(name)
    lines = tuple(OrderLine(order, sku, 1) for sku in skus)
    await server.stock.bus.handle(PlaceOrder(order, lines))
    while len(await server.stock.views.allocations(order)) < len(lines):  # noqa: ASYNC110  # on disk
        await trio.sleep(0.02)


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.getLogger("scentrt").setLevel(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        trio.run(main, Path(folder))

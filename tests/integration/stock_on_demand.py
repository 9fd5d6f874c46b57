"""A stock room that does as it is told: `python -m tests.integration.stock_on_demand PATH`.

Each line of its input is the name of an order, for one of the one product. It answers with a line:
`allocated`, or `unavailable`.
"""

import sys
from pathlib import Path

import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import open_store
from scentrt.domain.commands import Allocate, CreateBatch
from scentrt.domain.names import BatchRef, OrderId
from scentrt.errors import StoreUnavailable
from tests.goods import SEA
from tests.stock_stage import stock_in_sql


async def main(path: Path) -> None:
    """Do as told until the input ends."""
    async with AioThread() as aio, open_store(aio, path) as store, stock_in_sql(store) as bus:
        await bus.handle(CreateBatch(BatchRef("b-1"), SEA, 1_000))
        while order := (await trio.to_thread.run_sync(sys.stdin.readline)).strip():
            try:
                await bus.handle(Allocate(OrderId(order), SEA, 1))
            except StoreUnavailable:
                answer = "unavailable"
            else:
                answer = "allocated"
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))

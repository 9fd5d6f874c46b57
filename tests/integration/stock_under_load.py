"""A stock room under load: `python -m tests.integration.stock_under_load PATH ROUND`.

It says on its output, one JSON list a line, what it asks for (`ask`), what was acknowledged (`ack`)
and what it has delivered (`out`), until it is killed. It first asks again for what it reads on its
input.
"""

import json
import os
import random
import sys
from itertools import count
from pathlib import Path
from typing import Any

import trio

from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.delivery_store import SqlDeliveryStore
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.domain import model as stock_rules
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchQuantity,
    Command,
    CreateBatch,
    PlaceOrder,
)
from scentrt.domain.model import OrderLine
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.service_layer import handlers, unit_of_work
from scentrt.service_layer.deliveries import Kind
from scentrt.service_layer.messagebus import MessageBus
from tests.stock_stage import stock_in_sql

SKUS = [Sku(f"SCENT-{number}") for number in range(4)]
REFS = [BatchRef(f"b-{number}-{sku}") for sku in SKUS for number in range(2)]
FIRST_QUANTITY = 1_000
ASKERS = 12

# What is displaced and what is filled is stored in parts, so that many are killed between two.
stock_rules.LINES_DISPLACED_PER_STEP = handlers.BACK_ORDERS_PER_STEP = 5
unit_of_work.ROWS_PER_COMMIT = 20


def say(*what: object) -> None:
    """Say it in one piece, and out before anybody can kill us."""
    os.write(1, (json.dumps(what) + "\n").encode())


def command(words: list[Any]) -> Command[Any]:
    """Return the command that is told so."""
    match words:
        case ["allocate", orderid, sku, qty]:
            return Allocate(OrderId(orderid), Sku(sku), qty)
        case ["place", orderid, lines]:
            return PlaceOrder(
                OrderId(orderid),
                tuple(OrderLine(OrderId(orderid), Sku(sku), qty) for sku, qty in lines),
            )
        case ["cancel", orderid]:
            return CancelOrder(OrderId(orderid))
        case ["quantity", ref, qty]:
            return ChangeBatchQuantity(BatchRef(ref), qty)
    raise AssertionError(words)


async def ask(bus: MessageBus, words: list[Any]) -> object:
    """Ask for something, and say so; say it too when it is done."""
    say("ask", *words)
    answer = await bus.handle(command(words))
    say("ack", *words, answer)
    return answer


async def be_a_customer(bus: MessageBus, name: str, chance: random.Random) -> None:
    """Ask for all sorts of things, one after the other."""
    for number in count():
        orderid = f"{name}-{number}"
        sku = chance.choice(SKUS)
        match chance.randrange(8):
            case 0:
                skus = chance.sample(SKUS, chance.randint(1, 3))
                lines = [[sku, chance.randint(1, 5)] for sku in skus]
                await ask(bus, ["place", orderid, lines])
                if chance.randrange(3) == 0:
                    await ask(bus, ["cancel", orderid])
            case _:
                words = ["allocate", orderid, sku, chance.randint(1, 5)]
                answer = await ask(bus, words)
                if chance.randrange(10) == 0 and answer is not None:
                    await ask(bus, words)


async def be_the_buyer(bus: MessageBus, chance: random.Random) -> None:
    """Change the quantities of batches, so that lines have to move and to wait."""
    while True:
        await ask(bus, ["quantity", chance.choice(REFS), chance.randrange(3_000)])
        await trio.sleep(chance.random() / 50)


async def deliver(store: SqlTheatreStore) -> None:
    """Deliver what is published, at least once: said first, and struck out then."""
    out = SqlDeliveryStore(store)
    while True:
        page = await out.fresh_deliveries(Kind.REDIS, 0, 200)
        for delivery in page:
            message = json.loads(delivery.payload)["message"]
            say("out", message["orderid"], message["sku"], message["batchref"])
        await out.strike_out_deliveries([delivery.id for delivery in page])
        await trio.sleep(0.02)


async def main(path: Path, name: str, again: list[list[Any]]) -> None:
    """Ask for things until killed."""
    chance = random.Random(name)
    async with AioThread() as aio, open_store(aio, path) as store, stock_in_sql(store) as bus:
        for ref in REFS:
            await bus.handle(CreateBatch(ref, Sku(ref.split("-", 2)[2]), FIRST_QUANTITY))
        say("open")
        async with trio.open_nursery() as nursery:
            for words in again:
                nursery.start_soon(ask, bus, words)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver, store)
            nursery.start_soon(be_the_buyer, bus, random.Random(f"buyer {name}"))
            for number in range(ASKERS):
                seed = chance.random()
                nursery.start_soon(be_a_customer, bus, f"{name}.{number}", random.Random(seed))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], json.load(sys.stdin))

"""The stock after hours: without a server, for as long as somebody has something to do there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import trio
from sqlalchemy.exc import SQLAlchemyError

from scentrt.actors.ledger import Ledger
from scentrt.actors.vial_desk import ClosedHouse, VialDesk
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_lock import holder_of
from scentrt.adapters.database_reading import (
    existing_file_of,
    file_to_be,
    open_views,
    read_one_state,
)
from scentrt.adapters.repository import SqlAlchemyOrders
from scentrt.adapters.seat_records import read_seats
from scentrt.adapters.sql_reader import reason_of
from scentrt.adapters.theatre_store import open_store
from scentrt.bootstrap.stock import Stock, build_stock
from scentrt.config import Settings
from scentrt.domain.commands import FillBackOrders
from scentrt.domain.forecast import SeatNow
from scentrt.domain.layout import TheatrePlan
from scentrt.errors import ConfigError, DatabaseInUse
from scentrt.service_layer.deliveries import Outlets
from scentrt.service_layer.views import Views
from scentrt.theatre_file import load_theatre


@asynccontextmanager
async def open_stock_room(
    settings: Settings, *, where_none: Literal["refuse", "make", "pretend"]
) -> AsyncIterator[Stock]:
    """Run the stock room alone for as long as the block lasts.

    What is asked of it and what earlier servers have left to be done is done by the end of the
    block; what is to be delivered waits for the next server.

    Args:
      where_none: what to do where there is no database: have none of it, make it, or go on with
        one in memory, which is forgotten.

    Raises:
      DatabaseInUse: a server has the database open.
      ConfigError: it cannot be used.
    """
    database = settings.db
    if where_none == "refuse":
        existing_file_of(database)
    elif not file_to_be(database).exists() and where_none == "pretend":
        database = ":memory:"
    outlets = Outlets(settings.email.stock_team, redis=settings.redis.host is not None)
    async with AioThread() as aio, open_store(aio, database) as store:
        ledger = Ledger(store)
        stock = build_stock(store, ledger, outlets)
        async with trio.open_nursery() as writing:
            await writing.start(ledger.run)
            async with trio.open_nursery() as rooms:
                await rooms.start(stock.room.run)
                yield stock
                for sku in await SqlAlchemyOrders(store).unsettled_skus():
                    await stock.bus.handle(FillBackOrders(sku))  # behind what it has to settle
                rooms.cancel_scope.cancel()
            writing.cancel_scope.cancel()


def read_seats_of(settings: Settings, plan: TheatrePlan) -> list[SeatNow]:
    """Return the seats of a house as they are in the database. Blocks.

    Raises:
      DatabaseInUse: a server has it open, and knows better.
      ConfigError: there is none, or it cannot be used.
    """
    path = existing_file_of(settings.db)
    if holder := holder_of(path):
        raise DatabaseInUse(str(path), f"is in use by process {holder}")
    try:
        return read_one_state(path, partial(read_seats, plan=plan, where=str(path)))
    except SQLAlchemyError as error:
        raise ConfigError(str(path), f"cannot be read: {reason_of(error)}") from error


@asynccontextmanager
async def open_vial_desk(settings: Settings) -> AsyncIterator[VialDesk]:
    """Load and unload vials without a server, for as long as the block lasts.

    Raises as `open_stock_room` does, and `ConfigError` where the theatre file cannot be used.
    """
    plan = load_theatre(settings.theatre)
    async with open_stock_room(settings, where_none="refuse") as stock:
        yield VialDesk(plan, stock.bus, stock.views, ClosedHouse())


@asynccontextmanager
async def open_stock_views(settings: Settings) -> AsyncIterator[Views]:
    """Look at the stock in the database, also beside a server that has it open.

    Raises `ConfigError` where there is none.
    """
    path = existing_file_of(settings.db)
    async with AioThread() as aio, open_views(aio, path) as views:
        yield views

"""Another process on a database: `python -m tests.integration.database_user hold|load PATH`."""

import os
import sys
from pathlib import Path

import trio

from scentrt.actors.ledger import Writes, ZoneDoses
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_lock import lock_database
from scentrt.adapters.theatre_store import open_store
from scentrt.domain.cues import SeatId, ZoneId


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # in one piece, and out before anybody can kill us


async def hold(path: Path) -> None:
    """Hold the lock until killed."""
    with lock_database(path):
        say("held")
        await trio.sleep_forever()


async def load(path: Path) -> None:
    """Commit second after second until killed, and say which were acknowledged."""
    seats = [SeatId(f"A-1-{number}") for number in range(5)]
    async with AioThread() as aio, open_store(aio, path) as store:
        for second in range(1_000_000):
            used = {second: dict.fromkeys(seats, 1)}
            doses = ZoneDoses(ZoneId("A"), used, 1000.0 * second, closed=False, forget_before_s=0)
            await store.commit(Writes(doses=(doses,)))
            say(str(second))


if __name__ == "__main__":
    trio.run({"hold": hold, "load": load}[sys.argv[1]], Path(sys.argv[2]))

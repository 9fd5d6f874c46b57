"""A server with dispensers in memory, and what it is measured against: where most benches play."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from simulators.latency.run import Run
from simulators.latency.venue import Hall, Server, open_reference, open_server

HALL = Hall(rows=10, seats_per_row=10)
"""Enough seats that each is free again when its turn comes, however fast the cues."""

HALL_OF_500 = Hall(rows=20, seats_per_row=25)


@dataclass(frozen=True, slots=True)
class House:
    """A hall, the server in it, and where the reference is reached."""

    hall: Hall
    server: Server
    reference: str


@contextmanager
def open_house(run: Run, hall: Hall = HALL) -> Iterator[House]:
    """Run both for as long as the block lasts."""
    run.tell("a server starts")
    with (
        open_server(run.profiler, hall.plan(), "--simulate") as server,
        open_reference() as reference,
    ):
        yield House(hall, server, reference)

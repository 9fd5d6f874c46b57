"""One cue to all seats, from the first driver call to the last, by seat."""

from collections.abc import Iterator
from contextlib import closing
from time import sleep

from simulators.latency.engine import Engine
from simulators.latency.figures import Comparison, Goal
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.venue import Hall, open_server

HALLS = (Hall(rows=20, seats_per_row=25), Hall(rows=20, seats_per_row=25, zones=4))
SHARE = 0.05
PAUSE_S = 0.01
"""Between two cues: a seat is free again then."""

GOALS = (Goal("p50", most=12),)


def everywhere(run: Run) -> Iterator[Comparison]:
    """One engine sends a cue to all of 500 seats in a zone, and of 2,000 in four."""
    for hall in HALLS:
        seats = len(hall.seats)
        bench = f"all {seats}"
        run.tell(f"{bench}: a server starts")
        with (
            open_server(run.profiler, hall.plan(), "--simulate") as server,
            closing(Engine(server.gateway, hall.seats)) as engine,
        ):

            def cues(engine: Engine = engine, seats: int = seats) -> Batch:
                offset = engine.find_offset()
                batch: Batch = {"first to last, a seat": [], "cue to last, a seat": []}
                for each in engine.cues(run.part(SHARE), report=True, to={"all": True}):
                    timed = engine.time(each, offset, seats)
                    batch["first to last, a seat"].append(timed.spread_ms * 1000 / seats)
                    batch["cue to last, a seat"].append(timed.to_driver_ms * 1000 / seats)
                    sleep(PAUSE_S)
                return batch

            yield run.rounds_of(bench, cues).compare(
                bench,
                None,
                Figure("first to last, a seat", "us", GOALS),
                Figure("cue to last, a seat", "us"),
            )

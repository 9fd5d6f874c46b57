"""How late cues are dispatched that were due later, beside how late `trio.sleep_until` wakes."""

import json
from collections.abc import Iterator
from contextlib import closing
from time import time

from simulators.latency.benches.house import HALL_OF_500, open_house
from simulators.latency.engine import Engine
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Line, frame
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.schedule import moments

PER_S = 100
SHARE = 0.2
LEAD_MS = 300.0
"""From sending the cues to the first moment: all of them have long been accepted by then."""

GOALS = (Goal("x p99", most=1.5),)


def scheduled(run: Run) -> Iterator[Comparison]:
    """In a hall of 500 seats, cues that came together are due one after the other."""
    due_ms = [LEAD_MS + moment * 1000 for moment in moments(run.part(SHARE), PER_S)]
    with (
        open_house(run, HALL_OF_500) as house,
        closing(Engine(house.server.gateway, house.hall.seats)) as engine,
        closing(Line(house.reference + "/sleeper")) as sleeper,
    ):

        def sleeps() -> Batch:
            asked = json.dumps([each / 1000 for each in due_ms]).encode()
            return {"trio.sleep_until": json.loads(sleeper.exchange(frame(asked)).text)}

        def cues() -> Batch:
            # The two clocks need not agree to a millisecond for this: the server tells how late.
            now_ms = time() * 1000
            sending = [engine.cues(1, report=True, at=now_ms + each)[0] for each in due_ms]
            return {"lateness": engine.lateness_ms(sending)}

        yield run.rounds_of("scheduled", sleeps, cues).compare(
            "scheduled", Figure("trio.sleep_until", "ms"), Figure("lateness", "ms", GOALS)
        )

"""From sending a cue to its driver call and to its answer, beside the round trip of an echo."""

from collections.abc import Iterator
from contextlib import closing

from simulators.latency.benches.house import open_house
from simulators.latency.engine import Engine
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Line
from simulators.latency.run import Batch, Figure, Run

GOALS = (Goal("x p50", most=1.3), Goal("x p99", most=2.5))


def cue(run: Run) -> Iterator[Comparison]:
    """One engine sends a cue to one seat, waits for its answer and its report, sends the next."""
    with (
        open_house(run) as house,
        closing(Engine(house.server.gateway, house.hall.seats)) as engine,
        closing(Line(house.reference + "/echo")) as echo,
    ):

        def echoes() -> Batch:
            trips = [echo.exchange(each) for each in engine.cues(run.samples, report=True)]
            return {"echo": [(came - sent) * 1000 for sent, came, _ in trips]}

        def cues() -> Batch:
            offset = engine.find_offset()
            timed = [engine.time(each, offset) for each in engine.cues(run.samples, report=True)]
            return {
                "cue to driver": [each.to_driver_ms for each in timed],
                "cue to answer": [each.to_answer_ms for each in timed],
                "received to driver": [each.inside_ms for each in timed],
            }

        yield run.rounds_of("cue", echoes, cues).compare(
            "cue",
            Figure("echo", "ms"),
            Figure("cue to driver", "ms", GOALS),
            Figure("cue to answer", "ms"),
            Figure("received to driver", "ms"),
        )

"""From sending a cue to its driver call while 100 come every second, beside one at a time.

And the same of echoes, which shows what of it is the machine: a process that has slept for ten
milliseconds is slower to wake, and finds less of itself in the processor's caches.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing

from simulators.latency.benches.house import HALL_OF_500, open_house
from simulators.latency.engine import Engine
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Answer, Line
from simulators.latency.run import Batch, Figure, Run

PER_S = 100
SHARE = 0.2
"""A cue takes its hundredth of a second here, and one at a time a fraction of that."""

GOALS = (Goal("x p99", most=2),)


def busy(run: Run) -> Iterator[Comparison]:
    """In a hall of 500 seats, 100 cues a second come for one seat each, on a schedule."""
    with (
        open_house(run, HALL_OF_500) as house,
        closing(Engine(house.server.gateway, house.hall.seats)) as engine,
        closing(Line(house.reference + "/echo")) as echo,
    ):

        def idle() -> Batch:
            offset = engine.find_offset()
            cues = engine.cues(run.samples, report=True)
            return {"idle": [engine.time(each, offset).to_driver_ms for each in cues]}

        def on_schedule() -> Batch:
            offset = engine.find_offset()
            cues = engine.cues(run.part(SHARE), report=True)
            timed = engine.time_on_schedule(cues, PER_S, offset)
            return {
                "100 cues/s": [each.to_driver_ms for each in timed],
                "of that inside": [each.inside_ms for each in timed],
            }

        def echoes() -> Batch:
            frames = engine.cues(run.samples)
            alone = map(echo.exchange, frames)
            paced = echo.exchange_on_schedule(frames[: run.part(SHARE)], PER_S)
            return {"idle echo": _ms(alone), "100 echoes/s": _ms(paced)}

        rounds = run.rounds_of("busy", idle, on_schedule, echoes)
        yield rounds.compare(
            "busy",
            Figure("idle", "ms"),
            Figure("100 cues/s", "ms", GOALS),
            Figure("of that inside", "ms"),
        )
        yield rounds.compare("busy echo", Figure("idle echo", "ms"), Figure("100 echoes/s", "ms"))


def _ms(answers: Iterable[Answer]) -> list[float]:
    return [(answer.came - answer.sent) * 1000 for answer in answers]

"""Cues a second on one connection that always has some under way, beside echoes a second."""

from collections import deque
from collections.abc import Iterator
from contextlib import closing
from time import perf_counter

from simulators.latency.benches.house import open_house
from simulators.latency.engine import Engine, accepted
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Line
from simulators.latency.run import Batch, Figure, Run

WINDOW = 64
"""Cues under way: some milliseconds of work, and far from what a mailbox holds."""

GOALS = (Goal("x p50", least=0.8),)


def pipelined(run: Run) -> Iterator[Comparison]:
    """One engine keeps a window of cues under way; beside it, as many echoes."""
    with (
        open_house(run) as house,
        closing(Engine(house.server.gateway, house.hall.seats)) as engine,
        closing(Line(house.reference + "/echo")) as echo,
    ):

        def echoes() -> Batch:
            frames = engine.cues(5 * run.samples)
            with run.effort:
                rate, _ = _pipeline(echo, frames)
            return {"echoes": [rate]}

        def cues() -> Batch:
            frames = engine.cues(5 * run.samples)
            with run.effort:
                rate, answers = _pipeline(engine.line, frames)
            for answer in answers:
                accepted(answer)
            return {"cues": [rate]}

        yield run.rounds_of("pipelined", echoes, cues).compare(
            "pipelined", Figure("echoes", "/s"), Figure("cues", "/s", GOALS)
        )


def _pipeline(line: Line, frames: list[bytes]) -> tuple[float, list[bytes]]:
    """Return how many a second were answered, and the answers."""
    answers: list[bytes] = []
    waiting = deque(frames)
    started = perf_counter()
    while len(answers) < len(frames):
        room = WINDOW - (len(frames) - len(waiting) - len(answers))
        line.socket.sendall(b"".join(waiting.popleft() for _ in range(min(room, len(waiting)))))
        answers += line.texts()
    return len(frames) / (perf_counter() - started), answers

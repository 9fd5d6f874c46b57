"""What is measured of the server as such: each bench takes a `Run` and yields what came out."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

from simulators.latency.engine import Engine, accepted
from simulators.latency.figures import Comparison, Series, Unit
from simulators.latency.line import Audience, Line, frame, greet, message_frame, told
from simulators.latency.venue import ZONE, Hall, open_reference, open_server

HALL = Hall(rows=10, seats_per_row=10)
"""Enough seats that each is free again when its turn comes, however fast the cues."""

WINDOW = 64
"""Cues under way in a pipeline: some milliseconds of work, and far from what a mailbox holds."""

SHOT = 50
"""One cue to an audience takes about as long as so many to nobody."""

Batch: TypeAlias = dict[str, list[float]]
"""Samples of one turn, by what they are samples of."""

Turn: TypeAlias = Callable[[int], Batch]
"""Measure so many times."""


@dataclass(frozen=True, slots=True)
class Run:
    """How much is measured; `tell` hears how far it has come, `remark` what is left out."""

    rounds: int
    samples: int
    audiences: tuple[int, ...]
    tell: Callable[[str], None]
    remark: Callable[[str], None]

    def compare(
        self, bench: str, unit: Unit, samples: int, reference: Turn, subject: Turn
    ) -> Comparison:
        """Let the two take turns for some rounds, the first of which is a warm-up."""
        rounds: list[Batch] = []
        for number in range(self.rounds + 1):
            self.tell(f"{bench}: " + (f"round {number} of {self.rounds}" if number else "warm-up"))
            rounds.append(reference(samples) | subject(samples))
        beside, *series = (
            Series(what, unit, [batch[what] for batch in rounds[1:]]) for what in rounds[0]
        )
        return Comparison(bench, beside, series)


@dataclass(frozen=True, slots=True)
class Venue:
    """Where the server and the reference are reached."""

    server: str
    reference: str


@contextmanager
def open_venue(run: Run) -> Iterator[Venue]:
    """Run a server with dispensers in memory and the reference for as long as the block lasts."""
    run.tell("both servers start")
    with open_server(HALL.plan(), "--simulate") as server, open_reference() as reference:
        yield Venue(server.gateway, reference)


def cue(run: Run) -> Iterator[Comparison]:
    """From sending a cue to its driver call and to its answer, beside the round trip of an echo."""
    with (
        open_venue(run) as venue,
        closing(Engine(venue.server, HALL.seats)) as engine,
        closing(Line(venue.reference + "/echo")) as echo,
    ):

        def echoes(samples: int) -> Batch:
            trips = [echo.exchange(each) for each in engine.cues(samples, report=True)]
            return {"echo": [(came - sent) * 1000 for sent, came, _ in trips]}

        def cues(samples: int) -> Batch:
            offset = engine.find_offset()
            timed = [engine.time(each, offset) for each in engine.cues(samples, report=True)]
            return {
                "cue to driver": [each.to_driver_ms for each in timed],
                "cue to answer": [each.to_answer_ms for each in timed],
                "received to driver": [each.inside_ms for each in timed],
            }

        yield run.compare("cue", "ms", run.samples, echoes, cues)


def pipelined(run: Run) -> Iterator[Comparison]:
    """Cues a second on one connection that always has some under way, beside echoes a second."""
    with (
        open_venue(run) as venue,
        closing(Engine(venue.server, HALL.seats)) as engine,
        closing(Line(venue.reference + "/echo")) as echo,
    ):

        def echoes(samples: int) -> Batch:
            rate, _ = _pipeline(echo, engine.cues(samples))
            return {"echoes": [rate]}

        def cues(samples: int) -> Batch:
            rate, answers = _pipeline(engine.line, engine.cues(samples))
            for answer in answers:
                accepted(answer)
            return {"cues": [rate]}

        yield run.compare("pipelined", "/s", 2 * run.samples, echoes, cues)


def fan_out(run: Run) -> Iterator[Comparison]:
    """From sending a cue to the last of an audience, beside `send_message` to as many."""
    with ExitStack() as stack:
        venue = stack.enter_context(open_venue(run))
        engine = stack.enter_context(closing(Engine(venue.server, HALL.seats)))
        crier = stack.enter_context(closing(Line(venue.reference + "/crier")))
        goggles = stack.enter_context(closing(Audience()))
        crowd = stack.enter_context(closing(Audience()))

        def cries(samples: int) -> Batch:
            # The reference says, to as many, what the server said.
            accepted(engine.line.exchange(*engine.cues(1)).text)
            said = frame(goggles.gather().text)
            return {"send_message to each": _shots(crier, [said] * samples, crowd)}

        def cues(samples: int) -> Batch:
            took_ms = _shots(engine.line, engine.cues(samples), goggles)
            for _ in took_ms:
                accepted(engine.line.text())
            return {"cue to the last": took_ms}

        for size in sorted(run.audiences):
            run.tell(f"fan-out {size}: they take their seats")
            while len(goggles) < size:
                goggles.join(_wear(venue.server, f"player-{len(goggles) + 1}"))
                crowd.join(Line(venue.reference + "/audience"))
            shots = max(1, run.samples // SHOT)
            yield run.compare(f"fan-out {size}", "ms", shots, cries, cues)


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


def _shots(caller: Line, frames: list[bytes], audience: Audience) -> list[float]:
    """Return for each frame how long it takes until the whole audience has heard of it."""
    took_ms: list[float] = []
    for each in frames:
        sent = perf_counter()
        caller.socket.sendall(each)
        took_ms.append((audience.gather().came - sent) * 1000)
    return took_ms


def _wear(url: str, name: str) -> Line:
    """Return the connection of goggles that see what is released in the theatre."""
    line = Line(url)
    greet(line, "goggles", name)
    watch = {"type": "subscribe", "id": 2, "events": ["scent"], "zones": [ZONE]}
    told(line.exchange(message_frame(watch)).text, "subscribed")
    return line

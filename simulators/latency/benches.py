"""What is measured: each bench takes a `Run` and yields what came out."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

from simulators.connection import Message
from simulators.latency.figures import Comparison, Series, Unit
from simulators.latency.line import Audience, Line, Unanswered, frame, greet, message_frame, told
from simulators.latency.offset import Offset, unix_ahead_ms
from simulators.latency.venue import ROWS, SCENT, SEATS_PER_ROW, ZONE, Venue

WINDOW = 64
"""Cues under way in a pipeline: some milliseconds of work, and far from what a mailbox holds."""

PINGS = 50

SHOT = 50
"""One cue to an audience takes about as long as so many to nobody."""

Batch: TypeAlias = dict[str, list[float]]
"""Samples of one turn, by what they are samples of."""

Turn: TypeAlias = Callable[[int], Batch]
"""Measure so many times."""


@dataclass(frozen=True, slots=True)
class Run:
    """How much is measured, and where; `tell` hears how far it has come."""

    venue: Venue
    rounds: int
    samples: int
    audiences: tuple[int, ...]
    tell: Callable[[str], None]

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


class Engine:
    """A game that sends cues, each to the next seat and under an id of its own."""

    def __init__(self, url: str) -> None:
        self.line = Line(url)
        greet(self.line, "engine", "bench")
        self.close = self.line.close
        self._numbers = itertools.count()

    def cues(self, count: int, **fields: object) -> list[bytes]:
        """Return so many cues with these fields, ready to be sent."""
        return [message_frame({**self._next_cue(), **fields}) for _ in range(count)]

    def find_offset(self) -> Offset:
        """Compare clocks with the server."""
        offset = Offset(unix_ahead_ms())
        for number in range(PINGS):
            ping = message_frame({"type": "ping", "id": f"ping-{number}", "t0": 0})
            sent, came, text = self.line.exchange(ping)
            pong = told(text, "pong")
            offset.learn(sent * 1000, pong["t1"], pong["t2"], came * 1000)
        return offset

    def _next_cue(self) -> Message:
        number = next(self._numbers)
        row, seat = divmod(number % (ROWS * SEATS_PER_ROW), SEATS_PER_ROW)
        return {
            "type": "cue",
            "id": number,
            "scent": SCENT,
            # The least there is, so that no seat is ever busy or has had enough.
            "intensity": 0.01,
            "duration_ms": 1,
            "to": {"seats": [f"{ZONE}-{row + 1}-{seat + 1}"]},
        }


def cue(run: Run) -> Iterator[Comparison]:
    """From sending a cue to its driver call and to its answer, beside the round trip of an echo."""
    with (
        closing(Engine(run.venue.server)) as engine,
        closing(Line(run.venue.reference + "/echo")) as echo,
    ):

        def echoes(samples: int) -> Batch:
            trips = [echo.exchange(each) for each in engine.cues(samples, report=True)]
            return {"echo": [(came - sent) * 1000 for sent, came, _ in trips]}

        def cues(samples: int) -> Batch:
            offset = engine.find_offset()
            to_driver, to_answer, inside = [], [], []
            for each in engine.cues(samples, report=True):
                sent, came, text = engine.line.exchange(each)
                due_ms = _accepted(text)["due"]
                report = told(engine.line.text(), "report")
                inside_ms = report["lateness_ms"] + report["last_ms"]
                to_driver.append(offset.here_ms(due_ms + inside_ms) - sent * 1000)
                to_answer.append((came - sent) * 1000)
                inside.append(inside_ms)
            return {
                "cue to driver": to_driver,
                "cue to answer": to_answer,
                "received to driver": inside,
            }

        yield run.compare("cue", "ms", run.samples, echoes, cues)


def pipelined(run: Run) -> Iterator[Comparison]:
    """Cues a second on one connection that always has some under way, beside echoes a second."""
    with (
        closing(Engine(run.venue.server)) as engine,
        closing(Line(run.venue.reference + "/echo")) as echo,
    ):

        def echoes(samples: int) -> Batch:
            rate, _ = _pipeline(echo, engine.cues(samples))
            return {"echoes": [rate]}

        def cues(samples: int) -> Batch:
            rate, answers = _pipeline(engine.line, engine.cues(samples))
            for answer in answers:
                _accepted(answer)
            return {"cues": [rate]}

        yield run.compare("pipelined", "/s", 2 * run.samples, echoes, cues)


def fan_out(run: Run) -> Iterator[Comparison]:
    """From sending a cue to the last of an audience, beside `send_message` to as many."""
    with ExitStack() as stack:
        engine = stack.enter_context(closing(Engine(run.venue.server)))
        crier = stack.enter_context(closing(Line(run.venue.reference + "/crier")))
        goggles = stack.enter_context(closing(Audience()))
        crowd = stack.enter_context(closing(Audience()))

        def cries(samples: int) -> Batch:
            # The reference says, to as many, what the server said.
            _accepted(engine.line.exchange(*engine.cues(1)).text)
            said = frame(goggles.gather().text)
            return {"send_message to each": _shots(crier, [said] * samples, crowd)}

        def cues(samples: int) -> Batch:
            took_ms = _shots(engine.line, engine.cues(samples), goggles)
            for _ in took_ms:
                _accepted(engine.line.text())
            return {"cue to the last": took_ms}

        for size in sorted(run.audiences):
            run.tell(f"fan-out {size}: they take their seats")
            while len(goggles) < size:
                goggles.join(_wear(run.venue.server, f"player-{len(goggles) + 1}"))
                crowd.join(Line(run.venue.reference + "/audience"))
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


def _accepted(text: bytes) -> Message:
    """Return the answer to a cue; one that did not reach its seat is not what we measure."""
    answer = told(text, "accepted")
    if answer["targets"] != 1:
        raise Unanswered(f"a cue did not reach its seat: {text.decode()}")
    return answer

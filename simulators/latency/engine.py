"""A game that sends cues, and how long each of them takes."""

import itertools
import json
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

from simulators.connection import Message
from simulators.latency.line import (
    ANSWER_WITHIN_S,
    Answer,
    Line,
    Unanswered,
    greet,
    message_frame,
    told,
)
from simulators.latency.offset import Offset, unix_ahead_ms
from simulators.latency.schedule import moments, wait_until
from simulators.latency.venue import SCENT

PINGS = 50
TTL_MS = 60_000


class Timed(NamedTuple):
    """How long a cue took, in milliseconds; which moments these are, the package says."""

    to_driver_ms: float
    to_answer_ms: float
    inside_ms: float
    spread_ms: float
    """From the first dispenser's being told to the last one's."""


class Engine:
    """A game that sends cues, each to the next of these seats and under an id of its own."""

    def __init__(self, url: str, seats: Sequence[str]) -> None:
        self.line = Line(url)
        greet(self.line, "engine", "bench")
        self.close = self.line.close
        self._seats = seats
        self._numbers = itertools.count()

    def cues(self, count: int, **fields: object) -> list[bytes]:
        """Return so many cues with these fields, ready to be sent."""
        return [message_frame({**self._next_cue(), **fields}) for _ in range(count)]

    def time(self, cue: bytes, offset: Offset, targets: int = 1) -> Timed:
        """Send a cue that asks for a report, and wait for that."""
        answer = self.line.exchange(cue)
        return _timed(answer, told(self.line.text(), "report"), offset, targets)

    def time_on_schedule(self, cues: Sequence[bytes], per_s: float, offset: Offset) -> list[Timed]:
        """Send so many cues a second that ask for reports, whether answers come in time or not.

        Each is timed from the moment at which it was to be sent.
        """
        answers: dict[object, Answer] = {}
        reports: dict[object, Message] = {}
        sent: list[float] = []
        began = perf_counter()

        def listen(seconds: float) -> None:
            for came, text in self.line.within(seconds):
                message = json.loads(text)
                if message["type"] == "report":
                    reports[message["cue"]] = message
                else:
                    due = sent[len(answers)]
                    answers[told(text, "accepted")["re"]] = Answer(due, came, text)

        for cue, moment in zip(cues, moments(len(cues), per_s), strict=True):
            sent.append(began + moment)
            wait_until(sent[-1], listen)
            self.line.socket.sendall(cue)
        while len(reports) < len(cues):
            heard = len(answers) + len(reports)
            listen(ANSWER_WITHIN_S)
            if len(answers) + len(reports) == heard:
                raise Unanswered(f"{len(cues) - len(reports)} of {len(cues)} cues have no report")
        return [_timed(answer, reports[id], offset) for id, answer in answers.items()]

    def lateness_ms(self, cues: Sequence[bytes]) -> list[float]:
        """Send cues that are due later and ask for reports; return how late each was dispatched."""
        self.line.socket.sendall(b"".join(cues))
        late_ms: list[float] = []
        answered = 0
        while len(late_ms) < len(cues):
            text = self.line.text()
            if answered < len(cues) and json.loads(text)["type"] == "accepted":
                accepted(text)
                answered += 1
                continue
            report = told(text, "report")
            if report["written"] != 1:
                raise Unanswered(f"a cue did not reach its dispenser: {report}")
            late_ms.append(report["lateness_ms"])
        return late_ms

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
        return {
            "type": "cue",
            "id": number,
            "scent": SCENT,
            # The least there is, so that no seat is ever busy or has had enough.
            "intensity": 0.01,
            "duration_ms": 1,
            "to": {"seats": [self._seats[number % len(self._seats)]]},
            # How late it is, is what we are here for: none is dropped for that.
            "ttl_ms": TTL_MS,
        }


def _timed(answer: Answer, report: Message, offset: Offset, targets: int = 1) -> Timed:
    due_ms = accepted(answer.text, targets)["due"]
    if report["written"] != targets:
        raise Unanswered(f"a cue did not reach every dispenser: {report}")
    inside_ms = report["lateness_ms"] + report["last_ms"]
    return Timed(
        to_driver_ms=offset.here_ms(due_ms + inside_ms) - answer.sent * 1000,
        to_answer_ms=(answer.came - answer.sent) * 1000,
        inside_ms=inside_ms,
        spread_ms=report["last_ms"] - report["first_ms"],
    )


def accepted(text: bytes, targets: int = 1) -> Message:
    """Return the answer to a cue; one that did not reach its seats is not what we measure."""
    answer = told(text, "accepted")
    if answer["targets"] != targets:
        raise Unanswered(f"a cue did not reach its seats: {text.decode()}")
    return answer

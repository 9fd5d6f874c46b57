"""From sending a cue to the last of an audience, beside `send_message` and Mosquitto."""

import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from time import perf_counter

from simulators.latency import mosquitto
from simulators.latency.audience import IS_POSSIBLE, Audience
from simulators.latency.benches.house import House, open_house
from simulators.latency.engine import Engine, accepted
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import BINARY, Line, frame, greet, message_frame, server_frame, told
from simulators.latency.mosquitto import MqttLine, open_mosquitto
from simulators.latency.run import Batch, Figure, Run, Turn
from simulators.latency.venue import ZONE

SHARE = 0.03
"""One cue to an audience takes about as long as so many to nobody."""

SOCKETS_EACH = 3
"""Here, one to the server, one to the reference and one to Mosquitto."""
SPARE_SOCKETS = 100

BESIDE_THE_LOOP = (Goal("x p50", most=0.25),)
BESIDE_MOSQUITTO = (Goal("x p50", most=1),)
OF_GOALS = {500: BESIDE_MOSQUITTO}
"""For which audience there is one."""


def fan_out(run: Run) -> Iterator[Comparison]:
    """One engine sends a cue, and an audience of goggles is told of it."""
    if not IS_POSSIBLE:
        run.remark("fan-out is left out: it takes Linux")
        return
    with ExitStack() as stack:
        house = stack.enter_context(open_house(run))
        hall = _Hall(stack, run, house)
        for size in sorted(run.audiences):
            if size * SOCKETS_EACH + SPARE_SOCKETS > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
                run.remark(f"fan-out {size} is left out: it takes more open files, see ulimit -n")
                continue
            run.tell(f"fan-out {size}: they take their seats")
            hall.seat(size)
            yield from hall.measure(size)


class _Hall:
    """An audience at the server, and as large ones at what it is measured against."""

    def __init__(self, stack: ExitStack, run: Run, house: House) -> None:
        self._run, self._house = run, house
        self._goggles = stack.enter_context(closing(Audience()))
        self._crowd = stack.enter_context(closing(Audience()))
        self._listeners = stack.enter_context(closing(Audience()))
        self._engine = stack.enter_context(closing(Engine(house.server.gateway, house.hall.seats)))
        self._crier = stack.enter_context(closing(Line(house.reference + "/crier")))
        self._printer = stack.enter_context(closing(Line(house.reference + "/printer")))
        self._port: int | None = None
        self._teller: MqttLine | None = None
        if (program := mosquitto.program()) is None:
            run.remark("fan-out is not compared with Mosquitto: it is not installed")
        else:
            self._port = stack.enter_context(open_mosquitto(program))
            self._teller = stack.enter_context(closing(MqttLine(self._port)))
        self._said = b""

    def seat(self, size: int) -> None:
        """Have so many in each audience."""
        while len(self._goggles) < size:
            url = self._house.server.gateway
            self._goggles.join(_wear(url, f"player-{len(self._goggles) + 1}"))
            self._crowd.join(Line(self._house.reference + "/audience"))
            if self._port is not None:
                self._listeners.join(MqttLine(self._port, listens=True))

    def measure(self, size: int) -> Iterator[Comparison]:
        """Compare how long it takes until the last has heard."""
        bench = f"fan-out {size}"
        turns: list[Turn] = [self._cues, self._cries, self._prints]
        if self._port is not None:
            turns.append(self._publications)
        rounds = self._run.rounds_of(bench, *turns)
        told = "cue to the last"
        # To be faster than a loop, there has to be something to loop over.
        goals = BESIDE_THE_LOOP if size > 1 else ()
        yield rounds.compare(
            bench,
            Figure("send_message", "ms"),
            Figure(told, "ms", goals),
            Figure("bare writes", "ms"),
        )
        if self._port is not None:
            goals = OF_GOALS.get(size, ())
            yield rounds.compare(bench, Figure("Mosquitto", "ms"), Figure(told, "ms", goals))

    def _cues(self) -> Batch:
        cues = self._engine.cues(self._run.part(SHARE))
        line = self._engine.line
        took_ms = self._shots(line.socket.sendall, cues, self._goggles)
        for _ in took_ms:
            accepted(line.text())
        return {"cue to the last": took_ms}

    def _cries(self) -> Batch:
        # The others say, to as many, what the server said.
        said = [frame(self._said)] * self._run.part(SHARE)
        return {"send_message": self._shots(self._crier.socket.sendall, said, self._crowd)}

    def _prints(self) -> Batch:
        sending = [frame(server_frame(self._said), BINARY)] * self._run.part(SHARE)
        return {"bare writes": self._shots(self._printer.socket.sendall, sending, self._crowd)}

    def _publications(self) -> Batch:
        assert self._teller is not None
        said = [mosquitto.published(self._said)] * self._run.part(SHARE)
        return {"Mosquitto": self._shots(self._teller.socket.sendall, said, self._listeners)}

    def _shots(
        self, send: Callable[[bytes], None], frames: list[bytes], audience: Audience
    ) -> list[float]:
        """Return for each frame how long it takes until the whole audience has heard of it."""
        took_ms: list[float] = []
        for each in frames:
            sent = perf_counter()
            with self._run.effort:
                send(each)
                came = audience.wait()
            self._said = audience.text()
            took_ms.append((came - sent) * 1000)
        return took_ms


def _wear(url: str, name: str) -> Line:
    """Return the connection of goggles that see what is released in the theatre."""
    line = Line(url)
    greet(line, "goggles", name)
    watch = {"type": "subscribe", "id": 2, "events": ["scent"], "zones": [ZONE]}
    told(line.exchange(message_frame(watch)).text, "subscribed")
    return line

"""What an audience costs that only listens, and how soon a server is ready."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from simulators.latency.benches.house import HALL
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Line, greet, message_frame, told
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.venue import open_server

SUBSCRIBERS = 0.2
"""So many of `samples` come in each round: the memory of a few is lost in what is allocated."""

MEMORY_GOALS = (Goal("p50", most=32),)
START_GOALS = (Goal("p50", most=1),)


def idle(run: Run) -> Iterator[Comparison]:
    """Goggles subscribe and then hear nothing; and servers start, one after the other."""
    yield from _memory(run)
    yield _start(run)


def _memory(run: Run) -> Iterator[Comparison]:
    if not Path("/proc/self/status").exists():
        run.remark("idle: the memory of subscribers is left out: it takes Linux' /proc")
        return
    numbers = count()
    with (
        ExitStack() as stack,
        open_server(run.profiler, HALL.plan(), "--simulate") as server,
    ):

        def come() -> Batch:
            before_kib = _resident_kib(server.pid)
            come = run.part(SUBSCRIBERS)
            for _ in range(come):
                line = stack.enter_context(closing(Line(server.gateway)))
                greet(line, "goggles", f"player-{next(numbers)}")
                watch = {"type": "subscribe", "id": 2, "events": ["scent"]}
                told(line.exchange(message_frame(watch)).text, "subscribed")
            return {"memory, a subscriber": [(_resident_kib(server.pid) - before_kib) / come]}

        yield run.rounds_of("idle", come).compare(
            "idle", None, Figure("memory, a subscriber", "KiB", MEMORY_GOALS)
        )


def _start(run: Run) -> Comparison:
    def start() -> Batch:
        with open_server(run.profiler, HALL.plan(), "--simulate", watch_start=True) as server:
            return {"start to ready": [server.ready_s]}

    rounds = run.rounds_of("start", start)
    return rounds.compare("start", None, Figure("start to ready", "s", START_GOALS))


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has no memory")

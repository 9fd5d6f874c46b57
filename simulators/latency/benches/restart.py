"""How soon a server is ready that finds 200,000 lines in its database."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from simulators.latency.benches.house import HALL
from simulators.latency.figures import Comparison, Goal
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.venue import open_helper, open_server

LINES, SKUS = 200, 100
"""Lines for each of `samples`, and of how many products."""

GOALS = (Goal("p50", most=2),)


def restart(run: Run) -> Iterator[Comparison]:
    """Servers start, one after the other, on the same database; beside them, on empty ones."""
    lines = LINES * run.samples
    with TemporaryDirectory(prefix="scentrt-latency-") as name:
        db = Path(name) / "scentrt.db"
        run.tell(f"restart: {lines:,} lines are allocated")
        with open_helper("inside.bus", SKUS, lines, db):
            pass  # when it has begun, they are

        def start(what: str, db: Path | None) -> Batch:
            with open_server(
                run.profiler, HALL.plan(), "--simulate", db=db, watch_start=True
            ) as server:
                return {what: [server.ready_s]}

        yield run.rounds_of(
            "restart",
            lambda: start("empty database", None),
            lambda: start(f"{lines:,} lines", db),
        ).compare("restart", Figure("empty database", "s"), Figure(f"{lines:,} lines", "s", GOALS))

"""One allocation of a product that has 100,000 lines, beside one of a product that has none."""

from collections.abc import Iterator

from simulators.latency.figures import Comparison, Goal
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.venue import open_helper

LINES = 100
"""For each of `samples`."""
SHARE = 0.3

GOALS = (Goal("x p50", most=1.2),)


def grown(run: Run) -> Iterator[Comparison]:
    """One asker in the server's own process allocates one line after the other, durably."""
    before = LINES * run.samples
    run.tell(f"grown: {before:,} lines are allocated")
    with (
        open_helper("inside.bus", 1, 0) as empty,
        open_helper("inside.bus", 1, before, profiler=run.profiler) as full,
    ):

        def on_empty() -> Batch:
            return {"empty product": empty.ask(run.part(SHARE), 1)["took_ms"]}

        def on_full() -> Batch:
            return {f"{before:,} lines": full.ask(run.part(SHARE), 1)["took_ms"]}

        yield run.rounds_of("grown", on_empty, on_full).compare(
            "grown", Figure("empty product", "ms"), Figure(f"{before:,} lines", "ms", GOALS)
        )

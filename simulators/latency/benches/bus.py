"""Allocations a second through the message bus, beside SQLite, which is given the same rows."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from simulators.latency.figures import Comparison, Goal
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.venue import Helper, open_helper

ASKERS = 64
SKUS = 100

ONE_GOALS, MANY_GOALS = (Goal("p50", least=8_000),), (Goal("p50", least=5_000),)


def bus(run: Run) -> Iterator[Comparison]:
    """64 askers in the server's own process allocate a line each, of one product or of a hundred.

    Everything is durable: WAL and ``synchronous=FULL``.
    """
    lines = 10 * run.samples

    def through(helper: Helper, what: str) -> Callable[[], Batch]:
        def turn() -> Batch:
            told = helper.ask(lines, ASKERS)
            return {what: [told["per_s"]], f"{what}, each": told["took_ms"]}

        return turn

    run.tell("bus: the stock is opened")
    with ExitStack() as stack:
        raw, one, many = (
            stack.enter_context(open_helper(program, *arguments, profiler=profiler))
            for program, arguments, profiler in (
                ("inside.rows", (), None),
                ("inside.bus", (1, 0), run.profiler),
                ("inside.bus", (SKUS, 0), run.profiler),
            )
        )
        rounds = run.rounds_of(
            "bus",
            lambda: {"raw commits": [raw.ask(lines, ASKERS)["per_s"]]},
            through(one, "1 SKU"),
            through(many, f"{SKUS} SKUs"),
        )
    yield rounds.compare(
        "bus",
        Figure("raw commits", "/s"),
        Figure("1 SKU", "/s", ONE_GOALS),
        Figure(f"{SKUS} SKUs", "/s", MANY_GOALS),
    )
    yield rounds.compare(
        "bus", None, Figure("1 SKU, each", "ms"), Figure(f"{SKUS} SKUs, each", "ms")
    )

"""From sending a cue to its driver call while 50 orders come every second, beside no orders."""

from collections.abc import Iterator
from contextlib import closing

from simulators.latency.benches.allocate import stock
from simulators.latency.benches.house import HALL_OF_500
from simulators.latency.engine import Engine
from simulators.latency.figures import Comparison, Goal
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.shop import LINES
from simulators.latency.till import Till
from simulators.latency.venue import open_helper, open_server

CUES_PER_S, ORDERS_PER_S = 100, 50
SHARE = 0.2

GOALS = (Goal("x p99", most=4),)
ERROR_GOALS = (Goal("p50", most=0),)


def together(run: Run) -> Iterator[Comparison]:
    """100 cues a second come on a schedule, once alone and once with orders on another."""
    run.tell("together: a server starts")
    with (
        open_server(run.profiler, HALL_OF_500.plan(), "--simulate") as server,
        closing(Engine(server.gateway, HALL_OF_500.seats)) as engine,
        open_helper("shop", server.http, ORDERS_PER_S) as shop,
    ):
        with closing(Till(server.http, 1)) as till:
            stock(till, LINES)

        def to_driver_ms() -> list[float]:
            offset = engine.find_offset()
            cues = engine.cues(run.part(SHARE), report=True)
            return [each.to_driver_ms for each in engine.time_on_schedule(cues, CUES_PER_S, offset)]

        def with_orders() -> Batch:
            shop.begin(run.part(SHARE * ORDERS_PER_S / CUES_PER_S))
            took_ms = to_driver_ms()
            told = shop.told()
            return {
                "50 orders/s": took_ms,
                "an order": told["took_ms"],
                "errors": [float(told["errors"])],
            }

        rounds = run.rounds_of("together", lambda: {"no orders": to_driver_ms()}, with_orders)
        yield rounds.compare(
            "together",
            Figure("no orders", "ms"),
            Figure("50 orders/s", "ms", GOALS),
            Figure("errors", "", ERROR_GOALS),
        )
        yield rounds.compare("together", None, Figure("an order", "ms"))

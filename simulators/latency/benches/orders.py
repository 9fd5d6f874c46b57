"""Lines a second that are ordered over HTTP, a hundred in an order."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count

from simulators.latency.benches.allocate import stock
from simulators.latency.benches.house import HALL
from simulators.latency.figures import Comparison, Goal
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.till import Till, post
from simulators.latency.venue import open_server

CLIENTS = 4
LINES = 100
SHARE = 0.02

RATE_GOALS = (Goal("p50", least=5_000),)
ERROR_GOALS = (Goal("p50", most=0),)


def orders(run: Run) -> Iterator[Comparison]:
    """4 clients place orders of 100 products each, again and again, until they are accepted."""
    numbers = count()
    run.tell("orders: a server starts")
    with (
        open_server(run.profiler, HALL.plan(), "--simulate") as server,
        closing(Till(server.http, CLIENTS)) as till,
    ):
        stock(till, LINES)
        lines = [{"sku": f"s-{number}", "qty": 1} for number in range(LINES)]

        def place() -> Batch:
            requests = [
                post("/orders", {"orderid": f"o-{next(numbers)}", "lines": lines})
                for _ in range(run.part(SHARE))
            ]
            with run.effort:
                rung = till.ring(requests)
            return {
                "lines": [rung.per_s * LINES],
                "an order": rung.took_ms,
                "errors": [float(rung.errors)],
            }

        yield run.rounds_of("orders", place).compare(
            "orders",
            None,
            Figure("lines", "/s", RATE_GOALS),
            Figure("errors", "", ERROR_GOALS),
            Figure("an order", "ms"),
        )

"""Allocations a second over HTTP, beside empty requests to the same HTTP server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count

from simulators.latency.benches.house import HALL
from simulators.latency.figures import Comparison, Goal
from simulators.latency.line import Unanswered
from simulators.latency.run import Batch, Figure, Run
from simulators.latency.till import Till, post
from simulators.latency.venue import open_helper, open_server

CLIENTS = 16
SKUS = 10

PLENTY = 10**9

RATE_GOALS = (Goal("x p50", least=0.5),)
ERROR_GOALS = (Goal("p50", most=0),)


def allocate(run: Run) -> Iterator[Comparison]:
    """16 clients order a line each, again and again, all of one product or of ten in turn."""
    numbers = count()
    run.tell("allocate: a server starts")
    with ExitStack() as stack:
        server = stack.enter_context(open_server(run.profiler, HALL.plan(), "--simulate"))
        empty = stack.enter_context(open_helper("inside.empty")).opening
        till = stack.enter_context(closing(Till(server.http, CLIENTS)))
        nothing = stack.enter_context(closing(Till(empty, CLIENTS)))
        stock(till, SKUS)

        def lines(skus: int) -> list[bytes]:
            return [
                post("/allocate", {"orderid": f"o-{number}", "sku": f"s-{number % skus}", "qty": 1})
                for number in (next(numbers) for _ in range(2 * run.samples))
            ]

        def allocations(skus: int) -> Callable[[], Batch]:
            def turn() -> Batch:
                requests = lines(skus)
                with run.effort:
                    rung = till.ring(requests)
                return {
                    f"of {skus}": [rung.per_s],
                    f"of {skus}, each": rung.took_ms,
                    f"of {skus}, errors": [float(rung.errors)],
                }

            return turn

        def empties() -> Batch:
            with run.effort:
                rung = nothing.ring([post("/empty")] * (2 * run.samples))
            if rung.errors:
                raise Unanswered("empty requests are refused")
            return {"empty": [rung.per_s], "empty, each": rung.took_ms}

        rounds = run.rounds_of("allocate", empties, allocations(1), allocations(SKUS))
        yield rounds.compare(
            "allocate",
            Figure("empty", "/s"),
            *(Figure(f"of {skus}", "/s", RATE_GOALS) for skus in (1, SKUS)),
            *(Figure(f"of {skus}, errors", "", ERROR_GOALS) for skus in (1, SKUS)),
        )
        yield rounds.compare(
            "allocate",
            Figure("empty, each", "ms"),
            *(Figure(f"of {skus}, each", "ms") for skus in (1, SKUS)),
        )


def stock(till: Till, skus: int) -> None:
    """Have plenty of so many products."""
    batches = [
        post("/add_batch", {"ref": f"b-{number}", "sku": f"s-{number}", "qty": PLENTY})
        for number in range(skus)
    ]
    if till.ring(batches).errors:
        raise Unanswered("the server takes no batches")

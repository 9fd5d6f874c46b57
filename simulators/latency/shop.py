"""A shop that orders while something else is measured, in a process of its own.

Run as a program, with the address of a server and how many orders it places a second. For each
number on its standard input it places so many orders of some lines, on a schedule, and prints as
JSON how long each took, in milliseconds, and how many were refused.
"""

import json
import sys
from contextlib import closing
from itertools import count

from simulators.latency.till import Till, post

CONNECTIONS = 16
LINES = 4
"""In an order."""
SKUS = [f"s-{number}" for number in range(LINES)]


def serve(url: str, per_s: float) -> None:
    """Place orders when asked to, until nobody asks any more."""
    numbers = count()
    with closing(Till(url, CONNECTIONS)) as till:
        print("open", flush=True)
        for line in sys.stdin:
            requests = [
                post(
                    "/orders",
                    {
                        "orderid": f"shop-{next(numbers)}",
                        "lines": [{"sku": sku, "qty": 1} for sku in SKUS],
                    },
                )
                for _ in range(int(line))
            ]
            _, took_ms, errors = till.ring_on_schedule(requests, per_s)
            print(json.dumps({"took_ms": took_ms, "errors": errors}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))

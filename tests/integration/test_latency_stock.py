"""The latency harness of the stock, in small: that it measures something, not how fast that is."""

from pathlib import Path

from simulators.latency.programme import BENCHES
from tests.integration import test_latency
from tests.integration.harness import measure_each

ROWS = {
    "allocate": {
        "allocate": [
            *("empty", "of 1", "of 10", "of 1, errors", "of 10, errors"),
            *("empty, each", "of 1, each", "of 10, each"),
        ]
    },
    "orders": {"orders": ["lines", "errors", "an order"]},
    "bus": {"bus": ["raw commits", "1 SKU", "100 SKUs", "1 SKU, each", "100 SKUs, each"]},
    "grown": {"grown": ["empty product", "1,000 lines"]},
    "restart": {"restart": ["empty database", "2,000 lines"]},
    "together": {"together": ["no orders", "50 orders/s", "errors", "an order"]},
}


def test_each_bench_measures_something_beside_its_reference(tmp_path: Path) -> None:
    measure_each(tmp_path, ROWS)


def test_there_is_no_other_bench() -> None:
    assert {**test_latency.TWO, **test_latency.OTHERS, **ROWS}.keys() == BENCHES.keys()

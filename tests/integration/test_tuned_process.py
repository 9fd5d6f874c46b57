"""What the interpreter of a server does, in a process of its own."""

import subprocess
import sys

SERVING = """
import gc, weakref
from scentrt.bootstrap import tune_process

class Knot:
    def __init__(self) -> None:
        self.self = self

gc.disable()
tune_process()
knot = weakref.ref(Knot())
busy = [[] for _ in range(60_000)]
print(knot())
"""


def test_garbage_is_collected_where_nobody_looked_for_it_at_the_start() -> None:
    said = subprocess.run([sys.executable, "-c", SERVING], check=True, capture_output=True)
    assert said.stdout == b"None\n"

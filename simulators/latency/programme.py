"""The benches by name, in the order in which they are played."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from simulators.latency.benches.allocate import allocate
from simulators.latency.benches.bus import bus
from simulators.latency.benches.busy import busy
from simulators.latency.benches.cue import cue
from simulators.latency.benches.everywhere import everywhere
from simulators.latency.benches.fan_out import fan_out
from simulators.latency.benches.gatt import gatt
from simulators.latency.benches.grown import grown
from simulators.latency.benches.idle import idle
from simulators.latency.benches.orders import orders
from simulators.latency.benches.pipelined import pipelined
from simulators.latency.benches.restart import restart
from simulators.latency.benches.scheduled import scheduled
from simulators.latency.benches.together import together
from simulators.latency.figures import Comparison
from simulators.latency.run import Run

Bench: TypeAlias = Callable[[Run], Iterator[Comparison]]

BENCHES: Final[dict[str, Bench]] = {
    "cue": cue,
    "busy": busy,
    "pipelined": pipelined,
    "fan-out": fan_out,
    "scheduled": scheduled,
    "everywhere": everywhere,
    "gatt": gatt,
    "idle": idle,
    "allocate": allocate,
    "orders": orders,
    "bus": bus,
    "grown": grown,
    "restart": restart,
    "together": together,
}

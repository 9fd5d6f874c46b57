"""Bluetooth adapters, and how the seats of a theatre are spread over them."""

import asyncio
from collections.abc import Sequence

from scentrt.adapters.dispensers.radio import Radio
from scentrt.domain.cues import SeatId
from scentrt.errors import ConfigError

DEFAULT_SLOTS = 7
"""Links that one adapter holds; most hold five to seven."""


class Adapter:
    """One Bluetooth adapter, which links share: `slots` at a time, connecting one by one."""

    def __init__(self, name: str, radio: Radio, slots: int = DEFAULT_SLOTS) -> None:
        self.name = name
        self.radio = radio
        self.slots = slots
        self.free = asyncio.Semaphore(slots)
        self.connecting = asyncio.Lock()


def assign_adapters(
    where: str, seats: Sequence[SeatId], adapters: Sequence[Adapter]
) -> dict[SeatId, Adapter]:
    """Spread the seats of a theatre evenly over the adapters, within the slots of each.

    Raises `ConfigError`, about `where`, that says how many adapters or nodes it takes instead.
    """
    slots = sum(adapter.slots for adapter in adapters)
    missing = len(seats) - slots
    if missing > 0:
        more = -(-missing // max([DEFAULT_SLOTS, *(adapter.slots for adapter in adapters)]))
        nodes = f", or spread the theatre over {-(-len(seats) // slots)} nodes" if slots else ""
        raise ConfigError(
            where,
            f"{_many(len(seats), 'dispenser')} and only {_many(slots, 'link')} on "
            f"{_many(len(adapters), 'Bluetooth adapter')}: add {_many(more, 'adapter')}{nodes}",
        )
    taken = dict.fromkeys(adapters, 0)
    plan = {}
    for seat in seats:
        plan[seat] = adapter = max(adapters, key=lambda each: each.slots - taken[each])
        taken[adapter] += 1
    return plan


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

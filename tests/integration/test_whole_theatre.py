"""24 devices, each with a real link, in simulated air: what the failure of one costs the others.

The radio stack and the links are those of production, in an asyncio thread; the devices and their
faults are simulated. So this is in real time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import monotonic

import pytest
import trio

from scentrt.adapters.dispensers.link_state import LinkState
from simulators.ble.dispenser import Dispenser
from simulators.ble.peripheral import Faults, Peripheral
from tests.integration.linked_theatre import KEY, SPRAY, STOP_ALL, Theatre, ops, theatre

CUES = 5
CUE_EVERY_S = 0.04

USUAL_S = 0.5
"""How long after its order a device has a cue as a rule: twenty times what it takes where nothing
else is to do, and less than if each cue waited for a device that answers late."""

ATTEMPTS = 3
"""A device that delays the others does so each time, and a pause of the machine once."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that take no pause of this machine for a fault of their device."""
    monkeypatch.setattr("scentrt.adapters.dispensers.link.PATIENCE_S", 60)


async def test_a_zone_whose_links_all_drop_at_once_is_whole_again() -> None:
    async with theatre() as here:
        here.house.spray(duration_ms=5000)
        await here.until_received(lambda got: got == [[STOP_ALL, SPRAY]] * 24)
        await here.drop_all()
        await here.until_all(lambda state: not state.online)
        await here.house.online()
        here.house.spray()
        await here.until_received(lambda got: got == [[STOP_ALL, SPRAY, STOP_ALL, SPRAY]] * 24)


async def test_one_that_stays_away_keeps_none_of_the_others_from_coming_back() -> None:
    async with theatre() as here:
        away = here.devices[7]
        await here.house.in_the_thread(lambda: away.set_faults(Faults(absent=True)))
        await here.drop_all()
        await here.until_all(lambda state: not state.online)
        await here.house.until(lambda: sum(state.online for state in here.states) == 23)
        here.house.spray()
        await here.house.done_by_all(24)
        assert sum(w.written for w in here.house.written) == 23


# One that fails


@dataclass(frozen=True, slots=True)
class Failure:
    """How a device misbehaves, how many of the cues it gets, and how it is seen that it does."""

    faults: Faults
    gets: range
    shows: Callable[[LinkState], bool]
    is_clone: bool = False

    def begin(self, device: Peripheral) -> None:
        device.set_faults(self.faults)
        if self.is_clone:
            swap(device, key=None)

    def end(self, device: Peripheral) -> None:
        device.set_faults(Faults())
        if self.is_clone:
            swap(device, key=KEY)


def swap(device: Peripheral, key: bytes | None) -> None:
    """Have another device answer at the address, with a key or without."""
    device.dispenser = Dispenser(device.dispenser.identity, key=key)
    device.drop()


async def how_late_others_are(here: Theatre) -> float:
    """Order some cues, and return how long after that all but the eighth have them as a rule."""
    before = ops((await here.received())[0]).count(SPRAY)
    ordered = []
    for _ in range(CUES):
        ordered.append(monotonic())
        here.house.spray(duration_ms=50, within_ms=30_000)
        await trio.sleep(CUE_EVERY_S)
    await here.until_received(
        lambda got: all(each.count(SPRAY) == before + CUES for each in [*got[:7], *got[8:]])
    )
    received = await here.received()
    del received[7]
    late_s = []
    for got in received:
        cues = [each for each, op in zip(got, ops(got), strict=True) if op == SPRAY]
        late_s += [cue.at - at for cue, at in zip(cues[before:], ordered, strict=True)]
    return median(late_s)


def is_well(state: LinkState) -> bool:
    return state.online and not (state.stuck or state.fault or state.impostor)


ALL, NONE = range(CUES, CUES + 1), range(1)

FAILURES = {
    "drops after writes": Failure(
        Faults(drop_after_writes=3), gets=range(1, CUES + 1), shows=lambda s: not s.online
    ),
    "answers late": Failure(Faults(late_s=0.3), gets=ALL, shows=is_well),
    "loses writes": Failure(Faults(lose_writes=3), gets=range(2, 3), shows=is_well),
    "has a stuck valve": Failure(
        Faults(stuck_slots=frozenset({0})), gets=ALL, shows=lambda s: s.stuck and s.fault
    ),
    "has a low battery": Failure(
        Faults(battery_percent=4), gets=ALL, shows=lambda s: s.battery_percent == 4
    ),
    "is absent": Failure(Faults(absent=True), gets=NONE, shows=lambda s: not s.online),
    "is a clone": Failure(Faults(), gets=NONE, shows=lambda s: s.impostor, is_clone=True),
    "is far away": Failure(Faults(interval_s=0.1), gets=ALL, shows=is_well),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_one_device_that_fails_costs_the_others_nothing(failure: Failure) -> None:
    async with theatre() as here:
        house = here.house
        seat, device = house.seats[7], here.devices[7]
        house.changes.clear()
        await house.in_the_thread(lambda: failure.begin(device))
        late_s = [await how_late_others_are(here)]
        await here.until_received(lambda got: got[7].count(SPRAY) in failure.gets)
        await house.until(lambda: any(map(failure.shows, here.history(seat))))
        while len(late_s) < ATTEMPTS and min(late_s) >= USUAL_S:
            late_s.append(await how_late_others_are(here))
        assert min(late_s) < USUAL_S

        await house.in_the_thread(lambda: failure.end(device))
        await here.until_all(is_well)
        before = [ops(got).count(SPRAY) for got in await here.received()]
        house.spray()
        await here.until_received(
            lambda got: [each.count(SPRAY) for each in got] == [n + 1 for n in before]
        )

"""Goggles: they watch what the house sprays, and some of them spray by themselves.

`Device` is the dispenser in a pair of goggles, pure and given the time. `wear` puts one pair on;
`crowd` puts on many::

    goggles = await nursery.start(partial(wear, url, "player-7", dispenser=[Vial("pine")]))
    await goggles.wait_for("spray")
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import trio

from simulators.client import JSON, Client, Closed, Message, open_client, plain_nursery
from simulators.tally import Tally

OWN_ZONE = "goggles"
REMEMBERED = 10_000
"""How many messages and openings a pair keeps: a lively evening for one player."""


@dataclass(frozen=True, slots=True)
class Vial:
    """What is in a slot: a scent, and for how many seconds at full intensity it lasts."""

    scent: str
    remaining_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Opening:
    """One time that a slot was open; `cue` is None for a level. Times as the `Device` got them."""

    slot: int
    cue: str | int | None
    intensity: float
    opened_ms: float
    closes_ms: float


class Device:
    """A dispenser with a vial in each slot, which closes by itself, whatever happens.

    Every method takes the present in milliseconds, on any clock that never steps backwards. The
    newest command of a slot takes the place of the one before; an empty vial closes its slot.
    """

    def __init__(self, vials: Sequence[Vial]) -> None:
        self._vials = list(vials)
        self._open: dict[int, Opening] = {}
        self._past: deque[Opening] = deque(maxlen=REMEMBERED)

    def hello(self) -> Message:
        """Return what hello says of this dispenser."""
        return {
            "slots": [
                {"slot": slot, "scent": vial.scent, "remaining_s": vial.remaining_s}
                for slot, vial in enumerate(self._vials)
            ]
        }

    def spray(
        self, slot: int, cue: str | int, intensity: float, duration_ms: float, now_ms: float
    ) -> bool:
        """Open a slot for so long; say whether there was something to spray."""
        return self._start(slot, cue, intensity, duration_ms, now_ms)

    def level(self, slot: int, intensity: float, ttl_ms: float, now_ms: float) -> None:
        """Hold a slot open at this intensity until `ttl_ms` from now; 0 closes it."""
        if intensity > 0:
            self._start(slot, None, intensity, ttl_ms, now_ms)
        else:
            self.stop(slot, now_ms)

    def stop(self, slot: int | None, now_ms: float) -> None:
        """Close a slot, or all of them."""
        for opening in self._still_open(now_ms):
            if slot in {None, opening.slot}:
                self._close(opening, now_ms)

    def open_slots(self, now_ms: float) -> dict[int, float]:
        """Return the intensity of each slot that is open."""
        return {opening.slot: opening.intensity for opening in self._still_open(now_ms)}

    def openings(self, now_ms: float) -> list[Opening]:
        """Return what was open and is closed, oldest first, the latest 10,000."""
        self._still_open(now_ms)
        return list(self._past)

    def _start(
        self, slot: int, cue: str | int | None, intensity: float, duration_ms: float, now_ms: float
    ) -> bool:
        self.stop(slot, now_ms)
        if not 0 <= slot < len(self._vials) or not self._vials[slot].remaining_s:
            return False
        lasts_ms = self._vials[slot].remaining_s * 1000 / intensity
        closes_ms = now_ms + min(duration_ms, lasts_ms)
        self._open[slot] = Opening(slot, cue, intensity, now_ms, closes_ms)
        return True

    def _still_open(self, now_ms: float) -> list[Opening]:
        """Close what has come to its end by now, and return the rest."""
        for opening in list(self._open.values()):
            if opening.closes_ms <= now_ms:
                self._close(opening, opening.closes_ms)
        return list(self._open.values())

    def _close(self, opening: Opening, at_ms: float) -> None:
        vial = self._vials[opening.slot]
        used_s = opening.intensity * (at_ms - opening.opened_ms) / 1000
        # Rounded to microseconds, so that a vial which ran empty is at 0 and not just above it.
        left_s = max(0.0, round(vial.remaining_s - used_s, 6))
        self._vials[opening.slot] = replace(vial, remaining_s=left_s)
        self._past.append(replace(opening, closes_ms=at_ms))
        del self._open[opening.slot]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message and when it came, in Unix milliseconds on the server's clock."""

    at_ms: float
    message: Message


class Goggles:
    """One pair that somebody wears; `wear` makes it, and keeps it up to date."""

    def __init__(self, name: str, client: Client, device: Device | None, tally: Tally) -> None:
        self.name = name
        self.client = client
        self.device = device
        self.arrivals: deque[Arrival] = deque(maxlen=REMEMBERED)
        """What the server said unasked, oldest first, the latest 10,000."""
        self.counts: Counter[str] = Counter()
        """How many messages came, by type."""
        self._tally = tally
        self._came = trio.Event()

    async def wait_for(self, kind: str, count: int = 1) -> list[Arrival]:
        """Wait until `count` messages of a type have come in all; return those remembered."""
        while self.counts[kind] < count:
            await self._came.wait()
        return [arrival for arrival in self.arrivals if arrival.message["type"] == kind]

    async def run(self) -> None:
        """Take what the server says, and do it. Raises `Closed`."""
        async for message in self.client.events():
            now_ms = self.client.server_now()
            if self.device:
                await self._obey(self.device, message, now_ms)
            if message["type"] == "scent":
                self._tally.take_scent(message, now_ms)
            self.arrivals.append(Arrival(now_ms, message))
            self.counts[message["type"]] += 1
            self._came.set()
            self._came = trio.Event()

    async def _obey(self, device: Device, message: Message, now_ms: float) -> None:
        match message:
            case {"type": "spray", "cue": cue, "slot": slot}:
                done = device.spray(slot, cue, message["intensity"], message["duration_ms"], now_ms)
                self._tally.sprayed += done
                await self.client.send({"type": "sprayed", "cue": cue, "ok": done})
            case {"type": "level", "slot": slot}:
                device.level(slot, message["intensity"], message["ttl_ms"], now_ms)
            case {"type": "stop", "slot": slot}:
                device.stop(slot, now_ms)


async def wear(
    url: str,
    name: str,
    *,
    dispenser: Sequence[Vial] | None = None,
    zones: Sequence[str] | None = (OWN_ZONE,),
    token: str | None = None,
    resume: str | None = None,
    subprotocol: str = JSON,
    tally: Tally | None = None,
    task_status: trio.TaskStatus[Goggles] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wear a pair of goggles until cancelled; starts with the `Goggles`, once they are told.

    With a `dispenser`, one vial a slot, they spray by themselves. They watch the scents of these
    zones, of all where None. Raises `NotConnected` and `Refused`; when the server or the network
    ends the connection, it returns and counts that in the tally.
    """
    device = Device(dispenser) if dispenser is not None else None
    tally = tally or Tally()
    async with open_client(
        url,
        role="goggles",
        name=name,
        token=token,
        resume=resume,
        subprotocol=subprotocol,
        dispenser=device.hello() if device else None,
    ) as client:
        goggles = Goggles(name, client, device, tally)
        await client.ping()
        await client.subscribe("scent", "zone", zones=None if zones is None else list(zones))
        task_status.started(goggles)
        try:
            await goggles.run()
        except Closed as closed:
            tally.closed[str(closed)] += 1
        finally:
            tally.missed += client.missed


async def crowd(
    url: str,
    n: int,
    *,
    prefix: str = "player",
    dispenser: Sequence[Vial] | None = None,
    zones: Sequence[str] | None = (OWN_ZONE,),
    token: str | None = None,
    subprotocol: str = JSON,
    tally: Tally | None = None,
    task_status: trio.TaskStatus[list[Goggles]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Wear n pairs, called `player-1` and so on; starts with them when the last one is on.

    They come in one after the other, as people do. The rest as `wear`.
    """
    async with plain_nursery() as nursery:
        worn: list[Goggles] = []
        for number in range(1, n + 1):
            one = partial(
                wear,
                url,
                f"{prefix}-{number}",
                dispenser=dispenser,
                zones=zones,
                token=token,
                subprotocol=subprotocol,
                tally=tally,
            )
            worn.append(await nursery.start(one))
        task_status.started(worn)

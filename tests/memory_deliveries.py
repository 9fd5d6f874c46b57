"""A store of deliveries in memory: all of `DeliveryStore` but the disk, and it fails on request."""

from collections.abc import Mapping, Sequence

import trio

from scentrt.actors.outbox import PutOff
from scentrt.errors import StoreUnavailable
from scentrt.service_layer.deliveries import Delivery


class MemoryDeliveries:
    """Keep what is put in until it is struck out, for as long as this object lives.

    `readable` and `writable` switch the failures, `call_s` is how long each call takes. `looks` has
    how often it was read, and `strikes` what was struck out together. `given_up` has the reasons of
    what was given up, by event id.
    """

    def __init__(self) -> None:
        self.readable = True
        self.writable = True
        self.call_s = 0.0
        self.looks = 0
        self.strikes: list[Sequence[int]] = []
        self.given_up: dict[str, str] = {}
        self._rows: dict[int, Delivery] = {}
        self._due_ms: dict[int, float] = {}
        self._last_id = 0

    @property
    def event_ids(self) -> list[str]:
        """What has not been struck out."""
        return [delivery.event_id for delivery in self._rows.values()]

    def put(self, event_id: str, kind: str = "redis", payload: str = "{}") -> None:
        """Put a delivery in, created now by trio's clock."""
        self._last_id += 1
        self._rows[self._last_id] = Delivery(
            self._last_id, event_id, kind, payload, created_ms=trio.current_time() * 1000
        )

    async def fresh_deliveries(self, kind: str, after_id: int, limit: int) -> Sequence[Delivery]:
        """Return the first of a kind with a greater id than `after_id` that were not put off."""
        self.looks += 1
        found = [
            row
            for row in self._rows.values()
            if row.kind == kind and row.id > after_id and row.id not in self._due_ms
        ]
        await self._answer(able=self.readable)
        return found[:limit]

    async def put_off(self, kind: str) -> PutOff:
        """Return how many were put off."""
        due_ms = [due for id, due in self._due_ms.items() if self._rows[id].kind == kind]
        await self._answer(able=self.readable)
        return PutOff(len(due_ms), min(due_ms, default=None))

    async def due_deliveries(self, kind: str, by_ms: float, limit: int) -> Sequence[Delivery]:
        """Return the first that are due."""
        due = sorted((due, id) for id, due in self._due_ms.items() if due <= by_ms)
        found = [self._rows[id] for _, id in due if self._rows[id].kind == kind]
        await self._answer(able=self.readable)
        return found[:limit]

    async def put_off_deliveries(self, until_ms: Mapping[int, float]) -> None:
        """Put deliveries off."""
        await self._answer(able=self.writable)
        self._due_ms |= {id: until for id, until in until_ms.items() if id in self._rows}

    async def give_up_deliveries(self, reasons: Mapping[int, str], at_ms: float) -> None:
        """Remove deliveries, and keep the reasons."""
        await self._answer(able=self.writable)
        for id, reason in reasons.items():
            if id not in self._rows:
                continue
            self.given_up[self._rows[id].event_id] = reason
            self._remove(id)

    async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
        """Remove deliveries."""
        await self._answer(able=self.writable)
        self.strikes.append(ids)
        for id in ids:
            self._remove(id)

    def _remove(self, id: int) -> None:
        self._rows.pop(id, None)
        self._due_ms.pop(id, None)

    async def _answer(self, *, able: bool) -> None:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # like a real one, it finishes what it has begun
            await trio.sleep(self.call_s)
        if not able:
            raise StoreUnavailable("the database is away")

"""A store of deliveries in memory: all of `DeliveryStore` but the disk, and it fails on request."""

from collections.abc import Sequence

import trio

from scentrt.errors import StoreUnavailable
from scentrt.service_layer.deliveries import Delivery


class MemoryDeliveries:
    """Keep what is put in until it is struck out, for as long as this object lives.

    `readable` and `writable` switch the failures, `call_s` is how long each call takes. `looks` has
    how often it was read, and `strikes` what was struck out together.
    """

    def __init__(self) -> None:
        self.readable = True
        self.writable = True
        self.call_s = 0.0
        self.looks = 0
        self.strikes: list[Sequence[int]] = []
        self._rows: dict[int, Delivery] = {}
        self._last_id = 0

    @property
    def event_ids(self) -> list[str]:
        """What has not been struck out."""
        return [delivery.event_id for delivery in self._rows.values()]

    def put(self, event_id: str, kind: str = "redis", payload: str = "{}") -> None:
        """Put a delivery in, created at its number in seconds."""
        self._last_id += 1
        self._rows[self._last_id] = Delivery(
            self._last_id, event_id, kind, payload, created_ms=self._last_id * 1000.0
        )

    async def pending_deliveries(self, kind: str, after_id: int, limit: int) -> Sequence[Delivery]:
        """Return the first of a kind with a greater id than `after_id`."""
        self.looks += 1
        found = [row for row in self._rows.values() if row.kind == kind and row.id > after_id]
        await self._answer(able=self.readable)
        return found[:limit]

    async def strike_out_deliveries(self, ids: Sequence[int]) -> None:
        """Remove deliveries."""
        await self._answer(able=self.writable)
        self.strikes.append(ids)
        for id in ids:
            self._rows.pop(id, None)

    async def _answer(self, *, able: bool) -> None:
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # like a real one, it finishes what it has begun
            await trio.sleep(self.call_s)
        if not able:
            raise StoreUnavailable("the database is away")

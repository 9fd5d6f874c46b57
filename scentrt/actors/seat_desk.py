"""The seat desk: where it is looked at and changed what is set for a seat.

Goggles are seats by their name, as soon as they have connected since the server started. What was
set for a name holds whenever it comes, also after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import trio

from scentrt.actors.house import House
from scentrt.actors.ledger import Ledger
from scentrt.actors.messages import ReadSeats, SetSeat
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange, SeatSettings
from scentrt.errors import StoredLater, StoreUnavailable, UnitRefused, UnknownScent, UnknownSeat

STORED_WITHIN_S = 1.0
"""How long a change waits to be on disk before it is answered; it is in effect before."""


@dataclass(frozen=True, slots=True)
class SeatCard:
    """A seat, and what is set for it."""

    zone: ZoneId
    seat: SeatId
    settings: SeatSettings


class SeatKeeper(Protocol):
    """Whoever knows the seats, and sets something for them."""

    async def read(self, seat: SeatId) -> SeatCard:
        """Return what is set for a seat; raises `UnknownSeat`."""
        ...

    async def page(self, after: SeatId, most: int) -> Sequence[SeatCard]:
        """Return the seats that come after one, in the order of the house.

        Goggles come last, by name. After nothing (an empty id), the first ones. Raises
        `UnknownSeat`.
        """
        ...

    async def change(self, seat: SeatId, change: SeatChange) -> SeatCard:
        """Set something for a seat; it is on disk on return.

        Raises:
          UnknownSeat: nobody is called so; nothing has changed.
          UnknownScent: nobody could ever be averse to it here; nothing has changed.
          StoredLater: it is in effect, and will be stored when the database takes it.
          StoreUnavailable: it is in effect until the server ends; the database does not take it.
        """
        ...


class SeatDesk:
    """A `SeatKeeper` in front of the zones; each may also raise `ActorError`."""

    def __init__(self, house: House, ledger: Ledger) -> None:
        self._house = house
        self._ledger = ledger

    async def read(self, seat: SeatId) -> SeatCard:
        """Return what is set for a seat; raises `UnknownSeat`."""
        for card in await self._read(self._house.zone_of(seat), [seat]):
            return card
        raise UnknownSeat(seat)

    async def page(self, after: SeatId, most: int) -> Sequence[SeatCard]:
        """Return the seats that come after one, in the order of the house; goggles come last."""
        by_zone: dict[ZoneId, list[SeatId]] = {}
        for seat in islice(self._house.seats_after(after), most):
            by_zone.setdefault(self._house.zone_of(seat), []).append(seat)
        return [card for zone, ids in by_zone.items() for card in await self._read(zone, ids)]

    async def change(self, seat: SeatId, change: SeatChange) -> SeatCard:
        """Set something for a seat; see `SeatKeeper`."""
        zone = self._house.zone_of(seat)
        if change.averse_to:
            await self._check(seat, change.averse_to)
        settings = await self._house.zone(zone).ask(SetSeat(seat, change), urgent=True)
        if settings is None:
            raise UnknownSeat(seat)
        why = f"no answer within {STORED_WITHIN_S:g} s"
        with trio.move_on_after(STORED_WITHIN_S):
            try:
                await self._ledger.settings_stored(zone, seat)
            except UnitRefused as error:
                raise StoreUnavailable(f"{error}; it holds until the server ends") from error
            except StoreUnavailable as error:
                why = str(error)
            else:
                return SeatCard(zone, seat, settings)
        raise StoredLater(why)

    async def _check(self, seat: SeatId, averse_to: frozenset[Scent]) -> None:
        """Refuse scents that nobody has; but what is set already may be set again."""
        strangers = {scent for scent in averse_to if not self._house.carries(scent)}
        if strangers:
            for scent in sorted(strangers - (await self.read(seat)).settings.averse_to):
                raise UnknownScent(scent)

    async def _read(self, zone: ZoneId, seats: Sequence[SeatId]) -> list[SeatCard]:
        found = await self._house.zone(zone).ask(ReadSeats(tuple(seats)))
        return [
            SeatCard(zone, seat, settings)
            for seat, settings in zip(seats, found, strict=True)
            if settings is not None
        ]

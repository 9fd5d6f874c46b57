"""What the ledger hands to a database, and what it asks of it."""

from dataclasses import dataclass
from typing import Protocol

from scentrt.actors.dose_book import StoredDoses, ZoneDoses
from scentrt.actors.settings_book import SettingsRow
from scentrt.actors.vial_book import ZoneVials
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import SeatedVial
from scentrt.service_layer.changes import Changes


@dataclass(frozen=True, slots=True)
class Writes:
    """One transaction: `panicked` is the latch's new state, None to leave it as it is."""

    panicked: bool | None = None
    settings: tuple[SettingsRow, ...] = ()
    doses: tuple[ZoneDoses, ...] = ()
    vials: tuple[ZoneVials, ...] = ()
    units: tuple[Changes, ...] = ()


class TheatreStore(Protocol):
    """What the ledger asks of a database. Every method raises `StoreUnavailable`."""

    async def panicked(self) -> bool:
        """Return the panic latch; False in a new database."""
        ...

    async def doses(self, zone: ZoneId, since_s: int) -> StoredDoses:
        """Return the zone's mark, and its rows from the second `since_s` on."""
        ...

    async def vials(self, zone: ZoneId) -> tuple[SeatedVial, ...]:
        """Return the vials that stand in a zone."""
        ...

    async def settings(self, zone: ZoneId) -> dict[SeatId, SeatChange]:
        """Return what is set for seats of a zone."""
        ...

    async def commit(self, writes: Writes) -> None:
        """Store all of it in one transaction, on disk when this returns.

        The level of a vial that no longer stands where it says changes nothing.

        If it raises `StoreUnavailable`, nothing of it is stored. `UnitRefused` means that one of
        the units of work was wrong, and the rest may be stored without it.
        """
        ...

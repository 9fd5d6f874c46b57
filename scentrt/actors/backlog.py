"""The backlog: all that waits to be written, and the order in which it goes."""

from scentrt.actors.dose_book import DoseBook, StoredDoses, ZoneDoses
from scentrt.actors.settings_book import SettingsBook
from scentrt.actors.tray import Tray, WaitingUnit
from scentrt.actors.vial_book import VialBook, ZoneVials
from scentrt.actors.writes import Writes
from scentrt.domain.cues import ZoneId

MAX_ROWS_PER_COMMIT = 5_000
"""How much of a backlog goes into one transaction: some 40 ms of work in another thread, so that
the cues hardly notice when the database is back after an hour. While 100,000 rows were written so,
in a second on two cores, the loop of the cues woke at most 7 ms late."""


class Backlog:
    """Keep what waits until a commit of it has succeeded; a failed one needs no undoing.

    `panicked` is what the latch is to be; None: as it is on disk. Units of work leave the tray with
    their first commit.
    """

    def __init__(self) -> None:
        self.panicked: bool | None = None
        self.settings = SettingsBook()
        self.tray = Tray()
        self._doses: dict[ZoneId, DoseBook] = {}
        self._vials: dict[ZoneId, VialBook] = {}

    def doses(self, zone: ZoneId) -> DoseBook:
        """Return the dose book of a zone."""
        return self._doses.setdefault(zone, DoseBook(zone))

    def doses_over(self, zone: ZoneId, stored: StoredDoses, since_s: int) -> StoredDoses:
        """Return what a zone has used, as it would be stored if nothing waited any more."""
        book = self._doses.get(zone)
        return stored if book is None or not book.waits else book.laid_over(stored, since_s)

    def vials(self, zone: ZoneId) -> VialBook:
        """Return the vial book of a zone."""
        return self._vials.setdefault(zone, VialBook(zone))

    def since(self, now: float) -> float:
        """Return when the oldest of what the books hold was recorded, or else `now`."""
        books: list[DoseBook | VialBook] = [*self._doses.values(), *self._vials.values()]
        return min((book.since for book in books if book.since is not None), default=now)

    @property
    def waits(self) -> bool:
        """Whether anything does."""
        return (
            self.panicked is not None
            or self.settings.waits
            or self.tray.waits
            or any(book.waits for book in self._doses.values())
            or any(book.waits for book in self._vials.values())
        )

    def take(self, now: float) -> tuple[Writes, list[WaitingUnit]]:
        """Return what goes next, and the units of work in it.

        The latch goes first and alone, so that no backlog delays it and no bad row spoils it; then
        what people said they do not want.
        """
        if self.panicked is not None:
            return Writes(panicked=self.panicked), []
        if self.settings.waits:
            return Writes(settings=self.settings.take(MAX_ROWS_PER_COMMIT)), []
        units = self.tray.take(MAX_ROWS_PER_COMMIT)
        room = MAX_ROWS_PER_COMMIT - sum(unit.changes.rows for unit in units)
        doses: list[ZoneDoses] = []
        for dose_book in self._doses.values():
            if dose_book.waits and room > 0:
                doses.append(dose_book.take(room, now=now))
                room -= sum(map(len, doses[-1].used.values()))
        vials: list[ZoneVials] = []
        for vial_book in self._vials.values():
            if vial_book.waits and room > 0:
                vials.append(vial_book.take(room, now=now))
                room -= vials[-1].rows
        changes = tuple(unit.changes for unit in units)
        return Writes(doses=tuple(doses), vials=tuple(vials), units=changes), units

    def strike_out(self, writes: Writes) -> None:
        """Strike out what is on disk now; what was handed in anew meanwhile stays."""
        if self.panicked is writes.panicked:
            self.panicked = None
        self.settings.stored(writes.settings)
        for doses in writes.doses:
            self._doses[doses.zone].stored(doses)
        for vials in writes.vials:
            self._vials[vials.zone].stored(vials)

"""The ledger: the one writer to the database.

What must outlive a restart is handed in here, and one task writes it: everything that waits goes
into one transaction, whenever the writer is free. It never waits for a batch to fill, so a lone row
is written at once, but for some turns of the loop, and under load the batches grow by themselves.

Doses, and what the vials hold and have given, are written behind: `Ledger.record_doses` and
`Ledger.record_vials` take them without waiting. The panic latch, the settings of seats and the end
of a zone are awaited until they are on disk. While the database is away, all of it is kept and
tried again.

The stock's units of work are awaited too, but not kept: who handed one in is told at once when it
could not be stored. They go into one transaction with all others; where one of them is wrong, each
is stored alone, so that it fails alone.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import trio

from scentrt.actors.backlog import Backlog
from scentrt.actors.dose_book import DoseBook, StoredDoses, ZoneDoses
from scentrt.actors.tray import WaitingUnit
from scentrt.actors.vial_book import Line
from scentrt.actors.writes import TheatreStore, Writes
from scentrt.domain.cues import OwnerId, SeatId, ZoneId
from scentrt.domain.journal import JournalEntry
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.vials import SeatedVial, VialLevel
from scentrt.errors import StoreUnavailable, UnitRefused
from scentrt.service_layer.changes import Changes

__all__ = ["Ledger", "LedgerHealth", "StoredDoses", "TheatreStore", "Writes", "ZoneDoses"]

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 2.0

TURNS_BEHIND = 8
"""How many turns of the loop behind somebody may be and still go into the same transaction: what
came together is decided in a few, each of which takes some microseconds, and a transaction some
hundred."""

LAST_FLUSH_S = 1.0
"""How long ending may take over what still waits: a fifth of what a whole shutdown has."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LedgerHealth:
    """How the writing goes: `behind_ms` is the age of the oldest thing that is not on disk.

    `lost_rows` of doses and `lost_lines` of the journal were given up, since too much waited. What
    is set for `refused_seats` cannot be stored, and holds as long as the server runs; so does a
    panic while its `latch_waits`.
    """

    behind_ms: float
    failing: bool
    lost_rows: int
    lost_lines: int = 0
    refused_seats: int = 0
    latch_waits: bool = False


class _Attempt:
    """The next transaction. Whoever hands something in may await how the attempt ends."""

    def __init__(self) -> None:
        self.awaited = trio.Event()
        self.done = trio.Event()
        self.error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.done.set()


class Ledger:
    """Take what must outlive a restart, and write it to `store`, in one task (`run`).

    Zones stop before the ledger does: cancel `run` when every zone has ended, so give it a nursery
    around theirs. However it is cancelled, it still tries to write what waits.

    `on_deliveries` is called after every commit that has left something to be delivered; it must
    not block or raise. `name_of` tells the hello name of whoever asked for something, if known.
    """

    def __init__(
        self,
        store: TheatreStore,
        on_deliveries: Callable[[], None] = lambda: None,
        name_of: Callable[[OwnerId], str | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._on_deliveries = on_deliveries
        self._name_of = name_of
        self._backlog = Backlog()
        self._work = trio.Event()
        self._attempt = _Attempt()
        self._turn = trio.Lock()  # reading and writing, see `doses`
        self._failing_since: float | None = None
        self._lost_rows = 0
        self._lost_lines = 0

    @property
    def health(self) -> LedgerHealth:
        """Return how far behind the disk is, and whether the last commit failed."""
        now = trio.current_time()
        return LedgerHealth(
            (now - self._backlog.since(now)) * 1000,
            self._failing_since is not None,
            self._lost_rows,
            self._lost_lines,
            self._backlog.settings.refused,
            self._backlog.panicked is True,
        )

    def record_doses(
        self, zone: ZoneId, used: Mapping[tuple[SeatId, int], int], through_ms: float
    ) -> None:
        """Take what the seats of an open zone have used. Never waits and never fails.

        `used` goes from seat and Unix second to micro-dose-seconds, the whole of that second and
        not what it grew by: a newer value replaces an older one. Everything that was sprayed up to
        `through_ms` has been recorded with this. The zone counts as open from here on, also if it
        was closed before.

        What waits for the database is bounded: rows older than the longest budget are dropped, and
        beyond `MAX_ROWS_PER_ZONE` the oldest are given up. The zone's mark then stays before the
        first that was given up, so that a restart does not take it for unused.
        """
        self._record(zone, used, through_ms, closed=False)

    def record_vials(
        self,
        zone: ZoneId,
        levels: Iterable[VialLevel],
        journal: Iterable[JournalEntry],
        lost: int = 0,
    ) -> None:
        """Take what vials hold now, and what was released. Never waits and never fails.

        Of the levels of a vial the newest counts. All of the journal is kept until it is on disk,
        but for what is more than `MOST_NAMES_WAITING`: then the oldest is given up, and counted, as
        is what was `lost` before it came here.
        """
        book = self._backlog.vials(zone)
        lines = [Line.of(entry, self._name_of(entry.owner)) for entry in journal]
        lost += book.record(levels, lines, trio.current_time())
        if lost and not self._lost_lines:
            logger.error("zone %s: too much waits for the database, its journal has a gap", zone)
        self._lost_lines += lost
        if book.waits:
            self._work.set()

    async def vials_stored(self, zone: ZoneId) -> None:
        """Wait until what has been recorded of a zone's vials is on disk.

        Raises `StoreUnavailable` where an attempt failed; it is kept and tried again.
        """
        vials = self._backlog.vials(zone)
        while vials.waits:
            await self._attempted()

    async def close_zone(
        self, zone: ZoneId, used: Mapping[tuple[SeatId, int], int], through_ms: float
    ) -> None:
        """Take the last doses of a zone that ends in good order; they are on disk on return.

        And so is what has been recorded of its vials before. Raises `StoreUnavailable` where an
        attempt failed; all of it is kept and tried again.
        """
        book = self._record(zone, used, through_ms, closed=True)
        vials = self._backlog.vials(zone)
        while book.waits or vials.waits:
            await self._attempted()

    async def set_panicked(self, panicked: bool) -> None:  # noqa: FBT001 - the latch's two states
        """Set the panic latch; it is on disk on return.

        It goes before everything else, in a transaction of its own.

        Raises:
          StoreUnavailable: the first attempt failed. It is tried again until it succeeds, or until
            a newer setting takes its place; so it is when the caller is cancelled.
        """
        self._backlog.panicked = panicked
        await self._attempted()

    def record_settings(self, zone: ZoneId, seat: SeatId, settings: SeatChange) -> None:
        """Take what is set for a seat; never waits. The newest is what is stored."""
        self._backlog.settings.record(zone, seat, settings)
        self._work.set()

    async def settings_stored(self, zone: ZoneId, seat: SeatId) -> None:
        """Wait until what was set for a seat is on disk; raises as `set_panicked` does.

        Or `UnitRefused`: the database does not take it, and it is not tried again. It holds until
        the server ends.
        """
        while self._backlog.settings.has(zone, seat):
            await self._attempted()
        if self._backlog.settings.is_refused(zone, seat):
            raise UnitRefused(f"the database does not take what is set for {seat}")

    async def commit(self, changes: Changes) -> None:
        """Store a unit of work, in one transaction with what else waits; on disk on return.

        Cancelling does not end it: what became of the unit is always known.

        Raises:
          UnitRefused: it does not fit what is stored. Others are none the worse for it.
          StoreUnavailable: an attempt failed. In either case nothing of it is stored, nor tried
            again.
        """
        unit = self._backlog.tray.put(changes)
        self._attempt.awaited.set()
        self._work.set()
        await unit.stored()

    async def panicked(self) -> bool:
        """Return the panic latch as it was last set, on disk or not yet.

        Raises:
          StoreUnavailable: the database could not be read.
        """
        async with self._turn:
            stored = await self._store.panicked()
            return stored if self._backlog.panicked is None else self._backlog.panicked

    async def doses(self, zone: ZoneId, since_s: int) -> StoredDoses:
        """Return what a zone has used from the second `since_s` on, on disk or not yet.

        Raises:
          StoreUnavailable: the database could not be read.
        """
        # A commit beside this could move a row to the disk after it was read and strike it out
        # before it was laid over; so they take turns.
        async with self._turn:
            stored = await self._store.doses(zone, since_s)
            return self._backlog.doses_over(zone, stored, since_s)

    async def vials(self, zone: ZoneId) -> tuple[SeatedVial, ...]:
        """Return the vials that stand in a zone, with their newest levels, on disk or not yet.

        Raises:
          StoreUnavailable: the database could not be read.
        """
        async with self._turn:
            return self._backlog.vials(zone).laid_over(await self._store.vials(zone))

    async def settings(self, zone: ZoneId) -> dict[SeatId, SeatChange]:
        """Return what is set for seats of a zone, on disk or not yet; raises as `doses` does."""
        async with self._turn:
            return self._backlog.settings.laid_over(zone, await self._store.settings(zone))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Write whatever waits, until cancelled.

        Then what still waits is tried on, shielded, for `LAST_FLUSH_S`; an attempt that has begun
        by then is the last. Whoever waits after that is answered with `StoreUnavailable`.
        """
        task_status.started()
        try:
            await self._write_for_ever()
        except trio.Cancelled:
            await self._write_the_rest()
            raise
        finally:
            ended = StoreUnavailable("the ledger has ended")
            self._attempt.end(ended)
            self._backlog.tray.close(ended)

    async def _write_for_ever(self) -> NoReturn:
        retry_s = FIRST_RETRY_S
        while True:
            await self._work.wait()
            for _ in range(TURNS_BEHIND):
                await trio.lowlevel.checkpoint()
            self._work = trio.Event()
            try:
                await self._commit()
            except StoreUnavailable:
                # An operator who sets the latch is not kept waiting: it is tried at once.
                with trio.move_on_after(retry_s):
                    await self._attempt.awaited.wait()
                retry_s = min(2 * retry_s, LAST_RETRY_S)
            else:
                retry_s = FIRST_RETRY_S
            if self._backlog.waits:
                self._work.set()

    async def _write_the_rest(self) -> None:
        with trio.move_on_after(LAST_FLUSH_S, shield=True):
            while self._backlog.waits:
                try:
                    await self._commit()
                except StoreUnavailable:
                    await trio.sleep(FIRST_RETRY_S)
        if self._backlog.waits:
            logger.error("the ledger ends with something not written: %s", self.health)

    async def _commit(self) -> None:
        async with self._turn:
            attempt, self._attempt = self._attempt, _Attempt()
            writes, units = self._backlog.take(trio.current_time())
            try:
                if writes != Writes():
                    await self._store_together(writes, units)
            except BaseException as error:
                if isinstance(error, StoreUnavailable):
                    self._note_failure(error)
                attempt.end(error)
                if not isinstance(error, UnitRefused):  # which is about this transaction alone
                    self._backlog.tray.fail_all(units, error)
                raise
            self._backlog.strike_out(writes)
            self._note_success()
            attempt.end()

    async def _store_together(self, writes: Writes, units: list[WaitingUnit]) -> None:
        try:
            await self._store.commit(writes)
        except UnitRefused as refused:
            if writes.panicked is not None:  # nothing that could be left out: it is tried again
                raise StoreUnavailable(str(refused)) from refused
            if not writes.doses and not writes.vials and len(units) == 1:
                units[0].end(refused)
            else:
                await self._store_one_by_one(writes, units)
        else:
            for unit in units:
                unit.end()
            self._tell_of_deliveries(units)

    async def _store_one_by_one(self, writes: Writes, units: list[WaitingUnit]) -> None:
        wrong: UnitRefused | None = None
        try:
            if writes.doses or writes.vials:
                await self._store.commit(Writes(doses=writes.doses, vials=writes.vials))
        except UnitRefused as refused:
            wrong = refused
        for row in writes.settings:
            try:
                await self._store.commit(Writes(settings=(row,)))
            except UnitRefused as refused:
                logger.error("what is set for %s is not stored: %s", row[1], refused)  # noqa: TRY400
                self._backlog.settings.refuse(row)
        for unit in units:
            try:
                await self._store.commit(Writes(units=(unit.changes,)))
            except UnitRefused as refused:
                unit.end(refused)
            else:
                unit.end()
                self._tell_of_deliveries([unit])
        if wrong is not None:
            raise wrong

    def _tell_of_deliveries(self, units: list[WaitingUnit]) -> None:
        if any(unit.changes.deliveries or unit.changes.letters for unit in units):
            self._on_deliveries()

    async def _attempted(self) -> None:
        """Wait until what waits now was tried, and raise what became of it."""
        attempt = self._attempt
        attempt.awaited.set()
        self._work.set()
        await attempt.done.wait()
        if attempt.error is not None:
            raise StoreUnavailable(str(attempt.error)) from attempt.error

    def _record(
        self,
        zone: ZoneId,
        used: Mapping[tuple[SeatId, int], int],
        through_ms: float,
        *,
        closed: bool,
    ) -> DoseBook:
        book = self._backlog.doses(zone)
        lost = book.record(used, through_ms, closed=closed, now=trio.current_time())
        if lost and not self._lost_rows:
            logger.error(
                "zone %s: too much waits for the database, its oldest doses are lost", zone
            )
        self._lost_rows += lost
        self._work.set()
        return book

    def _note_failure(self, error: StoreUnavailable) -> None:
        if self._failing_since is None:
            self._failing_since = trio.current_time()
            logger.error("the ledger cannot write, and goes on trying: %s", error)

    def _note_success(self) -> None:
        if self._failing_since is not None:
            seconds = trio.current_time() - self._failing_since
            self._failing_since = None
            logger.warning(
                "the ledger writes again, after %.1f s; lost so far: %d rows and %d lines",
                seconds,
                self._lost_rows,
                self._lost_lines,
            )

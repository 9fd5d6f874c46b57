"""The zone decides: who is sprayed, who is skipped and why, and what is stopped.

Every method that changes something takes the time, which never goes backwards, and writes what
is to be done into the zone's bulletin, which `take_effects` hands over. Nothing here waits, reads
a clock or touches a device, so a decision is whole or has not happened.
"""

from collections.abc import Iterable, Mapping

from scentrt.domain.agenda import MOST_WAITING, Agenda
from scentrt.domain.bulletin import Bulletin
from scentrt.domain.cues import Cue, CueKey, Level, OwnerId, SeatId, ZoneId
from scentrt.domain.decisions import Effects, Refusal, Refused, Verdict
from scentrt.domain.doses import Limits
from scentrt.domain.events import Change, Ended
from scentrt.domain.halts import Halts, owned_by
from scentrt.domain.journal import JournalEntry
from scentrt.domain.levels import Levels
from scentrt.domain.rack import Rack
from scentrt.domain.seat_settings import SeatChange
from scentrt.domain.seating import Seating
from scentrt.domain.seats import Seat, Slot
from scentrt.domain.sprays import Sprays
from scentrt.domain.stops import Stops
from scentrt.domain.vials import DEFAULT_LOW, NO_PRODUCTS, Catalogue, Place, SeatedVial


class Zone:
    """A block of seats and everything that is decided for it.

    Guarantees, whatever is asked in whatever order: no seat exceeds its limits, a cue is sprayed
    at most once and never after its time to live, and after a stop or a panic nothing of what was
    meant is open, but at dispensers that cannot be reached: these close by themselves.
    """

    def __init__(
        self,
        id: ZoneId,
        seats: Iterable[Seat],
        limits: Limits,
        *,
        panicked: bool = False,
        revision: int = 0,
        low_below: float = DEFAULT_LOW,
        catalogue: Catalogue = NO_PRODUCTS,
    ) -> None:
        self.id = id
        self.limits = limits
        self.panicked = panicked
        self.late = 0
        """How many cues and levels were dropped because they came, or fell due, too late."""
        self._seating = Seating(seats, limits)
        self._bulletin = Bulletin(id, revision)
        self._agenda = Agenda()
        self._sprays = Sprays(self._seating, self._bulletin)
        self._levels = Levels(self._seating, self._bulletin)
        self._stops = Stops()
        self._halts = Halts(self._seating, self._bulletin)
        self.rack = Rack(self._seating, self._bulletin, low_below, catalogue)
        """The vials. They come and go by `put_vials` and `take_vials`, which close slots first."""

    @property
    def seats(self) -> list[Seat]:
        """The seats that are there, in the order of the house."""
        return self._seating.present

    @property
    def revision(self) -> int:
        """The number of the last public event."""
        return self._bulletin.revision

    @property
    def next_ms(self) -> float:
        """When `advance` has something to do; infinity where nothing waits."""
        return min(self._agenda.next_ms, self._levels.next_ms, self._sprays.next_ms)

    def take_effects(self) -> Effects:
        """Hand over what was decided since the last time."""
        return self._bulletin.take()

    # Cues

    def accept(self, cue: Cue, now_ms: float) -> Verdict:
        """Decide a cue that has come in: now if it is due, else as things stand, to wait.

        The same key again gets the first answer, marked as a duplicate, and sprays nothing.
        """
        known = self._agenda.answer(cue.key, now_ms)
        if known is not None:
            return known._replace(duplicate=True)
        if self.panicked:
            return Refused(Refusal.PANIC)
        if now_ms > cue.expires_ms:
            self.late += 1
            return Refused(Refusal.TOO_LATE)
        cue = self._spared(cue)
        self._begin_delayed(now_ms)
        if cue.due_ms <= now_ms and not self._agenda.is_away(cue.key.owner):
            verdict = self._sprays.dispatch(cue, now_ms)
            self._agenda.remember(cue.key, verdict, now_ms)
            return verdict
        if self._agenda.full:
            return Refused(Refusal.BUSY)
        verdict = self._sprays.foresee(cue, now_ms)
        self._agenda.wait(cue, verdict)
        return verdict

    def waits(self, key: CueKey) -> bool:
        """Say whether a cue still waits for its time."""
        return self._agenda.waits(key)

    def advance(self, now_ms: float, most: int = MOST_WAITING) -> None:
        """Dispatch the cues that are due, and end the levels whose sender has fallen silent.

        Of the cues, `most` at a time: the others are still due afterwards. Sprays at seats with a
        delay begin when it is over.
        """
        self._begin_delayed(now_ms)
        for _ in range(most):
            cue = self._agenda.due(now_ms)
            if cue is None:
                break
            if now_ms <= cue.expires_ms:
                self._sprays.dispatch(cue, now_ms)
            else:
                self.late += 1
                self._bulletin.expired(
                    cue.key, len(self._seating.meant(cue.seats)), now_ms - cue.due_ms
                )
        self._levels.advance(now_ms)

    def cancel(self, key: CueKey, asked_ms: float, now_ms: float) -> int | None:
        """Unschedule a cue, or stop what of it runs; return how many sprays were stopped.

        None where no such cue has come, or so long ago that it is forgotten.
        """
        known = self._agenda.answer(key, now_ms)
        self._agenda.drop(key, now_ms)
        self._stops.cancel(key, asked_ms, now_ms)
        stopped = self._halts.where(
            lambda run: run.cue == key, self._seating.present, Ended.CANCELLED, now_ms
        )
        self._bulletin.withdraw(cue=key)
        return None if known is None else stopped

    def give_back(self, key: CueKey, seats: Iterable[SeatId], now_ms: float) -> None:
        """Undo what is counted of a cue at seats that it surely has not reached; see `Sprays`."""
        self._sprays.give_back(key, seats, now_ms)

    def _begin_delayed(self, now_ms: float) -> None:
        """Begin those delayed sprays that are due: nothing else is decided before.

        But for what stops, which takes them back.
        """
        if self._sprays.next_ms <= now_ms:
            self.late += self._sprays.advance(now_ms)

    # Levels

    def level(self, level: Level, now_ms: float) -> None:
        """Take a level's newest value; without a newer one it ends by itself.

        Its sender is told, by an event, whenever what becomes of it has changed.
        """
        key = level.key
        if level.intensity == 0:
            self._levels.end(key, now_ms)
            return
        ends_ms = min(level.asked_ms + level.ttl_ms, now_ms + self.limits.max_spray_ms)
        if now_ms >= ends_ms:
            self.late += 1
            return
        seats = self._stops.spared(level, self._seating.everybody)
        if seats == () or self._agenda.is_away(key.owner):
            return
        if self.panicked:
            self._levels.refuse(key, Refusal.PANIC, ends_ms, now_ms)
        else:
            self._begin_delayed(now_ms)
            self._levels.hold(key, level.intensity, seats, ends_ms, now_ms)

    # Stopping

    def stop(
        self,
        owner: OwnerId | None,
        seats: tuple[SeatId, ...] | None,
        asked_ms: float,
        now_ms: float,
    ) -> int:
        """Stop what is an owner's, or everything; at some seats, or everywhere in the zone.

        What waits goes as well, and what was asked before the stop but comes after it. Return
        how many sprays were stopped.
        """
        self._stops.stop(owner, seats, asked_ms, now_ms)
        for cue in self._agenda.waiting():
            spared = self._spared(cue)
            if spared is cue:
                continue
            if spared.seats:
                self._agenda.narrow(spared)
            else:
                self._agenda.drop(cue.key, now_ms)
        meant = self._seating.meant(seats)
        stopped = self._halts.where(owned_by(owner), meant, Ended.STOPPED, now_ms)
        self._bulletin.withdraw(seats, owner=owner)
        self._levels.end_stopped(owner, now_ms)
        return stopped

    def panic(self, asked_ms: float, now_ms: float) -> int:
        """Stop everything and refuse all cues until `release`; return how many were stopped.

        Every dispenser is told to close, also those that are not known to be open.
        """
        self._stops.stop(None, None, asked_ms, now_ms)
        for cue in self._agenda.waiting():
            self._agenda.drop(cue.key, now_ms)
        self._bulletin.halt(None, self._seating.everybody())
        stopped = self._halts.where(owned_by(None), self._seating.present, Ended.PANIC, now_ms)
        self._levels.refuse_all(Refusal.PANIC, now_ms)
        if not self.panicked:
            self.panicked = True
            self._bulletin.changed(Change.PANICKED, None, now_ms)
        return stopped

    def release(self, now_ms: float) -> None:
        """Take cues again after a panic."""
        if self.panicked:
            self.panicked = False
            self._bulletin.changed(Change.RELEASED, None, now_ms)

    def hush(self, owner: OwnerId, now_ms: float) -> int:
        """Stop what runs of an owner who is gone; its waiting cues are held until it is back."""
        self._agenda.hold(owner)
        stopped = self._halts.where(
            owned_by(owner), self._seating.present, Ended.CLIENT_GONE, now_ms
        )
        self._bulletin.withdraw(owner=owner)
        self._levels.end_stopped(owner, now_ms)
        return stopped

    def welcome_back(self, owner: OwnerId, now_ms: float) -> None:
        """Let an owner's waiting cues go on; what has become too late meanwhile is dropped."""
        self._agenda.resume(owner)
        self.advance(now_ms)

    def forget(self, owner: OwnerId, now_ms: float) -> None:
        """End an owner's levels and drop its waiting cues; sprays that run end by themselves."""
        self._agenda.forget(owner, now_ms)
        self._levels.end_all(owner, now_ms)

    def _spared(self, cue: Cue) -> Cue:
        """Return the cue without the seats at which it has been stopped since it was asked."""
        seats = self._stops.spared(cue, self._seating.everybody)
        return cue if seats is cue.seats else cue._replace(seats=seats)

    # Seats

    def seat(self, id: SeatId) -> Seat | None:
        """Return a seat by its id, also goggles that have left."""
        return self._seating.get(id)

    def restore_settings(self, said: Mapping[SeatId, SeatChange]) -> None:
        """Set what was set for seats before, also for goggles that have not come yet."""
        for id, change in said.items():
            self._seating.settle(id, change)

    def set_seat(self, id: SeatId, change: SeatChange, now_ms: float) -> SeatChange | None:
        """Set something for a seat, and return all that was ever said; None where nobody knows it.

        It holds from the next decision on. What runs or waits there and is no longer wanted stops.
        """
        seat = self._seating.get(id)
        if seat is None:
            return None
        before = seat.settings
        said = self._seating.settle(id, change)
        settings = seat.settings
        if settings == before:
            return said
        if self._halts.where(
            lambda run: settings.refuses(run.scent), [seat], Ended.STOPPED, now_ms
        ):
            self._levels.end_stopped(None, now_ms)
        if settings.opted_out > before.opted_out or settings.averse_to - before.averse_to:
            # Whatever a slow dispenser still has before it, since it cannot tell the scents apart.
            self._bulletin.withdraw((id,))
        self._bulletin.changed(Change.SEAT_CHANGED, id, now_ms)
        return said

    def take_place(self, id: SeatId, slots: list[Slot] | None, now_ms: float) -> bool:
        """Seat goggles, new or known; without slots of their own they take any scent.

        What their wearer has had already still counts. False where there is no more room.
        """
        seat = self._seating.arrive(id, now_ms)
        if seat is None:
            return False
        self._close_all(seat, now_ms)
        seat.fit(slots or [], now_ms, anything=slots is None)
        self._bulletin.changed(Change.SEAT_ONLINE, id, now_ms)
        return True

    def leave_place(self, id: SeatId, now_ms: float) -> None:
        """Let goggles go: they are offline to who names them, and no seat to anybody else."""
        seat = self._seating.get(id)
        if seat is not None and seat.online:
            self._halts.leave(seat, now_ms)
            self._seating.leave(seat, now_ms)
            self._levels.lose(seat, now_ms)
            self._bulletin.changed(Change.SEAT_OFFLINE, id, now_ms)

    def connect(self, id: SeatId, now_ms: float, *, online: bool) -> None:
        """Note that a seat's dispenser can be reached, or no longer."""
        seat = self._seating.get(id)
        if seat is None or seat.online == online:
            return
        if online:
            seat.online = True
            self._close_all(seat, now_ms)
        else:
            seat.lose(now_ms)
            self._levels.lose(seat, now_ms)
        change = Change.SEAT_ONLINE if online else Change.SEAT_OFFLINE
        self._bulletin.changed(change, id, now_ms)

    def stick(self, id: SeatId, now_ms: float, *, stuck: bool) -> None:
        """Note that a slot of a seat does not close, or that all of them do again.

        Meanwhile nothing is sprayed there, and what one open slot gives counts.
        """
        seat = self._seating.get(id)
        if seat is None or seat.stuck == stuck:
            return
        if stuck:
            seat.stick(now_ms)
        else:
            seat.loosen(now_ms)
        self._bulletin.changed(Change.SEAT_STUCK if stuck else Change.SEAT_LOOSE, id, now_ms)

    def suspect(self, id: SeatId, now_ms: float) -> None:
        """Raise the alarm over a device that calls itself a seat's and cannot prove it."""
        if self._seating.get(id) is not None:
            self._bulletin.changed(Change.SEAT_IMPOSTOR, id, now_ms)

    # Vials

    def put_vials(self, vials: Iterable[SeatedVial], now_ms: float) -> None:
        """Seat vials where the stock says that they stand, closing first what runs there.

        One that stands there already is left alone, and one that has no place here is left out.
        """
        missing = self.rack.missing(vials)
        self._halts.vacate(self.rack.spots(self.rack.places_of(missing)), now_ms)
        self.rack.put(missing, now_ms)

    def take_vials(self, places: Iterable[Place], now_ms: float) -> tuple[SeatedVial, ...]:
        """Take the vials out of some slots, closing first what runs there; return what is left."""
        places = tuple(places)
        self._halts.vacate(self.rack.spots(places), now_ms)
        return self.rack.take(places, now_ms)

    def hear_slots(self, id: SeatId, left_us: Mapping[int, int], now_ms: float) -> None:
        """Take what a seat's device says is left in its slots, in micro-dose-seconds by number."""
        seat = self._seating.get(id)
        if seat is not None:
            self.rack.hear(seat, left_us, now_ms)

    def _close_all(self, seat: Seat, now_ms: float) -> None:
        """Close what was open when the connection broke; the first word to a new one is a stop."""
        self._halts.where(owned_by(None), [seat], Ended.RESTARTED, now_ms)

    def restore(self, used: Mapping[SeatId, Mapping[int, int]], now_ms: float) -> None:
        """Count what seats have had before: micro-dose-seconds by seat and Unix second."""
        self._seating.restore(used, now_ms)

    def presume(self, from_ms: float, to_ms: float, now_ms: float) -> None:
        """Count a time that nobody wrote down; of a spray that began then, not beyond `now_ms`."""
        self._seating.presume(from_ms, to_ms, min(now_ms, to_ms + self.limits.max_spray_ms))

    def break_off(self, now_ms: float) -> None:
        """End what runs, as the dispensers do when this zone has crashed."""
        for seat in self.seats:
            self._close_all(seat, now_ms)

    def restarted(self, now_ms: float) -> None:
        """Say that whatever ran here has ended with the zone's former life."""
        self._bulletin.changed(Change.RESTARTED, None, now_ms)

    def take_doses(self, now_ms: float) -> dict[tuple[SeatId, int], int]:
        """Return what each seat has had in each second that changed since the last time.

        What a slot gives that does not close is counted up to now.
        """
        return self._seating.take_doses(now_ms)

    def take_journal(self, now_ms: float) -> tuple[JournalEntry, ...]:
        """Return what was released since the last time, and what of earlier releases was not."""
        return self._seating.take_journal(now_ms)

    def take_journal_lost(self) -> int:
        """Return how many entries were given up since the last time: too much was released."""
        return self._seating.journal.take_lost()

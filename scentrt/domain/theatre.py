"""The zone decides: who is sprayed, who is skipped and why, and what is stopped.

Every method that changes something takes the time, which never goes backwards, and writes what
is to be done into the zone's bulletin, which `take_effects` hands over. Nothing here waits, reads
a clock or touches a device, so a decision is whole or has not happened.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from scentrt.domain.agenda import Agenda
from scentrt.domain.bulletin import Bulletin
from scentrt.domain.cues import (
    Cue,
    CueKey,
    Level,
    LevelKey,
    OwnerId,
    SeatId,
    Spray,
    ZoneId,
    dose_us,
)
from scentrt.domain.decisions import Accepted, Effects, Refusal, Refused, Verdict
from scentrt.domain.doses import Limits
from scentrt.domain.events import Change, Ended
from scentrt.domain.levels import Levels, Standing
from scentrt.domain.seating import Seating
from scentrt.domain.seats import LEVEL_PRIORITY, Run, Seat, Skip, Slot

STOP_REACH_MS = 10_000.0
"""How long a stop is held against what was asked before it: longer than any mailbox is deep."""

ACTIVE, ENDED = "active", "ended"


class Zone:
    """A block of seats and everything that is decided for it.

    Guarantees, whatever is asked in whatever order: no seat exceeds its limits, a cue is sprayed
    at most once and never after its time to live, and after a stop or a panic nothing is open.
    """

    def __init__(
        self,
        id: ZoneId,
        seats: Iterable[Seat],
        limits: Limits,
        *,
        panicked: bool = False,
        revision: int = 0,
    ) -> None:
        self.id = id
        self.limits = limits
        self.panicked = panicked
        self.late = 0
        """How many cues and levels were dropped because they came, or fell due, too late."""
        self._seating = Seating(seats, limits)
        self._agenda = Agenda()
        self._levels = Levels()
        self._stops: list[tuple[float, OwnerId | None, frozenset[SeatId] | None]] = []
        self._bulletin = Bulletin(id, revision)

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
        return min(self._agenda.next_ms, self._levels.next_ms)

    def take_effects(self) -> Effects:
        """Hand over what was decided since the last time."""
        return self._bulletin.take()

    # Cues

    def accept(self, cue: Cue, now_ms: float) -> Verdict:
        """Decide a cue that has come in: now if it is due, else as things stand, to wait.

        The same key again gets the first answer, marked as a duplicate, and sprays nothing.
        """
        known = self._agenda.answer(cue.key)
        if known is not None:
            return replace(known, duplicate=True)
        if self.panicked:
            return Refused(Refusal.PANIC)
        if now_ms > cue.expires_ms:
            self.late += 1
            return Refused(Refusal.TOO_LATE)
        if self._stops:
            cue = self._spared(cue)
        if cue.due_ms <= now_ms and not self._agenda.is_away(cue.key.owner):
            return self._dispatch(cue, now_ms)
        if self._agenda.full:
            return Refused(Refusal.BUSY)
        chosen, skipped = self._choose(cue, now_ms, max(now_ms, cue.due_ms))
        verdict = Accepted(cue.due_ms, len(chosen), skipped)
        self._agenda.wait(cue, verdict)
        return verdict

    def advance(self, now_ms: float) -> None:
        """Dispatch the cues that are due, and end the levels whose sender has fallen silent."""
        while (cue := self._agenda.due(now_ms)) is not None:
            if now_ms <= cue.expires_ms:
                self._dispatch(cue, now_ms)
            else:
                self.late += 1
                self._bulletin.expired(
                    cue.key, len(self._seating.meant(cue.seats)), now_ms - cue.due_ms
                )
                self._agenda.remember(cue.key, Accepted(cue.due_ms, 0, {}), now_ms)
        for standing in self._levels.expired(now_ms):
            self._end_level(standing, now_ms)

    def cancel(self, key: CueKey, asked_ms: float, now_ms: float) -> int:
        """Unschedule a cue, or stop what of it runs; return how many sprays were stopped."""
        if not self._agenda.drop(key, now_ms) and self._agenda.answer(key) is None:
            # The cancel has overtaken its cue: when that comes, it is known as decided already.
            self._agenda.remember(key, Accepted(asked_ms, 0, {}), now_ms)
        return self._halt(
            lambda run: run.cue == key, self._seating.present, Ended.CANCELLED, now_ms
        )

    def _choose(
        self, cue: Cue, now_ms: float, at_ms: float
    ) -> tuple[list[tuple[Seat, Slot]], Counter[Skip]]:
        dose = dose_us(cue.intensity, cue.duration_ms)
        scent, priority, mix = cue.scent, cue.priority, cue.mix
        chosen: list[tuple[Seat, Slot]] = []
        skipped: Counter[Skip] = Counter()
        for seat in self._seating.meant(cue.seats):
            picked = seat.pick(scent, dose, priority, now_ms, at_ms, mix=mix)
            if isinstance(picked, Slot):
                chosen.append((seat, picked))
            else:
                skipped[picked] += 1
        return chosen, skipped

    def _dispatch(self, cue: Cue, now_ms: float) -> Accepted:
        chosen, skipped = self._choose(cue, now_ms, now_ms)
        run = Run(
            cue=cue.key,
            owner=cue.key.owner,
            scent=cue.scent,
            priority=cue.priority,
            intensity=cue.intensity,
            starts_ms=now_ms,
            ends_ms=now_ms + cue.duration_ms,
            dose_us=dose_us(cue.intensity, cue.duration_ms),
        )
        by_slot: dict[int, list[SeatId]] = {}
        displaced: dict[Run, list[SeatId]] = {}
        for seat, slot in chosen:
            if slot.until_ms > now_ms and slot.run is not None:
                displaced.setdefault(slot.run, []).append(seat.id)
            self._seating.open(seat, slot, run, now_ms)
            by_slot.setdefault(slot.number, []).append(seat.id)
        for number, ids in by_slot.items():
            self._bulletin.spray(Spray(number, cue.intensity, cue.duration_ms, cue.key), ids)
        for other, ids in displaced.items():
            self._bulletin.ended(other, self._seating.named(ids), Ended.DISPLACED)
        if chosen:
            self._bulletin.released(
                cue.key, run, self._seating.named([seat.id for seat, _ in chosen])
            )
        self._bulletin.dispatched(cue.key, len(chosen), now_ms, now_ms - cue.due_ms)
        verdict = Accepted(cue.due_ms, len(chosen), skipped)
        self._agenda.remember(cue.key, verdict, now_ms)
        return verdict

    # Levels

    def level(self, level: Level, now_ms: float) -> None:
        """Take a level's newest value; without a newer one it ends by itself.

        Its sender is told, by an event, whenever what becomes of it has changed.
        """
        key, ends_ms = level.key, level.asked_ms + level.ttl_ms
        if level.intensity == 0:
            standing = self._levels.get(key)
            if standing is not None:
                self._end_level(standing, now_ms)
            return
        if now_ms >= ends_ms:
            self.late += 1
            return
        if self._agenda.is_away(key.owner) or self._is_stopped(level):
            return
        standing = self._levels.keep(key, ends_ms)
        if self.panicked:
            self._tell_level(standing, Refusal.PANIC)
            return
        skipped: Counter[Skip] = Counter()
        alike: dict[tuple[int, float, float], list[tuple[Seat, Slot]]] = {}
        for seat in self._seating.meant(level.seats):
            picked = seat.pick_for_level(key, level.intensity, ends_ms, now_ms)
            if isinstance(picked, Skip):
                skipped[picked] += 1
                continue
            slot, intensity, until_ms = picked
            slot.parts[key] = level.intensity, ends_ms
            alike.setdefault((slot.number, intensity, until_ms), []).append((seat, slot))
        for (_, intensity, until_ms), places in alike.items():
            self._release_level(key, intensity, until_ms, places, now_ms)
        if alike:
            standing.places = [place for places in alike.values() for place in places]
            standing.seats = self._seating.named([seat.id for seat, _ in standing.places])
            self._tell_intensity(standing, level.intensity, level.ttl_ms, now_ms)
            self._tell_level(standing, ACTIVE)
        else:
            reason = skipped.most_common(1)[0][0] if skipped else Skip.OFFLINE
            self._tell_level(standing, reason)

    def _release_level(
        self,
        key: LevelKey,
        intensity: float,
        until_ms: float,
        places: list[tuple[Seat, Slot]],
        now_ms: float,
    ) -> None:
        lasts_ms = until_ms - now_ms
        run = Run(
            cue=None,
            owner=key.owner,
            scent=key.scent,
            priority=LEVEL_PRIORITY,
            intensity=intensity,
            starts_ms=now_ms,
            ends_ms=until_ms,
            dose_us=dose_us(intensity, lasts_ms),
        )
        for seat, slot in places:
            self._seating.open(seat, slot, run, now_ms)
        spray = Spray(places[0][1].number, intensity, lasts_ms, None)
        self._bulletin.spray(spray, (seat.id for seat, _ in places))

    def _end_level(self, standing: Standing, now_ms: float, state: str = ENDED) -> None:
        """End one level: its slots close, but for what other levels of its owner give there."""
        self._levels.drop(standing)
        key = standing.key
        closed: dict[int, list[SeatId]] = {}
        for seat, slot in standing.places:
            slot.parts.pop(key, None)
            run = slot.run
            theirs = run is not None and run.is_level and run.owner == key.owner
            if slot.until_ms <= now_ms or not theirs:
                continue
            intensity, until_ms = slot.mixed(now_ms, but_for=key)
            if intensity > 0:
                self._release_level(key, min(1.0, intensity), until_ms, [(seat, slot)], now_ms)
            else:
                self._seating.close(seat, slot, now_ms)
                closed.setdefault(slot.number, []).append(seat.id)
        for number, ids in closed.items():
            self._bulletin.halt(number, ids)
        self._tell_intensity(standing, 0.0, 0.0, now_ms)
        self._tell_level(standing, state)

    def _end_levels_that_are_over(
        self, owner: OwnerId | None, now_ms: float, state: str = ENDED
    ) -> None:
        for standing in self._levels.of(owner):
            if not any(standing.key in slot.parts for _, slot in standing.places):
                self._end_level(standing, now_ms, state)

    def _tell_intensity(
        self, standing: Standing, intensity: float, ttl_ms: float, now_ms: float
    ) -> None:
        if standing.intensity != intensity:
            standing.intensity = intensity
            scent, seats = standing.key.scent, standing.seats
            self._bulletin.levelled(scent, intensity, ttl_ms, seats, now_ms)

    def _tell_level(self, standing: Standing, state: str) -> None:
        if standing.state != state:
            standing.state = state
            self._bulletin.level_state(standing.key, str(state))

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
        return self._stop(owner, seats, asked_ms, Ended.STOPPED, now_ms)

    def panic(self, asked_ms: float, now_ms: float) -> int:
        """Stop everything and refuse all cues until `release`; return how many were stopped.

        Every dispenser is told to close, also those that are not known to be open.
        """
        self._bulletin.halt(None, self._seating.ids)
        stopped = self._stop(None, None, asked_ms, Ended.PANIC, now_ms)
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
        stopped = self._halt(
            lambda run: run.owner == owner, self._seating.present, Ended.CLIENT_GONE, now_ms
        )
        self._end_levels_that_are_over(owner, now_ms)
        return stopped

    def welcome_back(self, owner: OwnerId, now_ms: float) -> None:
        """Let an owner's waiting cues go on; what has become too late meanwhile is dropped."""
        self._agenda.resume(owner)
        self.advance(now_ms)

    def forget(self, owner: OwnerId, now_ms: float) -> None:
        """End an owner's levels and drop its waiting cues; sprays that run end by themselves."""
        self._agenda.forget(owner, now_ms)
        for standing in self._levels.of(owner):
            self._end_level(standing, now_ms)

    def _stop(
        self,
        owner: OwnerId | None,
        seats: tuple[SeatId, ...] | None,
        asked_ms: float,
        reason: Ended,
        now_ms: float,
    ) -> int:
        self._stops = [stop for stop in self._stops if stop[0] > now_ms - STOP_REACH_MS]
        self._stops.append((asked_ms, owner, None if seats is None else frozenset(seats)))
        for cue in self._agenda.waiting():
            spared = self._spared(cue)
            if spared.seats == ():
                self._agenda.drop(cue.key, now_ms)
            elif spared is not cue:
                self._agenda.narrow(spared)
        stopped = self._halt(
            lambda run: owner is None or run.owner == owner,
            self._seating.meant(seats),
            reason,
            now_ms,
        )
        state = Refusal.PANIC if reason is Ended.PANIC else ENDED
        self._end_levels_that_are_over(owner, now_ms, state)
        return stopped

    def _halt(
        self, matches: Callable[[Run], bool], seats: Iterable[Seat], reason: Ended, now_ms: float
    ) -> int:
        ended, closed = self._seating.close_where(matches, seats, now_ms)
        for number, ids in closed.items():
            self._bulletin.halt(number, ids)
        for run, ids in ended.items():
            self._bulletin.ended(run, self._seating.named(ids), reason)
        return sum(map(len, closed.values()))

    def _spared(self, cue: Cue) -> Cue:
        """Return the cue without the seats that a stop has reached since it was asked."""
        for asked_ms, owner, seats in self._stops:
            if asked_ms < cue.asked_ms or owner not in (None, cue.key.owner):
                continue
            meant = [seat.id for seat in self._seating.meant(cue.seats)]
            left = tuple(id for id in meant if seats is not None and id not in seats)
            if len(left) < len(meant):
                cue = replace(cue, seats=left)
        return cue

    def _is_stopped(self, level: Level) -> bool:
        return any(
            asked_ms >= level.asked_ms
            and owner in (None, level.key.owner)
            and (seats is None or seats.issuperset(level.seats or self._seating.ids))
            for asked_ms, owner, seats in self._stops
        )

    # Seats

    def seat(self, id: SeatId) -> Seat | None:
        """Return a seat by its id, also goggles that have left."""
        return self._seating.get(id)

    def take_place(self, id: SeatId, slots: list[Slot] | None, now_ms: float) -> bool:
        """Seat goggles, new or known; without slots of their own they take any scent.

        What their wearer has had already still counts. False where there is no more room.
        """
        seat = self._seating.get(id)
        if seat is not None:
            self._halt(lambda _: True, [seat], Ended.RESTARTED, now_ms)
        seated = self._seating.arrive(id, slots, now_ms)
        if seated:
            self._bulletin.changed(Change.SEAT_ONLINE, id, now_ms)
        return seated

    def leave_place(self, id: SeatId, now_ms: float) -> None:
        """Let goggles go: they are offline to who names them, and no seat to anybody else."""
        seat = self._seating.get(id)
        if seat is not None and seat.online:
            self._halt(lambda _: True, [seat], Ended.RESTARTED, now_ms)
            self._seating.leave(seat)
            self._bulletin.changed(Change.SEAT_OFFLINE, id, now_ms)

    def connect(self, id: SeatId, now_ms: float, *, online: bool) -> None:
        """Note that a seat's dispenser can be reached, or no longer."""
        seat = self._seating.get(id)
        if seat is not None and seat.online != online:
            seat.online = online
            change = Change.SEAT_ONLINE if online else Change.SEAT_OFFLINE
            self._bulletin.changed(change, id, now_ms)

    def restore(self, used: Mapping[SeatId, Mapping[int, int]], now_ms: float) -> None:
        """Count what seats have had before: micro-dose-seconds by seat and Unix second."""
        self._seating.restore(used, now_ms)

    def presume(self, from_ms: float, to_ms: float) -> None:
        """Count a time that nobody wrote down as if every slot had been open in full."""
        self._seating.presume(from_ms, to_ms)

    def restarted(self, now_ms: float) -> None:
        """Say that whatever ran here has ended with the zone's former life."""
        self._bulletin.changed(Change.RESTARTED, None, now_ms)

    def take_doses(self) -> dict[tuple[SeatId, int], int]:
        """Return what each seat has had in each second that changed since the last time."""
        return self._seating.take_doses()

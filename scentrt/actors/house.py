"""The house: all zones of a theatre, who is where, and the panic latch over all of them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import trio

from scentrt.actors.actor import Ref
from scentrt.actors.clock import ServerClock
from scentrt.actors.ledger import Ledger
from scentrt.actors.messages import EndPanic, Panic
from scentrt.domain.cues import GOGGLES_ZONE, Scent, SeatId, Target, ZoneId
from scentrt.domain.doses import Limits
from scentrt.domain.layout import TheatrePlan
from scentrt.domain.seating import MOST_KNOWN
from scentrt.domain.seats import Seat, Slot
from scentrt.errors import (
    ActorError,
    ActorStopped,
    PanicAgain,
    StoreUnavailable,
    UnknownGoggles,
    UnknownScent,
    UnknownSeat,
    UnknownZone,
)

LATCH_WITHIN_S = 1.0
"""How long a panic waits for its latch to be on disk before it is answered."""


@dataclass(slots=True)
class Latch:
    """Whether there is a panic: one for the whole house, so that a restarted zone knows of it."""

    panicked: bool


class Guests:
    """The goggles in the house, and those that were: names that a cue may call.

    Goggles that have left stay known, since who names them is told that they are offline.
    """

    def __init__(self) -> None:
        self._slots: dict[SeatId, tuple[Slot, ...] | None] = {}
        self._present: set[SeatId] = set()

    def __contains__(self, name: SeatId) -> bool:
        return name in self._slots

    def __iter__(self) -> Iterator[SeatId]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._present)

    def arrive(self, name: SeatId, slots: tuple[Slot, ...] | None) -> None:
        """Note that goggles have come, with slots of their own or without (None)."""
        self._slots.pop(name, None)
        self._slots[name] = slots
        self._present.add(name)
        if len(self._slots) > 2 * MOST_KNOWN:
            for gone in [name for name in self._slots if name not in self._present][:MOST_KNOWN]:
                del self._slots[gone]

    def leave(self, name: SeatId) -> None:
        """Note that goggles have gone."""
        self._present.discard(name)

    def carry(self, scent: Scent) -> bool:
        """Say whether any of them brought the scent along."""
        return any(slot.scent == scent for slots in self._slots.values() for slot in slots or ())

    def seats(self, limits: Limits) -> list[Seat]:
        """Return new seats for the goggles that are present."""
        seats = []
        for name in self._present:
            slots = self._slots[name]
            fresh = [Slot(slot.number, slot.scent, slot.vial) for slot in slots or ()]
            seats.append(Seat(name, fresh, limits, anything=slots is None))
        return seats


class House:
    """Know every zone by its name, every seat by its id, and whether there is a panic.

    Lookups never wait. Goggles are known from their first hello on, also when they have left.
    """

    def __init__(
        self,
        plan: TheatrePlan,
        zones: Mapping[ZoneId, Ref],
        guests: Guests,
        ledger: Ledger,
        clock: ServerClock,
        latch: Latch,
    ) -> None:
        self.plan = plan
        self.zones = zones
        self.guests = guests
        self._latch = latch
        self._ledger = ledger
        self._clock = clock
        self._zone_of = {seat: zone.id for zone in plan.zones for seat in zone.seat_ids()}
        self._sizes = {zone.id: zone.rows * zone.seats_per_row for zone in plan.zones}
        self._scents = {scent for zone in plan.zones for scent in zone.slots}
        self._panics = 0

    @property
    def panicked(self) -> bool:
        """Whether cues are refused until an operator releases the house."""
        return self._latch.panicked

    @property
    def is_behind(self) -> bool:
        """Whether a zone does not keep pace with what it is sent."""
        return any(zone.is_behind for zone in self.zones.values())

    @property
    def goggles(self) -> Ref:
        """The zone of the goggles."""
        return self.zones[GOGGLES_ZONE]

    def zone_of(self, seat: SeatId) -> ZoneId:
        """Return the zone of a seat or of goggles; raises `UnknownSeat`."""
        if seat in self._zone_of:
            return self._zone_of[seat]
        if seat in self.guests:
            return GOGGLES_ZONE
        raise UnknownSeat(seat)

    def seats_after(self, after: SeatId) -> Iterator[SeatId]:
        """Return the seats behind one, in the order of the house, or all of them after nothing.

        Goggles come last, by name, since they may come anew between two pages. Raises
        `UnknownSeat`.
        """
        seats = iter([*self._zone_of, *sorted(self.guests)])
        if after:
            self.zone_of(after)
            for seat in seats:
                if seat == after:
                    break
        return seats

    def zone(self, zone: ZoneId) -> Ref:
        """Return a zone; raises `UnknownZone`."""
        if zone not in self.zones:
            raise UnknownZone(zone)
        return self.zones[zone]

    def scents_of(self, zone: ZoneId) -> tuple[Scent, ...]:
        """Return the scents in the slots of a zone; none are known beforehand for goggles."""
        return next((plan.slots for plan in self.plan.zones if plan.id == zone), ())

    def has_devices(self, zone: ZoneId) -> bool:
        """Say whether seats of a zone have a device that there is something to tell of."""
        return any(plan.id == zone and plan.devices for plan in self.plan.zones)

    def check_scent(self, scent: Scent) -> None:
        """Raise `UnknownScent` where no zone carries the scent, nor any goggles."""
        if not self.carries(scent):
            raise UnknownScent(scent)

    def carries(self, scent: Scent) -> bool:
        """Say whether a zone carries the scent, or any goggles."""
        return scent in self._scents or self.guests.carry(scent)

    def seats_meant(self, zone: ZoneId, seats: tuple[SeatId, ...] | None) -> int:
        """Return how many seats a part of a target has, as far as is known without asking."""
        return self._sizes.get(zone, len(self.guests)) if seats is None else len(seats)

    def parts(self, target: Target) -> dict[ZoneId, tuple[SeatId, ...] | None]:
        """Return the zones that a target reaches, and which seats there: None is all of them.

        Raises `UnknownZone`, `UnknownSeat` or `UnknownGoggles` for the first name nobody has.
        """
        if target.all:
            return dict.fromkeys(self.zones)
        if target.zones:
            for zone in target.zones:
                self.zone(zone)
            return dict.fromkeys(target.zones)
        if target.goggles:
            for name in target.goggles:
                if name not in self.guests:
                    raise UnknownGoggles(name)
            return {GOGGLES_ZONE: target.goggles}
        by_zone: dict[ZoneId, list[SeatId]] = {}
        for seat in target.seats:
            by_zone.setdefault(self.zone_of(seat), []).append(seat)
        return {zone: tuple(seats) for zone, seats in by_zone.items()}

    async def panic(self) -> int:
        """Stop everything and refuse cues until `release`; return how many sprays were stopped.

        The stop goes first and waits for nobody; the latch is on disk on return, or will be as
        soon as the database takes it.
        """
        self._latch.panicked = True
        self._panics += 1
        asked_ms = self._clock.now_ms()
        stopped: list[int] = []

        async def stop(zone: Ref) -> None:
            # A zone that crashes closes its dispensers, and wakes up under the latch.
            with suppress(ActorError):
                stopped.append(await zone.ask(Panic(asked_ms), urgent=True))

        async def latch() -> None:
            with trio.move_on_after(LATCH_WITHIN_S):
                with suppress(StoreUnavailable):  # then the ledger goes on trying
                    await self._ledger.set_panicked(True)

        # Tasks, since each of them has said what it wants before it waits: whoever called the
        # panic may go away, and the panic stays.
        async with trio.open_nursery() as nursery:
            for zone in self.zones.values():
                nursery.start_soon(stop, zone)
            nursery.start_soon(latch)
        return sum(stopped)

    async def release(self) -> None:
        """End a panic: the latch on disk first, so that a restart does not bring it back.

        Raises `StoreUnavailable` where that failed and `PanicAgain` where somebody has called a
        new panic meanwhile; then it remains.
        """
        panics = self._panics
        try:
            await self._ledger.set_panicked(False)
        except StoreUnavailable:
            with suppress(StoreUnavailable):  # so that it is not tried again behind our back
                await self._ledger.set_panicked(True)
            raise
        if panics != self._panics:
            raise PanicAgain
        self._latch.panicked = False
        for zone in self.zones.values():
            with suppress(ActorStopped):
                zone.tell(EndPanic(), urgent=True)

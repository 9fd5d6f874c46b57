"""The actor that owns one zone.

A cue takes one hop: its message is decided, its sprays go to the dispensers, it is answered, and
then its events are handed to whoever listens, all in one turn without waiting. What was used up
goes to the ledger once a second, afterwards, and what is left to whoever orders more.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import assert_never, cast

import trio

from scentrt.actors.actor import Envelope, Mailbox, Ref
from scentrt.actors.clock import ServerClock
from scentrt.actors.house import Latch
from scentrt.actors.ledger import Ledger
from scentrt.actors.messages import (
    CancelCue,
    Connected,
    EndPanic,
    Forget,
    Hush,
    LeavePlace,
    NotTold,
    Panic,
    PutVials,
    ReadPage,
    ReadSeats,
    SetLevel,
    SetRefill,
    SetSeat,
    SlotsHeard,
    Stop,
    Stuck,
    Suspect,
    TakeCue,
    TakePlace,
    TakeVials,
    WelcomeBack,
    ZoneMessage,
)
from scentrt.actors.pages import page_of
from scentrt.actors.reports import Account, Accounts, Written
from scentrt.actors.stagehands import Dispensers, Listeners, Supplies
from scentrt.domain.cues import Cue, CueKey, SeatId, ZoneId
from scentrt.domain.decisions import Accepted, Halt, Order, Release, Withdraw
from scentrt.domain.doses import Limits
from scentrt.domain.events import (
    CueDispatched,
    CueExpired,
    Event,
    LevelChanged,
    SpraysDropped,
)
from scentrt.domain.seat_settings import SeatSettings
from scentrt.domain.seats import Seat
from scentrt.domain.theatre import Zone
from scentrt.domain.vials import DEFAULT_LOW, NO_PRODUCTS, Catalogue, Place, ScentSupply
from scentrt.errors import ActorStopped, StoreUnavailable

__all__ = ["Dispensers", "Listeners", "Supplies", "ZoneActor"]

log = logging.getLogger(__name__)

MAILBOX_CAPACITY = 4_096
"""Some 200 ms of work: a cue that waited longer behind others would be too late anyway."""

MESSAGES_PER_TURN, SEATS_PER_TURN = 32, 2_000
"""How much is handled before other tasks get their turn, so that a stop can come in: a message may
mean every seat of the zone, and to decide a thousand of them takes a millisecond or two."""

TICK_S = 1.0
"""How often what was used up goes to the ledger."""

UNWRITTEN_S = 2.0
"""After a crash, how long past its last write a zone is taken to have gone on at full strength:
the second that was not written, and the one in which it would have been. A spray that began then
may have gone on after it, as dispensers do without their server."""

TAKING_BACK = Stop | Panic | Forget
"""What may take back cues that wait."""

STOP_WITHIN_S = 1.0
"""How long the last write may take when the server stops; then the next start takes it as lost."""


class ZoneActor:
    """Own one zone: let it decide, and carry out what it has decided.

    Each start asks `seats` for the seats that are there, and reloads what they have had and which
    vials stand there. A scent whose vials have less than `low_below` of what they can hold is low.
    """

    def __init__(
        self,
        zone: ZoneId,
        seats: Callable[[Limits], list[Seat]],
        *,
        limits: Limits,
        dispensers: Dispensers,
        ledger: Ledger,
        listeners: Listeners,
        clock: ServerClock,
        latch: Latch,
        supplies: Supplies | None = None,
        low_below: float = DEFAULT_LOW,
        catalogue: Catalogue = NO_PRODUCTS,
    ) -> None:
        self.id = zone
        self.mailbox = Mailbox(f"zone {zone}", MAILBOX_CAPACITY)
        self.ref = Ref(self.mailbox)
        self._seats = seats
        self._limits = limits
        self._dispensers = dispensers
        self._ledger = ledger
        self._listeners = listeners
        self._clock = clock
        self._latch = latch
        self._supplies = supplies
        self._low_below = low_below
        self._catalogue = catalogue
        self._reported: tuple[ScentSupply, ...] | None = None
        self._accounts = Accounts()
        self._next_tick = 0.0
        self._zone: Zone | None = None
        self._is_open = False
        self.opened = trio.Event()
        """Set when the zone has first been opened from its durable state."""

    @property
    def is_open(self) -> bool:
        """Whether cues are decided right now: not before the start, nor while it is restarted."""
        return self._is_open

    @property
    def remarks(self) -> list[str]:
        """Sentences about vials that stand where the house was planned otherwise."""
        return [] if self._zone is None else self._zone.rack.remarks()

    @property
    def late(self) -> int:
        """How many cues and levels were dropped as too late since the zone was last opened."""
        return 0 if self._zone is None else self._zone.late

    async def run(self) -> None:
        """Run the zone from its durable state until cancelled, and then leave it in good order."""
        zone = await self._open()
        self._next_tick = trio.current_time() + TICK_S
        try:
            while True:
                # For many messages, since a scope for each would cost as much as to decide some.
                with trio.CancelScope() as alarm:
                    while True:
                        wakes_at = self._next_wake(zone)
                        if wakes_at != alarm.deadline:
                            alarm.deadline = wakes_at
                        await self.mailbox.wait()
                        self._take_turn(zone)
                self._take_turn(zone)
        except trio.Cancelled:
            with trio.move_on_after(STOP_WITHIN_S, shield=True):
                await self._end(zone)
            raise
        except Exception:
            self._save_vials(zone)
            raise
        finally:
            self._is_open = False
            self._dispensers.halt(None, [seat.id for seat in zone.seats])

    def _take_turn(self, zone: Zone) -> None:
        """Handle what has come, and do what is due."""
        everybody = 1 + len(zone.seats)
        seats = 0
        for _ in range(MESSAGES_PER_TURN):
            envelope = self.mailbox.take()
            if envelope is None:
                break
            self._handle(zone, envelope)
            seats += _seats_meant(envelope.message, everybody)
            if seats > SEATS_PER_TURN:
                break
        self.mailbox.is_behind = envelope is not None
        now, now_ms = trio.current_time(), self._clock.now_ms()
        if zone.next_ms <= now_ms:
            zone.advance(now_ms, min(MESSAGES_PER_TURN, 1 + SEATS_PER_TURN // everybody))
            self._carry_out(zone)
        self._accounts.close_overdue(now)
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self._keep_books(zone, self._clock.now_ms())

    async def _open(self) -> Zone:
        self._accounts.close_all()
        now_ms = self._clock.now_ms()
        stored = await self._ledger.doses(self.id, since_s=int(now_ms // 1000) - 3600)
        vials = await self._ledger.vials(self.id)
        settings = await self._ledger.settings(self.id)
        last = self._zone
        zone = Zone(
            self.id,
            self._seats(self._limits),
            self._limits,
            panicked=self._latch.panicked,
            revision=0 if last is None else last.revision,
            low_below=self._low_below,
            catalogue=self._catalogue,
        )
        now_ms = self._clock.now_ms()
        zone.restore_settings(settings)
        zone.restore(stored.used, now_ms)
        if stored.through_ms is not None and not stored.closed:
            unwritten_to_ms = min(now_ms, stored.through_ms + UNWRITTEN_S * 1000)
            zone.presume(stored.through_ms, unwritten_to_ms, now_ms)
        self._dispensers.halt(None, [seat.id for seat in zone.seats])
        strays = zone.rack.restore(vials, now_ms)
        if strays:
            log.warning("zone %s: %d vials stand where it has no slot (any more)", self.id, strays)
        for remark in zone.rack.remarks():
            log.warning("zone %s: %s", self.id, remark)
        if last is not None:
            zone.restarted(now_ms)
            zone.rack.refills.update(last.rack.refills)
        self._zone, self._reported = zone, None
        self._keep_books(zone, now_ms)
        self._is_open = True
        self.opened.set()
        return zone

    def _keep_books(self, zone: Zone, now_ms: float) -> None:
        """Hand over what was used up, and say what is left."""
        self._record_vials(zone, now_ms)
        self._ledger.record_doses(self.id, zone.take_doses(now_ms), now_ms)
        supply = zone.rack.watch(now_ms)
        self._carry_out(zone)
        if self._supplies is not None and supply != self._reported:
            self._reported = supply
            self._supplies.report(self.id, supply)

    def _record_vials(self, zone: Zone, now_ms: float) -> None:
        levels, journal = zone.rack.take_levels(), zone.take_journal(now_ms)
        self._ledger.record_vials(self.id, levels, journal, zone.take_journal_lost())

    def _save_vials(self, zone: Zone) -> None:
        """Hand over what a zone that has crashed knew of its vials; its doses are presumed.

        What it stumbled over may be in the way here too. The crash itself is what is to be told.
        """
        try:
            now_ms = self._clock.now_ms()
            zone.break_off(now_ms)
            self._record_vials(zone, now_ms)
        except Exception:
            log.exception("zone %s: what its vials have given of late is lost", self.id)

    async def _end(self, zone: Zone) -> None:
        now_ms = self._clock.now_ms()
        zone.stop(None, None, now_ms, now_ms)
        self._carry_out(zone)
        self._record_vials(zone, now_ms)
        try:
            await self._ledger.close_zone(self.id, zone.take_doses(now_ms), now_ms)
        except StoreUnavailable as error:
            log.warning("zone %s: its last doses are not on disk yet: %s", self.id, error)

    def _next_wake(self, zone: Zone) -> float:
        decides_at = self._clock.trio_time(zone.next_ms)
        return min(self._next_tick, decides_at, self._accounts.next_deadline)

    def _handle(self, zone: Zone, envelope: Envelope) -> None:
        message = cast(ZoneMessage, envelope.message)
        answer = self._decide(zone, message, self._clock.now_ms())
        if isinstance(message, TakeCue) and message.report is not None:
            key = message.cue.key
            if isinstance(answer, Accepted) and not answer.duplicate:
                self._accounts.open(Account(message.report, key, answer.targets))
        self._carry_out(zone, envelope, answer)
        if isinstance(message, CancelCue):
            self._accounts.close_withdrawn([message.key], zone.waits)
        elif isinstance(message, TAKING_BACK):
            self._accounts.close_withdrawn(self._accounts.cues, zone.waits)

    def _decide(self, zone: Zone, message: ZoneMessage, now_ms: float) -> object:
        match message:
            case TakeCue(cue):
                return zone.accept(cue, now_ms)
            case SetLevel(level):
                zone.level(level, now_ms)
            case CancelCue(key, asked_ms):
                return zone.cancel(key, asked_ms, now_ms)
            case Stop(owner, seats, asked_ms):
                return zone.stop(owner, seats, asked_ms, now_ms)
            case Panic(asked_ms):
                return zone.panic(asked_ms, now_ms)
            case EndPanic():
                zone.release(now_ms)
            case Hush(owner):
                return zone.hush(owner, now_ms)
            case WelcomeBack(owner):
                zone.welcome_back(owner, now_ms)
            case Forget(owner):
                zone.forget(owner, now_ms)
            case TakePlace(seat, slots):
                return zone.take_place(seat, None if slots is None else list(slots), now_ms)
            case LeavePlace(seat):
                zone.leave_place(seat, now_ms)
            case Connected(seat, online):
                zone.connect(seat, now_ms, online=online)
            case Stuck(seat, stuck):
                zone.stick(seat, now_ms, stuck=stuck)
            case Suspect(seat):
                zone.suspect(seat, now_ms)
            case SlotsHeard(seat, left_us):
                zone.hear_slots(seat, left_us, now_ms)
            case NotTold(key, seats):
                zone.give_back(key, seats, now_ms)
            case PutVials(vials):
                zone.put_vials(vials, now_ms)
            case TakeVials(places):
                return zone.take_vials([Place(self.id, *place) for place in places], now_ms)
            case SetRefill(scent, refill):
                zone.rack.set_refill(scent, refill, now_ms)
            case SetSeat(seat, change):
                said = zone.set_seat(seat, change, now_ms)
                if said is not None:
                    self._ledger.record_settings(self.id, seat, said)
                return _settings(zone, [seat])[0]
            case ReadSeats(ids):
                return _settings(zone, ids)
            case ReadPage(page, seats_per_page):
                return page_of(zone, page, seats_per_page, self._dispensers.device, now_ms)
            case _:
                assert_never(message)
        return None

    def _carry_out(
        self, zone: Zone, envelope: Envelope | None = None, answer: object = None
    ) -> None:
        """Sprays first, then the answer, then whoever listens."""
        effects = zone.take_effects()
        for order in effects.orders:
            self._send(order)
        if envelope is not None:
            envelope.answer(answer)
        for event in effects.events:
            self._tell(event)

    def _send(self, order: Order) -> None:
        match order:
            case Release(spray, seats):
                cue = spray.cue
                account = self._accounts.of(cue)
                if account is not None:
                    account.tell(len(seats))
                done = _ignore if cue is None else partial(self._hear, cue, account)
                self._dispensers.spray(spray, seats, done)
                if account is not None and account.is_dispatched:  # to seats with a delay
                    account.wait()
                    self._accounts.wait_for(account)
            case Halt(slot, seats):
                self._dispensers.halt(slot, seats)
            case Withdraw():
                self._dispensers.withdraw(order)
            case _:
                assert_never(order)

    def _tell(self, event: Event) -> None:
        match event:
            case LevelChanged():
                self._listeners.tell_level(self.id, event)
            case CueDispatched() | SpraysDropped() | CueExpired():
                self._accounts.hear(event)
            case _:
                self._listeners.publish(event)

    def _hear(self, cue: CueKey, account: Account | None, written: Written) -> None:
        if account is not None:
            account.hear(written)
            self._accounts.close_if_settled(account)
        if written.untold:
            # A message to oneself, since a dispenser may say so at any time, in a decision too.
            with suppress(ActorStopped):
                self.ref.tell(NotTold(cue, written.untold), urgent=True)


def _settings(zone: Zone, seats: Sequence[SeatId]) -> tuple[SeatSettings | None, ...]:
    """Return what is set for these seats; None where nobody knows one."""
    return tuple(None if seat is None else seat.settings for seat in map(zone.seat, seats))


def _seats_meant(message: object, everybody: int) -> int:
    """Return at how many seats something may have to be decided."""
    match message:
        case TakeCue(Cue(seats=tuple(seats))):
            return len(seats)
        case _:
            return everybody


def _ignore(_: Written) -> None:
    """Nobody wants to know of this order."""

"""What a zone may be sent. The type says what is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scentrt.actors.actor import Message
from scentrt.actors.reports import Report
from scentrt.domain.cues import Cue, CueKey, Level, OwnerId, Scent, SeatId
from scentrt.domain.decisions import Verdict
from scentrt.domain.refills import Refill
from scentrt.domain.seat_settings import SeatChange, SeatSettings
from scentrt.domain.seats import Seat, Slot
from scentrt.domain.vials import ScentSupply, SeatedVial


@dataclass(frozen=True, slots=True)
class TakeCue(Message[Verdict]):
    """Decide a cue; unless it is refused, `report` is called once with what became of it.

    That is when it has been dispatched, has expired or was taken back, or when the zone crashed.
    """

    cue: Cue
    report: Callable[[Report], None] | None = None


@dataclass(frozen=True, slots=True)
class SetLevel(Message[None]):
    """Take a level's newest value."""

    level: Level


@dataclass(frozen=True, slots=True)
class CancelCue(Message[int | None]):
    """Cancel a cue; the answer is how many sprays were stopped, None where it is not known."""

    key: CueKey
    asked_ms: float


@dataclass(frozen=True, slots=True)
class Stop(Message[int]):
    """Stop what is `owner`'s, everything where None; the answer is how many were stopped."""

    owner: OwnerId | None
    seats: tuple[SeatId, ...] | None
    asked_ms: float


@dataclass(frozen=True, slots=True)
class Panic(Message[int]):
    """Stop everything and refuse cues; the answer is how many sprays were stopped."""

    asked_ms: float


@dataclass(frozen=True, slots=True)
class EndPanic(Message[None]):
    """Take cues again."""


@dataclass(frozen=True, slots=True)
class Hush(Message[int]):
    """An owner is gone without a word: stop its sprays, hold its waiting cues."""

    owner: OwnerId


@dataclass(frozen=True, slots=True)
class WelcomeBack(Message[None]):
    """An owner has come back in time."""

    owner: OwnerId


@dataclass(frozen=True, slots=True)
class Forget(Message[None]):
    """An owner has left for good."""

    owner: OwnerId


@dataclass(frozen=True, slots=True)
class TakePlace(Message[bool]):
    """Seat goggles, with slots of their own or for any scent; False where there is no room."""

    seat: SeatId
    slots: tuple[Slot, ...] | None


@dataclass(frozen=True, slots=True)
class LeavePlace(Message[None]):
    """Goggles have gone."""

    seat: SeatId


@dataclass(frozen=True, slots=True)
class Connected(Message[None]):
    """A seat's dispenser can be reached, or no longer."""

    seat: SeatId
    online: bool


@dataclass(frozen=True, slots=True)
class Stuck(Message[None]):
    """A slot of a seat's dispenser does not close although it was told to, or closes again."""

    seat: SeatId
    stuck: bool


@dataclass(frozen=True, slots=True)
class Suspect(Message[None]):
    """A device that calls itself a seat's could not prove that it is."""

    seat: SeatId


@dataclass(frozen=True, slots=True)
class SetSeat(Message[SeatSettings | None]):
    """Set something for a seat: in effect, and handed to the ledger, when it is answered.

    The answer is all that is set there; None where nobody knows the seat.
    """

    seat: SeatId
    change: SeatChange


@dataclass(frozen=True, slots=True)
class ReadSeats(Message[tuple[SeatSettings | None, ...]]):
    """Look at what is set for each of these seats; None where nobody knows it."""

    seats: tuple[SeatId, ...]


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What is known of a seat's device, and of the link to it, beyond what is decided on."""

    latency_ms: float | None = None
    """From an order to the end of its write, smoothed; None before the first."""
    battery_percent: int | None = None
    firmware: str | None = None
    expired: int = 0
    """How many sprays were dropped since they had waited beyond their time to live."""
    problem: str | None = None
    """Why the device cannot be reached, and what to do."""


@dataclass(frozen=True, slots=True)
class SlotsHeard(Message[None]):
    """A seat's device says what is left in its slots, in micro-dose-seconds by number."""

    seat: SeatId
    left_us: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class NotTold(Message[None]):
    """Of a cue's seats, these have surely not been told: nothing left their vials."""

    cue: CueKey
    seats: tuple[SeatId, ...]


@dataclass(frozen=True, slots=True)
class PutVials(Message[None]):
    """Vials stand in their places now, as the stock has it; those that did already are left alone.

    Tell it in the urgent lane, so that it is never refused.
    """

    vials: tuple[SeatedVial, ...]


@dataclass(frozen=True, slots=True)
class TakeVials(Message[tuple[SeatedVial, ...]]):
    """Take the vials out of some slots, closing first what runs there.

    The answer is those vials with what is left in each; slots without one are not in it.
    """

    places: tuple[tuple[SeatId, int], ...]


@dataclass(frozen=True, slots=True)
class SetRefill(Message[None]):
    """This is what has become of the refill of a scent."""

    scent: Scent
    refill: Refill


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a zone's seats as they are at a revision, with their devices where there are any.

    `pages` is how many pages there are. Supply and refills are the whole zone's.
    """

    revision: int
    pages: int
    seats: tuple[tuple[Seat, DeviceState | None], ...]
    supply: tuple[ScentSupply, ...] = ()
    refills: tuple[Refill, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is to tell of a zone: what decides how much of it fits in a page.

    `slots` are those of the seat that has most, `vial_name` the characters of the longest SKU or
    batch of a vial here.
    """

    slots: int
    vial_name: int
    supply: tuple[ScentSupply, ...]
    refills: tuple[Refill, ...]


@dataclass(frozen=True, slots=True)
class ReadPage(Message[Page]):
    """Look at one page of the zone, counted from 1; beyond the last one there are no seats.

    `seats_per_page` is called in the zone's turn.
    """

    page: int
    seats_per_page: Callable[[Contents], int]


ZoneMessage = (
    TakeCue
    | SetLevel
    | CancelCue
    | Stop
    | Panic
    | EndPanic
    | Hush
    | WelcomeBack
    | Forget
    | TakePlace
    | LeavePlace
    | Connected
    | Stuck
    | Suspect
    | SlotsHeard
    | NotTold
    | PutVials
    | TakeVials
    | SetRefill
    | SetSeat
    | ReadSeats
    | ReadPage
)

"""What has happened, in the past tense: in a zone, and in the stock room.

Public events of a zone carry its revision, which goes up by one with each of them. `seats` is None
where every seat of the zone is meant.

The events of the stock tell every change of a product, so that what has to be stored can be told
from them alone.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from scentrt.domain.cues import CueKey, LevelKey, Scent, SeatId, ZoneId
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import SeatedVial, Whereabouts


class Ended(StrEnum):
    """Why a release ended before its duration."""

    CANCELLED = "cancelled"
    STOPPED = "stopped"
    PANIC = "panic"
    DISPLACED = "displaced"
    CLIENT_GONE = "client-gone"
    RESTARTED = "restarted"
    VIAL_CHANGED = "vial-changed"
    NOT_SPRAYED = "not-sprayed"


class Change(StrEnum):
    """What a zone, one of its seats, or what there is of a scent has become."""

    SEAT_ONLINE = "seat-online"
    SEAT_OFFLINE = "seat-offline"
    SEAT_STUCK = "seat-stuck"
    SEAT_LOOSE = "seat-loose"
    SEAT_IMPOSTOR = "seat-impostor"
    SEAT_CHANGED = "seat-changed"
    PANICKED = "panicked"
    RELEASED = "released"
    RESTARTED = "restarted"
    VIALS_LOADED = "vials-loaded"
    VIALS_UNLOADED = "vials-unloaded"
    VIAL_DISAGREES = "vial-disagrees"
    VIAL_AGREES = "vial-agrees"
    SUPPLY_LOW = "supply-low"
    SUPPLY_RESTORED = "supply-restored"
    REFILL_WANTED = "refill-wanted"
    REFILL_ORDERED = "refill-ordered"
    REFILL_OUT_OF_STOCK = "refill-out-of-stock"
    REFILL_MET = "refill-met"
    REFILL_CANCELLED = "refill-cancelled"


class ScentReleased(NamedTuple):
    """A cue was dispatched to these seats."""

    zone: ZoneId
    revision: int
    cue: CueKey
    scent: Scent
    intensity: float
    duration_ms: float
    seats: tuple[SeatId, ...] | None
    at_ms: float


class ScentEnded(NamedTuple):
    """A cue ended at these seats before its duration."""

    zone: ZoneId
    revision: int
    cue: CueKey
    scent: Scent
    seats: tuple[SeatId, ...] | None
    reason: Ended


@dataclass(frozen=True, slots=True)
class ScentLevelled:
    """A level has another intensity than before; 0 when it ended."""

    zone: ZoneId
    revision: int
    scent: Scent
    intensity: float
    ttl_ms: float
    seats: tuple[SeatId, ...] | None
    at_ms: float


@dataclass(frozen=True, slots=True)
class ZoneChanged:
    """The zone, or the one seat named, has become something else; or what it has of a scent."""

    zone: ZoneId
    revision: int
    change: Change
    seat: SeatId | None
    at_ms: float
    scent: Scent | None = None


PublicEvent = ScentReleased | ScentEnded | ScentLevelled | ZoneChanged


class CueDispatched(NamedTuple):
    """A cue's sprays go out now, or after the delays of their seats.

    For its owner: `targets` seats, `late_ms` after it was due.
    """

    cue: CueKey
    targets: int
    at_ms: float
    late_ms: float


@dataclass(frozen=True, slots=True)
class SpraysDropped:
    """Of a cue that was dispatched, some sprays that were still to come will not. For its owner.

    `withdrawn` were taken back, `failed` are at seats that cannot be reached now, and `expired` had
    become too late.
    """

    cue: CueKey
    withdrawn: int
    failed: int
    expired: int


@dataclass(frozen=True, slots=True)
class CueExpired:
    """A cue was dropped because its time to live had passed. For its owner."""

    cue: CueKey
    targets: int
    late_ms: float


ACTIVE, ENDED = "active", "ended"


@dataclass(frozen=True, slots=True)
class LevelChanged:
    """What becomes of a level has changed: `ACTIVE`, the reason why not, or `ENDED`."""

    level: LevelKey
    state: str


OwnersEvent = CueDispatched | SpraysDropped | CueExpired | LevelChanged
Event = PublicEvent | OwnersEvent


@dataclass(frozen=True, slots=True)
class Allocated:
    """A line was allocated to a batch."""

    orderid: OrderId
    sku: Sku
    qty: int
    batchref: BatchRef


@dataclass(frozen=True, slots=True)
class Deallocated:
    """A line was displaced from its batch, and needs another place."""

    orderid: OrderId
    sku: Sku
    qty: int
    batchref: BatchRef


@dataclass(frozen=True, slots=True)
class OutOfStock:
    """A line was asked for that no batch has room for."""

    sku: Sku


@dataclass(frozen=True, slots=True)
class BackOrdered:
    """A line waits for stock now."""

    orderid: OrderId
    sku: Sku
    qty: int


@dataclass(frozen=True, slots=True)
class BackOrderFilled:
    """A line waits no more: there is stock for it. `Allocated` follows."""

    orderid: OrderId
    sku: Sku
    qty: int
    batchref: BatchRef


@dataclass(frozen=True, slots=True)
class LineCancelled:
    """A line was given up, from a batch or, where `batchref` is None, from the back-orders."""

    orderid: OrderId
    sku: Sku
    qty: int
    batchref: BatchRef | None


@dataclass(frozen=True, slots=True)
class BatchCreated:
    """A batch was made known."""

    ref: BatchRef
    sku: Sku
    qty: int
    eta: date | None


@dataclass(frozen=True, slots=True)
class BatchQuantityChanged:
    """A batch has another quantity; the lines that no longer fit were deallocated before."""

    ref: BatchRef
    sku: Sku
    qty: int


@dataclass(frozen=True, slots=True)
class BatchShrinking:
    """A batch is on its way to a lower quantity: so many for now, more lines have to go."""

    ref: BatchRef
    sku: Sku
    qty: int


@dataclass(frozen=True, slots=True)
class BatchRescheduled:
    """A batch arrives at another time, or where `eta` is None, has arrived."""

    ref: BatchRef
    sku: Sku
    eta: date | None


@dataclass(frozen=True, slots=True)
class VialsLoaded:
    """Vials of a line were put into slots of a zone; new ones, or ones that had come back."""

    orderid: OrderId
    sku: Sku
    batchref: BatchRef
    vials: tuple[SeatedVial, ...]


@dataclass(frozen=True, slots=True)
class VialsUnloaded:
    """Vials of a line have left their slots, `to` the stock room or the bin."""

    orderid: OrderId
    sku: Sku
    batchref: BatchRef
    vials: tuple[SeatedVial, ...]
    to: Whereabouts


StockEvent = (
    Allocated
    | Deallocated
    | OutOfStock
    | BackOrdered
    | BackOrderFilled
    | LineCancelled
    | BatchCreated
    | BatchQuantityChanged
    | BatchShrinking
    | BatchRescheduled
    | VialsLoaded
    | VialsUnloaded
)

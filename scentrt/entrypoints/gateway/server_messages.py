"""What the server says, as types: replies, events, and what it tells goggles that dispense.

A field that is None is written as null, one that is UNSET is left out. Nothing is validated here:
only what was decided inside gets this far.
"""

from enum import StrEnum
from typing import Final, Literal, NewType

from msgspec import UNSET, Struct, UnsetType

from scentrt.domain.events import Change, Ended
from scentrt.domain.refills import RefillStatus
from scentrt.domain.seats import Skip
from scentrt.domain.vials import Whereabouts
from scentrt.entrypoints.gateway.messages import To

PROTOCOL: Final = 1

SubscriptionId = NewType("SubscriptionId", str)

ErrorCode = Literal[
    "bad-message",
    "unknown-type",
    "not-authenticated",
    "forbidden",
    "unknown-zone",
    "unknown-seat",
    "unknown-goggles",
    "unknown-scent",
    "unknown-cue",
    "too-late",
    "rate-limited",
    "busy",
    "panic",
    "protocol-version",
    "internal",
]


class _Outgoing(Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """What the server says; a field that is None is written as null."""


class _Reply(_Outgoing, frozen=True, kw_only=True):
    """The answer to the request whose id is `re`."""

    re: str | int


class ZoneInfo(Struct, frozen=True, kw_only=True, gc=False):
    """A zone, to a newcomer."""

    zone: str
    seats: int
    scents: tuple[str, ...]


class Welcome(_Reply, frozen=True, kw_only=True, tag="welcome"):
    """The session is open."""

    protocol: int = PROTOCOL
    server: str
    session: str
    server_time: float
    max_silence_ms: int
    zones: tuple[ZoneInfo, ...]


class Pong(_Reply, frozen=True, kw_only=True, tag="pong"):
    """The server's clock: `t1` when the ping was received, `t2` when this was sent."""

    t0: float
    t1: float
    t2: float


class Accepted(_Reply, frozen=True, kw_only=True, tag="accepted"):
    """What the zones decided on a cue; `skipped` counts targets by reason."""

    due: float
    targets: int
    skipped: dict[Skip, int]
    duplicate: bool


class Report(_Outgoing, frozen=True, kw_only=True, tag="report"):
    """What became of a cue; the times are None where nothing was written."""

    cue: str | int
    written: int
    failed: int
    expired: int
    lateness_ms: float | None
    first_ms: float | None
    last_ms: float | None


class Cancelled(_Reply, frozen=True, kw_only=True, tag="cancelled"):
    """A cue was taken back; `stopped` sprays ran already, or waited."""

    cue: str | int
    stopped: int


class LevelState(_Outgoing, frozen=True, kw_only=True, tag="level-state"):
    """What becomes of a level has changed: `active`, `ended`, or why it does nothing."""

    scent: str
    to: To
    state: str


class Stopped(_Reply, frozen=True, kw_only=True, tag="stopped"):
    """So many sprays were stopped."""

    stopped: int


class Panicked(_Reply, frozen=True, kw_only=True, tag="panicked"):
    """Everything was stopped, and stays so."""

    stopped: int


class Released(_Reply, frozen=True, kw_only=True, tag="released"):
    """The panic is over."""


class Subscribed(_Reply, frozen=True, kw_only=True, tag="subscribed"):
    """Events follow."""

    subscription: SubscriptionId


class Unsubscribed(_Reply, frozen=True, kw_only=True, tag="unsubscribed"):
    """No events follow."""

    subscription: SubscriptionId


class SlotState(Struct, frozen=True, kw_only=True, gc=False):
    """A slot; without a vial in it that we know of, the three that tell of it are None.

    `reported_s` is what its device says is left, only where it has said so.
    """

    slot: int
    scent: str
    sku: str | None
    batchref: str | None
    remaining_s: float | None
    reported_s: float | UnsetType = UNSET


class DeviceState(Struct, frozen=True, kw_only=True, gc=False):
    """A seat's device and the link to it; what has not been heard of yet is None."""

    latency_ms: float | None
    battery_percent: int | None
    firmware: str | None
    expired: int
    problem: str | None


class SeatState(Struct, frozen=True, kw_only=True, gc=False):
    """A seat as it stands; `stuck` only where it is, `device` only where there is one.

    Of what is set for it, `averse_to`, `gain` and `delay_ms` only where they are not as usual.
    """

    seat: str
    online: bool
    opted_out: bool
    stuck: bool | UnsetType = UNSET
    averse_to: tuple[str, ...] | UnsetType = UNSET
    gain: float | UnsetType = UNSET
    delay_ms: float | UnsetType = UNSET
    device: DeviceState | UnsetType = UNSET
    slots: tuple[SlotState, ...]


class SupplyState(Struct, frozen=True, kw_only=True, gc=False):
    """What there is of a scent in all the vials of a zone, of which `low` are low."""

    scent: str
    remaining_s: float
    capacity_s: float
    vials: int
    low: int


class RefillState(Struct, frozen=True, kw_only=True, gc=False):
    """What a zone has ordered by itself; batch and ETA (an ISO date) as far as they are known."""

    scent: str
    sku: str
    orderid: str
    qty: int
    status: RefillStatus
    batchref: str | None
    eta: str | None


class State(_Reply, frozen=True, kw_only=True, tag="state"):
    """One page of a zone as it was at `revision`; supply and refills where there are any.

    `…_left_out` is how many there are that did not fit, where that is so.
    """

    zone: str
    revision: int
    page: int
    pages: int
    supply: tuple[SupplyState, ...] | UnsetType = UNSET
    supply_left_out: int | UnsetType = UNSET
    refills: tuple[RefillState, ...] | UnsetType = UNSET
    refills_left_out: int | UnsetType = UNSET
    seats: tuple[SeatState, ...]


class Error(_Outgoing, frozen=True, kw_only=True, tag="error"):
    """A request failed and changed nothing; `re` is left out where its id could not be read."""

    re: str | int | UnsetType = UNSET
    code: ErrorCode
    message: str
    retryable: bool = False
    retry_after_ms: float | UnsetType = UNSET


class ScentReleased(_Outgoing, frozen=True, kw_only=True, tag="scent"):
    """A scent is being released at `seats`; None is every seat of the zone."""

    zone: str
    revision: int
    cue: str | int
    scent: str
    intensity: float
    duration_ms: float
    seats: tuple[str, ...] | None
    at: float


class ScentEnded(_Outgoing, frozen=True, kw_only=True, tag="scent-end"):
    """A release ended before its time."""

    zone: str
    revision: int
    cue: str | int
    scent: str
    seats: tuple[str, ...] | None
    reason: Ended


class ScentLevelled(_Outgoing, frozen=True, kw_only=True, tag="scent-level"):
    """A level is held at `seats`, until a newer one or for `ttl_ms`."""

    zone: str
    revision: int
    scent: str
    intensity: float
    ttl_ms: float
    seats: tuple[str, ...] | None
    at: float


class ZoneChanged(_Outgoing, frozen=True, kw_only=True, tag="zone"):
    """A zone, one seat of it, or what it has of a scent, has changed."""

    zone: str
    revision: int
    change: Change
    seat: str | None
    at: float
    scent: str | UnsetType = UNSET


class StockChange(StrEnum):
    """What has happened in the stock."""

    ALLOCATED = "allocated"
    DEALLOCATED = "deallocated"
    OUT_OF_STOCK = "out-of-stock"
    BACK_ORDERED = "back-ordered"
    BACK_ORDER_FILLED = "back-order-filled"
    LINE_CANCELLED = "line-cancelled"
    BATCH_CREATED = "batch-created"
    BATCH_QUANTITY_CHANGED = "batch-quantity-changed"
    BATCH_RESCHEDULED = "batch-rescheduled"
    VIALS_LOADED = "vials-loaded"
    VIALS_UNLOADED = "vials-unloaded"


class StockChanged(_Outgoing, frozen=True, kw_only=True, tag="stock"):
    """Something of a product is on disk; what does not apply to the change is left out."""

    change: StockChange
    sku: str
    orderid: str | UnsetType = UNSET
    qty: int | UnsetType = UNSET
    batchref: str | UnsetType = UNSET
    eta: str | UnsetType | None = UNSET
    zone: str | UnsetType = UNSET
    to: Whereabouts | UnsetType = UNSET
    at: float


class SpraySlot(_Outgoing, frozen=True, kw_only=True, tag="spray"):
    """Open a slot for so long, then close it unasked."""

    cue: str | int
    slot: int
    intensity: float
    duration_ms: float


class LevelSlot(_Outgoing, frozen=True, kw_only=True, tag="level"):
    """Hold a slot at an intensity, until a newer one or for `ttl_ms`."""

    slot: int
    intensity: float
    ttl_ms: float


class StopSlot(_Outgoing, frozen=True, kw_only=True, tag="stop"):
    """Close a slot now; None is all of them."""

    slot: int | None


ServerMessage = (
    Welcome
    | Pong
    | Accepted
    | Report
    | Cancelled
    | LevelState
    | Stopped
    | Panicked
    | Released
    | Subscribed
    | Unsubscribed
    | State
    | Error
    | ScentReleased
    | ScentEnded
    | ScentLevelled
    | ZoneChanged
    | StockChanged
    | SpraySlot
    | LevelSlot
    | StopSlot
)

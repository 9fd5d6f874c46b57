"""What clients say, as types; what the server says is in `server_messages`.

A message that could be built from a frame keeps every limit written here; the `description` beside
a limit is the same in words, for whoever is told that his message broke it. Optional fields whose
default is None may be null as well as left out. Limits that are configuration (the longest spray)
or need a look at the world (does the zone exist?) are not here.

Numbers: each has a lower and an upper bound, and thereby refuses NaN, which no comparison accepts.
"""

from typing import Annotated, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from scentrt.domain.cues import DEFAULT_PRIORITY, SeatId, Target, ZoneId

Id = Annotated[
    Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
    # What every JSON library keeps exact: the integers of a double.
    | Annotated[int, Meta(ge=-(2**53 - 1), le=2**53 - 1)],
    Meta(description="1 to 64 of A-Za-z0-9._:- or an integer within ±(2^53 - 1)"),
]
LONGEST_NAME, LONGEST_SCENT = 128, 64
N = TypeVar("N", bound=str)

NameOf = Annotated[
    N, Meta(min_length=1, max_length=LONGEST_NAME, description="a string of 1 to 128 characters")
]
Name = NameOf[str]
Names = Annotated[
    tuple[NameOf[N], ...],
    Meta(min_length=1, max_length=10_000, description="a list of 1 to 10,000 strings"),
]
# It goes to logs and consoles as it is.
DisplayName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_NAME,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z",
        description="a string of 1 to 128 characters without control characters",
    ),
]
ScentName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_SCENT,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z",
        description="a string of 1 to 64 characters without control characters",
    ),
]
Flag = Annotated[bool, Meta(description="true or false")]
Intensity = Annotated[float, Meta(gt=0, le=1, description="a number above 0, to 1")]
LevelIntensity = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Moment = Annotated[float, Meta(ge=-1e15, le=1e15, description="a number of milliseconds")]
Duration = Annotated[float, Meta(ge=1, le=1e15, description="a number of milliseconds, at least 1")]
CueTtl = Annotated[
    float, Meta(ge=1, le=86_400_000, description="a number of milliseconds from 1 to 86,400,000")
]
LevelTtl = Annotated[
    float, Meta(ge=1, le=10_000, description="a number of milliseconds from 1 to 10,000")
]
Priority = Annotated[int, Meta(ge=0, le=9, description="an integer from 0 to 9")]
SlotNumber = Annotated[int, Meta(ge=0, le=255, description="an integer from 0 to 255")]
PageNumber = Annotated[int, Meta(ge=1, le=1_000_000, description="an integer from 1 to 1,000,000")]
Seconds = Annotated[
    float, Meta(ge=0, le=1e9, description="a number of seconds from 0 to 1,000,000,000")
]
Role = Literal["engine", "goggles", "operator"]
EventKind = Literal["scent", "zone", "stock", "level"]


# `gc=False` everywhere: nothing in a message can refer back to it, so the garbage collector need
# not look at thousands of them a second.


class To(
    Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, omit_defaults=True
):
    """Whom something is for: exactly one of the four is there."""

    all: Annotated[bool, Meta(description="true")] | UnsetType = UNSET
    zones: Names[ZoneId] = ()
    seats: Names[SeatId] = ()
    goggles: Names[SeatId] = ()

    def __post_init__(self) -> None:
        left_out = (self.all is UNSET) + (not self.zones) + (not self.seats) + (not self.goggles)
        if left_out != 3 or self.all is False:
            raise ValueError("exactly one of all (which is true), zones, seats, goggles")

    def target(self) -> Target:
        """Return the same for the domain, each name once, in the order of their first mention."""
        return Target(
            self.all is True,
            tuple(dict.fromkeys(self.zones)),
            tuple(dict.fromkeys(self.seats)),
            tuple(dict.fromkeys(self.goggles)),
        )

    @classmethod
    def of(cls, target: Target) -> "To":
        """Return a target as it is written on the wire."""
        return cls(
            all=True if target.all else UNSET,
            zones=target.zones,
            seats=target.seats,
            goggles=target.goggles,
        )


Recipients = Annotated[
    To, Meta(description="an object with exactly one of all (which is true), zones, seats, goggles")
]


class DispenserSlot(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A slot of goggles that dispense; without `remaining_s` they cannot tell what is left."""

    slot: SlotNumber
    scent: ScentName
    remaining_s: Seconds | None = None


class Dispenser(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """What goggles have to dispense with, each slot once."""

    slots: Annotated[
        tuple[
            Annotated[DispenserSlot, Meta(description="an object with slot, scent, remaining_s")],
            ...,
        ],
        # So many fit, with the longest of names, in one frame of state.
        Meta(min_length=1, max_length=64, description="a list of 1 to 64 slots"),
    ]

    def __post_init__(self) -> None:
        if len({slot.slot for slot in self.slots}) != len(self.slots):
            raise ValueError("each slot once")


class _Incoming(
    Struct, frozen=True, kw_only=True, gc=False, tag_field="type", forbid_unknown_fields=True
):
    """What a client says."""


class _Request(_Incoming, frozen=True, kw_only=True):
    """What a client says and wants answered."""

    id: Id


class Hello(_Request, frozen=True, kw_only=True, tag="hello"):
    """Open a session, or take one up again."""

    protocol: Annotated[Literal[1], Meta(description="the integer 1")]
    role: Annotated[Role, Meta(description="engine, goggles or operator")]
    name: DisplayName
    token: Annotated[str, Meta(description="a string")] | None = (
        None  # however long: it is right or wrong
    )
    resume: Name | None = None
    dispenser: (
        Annotated[
            Dispenser, Meta(description="an object with slots, each slot number in it only once")
        ]
        | None
    ) = None


class Ping(_Request, frozen=True, kw_only=True, tag="ping"):
    """Ask for the server's clock."""

    t0: Moment


class SendCue(_Request, frozen=True, kw_only=True, tag="cue"):
    """Release a scent once, at `at` or now."""

    scent: Name
    intensity: Intensity
    duration_ms: Duration
    to: Recipients
    at: Moment | None = None
    ttl_ms: CueTtl = 500.0
    priority: Priority = DEFAULT_PRIORITY
    mix: Flag = False
    report: Flag = False


class CancelCue(_Request, frozen=True, kw_only=True, tag="cancel"):
    """Take back a cue of one's own."""

    cue: Id


class SetLevel(_Incoming, frozen=True, kw_only=True, tag="level"):
    """Hold a scent at an intensity for `ttl_ms`; never answered."""

    scent: Name
    intensity: LevelIntensity
    to: Recipients
    ttl_ms: LevelTtl = 500.0


class Stop(_Request, frozen=True, kw_only=True, tag="stop"):
    """Stop what is one's own (an operator: everything), everywhere or at `to`."""

    to: Recipients | None = None


class Panic(_Request, frozen=True, kw_only=True, tag="panic"):
    """Stop everything, and refuse cues until released."""


class Release(_Request, frozen=True, kw_only=True, tag="release"):
    """End a panic."""


class Subscribe(_Request, frozen=True, kw_only=True, tag="subscribe"):
    """Be told of events; a filter that is None lets everything through."""

    events: Annotated[
        tuple[Annotated[EventKind, Meta(description="scent, zone, stock or level")], ...],
        Meta(min_length=1, max_length=16, description="a list of scent, zone, stock, level"),
    ]
    zones: Names[str] | None = None
    seats: Names[str] | None = None
    scents: Names[str] | None = None


class Unsubscribe(_Request, frozen=True, kw_only=True, tag="unsubscribe"):
    """Be told no longer."""

    subscription: Name


class ReadState(_Request, frozen=True, kw_only=True, tag="state"):
    """Ask for one page, counted from 1, of a zone's seats."""

    zone: Name
    page: PageNumber = 1


class Sprayed(_Incoming, frozen=True, kw_only=True, tag="sprayed"):
    """What became of a spray that goggles were told."""

    cue: Id
    ok: Flag


ClientMessage = (
    Hello
    | Ping
    | SendCue
    | CancelCue
    | SetLevel
    | Stop
    | Panic
    | Release
    | Subscribe
    | Unsubscribe
    | ReadState
    | Sprayed
)

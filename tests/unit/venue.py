"""A zone with dispensers, small enough to tell a story about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from scentrt.domain.cues import (
    EVERYWHERE,
    Cue,
    CueKey,
    Level,
    LevelKey,
    OwnerId,
    Scent,
    SeatId,
    Target,
    ZoneId,
)
from scentrt.domain.decisions import Accepted, Order, Verdict
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.events import Event
from scentrt.domain.layout import ZonePlan
from scentrt.domain.seats import Seat, Vial
from scentrt.domain.theatre import Zone
from tests.unit.devices import Devices
from tests.vials import CATALOGUE

NOON = 1_764_000_000_000.0
"""When these stories begin, on a whole minute as the server's clock counts."""

SEA, PINE, TAR = Scent("sea-breeze"), Scent("pine"), Scent("tar")
GAME, FILM = OwnerId("s-game"), OwnerId("s-film")
A1, A2, A3 = SeatId("A-1-1"), SeatId("A-1-2"), SeatId("A-1-3")

E = TypeVar("E")


def limits(*, minute_s: float = 20, hour_s: float = 300, clearing_ms: float = 2_000) -> Limits:
    """Return limits in dose-seconds."""
    return Limits(round(minute_s * US_PER_S), round(hour_s * US_PER_S), clearing_ms)


def key(id: str | int, owner: OwnerId = GAME) -> CueKey:
    """Name a cue."""
    return CueKey(owner, id)


class Venue:
    """A row of seats that are equipped alike, at a moment, `now`, in milliseconds after noon.

    What the zone orders is done at once by its dispensers, `devices`, and noted in `orders`.
    """

    def __init__(
        self, *scents: Scent, seats: int = 1, limits: Limits | None = None, zone: Zone | None = None
    ) -> None:
        limits = limits or Limits()
        row = ZonePlan(ZoneId("A"), 1, seats, scents).seats(limits, online=True)
        self.zone = zone or Zone(ZoneId("A"), row, limits, catalogue=CATALOGUE)
        self.devices = Devices()
        self.now = 0.0
        self.orders: list[Order] = []
        self._events: list[Event] = []

    # Time

    def at(self, now: float) -> None:
        """Let time pass."""
        assert now >= self.now
        self.now = now
        with self.acting():
            self.zone.advance(self.clock)

    @property
    def clock(self) -> float:
        """The time of the server's clock."""
        return NOON + self.now

    # What is asked

    def cue(
        self,
        id: str | int = "c",
        scent: Scent = SEA,
        *,
        by: OwnerId = GAME,
        intensity: float = 1.0,
        lasts: float = 1_000,
        due: float | None = None,
        ttl: float = 500,
        asked: float | None = None,
        to: tuple[SeatId, ...] | None = None,
        priority: int = 5,
        mix: bool = False,
    ) -> Verdict:
        """Ask for a cue: now, if nothing is said of when."""
        asked = self.now if asked is None else asked
        cue = Cue(
            key=CueKey(by, id),
            scent=scent,
            intensity=intensity,
            duration_ms=lasts,
            due_ms=NOON + (self.now if due is None else due),
            ttl_ms=ttl,
            asked_ms=NOON + asked,
            seats=to,
            priority=priority,
            mix=mix,
        )
        with self.acting():
            return self.zone.accept(cue, self.clock)

    def level(
        self,
        intensity: float,
        scent: Scent = SEA,
        *,
        by: OwnerId = GAME,
        target: Target = EVERYWHERE,
        ttl: float = 500,
        asked: float | None = None,
        to: tuple[SeatId, ...] | None = None,
    ) -> None:
        """Set a level."""
        asked = self.now if asked is None else asked
        level = Level(LevelKey(by, scent, target), intensity, NOON + asked, ttl, to)
        with self.acting():
            self.zone.level(level, self.clock)

    def cancel(
        self, id: str | int, *, by: OwnerId = GAME, asked: float | None = None
    ) -> int | None:
        """Cancel a cue; None where the zone knows none of this name."""
        asked = self.now if asked is None else asked
        with self.acting():
            return self.zone.cancel(CueKey(by, id), NOON + asked, self.clock)

    def stop(
        self,
        by: OwnerId | None = None,
        to: tuple[SeatId, ...] | None = None,
        *,
        asked: float | None = None,
    ) -> int:
        """Stop what is somebody's, everything where nobody is named."""
        asked = self.now if asked is None else asked
        with self.acting():
            return self.zone.stop(by, to, NOON + asked, self.clock)

    def panic(self, *, asked: float | None = None) -> int:
        """Call a panic."""
        asked = self.now if asked is None else asked
        with self.acting():
            return self.zone.panic(NOON + asked, self.clock)

    def connect(self, seat: SeatId, *, online: bool) -> None:
        """Lose the link to a dispenser, or find it again."""
        if online:
            self.devices.find(seat, self.clock)
        else:
            self.devices.lose(seat)
        with self.acting():
            self.zone.connect(seat, self.clock, online=online)

    def stick(self, seat: SeatId, *, stuck: bool) -> None:
        """Hear from a device that a slot of it does not close, or that all do again."""
        with self.acting():
            self.zone.stick(seat, self.clock, stuck=stuck)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Do what the zone has decided meanwhile."""
        yield
        effects = self.zone.take_effects()
        self.orders += effects.orders
        self.devices.obey(effects.orders, self.clock)
        self._events += effects.events

    # What is seen

    def heard(self, kind: type[E]) -> list[E]:
        """Return the events of a kind that nobody has heard yet."""
        heard: list[E] = [event for event in self._events if isinstance(event, kind)]
        self._events = [event for event in self._events if not isinstance(event, kind)]
        return heard

    def open(self) -> dict[tuple[SeatId, int], float]:
        """Return the intensity of what is open, by seat and slot."""
        return {place: b.intensity for place, b in self.devices.open(self.clock).items()}

    def seat(self, id: SeatId = A1) -> Seat:
        """Return a seat."""
        seat = self.zone.seat(id)
        assert seat is not None
        return seat

    def load(self, slot: int, left_s: float, seat: SeatId = A1) -> Vial:
        """Put a vial with so many dose-seconds into a slot."""
        vial = Vial(round(left_s * US_PER_S))
        self.seat(seat).slots[slot].vial = vial
        return vial


def targets(verdict: Verdict) -> int:
    """Return how many seats a cue that was accepted reaches."""
    assert isinstance(verdict, Accepted)
    return verdict.targets


def skipped(verdict: Verdict) -> dict[str, int]:
    """Return how many seats a cue that was accepted leaves out, by reason."""
    assert isinstance(verdict, Accepted)
    return {str(reason): count for reason, count in verdict.skipped.items()}

"""A slot: a place in a dispenser, the vial that stands there, and what it releases."""

from dataclasses import dataclass, field

from scentrt.domain.cues import LevelKey, Scent
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.runs import Run
from scentrt.domain.vials import VialId

NEVER = float("-inf")

UNHEARD_MS = 3_000.0
"""How long before a link is lost its dispenser may have heard no more: finding that out takes 2 s,
and telling the zone of it a little longer."""


@dataclass(slots=True)
class Vial:
    """A cartridge: how much is left in it, and where it came from (None where nobody said).

    `left_us` is what will be left when what runs has ended. Without an `id` it is not one of ours:
    goggles brought it along. `changed` is where it notes its id whenever what is left changes.
    """

    left_us: int
    sku: Sku | None = None
    batchref: BatchRef | None = None
    id: VialId | None = None
    capacity_us: int | None = None
    changed: set[VialId] | None = None

    def give(self, us: int) -> None:
        """Take so much out of it; less than nothing comes back."""
        self.left_us -= us
        if self.changed is not None and self.id is not None:
            self.changed.add(self.id)


@dataclass(slots=True, eq=False)
class Slot:
    """A place in a dispenser. Without a vial that anybody loaded it counts as never empty.

    It has one scent for as long as it lasts: see `Seat.equip`.
    """

    number: int
    scent: Scent
    vial: Vial | None = None
    run: Run | None = None
    until_ms: float = NEVER
    """When its last release ended, or the present one will."""
    before_ms: float | None = None
    """While it is kept for a release that has not begun: when the one before that ended."""
    parts: dict[LevelKey, tuple[float, float]] = field(default_factory=dict)
    """The levels that are mixed here: intensity and end of each."""
    saved: list[tuple[float, int, float]] = field(default_factory=list)
    """What closing early has saved of late, the most first: when, how much, and until when it would
    have gone on."""
    reported_us: int | None = None
    """What the device itself says is left here; None where it has said nothing of this vial."""

    @property
    def is_loaded(self) -> bool:
        """Whether one of our vials stands here."""
        return self.vial is not None and self.vial.id is not None

    @property
    def is_kept(self) -> bool:
        """Whether it is kept for a release that has not begun, so that nothing has left it."""
        return self.before_ms is not None

    def running(self, now_ms: float) -> Run | None:
        """Return the release for which this slot is open at `now_ms`, or kept, if it is."""
        return self.run if self.until_ms > now_ms or self.before_ms is not None else None

    def unreleased_us(self, now_ms: float) -> int:
        """Return what would be saved by closing now."""
        run = self.running(now_ms)
        if run is None:
            return 0
        return run.dose_us if self.is_kept else run.dose_us - run.released_us(now_ms)

    def is_short(self, dose: int, now_ms: float) -> bool:
        """Say whether the vial does not last for a release, what closing saves included."""
        left_us = self.left_us(now_ms)
        return left_us is not None and left_us < dose

    def left_us(self, now_ms: float) -> int | None:
        """Return what is in the vial at this moment; None where nobody has loaded one."""
        return None if self.vial is None else self.vial.left_us + self.unreleased_us(now_ms)

    def save(self, us: int, ends_ms: float, now_ms: float) -> None:
        """Note what closing now saves; of what was saved before, only more than that matters."""
        saved = [each for each in self.saved if each[0] >= now_ms - UNHEARD_MS]
        while saved and saved[-1][1] <= us:
            ends_ms = max(ends_ms, saved.pop()[2])
        self.saved = [*saved, (now_ms, us, ends_ms)]

    def mixed(self, now_ms: float, but_for: LevelKey) -> tuple[float, float]:
        """Return what the other levels give here, added up, and until when; drop what is over."""
        if not self.parts or (len(self.parts) == 1 and but_for in self.parts):
            return 0.0, NEVER
        self.parts = {k: part for k, part in self.parts.items() if part[1] > now_ms}
        others = [part for key, part in self.parts.items() if key != but_for]
        return sum(i for i, _ in others), max((end for _, end in others), default=NEVER)

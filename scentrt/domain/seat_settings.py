"""What is set for a seat: what whoever sits there wants, and how its dispenser is used."""

from dataclasses import dataclass
from typing import NamedTuple

from scentrt.domain.cues import Scent

LEAST_GAIN = 0.05
"""Less than that is hardly a smell: whoever wants none opts out."""

MOST_GAIN = 2.0
"""A dispenser that has to be told more than twice as much is defective, or its vial is."""

MOST_DELAY_MS = 2_000.0
"""What a near seat may wait for the air to reach a far one. A fan moves it about a metre a second,
and neighbours in one zone are not more than two metres nearer to theirs than others; a slot that is
kept for longer than the usual clearing time would have the seat miss the next scent."""

MOST_AVERSIONS = 16
"""Whoever cannot bear more scents than a dispenser has had better opt out."""


class Tuning(NamedTuple):
    """How much stronger, and how much later, a seat is sprayed than a cue says."""

    gain: float = 1.0
    delay_ms: float = 0.0

    def amplify(self, intensity: float) -> float:
        """Return how strong a release is here, full intensity at most."""
        return min(1.0, intensity * self.gain)


AS_ASKED = Tuning()


@dataclass(frozen=True, slots=True)
class SeatSettings:
    """What is set for one seat, and holds until it is set otherwise.

    `opted_out`: no scents at all. `averse_to`: none of these, as for an allergy. `gain`, from
    `LEAST_GAIN` to `MOST_GAIN`, multiplies every intensity; doses count after it. `delay_ms`, to
    `MOST_DELAY_MS`, is how much later than due a cue is sprayed, so that near and far seats smell
    at the same moment: the near ones wait. A level is not delayed, since it has no moment: it
    changes with every frame.
    """

    opted_out: bool = False
    averse_to: frozenset[Scent] = frozenset()
    gain: float = 1.0
    delay_ms: float = 0.0

    @property
    def tuning(self) -> Tuning | None:
        """How this seat is sprayed; None where it is as the cue says."""
        tuning = Tuning(self.gain, self.delay_ms)
        return None if tuning == AS_ASKED else tuning

    def refuses(self, scent: Scent) -> bool:
        """Say whether this scent must not be released here."""
        return self.opted_out or scent in self.averse_to


ORDINARY = SeatSettings()


@dataclass(frozen=True, slots=True)
class SeatChange:
    """What somebody has said for a seat; what is None nobody has, and it is as it was.

    As what is stored it is all that was ever said, the newest of each: the rest is as the theatre
    file has it, also after that has changed.
    """

    opted_out: bool | None = None
    averse_to: frozenset[Scent] | None = None
    gain: float | None = None
    delay_ms: float | None = None

    def of(self, settings: SeatSettings) -> SeatSettings:
        """Return what the settings become."""
        return SeatSettings(
            settings.opted_out if self.opted_out is None else self.opted_out,
            settings.averse_to if self.averse_to is None else self.averse_to,
            settings.gain if self.gain is None else self.gain,
            settings.delay_ms if self.delay_ms is None else self.delay_ms,
        )

    def after(self, former: "SeatChange") -> "SeatChange":
        """Return all that was said, with what was said before."""
        return SeatChange(
            former.opted_out if self.opted_out is None else self.opted_out,
            former.averse_to if self.averse_to is None else self.averse_to,
            former.gain if self.gain is None else self.gain,
            former.delay_ms if self.delay_ms is None else self.delay_ms,
        )


UNSAID = SeatChange()

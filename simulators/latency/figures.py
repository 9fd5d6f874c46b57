"""What was measured, and what it says: percentiles beside those of a reference, and goals.

Percentiles are HdrHistogram's, to three digits: the smallest value that so many do not exceed.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from statistics import median
from typing import Final, Literal, TypeAlias

from hdrh.histogram import HdrHistogram

Unit: TypeAlias = Literal["ms", "us", "s", "/s", "KiB", ""]
"""Of times in `ms` and `us` there are many in a round; of everything else there is one."""

Measure: TypeAlias = Literal["p50", "p99", "x p50", "x p99"]

_NS: Final[dict[str, float]] = {"ms": 1e6, "us": 1e3}
_LONGEST_NS = 60_000_000_000

PERCENTILES: Final = (
    *(float(percent) for percent in range(1, 90)),
    *(90 + tenth / 5 for tenth in range(45)),
    *(99 + hundredth / 50 for hundredth in range(45)),
    *(99.9, 99.95, 99.99, 100.0),
)
"""Where a distribution is told: the closer the nearer to its end, since that is where it hurts."""


class Histogram:
    """Times in one unit, each told to three digits."""

    def __init__(self, times: Sequence[float], unit: Unit) -> None:
        self._scale = _NS[unit]
        self._counts = HdrHistogram(1, _LONGEST_NS, 3)
        for each in times:
            # Nothing takes less than no time, though clocks of two processes may say so.
            self._counts.record_value(min(max(1, round(each * self._scale)), _LONGEST_NS))

    def at(self, percentiles: Sequence[float]) -> list[float]:
        """Return what so many percent of the times do not exceed."""
        # It tells them in ascending order, each of them once.
        found = self._counts.get_percentile_to_value_dict(sorted(set(percentiles)))
        return [found[percentile] / self._scale for percentile in percentiles]

    def encode(self) -> str:
        """Return it in HdrHistogram's own form, which its tools of any language read; in ns."""
        return str(self._counts.encode().decode())


@dataclass(frozen=True, slots=True)
class Goal:
    """How good a figure is to be: so much at most, or at least."""

    measure: Measure
    most: float | None = None
    least: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, and whether it is met."""

    measure: Measure
    goal: str
    value: float
    met: bool


@dataclass(frozen=True)
class Series:
    """The samples of one thing, by round, and what they are to be."""

    what: str
    unit: Unit
    rounds: Sequence[Sequence[float]]
    goals: Sequence[Goal] = ()
    effort: float | None = None
    """How much of a processor the load took itself, at most, where that was counted."""

    @property
    def is_timed(self) -> bool:
        """Whether it is a distribution of times, and not one figure for each round."""
        return self.unit in _NS

    @property
    def count(self) -> int:
        """How many samples there are."""
        return sum(map(len, self.rounds))

    @cached_property
    def histogram(self) -> Histogram:
        """All rounds together, of times."""
        return Histogram([sample for samples in self.rounds for sample in samples], self.unit)

    def at(self, percentiles: Sequence[float]) -> list[float]:
        """Return percentiles over all rounds, of times."""
        return self.histogram.at(percentiles)

    @cached_property
    def of_rounds(self) -> list[tuple[float, float]]:
        """The p50 and p99 of each round; of single figures, these."""
        if not self.is_timed:
            return [(figure, figure) for (figure,) in self.rounds]
        found = [Histogram(samples, self.unit).at((50, 99)) for samples in self.rounds]
        return [(p50, p99) for p50, p99 in found]


@dataclass(frozen=True, slots=True)
class Row:
    """What there is to say about a series; what makes no sense of it is None.

    `x_*` are its percentiles over those of the reference, and `spread_*` the least and the most
    that these are in single rounds, or the percentiles themselves where there is no reference: how
    far to trust them. `effort` is how much of a processor the load took itself, at most, where that
    was counted, and `histogram` HdrHistogram's own form, in ns.
    """

    bench: str
    what: str
    unit: Unit
    count: int
    p50: float
    p99: float | None = None
    max: float | None = None
    x_p50: float | None = None
    x_p99: float | None = None
    spread_p50: tuple[float, float] | None = None
    spread_p99: tuple[float, float] | None = None
    reference: bool = False
    verdicts: tuple[Verdict, ...] = ()
    effort: float | None = None
    histogram: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bench: some series, beside a reference that took turns with them, where there is one."""

    bench: str
    reference: Series | None
    subjects: Sequence[Series]

    @property
    def series(self) -> list[Series]:
        """The reference and the others."""
        return [*([] if self.reference is None else [self.reference]), *self.subjects]

    def rows(self) -> Iterator[Row]:
        """Yield a row for the reference, and then for each series."""
        for series in self.series:
            yield self._row(series)

    def _row(self, series: Series) -> Row:
        beside = None if series is self.reference else self.reference
        facts = _Facts(series, None if beside is None or not series.unit else beside)
        return Row(
            self.bench,
            series.what,
            series.unit,
            series.count,
            facts.p50,
            facts.p99,
            facts.most,
            facts.x_p50,
            facts.x_p99,
            *facts.spreads(),
            reference=series is self.reference,
            verdicts=tuple(map(facts.judge, series.goals)),
            effort=series.effort,
            histogram=series.histogram.encode() if series.is_timed else None,
        )


class _Facts:
    """The figures of one series."""

    def __init__(self, series: Series, beside: Series | None) -> None:
        self._series, self._beside = series, beside
        self.p50, self.p99, self.most = _percentiles(series)
        self.x_p50 = self.x_p99 = None
        if beside is not None:
            p50, p99, _ = _percentiles(beside)
            self.x_p50 = self.p50 / p50
            self.x_p99 = None if self.p99 is None or p99 is None else self.p99 / p99

    def spreads(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        ours = self._series.of_rounds
        theirs = [(1.0, 1.0)] * len(ours) if self._beside is None else self._beside.of_rounds
        p50s = [our[0] / their[0] for our, their in zip(ours, theirs, strict=True)]
        p99s = [our[1] / their[1] for our, their in zip(ours, theirs, strict=True)]
        return (min(p50s), max(p50s)), None if self.p99 is None else (min(p99s), max(p99s))

    def judge(self, goal: Goal) -> Verdict:
        value = {"p50": self.p50, "p99": self.p99, "x p50": self.x_p50, "x p99": self.x_p99}[
            goal.measure
        ]
        assert value is not None, f"{self._series.what} has no {goal.measure}"
        if goal.most is not None:
            return Verdict(goal.measure, f"<= {goal.most:,g}", value, value <= goal.most)
        assert goal.least is not None
        return Verdict(goal.measure, f">= {goal.least:,g}", value, value >= goal.least)


def _percentiles(series: Series) -> tuple[float, float | None, float | None]:
    if not series.is_timed:
        return median(figure for (figure,) in series.rounds), None, None
    p50, p99, most = series.at((50, 99, 100))
    return p50, p99, most


@dataclass(frozen=True, slots=True)
class About:
    """When, on what and with what figures were measured."""

    began: str
    took_s: float
    load: tuple[float, float]
    """What waited for a processor in the last minute, at the beginning and at the end."""
    rounds: int
    samples: int
    cores: int | None = field(default_factory=os.cpu_count)
    system: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    python: str = field(default_factory=platform.python_version)
    versions: dict[str, str] = field(
        default_factory=lambda: {
            name: version(name) for name in ("scentrt", "trio", "trio-websocket", "msgspec")
        }
    )

"""What was measured, and what it says: percentiles beside those of a reference."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from statistics import median
from typing import Literal, TypeAlias

from rich.table import Table

from simulators.tally import percentile

Unit: TypeAlias = Literal["ms", "/s"]


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one thing, by round: milliseconds, or one rate for each round."""

    what: str
    unit: Unit
    rounds: Sequence[Sequence[float]]

    @property
    def count(self) -> int:
        """How many samples there are."""
        return sum(map(len, self.rounds))

    def at(self, share: float) -> float:
        """Return the percentile over all rounds."""
        return percentile([sample for samples in self.rounds for sample in samples], share)

    @property
    def medians(self) -> list[float]:
        """The median of each round."""
        return [median(samples) for samples in self.rounds]


@dataclass(frozen=True, slots=True)
class Row:
    """What there is to say about a series; what makes no sense of it is None.

    `x_*` are its percentiles over those of the reference, and `x_rounds` the least and the most
    that this is among the medians of single rounds: how far to trust it.
    """

    bench: str
    what: str
    unit: Unit
    count: int
    p50: float
    p99: float | None
    max: float | None
    x_p50: float | None = None
    x_p99: float | None = None
    x_rounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bench: some series, beside a reference that took turns with them."""

    bench: str
    reference: Series
    subjects: Sequence[Series]

    def rows(self) -> Iterator[Row]:
        """Yield a row for the reference, and then for each series."""
        reference = self._row(self.reference)
        yield reference
        for series in self.subjects:
            row = self._row(series)
            pairs = zip(series.medians, self.reference.medians, strict=True)
            ratios = [ours / theirs for ours, theirs in pairs]
            yield replace(
                row,
                x_p50=row.p50 / reference.p50,
                x_p99=row.p99 / reference.p99 if row.p99 and reference.p99 else None,
                x_rounds=(min(ratios), max(ratios)),
            )

    def _row(self, series: Series) -> Row:
        p99, most = (series.at(0.99), series.at(1.0)) if series.unit == "ms" else (None, None)
        return Row(self.bench, series.what, series.unit, series.count, series.at(0.5), p99, most)


def table(rows: Sequence[Row]) -> Table:
    """Return rows for the terminal."""
    shown = Table(
        box=None,
        padding=(0, 1, 0, 0),
        caption="In ms. x: over the first row of the bench; spread: the x p50 of single rounds.",
        caption_justify="left",
    )
    for title in ("bench", "what"):
        shown.add_column(title, no_wrap=True)
    for title in ("p50", "p99", "max", "x p50", "x p99", "spread"):
        shown.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            "" if row.x_rounds else row.bench,
            row.what,
            *(_measured(value, row.unit) for value in (row.p50, row.p99, row.max)),
            *("" if ratio is None else f"{ratio:.2f}" for ratio in (row.x_p50, row.x_p99)),
            "-".join(f"{ratio:.2f}" for ratio in row.x_rounds or ()),
            style="" if row.x_rounds else "dim",
        )
    return shown


def machine() -> dict[str, str | int | None]:
    """Return what the figures were measured on and with."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("scentrt", "trio", "trio-websocket", "msgspec")},
    }


def _measured(value: float | None, unit: Unit) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if unit == "ms" else f"{value:,.0f}/s"

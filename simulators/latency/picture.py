"""The distributions as a picture: a panel for each bench that has a goal.

Times are drawn as HdrHistogram draws them, against the share that took no longer, stretched towards
100 %: the end of a distribution, where it hurts, has as much room as the rest. A flat line is what
one wants. Goals are bars at their percentile that the line should stay under. All else is drawn as
one bar for each series, its rounds as dots, and the goal as a line.
"""

from collections.abc import Sequence
from math import ceil, log10
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from simulators.latency.figures import PERCENTILES, About, Comparison, Row, Series
from simulators.latency.table import short

ACROSS = 4
PANEL_INCHES = (3.6, 2.5)
DPI = 100

OURS, GOAL = "#0b6e99", "#222222"
OTHERS = ("#a9a9a9", "#c98a2b")
MET, MISSED = "#1a7f37", "#c62828"

LEAST_ROWS = 3
"""So many bars have room in a panel, so that one alone is no thicker."""

SHARES = (0.0, 50.0, 90.0, 99.0, 99.9)
END = 3.3
"""Where 100 % would be, which is infinitely far."""


def draw(file: Path, comparisons: Sequence[Comparison], about: About) -> None:
    """Draw what was measured into a PNG; raises `OSError`."""
    panels = _panels(comparisons)
    down = max(1, ceil(len(panels) / ACROSS))
    figure = Figure(
        figsize=(ACROSS * PANEL_INCHES[0], down * PANEL_INCHES[1] + 0.7),
        dpi=DPI,
        layout=ConstrainedLayoutEngine(hspace=0.06, wspace=0.04),
    )
    all_axes = figure.subplots(down, ACROSS, squeeze=False).flat
    for axes, panel in zip(all_axes, panels, strict=False):
        if panel[0].subjects[0].is_timed:
            _draw_times(axes, panel)
        else:
            _draw_bars(axes, panel)
        _head(axes, panel)
    for axes in list(figure.axes)[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"ScentRT beside its references, {about.rounds} rounds in turns: {about.cores} cores, "
        f"{about.system}, Python {about.python}, load {about.load[0]:.1f} to {about.load[1]:.1f}, "
        f"{about.began[:10]}",
        fontsize=11,
    )
    figure.supxlabel(
        "Times by the share that took no longer. Black bars are goals; dots are single rounds.",
        fontsize=9,
        color="#555555",
    )
    figure.savefig(file, format="png")


def _panels(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Put together what belongs into one panel: of one bench, and all of it times or all of not."""
    panels: dict[tuple[str, bool], list[Comparison]] = {}
    for each in comparisons:
        if any(series.goals for series in each.subjects):
            panels.setdefault((each.bench, each.subjects[0].is_timed), []).append(each)
    return list(panels.values())


def _head(axes: Axes, panel: Sequence[Comparison]) -> None:
    """Name the bench, and beside it say how it does."""
    axes.set_title(panel[0].bench, loc="left", fontsize=11, fontweight="bold", pad=16)
    verdicts = [verdict for row in _rows(panel) for verdict in row.verdicts if row.unit]
    said = "   ".join(
        f"{'✓' if each.met else '✗'} {each.measure} {short(each.value)} ({each.goal})"
        for each in verdicts
    )
    colour = MET if all(each.met for each in verdicts) else MISSED
    said = said.replace("<=", "≤").replace(">=", "≥")
    axes.text(0, 1.03, said, transform=axes.transAxes, fontsize=7.5, color=colour)


def _rows(panel: Sequence[Comparison]) -> list[Row]:
    return [row for comparison in panel for row in comparison.rows()]


def _draw_times(axes: Axes, panel: Sequence[Comparison]) -> None:
    references = [each.reference for each in panel if each.reference is not None]
    for colour, series in zip(OTHERS, references, strict=False):
        _draw_curve(axes, series, colour)
    # What stands beside two references is one thing all the same.
    subjects = {
        series.what: series
        for each in panel
        for series in each.subjects
        if series.is_timed and series.goals
    }
    for series in subjects.values():
        _draw_curve(axes, series, OURS)
    for comparison in panel:
        for series in comparison.subjects:
            if series.is_timed:
                _draw_ceilings(axes, series, comparison.reference)
    axes.set_yscale("log")
    unit = panel[0].subjects[0].unit
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} {unit}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.set_xlim(0, END)
    axes.set_xticks([_stretched(share) for share in SHARES], [f"{share:g} %" for share in SHARES])
    _tidy(axes)
    least, most = axes.get_ylim()
    axes.set_ylim(least, most * (most / least) ** 0.25)  # room for the legend
    axes.legend(fontsize=7, frameon=False, loc="upper left", ncols=3, columnspacing=1)


def _draw_curve(axes: Axes, series: Series, colour: str) -> None:
    shares = [0.0, *PERCENTILES]
    times = series.at(shares)
    places = [_stretched(share) for share in shares]
    axes.plot(places, times, color=colour, linewidth=1.8, label=series.what)
    # How single rounds differ from each other is seen from their medians and 99 %.
    for place, of_rounds in zip((50.0, 99.0), zip(*series.of_rounds, strict=True), strict=True):
        at = [_stretched(place)] * len(of_rounds)
        axes.plot(at, of_rounds, ".", color=colour, markersize=4, alpha=0.6)


def _draw_ceilings(axes: Axes, series: Series, reference: Series | None) -> None:
    for goal in series.goals:
        share = float(goal.measure[-2:])
        beside = reference if goal.measure.startswith("x") else None
        bound = goal.most if goal.most is not None else goal.least
        if bound is not None:
            height = bound * (1.0 if beside is None else beside.at([share])[0])
            place = _stretched(share)
            axes.plot([place - 0.16, place + 0.16], [height] * 2, color=GOAL, linewidth=2.5)


def _stretched(share: float) -> float:
    return END if share >= 100 else min(END, -log10(1 - share / 100))


def _draw_bars(axes: Axes, panel: Sequence[Comparison]) -> None:
    # Errors are counted in no unit, and shown in the table alone: there are none.
    series = [
        each
        for comparison in panel
        for each in comparison.series
        if each.unit and not each.is_timed
    ]
    references = [comparison.reference for comparison in panel]
    for row, each in enumerate(reversed(series)):
        figures = [p50 for p50, _ in each.of_rounds]
        colour = OTHERS[0] if each in references else OURS
        axes.barh(row, median(figures), color=colour, height=0.55, alpha=0.9)
        axes.plot(figures, [row] * len(figures), ".", color=GOAL, markersize=4, alpha=0.7)
        for goal in each.goals:
            bound = goal.most if goal.most is not None else goal.least
            if bound is None:
                continue
            beside = panel[0].reference
            if goal.measure.startswith("x") and beside is not None:
                bound *= median(p50 for p50, _ in beside.of_rounds)
            axes.plot([bound] * 2, [row - 0.4, row + 0.4], color=GOAL, linewidth=2.5)
    axes.set_yticks(range(len(series)), [each.what for each in reversed(series)], fontsize=8)
    unit = series[0].unit
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g} {unit}".strip()))
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlim(left=0)
    spare = max(0, LEAST_ROWS - len(series)) / 2
    axes.set_ylim(-0.8 - spare, len(series) - 0.2 + spare)
    _tidy(axes)
    axes.grid(visible=False, axis="y")


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=7)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)

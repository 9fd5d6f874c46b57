"""Rows for the terminal: what was measured, whether the goals are met, and what has changed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from rich.table import Table
from rich.text import Text

from simulators.latency.figures import Row, Unit, Verdict

DIGITS = 3

WIDE = 150
"""A terminal of so many characters has room for everything."""

CAPTION = "p50 of rates: the median round. x: over the reference, the dim row above."
CAPTION_OF_ROUNDS = " of rounds: the least and the most in single rounds."


def table(
    rows: Sequence[Row], width: int, before: Mapping[tuple[str, str, str], Row] | None = None
) -> Table:
    """Return rows for a terminal so wide, beside what they were `before` where that is known."""
    is_wide = width >= WIDE
    shown = Table(
        box=None,
        padding=(0, 2 if is_wide else 1, 0, 0),
        caption=CAPTION + (CAPTION_OF_ROUNDS if is_wide else ""),
        caption_justify="left",
    )
    columns = [column for column in _COLUMNS if is_wide or column.is_vital]
    for column in columns:
        shown.add_column(column.title, justify=column.justify, no_wrap=True)
    if before is not None:
        shown.add_column("before", justify="right", no_wrap=True)
    bench = ""
    for row, key in zip(rows, keys(rows), strict=True):
        cells = [column.cell(row) for column in columns]
        if row.bench == bench:
            cells[0] = ""
        if not is_wide:
            cells[-1] = _goals(row.verdicts, told=False)
        if before is not None:
            cells.append(_change(row, before.get(key)))
        shown.add_row(*cells, style="dim" if row.reference else "")
        bench = row.bench
    return shown


def keys(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Return what each row is known by: its bench, what it tells of, and what it stands beside."""
    found = []
    beside = ""
    for number, row in enumerate(rows):
        if row.reference:
            beside = row.what
        elif number and rows[number - 1].bench != row.bench:
            beside = ""
        found.append((row.bench, row.what, "" if row.x_p50 is None else beside))
    return found


def goals_met(rows: Sequence[Row]) -> str:
    """Say how many goals are met, and which are not."""
    verdicts = [(row, verdict) for row in rows for verdict in row.verdicts]
    missed = [
        f"{row.bench}: {row.what} {verdict.measure} {short(verdict.value)}, goal {verdict.goal}"
        for row, verdict in verdicts
        if not verdict.met
    ]
    said = f"{len(verdicts) - len(missed)} of {len(verdicts)} goals met"
    return "\n  ".join([said + (", missed:" if missed else ""), *missed])


def _goals(verdicts: Sequence[Verdict], *, told: bool = True) -> Text:
    said = Text()
    for verdict in verdicts:
        if told:
            said.append("  " if said else "").append(f"{verdict.measure} {verdict.goal}")
        met = ("met", "green") if verdict.met else ("missed", "red")
        said.append(" " if said else "").append(*met)
    return said


def _change(row: Row, before: Row | None) -> str:
    """Tell of the ratio, where there is one, since machines differ; else of the figure."""
    if before is None:
        return "new"
    now, then, spread = row.x_p50, before.x_p50, row.spread_p50
    if now is None or then is None:
        now, then = row.p50, before.p50
    if not then:
        return short(then)
    is_within = spread is not None and spread[0] <= then <= spread[1]
    return f"{short(then)} {'~' if is_within else f'{now / then - 1:+.0%}'}"


def _measured(value: float | None, unit: Unit) -> str:
    if value is None:
        return ""
    return f"{short(value)}{'' if unit == '/s' else ' '}{unit}".strip()


def short(value: float) -> str:
    """Return a figure with three digits, or all of those before its point."""
    if value == 0:
        return "0"
    digits = DIGITS - 1
    size = abs(value)
    while size >= 10:
        size, digits = size / 10, digits - 1
    while size < 1:
        size, digits = size * 10, digits + 1
    return f"{value:,.{min(max(digits, 0), DIGITS)}f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _spread(spread: tuple[float, float] | None, ratio: float | None) -> str:
    if spread is None or spread == (1.0, 1.0):
        return ""
    least, most = (f"{each:.2f}" if ratio is not None else short(each) for each in spread)
    return f"{least}-{most}"


class _Column(NamedTuple):
    """A column, and what stands in it; vital is what narrow terminals show, too."""

    title: str
    cell: Callable[[Row], str | Text]
    justify: Literal["left", "right"] = "right"
    is_vital: bool = True


_COLUMNS = (
    _Column("bench", lambda row: row.bench, "left"),
    _Column("what", lambda row: row.what, "left"),
    _Column("p50", lambda row: _measured(row.p50, row.unit)),
    _Column("p99", lambda row: _measured(row.p99, row.unit)),
    _Column("max", lambda row: _measured(row.max, row.unit), is_vital=False),
    _Column("x p50", lambda row: _ratio(row.x_p50)),
    _Column("of rounds", lambda row: _spread(row.spread_p50, row.x_p50), is_vital=False),
    _Column("x p99", lambda row: _ratio(row.x_p99)),
    _Column("of rounds", lambda row: _spread(row.spread_p99, row.x_p99), is_vital=False),
    _Column("goal", lambda row: _goals(row.verdicts), "left"),
)

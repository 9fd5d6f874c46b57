"""The latency harness for the terminal: `python -m simulators.latency --help`."""

import os
import resource
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from simulators.latency import record
from simulators.latency.figures import About, Comparison
from simulators.latency.line import Unanswered
from simulators.latency.profiler import Profiler
from simulators.latency.programme import BENCHES
from simulators.latency.record import Record, Unreadable
from simulators.latency.run import Run
from simulators.latency.table import goals_met, keys, table

out, err = Console(), Console(stderr=True)

WIDE_ENOUGH = 170
"""Where nobody looks at a terminal, lines are as long as the table is wide."""

Name = StrEnum("Name", list(BENCHES))  # type: ignore[misc] # whatever there is

# Each bench says in its first line what it plays.
EPILOG = "The benches:\n\n" + "\n".join(
    f"* **{name}**: {(bench.__doc__ or '').splitlines()[0]}" for name, bench in BENCHES.items()
)

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command(epilog=EPILOG)
def main(
    *,
    only: Annotated[
        list[Name] | None,
        typer.Option(metavar="NAME", help="Run this bench, again for more; all if left out."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often the server and its reference take turns.")
    ] = 5,
    samples: Annotated[
        int,
        typer.Option(min=1, help="Cues in one round; of what takes longer or less, in proportion."),
    ] = 1000,
    audience: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Goggles to fan out to, again for more; 1, 100, 500 and 2000."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures there, too.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the distributions there, as PNG.")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Show what has changed since an earlier run, whose figures --json wrote: of "
            "ratios where there are some, and ~ where single rounds differ by as much.",
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw a flame graph of the server there, as SVG, while it is measured; it is "
            "slower then.",
        ),
    ] = None,
) -> None:
    """Measure the server beside references, in turns on the same machine, and against goals.

    The ratio is what counts: times belong to a machine, and to what else it is doing. All benches
    together take about five minutes.
    """
    # However this ends, the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _open_many_files()
    profiler = Profiler(profile)
    try:
        before = None if compare is None else record.read(compare)
        began, started, load = datetime.now(UTC), perf_counter(), os.getloadavg()[0]
        comparisons = _measure(
            [str(name) for name in only or BENCHES],
            partial(
                Run, rounds, samples, tuple(audience or (1, 100, 500, 2000)), profiler=profiler
            ),
        )
        about = About(
            began.isoformat(timespec="seconds"),
            round(perf_counter() - started, 1),
            (round(load, 2), round(os.getloadavg()[0], 2)),
            rounds,
            samples,
        )
        _tell(comparisons, about, before)
        if json is not None:
            record.write(json, about, [row for each in comparisons for row in each.rows()])
        if picture is not None:
            from simulators.latency.picture import draw  # noqa: PLC0415 (it takes a second)

            draw(picture, comparisons, about)
        for file in profiler.drawn:
            err.print(f"flame graph: {file}", soft_wrap=True)
    except (Unanswered, Unreadable, OSError) as error:
        err.print(f"[red]latency:[/red] {error}", soft_wrap=True)
        raise typer.Exit(1) from error


def _measure(names: list[str], new_run: partial[Run]) -> list[Comparison]:
    comparisons: list[Comparison] = []
    with ExitStack() as stack:
        progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        stack.enter_context(progress)
        task = progress.add_task("", total=len(names))

        def tell(what: str) -> None:
            progress.update(task, description=what)

        run = new_run(tell=tell, remark=partial(err.print, soft_wrap=True, highlight=False))
        for name in names:
            comparisons += BENCHES[name](run)
            progress.advance(task)
    return comparisons


def _tell(comparisons: list[Comparison], about: About, before: Record | None) -> None:
    rows = [row for each in comparisons for row in each.rows()]
    if not out.is_terminal:
        out.width = WIDE_ENOUGH
    then = None if before is None else dict(zip(keys(before.rows), before.rows, strict=True))
    out.print(table(rows, out.width, then))
    versions = "  ".join(f"{name} {version}" for name, version in about.versions.items())
    out.print(
        f"began {about.began}, took {about.took_s:.0f} s, load {about.load[0]} to {about.load[1]}, "
        f"{about.cores} cores, {about.system}, python {about.python}  {versions}",
        highlight=False,
    )
    if before is not None:
        out.print(f"before: {before.about.began}, load {before.about.load[0]}", highlight=False)
    out.print(goals_met(rows), highlight=False, soft_wrap=True)


def _open_many_files() -> None:
    """Allow this process and those that it starts as many sockets as they may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    app(prog_name="python -m simulators.latency")

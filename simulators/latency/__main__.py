"""The latency harness for the terminal: `python -m simulators.latency --help`."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from simulators.latency import benches, gatt
from simulators.latency.benches import Run
from simulators.latency.figures import Comparison, machine, table
from simulators.latency.line import Unanswered

app = typer.Typer(add_completion=False)
out, err = Console(), Console(stderr=True)


class Bench(StrEnum):
    """What there is to measure."""

    CUE = "cue"
    PIPELINED = "pipelined"
    FAN_OUT = "fan-out"
    GATT = "gatt"


BENCHES: Final[dict[Bench, Callable[[Run], Iterator[Comparison]]]] = {
    Bench.CUE: benches.cue,
    Bench.PIPELINED: benches.pipelined,
    Bench.FAN_OUT: benches.fan_out,
    Bench.GATT: gatt.gatt,
}


@app.command()
def main(
    *,
    only: Annotated[
        list[Bench] | None, typer.Option(help="Run this bench, again for more; all if left out.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often the reference and the server take turns.")
    ] = 7,
    samples: Annotated[int, typer.Option(min=1, help="Cues in one round.")] = 1000,
    audience: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Goggles to fan out to, again for more; 100, then 500."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there, too.")
    ] = None,
) -> None:
    """Measure a server, started for this, beside trio-websocket with nothing around it."""
    # However this ends, the servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = datetime.now(UTC)
    try:
        with err.status("") as status:
            run = Run(
                rounds,
                samples,
                tuple(audience or (100, 500)),
                tell=status.update,
                remark=partial(err.print, soft_wrap=True),
            )
            rows = [
                row
                for bench in only or Bench
                for comparison in BENCHES[bench](run)
                for row in comparison.rows()
            ]
        # What else the machine was doing shows in its load.
        about = {
            "began": began.isoformat(timespec="seconds"),
            "load": round(os.getloadavg()[0], 1),
            **machine(),
        }
        out.print(table(rows))
        out.print("  ".join(f"{what} {value}" for what, value in about.items()), highlight=False)
        if file is not None:
            figures = {**about, "rounds": rounds, "rows": [asdict(row) for row in rows]}
            file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except (Unanswered, OSError) as error:
        err.print(f"[red]latency:[/red] {error}", soft_wrap=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app(prog_name="python -m simulators.latency")

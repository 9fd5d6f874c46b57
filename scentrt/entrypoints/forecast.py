"""`scentrt stock forecast`: before the curtain, whether what is in the vials lasts for a show."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
import typer
from rich.console import Console
from rich.markup import escape

from scentrt.entrypoints.stock import Database, Http, Token
from scentrt.errors import ActorError, ConfigError, DatabaseInUse, StockError, StoreUnavailable

if TYPE_CHECKING:
    from scentrt.config import Settings
    from scentrt.entrypoints.cue_list import BadCueList, CueFile
    from scentrt.entrypoints.forecast_answer import Outlook

out, err = Console(highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)

FAULTS_SHOWN = 20

UNBOUNDED = 1_000


def forecast(
    cues: Annotated[
        Path | None,
        typer.Option("--cues", metavar="FILE", help="The cue list: JSON Lines, or a JSON list."),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a cue list to start from, and no more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    theatre: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The theatre, as for serve, where no server runs."),
    ] = None,
    db: Database = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Say before the curtain whether what is in the vials lasts for a show, and what to load.

    A cue list has the cues of the show in the form that they have on the WebSocket, with at_ms, the
    milliseconds into the show, for when they are due. See scentrt protocol.

    It is the most that the cues can need: dose limits and clearing are not simulated, and every
    seat counts as online. A slot without a vial loaded is not counted, and never runs dry; nor are
    goggles counted.

    Asks the server that runs; without one, reads the database and the theatre file.

    Exits with 0 where it lasts, with 1 where it does not, and with 2 where it cannot tell.

    Try it: scentrt stock forecast --example > show.jsonl
    """
    from scentrt.entrypoints.cue_list import EXAMPLE, BadCueList, CueFile
    from scentrt.entrypoints.forecast_table import show

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if cues is None:
        raise ConfigError("--cues", "name the file with the cue list; --example prints one")
    lines: Sequence[int] = ()
    try:
        file = CueFile(_content(cues))
        lines = file.lines
        outlook = _foresee(_settings(theatre, db, http), http, token, file)
    except BadCueList as bad:
        _tell(cues, lines, bad)
        raise typer.Exit(2) from bad
    except (StockError, StoreUnavailable, ActorError) as error:
        err.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(outlook.model_dump_json(indent=2))
    else:
        if not out.is_terminal:
            out.width = UNBOUNDED  # for a file or a pipe: a row stays a line
        show(out, outlook, lines)
    if not outlook.lasts:
        raise typer.Exit(1)


def _content(path: Path) -> bytes:
    from scentrt.entrypoints.cue_list import MOST_BYTES

    try:
        with path.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error


def _settings(theatre: Path | None, db: str | None, http: str | None) -> "Settings":
    from scentrt.config import load_settings, parse_address

    given: dict[str, object] = {"theatre": theatre, "db": db}
    if http is not None:
        given["http"] = parse_address("--http", http)
    return load_settings({name: value for name, value in given.items() if value is not None})


def _foresee(
    settings: "Settings", http: str | None, token: str | None, file: "CueFile"
) -> "Outlook":
    """Have a cue list held against the seats, by the server that runs or else here."""
    from scentrt.bootstrap import read_seats_of
    from scentrt.domain.forecast import finish, forecasting
    from scentrt.entrypoints.counter import Counter
    from scentrt.entrypoints.cue_list import CueReader
    from scentrt.entrypoints.forecast_answer import Outlook
    from scentrt.theatre_file import load_theatre

    at = settings.http
    if http is not None:  # that server is meant, and no database that happens to be here
        return trio.run(Counter(at.host, at.port, token, None).forecast, file.body)
    plan = load_theatre(settings.theatre)
    try:
        seats = read_seats_of(settings, plan)
    except DatabaseInUse as in_use:
        return trio.run(Counter(at.host, at.port, token, in_use).forecast, file.body)
    reader = CueReader(plan, max_spray_ms=settings.limits.of_seats().max_spray_ms)
    cues = finish(reader.reading(file.cues))
    return finish(Outlook.telling(finish(forecasting(cues, seats, plan.catalogue))))


def _tell(path: Path, lines: Sequence[int], bad: "BadCueList") -> None:
    from scentrt.entrypoints.cue_list import in_words

    for fault in bad.faults[:FAULTS_SHOWN]:
        err.print(in_words(fault, lines), markup=False)
    more = len(bad.faults) - FAULTS_SHOWN
    rest = f" {more} more are not shown." if more > 0 else ""
    err.print(f"[red]{escape(str(path))}: nothing was forecast.{rest}[/red]")

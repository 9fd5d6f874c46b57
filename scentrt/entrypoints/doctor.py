"""`scentrt doctor`: whether this machine can run the theatre, before the doors open."""

import json
import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scentrt.checkup.findings import Finding, Verdict, red


def doctor(
    theatre: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The theatre, as for `serve`.")
    ] = None,
    db: Annotated[
        str | None, typer.Option(metavar="URL", help="The database, as for `serve`.")
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where game engines are to connect.")
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where HTTP is to be served.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say it in JSON, for other programs.")
    ] = False,
) -> None:
    """Find out whether this machine can run the theatre: run it before the doors open.

    Looks at the settings, Bluetooth and its adapters, the addresses, the database and the clock,
    and changes nothing. Each line is green, yellow (it works, but) or red, and says what to do
    where it is not green. Exits with 0 where nothing is red, else with 1.

    Options, environment and scentrt.toml count as they do for `scentrt serve`.
    """
    # What libraries have to say beside the findings helps nobody who stands before a closed door.
    logging.getLogger().addHandler(logging.NullHandler())
    findings = _examine(theatre, db, gateway, http)
    reds = [finding for finding in findings if finding.verdict is Verdict.RED]
    if as_json:
        typer.echo(json.dumps(_told(findings, ready=not reds), indent=2))
    else:
        _show(findings, len(reds))
    raise typer.Exit(1 if reds else 0)


def _examine(
    theatre: Path | None, db: str | None, gateway: str | None, http: str | None
) -> Sequence[Finding]:
    try:
        from scentrt.checkup.examination import Options, examine
    except ImportError as error:
        return [red("program", f"cannot be loaded: {error}", "install ScentRT again")]

    findings: Sequence[Finding] = ()
    try:
        findings = trio.run(examine, Options(theatre, db, gateway, http))
    except* KeyboardInterrupt:
        pass
    if not findings:
        raise typer.Abort
    return findings


def _told(findings: Sequence[Finding], *, ready: bool) -> dict[str, object]:
    return {
        "ready": ready,
        "findings": [
            {
                "subject": finding.subject,
                "verdict": finding.verdict,
                "found": finding.found,
                "fix": finding.fix or None,
            }
            for finding in findings
        ],
    }


def _show(findings: Sequence[Finding], reds: int) -> None:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a theatre's name may be more than it can show
    out = Console(highlight=False)
    if out.is_terminal:
        lines = Table.grid(padding=(0, 2))
        for finding in findings:
            said = Text(finding.found)
            if finding.fix:
                said.append(f"\n-> {finding.fix}", style="dim")
            colour = str(finding.verdict)
            lines.add_row(Text(colour, style=f"bold {colour}"), Text(finding.subject), said)
        out.print(lines)
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict:6}  {finding.subject:9}  {finding.found}")
            if finding.fix:
                typer.echo(f"{'':17}  -> {finding.fix}")
    if reds:
        typer.echo(f"\nThe theatre cannot run here yet. Red lines: {reds} of {len(findings)}.")
    else:
        typer.echo("\nThe theatre can run here.")

"""`scentrt db`: copy the database, and look it through, beside the server that has it open."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from scentrt.errors import StoreUnavailable

database = typer.Typer(
    help="Copy the database, and look it through, also while a server has it open."
)
out, err = Console(soft_wrap=True, highlight=False), Console(stderr=True, soft_wrap=True)

Database = Annotated[
    str | None,
    typer.Option("--db", metavar="URL", help="The database, as for serve. Default: scentrt.db."),
]


@database.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    db: Database = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE where it is there already.")
    ] = False,
) -> None:
    """Copy the database to FILE: as it is now, also while a server writes.

    The copy is looked through before it is called FILE, so that one that is there is whole. To
    restore it, stop the server and put it in the database's place.

    Exits with 0 where the copy is there, else with 1, or with 2 where it was not even begun.
    """
    from scentrt.adapters.database_backup import back_up

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task("Copying")

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)
            if done == of:
                bar.update(task, description="Looking the copy through", total=None)

        try:
            made = back_up(_named(db), file, replace=force, told=tell)
        except StoreUnavailable as error:
            bar.stop()
            err.print(f"[red]No copy was made:[/red] {escape(str(error))}", highlight=False)
            raise typer.Exit(1) from error
    out.print(f"{made.path}: a whole copy, {made.size_bytes / 1e6:,.1f} MB.", markup=False)
    if made.untruths:
        err.print(
            "[yellow]What the database says is not all true, and so it is with its copy; "
            "'scentrt db check' says what.[/yellow]"
        )


@database.command()
def check(db: Database = None) -> None:
    """Look the database through: whether it is whole, and whether what it says is true.

    That every batch adds up and none is over-allocated, that every order line is in one place,
    that what is shown is what is so, and that the doses on record are of the past. Changes
    nothing. Takes seconds for every hundred thousand lines.

    Exits with 0 where all is well, else with 1, or with 2 where there is no such database.
    """
    from scentrt.adapters.database_check import check_database

    with err.status("Looking …"):
        path, faults = check_database(_named(db))
    found = list(faults)
    for fault in found:
        out.print(fault, markup=False)
    if found:
        err.print(f"[red]{escape(str(path))} is not in order.[/red]", highlight=False)
        raise typer.Exit(1)
    out.print(f"{path} is in order.", markup=False)


def _named(db: str | None) -> str:
    from scentrt.config import load_settings

    return load_settings({} if db is None else {"db": db}).db

"""`scentrt stock`: receive batches, allocate lines, import delivery notes, see what there is.

What changes the stock goes through the server that runs, or else through a stock room that the
command runs by itself for as long as it takes: the same rules hold either way. To look, it reads
the database.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TypeVar

import trio
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from scentrt.domain.commands import Allocate, Command, CreateBatch, ReceiveBatch
from scentrt.domain.names import LARGEST_QUANTITY, BatchRef, OrderId, Sku
from scentrt.errors import ActorError, ConfigError, DatabaseInUse, StockError, StoreUnavailable
from scentrt.service_layer.views import ProductView

if TYPE_CHECKING:
    from scentrt.config import Settings
    from scentrt.entrypoints.delivery_note import DeliveryNote, Outcome
    from scentrt.service_layer.messagebus import Owner

stock = typer.Typer(
    help="Receive batches, allocate order lines, and see what there is.\n\n"
    "Goes through the server that runs; without one, to the database by itself."
)
out, err = Console(highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)

T = TypeVar("T")

LONG = 1_000
"""Rows from which on it is worth a bar."""

PER_PAGE = 500

UNBOUNDED = 1_000

Database = Annotated[
    str | None, typer.Option("--db", metavar="URL", help="The database, as for serve.")
]
Http = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="The server to go to, by where its HTTP listens; left out, it is looked for.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(envvar="SCENTRT_TOKEN", help="An operator's token, where the server needs one."),
]


@stock.command()
def receive(
    ref: Annotated[str, typer.Argument(help="The reference of the batch.")],
    sku: Annotated[str | None, typer.Argument(help="Of what it is, if it is new.")] = None,
    qty: Annotated[
        int | None,
        typer.Argument(min=0, max=LARGEST_QUANTITY, help="How many, if it is new."),
    ] = None,
    eta: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="When it arrives, like 2026-03-02; else it is there."),
    ] = None,
    db: Database = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Take a shipment into the warehouse; or, with SKU and QTY, make a new batch known.

    The same batch again changes nothing.
    """
    if sku is None:
        if eta is not None:
            raise ConfigError("--eta", "is for a new batch; name its SKU and QTY too")
        _have(db, http, token, ReceiveBatch(BatchRef(ref)), "refuse")
        out.print(f"{ref} is in the warehouse.", markup=False)
        return
    if qty is None:
        raise ConfigError("QTY", f"say how many {sku} there are in batch {ref}")
    expected = _date(eta)
    batch = CreateBatch(BatchRef(_name("REF", ref)), Sku(_name("SKU", sku)), qty, expected)
    _have(db, http, token, batch, "make")
    when = "in the warehouse" if expected is None else f"expected on {expected}"
    out.print(f"{ref}: {qty} {sku}, {when}.", markup=False)


@stock.command()
def allocate(
    orderid: Annotated[str, typer.Argument(help="The order.")],
    sku: Annotated[str, typer.Argument(help="Of what.")],
    qty: Annotated[int, typer.Argument(min=1, max=LARGEST_QUANTITY, help="How many.")],
    db: Database = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Allocate an order line, and print its batch.

    The same line again changes nothing. Exits with 1 where it is out of stock.
    """
    line = Allocate(OrderId(_name("ORDERID", orderid)), Sku(sku), qty)
    ref = _have(db, http, token, line, "refuse")
    if ref is None:
        _fail(f"{sku} is out of stock: no batch has {qty}.")
    typer.echo(ref)


@stock.command("list")
def list_stock(
    sku: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    db: Database = None,
) -> None:
    """Show the batches, and how many lines wait on back-order."""
    from scentrt.config import load_settings

    settings = load_settings({} if db is None else {"db": db})
    products = trio.run(_look, settings, None if sku is None else Sku(sku))
    if sku is not None and not products:
        _fail(f"Unknown sku {sku}")
    if as_json:
        typer.echo(json.dumps([_told(product) for product in products], indent=2))
    elif products:
        _show(products)
    else:
        err.print("There is nothing yet: begin with [b]scentrt stock import[/b].")


@stock.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The delivery note.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    db: Database = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Make the batches of a CSV file known: all of them or, if anything is wrong, none.

    Its first row names the columns, in any order: ref, sku, qty and eta. An eta is a date like
    2026-03-02, or empty for what is in the warehouse. UTF-8, with commas or semicolons. What is
    wrong is told by row and column. The same file again changes nothing.

    Try it first: scentrt stock import FILE.csv --dry-run
    """
    from scentrt.entrypoints.delivery_note import MOST_BYTES, check_note, import_note, read_note

    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from error
    rows = data.count(b"\n")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=err,
        transient=True,
        disable=rows < LONG or not err.is_terminal,
    ) as bar:
        task = bar.add_task("Checking", total=rows)
        note = read_note(data, lambda row: bar.update(task, completed=row))
        bar.update(task, description="Checking" if dry_run else "Importing", total=None)
        do = partial(check_note if dry_run else import_note, note)
        outcome = _at_stock(db, http, token, do, "pretend" if dry_run else "make")
    _tell(file, note, outcome, dry_run=dry_run)


# At the stock


def _settings(db: str | None, http: str | None) -> "Settings":
    from scentrt.config import load_settings, parse_address

    given: dict[str, object] = {} if db is None else {"db": db}
    if http is not None:
        given["http"] = parse_address("--http", http)
    return load_settings(given)


def _have(
    db: str | None,
    http: str | None,
    token: str | None,
    command: Command[T],
    where_none: Literal["refuse", "make"],
) -> T:
    """Have a command carried out, or end with the reason why not."""
    return _at_stock(db, http, token, lambda owner: owner.handle(command), where_none)


def _at_stock(
    db: str | None,
    http: str | None,
    token: str | None,
    do: "Callable[[Owner], Awaitable[T]]",
    where_none: Literal["refuse", "make", "pretend"],
) -> T:
    """Do something at the stock, through whichever server there is; or end with why not."""
    done = trio.run(_do, _settings(db, http), http, token, do, where_none)
    if isinstance(done, _Refused):
        _fail(str(done.why))
    return done


class _Refused:
    """Something was not done."""

    def __init__(self, why: Exception) -> None:
        self.why = why


async def _do(
    settings: "Settings",
    http: str | None,
    token: str | None,
    do: "Callable[[Owner], Awaitable[T]]",
    where_none: Literal["refuse", "make", "pretend"],
) -> T | _Refused:
    from scentrt.bootstrap import open_stock_room
    from scentrt.entrypoints.counter import Counter

    async def carry_out(owner: "Owner") -> T | _Refused:
        try:
            return await do(owner)
        except (StockError, StoreUnavailable, ActorError) as error:
            return _Refused(error)

    at = settings.http
    if http is not None:  # that server is meant, and no database that happens to be here
        return await carry_out(Counter(at.host, at.port, token, None))
    try:
        async with open_stock_room(settings, where_none=where_none) as room:
            return await carry_out(room.bus)
    except DatabaseInUse as in_use:
        return await carry_out(Counter(at.host, at.port, token, in_use))


async def _look(settings: "Settings", sku: Sku | None) -> list[ProductView]:
    from scentrt.bootstrap import open_stock_views

    found: list[ProductView] = []
    async with open_stock_views(settings) as views:
        if sku is not None:
            product = await views.product(sku)
            return [] if product is None else [product]
        while page := await views.products(found[-1].sku if found else Sku(""), PER_PAGE):
            found += page
    return found


# In words


def _name(field: str, text: str) -> str:
    from scentrt.entrypoints.delivery_note import problem_of_name

    name = text.strip()
    if problem := problem_of_name(name, "a name"):
        raise ConfigError(field, problem)
    return name


def _date(text: str | None) -> date | None:
    from scentrt.entrypoints.delivery_note import parse_date

    if text is None:
        return None
    found = parse_date(text)
    if found is None:
        raise ConfigError("--eta", f"{text!r} is no date; write it like 2026-03-02")
    return found


def _show(products: list[ProductView]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("SKU", overflow="fold")
    table.add_column("batch", overflow="fold")
    table.add_column("ETA", no_wrap=True)
    for column in "purchased", "allocated", "available", "back-orders":
        table.add_column(column, justify="right", no_wrap=True)
    for product in products:
        waiting = str(product.back_orders) if product.back_orders else ""
        for batch in product.batches:
            table.add_row(
                escape(batch.sku),
                escape(batch.ref),
                "warehouse" if batch.eta is None else str(batch.eta),
                *(f"{n:,}" for n in (batch.purchased, batch.allocated, batch.available)),
                waiting,
            )
            waiting = ""
    if not out.is_terminal:
        out.width = UNBOUNDED  # for a file or a pipe: a row stays a line
    out.print(table)


def _told(product: ProductView) -> dict[str, object]:
    return {
        "sku": product.sku,
        "purchased": product.purchased,
        "allocated": product.allocated,
        "available": product.available,
        "back_orders": product.back_orders,
        "batches": [
            {
                "ref": batch.ref,
                "eta": None if batch.eta is None else batch.eta.isoformat(),
                "purchased": batch.purchased,
                "allocated": batch.allocated,
                "available": batch.available,
            }
            for batch in product.batches
        ],
    }


def _tell(file: Path, note: "DeliveryNote", outcome: "Outcome", *, dry_run: bool) -> None:
    if outcome.faults:
        for fault in outcome.faults:
            err.print(str(fault), markup=False)
        count = len(outcome.faults)
        _fail(f"{file} has {count} error{'s' if count > 1 else ''}, and nothing was imported.")
    known = len(note.batches) - outcome.new
    skus = len({batch.sku for batch in note.batches.values()})
    done = "would be imported" if dry_run else "imported"
    out.print(
        f"{file}: {len(note.batches)} batches of {skus} products; {outcome.new} {done}, "
        f"{known} known already.",
        markup=False,
        soft_wrap=True,
    )


def _fail(sentence: str) -> NoReturn:
    err.print(f"[red]{escape(sentence)}[/red]")
    raise typer.Exit(1)

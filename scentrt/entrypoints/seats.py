"""`scentrt seats`: see and set what whoever sits somewhere wants, and how a dispenser is used.

It goes through the server that runs, so that it is in effect at once.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, TypeVar

import trio
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from scentrt.domain.cues import Scent, SeatId
from scentrt.domain.seat_settings import (
    LEAST_GAIN,
    MOST_AVERSIONS,
    MOST_DELAY_MS,
    MOST_GAIN,
    ORDINARY,
    SeatChange,
)
from scentrt.entrypoints.stock import PER_PAGE, UNBOUNDED, Http, Token, err, out
from scentrt.errors import ConfigError, StockError, StoreUnavailable

if TYPE_CHECKING:
    from scentrt.actors.seat_desk import SeatCard, SeatKeeper

seats = typer.Typer(
    help="See and set what is wanted at a seat: no scents, not these, stronger, later.\n\n"
    "Goes through the server that runs, and is in effect at once.",
)

T = TypeVar("T")

SeatName = Annotated[
    str, typer.Argument(metavar="SEAT", help="Like A-1-3; goggles by their name, once they came.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For other programs.")]


@seats.command("list")
def list_seats(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those for which nothing is set.")
    ] = False,
    as_json: AsJson = False,
    http: Http = None,
    token: Token = None,
) -> None:
    """Show the seats for which something is set."""
    cards = _at_desk(http, token, _all_cards)
    shown = [card for card in cards if everything or card.settings != ORDINARY]
    if as_json:
        typer.echo(json.dumps([_told(card) for card in shown], indent=2))
    elif shown:
        _show(shown)
    else:
        err.print("Nothing is set for any seat: see [b]scentrt seats set --help[/b].")


@seats.command()
def show(seat: SeatName, as_json: AsJson = False, http: Http = None, token: Token = None) -> None:
    """Show what is set for one seat."""
    card = _at_desk(http, token, lambda desk: desk.read(SeatId(seat)))
    if as_json:
        typer.echo(json.dumps(_told(card), indent=2))
    else:
        _show([card])


@seats.command("set")
def set_seat(
    seat: SeatName,
    opted_out: Annotated[
        bool | None,
        typer.Option("--opt-out/--opt-in", help="No scents at all; or scents again."),
    ] = None,
    averse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCENT",
            help="Not this scent, as for an allergy; one or several, in place of those before.",
        ),
    ] = None,
    averse_to_none: Annotated[
        bool, typer.Option("--averse-to-none", help="All scents again.")
    ] = False,
    gain: Annotated[
        float | None,
        typer.Option(
            help=f"How much stronger than asked, from {LEAST_GAIN:g} to {MOST_GAIN:g}; usually 1."
        ),
    ] = None,
    delay_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MOST_DELAY_MS,
            help="How much later than due, so that near and far seats smell it together; usually "
            "0. Levels are not delayed.",
        ),
    ] = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Set something for a seat, and leave the rest as it is.

    What runs there and is not wanted any more stops at once.

    Try it: scentrt seats set A-1-3 --averse nightclub
    """
    if gain is not None and not LEAST_GAIN <= gain <= MOST_GAIN:
        meant = f"from {LEAST_GAIN:g} to {MOST_GAIN:g}"
        raise ConfigError("--gain", f"expected a number {meant}, not {gain:g}")
    if averse and averse_to_none:
        raise ConfigError("--averse-to-none", "give this or --averse, not both")
    if averse and len(set(averse)) > MOST_AVERSIONS:
        raise ConfigError("--averse", f"expected at most {MOST_AVERSIONS}; rather --opt-out")
    aversions = frozenset(map(Scent, averse)) if averse else None
    change = SeatChange(opted_out, frozenset() if averse_to_none else aversions, gain, delay_ms)
    if change == SeatChange():
        raise ConfigError("seats set", "say what: --opt-out, --averse, --gain or --delay-ms")
    _show([_at_desk(http, token, lambda desk: desk.change(SeatId(seat), change))])


async def _all_cards(desk: "SeatKeeper") -> "list[SeatCard]":
    cards: list[SeatCard] = []
    while page := await desk.page(cards[-1].seat if cards else SeatId(""), PER_PAGE):
        cards += page
    return cards


def _at_desk(http: str | None, token: str | None, do: "Callable[[SeatKeeper], Awaitable[T]]") -> T:
    """Do something at the desk of the server that runs, or end with the reason why not."""
    from scentrt.config import load_settings, parse_address
    from scentrt.entrypoints.counter import Counter

    where = load_settings({} if http is None else {"http": parse_address("--http", http)}).http
    counter = Counter(where.host, where.port, token, None)

    async def do_it() -> T | Exception:
        try:
            return await do(counter)
        except (StockError, StoreUnavailable) as error:
            return error

    done = trio.run(do_it)
    if isinstance(done, Exception):
        err.print(f"[red]{escape(str(done))}[/red]")
        raise typer.Exit(1)
    return done


def _told(card: "SeatCard") -> dict[str, object]:
    settings = card.settings
    return {
        "zone": card.zone,
        "seat": card.seat,
        "opted_out": settings.opted_out,
        "averse_to": sorted(settings.averse_to),
        "gain": settings.gain,
        "delay_ms": settings.delay_ms,
    }


def _show(cards: "Iterable[SeatCard]") -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("zone", overflow="fold")
    table.add_column("seat", overflow="fold")
    table.add_column("scents", no_wrap=True)
    table.add_column("averse to", overflow="fold")
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column("delay", justify="right", no_wrap=True)
    for card in cards:
        settings = card.settings
        table.add_row(
            escape(card.zone),
            escape(card.seat),
            "none" if settings.opted_out else "yes",
            escape(", ".join(sorted(settings.averse_to))),
            f"{settings.gain:g}",
            f"{settings.delay_ms:g} ms",
        )
    if not out.is_terminal:
        out.width = UNBOUNDED  # for a file or a pipe: a row stays a line
    out.print(table)

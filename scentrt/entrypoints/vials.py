"""`scentrt vials`: load vials into slots, take them out, and see which stand where.

What changes anything goes through the server that runs, or else through a desk that the command
runs by itself for as long as it takes: the same rules hold either way. To look, it reads the
database.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import trio
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import LARGEST_QUANTITY, OrderId, Sku
from scentrt.domain.vials import SeatedVial, TakenVial, Whereabouts
from scentrt.entrypoints.stock import PER_PAGE, UNBOUNDED, Database, Http, Token, err, out
from scentrt.errors import ActorError, DatabaseInUse, StockError, StoreUnavailable

if TYPE_CHECKING:
    from scentrt.actors.vial_desk import VialKeeper
    from scentrt.config import Settings

vials = typer.Typer(
    help="Load vials out of the stock into slots, take them out, and see which stand where.\n\n"
    "Goes through the server that runs; without one, to the database by itself.\n\n"
    "Begin with an order: scentrt stock allocate order-17 SEABREEZE 24"
)

T = TypeVar("T")

Zone = Annotated[str, typer.Option("--zone", metavar="ZONE", help="The zone, like A.")]
Seats = Annotated[
    list[str] | None,
    typer.Option("--seat", metavar="SEAT", help="Only here, like A-1-3; one or several."),
]
Theatre = Annotated[
    str | None,
    typer.Option("--theatre", metavar="FILE", help="The theatre file, as for serve."),
]


@vials.command()
def load(
    orderid: Annotated[str, typer.Argument(help="The order that the vials are for.")],
    sku: Annotated[str, typer.Argument(help="The product; its scent says which slots it fits.")],
    zone: Zone,
    seat: Seats = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            metavar="N",
            min=1,
            max=LARGEST_QUANTITY,
            help="Let at most N vials of the order stand in the zone, where no seat is named.",
        ),
    ] = None,
    theatre: Theatre = None,
    db: Database = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Load vials of an order into free slots of a zone.

    With --seat at all of these seats, or nothing happens; that is for 1,000 vials at most. Without
    it wherever there is room, as many as the order has. What was returned is used first. What
    stands there already counts, so that the same command again changes nothing.
    """
    from scentrt.actors.vial_desk import Load

    seats = None if not seat else tuple(SeatId(each) for each in seat)
    wish = Load(OrderId(orderid), Sku(sku), ZoneId(zone), seats, most)
    loaded = _at_desk(theatre, db, http, token, lambda desk: desk.load(wish))
    _show((vial, None) for vial in loaded.vials)
    rest = f"{orderid} has {loaded.left:,} more." if loaded.left else f"That is all of {orderid}."
    _say(f"{sku} of {orderid} in zone {zone}: {_vials(len(loaded.vials))}. {rest}")


@vials.command()
def unload(
    zone: Zone,
    to: Annotated[
        Literal["return", "discard"],
        typer.Option("--to", help="Back to the stock, to be loaded again; or into the bin."),
    ],
    seat: Seats = None,
    scent: Annotated[
        str | None, typer.Option("--scent", metavar="SCENT", help="Only vials of this scent.")
    ] = None,
    slot: Annotated[
        int | None,
        typer.Option("--slot", metavar="N", min=0, max=255, help="Only from this slot."),
    ] = None,
    below: Annotated[
        float | None,
        typer.Option(
            "--below",
            metavar="PERCENT",
            min=0.001,
            max=100,
            help="Only vials that have less than this left.",
        ),
    ] = None,
    theatre: Theatre = None,
    db: Database = None,
    http: Http = None,
    token: Token = None,
) -> None:
    """Take vials out of their slots: all of a zone, or those that the options let through.

    What runs there is ended first. Empty vials are thrown away in any case.

    What is nearly empty: scentrt vials unload --zone A --to discard --below 5
    """
    from scentrt.actors.vial_desk import Unload

    wish = Unload(
        ZoneId(zone),
        Whereabouts.RETURNED if to == "return" else Whereabouts.DISCARDED,
        None if not seat else tuple(SeatId(each) for each in seat),
        None if scent is None else Scent(scent),
        slot,
        below,
    )
    taken = _at_desk(theatre, db, http, token, lambda desk: desk.unload(wish))
    _show((vial, None) for vial in taken)
    done = "returned" if to == "return" else "discarded"
    _say(f"Zone {zone}: {_vials(len(taken))} {done}.")


@vials.command("list")
def list_vials(
    zone: Annotated[str | None, typer.Option("--zone", metavar="ZONE", help="Only here.")] = None,
    seat: Annotated[str | None, typer.Option("--seat", metavar="SEAT", help="Only here.")] = None,
    sku: Annotated[str | None, typer.Option("--sku", metavar="SKU", help="Only of this.")] = None,
    order: Annotated[
        str | None, typer.Option("--order", metavar="ORDERID", help="Only for this order.")
    ] = None,
    where: Annotated[
        Whereabouts, typer.Option("--where", help="Those that stand in slots, or others.")
    ] = Whereabouts.SEATED,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    db: Database = None,
) -> None:
    """Show which vials stand where, and how much is left in each."""
    found = trio.run(_look, _settings(None, db, None), (zone, seat, sku, order, where))
    if as_json:
        typer.echo(json.dumps([_told(taken) for taken in found], indent=2))
    elif found:
        _show((taken.vial, taken.orderid) for taken in found)
    else:
        err.print("There are none: begin with [b]scentrt vials load[/b].")


# At the desk


def _settings(theatre: str | None, db: str | None, http: str | None) -> "Settings":
    from scentrt.config import load_settings, parse_address

    given: dict[str, object] = {"theatre": theatre, "db": db}
    if http is not None:
        given["http"] = parse_address("--http", http)
    return load_settings({name: value for name, value in given.items() if value is not None})


def _at_desk(
    theatre: str | None,
    db: str | None,
    http: str | None,
    token: str | None,
    do: "Callable[[VialKeeper], Awaitable[T]]",
) -> T:
    """Do something at the vial desk of whichever server there is; or end with why not."""
    done = trio.run(_do, _settings(theatre, db, http), http, token, do)
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
    do: "Callable[[VialKeeper], Awaitable[T]]",
) -> T | _Refused:
    from scentrt.bootstrap import open_vial_desk
    from scentrt.entrypoints.counter import Counter

    async def carry_out(desk: "VialKeeper") -> T | _Refused:
        try:
            return await do(desk)
        except (StockError, StoreUnavailable, ActorError) as error:
            return _Refused(error)

    at = settings.http
    if http is not None:  # that server is meant, and no database that happens to be here
        return await carry_out(Counter(at.host, at.port, token, None))
    try:
        async with open_vial_desk(settings) as desk:
            return await carry_out(desk)
    except DatabaseInUse as in_use:
        return await carry_out(Counter(at.host, at.port, token, in_use))


async def _look(
    settings: "Settings",
    asked: tuple[str | None, str | None, str | None, str | None, Whereabouts],
) -> list[TakenVial]:
    from scentrt.bootstrap import open_stock_views
    from scentrt.service_layer.views import NO_VIAL, VialFilter

    zone, seat, sku, order, where = asked
    wanted = VialFilter(
        None if zone is None else ZoneId(zone),
        None if seat is None else SeatId(seat),
        None if sku is None else Sku(sku),
        None if order is None else OrderId(order),
        where,
    )
    found: list[TakenVial] = []
    async with open_stock_views(settings) as views:
        while page := await views.vials(wanted, found[-1].vial.id if found else NO_VIAL, PER_PAGE):
            found += page
    return found


# In words


def _show(found: Iterable[tuple[SeatedVial, OrderId | None]]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for column in "seat", "SKU", "batch", "order":
        table.add_column(column, overflow="fold")
    for column in "slot", "left", "of", "%":
        table.add_column(column, justify="right", no_wrap=True)
    rows = list(found)
    for vial, orderid in rows:
        table.add_row(
            escape(vial.place.seat),
            escape(vial.sku),
            escape(vial.batchref),
            "" if orderid is None else escape(orderid),
            str(vial.place.slot),
            f"{vial.left_us / US_PER_S:,.0f} s",
            f"{vial.capacity_us / US_PER_S:,.0f} s",
            f"{100 * vial.left_us / vial.capacity_us:.0f}",
        )
    if all(orderid is None for _, orderid in rows):
        del table.columns[3]
    if not out.is_terminal:
        out.width = UNBOUNDED  # for a file or a pipe: a row stays a line
    if rows:
        out.print(table)


def _told(taken: TakenVial) -> dict[str, Any]:
    vial = taken.vial
    return {
        "id": vial.id,
        "zone": vial.place.zone,
        "seat": vial.place.seat,
        "slot": vial.place.slot,
        "sku": vial.sku,
        "batchref": vial.batchref,
        "orderid": taken.orderid,
        "where": taken.whereabouts,
        "capacity_s": vial.capacity_us / US_PER_S,
        "remaining_s": vial.left_us / US_PER_S,
    }


def _vials(number: int) -> str:
    return "1 vial" if number == 1 else f"{number:,} vials"


def _say(sentence: str) -> None:
    out.print(sentence, markup=False, soft_wrap=True)


def _fail(sentence: str) -> NoReturn:
    err.print(f"[red]{escape(sentence)}[/red]")
    raise typer.Exit(1)

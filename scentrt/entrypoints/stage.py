"""The stage of `scentrt demo`: what its audience is shown, while it plays and at the end."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scentrt.domain.cues import SeatId
from scentrt.domain.refills import RefillStatus
from scentrt.entrypoints.night import LATEST, ZONE, Books

if TYPE_CHECKING:
    from scentrt.bootstrap import Server
    from simulators.ble.house import SimulatedHouse
    from simulators.client import Message
    from simulators.tally import Tally

COLOURS = {
    "sea-breeze": "bright_cyan",
    "nightclub": "magenta",
    "jungle": "bright_green",
    "forest": "green",
    "busy-street": "yellow",
}
SEAT_WIDTH = 9
BAR_WIDTH = 18
WIDTH = 96


class Stage:
    """What the audience sees: the seats, the vials, the latest sprays and news, and the rates."""

    def __init__(
        self, server: "Server", radio: "SimulatedHouse", books: Books, seconds: float
    ) -> None:
        self.server = server
        self.seconds = seconds
        self._books = books
        [self._zone] = server.house.plan.zones
        self._devices = {
            seat: radio.peripherals[device.name].dispenser
            for seat, device in self._zone.devices.items()
        }
        self._began = trio.current_time()
        self._latest: deque[str] = deque(maxlen=LATEST)

    @property
    def commands(self) -> int:
        """How many commands the devices have got."""
        return sum(device.commands for device in self._devices.values())

    def note(self, released: "Message") -> None:
        """Note that a scent was released in the zone."""
        scent, seats = released["scent"], released["seats"]
        self._latest.append(
            f"[{_colour(scent)}]{scent:12}[/] "
            f"{len(self._devices) if seats is None else len(seats):2} seats  "
            f"{released['intensity']:.0%} for {released['duration_ms'] / 1000:.1f} s"
        )

    def render(self) -> RenderableType:
        """Return the picture of this moment."""
        elapsed = max(0.001, trio.current_time() - self._began)
        commands = self.commands
        rates = Table.grid(padding=(0, 2))
        rates.add_row("GATT writes", f"{commands:,}", f"{commands / elapsed:,.0f} a second")
        rates.add_row("devices", str(connected(self.server)), f"of {len(self._devices)} connected")
        rates.add_row("clients", str(self.server.gateway.clients), "games and goggles")
        rates.add_row("time", f"{elapsed:.0f} s", f"of {self.seconds:g} s")
        lately = "\n".join(self._latest) or "…"
        # Always as high, so that nothing jumps.
        news = [*self._books.news, *[""] * LATEST][:LATEST]
        return Group(
            Panel(self._seats(), title="Zone A, as it smells", title_align="left", width=WIDTH),
            Panel(self._vials(), title="Its vials", title_align="left", width=WIDTH),
            Columns(
                [
                    Panel(lately, title="Cues", title_align="left", width=50, height=LATEST + 2),
                    Panel(
                        rates,
                        title="Rates",
                        title_align="left",
                        width=WIDTH - 51,
                        height=LATEST + 2,
                    ),
                ]
            ),
            Panel(
                Text("\n".join(news), no_wrap=True, overflow="ellipsis"),
                title="The stock room",
                title_align="left",
                width=WIDTH,
            ),
        )

    def line(self) -> str:
        """Return this moment in one line."""
        latest = self._latest[-1] if self._latest else "nothing yet"
        elapsed = trio.current_time() - self._began
        left = ", ".join(
            f"{scent} {supply['remaining_s'] / supply['capacity_s']:.0%}"
            for scent in self._zone.slots
            if (supply := self._books.supply.get(scent)) is not None
        )
        return (
            f"{elapsed:4.0f} s  {self.commands:7,} commands so far; the latest cue: {latest}; "
            f"vials: {left or 'not seen yet'}"
        )

    def _seats(self) -> Table:
        plan = self._zone
        grid = Table.grid(padding=(0, 1))
        ids = plan.seat_ids()
        for row in range(plan.rows):
            first = row * plan.seats_per_row
            grid.add_row(*map(self._seat, ids[first : first + plan.seats_per_row]))
        return grid

    def _seat(self, id: SeatId) -> Text:
        text = Text(f"{id:<6}")
        for slot, scent in enumerate(self._zone.slots):
            if self._devices[id].open_slots >> slot & 1:
                text.append("●", style=_colour(scent))
        text.pad_right(SEAT_WIDTH + 3 - len(text))
        return text

    def _vials(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for scent in self._zone.slots:
            supply = self._books.supply.get(scent)
            part, left = 0.0, "no vials"  # while they are changed
            if supply is not None:
                part = supply["remaining_s"] / supply["capacity_s"]
                left = f"{supply['remaining_s']:.1f} of {supply['capacity_s']:.1f} s"
            grid.add_row(
                Text(scent, style=_colour(scent)),
                _bar(part, _colour(scent)),
                Text(f"{left:>14}"),
                self._refill(scent),
            )
        return grid

    def _refill(self, scent: str) -> Text:
        refill = self._books.refills.get(scent)
        if refill is None:
            return Text("")
        text = Text(f"{refill['orderid']} ", no_wrap=True, overflow="ellipsis")
        match refill["status"]:
            case RefillStatus.OUT_OF_STOCK:
                return text.append("out of stock", style="bold red")
            case RefillStatus.ORDERED:
                return text.append(f"ordered: {refill['batchref']}", style="bold")
            case status:
                return text.append(status, style="dim")


def _colour(scent: str) -> str:
    return COLOURS.get(scent, "white")


def _bar(part: float, colour: str) -> Text:
    full = round(part * BAR_WIDTH)
    return Text.assemble(("━" * full, colour), ("━" * (BAR_WIDTH - full), "grey30"))


def connected(server: "Server") -> int:
    return sum(state.online for state in server.linked[ZONE].states.values())


def summarise(out: Console, tally: "Tally", books: Books, late: int) -> None:
    """Print what came of the play and of the night in the stock room, and how fast it was."""
    dispensed = [late + last for late, last in zip(tally.lateness_ms, tally.last_ms, strict=True)]
    table = Table(title="What came of it", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("cues sent", f"{tally.cues:,}")
    table.add_row("cues accepted", f"{tally.accepted:,}")
    table.add_row("levels sent, at 60 Hz", f"{tally.levels:,}")
    table.add_row("seats sprayed by cues", f"{tally.written:,}")
    for reason, seats in sorted(tally.skipped.items()):
        table.add_row(f"seats skipped: {reason}", f"{seats:,}")
    for code, times in sorted(tally.refused.items()):
        table.add_row(f"refused: {code}", f"{times:,}")
    table.add_row("dropped as too late", f"{late:,}")
    table.add_row("events seen by goggles", f"{tally.shown:,}")
    out.print(table)
    out.print(_night_table(books))
    fast = Table(title="How fast", title_justify="left")
    fast.add_column("milliseconds")
    for column in ("p50", "p99", "max"):
        fast.add_column(column, justify="right")
    for name, samples in (
        ("lateness: received or due, to dispatched", tally.lateness_ms),
        ("cue to the last GATT write", dispensed),
        ("dispatched, to seen by goggles", tally.transit_ms),
    ):
        fast.add_row(name, *_percentiles(samples))
    out.print(fast)
    out.print(
        "\nTry next: [b]scentrt serve --simulate[/b] and connect a game of yours, "
        "[b]scentrt protocol[/b] for what it has to say, or [b]scentrt demo --for 60 --keep[/b]."
    )


def _night_table(books: Books) -> Table:
    table = Table(title="What came of the stock", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("vials loaded", f"{books.vials:,}")
    for scent, released_s in sorted(books.released_s.items()):
        table.add_row(f"{scent}, by the journal", f"{released_s:,.1f} dose-seconds")
    for orderid in sorted(books.ordered):
        table.add_row("refill ordered by the zone", orderid)
    for letter in books.letters:
        table.add_row("mail to the stock team", letter)
    return table


def _percentiles(samples: Iterable[float]) -> Iterable[str]:
    from simulators.tally import percentile

    found = sorted(samples)
    if not found:
        return ["-", "-", "-"]
    return [f"{percentile(found, share):.2f}" for share in (0.5, 0.99, 1.0)]

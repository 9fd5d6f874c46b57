"""`scentrt demo`: a game, a simulated theatre and three pairs of goggles, in one terminal.

The game and the goggles are the simulators: they come in over real sockets and speak the public
protocol, as anybody else would. Only the seats' dispensers are looked at from inside.
"""

import logging
import signal
import socket
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from scentrt.bootstrap import Server, open_server, tune_process
from scentrt.config import GatewaySection, HttpSection, Settings
from scentrt.domain.cues import Spray, ZoneId

if TYPE_CHECKING:
    from simulators.tally import Tally

COLOURS = {
    "sea-breeze": "bright_cyan",
    "nightclub": "magenta",
    "jungle": "bright_green",
    "forest": "green",
    "busy-street": "yellow",
}
SEAT_WIDTH = 9
LATEST = 6
"""So many of the latest sprays are listed."""

PICTURES_PER_S = 10

ZONE = ZoneId("A")


class Stage:
    """What the audience of the demo is shown: the seats, the latest sprays and the rates."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.sprays = 0
        self.seconds = 0.0
        self._began = trio.current_time()
        self._latest: deque[str] = deque(maxlen=LATEST)

    def on_spray(self, spray: Spray, seats: int, at_ms: float) -> None:
        """Note an order to the dispensers; steps of levels only count."""
        self.sprays += seats
        if spray.cue is not None and self.server is not None:
            scent = self.server.house.plan.zones[0].slots[spray.slot]
            self._latest.append(
                f"[{COLOURS.get(scent, 'white')}]{scent:12}[/] {seats:2} seats  "
                f"{spray.intensity:.0%} for {spray.duration_ms / 1000:.1f} s"
            )

    def render(self) -> RenderableType:
        """Return the picture of this moment."""
        assert self.server is not None
        elapsed = max(0.001, trio.current_time() - self._began)
        rates = Table.grid(padding=(0, 2))
        rates.add_row("sprays", f"{self.sprays:,}", f"{self.sprays / elapsed:,.0f} a second")
        rates.add_row("clients", str(self.server.gateway.clients), "2 games, 3 goggles")
        rates.add_row("time", f"{elapsed:.0f} s", f"of {self.seconds:g} s")
        lately = "\n".join(self._latest) or "…"
        return Group(
            Panel(self._seats(), title="Zone A, as it smells", title_align="left"),
            Columns([Panel(lately, title="Cues", width=50), Panel(rates, title="Rates", width=46)]),
        )

    def line(self) -> str:
        """Return this moment in one line."""
        latest = self._latest[-1] if self._latest else "nothing yet"
        elapsed = trio.current_time() - self._began
        return f"{elapsed:4.0f} s  {self.sprays:7,} sprays so far; the latest cue: {latest}"

    def _seats(self) -> Table:
        assert self.server is not None
        plan = self.server.house.plan.zones[0]
        smells: dict[str, list[str]] = {}
        for seat, slot in self.server.memory[ZONE].open_slots():
            smells.setdefault(seat, []).append(plan.slots[slot])
        grid = Table.grid(padding=(0, 1))
        ids = plan.seat_ids()
        for row in range(plan.rows):
            first = row * plan.seats_per_row
            grid.add_row(*(_seat(id, smells) for id in ids[first : first + plan.seats_per_row]))
        return grid


def _seat(id: str, smells: dict[str, list[str]]) -> Text:
    text = Text(f"{id:<6}")
    for scent in sorted(smells.get(id, ())):
        text.append("●", style=COLOURS.get(scent, "white"))
    text.pad_right(SEAT_WIDTH + 3 - len(text))
    return text


async def play(out: Console, seconds: float, keep: bool) -> None:  # noqa: FBT001 (a flag of the command)
    """Play for so many seconds, or until Ctrl-C, and show at the end what came of it."""
    # Loaded here: the simulators are no part of the server.
    from simulators.tally import Tally

    tally, stage = Tally(), Stage()
    logging.getLogger("scentrt").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="scentrt-demo-") as folder:
        async with open_server(_settings(Path(folder)), on_spray=stage.on_spray) as server:
            stage.server, stage.seconds = server, seconds
            tune_process()
            out.print(
                f"A theatre of 24 simulated seats at [b]{server.gateway_url}[/b]. A game plays to "
                "zone A, another to the dispenser of one of three pairs of goggles.\n"
            )
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_signal, signals, nursery.cancel_scope)
                    nursery.start_soon(_show, out, stage)
                    await _perform(server.gateway_url, seconds, tally)
                    nursery.cancel_scope.cancel()
                _summarise(out, tally, late=server.actors[ZONE].late)
                if keep:
                    out.print(f"\nStill there at {server.gateway_url} until Ctrl-C.")
                    async for _ in signals:
                        break


def _settings(folder: Path) -> Settings:
    """Return settings of the demo's own: nothing that is configured here changes what it shows."""
    return Settings.model_construct(
        db=str(folder / "demo.db"),
        simulate=True,
        gateway=GatewaySection(port=_usual_or_free(8765)),
        http=HttpSection(port=_usual_or_free(5005)),
    )


def _usual_or_free(port: int) -> int:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return port
    except OSError:
        return 0


async def _perform(url: str, seconds: float, tally: "Tally") -> None:
    """Let two games play, in front of three pairs of goggles, one of which dispenses."""
    from simulators.client import open_client
    from simulators.engine import play as play_game
    from simulators.goggles import Vial, crowd, wear
    from simulators.theatre import SCENTS

    async def game(name: str, seed: int, to: Mapping[str, list[str]]) -> None:
        async with open_client(url, role="engine", name=name) as client:
            await play_game(client, seed=seed, seconds=seconds, to=dict(to), tally=tally)

    async with trio.open_nursery() as audience:
        vials = [Vial(scent) for scent in SCENTS]
        await audience.start(partial(wear, url, "player-7", dispenser=vials, tally=tally))
        await audience.start(partial(crowd, url, 2, zones=None, tally=tally))
        async with trio.open_nursery() as stage:
            stage.start_soon(game, "the-cinema-game", 7, {"zones": [str(ZONE)]})
            stage.start_soon(game, "the-vr-game", 8, {"goggles": ["player-7"]})
        audience.cancel_scope.cancel()


async def _show(out: Console, stage: Stage) -> None:
    """Show what happens: a live picture in a terminal, a line now and then elsewhere."""
    if not out.is_terminal:
        while True:
            await trio.sleep(2)
            out.print(stage.line())
    with Live(stage.render(), console=out, auto_refresh=False, transient=True) as live:
        while True:
            await trio.sleep(1 / PICTURES_PER_S)
            live.update(stage.render(), refresh=True)


async def _until_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _summarise(out: Console, tally: "Tally", late: int) -> None:
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
    fast = Table(title="How fast", title_justify="left")
    fast.add_column("milliseconds")
    for column in ("p50", "p99", "max"):
        fast.add_column(column, justify="right")
    for name, samples in (
        ("lateness: received or due, to dispatched", tally.lateness_ms),
        ("cue to the last dispenser", dispensed),
        ("dispatched, to seen by goggles", tally.transit_ms),
    ):
        fast.add_row(name, *_percentiles(samples))
    out.print(fast)
    out.print(
        "\nTry next: [b]scentrt serve --simulate[/b] and connect a game of yours, "
        "[b]scentrt protocol[/b] for what it has to say, or [b]scentrt demo --for 60 --keep[/b]."
    )


def _percentiles(samples: Iterable[float]) -> Iterable[str]:
    from simulators.tally import percentile

    found = sorted(samples)
    if not found:
        return ["-", "-", "-"]
    return [f"{percentile(found, share):.2f}" for share in (0.5, 0.99, 1.0)]

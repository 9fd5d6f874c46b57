"""`scentrt demo`: a game, a simulated theatre and three pairs of goggles, in one terminal.

The game and the goggles are the simulators: they come in over real sockets and speak the public
protocol, as anybody else would. The seats' dispensers are on a simulated Bluetooth radio, and the
picture shows what the devices themselves do.
"""

import io
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
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.entrypoints.simulation import simulated_radio
from scentrt.errors import ConfigError

if TYPE_CHECKING:
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
LATEST = 6
"""So many of the latest sprays are listed."""

PICTURES_PER_S = 10

PAPER_WIDTH = 98

CONNECTED_WITHIN_S = 60.0
"""24 devices are connected in a second or two; on a machine that has much else to do, later."""

ZONE = ZoneId("A")


class Stage:
    """What the audience of the demo is shown: the seats, the latest sprays and the rates."""

    def __init__(self, server: Server, radio: "SimulatedHouse", seconds: float) -> None:
        self.server = server
        self.seconds = seconds
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
            f"[{COLOURS.get(scent, 'white')}]{scent:12}[/] "
            f"{len(self._devices) if seats is None else len(seats):2} seats  "
            f"{released['intensity']:.0%} for {released['duration_ms'] / 1000:.1f} s"
        )

    def render(self) -> RenderableType:
        """Return the picture of this moment."""
        elapsed = max(0.001, trio.current_time() - self._began)
        commands = self.commands
        rates = Table.grid(padding=(0, 2))
        rates.add_row("GATT writes", f"{commands:,}", f"{commands / elapsed:,.0f} a second")
        rates.add_row("devices", str(_connected(self.server)), f"of {len(self._devices)} connected")
        rates.add_row("clients", str(self.server.gateway.clients), "games, goggles, a desk")
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
        return f"{elapsed:4.0f} s  {self.commands:7,} commands so far; the latest cue: {latest}"

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
                text.append("●", style=COLOURS.get(scent, "white"))
        text.pad_right(SEAT_WIDTH + 3 - len(text))
        return text


async def play(
    out: Console,
    seconds: float,
    keep: bool,  # noqa: FBT001 (a flag of the command)
    picture: Path | None,
) -> None:
    """Play for so many seconds, or until Ctrl-C, and show at the end what came of it."""
    # Loaded here: the simulators are no part of the server.
    from simulators.tally import Tally

    tally = Tally()
    radio = simulated_radio("demo")
    logging.getLogger("scentrt").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="scentrt-demo-") as folder:
        async with open_server(_settings(Path(folder)), airwaves=radio) as server:
            tune_process()
            out.print(
                f"A theatre of 24 seats at [b]{server.gateway_url}[/b], each with a simulated "
                "dispenser on Bluetooth LE. A game plays to zone A, another to one of three pairs "
                "of goggles, which dispenses by itself.\n"
            )
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_until_signal, signals, nursery.cancel_scope)
                    await _connect(out, server)
                    stage = Stage(server, radio, seconds)
                    nursery.start_soon(_show, out, stage)
                    if picture is not None:
                        nursery.start_soon(_save_picture, picture, stage)
                    await _perform(stage, tally)
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
        simulate_ble=True,
        gateway=GatewaySection(port=_usual_or_free(8765)),
        http=HttpSection(port=_usual_or_free(5005)),
    )


def _usual_or_free(port: int) -> int:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return port
    except OSError:
        return 0


async def _connect(out: Console, server: Server) -> None:
    """Wait until every device is connected, and say how long that took."""
    began, devices = trio.current_time(), len(server.linked[ZONE].states)
    with out.status("Connecting …") as status:
        while (connected := _connected(server)) < devices:
            if trio.current_time() > began + CONNECTED_WITHIN_S:
                raise ConfigError("demo", f"only {connected} of {devices} devices could connect")
            status.update(f"Connecting: {connected} of {devices} devices")
            await trio.sleep(1 / PICTURES_PER_S)
    out.print(f"{devices} devices connected in {trio.current_time() - began:.1f} s.\n")


def _connected(server: Server) -> int:
    return sum(state.online for state in server.linked[ZONE].states.values())


async def _perform(stage: Stage, tally: "Tally") -> None:
    """Let two games play, in front of three pairs of goggles, one of which dispenses."""
    from simulators.client import open_client
    from simulators.engine import play as play_game
    from simulators.goggles import Vial, crowd, wear
    from simulators.theatre import SCENTS

    url = stage.server.gateway_url

    async def game(name: str, seed: int, to: Mapping[str, list[str]]) -> None:
        async with open_client(url, role="engine", name=name) as client:
            await play_game(client, seed=seed, seconds=stage.seconds, to=dict(to), tally=tally)

    async def desk(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with open_client(url, role="operator", name="the-desk") as client:
            await client.subscribe("scent", zones=[ZONE])
            task_status.started()
            async for message in client.events():
                if message["type"] == "scent":
                    stage.note(message)

    async with trio.open_nursery() as audience:
        await audience.start(desk)
        vials = [Vial(scent) for scent in SCENTS]
        await audience.start(partial(wear, url, "player-7", dispenser=vials, tally=tally))
        await audience.start(partial(crowd, url, 2, zones=None, tally=tally))
        async with trio.open_nursery() as games:
            games.start_soon(game, "the-cinema-game", 7, {"zones": [str(ZONE)]})
            games.start_soon(game, "the-vr-game", 8, {"goggles": ["player-7"]})
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


async def _save_picture(file: Path, stage: Stage) -> None:
    await trio.sleep(stage.seconds / 2)
    paper = Console(record=True, width=PAPER_WIDTH, file=io.StringIO())
    paper.print(stage.render())
    try:
        paper.save_svg(str(file), title="scentrt demo", unique_id="demo")
    except OSError as error:
        raise ConfigError("--picture", f"{file} cannot be written: {error.strerror}") from error


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
        ("cue to the last GATT write", dispensed),
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

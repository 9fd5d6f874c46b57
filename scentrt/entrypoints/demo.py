"""`scentrt demo`: a game, a simulated theatre, its stock and some goggles, in one terminal.

The game and the goggles are the simulators: they come in over real sockets and speak the public
protocol, as anybody else would, and so does the stock hand over HTTP. The seats' dispensers are on
a simulated Bluetooth radio, and the picture shows what the devices themselves do.
"""

import io
import logging
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from rich.console import Console
from rich.live import Live

from scentrt.bootstrap import Server, open_server, tune_process
from scentrt.config import GatewaySection, HttpSection, Settings
from scentrt.entrypoints.counter import Counter
from scentrt.entrypoints.night import CATALOGUE, ZONE, Night
from scentrt.entrypoints.simulation import simulated_radio
from scentrt.entrypoints.stage import Stage, connected, summarise
from scentrt.errors import ConfigError
from scentrt.theatre_file import load_theatre

if TYPE_CHECKING:
    from simulators.tally import Tally

PICTURES_PER_S = 10

PAPER_WIDTH = 98

CONNECTED_WITHIN_S = 60.0
"""24 devices are connected in a second or two; on a machine that has much else to do, later."""


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
    plan = replace(load_theatre(None), catalogue=CATALOGUE)
    with tempfile.TemporaryDirectory(prefix="scentrt-demo-") as folder:
        async with open_server(_settings(Path(folder)), plan=plan, airwaves=radio) as server:
            tune_process()
            out.print(
                f"A theatre of 24 seats at [b]{server.gateway_url}[/b], each with a simulated "
                "dispenser on Bluetooth LE. A game plays to zone A, another to one of three pairs "
                "of goggles, which dispenses by itself. The vials are small, and the zone orders "
                "others when they run low.\n"
            )
            night = _night(out, server)
            with (
                night.letters(),
                trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
            ):
                async with _until_signal(signals) as nursery:
                    await _connect(out, server)
                    await night.open()
                    out.print(f"{night.books.vials} vials loaded.\n")
                    stage = Stage(server, radio, night.books, seconds)
                    nursery.start_soon(_show, out, stage)
                    nursery.start_soon(_keep_stock, server, night)
                    if picture is not None:
                        nursery.start_soon(_save_picture, picture, stage)
                    await _perform(stage, tally)
                async with _until_signal(signals):
                    await night.read_journal()
                summarise(out, tally, night.books, late=server.actors[ZONE].late)
                if keep:
                    out.print(f"\nStill there at {server.gateway_url} until Ctrl-C.")
                    async with _until_signal(signals):
                        await _keep_stock(server, night)


@asynccontextmanager
async def _until_signal(signals: AsyncIterator[int]) -> AsyncIterator[trio.Nursery]:
    """Run a block, and end it, and what it has started, when a signal comes."""
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            async for _ in signals:
                nursery.cancel_scope.cancel()

        nursery.start_soon(end)
        yield nursery
        nursery.cancel_scope.cancel()


def _night(out: Console, server: Server) -> Night:
    """Return a server's night in the stock room, told line by line where there is no picture."""
    http = urlsplit(server.http_url)
    counter = Counter(http.hostname or "", http.port or 80, token=None, in_use=None)

    def tell(news: str) -> None:
        if not out.is_terminal:
            out.print(f"Stock: {news}", markup=False, soft_wrap=True)

    return Night(counter, tell)


async def _keep_stock(server: Server, night: Night) -> None:
    from simulators.client import open_client

    async with open_client(server.gateway_url, role="operator", name="the-stock-room") as client:
        await night.keep(client)


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
        while (there := connected(server)) < devices:
            if trio.current_time() > began + CONNECTED_WITHIN_S:
                raise ConfigError("demo", f"only {there} of {devices} devices could connect")
            status.update(f"Connecting: {there} of {devices} devices")
            await trio.sleep(1 / PICTURES_PER_S)
    out.print(f"{devices} devices connected in {trio.current_time() - began:.1f} s.\n")


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

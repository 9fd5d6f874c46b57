"""Engines, goggles and whole theatres for the terminal: `python -m simulators --help`."""

import itertools
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer
from rich.console import Console
from rich.live import Live

from simulators.client import JSON, MSGPACK, ClientError, Message, Role, open_client
from simulators.engine import play
from simulators.goggles import Vial, crowd
from simulators.tally import Tally
from simulators.theatre import SCENTS, Evening, plan, play_house

REDRAWS_PER_S = 4

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Play to a ScentRT server as its clients do, and see what becomes of it.",
)


class Wire(StrEnum):
    """How messages are written."""

    JSON = "json"
    MSGPACK = "msgpack"

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol of this name."""
        return {Wire.JSON: JSON, Wire.MSGPACK: MSGPACK}[self]


Url = Annotated[str, typer.Option(help="The server's WebSocket.")]
Seconds = Annotated[float, typer.Option("--for", min=0.1, help="How long to play, in seconds.")]
Seed = Annotated[int, typer.Option(help="The same seed plays the same session.")]
Token = Annotated[str | None, typer.Option(help="Where the server asks for one.")]
Wired = Annotated[Wire, typer.Option("--wire", help="How messages are written.")]
Dispensers = Annotated[bool, typer.Option(help="Goggles that spray by themselves.")]
LOCAL = "ws://127.0.0.1:8765/"


@app.command()
def engine(
    *,
    url: Url = LOCAL,
    zone: Annotated[
        list[str] | None, typer.Option(help="Play to this zone, again for more; all if left out.")
    ] = None,
    seconds: Seconds = 20.0,
    seed: Seed = 1,
    name: Annotated[str, typer.Option(help="How the engine calls itself.")] = "explorer",
    token: Token = None,
    wire: Wired = Wire.JSON,
) -> None:
    """A game: an explorer walks through forest, street, night club and beach."""
    to: Message = {"zones": zone} if zone else {"all": True}

    async def session(tally: Tally) -> None:
        async with open_client(
            url, role="engine", name=name, token=token, subprotocol=wire.subprotocol
        ) as client:
            await play(client, seed=seed, seconds=seconds, to=to, tally=tally)

    _run(session, f"One engine, {seconds:g} s")


@app.command()
def goggles(
    *,
    url: Url = LOCAL,
    count: Annotated[int, typer.Option(min=1, help="How many pairs.")] = 1,
    seconds: Seconds = 20.0,
    dispensers: Dispensers = False,
    prefix: Annotated[str, typer.Option(help="They are called prefix-1 and so on.")] = "player",
    token: Token = None,
    wire: Wired = Wire.JSON,
) -> None:
    """Goggles: they watch all zones, and spray by themselves if they have dispensers."""

    async def evening(tally: Tally) -> None:
        with trio.move_on_after(seconds):
            await crowd(
                url,
                count,
                prefix=prefix,
                dispenser=[Vial(scent) for scent in SCENTS] if dispensers else None,
                zones=None,
                token=token,
                subprotocol=wire.subprotocol,
                tally=tally,
            )

    _run(evening, f"{count} goggles, {seconds:g} s")


@app.command()
def theatre(
    *,
    url: Url = LOCAL,
    engines: Annotated[int, typer.Option(min=0, help="How many games play at once.")] = 1,
    goggles: Annotated[int, typer.Option(min=0, help="How many goggles watch.")] = 10,
    seconds: Seconds = 20.0,
    seed: Seed = 1,
    dispensers: Dispensers = False,
    engine_token: Token = None,
    goggles_token: Token = None,
    operator_token: Token = None,
    wire: Wired = Wire.JSON,
) -> None:
    """A whole house: engines, a crowd of goggles, and an operator who watches and stops."""
    tokens: dict[Role, str | None] = {
        "engine": engine_token,
        "goggles": goggles_token,
        "operator": operator_token,
    }
    evening = Evening(
        url=url,
        engines=engines,
        goggles=goggles,
        dispensers=dispensers,
        seconds=seconds,
        seed=seed,
        subprotocol=wire.subprotocol,
        tokens={role: token for role, token in tokens.items() if token},
    )
    _run(partial(play_house, evening), f"{engines} engines, {goggles} goggles, {seconds:g} s")


@app.command("plan")
def write_plan(
    zones: Annotated[int, typer.Option(min=1, help="How many, called A, B and so on.")] = 1,
    rows: Annotated[int, typer.Option(min=1, help="In each zone.")] = 4,
    seats_per_row: Annotated[int, typer.Option(min=1)] = 6,
    scent: Annotated[
        list[str] | None, typer.Option(help="In each seat's next slot; all five if left out.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The file; the terminal if left out.")] = None,
) -> None:
    """The plan of a theatre of any size, for `scentrt serve --simulate --theatre FILE`."""
    toml = plan(zones=zones, rows=rows, seats_per_row=seats_per_row, slots=scent or SCENTS)
    if to:
        to.write_text(toml, encoding="utf-8")
    else:
        typer.echo(toml, nl=False)


def _run(players: Callable[[Tally], Awaitable[None]], title: str) -> None:
    """Let them play with a table that keeps up, and end with it, also after Ctrl-C."""
    tally = Tally()
    problem: str | None = None
    with Live("", console=Console(), auto_refresh=False) as live:
        try:
            trio.run(_show_while, players, tally, title, live)
        except* KeyboardInterrupt:
            problem = "stopped before the end"
        except* (ClientError, ValueError) as errors:
            problem = str(_first(errors))
        if (table := tally.table(title)).row_count:
            live.update(table, refresh=True)
    if problem:
        typer.secho(problem, fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _first(errors: BaseException) -> BaseException:
    """Return one of several errors: more than one sentence helps nobody."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


async def _show_while(
    players: Callable[[Tally], Awaitable[None]], tally: Tally, title: str, live: Live
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_redraw, tally, title, live)
        await players(tally)
        nursery.cancel_scope.cancel()


async def _redraw(tally: Tally, title: str, live: Live) -> None:
    start = trio.current_time()
    for tick in itertools.count(1):
        await trio.sleep_until(start + tick / REDRAWS_PER_S)
        live.update(tally.table(title), refresh=True)


if __name__ == "__main__":
    app(prog_name="python -m simulators")

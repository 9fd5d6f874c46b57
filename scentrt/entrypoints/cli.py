"""The command line: `scentrt demo`, `serve` and `protocol`, and where the others come in."""

import gc
import json
import logging
import os
import signal
import sys
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import trio
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

import scentrt
from scentrt.entrypoints.database import database
from scentrt.entrypoints.devices import devices
from scentrt.entrypoints.doctor import doctor
from scentrt.entrypoints.forecast import forecast
from scentrt.entrypoints.seats import seats
from scentrt.entrypoints.stock import stock
from scentrt.entrypoints.vials import vials
from scentrt.errors import ConfigError

if TYPE_CHECKING:
    from scentrt.bootstrap import Server
    from scentrt.config import Settings

app = typer.Typer(
    name="scentrt",
    help="Scents on cue: game engines and films release them at the seats of a theatre and in "
    "VR goggles.\n\nSee it first: `scentrt demo`",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
tokens = typer.Typer(help="Make the tokens that let clients in from other machines.")
app.add_typer(database, name="db", no_args_is_help=True)
app.add_typer(devices, name="devices", no_args_is_help=True)
stock.command()(forecast)
app.add_typer(seats, name="seats", no_args_is_help=True)
app.add_typer(stock, name="stock", no_args_is_help=True)
app.add_typer(vials, name="vials", no_args_is_help=True)
app.add_typer(tokens, name="token", no_args_is_help=True)

out, err = Console(), Console(stderr=True)

STOP_WITHIN_S = 3.0
"""What is not done by then is cancelled, so that the 5 s of the contract are enough for the rest,
which cannot be: the last attempt to write, and the closing of the database."""


def main() -> None:
    """Run the command line; what a user did wrong is one sentence, never a traceback."""
    problem = ""
    try:
        app()
    except* ConfigError as group:  # it may come out of the nurseries of a server that runs already
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        problem = str(error)
    if problem:
        _fail(problem)


@app.command()
def serve(
    theatre: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The theatre in TOML: its zones, seats and slots. Default: one zone of 4 x 6 "
            "seats with five scents.",
        ),
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate", help="Give every seat a dispenser in memory, so that no device is needed."
        ),
    ] = False,
    simulate_ble: Annotated[
        bool,
        typer.Option(
            "--simulate-ble",
            help="Give every seat a simulated device on a simulated Bluetooth radio, which the "
            "server connects to as to real ones; needs scentrt\\[demo].",
        ),
    ] = False,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The SQLite database, a path or an SQLAlchemy URL; made if it is not there. "
            "Default: scentrt.db.",
        ),
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where game engines, goggles and operators connect over WebSocket; port 0 takes "
            "a free one. Default: 127.0.0.1:8765.",
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where orders are taken over HTTP, as /docs there says. Default: 127.0.0.1:5005.",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the two URLs to this file, as one line of JSON, once everything listens.",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Log more: also connections that fail before anybody said hello.",
        ),
    ] = False,
) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Try it without any hardware: `scentrt serve --simulate`

    What is not given here is taken from the environment (SCENTRT_GATEWAY__PORT=9000), else from
    scentrt.toml in the current folder (port = 9000 under [gateway]), else from the defaults.
    """
    from scentrt.config import load_settings, parse_address

    _log_to_stderr(verbose=verbose)
    if ready_file is not None:
        _make_way_for(ready_file)
    settings = load_settings(
        _given(
            theatre=theatre,
            simulate=simulate or None,
            simulate_ble=simulate_ble or None,
            db=db,
            gateway=gateway and parse_address("--gateway", gateway),
            http=http and parse_address("--http", http),
        )
    )
    trio.run(_serve, settings, ready_file)


app.command()(doctor)


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option("--for", metavar="SECONDS", min=1, help="How long the game plays.")
    ] = 20,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay until Ctrl-C, to connect something of your own.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save the picture of the middle of the play, as SVG."),
    ] = None,
) -> None:
    """Watch a game drive a simulated theatre, with goggles looking on.

    Its vials are small: when a scent runs low, the zone orders others from the stock.

    Everything runs in this process over real sockets; nothing is left behind.
    """
    from scentrt.entrypoints.demo import play  # its simulators are no part of the server

    _log_to_stderr(verbose=False)
    trio.run(play, out, seconds, keep, picture)


@app.command()
def protocol(
    raw: Annotated[bool, typer.Option("--raw", help="Print the Markdown as it is.")] = False,
) -> None:
    """Read how game engines, goggles and operators talk with the server, with examples."""
    from rich.markdown import Markdown

    page = (files("scentrt.entrypoints.gateway") / "protocol.md").read_text(encoding="utf-8")
    if raw:
        typer.echo(page, nl=False)
        return
    os.environ.setdefault("LESS", "FRX")  # so that less shows colours instead of their codes
    with out.pager(styles=True) if out.is_terminal else nullcontext():
        out.print(Markdown(page))


@tokens.command("new")
def new(
    role: Annotated[str, typer.Option(help="engine, goggles or operator")],
    name: Annotated[str, typer.Option(help="Whose it is, for your own memory.")] = "",
) -> None:
    """Make a token for one role: the client sends the token, the server keeps only its hash.

    It is shown this once. Once the server knows any token, every client needs one.
    """
    from scentrt.config import CONFIG_FILE
    from scentrt.entrypoints.gateway.doorkeeper import hash_token, new_token

    if role not in {"engine", "goggles", "operator"}:
        raise ConfigError("--role", f"expected engine, goggles or operator, not {role!r}")
    token = new_token()
    err.print(f"The client sends this in its hello, as [b]token[/b]. Role: {role}.")
    typer.echo(token)
    err.print(f"\nPut this into [b]{CONFIG_FILE}[/b] of the server:")
    typer.echo("[[tokens]]")
    for key, value in {"name": name, "role": role, "sha256": hash_token(token)}.items():
        if value:
            typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Take options that stand before any command."""
    if show:
        out.print(f"scentrt {scentrt.__version__}", highlight=False)
        raise typer.Exit


async def _serve(settings: "Settings", ready_file: Path | None) -> None:
    async with trio.open_nursery() as nursery:
        stop: trio.Event = await nursery.start(_listen_for_signals, nursery.cancel_scope)
        # What is loaded and built from here on stays: nobody need look for garbage among it.
        gc.disable()
        # Loaded when signals are heard already, since it takes a second.
        from scentrt.bootstrap import open_server, tune_process
        from scentrt.entrypoints.simulation import simulated_radio

        airwaves = simulated_radio("--simulate-ble") if settings.simulate_ble else None
        async with open_server(settings, airwaves=airwaves) as server:
            tune_process()
            _announce(server, ready_file)
            await stop.wait()
        nursery.cancel_scope.cancel()


async def _listen_for_signals(
    serving: trio.CancelScope, task_status: trio.TaskStatus[trio.Event]
) -> None:
    """Set the event when the server is told to stop; also a start that hangs ends in time."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started(stop)
        async for _ in signals:
            if not stop.is_set():
                err.print("Stopping: every spray is stopped, and what is open is written.")
                serving.deadline = trio.current_time() + STOP_WITHIN_S
                stop.set()


def _announce(server: "Server", ready_file: Path | None) -> None:
    urls = {"gateway": server.gateway_url, "http": server.http_url}
    err.print(
        f"Game engines and goggles: [b]{urls['gateway']}[/b]   HTTP: [b]{urls['http']}[/b]",
        soft_wrap=True,
    )
    if not server.memory and not server.linked:
        err.print(
            "No seat has a dispenser: try it with [b]--simulate[/b], or give the seats theirs with "
            "[b]scentrt devices assign[/b]."
        )
    if ready_file is not None:
        # Whoever waits for the file must never find half of it.
        partial = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        try:
            partial.write_text(json.dumps(urls) + "\n", encoding="utf-8")
            partial.replace(ready_file)
        except OSError as error:
            raise _no_ready_file(ready_file, error) from error


def _make_way_for(ready_file: Path) -> None:
    """Remove what an earlier server has left, or whoever waits would take it for this one's."""
    try:
        ready_file.unlink(missing_ok=True)
    except OSError as error:
        raise _no_ready_file(ready_file, error) from error
    if not ready_file.parent.is_dir():
        raise ConfigError("--ready-file", f"there is no folder {ready_file.parent}")


def _no_ready_file(ready_file: Path, error: OSError) -> ConfigError:
    return ConfigError("--ready-file", f"{ready_file} cannot be written: {error.strerror}")


def _given(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _log_to_stderr(*, verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    if err.is_terminal:
        pretty = RichHandler(console=err, show_path=False)
        logging.basicConfig(level=level, format="%(message)s", datefmt="[%X]", handlers=[pretty])
    else:
        # For a file or a journal: a line stays a line, however narrow a terminal would be.
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _fail(sentence: str) -> NoReturn:
    err.print(f"[red]scentrt:[/red] {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(2)

"""The command line: `scentrt demo`, `serve` and `token`."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import trio
import typer
from rich.console import Console
from rich.logging import RichHandler

import scentrt
from scentrt.bootstrap import Server, open_server, tune_process
from scentrt.config import CONFIG_FILE, Settings, load_settings, parse_address
from scentrt.entrypoints.gateway.doorkeeper import hash_token, new_token
from scentrt.errors import ConfigError

app = typer.Typer(
    name="scentrt",
    help="Scents on cue: game engines and films release them at the seats of a theatre and in "
    "VR goggles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
tokens = typer.Typer(help="Tokens, with which clients on other machines come in.")
app.add_typer(tokens, name="token", no_args_is_help=True)

out, err = Console(), Console(stderr=True)


def main() -> None:
    """Run the command line; what a user did wrong is one sentence, never a traceback."""
    try:
        app()
    except ConfigError as error:
        _fail(str(error))


@app.command()
def serve(
    theatre: Annotated[
        Path | None,
        typer.Option(help="The theatre: its zones, seats and slots. Default: one of 4 x 6 seats."),
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="Dispensers in memory at every seat, no hardware."),
    ] = False,
    db: Annotated[
        str | None, typer.Option(help="The SQLite database: a path or an SQLAlchemy URL.")
    ] = None,
    gateway: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where clients connect. Port 0 takes a free one."),
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the HTTP server listens.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Where to write the URLs, as one line of JSON, once all is ready."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what is not unusual, too.")
    ] = False,
) -> None:
    """Run the server until it is told to stop.

    Options beat the environment (SCENTRT_GATEWAY__PORT=9000), that beats scentrt.toml in the
    folder where it is started, and that the defaults.
    """
    _log_to_stderr(verbose=verbose)
    settings = load_settings(
        _given(
            theatre=theatre,
            simulate=simulate or None,
            db=db,
            gateway=gateway and parse_address("--gateway", gateway),
            http=http and parse_address("--http", http),
        )
    )
    trio.run(_serve, settings, ready_file)


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option("--for", metavar="SECONDS", min=1, help="How long it plays.")
    ] = 20,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay until Ctrl-C, to connect something of your own.")
    ] = False,
) -> None:
    """Watch a game drive a simulated theatre, with goggles looking on.

    Everything runs in this process over real sockets; nothing is left behind.
    """
    from scentrt.entrypoints.demo import play  # its simulators are no part of the server

    _log_to_stderr(verbose=False)
    trio.run(play, out, seconds, keep)


@tokens.command("new")
def new(
    role: Annotated[str, typer.Option(help="engine, goggles or operator")],
    name: Annotated[str, typer.Option(help="Whose it is, for your own memory.")] = "",
) -> None:
    """Make a token, and print what the client says and what the server keeps.

    The server keeps only a hash, so the token itself is shown this once.
    """
    if role not in {"engine", "goggles", "operator"}:
        raise ConfigError("--role", f"expected engine, goggles or operator, not {role!r}")
    token = new_token()
    err.print(f"The client sends this in its hello, as [b]token[/b]. Role: {role}.")
    out.print(token, highlight=False, soft_wrap=True)
    err.print(f"\nPut this into [b]{CONFIG_FILE}[/b] of the server:")
    out.print("[[tokens]]", markup=False, highlight=False)
    for key, value in {"name": name, "role": role, "sha256": hash_token(token)}.items():
        if value:
            out.print(f"{key} = {json.dumps(value)}", markup=False, highlight=False)


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


async def _serve(settings: Settings, ready_file: Path | None) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_server(settings) as server:
            tune_process()
            _announce(server, ready_file, simulated=settings.simulate)
            async for _ in signals:
                err.print("Stopping: every spray is stopped, and what is open is written.")
                break


def _announce(server: Server, ready_file: Path | None, *, simulated: bool) -> None:
    urls = {"gateway": server.gateway_url, "http": server.http_url}
    err.print(f"Game engines and goggles: [b]{urls['gateway']}[/b]   HTTP: [b]{urls['http']}[/b]")
    if not simulated:
        err.print("No seat has a dispenser that can be reached: try it with [b]--simulate[/b].")
    if ready_file is not None:
        # Whoever waits for the file must never find half of it.
        partial = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        try:
            partial.write_text(json.dumps(urls) + "\n", encoding="utf-8")
            partial.replace(ready_file)
        except OSError as error:
            raise ConfigError("--ready-file", f"{ready_file}: {error.strerror}") from error


def _given(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _log_to_stderr(*, verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        datefmt="[%X]",
        handlers=[RichHandler(console=err, show_path=False)],
    )


def _fail(sentence: str) -> NoReturn:
    err.print(f"[red]scentrt:[/red] {sentence}", highlight=False, soft_wrap=True)
    sys.exit(2)

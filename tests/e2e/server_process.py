"""`scentrt serve` as its users start it: a process of its own, in a folder of its own."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx
import trio

from simulators.client import Client, open_client
from tests.browser import browse

FREE_PORTS = ("--gateway", "127.0.0.1:0", "--http", "127.0.0.1:0")
STARTS_WITHIN_S = 60
"""A start takes one or two seconds, and on a machine with other things to do some more."""
STOPS_WITHIN_S = 20
"""Whatever hangs, the server gives up after a few seconds."""

Environment: TypeAlias = Mapping[str, str]


def environment(env: Environment | None = None) -> dict[str, str]:
    """Return an environment without settings of ours, but for those given."""
    ours = ("SCENTRT_", "API_HOST", "REDIS_HOST", "EMAIL_HOST", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **(env or {})}


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that serves."""

    process: trio.Process
    gateway_url: str
    http_url: str
    folder: Path

    @property
    def log(self) -> str:
        """What it has written to its standard error."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    async def stop(self, told_by: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to stop, and hold it to doing so in time and in good order."""
        self.process.send_signal(told_by)
        with trio.fail_after(STOPS_WITHIN_S):
            code = await self.process.wait()
        assert code == 0, self.log
        assert "Traceback" not in self.log

    async def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        await self.process.wait()

    def engine(self, token: str | None = None) -> AbstractAsyncContextManager[Client]:
        """Return an engine that connects."""
        return open_client(self.gateway_url, role="engine", name="game", token=token)

    def operator(self, token: str | None = None) -> AbstractAsyncContextManager[Client]:
        """Return an operator who connects."""
        return open_client(self.gateway_url, role="operator", name="desk", token=token)

    async def get(self, path: str, token: str | None = None) -> httpx.Response:
        """Ask the HTTP server something."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with browse(self.http_url, headers=headers) as client:
            return await client.get(path)


@asynccontextmanager
async def serve(
    folder: Path, *options: str, env: Environment | None = None, simulated: bool = True
) -> AsyncIterator[ServerProcess]:
    """Start a server, with dispensers in memory unless told otherwise; wait until it is ready.

    Whoever ends the block without having stopped it ends it.
    """
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [
        "serve",
        *(["--simulate"] if simulated else []),
        "--ready-file",
        str(ready),
        *FREE_PORTS,
        *options,
    ]
    with (folder / "stderr").open("w", encoding="utf-8") as stderr:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "scentrt", *command],
            cwd=folder,
            env=environment(env),
            stdin=-3,
            stdout=stderr,
            stderr=stderr,
        )
    try:
        with trio.fail_after(STARTS_WITHIN_S):
            while not ready.exists():
                if process.poll() is not None:
                    raise AssertionError((folder / "stderr").read_text(encoding="utf-8"))
                await trio.sleep(0.01)
        urls = json.loads(ready.read_text(encoding="utf-8"))
        yield ServerProcess(process, urls["gateway"], urls["http"], folder)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()

"""A whole server in a test's own trio loop, what tests need, and how hard Hypothesis tries."""

import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from pytest_trio.plugin import automark

from scentrt.adapters.dispensers.memory import MemoryDispensers
from scentrt.bootstrap import Airwaves, Server, open_server
from scentrt.config import load_settings
from scentrt.domain.cues import ZoneId
from tests.wakeful_clock import run

# As a server's process has it: the tests are many objects, and all of them stay.
gc.set_threshold(50_000, 50, 50)

settings.register_profile("suite", max_examples=100, deadline=None)
settings.register_profile(
    "soak", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that run trio a clock that stands still while the machine does.

    A clock among a test's fixtures goes before it.
    """
    automark(items, run=run)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep the rule of ``@pytest.mark.needs``."""
    for mark in item.iter_markers("needs"):
        require(*mark.args)


def require(program: str, package: str) -> None:
    """Skip the test where a program is missing; in CI, fail it.

    What silently went missing there would leave its promise untested. `package` is Debian's.
    """
    if shutil.which(program) is None:
        missing = f"{program} is missing here: install Debian's {package} to let this test run."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@dataclass(frozen=True, slots=True)
class House:
    """A running server with dispensers that are simulated, on free ports."""

    server: Server

    @property
    def gateway_url(self) -> str:
        """Where WebSocket clients connect."""
        return self.server.gateway_url

    @property
    def http_url(self) -> str:
        """Where HTTP is served."""
        return self.server.http_url

    def memory(self, zone: str) -> MemoryDispensers:
        """Return the dispensers of a zone, which know what they were told."""
        return self.server.memory[ZoneId(zone)]


OpenHouse: TypeAlias = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def open_house(tmp_path: Path) -> OpenHouse:
    """Return a way to open a house with settings of one's own, nested as in `scentrt.toml`.

    Its dispensers are in memory, or on the `airwaves` that it is given.
    """

    @asynccontextmanager
    async def open_one(*, airwaves: Airwaves | None = None, **options: Any) -> AsyncIterator[House]:
        free = {"host": "127.0.0.1", "port": 0}
        db, in_memory = str(tmp_path / "scentrt.db"), airwaves is None
        given: dict[str, Any] = {"simulate": in_memory, "db": db, **options}
        given["gateway"] = {**free, **options.get("gateway", {})}
        given["http"] = {**free, **options.get("http", {})}
        async with open_server(load_settings(given), airwaves=airwaves) as server:
            yield House(server)

    return open_one


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    """Run the house that `scentrt serve --simulate` runs: zone A, four rows by six seats."""
    async with open_house() as opened:
        yield opened

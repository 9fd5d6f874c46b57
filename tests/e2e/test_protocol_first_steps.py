"""The programs in protocol.md run as they stand, against a real server."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files

import pytest
import trio

from tests.conftest import House

DOCUMENT = (files("scentrt.entrypoints.gateway") / "protocol.md").read_text(encoding="utf-8")


def programs(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


async def output(house: House, program: str, *command: str) -> str:
    """Run a program against this house; it fails where the program does."""
    program = program.replace("ws://127.0.0.1:8765/", house.gateway_url)
    with trio.fail_after(30):
        ran = await trio.run_process([*command, program], capture_stdout=True)
    return ran.stdout.decode()


@pytest.fixture
def node() -> list[str]:
    found = shutil.which("node")
    if found is None:
        pytest.skip("There is no Node here to run JavaScript")
    version = subprocess.check_output([found, "--version"], text=True)
    major = int(version.removeprefix("v").partition(".")[0])
    if major < 20:
        pytest.skip("This Node has no WebSocket")
    return [found, "--eval"] if major >= 22 else [found, "--experimental-websocket", "--eval"]


@pytest.mark.parametrize("program", programs("python"), ids=["plain", "with-the-client"])
async def test_the_first_steps_in_python_spray_at_every_seat(house: House, program: str) -> None:
    printed = await output(house, program, sys.executable, "-c")
    assert "accepted" in printed
    assert len(house.memory("A").received) == 24


async def test_the_first_steps_in_javascript_spray_at_every_seat(
    house: House, node: list[str]
) -> None:
    (program,) = programs("javascript")
    printed = await output(house, program, *node)
    welcome, accepted = (json.loads(line) for line in printed.splitlines())
    assert welcome["type"] == "welcome"
    assert accepted["targets"] == len(house.memory("A").received) == 24

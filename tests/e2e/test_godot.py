"""A real game engine plays: the explorer of `simulators/godot` walks, headless, and seats spray."""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import trio

from tests.conftest import House

pytestmark = [pytest.mark.godot, pytest.mark.needs("godot3-server", "godot3-server")]

PROJECT = Path(__file__).parents[2] / "simulators" / "godot"
SLOTS = ["sea-breeze", "nightclub", "jungle", "forest", "busy-street"]
WALK = ["forest", "busy-street", "nightclub", "sea-breeze"]
SEATS = [f"A-{row}-{number}" for row in range(1, 5) for number in range(1, 7)]


@dataclass(frozen=True, slots=True)
class Godot:
    """The game engine, with a home of its own for what it writes beside the project."""

    program: str
    home: Path

    async def play(self, *options: str) -> CompletedProcess[bytes]:
        """Let the explorer walk with these options, and return how it went."""
        home = str(self.home)
        with trio.fail_after(60):
            return await trio.run_process(
                [self.program, "--path", str(PROJECT), "--", *options],
                env={**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )


@pytest.fixture
def godot(tmp_path: Path) -> Godot:
    return Godot("godot3-server", tmp_path)


def cues_at(house: House, seat: str) -> list[tuple[str, float, float]]:
    return [
        (SLOTS[told.spray.slot], told.spray.intensity, told.spray.duration_ms)
        for told in house.memory("A").received
        if told.seat == seat and told.spray.cue is not None
    ]


def levels_at(house: House, seat: str, scent: str) -> list[float]:
    return [
        told.spray.intensity
        for told in house.memory("A").received
        if told.seat == seat and told.spray.cue is None and SLOTS[told.spray.slot] == scent
    ]


async def test_every_seat_smells_the_places_that_the_explorer_enters(
    house: House, godot: Godot
) -> None:
    before = sorted(PROJECT.rglob("*"))
    played = await godot.play("--url", house.gateway_url, "--for", "4")

    assert played.returncode == 0, played.stderr.decode()
    assert b"said goodbye: 4 cues accepted" in played.stdout
    for seat in SEATS:
        assert cues_at(house, seat) == [(scent, 0.8, 800) for scent in WALK]
    assert sorted(PROJECT.rglob("*")) == before


async def test_levels_rise_and_fall_with_the_distance_to_their_source(
    house: House, godot: Godot
) -> None:
    played = await godot.play("--url", house.gateway_url, "--for", "8", "--zone", "A")

    assert played.returncode == 0, played.stderr.decode()
    for seat in SEATS:
        for scent in WALK:
            levels = levels_at(house, seat, scent)
            peak = levels.index(max(levels))
            assert max(levels) == pytest.approx(0.3, abs=0.05)
            assert len(levels) > 30
            assert all(a <= b for a, b in pairwise(levels[: peak + 1]))
            assert all(a >= b for a, b in pairwise(levels[peak:]))


class Cable:
    """A cable to the server that is pulled once, after so many bytes of the game."""

    def __init__(self, gateway_url: str, pulled_after: int) -> None:
        host, _, port = gateway_url.removeprefix("ws://").rstrip("/").rpartition(":")
        self._server = (host, int(port))
        self._left = pulled_after
        self.pulled = False

    async def connect(self, game: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream(*self._server)
        async with game, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, server, game, nursery.cancel_scope)
            async for data in game:
                self._left -= len(data)
                if self._left < 0 and not self.pulled:
                    self.pulled = True
                    break
                await server.send_all(data)
            nursery.cancel_scope.cancel()

    async def _carry(
        self, server: trio.SocketStream, game: trio.SocketStream, over: trio.CancelScope
    ) -> None:
        async for data in server:
            await game.send_all(data)
        over.cancel()


async def test_when_the_connection_breaks_the_game_resumes_its_session_and_repeats_nothing(
    house: House, godot: Godot
) -> None:
    cable = Cable(house.gateway_url, pulled_after=3_000)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, cable.connect, 0)
        port = listeners[0].socket.getsockname()[1]
        played = await godot.play("--url", f"ws://127.0.0.1:{port}/", "--for", "5")
        nursery.cancel_scope.cancel()

    assert cable.pulled
    assert played.returncode == 0, played.stderr.decode()
    assert b"resumed as" in played.stdout
    for seat in SEATS:
        assert [scent for scent, _, _ in cues_at(house, seat)] == WALK


async def test_the_game_quits_with_a_sentence_when_its_cue_is_refused(
    house: House, godot: Godot
) -> None:
    played = await godot.play("--url", house.gateway_url, "--goggles", "nobody")

    assert played.returncode == 1
    assert b"was refused" in played.stderr
    assert b"unknown-goggles" in played.stderr
    assert house.memory("A").received == []


async def test_the_game_quits_with_a_sentence_when_there_is_no_server(godot: Godot) -> None:
    played = await godot.play("--url", "ws://127.0.0.1:1/")

    assert played.returncode == 1
    assert b"Could not connect to a ScentRT server at ws://127.0.0.1:1/." in played.stderr

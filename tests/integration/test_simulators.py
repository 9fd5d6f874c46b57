"""The players: goggles, a game session, and a whole house."""

import tomllib
from functools import partial
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from simulators.__main__ import app
from simulators.client import JSON, MSGPACK, Closed, Message, open_client
from simulators.engine import play
from simulators.goggles import Goggles, Vial, crowd, wear
from simulators.tally import Tally
from simulators.theatre import Evening, play_house
from tests.conftest import House
from tests.integration.scripted import Peer, server, silent

engine = partial(open_client, role="engine", name="test")


class TestGoggles:
    async def test_they_do_what_they_are_told_and_say_so(self) -> None:
        heard: list[Message] = []

        async def script(peer: Peer) -> None:
            await peer.welcome()
            while (asked := await peer.hear())["type"] != "subscribe":
                await peer.pong(asked)
            await peer.say(type="subscribed", re=asked["id"], subscription="sub-1")
            for cue, slot in (("c-1", 0), ("c-2", 7)):
                order = {"cue": cue, "slot": slot, "intensity": 0.8, "duration_ms": 60_000}
                await peer.say(type="spray", **order)
                heard.append(await peer.hear())
            await peer.say(type="level", slot=1, intensity=0.3, ttl_ms=10_000)
            await peer.say(type="stop", slot=0)
            await peer.socket.aclose(1001)

        tally = Tally()
        async with server(script) as url, trio.open_nursery() as nursery:
            worn: Goggles = await nursery.start(
                partial(wear, url, "p", dispenser=[Vial("pine"), Vial("tar")], tally=tally)
            )
            await worn.wait_for("stop")
            assert worn.device
            assert worn.device.open_slots(worn.client.server_now()) == {1: 0.3}
        assert heard == [
            {"type": "sprayed", "cue": "c-1", "ok": True},
            {"type": "sprayed", "cue": "c-2", "ok": False},
        ]
        assert [arrival.message["type"] for arrival in worn.arrivals] == [
            *("spray", "spray", "level", "stop"),
        ]
        assert (tally.sprayed, dict(tally.closed)) == (1, {"closed with 1001": 1})


class Stage:
    """A script that takes whatever clients want, and keeps what it was told."""

    def __init__(self, hang_up_after: int | None = None) -> None:
        self.cues: list[Message] = []
        self.levels: list[Message] = []
        self.stops: list[Message] = []
        self.hellos: list[Message] = []
        self._hang_up_after = hang_up_after

    async def __call__(self, peer: Peer) -> None:
        self.hellos.append(await peer.welcome())
        while True:
            match heard := await peer.hear():
                case {"type": "ping"}:
                    await peer.pong(heard)
                case {"type": "level"}:
                    self.levels.append(heard)
                    if len(self.levels) == self._hang_up_after:
                        await peer.socket.aclose(1001, "going away")
                case {"type": "subscribe", "id": re}:
                    await peer.say(type="subscribed", re=re, subscription="sub-1")
                case {"type": "stop", "id": re}:
                    self.stops.append(heard)
                    await peer.say(type="stopped", re=re, stopped=3)
                case {"type": "cue", "id": cue}:
                    self.cues.append(heard)
                    accepted = {"due": 0, "targets": 22, "skipped": {"empty": 2}}
                    await peer.say(type="accepted", re=cue, duplicate=False, **accepted)
                    outcome = {"written": 21, "failed": 1, "expired": 0}
                    times = {"lateness_ms": 0.4, "first_ms": 0.1, "last_ms": 1.9}
                    await peer.say(type="report", cue=cue, **outcome, **times)


class TestEngine:
    async def test_a_session_is_counted_in_full(self) -> None:
        stage, tally = Stage(), Tally()
        async with server(stage) as url, engine(url) as client:
            await play(client, seed=3, seconds=1.5, to={"zones": ["A"]}, tally=tally)
        assert tally.frames + tally.frames_missed == 90
        assert tally.levels == len(stage.levels) > 0
        assert tally.cues == tally.accepted == tally.reports == len(stage.cues) > 0
        assert tally.skipped == {"empty": 2 * tally.cues}
        assert (tally.targets, tally.written) == (22 * tally.cues, 21 * tally.cues)
        assert list(tally.lateness_ms) == [0.4] * tally.cues
        # Every level that was begun is ended.
        ended = {level["scent"] for level in stage.levels if level["intensity"] == 0}
        assert ended == {level["scent"] for level in stage.levels}
        assert {each["scent"] for each in stage.levels + stage.cues} <= {"forest", "sea-breeze"}

    async def test_the_same_seed_asks_for_the_same_scents(self) -> None:
        stages = [Stage(), Stage()]
        for stage in stages:
            async with server(stage) as url, engine(url) as client:
                await play(client, seed=4, seconds=1, to={"all": True}, tally=Tally())
        first, second = (
            [(cue["scent"], cue["intensity"], cue["duration_ms"]) for cue in stage.cues]
            for stage in stages
        )
        assert first == second

    async def test_a_server_that_goes_ends_the_session_with_one_error(self) -> None:
        async with server(Stage(hang_up_after=10)) as url, engine(url) as client:
            with pytest.raises(Closed, match="going away"):
                await play(client, seed=3, seconds=30, to={"all": True}, tally=Tally())

    async def test_zones_without_a_scent_of_the_map_cannot_be_played_to(self) -> None:
        async with server(silent) as url, engine(url) as client:
            with pytest.raises(ValueError, match="none of the zones"):
                await play(client, seed=1, seconds=1, to={"zones": ["B"]}, tally=Tally())


class TestAnEvening:
    async def test_everybody_comes_and_the_operator_stops_twice(self) -> None:
        stage, tally = Stage(), Tally()
        async with server(stage) as url:
            evening = Evening(url, engines=2, goggles=3, seconds=0.6, tokens={"operator": "secret"})
            await play_house(evening, tally)
        assert [(hello["role"], hello["name"]) for hello in stage.hellos[:4]] == [
            *(("goggles", f"player-{number}") for number in (1, 2, 3)),
            ("operator", "operator"),
        ]
        assert {hello["name"] for hello in stage.hellos[4:]} == {"engine-1", "engine-2"}
        assert [hello["name"] for hello in stage.hellos if "token" in hello] == ["operator"]
        assert [stop["to"] for stop in stage.stops] == [{"zones": ["A"]}, {"all": True}]
        assert (tally.stopped, len(tally.stop_ms), dict(tally.closed)) == (6, 2, {})

    async def test_who_loses_the_connection_is_counted_and_the_others_play_on(self) -> None:
        stage, tally = Stage(hang_up_after=10), Tally()
        async with server(stage) as url:
            await play_house(Evening(url, engines=2, goggles=1, seconds=0.6), tally)
        assert dict(tally.closed) == {"closed with 1001: going away": 1}
        assert tally.frames + tally.frames_missed > 36
        assert len(stage.stops) == 2


class TestARealHouse:
    async def test_a_game_smells_at_every_seat(self, house: House) -> None:
        tally = Tally()
        async with engine(house.gateway_url) as client:
            await play(client, seed=1, seconds=2, to={"zones": ["A"]}, tally=tally)
        assert tally.cues == tally.accepted == tally.reports > 0
        assert tally.written + sum(tally.skipped.values()) == 24 * tally.cues
        assert tally.level_states["active"] > 0
        assert (dict(tally.refused), tally.failed) == ({}, 0)

    @pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
    async def test_goggles_spray_what_they_are_told(self, house: House, subprotocol: str) -> None:
        tally = Tally()
        async with trio.open_nursery() as nursery:
            worn: list[Goggles] = await nursery.start(
                partial(
                    crowd,
                    house.gateway_url,
                    3,
                    dispenser=[Vial("pine")],
                    subprotocol=subprotocol,
                    tally=tally,
                )
            )
            async with engine(house.gateway_url) as client:
                to = {"goggles": [goggles.name for goggles in worn]}
                cue = await client.cue("pine", to, intensity=0.5, duration_ms=100, report=True)
                report = await anext(client.events())
            for goggles in worn:
                [spray] = await goggles.wait_for("spray")
                [shown] = await goggles.wait_for("scent")
                assert spray.message["cue"] == shown.message["cue"] == cue["re"]
            nursery.cancel_scope.cancel()
        assert (report["cue"], report["written"], report["failed"]) == (cue["re"], 3, 0)
        assert (tally.sprayed, tally.shown) == (3, 3)

    async def test_one_who_vanished_comes_back_to_his_session(self, house: House) -> None:
        to = {"seats": ["A-1-1"]}
        async with engine(house.gateway_url) as client:
            session = client.session
            await client.cue("forest", to, at=client.server_now() + 60_000, cue_id="c-17")
            await client.vanish()
        async with engine(house.gateway_url, resume=session) as client:
            assert client.session == session
            assert (await client.cue("forest", to, cue_id="c-17"))["duplicate"]
            assert await client.cancel("c-17") == 0

    async def test_a_whole_evening_loses_nobody(self, house: House) -> None:
        tally = Tally()
        evening = Evening(
            house.gateway_url, engines=2, goggles=5, dispensers=True, seconds=2, subprotocol=MSGPACK
        )
        await play_house(evening, tally)
        assert (dict(tally.closed), dict(tally.refused), tally.missed) == ({}, {}, 0)
        assert tally.cues == tally.accepted == tally.reports > 0
        assert tally.shown > 0
        assert tally.sprayed > 0
        assert len(tally.stop_ms) == 2


class TestCommandLine:
    def test_a_plan_is_written_to_the_terminal_or_to_a_file(self, tmp_path: Path) -> None:
        shown = CliRunner().invoke(app, ["plan", "--zones", "2", "--scent", "tar"])
        assert tomllib.loads(shown.stdout)["zones"][1]["slots"] == ["tar"]
        path = tmp_path / "roxy.toml"
        CliRunner().invoke(app, ["plan", "--zones", "2", "--scent", "tar", "--to", str(path)])
        assert path.read_text(encoding="utf-8") == shown.stdout

    def test_a_server_that_does_not_answer_is_one_sentence(self) -> None:
        for command in ("engine", "goggles", "theatre"):
            said = CliRunner().invoke(app, [command, "--url", "ws://127.0.0.1:1/", "--for", "1"])
            assert said.exit_code == 1
            assert "ws://127.0.0.1:1/ does not answer; is the server running?" in said.output
            assert "Traceback" not in said.output

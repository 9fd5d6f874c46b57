"""`scentrt serve` in a process of its own: how it starts, stops, is killed and comes back."""

import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio_websocket import wrap_client_stream
from typer.testing import CliRunner

from scentrt.entrypoints.cli import app, main
from simulators.client import Client, Closed, Message, Refused, Role, open_client
from tests.browser import browse
from tests.conftest import House, OpenHouse
from tests.e2e.server_process import FREE_PORTS, STOPS_WITHIN_S, environment, serve

ALL: Message = {"all": True}

ONE_SLOT = """\
name = "Small"
[[zones]]
id = "A"
rows = 2
seats_per_row = 2
slots = ["pine"]
"""


async def run(folder: Path, *command: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command of `scentrt` to its end; return its exit code and its standard error."""
    with trio.fail_after(20):
        done = await trio.run_process(
            [sys.executable, "-m", "scentrt", *command],
            cwd=folder,
            env=environment(env),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return done.returncode, done.stderr.decode()


def names_in(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def until_closed(client: Client) -> int:
    """Return the code with which the server closes."""
    try:
        async for _ in client.events():
            pass
    except Closed as closed:
        return closed.code
    raise AssertionError("the events ended, and the connection did not")


@asynccontextmanager
async def deaf_client(url: str) -> AsyncIterator[None]:
    """Ask for more than fits between here and the server, and take none of it."""
    parts = urlsplit(url)
    tcp = trio.socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    await tcp.connect((parts.hostname, parts.port))
    async with trio.SocketStream(tcp) as stream, trio.open_nursery() as nursery:
        deaf = await wrap_client_stream(nursery, stream, parts.netloc, "/", message_queue_size=1)
        hello = {"type": "hello", "id": 0, "protocol": 1, "role": "engine", "name": "deaf"}
        await deaf.send_message(json.dumps(hello))
        for number in range(1, 21):
            await deaf.send_message(json.dumps({"type": "state", "id": number, "zone": "A"}))
        yield
        nursery.cancel_scope.cancel()


class TestStopping:
    async def test_it_stops_in_time_and_good_order_whatever_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "ready.json").write_text("of an earlier server", encoding="utf-8")
        async with serve(tmp_path) as server:
            text = (tmp_path / "ready.json").read_text(encoding="utf-8")
            assert text.count("\n") == 1
            assert json.loads(text) == {"gateway": server.gateway_url, "http": server.http_url}
            assert [name for name in names_in(tmp_path) if "ready" in name] == ["ready.json"]
            assert (await server.get("/healthz")).json() == {"status": "alive"}
            ready = await server.get("/readyz")
            assert (ready.status_code, ready.json()["ready"]) == (200, True)

            port = int(server.http_url.rsplit(":", 1)[1])
            idle = await trio.open_tcp_stream("127.0.0.1", port)
            half = await trio.open_tcp_stream("127.0.0.1", port)
            await half.send_all(b"GET /healthz HTTP/1.1\r\nHost: half a req")
            async with (
                idle,
                half,
                server.engine() as game,
                server.operator() as desk,
                deaf_client(server.gateway_url),
                trio.open_nursery() as nursery,
            ):
                await desk.subscribe("scent")
                answer = await game.cue("sea-breeze", ALL, duration_ms=10_000, report=True)
                assert answer["targets"] == 24
                await game.level("forest", 0.3, ALL, ttl_ms=60_000)
                await game.cue("jungle", ALL, at=game.server_now() + 60_000)

                nursery.start_soon(server.stop, signal.SIGTERM)
                assert await until_closed(game) == 1001
                assert await until_closed(desk) == 1001
        with closing(sqlite3.connect(tmp_path / "scentrt.db")) as database:
            closed = database.execute("SELECT zone, closed FROM dose_marks").fetchall()
        assert sorted(closed) == [("A", 1), ("goggles", 1)]

    async def test_it_stops_in_good_order_while_it_still_starts(self, tmp_path: Path) -> None:
        theatre = tmp_path / "theatre.toml"
        os.mkfifo(theatre)
        command = ["serve", "--theatre", str(theatre), *FREE_PORTS]
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    [sys.executable, "-m", "scentrt", *command],
                    cwd=tmp_path,
                    env=environment(),
                    capture_stderr=True,
                )
            )
            # A pipe can be opened for writing when somebody reads it: then the start is half-way.
            async with await trio.open_file(theatre, "w", encoding="utf-8") as pipe:
                process.send_signal(signal.SIGTERM)
                await pipe.write(ONE_SLOT)
            with trio.fail_after(STOPS_WITHIN_S):
                assert await process.wait() == 0

    async def test_it_stops_in_time_while_another_program_keeps_the_database_locked(
        self, tmp_path: Path
    ) -> None:
        async with (
            serve(tmp_path) as server,
            server.engine() as game,
            server.operator() as desk,
            trio.open_nursery() as shop,
        ):
            with closing(sqlite3.connect(tmp_path / "scentrt.db")) as other:
                other.execute("BEGIN IMMEDIATE")
                await game.cue("sea-breeze", ALL, duration_ms=10_000)
                await desk.panic()
                shop.start_soon(order_in_vain, server.http_url)
                for _ in range(3):  # by then it is under way
                    await server.get("/healthz")
                with trio.fail_after(5):  # as the contract has it
                    await server.stop()


async def order_in_vain(url: str) -> None:
    """Bring goods that cannot be written down, and be told when to come again."""
    async with browse(url) as client:
        batch = {"ref": "b", "sku": "SEA", "qty": 1}
        answer = await client.post("/add_batch", json=batch)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


class TestComingBack:
    async def test_after_a_kill_the_panic_and_the_doses_hold_and_after_a_stop_exactly_what_is_left(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "small.toml").write_text(ONE_SLOT, encoding="utf-8")
        limits = "[limits]\ndose_per_minute_s = 4\nmax_spray_ms = 1000\n"
        (tmp_path / "scentrt.toml").write_text(limits, encoding="utf-8")
        options = ("--theatre", "small.toml")

        async with serve(tmp_path, *options) as server, server.operator() as desk:
            began = trio.current_time()
            assert await targets(desk, 500) == 4
            await until_on_disk(tmp_path, 500)
            await desk.panic()
            with pytest.raises(Refused, match="operator sends release") as refused:
                await targets(desk, 500)
            assert refused.value.code == "panic"
            await server.kill()

        async with serve(tmp_path, *options) as server, server.operator() as desk:
            with pytest.raises(Refused):
                await targets(desk, 500)
            await desk.release()
            released_ms = 500
            while (left_ms := await most_that_is_left(desk)) > 900:
                await spray(desk, 500)
                released_ms += 500
            # Of 4 s half a second is gone, and three that may be: two in which a spray may have
            # begun that nobody wrote down, and one for which it may have lasted.
            assert left_ms >= 400
            assert released_ms + left_ms <= 4_000
            half_ms = left_ms // 2
            await spray(desk, left_ms - half_ms)
            await server.stop()

        async with serve(tmp_path, *options) as server, server.operator() as desk:
            assert await targets(desk, half_ms + 1) == 0
            assert await targets(desk, half_ms) == 4
            assert trio.current_time() - began < 60, "else the first doses count no more"
            await server.stop()


async def targets(client: Client, duration_ms: int, **more: Any) -> int:
    """Return how many seats a cue of full intensity reaches."""
    answer = await client.cue("pine", ALL, duration_ms=duration_ms, **more)
    return int(answer["targets"])


async def spray(client: Client, duration_ms: int) -> None:
    """Have every seat sprayed, and wait for the end of it."""
    assert await targets(client, duration_ms) == 4
    await trio.sleep(duration_ms / 1000)


async def most_that_is_left(client: Client) -> int:
    """Return the longest spray that the seats may still get, without having it sprayed."""
    fits, too_long = 0, 1_001
    while too_long - fits > 1:
        tried = (fits + too_long) // 2
        later = client.server_now() + 5_000
        answer = await client.cue("pine", ALL, duration_ms=tried, at=later)
        await client.cancel(answer["re"])
        if answer["targets"]:
            fits = tried
        else:
            too_long = tried
    return fits


async def until_on_disk(folder: Path, dose_ms: int) -> None:
    """Wait until each seat has so much in the database."""
    with trio.fail_after(30), closing(sqlite3.connect(folder / "scentrt.db")) as database:
        while True:
            used = database.execute("SELECT SUM(used_us) FROM dose_seconds GROUP BY seat")
            if [us for (us,) in used.fetchall()] == [dose_ms * 1_000] * 4:
                return
            await trio.sleep(0.01)


class TestRefusals:
    async def test_a_second_server_is_told_in_a_sentence_what_it_would_share_with_the_first(
        self, tmp_path: Path, house: House
    ) -> None:
        before = names_in(tmp_path)
        port = urlsplit(house.gateway_url).port
        refused: dict[str, tuple[int, str]] = {}

        async def start(name: str, *options: str) -> None:
            refused[name] = await run(tmp_path, "serve", "--simulate", *options)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, "database", *FREE_PORTS)
            nursery.start_soon(start, "port", "--gateway", f":{port}", "--db", "other.db")
        assert refused["database"] == (
            2,
            f"scentrt: {tmp_path / 'scentrt.db'}: is in use by process {os.getpid()}; "
            "stop that server, or use another file\n",
        )
        assert refused["port"] == (
            2,
            f"scentrt: gateway: cannot listen on 127.0.0.1:{port}: Address already in use; "
            "choose another with --gateway HOST:PORT\n",
        )
        assert names_in(tmp_path) == before

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ("--gateway 0.0.0.0:0", "gateway.host: '0.0.0.0' can be reached from elsewhere, so "),
            ("--http [::]:0", "http.host: '::' can be reached from elsewhere, so HTTP needs "),
            ("--gateway nonsense", "--gateway: expected HOST:PORT, like 127.0.0.1:8765, not "),
            ("--gateway 127.0.0.1:99999", "--gateway: expected HOST:PORT"),
            ("--theatre none.toml", "none.toml: cannot be read: No such file or directory"),
            ("--ready-file folder", "--ready-file: folder cannot be written: Is a directory"),
            ("--db postgresql://host/db", "postgresql://host/db: is not SQLite; give a path, or "),
            ("--db folder", "is a directory; name a file in it"),
            ("--db none/scentrt.db", "none/scentrt.db: cannot be locked: No such file or "),
            ("--ready-file none/ready.json", "--ready-file: there is no folder none"),
            ("--theatre broken.toml", "broken.toml: is not TOML: Expected ']]'"),
            ("--theatre twice.toml", "twice.toml: zones[1].id: there is a zone 'A' already; "),
        ],
    )
    def test_what_cannot_be_is_said_in_a_sentence_and_nothing_is_left_behind(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        options: str,
        sentence: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "broken.toml").write_text(ONE_SLOT.replace("]]", "]", 1), encoding="utf-8")
        (tmp_path / "twice.toml").write_text(ONE_SLOT + ONE_SLOT[15:], encoding="utf-8")
        before = names_in(tmp_path)
        monkeypatch.setattr(sys, "argv", ["scentrt", "serve", *FREE_PORTS, *options.split()])

        with pytest.raises(SystemExit) as exited:
            main()

        assert exited.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("scentrt: ")
        assert sentence in said
        assert said.count("\n") == 1
        assert names_in(tmp_path) == before


class TestSettings:
    async def test_a_token_opens_its_role_and_options_beat_environment_file_and_defaults(
        self, tmp_path: Path
    ) -> None:
        roles: tuple[Role, ...] = ("engine", "operator")
        tokens: dict[Role, str] = {}
        config = (
            'theatre = "small.toml"\ndb = "file.db"\n'
            "[gateway]\nport = 1\nmax_silence_ms = 6000\n"
            "[limits]\nmax_spray_ms = 111\n"
        )
        for role in roles:
            made = CliRunner().invoke(app, ["token", "new", "--role", role, "--name", "böb [b]"])
            tokens[role], entry = made.stdout.split("\n", 1)
            assert tokens[role] not in entry
            config += entry
        (tmp_path / "small.toml").write_text(ONE_SLOT, encoding="utf-8")
        (tmp_path / "scentrt.toml").write_text(config, encoding="utf-8")
        options = ("--db", "option.db", "--gateway", "0.0.0.0:0", "--http", "0.0.0.0:0")
        env = {
            "SCENTRT_DB": "environment.db",
            "SCENTRT_GATEWAY__PORT": "2",
            "SCENTRT_LIMITS__MAX_SPRAY_MS": "222",
        }
        async with serve(tmp_path, *options, env=env) as server:
            assert "option.db" in names_in(tmp_path)
            assert not {"environment.db", "file.db", "scentrt.db"} & set(names_in(tmp_path))
            async with server.engine(tokens["engine"]) as game:
                assert game.welcome["max_silence_ms"] == 6_000  # the file
                assert [zone["seats"] for zone in game.zones] == [4]
                assert await targets(game, 222) == 4  # the environment
                with pytest.raises(Refused, match="expected 1 to 222"):
                    await targets(game, 223)
            async with server.operator(tokens["operator"]):
                pass
            wrong: list[tuple[Role, str | None]] = [
                ("engine", None),
                ("engine", "scentrt_guess"),
                ("engine", tokens["operator"]),
                ("operator", tokens["engine"]),
                ("goggles", tokens["engine"]),
                ("goggles", None),
            ]
            for role, token in wrong:
                with pytest.raises(Refused, match="token: not one that opens") as refused:
                    async with open_client(server.gateway_url, role=role, name="x", token=token):
                        pass
                assert refused.value.code == "not-authenticated"

            assert (await server.get("/readyz", tokens["operator"])).status_code == 200
            for path in ("/readyz", "/docs", "/openapi.json", "/none"):
                for bearer in (None, tokens["engine"], "scentrt_guess"):
                    refusal = await server.get(path, bearer)
                    assert refusal.status_code == 401
                    assert refusal.headers["www-authenticate"] == "Bearer"
            await server.stop(signal.SIGINT)


class TestBigTheatres:
    @pytest.mark.parametrize(("zones", "rows", "seats_per_row"), [(1, 40, 50), (20, 10, 10)])
    async def test_a_theatre_of_two_thousand_seats_starts_sprays_everywhere_and_tells_its_state(
        self, tmp_path: Path, open_house: OpenHouse, zones: int, rows: int, seats_per_row: int
    ) -> None:
        blocks = "".join(
            f'[[zones]]\nid = "Z{n}"\nrows = {rows}\nseats_per_row = {seats_per_row}\n'
            'slots = ["sea-breeze", "nightclub", "jungle", "forest", "busy-street"]\n'
            for n in range(zones)
        )
        (tmp_path / "big.toml").write_text(f'name = "Big"\n{blocks}', encoding="utf-8")
        async with (
            open_house(theatre=tmp_path / "big.toml") as house,
            open_client(house.gateway_url, role="engine", name="game") as game,
        ):
            answer = await game.cue("jungle", ALL, duration_ms=500, report=True)
            assert (answer["targets"], answer["skipped"]) == (2_000, {})
            report = await anext(aiter(game.events()))
            assert (report["type"], report["written"], report["failed"]) == ("report", 2_000, 0)
            seats: set[str] = set()
            for n in range(zones):
                state = await game.state(f"Z{n}")
                assert len(state["seats"]) == rows * seats_per_row
                seats |= {seat["seat"] for seat in state["seats"] if len(seat["slots"]) == 5}
            assert len(seats) == 2_000

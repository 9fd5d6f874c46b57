"""The theatre's database, on real files, with real locks, full disks and killed processes."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from trio.testing import wait_all_tasks_blocked

from scentrt.actors.ledger import Ledger, StoredDoses, TheatreStore, Writes, ZoneDoses
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.sql_reader import SqlReader
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.seat_settings import SeatChange
from scentrt.errors import ConfigError, StoreUnavailable
from tests.memory_store import MemoryStore

ZONE, OTHER_ZONE = ZoneId("A"), ZoneId("B")
SEATS = [SeatId(f"A-1-{number}") for number in range(1, 6)]
NOON = 1_764_000_000
"""A Unix second at which these tests play."""


@pytest.fixture
async def aio() -> AsyncIterator[AioThread]:
    async with AioThread() as aio:
        yield aio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "theatre.db"


@pytest.fixture
async def store(aio: AioThread, path: Path) -> AsyncIterator[SqlTheatreStore]:
    async with open_store(aio, path, busy_s=0.05) as store:
        yield store


@pytest.fixture(params=["file", "memory", "fake"])
async def any_store(
    request: pytest.FixtureRequest, aio: AioThread, path: Path
) -> AsyncIterator[TheatreStore]:
    """Every implementation of the protocol, the fake of the unit tests included."""
    if request.param == "fake":
        yield MemoryStore()
    else:
        async with open_store(aio, path if request.param == "file" else ":memory:") as store:
            yield store


def doses(
    used: dict[int, dict[SeatId, int]],
    *,
    zone: ZoneId = ZONE,
    through_s: int = NOON,
    closed: bool = False,
    forget_before_s: int = 0,
) -> Writes:
    return Writes(doses=(ZoneDoses(zone, used, 1000.0 * through_s, closed, forget_before_s),))


# What every store does


async def test_every_store_keeps_the_newest_settings_of_each_seat(any_store: TheatreStore) -> None:
    assert await any_store.settings(ZONE) == {}
    first, second = SEATS[:2]
    some = SeatChange(averse_to=frozenset({Scent("sea-breeze"), Scent("é")}), delay_ms=0.5)
    await any_store.commit(
        Writes(
            settings=(
                (ZONE, first, SeatChange(opted_out=True, gain=0.1)),
                (ZONE, second, some),
                (OTHER_ZONE, first, some),
            )
        )
    )
    await any_store.commit(Writes(settings=((ZONE, first, SeatChange()),)))
    assert await any_store.settings(ZONE) == {first: SeatChange(), second: some}
    assert await any_store.settings(OTHER_ZONE) == {first: some}


async def test_a_new_store_holds_nothing(any_store: TheatreStore) -> None:
    assert not await any_store.panicked()
    assert await any_store.doses(ZONE, 0) == StoredDoses({}, None, closed=False)


async def test_the_latch_is_as_it_was_last_committed(any_store: TheatreStore) -> None:
    for panicked in (True, True, False, True):
        await any_store.commit(Writes(panicked=panicked))
        await any_store.commit(doses({}))  # leaves it as it is
        assert await any_store.panicked() == panicked


async def test_a_newer_amount_takes_the_place_of_the_older(any_store: TheatreStore) -> None:
    await any_store.commit(doses({NOON: {SEATS[0]: 5, SEATS[1]: 5}}))
    await any_store.commit(doses({NOON: {SEATS[0]: 3}, NOON + 1: {SEATS[0]: 1}}))
    assert (await any_store.doses(ZONE, NOON)).used == {
        SEATS[0]: {NOON: 3, NOON + 1: 1},
        SEATS[1]: {NOON: 5},
    }


async def test_the_mark_of_a_zone_is_as_it_was_last_committed(any_store: TheatreStore) -> None:
    await any_store.commit(doses({}, through_s=NOON + 9, closed=True))
    assert await any_store.doses(ZONE, 0) == StoredDoses({}, 1000.0 * (NOON + 9), closed=True)
    await any_store.commit(doses({}, through_s=NOON + 10))
    assert await any_store.doses(ZONE, 0) == StoredDoses({}, 1000.0 * (NOON + 10), closed=False)


async def test_zones_know_nothing_of_each_other(any_store: TheatreStore) -> None:
    await any_store.commit(doses({NOON: {SEATS[0]: 5}}))
    await any_store.commit(doses({NOON: {SEATS[0]: 7}}, zone=OTHER_ZONE, forget_before_s=NOON + 1))
    assert (await any_store.doses(ZONE, 0)).used == {SEATS[0]: {NOON: 5}}
    assert (await any_store.doses(ZoneId("C"), 0)).through_ms is None


async def test_only_what_is_asked_for_is_read(any_store: TheatreStore) -> None:
    await any_store.commit(doses({second: {SEATS[0]: 1} for second in range(NOON, NOON + 10)}))
    assert list((await any_store.doses(ZONE, NOON + 7)).used[SEATS[0]]) == [
        NOON + 7,
        NOON + 8,
        NOON + 9,
    ]


async def test_what_is_needed_no_more_goes_in_time(any_store: TheatreStore) -> None:
    old = range(NOON, NOON + 35)
    await any_store.commit(doses({second: {SEATS[0]: 1} for second in old}))
    for _ in range(4):
        await any_store.commit(doses({}, forget_before_s=NOON + 33))
    assert list((await any_store.doses(ZONE, 0)).used[SEATS[0]]) == [NOON + 33, NOON + 34]


# What SQLite adds


async def test_what_was_committed_is_there_after_a_restart(aio: AioThread, path: Path) -> None:
    async with open_store(aio, path) as store:
        await store.commit(Writes(panicked=True))
        await store.commit(doses({NOON: {SEATS[0]: 5}}, closed=True))
    async with open_store(aio, path) as store:
        assert await store.panicked()
        assert await store.doses(ZONE, 0) == StoredDoses(
            {SEATS[0]: {NOON: 5}}, 1000.0 * NOON, closed=True
        )


async def test_what_an_evening_left_behind_goes_in_many_small_steps(
    store: SqlTheatreStore,
) -> None:
    evening = range(NOON, NOON + 100)
    await store.commit(doses({second: dict.fromkeys(SEATS, 1) for second in evening}))
    await store.commit(doses({}, forget_before_s=NOON + 100))
    assert min((await store.doses(ZONE, 0)).used[SEATS[0]]) == NOON + 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
async def test_a_lock_that_cannot_be_written_down_is_a_sentence(aio: AioThread, path: Path) -> None:
    path.with_name(f"{path.name}.lock").symlink_to("/dev/full")
    with pytest.raises(ConfigError, match="cannot be locked"):
        async with open_store(aio, path):
            pass


@pytest.mark.parametrize("prefix", ["sqlite:///", "sqlite+aiosqlite:///", ""])
async def test_a_database_is_named_by_its_path_or_by_its_url(
    aio: AioThread, path: Path, prefix: str
) -> None:
    async with open_store(aio, f"{prefix}{path}") as store:
        await store.commit(Writes(panicked=True))
    assert (await trio.Path(path).stat()).st_size > 0


@pytest.mark.parametrize(
    ("database", "problem"),
    [
        ("postgresql://scent:secret@db/theatre", "is not SQLite"),
        ("mysql+aiomysql://db/theatre", "is not SQLite"),
        ("://", "neither a path nor a URL"),
        ("sqlite:///file:theatre.db?uri=true", "cannot be locked"),
        ("", "names no file"),
        ("/no/such/directory/theatre.db", "No such file or directory"),
        ("/", "is a directory"),
    ],
)
async def test_what_is_no_usable_database_is_refused_with_a_sentence(
    aio: AioThread, database: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        async with open_store(aio, database):
            pass
    assert "secret" not in str(refused.value)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(
    aio: AioThread, path: Path
) -> None:
    script = b"INT. ROXY - NIGHT. It smells of the sea.\n" * 100
    await trio.Path(path).write_bytes(script)
    with pytest.raises(ConfigError, match="file is not a database"):
        async with open_store(aio, path):
            pass
    assert await trio.Path(path).read_bytes() == script


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("CREATE TABLE songs (name TEXT)", "is not a database of ScentRT"),
        ("CREATE TABLE songs (name TEXT); PRAGMA user_version = 3", "is not a database of ScentRT"),
        ("PRAGMA user_version = 1", "has schema version 1, and this ScentRT reads version 3"),
        ("PRAGMA user_version = 99", "has schema version 99, and this ScentRT reads version 3"),
    ],
)
async def test_the_database_of_another_version_or_program_is_refused_and_left_alone(
    aio: AioThread, path: Path, script: str, problem: str
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    before = await trio.Path(path).read_bytes()
    with pytest.raises(ConfigError, match=problem):
        async with open_store(aio, path):
            pass
    assert await trio.Path(path).read_bytes() == before


async def test_commits_are_durable_and_readers_from_outside_do_not_disturb(
    store: SqlTheatreStore, path: Path
) -> None:
    await store.commit(doses({NOON: {SEATS[0]: 1}}))
    with closing(sqlite3.connect(path)) as backup:
        assert backup.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        backup.execute("BEGIN")
        assert backup.execute("SELECT count(*) FROM dose_seconds").fetchone() == (1,)
        await store.commit(doses({NOON: {SEATS[1]: 1}}))
        assert backup.execute("SELECT count(*) FROM dose_seconds").fetchone() == (1,)


@pytest.mark.parametrize(
    "wrong",
    [{NOON: {SEATS[0]: 1, SEATS[1]: -1}}, {NOON: {SEATS[0]: 1}, -1: {SEATS[0]: 1}}],
)
async def test_the_schema_takes_nothing_impossible_and_then_nothing_of_it(
    store: SqlTheatreStore, wrong: dict[int, dict[SeatId, int]]
) -> None:
    with pytest.raises(StoreUnavailable, match="CHECK"):
        await store.commit(doses(wrong))
    assert await store.doses(ZONE, -1) == StoredDoses({}, None, closed=False)


async def test_a_database_locked_by_another_program_is_unavailable_until_it_is_free(
    store: SqlTheatreStore, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.commit(Writes(panicked=True))
        assert not await store.panicked()
        other.execute("COMMIT")
    await store.commit(doses({}))
    assert not await store.panicked()  # the failed commit has left nothing behind
    await store.commit(Writes(panicked=True))
    assert await store.panicked()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_stores_nothing_by_halves_and_recovers_without_a_restart(
    store: SqlTheatreStore, path: Path
) -> None:
    await store.commit(doses({NOON: {SEATS[0]: 1}}))
    seats = [SeatId(f"A-{number}") for number in range(2_000)]
    big = doses({NOON + 1: dict.fromkeys(seats, 1)}, through_s=NOON + 1)
    full = path.with_name(path.name + "-wal").stat().st_size
    for more in range(0, 40_000, 8_000):  # it may be full at any point of a commit
        with files_limited_to(full + more):
            with pytest.raises(StoreUnavailable):
                await store.commit(big)
            kept = await store.doses(ZONE, 0)
            assert kept == StoredDoses({SEATS[0]: {NOON: 1}}, 1000.0 * NOON, closed=False)
    await store.commit(big)
    assert len((await store.doses(ZONE, 0)).used) == 2_001


async def test_the_ledger_writes_on_when_there_is_room_on_the_disk_again(
    store: SqlTheatreStore, path: Path, nursery: trio.Nursery
) -> None:
    books = Ledger(store)
    await nursery.start(books.run)
    with files_limited_to(path.with_name(path.name + "-wal").stat().st_size):
        with pytest.raises(StoreUnavailable):
            await books.set_panicked(True)
        outage = books.health
    with trio.fail_after(30):
        await books.close_zone(ZONE, {(SEATS[0], NOON): 1}, 1000.0 * NOON)
    assert await store.panicked()
    recovered = books.health
    assert (outage.failing, recovered.failing) == (True, False)
    nursery.cancel_scope.cancel()


async def test_a_cancelled_commit_is_finished_and_its_connection_kept(aio: AioThread) -> None:
    async with open_store(aio, ":memory:") as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.commit(Writes(panicked=True))
        assert await store.panicked()


async def test_who_looks_does_not_wait_for_what_is_being_loaded(aio: AioThread, path: Path) -> None:
    loaded = threading.Event()

    async def load(connection: AsyncConnection) -> None:
        while not loaded.is_set():  # noqa: ASYNC110  # set in another thread
            await asyncio.sleep(0.001)

    async def look(connection: AsyncConnection) -> int | None:
        one: int | None = await connection.scalar(text("SELECT 1"))
        return one

    async with open_store(aio, path) as store, trio.open_nursery() as loading:
        for _ in range(10):
            loading.start_soon(store.read, load)
        await wait_all_tasks_blocked()
        with trio.fail_after(30):
            assert await store.look(look) == 1
        loaded.set()


async def test_a_closed_database_is_unavailable(aio: AioThread) -> None:
    async with open_store(aio, ":memory:") as store:
        pass
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.commit(Writes(panicked=True))


async def test_a_database_whose_thread_has_ended_cannot_be_read() -> None:
    async with AioThread() as aio:
        engine = create_async_engine("sqlite+aiosqlite://")
        reader = SqlReader(aio, engine, engine)
    with pytest.raises(StoreUnavailable, match="thread has ended"):
        await reader.connect()
    await reader.aclose()


# Other processes


@contextmanager
def other_process(*args: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.integration.database_user", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(process.stdout.readline)


async def test_a_second_server_is_kept_off_and_told_who_holds_the_database(
    aio: AioThread, path: Path
) -> None:
    with other_process("hold", str(path)) as holder:
        assert await next_line(holder) == "held\n"
        for name in (str(path), f"sqlite:///{path.parent}/./{path.name}"):
            with pytest.raises(ConfigError, match=f"in use by process {holder.pid};"):
                async with open_store(aio, name):
                    pass
    async with open_store(aio, path) as store:  # the lock has gone with the killed process
        await store.commit(Writes(panicked=True))


async def test_two_stores_of_one_process_cannot_have_one_database(
    aio: AioThread, path: Path, store: SqlTheatreStore
) -> None:
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()};"):
        async with open_store(aio, path):
            pass
    await store.commit(Writes(panicked=True))


async def test_a_server_killed_in_the_middle_of_its_load_loses_nothing_it_acknowledged(
    aio: AioThread, path: Path
) -> None:
    with other_process("load", str(path)) as server:
        acknowledged = [int(await next_line(server)) for _ in range(20)]
        server.kill()
        assert server.stdout is not None
        acknowledged += [int(line) for line in server.stdout]
    async with open_store(aio, path) as store:
        stored = await store.doses(ZONE, 0)
    seconds = {frozenset(of_seat) for of_seat in stored.used.values()}
    assert len(seconds) == 1, "a transaction is stored as a whole"
    assert seconds.pop().issuperset(acknowledged)
    assert stored.through_ms is not None
    assert stored.through_ms >= 1000.0 * acknowledged[-1]

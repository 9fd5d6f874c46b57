"""A server in a process of its own, and more people and names than it has room for."""

import resource
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.e2e.hostility import CONTINUATION, TEXT, Peer, attack, frame, witness
from tests.e2e.server_process import ServerProcess, serve
from tests.e2e.speaking import enter, until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at a process, and sets its limits, as Linux allows"
)

FEW_MB = 30


class Burden:
    """What a process costs."""

    def __init__(self, server: ServerProcess) -> None:
        self._proc = Path("/proc") / str(server.process.pid)

    @property
    def files(self) -> int:
        """How many files and sockets it has open."""
        return len(list((self._proc / "fd").iterdir()))

    @property
    def memory_mb(self) -> float:
        """How much memory it has."""
        status = (self._proc / "status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A server that a witness watches, and that stops in good order afterwards."""
    async with serve(tmp_path) as server:
        async with witness(server.gateway_url):
            yield server
        await server.stop()


@asynccontextmanager
async def crowd(url: str, size: int) -> AsyncIterator[list[Peer]]:
    """Connect so many at once, and let them break off at the end."""
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(attack(url)) for _ in range(size)]
        yield peers
        for peer in peers:
            peer.reset()


async def test_five_hundred_who_say_nothing_cost_little_and_leave_nothing(
    server: ServerProcess,
) -> None:
    burden = Burden(server)
    files, memory_mb = burden.files, burden.memory_mb
    async with crowd(server.gateway_url, 500) as peers:
        for peer in peers[::2]:
            await peer.upgrade()
        await until(lambda: burden.files == files + 500)
        await trio.sleep(0.2)
        assert burden.memory_mb < memory_mb + FEW_MB
    await until(lambda: burden.files == files)


async def test_where_there_is_no_room_who_comes_waits_and_the_log_stays_short(
    server: ServerProcess,
) -> None:
    burden = Burden(server)
    most = burden.files + 20
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (most, hard))
    async with crowd(server.gateway_url, 100):
        await until(lambda: burden.files == most)
        await trio.sleep(0.5)  # some rounds without room
    async with enter(server.gateway_url, "engine", "late") as late:
        await late.now()
    assert server.log.count("No room") == 1
    assert len(server.log.splitlines()) < 10


async def test_memory_holds_out_against_who_never_reads_ends_or_names_anybody_who_is_there(
    server: ServerProcess,
) -> None:
    burden = Burden(server)
    memory_mb = burden.memory_mb
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(never_read, server.gateway_url)
            nursery.start_soon(never_end, server.gateway_url)
            nursery.start_soon(name_nobody, server.gateway_url)
    assert burden.memory_mb < memory_mb + FEW_MB


async def never_read(url: str) -> None:
    async with attack(url, receive_buffer=4096) as peer:
        await peer.enter()
        await peer.repeat(frame(TEXT, b'{"type":"state","id":7,"zone":"A"}') * 500)


async def never_end(url: str) -> None:
    async with attack(url) as peer:
        await peer.enter()
        await peer.send(frame(TEXT, fin=False))
        with trio.move_on_after(1):
            await peer.repeat(frame(CONTINUATION, fin=False) * 5_000)


async def name_nobody(url: str) -> None:
    async with attack(url) as peer:
        await peer.enter()
        names = ",".join(f'"N-{k}"' for k in range(2_400))
        level = '{"type":"level","scent":"sea-breeze","intensity":1,"to":{"seats":[' + names + "]}}"
        for n in range(250):
            await peer.send(frame(TEXT, level.replace("N", str(n)).encode()))

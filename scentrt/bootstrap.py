"""Build the server out of its parts, and start and stop them in order. Nobody else wires."""

import gc
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

import trio

from scentrt.actors.actor import supervise
from scentrt.actors.clock import ServerClock
from scentrt.actors.house import Guests, House, Latch
from scentrt.actors.ledger import Ledger
from scentrt.actors.zone import Dispensers, ZoneActor
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.dispensers.goggles import GogglesDispensers
from scentrt.adapters.dispensers.memory import MemoryDispensers, NoDispensers
from scentrt.adapters.theatre_store import open_store
from scentrt.config import Settings, is_loopback
from scentrt.domain.cues import GOGGLES_ZONE, Spray, ZoneId
from scentrt.entrypoints.gateway.doorkeeper import Doorkeeper, TokenEntry
from scentrt.entrypoints.gateway.fanout import FanOut
from scentrt.entrypoints.gateway.server import Gateway, GatewaySettings
from scentrt.entrypoints.gateway.session import Sessions
from scentrt.entrypoints.http import Readiness, create_app, serve_http
from scentrt.errors import ConfigError, StoreUnavailable
from scentrt.theatre_file import load_theatre

log = logging.getLogger(__name__)

BACKLOG = 1_024
"""Connections that the kernel may hold for us, when a whole audience comes in at once."""

FAR_BEHIND_MS = 5_000.0
"""A ledger that lags so much is worth a remark: a crash now would cost what it still holds."""

OnSpray = Callable[[Spray, int, float], None]
"""Told of each order to simulated dispensers: how many seats, and when the last had it (ms)."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `memory` holds the simulated dispensers of each zone that has them."""

    gateway_url: str
    http_url: str
    house: House
    clock: ServerClock
    gateway: Gateway
    fanout: FanOut
    actors: Mapping[ZoneId, ZoneActor]
    memory: Mapping[ZoneId, MemoryDispensers]


@asynccontextmanager
async def open_server(
    settings: Settings, *, on_spray: OnSpray | None = None
) -> AsyncIterator[Server]:
    """Run a server for as long as the block lasts, and then stop it in good order.

    Stopping takes nobody in any more and stops every spray, lets the clients go, and writes what
    is to be written, in this order. Raises `ConfigError` where a setting cannot be used.
    """
    settings.check_exposure()
    plan = load_theatre(settings.theatre)
    clock = ServerClock()
    with (
        _listening("gateway", settings.gateway.host, settings.gateway.port) as gateway_socket,
        _listening("http", settings.http.host, settings.http.port) as http_socket,
    ):
        async with AioThread() as aio, open_store(aio, settings.db) as store:
            ledger = Ledger(store)
            latch = Latch(await _read_latch(ledger, settings.db))
            sessions, guests, headsets = Sessions(), Guests(), GogglesDispensers(clock)
            fanout = FanOut(sessions.tell_level)
            limits = settings.limits.of_seats()
            memory = {
                zone.id: MemoryDispensers(clock, on_spray)
                for zone in plan.zones
                if settings.simulate
            }
            new_actor = partial(
                ZoneActor,
                limits=limits,
                ledger=ledger,
                listeners=fanout,
                clock=clock,
                latch=latch,
            )
            actors = {GOGGLES_ZONE: new_actor(GOGGLES_ZONE, guests.seats, dispensers=headsets)}
            for zone in plan.zones:
                devices: Dispensers = memory.get(zone.id) or NoDispensers(clock)
                seats = partial(zone.seats, online=settings.simulate)
                actors[zone.id] = new_actor(zone.id, seats, dispensers=devices)
            refs = {id: actor.ref for id, actor in actors.items()}
            house = House(plan, refs, guests, ledger, clock, latch)
            tokens = [TokenEntry(token.role, token.sha256) for token in settings.tokens]
            doorkeeper = Doorkeeper(tokens, settings.gateway.origins)
            gateway = Gateway(
                house,
                sessions,
                fanout,
                headsets,
                clock,
                doorkeeper,
                limits,
                GatewaySettings(settings.gateway.max_silence_ms, settings.limits.messages_per_s),
            )
            app = create_app(
                partial(_readiness, actors, ledger, fanout),
                None
                if is_loopback(settings.http.host)
                else partial(doorkeeper.lets_in, "operator"),
            )
            stopping = trio.Event()
            async with trio.open_nursery() as writing:
                await writing.start(ledger.run)
                async with trio.open_nursery() as doors, trio.open_nursery() as rooms:
                    rooms.start_soon(fanout.run)
                    for actor in actors.values():
                        rooms.start_soon(supervise, actor.mailbox, actor.run)
                    for actor in actors.values():
                        await actor.opened.wait()
                    await doors.start(gateway.run, [_listener(gateway_socket)])
                    doors.start_soon(serve_http, app, http_socket, stopping)
                    try:
                        yield Server(
                            gateway_url=_url("ws", gateway_socket) + "/",
                            http_url=_url("http", http_socket),
                            house=house,
                            clock=clock,
                            gateway=gateway,
                            fanout=fanout,
                            actors=actors,
                            memory=memory,
                        )
                    finally:
                        gateway.stop()
                        stopping.set()
                        rooms.cancel_scope.cancel()
                writing.cancel_scope.cancel()


def tune_process() -> None:
    """Prepare the interpreter for low latency; once, when everything has been built.

    What is there by then lives as long as the process, so the garbage collector need not look at
    it again; and the database's thread gives the interpreter back within half a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    sys.setswitchinterval(0.0005)


async def _read_latch(ledger: Ledger, db: str) -> bool:
    try:
        return await ledger.panicked()
    except StoreUnavailable as error:
        raise ConfigError(db, f"cannot be read: {error}") from error


def _readiness(actors: Mapping[ZoneId, ZoneActor], ledger: Ledger, fanout: FanOut) -> Readiness:
    closed = [f"zone {id} is not open" for id, actor in actors.items() if not actor.is_open]
    health = ledger.health
    remarks = []
    if health.failing or health.behind_ms > FAR_BEHIND_MS:
        remarks.append(f"the database is {health.behind_ms / 1000:.1f} s behind")
    if health.lost_rows:
        remarks.append(f"{health.lost_rows} dose rows were given up")
    if fanout.dropped:
        remarks.append(f"{fanout.dropped} events were dropped")
    return Readiness(tuple(closed), tuple(remarks))


@contextmanager
def _listening(field: str, host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter where a host cannot be a name
        raise ConfigError(
            field,
            f"cannot listen on {host}:{port}: {_reason(error)}; choose another with "
            f"--{field} HOST:PORT",
        ) from error
    with listening:
        yield listening


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "that is no name of a host"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)  # socket.create_server says the address a second time


def _listener(listening: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))


def _url(scheme: str, listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

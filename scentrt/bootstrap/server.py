"""The server: its parts, and the order in which they start and stop.

How it stops, and how long a step may take when everything is in its way:

1. Nobody is taken in any more. At the same time zones stop every spray and have their last doses
   written (1 s), devices are stopped and let go (1.5 s), requests that are under way are answered
   (1 s), and clients are told what has ended, at once unless very much waits, and closed (1 s).
2. Refills, products and deliveries end, each when what it has under way at the database does: two
   transactions at most, its own and one before it (1 s).
3. The ledger goes on trying to write what is left (1 s, and the attempts around it, 1 s).
4. The database is closed.

Each transaction waits `BUSY_S` for a lock at most. The sum is less than the 5 s that there are.
"""

import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import get_args

import trio

from scentrt.actors.actor import Ref, supervise
from scentrt.actors.clock import ServerClock
from scentrt.actors.herald import Herald
from scentrt.actors.house import Guests, House, Latch
from scentrt.actors.inventory import take_inventory
from scentrt.actors.ledger import Ledger
from scentrt.actors.outbox import Outbox
from scentrt.actors.refills import RefillClerk
from scentrt.actors.seat_desk import SeatDesk
from scentrt.actors.ushers import Ushers
from scentrt.actors.vial_desk import VialDesk
from scentrt.actors.zone import ZoneActor
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.delivery_store import SqlDeliveryStore
from scentrt.adapters.dispensers.ble import BleDispensers
from scentrt.adapters.dispensers.goggles import GogglesDispensers
from scentrt.adapters.dispensers.memory import MemoryDispensers, NoDispensers
from scentrt.adapters.refill_rows import SqlRefillStore
from scentrt.adapters.theatre_store import open_store
from scentrt.bootstrap.bluetooth import (
    Airwaves,
    assign_all,
    device_remarks,
    link_zone,
    linked_seats,
    load_keys_of,
    open_air,
    with_a_device_at_every_seat,
    with_devices_at,
)
from scentrt.bootstrap.readings import (
    readings_of_gateway,
    readings_of_stock,
    readings_of_theatre,
)
from scentrt.bootstrap.sockets import listener_of, listening_on, url_of
from scentrt.bootstrap.stock import Stock, build_stock, hear_redis, ways_out
from scentrt.config import Settings, is_loopback
from scentrt.domain.cues import GOGGLES_ZONE, SeatId, ZoneId
from scentrt.domain.events import StockEvent
from scentrt.domain.layout import TheatrePlan
from scentrt.entrypoints.gateway.doorkeeper import Doorkeeper, TokenEntry
from scentrt.entrypoints.gateway.fanout import FanOut
from scentrt.entrypoints.gateway.server import Gateway, GatewaySettings
from scentrt.entrypoints.gateway.session import Sessions
from scentrt.entrypoints.http.app import create_app
from scentrt.entrypoints.http.forecast import ForecastPage
from scentrt.entrypoints.http.health import Readiness
from scentrt.entrypoints.http.metrics import CountedOwner, Metrics
from scentrt.entrypoints.http.server import serve_http
from scentrt.errors import ConfigError, StoreUnavailable
from scentrt.service_layer.deliveries import Outlets
from scentrt.theatre_file import load_theatre

log = logging.getLogger(__name__)

FAR_BEHIND_MS = 5_000.0
"""A ledger that lags so much is worth a remark: a crash now would cost what it still holds."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    `memory` holds the dispensers in memory, and `linked` those on Bluetooth LE, of each zone that
    has them.
    """

    gateway_url: str
    http_url: str
    house: House
    clock: ServerClock
    gateway: Gateway
    fanout: FanOut
    actors: Mapping[ZoneId, ZoneActor]
    memory: Mapping[ZoneId, MemoryDispensers]
    linked: Mapping[ZoneId, BleDispensers]
    stock: Stock
    vials: VialDesk
    refills: RefillClerk
    seats: SeatDesk


@asynccontextmanager
async def open_server(
    settings: Settings,
    *,
    plan: TheatrePlan | None = None,
    airwaves: Airwaves | None = None,
    only: Collection[SeatId] | None = None,
) -> AsyncIterator[Server]:
    """Run a server for as long as the block lasts, and then stop it in good order.

    Stopping takes nobody in any more and stops every spray, lets the devices go, meanwhile the
    clients, and writes what is to be written, in this order. Raises `ConfigError` where a setting
    cannot be used.

    Args:
      plan: the theatre, instead of that in the settings.
      airwaves: a radio instead of the platform's, on which every seat is given a device.
      only: the seats whose devices are connected to; all, if left out. Only with all of them are
        devices taken over that are still connected: to a server that crashed, it is assumed.
    """
    settings.check()
    plan = plan or load_theatre(settings.theatre)
    for remark in plan.remarks:
        log.warning("%s", remark)
    if airwaves is not None:
        plan = with_a_device_at_every_seat(plan)
    keys = load_keys_of(settings, plan)
    if only is not None:
        plan = with_devices_at(plan, only)
    clock = ServerClock()
    with (
        listening_on("gateway", settings.gateway.host, settings.gateway.port) as gateway_socket,
        listening_on("http", settings.http.host, settings.http.port) as http_socket,
    ):
        async with (
            AioThread() as aio,
            open_store(aio, settings.db) as store,
            open_air(aio, airwaves, plan, keys) as backend,
        ):
            outlets = Outlets(settings.email.stock_team, redis=settings.redis.host is not None)
            ways = ways_out(settings)
            outbox = Outbox(
                SqlDeliveryStore(store), ways.channels, clock.now_ms, ways.give_up_after_s
            )
            sessions = Sessions()
            ledger = Ledger(store, outbox.wake, sessions.name_of)
            herald = Herald(clock.now_ms)
            stock = build_stock(store, ledger, outlets, herald.proclaim)
            refs: dict[ZoneId, Ref] = {}
            ushers = Ushers(refs)
            ushers.listen_to(herald)
            low_below = settings.refills.threshold_percent / 100
            clerk = RefillClerk(
                plan,
                stock.bus,
                stock.views,
                SqlRefillStore(store),
                ledger.vials_stored,
                low_below,
                ushers.tell_refill,
            )
            clerk.listen_to(herald)
            latch = Latch(await _read_latch(ledger, settings.db))
            guests, headsets = Guests(), GogglesDispensers(clock)
            fanout = FanOut(sessions.tell_level, plan.catalogue)
            herald.add(fanout.hear_stock, *get_args(StockEvent))
            limits = settings.limits.of_seats()
            memory: dict[ZoneId, MemoryDispensers] = {}
            linked: dict[ZoneId, BleDispensers] = {}
            if settings.simulate:
                memory = {zone.id: MemoryDispensers(clock) for zone in plan.zones}
            else:
                adapters = assign_all(settings, plan, backend, takes_over=only is None)
                linked = {
                    zone.id: link_zone(zone, aio, clock, adapters, keys, refs)
                    for zone in plan.zones
                    if zone.devices
                }
            new_actor = partial(
                ZoneActor,
                limits=limits,
                ledger=ledger,
                listeners=fanout,
                clock=clock,
                latch=latch,
                supplies=clerk,
                low_below=low_below,
                catalogue=plan.catalogue,
            )
            actors = {GOGGLES_ZONE: new_actor(GOGGLES_ZONE, guests.seats, dispensers=headsets)}
            for zone in plan.zones:
                actors[zone.id] = new_actor(
                    zone.id,
                    partial(zone.seats, online=settings.simulate)
                    if zone.id not in linked
                    else partial(linked_seats, zone, linked[zone.id], clock),
                    dispensers=memory.get(zone.id) or linked.get(zone.id) or NoDispensers(clock),
                )
            refs.update((id, actor.ref) for id, actor in actors.items())
            house = House(plan, refs, guests, ledger, clock, latch)
            seats = SeatDesk(house, ledger)
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
            readings = [
                *readings_of_theatre(
                    plan, actors, linked, guests, latch, simulated=settings.simulate
                ),
                *readings_of_gateway(gateway, fanout),
                *readings_of_stock(stock, ledger, outbox),
            ]
            metrics = Metrics(readings)
            vials = VialDesk(plan, CountedOwner(stock.bus, metrics), stock.views, ushers)
            app = create_app(
                stock.bus,
                stock.views,
                partial(_readiness, plan, actors, linked, ledger, fanout, outbox),
                metrics,
                seats=seats,
                vials=vials,
                lets_in=None
                if is_loopback(settings.http.host)
                else partial(doorkeeper.lets_in, "operator"),
                allows_origin=doorkeeper.allows_origin,
                forecasts=ForecastPage(
                    plan, partial(take_inventory, house), max_spray_ms=limits.max_spray_ms
                ),
            )
            stopping = trio.Event()
            # What is inside ends first. The doors are outside the links, so that a client who
            # lingers keeps no device waiting.
            async with (
                _running(ledger.run, *ways.runs),
                _running(outbox.run),
                _running(stock.room.run),
                _running(clerk.run),
                _running(fanout.run),
                trio.open_nursery() as doors,
                trio.open_nursery() as linking,
                trio.open_nursery() as rooms,
            ):
                rooms.start_soon(hear_redis, settings.redis, stock.bus)
                for actor in actors.values():
                    rooms.start_soon(supervise, actor.mailbox, actor.run)
                for actor in actors.values():
                    await actor.opened.wait()
                # Only now, or a zone that opens stops devices that their links have stopped.
                for dispensers in linked.values():
                    linking.start_soon(dispensers.run)
                await doors.start(gateway.run, [listener_of(gateway_socket)])
                doors.start_soon(
                    serve_http,
                    app,
                    listener_of(http_socket),
                    stopping,
                    metrics.count_refusal,
                )
                try:
                    yield Server(
                        gateway_url=url_of("ws", gateway_socket) + "/",
                        http_url=url_of("http", http_socket),
                        house=house,
                        clock=clock,
                        gateway=gateway,
                        fanout=fanout,
                        actors=actors,
                        memory=memory,
                        linked=linked,
                        stock=stock,
                        vials=vials,
                        refills=clerk,
                        seats=seats,
                    )
                finally:
                    # Zones stop what runs before anybody else gets a turn, so clients are told.
                    rooms.cancel_scope.cancel()
                    gateway.stop()
                    stopping.set()
                    linking.cancel_scope.cancel()


@asynccontextmanager
async def _running(*runs: Callable[..., Awaitable[object]]) -> AsyncIterator[None]:
    """Keep these going for as long as the block lasts, from when they say that they have begun."""
    async with trio.open_nursery() as nursery:
        for run in runs:
            await nursery.start(run)
        yield
        nursery.cancel_scope.cancel()


def tune_process() -> None:
    """Prepare the interpreter for low latency; once, when everything has been built.

    What is there by then lives as long as the process, so the garbage collector, which may have
    been off until then, need not look at it again; and the database's thread gives the interpreter
    back within half a millisecond.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 50, 50)
    sys.setswitchinterval(0.0005)


async def _read_latch(ledger: Ledger, db: str) -> bool:
    try:
        return await ledger.panicked()
    except StoreUnavailable as error:
        raise ConfigError(db, f"cannot be read: {error}") from error


def _readiness(
    plan: TheatrePlan,
    actors: Mapping[ZoneId, ZoneActor],
    linked: Mapping[ZoneId, BleDispensers],
    ledger: Ledger,
    fanout: FanOut,
    outbox: Outbox,
) -> Readiness:
    reasons = [f"zone {id} is not open" for id, actor in actors.items() if not actor.is_open]
    health = ledger.health
    remarks = list(plan.remarks)
    for id, actor in actors.items():
        remarks += [f"zone {id}: {remark}" for remark in actor.remarks]
    for id, dispensers in linked.items():
        remarks += device_remarks(id, dispensers.states)
    behind = f"the database is {health.behind_ms / 1000:.1f} s behind"
    if health.failing:
        reasons.append(f"{behind} and takes nothing: orders are put off, and cues go on")
        if health.latch_waits:
            reasons.append("the panic is not on disk: if the server ended now, it would be over")
    elif health.behind_ms > FAR_BEHIND_MS:
        remarks.append(behind)
    if health.lost_rows:
        remarks.append(f"{health.lost_rows} dose rows were given up")
    if health.lost_lines:
        remarks.append(f"{health.lost_lines} lines of the journal were given up")
    if health.refused_seats:
        remarks.append(
            f"what is set for {health.refused_seats} seats cannot be stored, and ends with the "
            "server: see the log"
        )
    for kind, out in outbox.health.items():
        if out.away:
            remarks.append(f"{kind} is away, and {out.waiting} deliveries or more wait for it")
        elif out.failing:  # for want of the database, which has a reason of its own, or by a bug
            remarks.append(f"what {kind} is to deliver waits, though it is not away: see the log")
        if out.given_up:
            remarks.append(f"given up by {kind} since the start: {out.given_up}; see the log")
    if fanout.dropped:
        remarks.append(f"{fanout.dropped} events were dropped")
    return Readiness(tuple(reasons), tuple(remarks))

"""What the server's metrics read of its parts."""

from collections.abc import Mapping

from scentrt.actors.house import Guests, Latch
from scentrt.actors.ledger import Ledger
from scentrt.actors.outbox import Outbox
from scentrt.actors.zone import ZoneActor
from scentrt.adapters.dispensers.ble import BleDispensers
from scentrt.bootstrap.stock import Stock
from scentrt.domain.cues import GOGGLES_ZONE, ZoneId
from scentrt.domain.layout import TheatrePlan
from scentrt.entrypoints.gateway.fanout import FanOut
from scentrt.entrypoints.gateway.server import Gateway
from scentrt.entrypoints.http.metrics import Reading


def readings_of_theatre(
    plan: TheatrePlan,
    actors: Mapping[ZoneId, ZoneActor],
    linked: Mapping[ZoneId, BleDispensers],
    guests: Guests,
    latch: Latch,
    *,
    simulated: bool,
) -> list[Reading]:
    """Read the zones, with `linked` devices or with `simulated` ones at all seats."""

    def online() -> dict[str, float]:
        found: dict[str, float] = {GOGGLES_ZONE: len(guests)}
        for zone in plan.zones:
            if zone.id in linked:
                found[zone.id] = sum(state.online for state in linked[zone.id].states.values())
            else:
                found[zone.id] = sum(1 for _ in zone.seat_ids()) if simulated else 0
        return found

    return [
        Reading("seats_online", "Seats whose dispenser can be reached.", online, "zone"),
        Reading(
            "zone_open",
            "1 while the zone decides cues.",
            lambda: {id: float(actor.is_open) for id, actor in actors.items()},
            "zone",
        ),
        Reading(
            "late_cues",
            "Cues and levels that were dropped as too late, since the zone was opened.",
            lambda: {id: float(actor.late) for id, actor in actors.items()},
            "zone",
            counts=True,
        ),
        Reading("panic", "1 during a panic.", lambda: float(latch.panicked)),
    ]


def readings_of_gateway(gateway: Gateway, fanout: FanOut) -> list[Reading]:
    """Read who is connected over WebSocket, and what they missed."""
    return [
        Reading("gateway_clients", "Connections to the gateway.", lambda: gateway.clients),
        Reading(
            "dropped_events",
            "Events that subscribers were not told, since they read too slowly.",
            lambda: fanout.dropped,
            counts=True,
        ),
    ]


def readings_of_stock(stock: Stock, ledger: Ledger, outbox: Outbox) -> list[Reading]:
    """Read how the writing goes, and how much is in memory."""
    return [
        Reading(
            "ledger_behind_seconds",
            "Age of the oldest thing that is not on disk.",
            lambda: ledger.health.behind_ms / 1000,
        ),
        Reading(
            "ledger_failing", "1 if the last commit failed.", lambda: float(ledger.health.failing)
        ),
        Reading(
            "ledger_lost_rows",
            "Dose rows that were given up while the database was away.",
            lambda: ledger.health.lost_rows,
            counts=True,
        ),
        Reading(
            "ledger_lost_lines",
            "Lines of the cue journal that were given up while the database was away.",
            lambda: ledger.health.lost_lines,
            counts=True,
        ),
        Reading("products_in_memory", "Products with an actor.", lambda: stock.room.in_memory),
        Reading(
            "outbox_waiting",
            "Deliveries that have not been tried; 500 stands for so many or more.",
            lambda: {kind: float(out.waiting) for kind, out in outbox.health.items()},
            "kind",
        ),
        Reading(
            "outbox_put_off",
            "Deliveries that were not taken for now, and are tried again.",
            lambda: {kind: float(out.put_off) for kind, out in outbox.health.items()},
            "kind",
        ),
        Reading(
            "outbox_failing",
            "1 while the last attempt to deliver has failed.",
            lambda: {kind: float(out.failing) for kind, out in outbox.health.items()},
            "kind",
        ),
        Reading(
            "outbox_undeliverable",
            "Deliveries that were given up since the start, and are kept as undelivered.",
            lambda: {kind: float(out.given_up) for kind, out in outbox.health.items()},
            "kind",
            counts=True,
        ),
    ]

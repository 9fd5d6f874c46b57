"""Build the server out of its parts, and start and stop them in order. Nobody else wires."""

from scentrt.adapters.dispensers.radio import Found
from scentrt.bootstrap.after_hours import (
    open_stock_room,
    open_stock_views,
    open_vial_desk,
    read_seats_of,
)
from scentrt.bootstrap.bluetooth import Airwaves, scan
from scentrt.bootstrap.in_process import in_process_bus
from scentrt.bootstrap.server import Server, open_server, tune_process

__all__ = [
    "Airwaves",
    "Found",
    "Server",
    "in_process_bus",
    "open_server",
    "open_stock_room",
    "open_stock_views",
    "open_vial_desk",
    "read_seats_of",
    "scan",
    "tune_process",
]

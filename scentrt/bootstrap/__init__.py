"""Build the server out of its parts, and start and stop them in order. Nobody else wires."""

from scentrt.adapters.dispensers.radio import Found
from scentrt.bootstrap.bluetooth import Airwaves, scan
from scentrt.bootstrap.server import Server, open_server, tune_process

__all__ = ["Airwaves", "Found", "Server", "open_server", "scan", "tune_process"]

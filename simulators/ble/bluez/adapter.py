"""A Bluetooth adapter as BlueZ shows it: it scans for who asks, and has only so many links."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from dbus_fast import Variant

from simulators.ble.bluez.bus import ObjectTree
from simulators.ble.bluez.device import RSSI, BluezError, Sighting

ADAPTER = "org.bluez.Adapter1"
HEARS_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What an adapter can do, and how long BlueZ is patient."""

    links: int = 7
    connect_timeout_s: float = 20.0
    forget_after_s: float = 30.0
    """How long a device is remembered that is not heard any more, nor connected or paired."""


class Filter(msgspec.Struct, frozen=True):
    """What a client scans for, in BlueZ's names; what is not here makes no difference."""

    uuids: tuple[str, ...] = msgspec.field(default=(), name="UUIDs")
    rssi: int = msgspec.field(default=-127, name="RSSI")
    pattern: str = msgspec.field(default="", name="Pattern")

    def wants(self, sighting: Sighting) -> bool:
        """Whether a device is one of those."""
        peripheral = sighting.station.peripheral
        names = (peripheral.address, peripheral.dispenser.identity.serial)
        return (
            (not self.uuids or not {u.lower() for u in self.uuids}.isdisjoint(sighting.advertised))
            and self.rssi <= RSSI
            and any(name.startswith(self.pattern) for name in names)
        )


class SimulatedAdapter:
    """An adapter and the devices around it; it hears nothing before `run`."""

    def __init__(self, tree: ObjectTree, number: int, limits: Limits) -> None:
        self.path = f"/org/bluez/hci{number}"
        self.connecting = asyncio.Lock()
        self.connect_timeout_s = limits.connect_timeout_s
        self.sightings: list[Sighting] = []
        self._limits = limits
        self._tree = tree
        self._links = 0
        self._filters: dict[str, Filter] = {}
        self._scanners: set[str] = set()
        tree.add(
            self.path,
            {
                ADAPTER: {
                    "Address": Variant("s", f"00:5C:E7:00:00:{number:02X}"),
                    "AddressType": Variant("s", "public"),
                    "Name": Variant("s", f"simulated {number}"),
                    "Alias": Variant("s", f"simulated {number}"),
                    "Powered": Variant("b", value=True),
                    "Discovering": Variant("b", value=False),
                    "Roles": Variant("as", ["central"]),
                }
            },
        )

    async def run(self) -> None:
        """Hear advertisements while somebody scans, and forget who is gone; without end."""
        while True:
            await asyncio.sleep(HEARS_EVERY_S)
            if self._scanners:
                self._hear()
            self._forget()

    def set_filter(self, client: str, wanted: Filter) -> None:
        """Scan for these only, on behalf of a client."""
        self._filters[client] = wanted

    def start_discovery(self, client: str) -> None:
        """Scan, on behalf of a client."""
        if client in self._scanners:
            raise BluezError("InProgress", "Operation already in progress")
        self._scanners.add(client)
        self._tell_of_scanning()
        self._hear()

    def stop_discovery(self, client: str) -> None:
        """Cease to, unless somebody else wants it still."""
        if client not in self._scanners:
            raise BluezError("Failed", "No discovery started")
        self._scanners.remove(client)
        self._tell_of_scanning()

    def on_client_gone(self, client: str) -> None:
        """Do nothing for a client any more."""
        self._filters.pop(client, None)
        if client in self._scanners:
            self.stop_discovery(client)

    def take_link(self) -> None:
        """Take one of its links; raises `BluezError` when it has no more."""
        if self._links >= self._limits.links:
            raise BluezError("Failed", "le-connection-concurrent-connection-limit")
        self._links += 1

    def free_link(self) -> None:
        """Give it back."""
        self._links -= 1

    def known(self) -> Iterable[Sighting]:
        """Return the devices that have an object by now."""
        return [sighting for sighting in self.sightings if sighting.path in self._tree]

    def _hear(self) -> None:
        filters = [self._filters.get(client, Filter()) for client in self._scanners]
        for sighting in self.sightings:
            if sighting.station.is_heard.is_set() and any(
                wanted.wants(sighting) for wanted in filters
            ):
                sighting.hear()

    def _forget(self) -> None:
        long_ago = asyncio.get_running_loop().time() - self._limits.forget_after_s
        for sighting in self.known():
            if sighting.heard_at < long_ago and not sighting.is_busy:
                sighting.forget()

    def _tell_of_scanning(self) -> None:
        self._tree.change(self.path, ADAPTER, {"Discovering": Variant("b", bool(self._scanners))})

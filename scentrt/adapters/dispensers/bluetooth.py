"""What this machine has of Bluetooth, to look at only: nothing is scanned, switched or started.

On Linux that is what BlueZ shows on the system's D-Bus; `read_bluetooth` runs in an asyncio loop.
The errors of D-Bus end here, as `BluetoothUnreachable`.
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

from bleak.backends import get_default_backend
from bleak.exc import BleakError

from scentrt.errors import ScentError

if sys.platform == "linux":  # elsewhere bleak needs no D-Bus, and brings none
    from bleak.backends.bluezdbus.utils import get_dbus_authenticator
    from dbus_fast import BusType, MessageFlag, MessageType, unpack_variants
    from dbus_fast.aio import MessageBus
    from dbus_fast.errors import AuthError, InvalidAddressError
    from dbus_fast.message import Message

ANSWERS_WITHIN_S = 1.5
"""For the bus and BlueZ together, which answer in milliseconds where they are well."""

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
"""What to call the system's bus, where `DBUS_SYSTEM_BUS_ADDRESS` does not lead to another."""

Objects: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""By path and interface, the properties that an object has."""


class Obstacle(Enum):
    """What stands between this process and the Bluetooth of its machine."""

    NO_BACKEND = auto()
    """bleak knows no way to Bluetooth on this system."""
    BAD_ADDRESS = auto()
    """`DBUS_SYSTEM_BUS_ADDRESS` is set, and to no address."""
    NO_BUS = auto()
    """Nobody listens at the address of the system's D-Bus."""
    SHUT_OUT = auto()
    """The bus does not let this user in."""
    NOT_RUNNING = auto()
    """The bus is there, and BlueZ is not."""
    FORBIDDEN = auto()
    """The bus does not let this user talk to BlueZ."""
    SILENT = auto()
    """There is no answer in time."""
    OTHER = auto()
    """Something that nobody has foreseen."""


class BluetoothUnreachable(ScentError):
    """Bluetooth cannot be reached, and `obstacle` is why; `detail` is in the system's own words."""

    def __init__(self, obstacle: Obstacle, detail: str) -> None:
        super().__init__(detail)
        self.obstacle = obstacle
        self.detail = detail


@dataclass(frozen=True, slots=True)
class LinkedDevice:
    """A device that an adapter is connected with: a dispenser, or anything else."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """A Bluetooth adapter: `name` is BlueZ's, like `hci0`."""

    name: str
    address: str
    powered: bool
    linked: tuple[LinkedDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class BluetoothFacts:
    """What can be reached: through which backend of bleak, and the adapters in their order.

    `adapters` is None on a system that does not list them.
    """

    backend: str
    adapters: tuple[AdapterFacts, ...] | None


async def read_bluetooth() -> BluetoothFacts:
    """Return what this machine has; raises `BluetoothUnreachable`, after `ANSWERS_WITHIN_S`.

    On Linux it asks the bus that bleak would use, and as the user as whom bleak would.
    """
    try:
        backend = get_default_backend().value
    except BleakError as error:
        raise BluetoothUnreachable(Obstacle.NO_BACKEND, str(error)) from error
    if sys.platform != "linux":
        return BluetoothFacts(backend, None)
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            objects = await _managed_objects()
    except BluetoothUnreachable:
        raise
    except Exception as error:  # also what D-Bus' own assertions say
        bus = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
        detail = f"{bus}: {getattr(error, 'strerror', None) or error}"
        raise BluetoothUnreachable(_obstacle_of(error), detail) from error
    return BluetoothFacts(backend, _adapters_in(objects))


async def _managed_objects() -> Objects:
    bus = MessageBus(bus_type=BusType.SYSTEM, auth=get_dbus_authenticator())
    try:
        await bus.connect()
        reply = await bus.call(
            Message(
                destination="org.bluez",
                path="/",
                interface="org.freedesktop.DBus.ObjectManager",
                member="GetManagedObjects",
                flags=MessageFlag.NO_AUTOSTART,  # we look whether it runs, and do not start it
            )
        )
    finally:
        bus.disconnect()  # also when it could not connect: it holds its socket by then
    if reply is None:
        raise BluetoothUnreachable(Obstacle.SILENT, "the bus gave no answer")
    if reply.message_type is MessageType.ERROR:
        name = reply.error_name or ""
        detail = " ".join(str(part) for part in reply.body) or name
        raise BluetoothUnreachable(_REFUSALS.get(name, Obstacle.OTHER), detail)
    objects: Objects = unpack_variants(reply.body[0])
    return objects


_REFUSALS = {
    "org.freedesktop.DBus.Error.ServiceUnknown": Obstacle.NOT_RUNNING,
    "org.freedesktop.DBus.Error.NameHasNoOwner": Obstacle.NOT_RUNNING,
    "org.freedesktop.DBus.Error.AccessDenied": Obstacle.FORBIDDEN,
    "org.freedesktop.DBus.Error.NoReply": Obstacle.SILENT,
}


def _obstacle_of(error: Exception) -> Obstacle:
    match error:
        case InvalidAddressError():
            return Obstacle.BAD_ADDRESS
        case FileNotFoundError() | ConnectionRefusedError():
            return Obstacle.NO_BUS
        case AuthError() | PermissionError():
            return Obstacle.SHUT_OUT
        case TimeoutError():
            return Obstacle.SILENT
    return Obstacle.OTHER


def _adapters_in(objects: Objects) -> tuple[AdapterFacts, ...]:
    devices = [found["org.bluez.Device1"] for found in objects.values() if _is_linked(found)]
    adapters = [
        AdapterFacts(
            name=path.rpartition("/")[2],
            address=str(found["org.bluez.Adapter1"].get("Address", "?")),
            powered=bool(found["org.bluez.Adapter1"].get("Powered", False)),
            linked=tuple(
                LinkedDevice(str(device.get("Address", "")), str(device.get("Name", "")))
                for device in devices
                if device.get("Adapter") == path
            ),
        )
        for path, found in objects.items()
        if "org.bluez.Adapter1" in found
    ]
    return tuple(sorted(adapters, key=lambda adapter: (len(adapter.name), adapter.name)))


def _is_linked(found: dict[str, dict[str, Any]]) -> bool:
    return bool(found.get("org.bluez.Device1", {}).get("Connected", False))

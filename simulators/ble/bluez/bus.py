"""A private D-Bus: a daemon of one's own, and a tree of objects with properties on it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from dbus_fast import Variant
from dbus_fast.aio import MessageBus
from dbus_fast.message import Message

OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"

Interfaces: TypeAlias = dict[str, dict[str, Variant]]

# Whoever can read the folder, and that is the user who made it, may say anything. The limits are
# far off: every connected device has a connection to the bus of its own.
_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <limit name="max_completed_connections">10000</limit>
  <limit name="max_connections_per_user">10000</limit>
  <limit name="max_replies_per_connection">50000</limit>
  <limit name="max_match_rules_per_connection">50000</limit>
  {more}
</busconfig>
"""


class DaemonMissing(Exception):
    """There is no dbus-daemon on this machine."""

    def __init__(self) -> None:
        super().__init__("dbus-daemon is missing; Debian and Ubuntu have it in the package dbus")


class DaemonFailed(Exception):
    """The dbus-daemon did not start, and this is what it said."""


@contextmanager
def private_bus(more: str = "") -> Iterator[str]:
    """Run a D-Bus daemon while the block lasts, and give its address.

    Args:
      more: what the daemon is told besides, in the XML of its configuration.

    Raises:
      DaemonMissing, DaemonFailed.
    """
    daemon = shutil.which("dbus-daemon")
    if daemon is None:
        raise DaemonMissing
    with TemporaryDirectory(prefix="scentrt-bus-") as name:
        folder = Path(name)
        command = (
            daemon,
            f"--config-file={_configured(folder, more)}",
            "--print-address",
            "--nofork",
        )
        said = folder / "said"
        with (
            said.open("wb") as stderr,
            # In a session of its own: a terminal's interrupt is for the simulator, which ends the
            # daemon when it has ended itself.
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            if process.stdout is None:
                raise AssertionError("asked for a pipe, got none")
            try:
                address = process.stdout.readline().strip()
                if not address:
                    raise DaemonFailed(said.read_text(encoding="utf-8").strip())
                yield address
            finally:
                process.terminate()


def _configured(folder: Path, more: str) -> Path:
    """Write what the daemon is to do, and return where."""
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(socket=folder / "bus", more=more), encoding="utf-8")
    return config


def send(bus: MessageBus, message: Message) -> None:
    """Send a message, unless the bus is gone: then there is nobody who would miss it."""
    if bus.connected:
        bus.send(message)


class Unknown(Exception):
    """There is no such object, interface or property."""


class ObjectTree:
    """The objects of a service, by path: their interfaces with properties, and word of changes."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._objects: dict[str, Interfaces] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._objects

    def add(self, path: str, interfaces: Interfaces) -> None:
        """Put an object into the tree."""
        self._objects[path] = interfaces
        self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def remove(self, path: str) -> None:
        """Take an object out, and all below it, the lowest first."""
        below = [known for known in self._objects if known.startswith(f"{path}/")]
        for gone in [*sorted(below, reverse=True), path]:
            names = list(self._objects.pop(gone))
            self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", [gone, names])

    def change(self, path: str, interface: str, properties: dict[str, Variant]) -> None:
        """Set properties and tell of them, also of those that are as they were."""
        self._objects[path][interface].update(properties)
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, properties, []])

    def managed(self) -> dict[str, Interfaces]:
        """Return everything, as `GetManagedObjects` does."""
        return self._objects

    def properties(self, path: str, interface: str) -> dict[str, Variant]:
        """Return the properties of an object's interface; raises `Unknown`."""
        try:
            return self._objects[path][interface]
        except KeyError:
            raise Unknown(f"{path} has no {interface}") from None

    def _signal(
        self, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> None:
        send(self._bus, Message.new_signal(path, interface, member, signature, body))

"""What BlueZ knows of one device: `Device1` and its GATT objects, as one adapter sees them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from dbus_fast import Variant

from simulators.ble.bluez.bus import ObjectTree
from simulators.ble.dispenser import Dispenser
from simulators.ble.peripheral import LinkLost, Peripheral
from simulators.ble.profile import BATTERY, DEVICE_INFORMATION, MTU, AttError, Refused, Services

DEVICE = "org.bluez.Device1"
SERVICE = "org.bluez.GattService1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"

HEARD_AFTER_S = 0.025  # half of how often a dispenser advertises
RESOLVED_AFTER_S = 0.01
RSSI = -50


class BluezError(Exception):
    """An error that BlueZ answers with, by the end of its name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = f"org.bluez.Error.{name}"
        self.text = text


def not_connected() -> BluezError:
    """Return what BlueZ says where a connection is needed."""
    return BluezError("Failed", "Not connected")


_REFUSALS = {
    AttError.READ_NOT_PERMITTED: ("NotPermitted", "Read not permitted"),
    AttError.WRITE_NOT_PERMITTED: ("NotPermitted", "Write not permitted"),
    AttError.INVALID_LENGTH: ("InvalidArguments", "Invalid Length"),
}


def refusal(error: AttError) -> BluezError:
    """Return how BlueZ words what a device answered."""
    other = ("Failed", f"Operation failed with ATT error: 0x{error:02x}")
    return BluezError(*_REFUSALS.get(error, other))


class Adapter(Protocol):
    """What a device asks of the adapter that sees it."""

    path: str
    connecting: asyncio.Lock
    connect_timeout_s: float

    def take_link(self) -> None:
        """Take one of its links; raises `BluezError` when it has no more."""

    def free_link(self) -> None:
        """Give it back."""


class Station:
    """A peripheral, the radio it is on, and the sighting that is linked to it, if one is."""

    def __init__(self, address: str, dispenser: Dispenser, services: Services) -> None:
        self.services = services
        self.peripheral = Peripheral(address, dispenser, self)
        self.linked: Sighting | None = None
        self.is_heard = asyncio.Event()
        """Whether it advertises, to wait for."""
        self.is_heard.set()

    def link(self, sighting: "Sighting | None") -> None:
        """Take note who is connected to it now."""
        self.linked = sighting
        if sighting is None:
            self.peripheral.on_unlinked()
        else:
            self.peripheral.on_linked()
        self.advertise()

    def notify(self, characteristic: str, value: bytes) -> None:
        """Send a value to who listens to it."""
        if self.linked is not None:
            self.linked.on_notified(characteristic, value)

    def drop(self) -> None:
        """Break the link."""
        if self.linked is not None:
            self.linked.unlink()

    def advertise(self) -> None:
        """Become findable, or cease to."""
        if self.peripheral.faults.absent or self.linked is not None:
            self.is_heard.clear()
        else:
            self.is_heard.set()


@dataclass(slots=True)
class _Characteristic:
    path: str
    uuid: str
    is_notifying: bool = False


class Sighting:
    """One device as one adapter has it: each adapter that hears a device has its own object."""

    def __init__(
        self,
        tree: ObjectTree,
        adapter: Adapter,
        station: Station,
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self.station = station
        self.path = f"{adapter.path}/dev_{station.peripheral.address.replace(':', '_')}"
        self.heard_at = 0.0
        self._tree = tree
        self._adapter = adapter
        self._spawn = spawn
        self._attempt: asyncio.Task[Any] | None = None
        self._characteristics: dict[str, _Characteristic] = {}

    @property
    def advertised(self) -> Sequence[str]:
        """The services that the device says it has before one is connected to it."""
        return [uuid for uuid in self.station.services if uuid not in {BATTERY, DEVICE_INFORMATION}]

    @property
    def is_linked(self) -> bool:
        """Whether the device is connected, and through this adapter."""
        return self.station.linked is self

    @property
    def is_busy(self) -> bool:
        """Whether BlueZ has reason to remember it: a connection, a pairing, or the attempt."""
        return self.is_linked or self._attempt is not None or self._has("Paired")

    def hear(self) -> None:
        """Take note of an advertisement."""
        self.heard_at = asyncio.get_running_loop().time()
        if self.path in self._tree:
            self._change(RSSI=Variant("n", RSSI))
            return
        peripheral = self.station.peripheral
        serial = peripheral.dispenser.identity.serial
        properties = {
            "Address": Variant("s", peripheral.address),
            "AddressType": Variant("s", "random"),
            "Name": Variant("s", serial),
            "Alias": Variant("s", serial),
            "Adapter": Variant("o", self._adapter.path),
            "UUIDs": Variant("as", self.advertised),
            "RSSI": Variant("n", RSSI),
        }
        flags = ("Paired", "Bonded", "Trusted", "Blocked", "Connected", "ServicesResolved")
        self._tree.add(
            self.path, {DEVICE: properties | {name: Variant("b", value=False) for name in flags}}
        )

    def forget(self) -> None:
        """Drop everything known of it, and the link."""
        self.unlink()
        self._characteristics.clear()
        if self.path in self._tree:
            self._tree.remove(self.path)

    async def connect(self) -> None:
        """Wait until it is heard, and link; what it offers is known a little later."""
        if self.is_linked:
            return
        if self._attempt is not None:
            raise BluezError("InProgress", "Operation already in progress")
        self._attempt = asyncio.current_task()
        try:
            async with asyncio.timeout(self._adapter.connect_timeout_s):
                await self._link()
        except TimeoutError:
            raise BluezError("Failed", "le-connection-timeout") from None
        except asyncio.CancelledError:
            raise BluezError("Failed", "br-connection-canceled") from None
        finally:
            self._attempt = None
        self._change(Connected=Variant("b", value=True))
        self._spawn(self._resolve())

    async def pair(self) -> None:
        """Pair without asking anybody, and connect."""
        if self._has("Paired"):
            raise BluezError("AlreadyExists", "Already Exists")
        await self.connect()
        self._change(Paired=Variant("b", value=True), Bonded=Variant("b", value=True))

    def disconnect(self) -> None:
        """End the link, or the attempt at one."""
        if self._attempt is not None:
            self._attempt.cancel()
        elif self.is_linked:
            self.unlink()
        else:
            raise BluezError("NotConnected", "Not Connected")

    def unlink(self) -> None:
        """Take note that the link is over, whoever ended it."""
        if not self.is_linked:
            return
        self.station.link(None)
        self.heard_at = asyncio.get_running_loop().time()
        self._adapter.free_link()
        for characteristic in self._characteristics.values():
            characteristic.is_notifying = False
        no = Variant("b", value=False)
        self._change(ServicesResolved=no, Connected=no)

    async def read(self, path: str) -> bytes:
        """Read a characteristic; who listens to it is told the value as well."""
        characteristic = self._characteristic(path)
        try:
            value = await self.station.peripheral.read(characteristic.uuid)
        except Refused as error:
            raise refusal(error.error) from error
        except LinkLost:
            raise not_connected() from None
        self._tell(characteristic, value)
        return value

    async def write(self, path: str, value: bytes, *, with_response: bool) -> None:
        """Write a characteristic, and wait for the answer if one is asked for."""
        characteristic = self._characteristic(path)
        peripheral = self.station.peripheral
        if not with_response:
            self._spawn(_heedless(peripheral.write(characteristic.uuid, value)))
            return
        await asyncio.sleep(0)  # or it overtakes one that was just spawned
        try:
            await peripheral.write(characteristic.uuid, value)
        except Refused as error:
            raise refusal(error.error) from error
        except LinkLost:
            raise not_connected() from None

    def listen(self, path: str, *, wanted: bool) -> None:
        """Begin or cease to tell of a characteristic's values."""
        characteristic = self._characteristic(path)
        if wanted and "notify" not in self._properties(characteristic.uuid):
            raise BluezError("NotSupported", "Operation is not supported")
        characteristic.is_notifying = wanted
        self._tree.change(path, CHARACTERISTIC, {"Notifying": Variant("b", wanted)})

    def on_notified(self, uuid: str, value: bytes) -> None:
        """Pass on a value that the device sent."""
        for characteristic in self._characteristics.values():
            if characteristic.uuid == uuid:
                self._tell(characteristic, value)

    async def _link(self) -> None:
        # The adapter waits for many devices at once, and connects to one at a time.
        while not self.is_linked:
            await self.station.is_heard.wait()
            async with self._adapter.connecting:
                await asyncio.sleep(HEARD_AFTER_S)
                if self.station.is_heard.is_set():
                    self._adapter.take_link()
                    self.station.link(self)

    async def _resolve(self) -> None:
        await asyncio.sleep(RESOLVED_AFTER_S)
        if not self.is_linked:
            return
        if not self._characteristics:
            self._add_services()
        self._change(
            UUIDs=Variant("as", list(self.station.services)),
            ServicesResolved=Variant("b", value=True),
        )

    def _add_services(self) -> None:
        handle = 0x10
        for service, characteristics in self.station.services.items():
            service_path = f"{self.path}/service{handle:04x}"
            self._tree.add(
                service_path,
                {
                    SERVICE: {
                        "UUID": Variant("s", service),
                        "Device": Variant("o", self.path),
                        "Primary": Variant("b", value=True),
                    }
                },
            )
            for uuid, properties in characteristics.items():
                path = f"{service_path}/char{handle + 1:04x}"
                self._characteristics[path] = _Characteristic(path, uuid)
                self._tree.add(
                    path,
                    {
                        CHARACTERISTIC: {
                            "UUID": Variant("s", uuid),
                            "Service": Variant("o", service_path),
                            "Flags": Variant("as", list(properties)),
                            "Notifying": Variant("b", value=False),
                            "Value": Variant("ay", b""),
                            "MTU": Variant("q", MTU),
                        }
                    },
                )
                handle += 3  # its declaration, its value and its configuration
            handle += 1

    def _characteristic(self, path: str) -> _Characteristic:
        if not self.is_linked:
            raise not_connected()
        return self._characteristics[path]

    def _properties(self, uuid: str) -> Sequence[str]:
        return next(found[uuid] for found in self.station.services.values() if uuid in found)

    def _tell(self, characteristic: _Characteristic, value: bytes) -> None:
        if characteristic.is_notifying:
            self._tree.change(characteristic.path, CHARACTERISTIC, {"Value": Variant("ay", value)})

    def _has(self, name: str) -> bool:
        return self.path in self._tree and bool(
            self._tree.properties(self.path, DEVICE)[name].value
        )

    def _change(self, **properties: Variant) -> None:
        self._tree.change(self.path, DEVICE, properties)


async def _heedless(writing: Coroutine[None, None, None]) -> None:
    """Write and look back no more, as a write without response does."""
    with suppress(Refused, LinkLost):
        await writing

"""Dispensers on a virtual radio in the calling asyncio loop, for bleak to find and connect to.

Bumble's own stack runs on both sides of a link in memory, so what bleak writes goes through GATT,
L2CAP and HCI as it would in the air, and no adapter is needed:

    async with Air() as air:
        device = await air.add(Dispenser(Identity("SD-0001")))
        async with BleakClient(device.address, backend=air.client_backend) as client:
            ...

Everything happens in one loop, the dispensers included. A big theatre is better simulated in a
process of its own, so that its devices do not take the server's time.
"""

import asyncio
import random
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Self

from bumble import hci
from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service

from simulators.ble import profile
from simulators.ble.backend import BumbleClient, BumbleScanner
from simulators.ble.dispenser import Dispenser
from simulators.ble.link import VirtualLink, make_device
from simulators.ble.peripheral import LinkLost, Peripheral
from simulators.ble.places import nth_address
from simulators.ble.profile import Refused, Services

ADVERTISED_EVERY_MS = 50.0
CENTRAL = "F0:5C:E7:00:00:00"

_PROPERTIES = {
    "read": Characteristic.Properties.READ,
    "write": Characteristic.Properties.WRITE,
    "write-without-response": Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
    "notify": Characteristic.Properties.NOTIFY,
}


class Air:
    """A virtual link with one adapter that never runs out of connections, and devices around it.

    It lives in the loop that opens it; every task it has is its own, and ends with it.

    Args:
      advertised_every_ms: about how often a device is heard that nobody is connected to.

    Attributes:
      central: the adapter itself, for who would rather speak Bumble.
      client_backend: hand it to `bleak.BleakClient` as its `backend`.
      scanner_backend: hand it to `bleak.BleakScanner` likewise.
    """

    def __init__(self, *, advertised_every_ms: float = ADVERTISED_EVERY_MS) -> None:
        self._advertised_every_ms = advertised_every_ms
        self._tasks: set[asyncio.Task[None]] = set()
        self._stations: dict[str, _Station] = {}

    async def open(self) -> None:
        """Switch the adapter on."""
        self._link = VirtualLink()
        self.central = make_device("central", CENTRAL, self._link)
        await self.central.power_on()
        # bleak makes its backends from classes, so each air has some of its own.
        context = {"central": self.central, "connecting": asyncio.Lock(), "spawn": self.spawn}
        self.client_backend: type[BumbleClient] = type("AirClient", (BumbleClient,), context)
        listening = {"central": self.central, "listening": set()}
        self.scanner_backend: type[BumbleScanner] = type("AirScanner", (BumbleScanner,), listening)

    async def aclose(self) -> None:
        """Switch everything off: clients are disconnected, and nothing is left running."""
        for station in self._stations.values():
            station.peripheral.close()
            await station.switch_off()
        await self._finish()
        await self.central.power_off()  # whoever waits for a connection waits no more
        await self._finish()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def add(
        self,
        dispenser: Dispenser,
        address: str | None = None,
        services: Services = profile.SERVICES,
    ) -> Peripheral:
        """Put a device on the air, advertising; with other `services`, a foreign one."""
        address = address or nth_address(len(self._stations) + 1)
        if address in self._stations:
            raise ValueError(f"there is a device with the address {address} already")
        station = self._stations[address] = _Station(self, address, dispenser, services)
        await station.switch_on()
        return station.peripheral

    def make_device(self, name: str, address: str) -> Device:
        """Return another device on this link."""
        return make_device(name, address, self._link)

    def advertising_rhythm_ms(self) -> float:
        """Return how often a device of this air advertises: each in its own rhythm.

        Those that once spoke at the same moment would otherwise do so for ever, and a radio that
        makes one connection at a time would wait a full turn for each.
        """
        return self._advertised_every_ms * random.uniform(0.9, 1.1)

    async def _finish(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that ends by itself, and that closing waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Station:
    """One device on the air: a `Peripheral` and the Bumble device that carries it."""

    def __init__(self, air: Air, address: str, dispenser: Dispenser, services: Services) -> None:
        serial = dispenser.identity.serial
        self._air = air
        self._device = air.make_device(serial, address)
        self._advertising = asyncio.Lock()
        self._is_off = False
        self._connection: Connection | None = None
        self.peripheral = Peripheral(address, dispenser, self)
        self._characteristics = {
            uuid: self._characteristic(uuid, properties)
            for characteristics in services.values()
            for uuid, properties in characteristics.items()
        }
        for service, characteristics in services.items():
            members = [self._characteristics[uuid] for uuid in characteristics]
            self._device.add_service(Service(service, members))
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    (AdvertisingData.FLAGS, b"\x06"),  # generally discoverable, no classic
                    (AdvertisingData.COMPLETE_LOCAL_NAME, serial.encode()),
                    *(
                        (
                            AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
                            bytes(UUID(service)),
                        )
                        for service in services
                        if service not in {profile.DEVICE_INFORMATION, profile.BATTERY}
                    ),
                ]
            )
        )
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)

    async def switch_on(self) -> None:
        await self._device.power_on()
        await self._advertise_or_not()

    async def switch_off(self) -> None:
        self._is_off = True
        self.drop()
        await self._advertise_or_not()

    def notify(self, characteristic: str, value: bytes) -> None:
        """Send a value to who subscribed to it."""
        if self._connection is not None and characteristic in self._characteristics:
            self._air.spawn(
                self._device.notify_subscriber(
                    self._connection, self._characteristics[characteristic], value
                )
            )

    def drop(self) -> None:
        """Break the link: both sides find that the other is not heard any more."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._air.spawn(connection.disconnect(hci.HCI_CONNECTION_TIMEOUT_ERROR))

    def advertise(self) -> None:
        """Become findable, or cease to."""
        self._air.spawn(self._advertise_or_not())

    async def _advertise_or_not(self) -> None:
        async with self._advertising:
            if self._is_off or self.peripheral.faults.absent:
                await self._device.stop_advertising()
            elif not self.peripheral.is_linked:
                every_ms = self._air.advertising_rhythm_ms()
                await self._device.start_advertising(
                    advertising_interval_min=every_ms, advertising_interval_max=every_ms
                )

    def _on_connection(self, connection: Connection) -> None:
        self._connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        self.peripheral.on_linked()

    def _on_disconnection(self, _reason: int) -> None:
        self._connection = None
        self.peripheral.on_unlinked()
        self.advertise()

    def _characteristic(
        self, uuid: str, properties: tuple[profile.Property, ...]
    ) -> Characteristic[bytes]:
        flags = Characteristic.Properties(0)
        for name in properties:
            flags |= _PROPERTIES[name]
        permissions = Characteristic.Permissions(0)
        if "read" in properties:
            permissions |= Characteristic.READABLE
        if "write" in properties:
            permissions |= Characteristic.WRITEABLE
        value = CharacteristicValue[bytes](
            read=partial(self._read, uuid), write=partial(self._write, uuid)
        )
        return Characteristic(uuid, flags, permissions, value)

    async def _read(self, uuid: str, _connection: Connection) -> bytes:
        try:
            return await self.peripheral.read(uuid)
        except Refused as error:
            raise ATT_Error(error.error) from error
        except LinkLost:
            # Bumble would send an answer, into nothing: its task ends here instead.
            raise asyncio.CancelledError from None

    async def _write(self, uuid: str, _connection: Connection, value: bytes) -> None:
        try:
            await self.peripheral.write(uuid, value)
        except Refused as error:
            raise ATT_Error(error.error) from error
        except LinkLost:
            raise asyncio.CancelledError from None

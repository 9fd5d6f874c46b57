"""What bleak needs to reach devices on a Bumble link: a client and a scanner of its own kind.

They are used through bleak's public API only, `BleakClient(address, backend=…)` and
`BleakScanner(backend=…)`, with the classes that an `Air` makes from these. Errors are bleak's.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

from bleak.args import SizedBuffer
from bleak.assigned_numbers import CharacteristicPropertyName
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import (
    AdvertisementData,
    AdvertisementDataCallback,
    BaseBleakScanner,
)
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import (
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)
from bleak.uuids import normalize_uuid_str
from bumble import hci
from bumble.att import ATT_DEFAULT_MTU, ATT_Error
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.hci import Address

from simulators.ble.link import PatientClient
from simulators.ble.profile import MTU

_PROPERTY_NAMES: dict[int, CharacteristicPropertyName] = {
    0x02: "read",
    0x04: "write-without-response",
    0x08: "write",
    0x10: "notify",
    0x20: "indicate",
}


class BumbleClient(BaseBleakClient):
    """One device, connected to through `central`; an `Air` derives it for its own."""

    central: ClassVar[Device]
    connecting: ClassVar[asyncio.Lock]
    """An adapter makes one connection at a time; a time-out begins when it is one's turn."""
    spawn: ClassVar[Callable[[Coroutine[None, None, None]], None]]

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,  # bleak's own name for it
        **kwargs: Any,
    ) -> None:
        super().__init__(
            address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout
        )
        self._wanted: set[str] | None = kwargs.get("services")
        self._connection: Connection | None = None
        self._peer: Peer | None = None

    @property
    def name(self) -> str:
        """The address, as bleak has it where no name is known."""
        return self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        """What was agreed on with the device; the least there is, without one."""
        return ATT_DEFAULT_MTU if self._connection is None else self._connection.att_mtu

    @property
    def is_connected(self) -> bool:
        """Whether the link stands."""
        return self._connection is not None

    async def connect(self, pair: bool, **kwargs: Any) -> None:  # noqa: FBT001  # bleak's interface
        """Connect and learn what the device offers.

        Raises:
          BleakDeviceNotFoundError: the device was not heard within the time-out.
          BleakError: pairing was asked for, or the link broke already.
        """
        if self.is_connected:
            raise BleakError("already connected")
        if pair:
            raise BleakError("the simulated radio has no pairing")
        connection = await self._reach(kwargs.get("timeout", self._timeout))
        connection.gatt_client = PatientClient(connection)
        self._connection, self._peer = connection, Peer(connection)
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        try:
            with self._translated():
                await self._peer.request_mtu(MTU)
                self.services = await self._discover(self._peer)
        except BaseException:
            type(self).spawn(_hang_up(connection))
            raise

    async def disconnect(self) -> None:
        """Disconnect, if connected; the callback is told either way."""
        if self._connection is not None:
            await self._connection.disconnect()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: raises `BleakError`."""
        raise BleakError("the simulated radio has no pairing")

    async def unpair(self) -> None:
        """Refuse: raises `BleakError`."""
        raise BleakError("the simulated radio has no pairing")

    async def read_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        *,
        use_cached: bool = False,
        **kwargs: Any,
    ) -> bytearray:
        """Read a value from the device, never from a cache."""
        with self._translated():
            return bytearray(await self._linked().read_value(characteristic.handle))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        """Read a descriptor from the device."""
        with self._translated():
            return bytearray(await self._linked().read_value(descriptor.handle))

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: SizedBuffer,
        response: bool,  # noqa: FBT001  # bleak's interface
    ) -> None:
        """Write a value; without a response, it returns when the value is under way."""
        with self._translated():
            await self._linked().write_value(
                characteristic.handle, bytes(data), with_response=response
            )

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        """Write a descriptor, and wait until the device has it."""
        with self._translated():
            await self._linked().write_value(descriptor.handle, bytes(data), with_response=True)

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        """Have the callback told of every value that the device sends."""
        with self._translated():
            await self._linked().subscribe(
                characteristic.obj, lambda value: callback(bytearray(value))
            )

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """End that, for all callbacks."""
        with self._translated():
            await self._linked().unsubscribe(characteristic.obj)

    async def _reach(self, timeout_s: float) -> Connection:
        await self.connecting.acquire()
        # In a task of its own: an attempt that is given up needs to be ended in the controller
        # too, and the adapter is busy with it until then.
        attempt = asyncio.create_task(self.central.connect_le(Address(self.address), timeout=None))
        attempt.add_done_callback(lambda _: self.connecting.release())
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(attempt)
        except TimeoutError:
            type(self).spawn(self._give_up(attempt))
            raise BleakDeviceNotFoundError(
                self.address, f"{self.address} was not heard within {timeout_s:g} s"
            ) from None
        except asyncio.CancelledError:
            if attempt.cancelled():
                raise BleakError("the radio was switched off") from None
            type(self).spawn(self._give_up(attempt))
            raise
        except BaseBumbleError as error:
            raise BleakError(f"cannot connect to {self.address}: {error}") from error

    async def _give_up(self, attempt: asyncio.Task[Connection]) -> None:
        while not attempt.done():
            await self.central.send_sync_command_raw(hci.HCI_LE_Create_Connection_Cancel_Command())
            await asyncio.wait({attempt}, timeout=0.01)
        if not attempt.cancelled() and attempt.exception() is None:  # it was heard just then
            await _hang_up(attempt.result())

    def _on_disconnection(self, _reason: int) -> None:
        self._connection = self._peer = self.services = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    def _linked(self) -> Peer:
        if self._peer is None:
            raise BleakError("not connected")
        return self._peer

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        """Ask what the device offers, of the services that are wanted."""
        offered = BleakGATTServiceCollection()
        for found in await peer.discover_services():
            service = BleakGATTService(found, found.handle, _uuid(found.uuid))
            if self._wanted is not None and service.uuid not in self._wanted:
                continue
            offered.add_service(service)
            for proxy in await peer.discover_characteristics(service=found):
                characteristic = BleakGATTCharacteristic(
                    proxy,
                    proxy.handle,
                    _uuid(proxy.uuid),
                    [name for bit, name in _PROPERTY_NAMES.items() if proxy.properties & bit],
                    lambda: self.mtu_size - 3,  # a write's opcode and handle
                    service,
                )
                offered.add_characteristic(characteristic)
                for descriptor in await proxy.discover_descriptors():
                    offered.add_descriptor(
                        BleakGATTDescriptor(
                            descriptor, descriptor.handle, _uuid(descriptor.type), characteristic
                        )
                    )
        return offered

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ATT_Error as error:
            code = BleakGATTProtocolErrorCode(error.error_code)
            raise BleakGATTProtocolError(code) from error
        except BaseBumbleError as error:
            raise BleakError(str(error)) from error
        except asyncio.CancelledError:
            # Bumble cancels what waits for an answer when the link breaks. To its caller, who was
            # not cancelled, that is an error as any other.
            task = asyncio.current_task()
            if self.is_connected or (task is not None and task.cancelling()):
                raise
            raise BleakError("disconnected") from None


class BumbleScanner(BaseBleakScanner):
    """Listen for advertisements on the link of `central`; an `Air` derives it for its own."""

    central: ClassVar[Device]
    listening: ClassVar[set["BumbleScanner"]]
    """Scanners that share the central: the first switches scanning on, the last off."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: Literal["active", "passive"],
        **kwargs: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)

    async def start(self) -> None:
        """Begin to listen, having forgotten what was heard before."""
        self.seen_devices.clear()
        self.central.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        self.listening.add(self)
        if len(self.listening) == 1:
            await self.central.start_scanning()

    async def stop(self) -> None:
        """Cease to listen; again is nothing."""
        if self in self.listening:
            self.listening.remove(self)
            self.central.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
            if not self.listening:
                await self.central.stop_scanning()

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        heard = advertisement.data
        uuids = heard.get(AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS) or []
        service_uuids = [_uuid(uuid) for uuid in uuids]
        if not self.is_allowed_uuid(service_uuids):
            return
        name = heard.get(AdvertisingData.Type.COMPLETE_LOCAL_NAME)
        address = advertisement.address.to_string(with_type_qualifier=False)
        said = AdvertisementData(
            local_name=name,
            manufacturer_data={},
            service_data={},
            service_uuids=service_uuids,
            tx_power=None,
            rssi=advertisement.rssi,
            platform_data=(advertisement,),
        )
        device = self.create_or_update_device(address, address, name, advertisement, said)
        self.call_detection_callbacks(device, said)


async def _hang_up(connection: Connection) -> None:
    if connection.handle in connection.device.connections:
        await connection.disconnect()


def _uuid(uuid: UUID) -> str:
    return normalize_uuid_str(uuid.to_hex_str("-"))

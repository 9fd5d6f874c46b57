"""The way to a device over the air: what a link needs of it, and bleak, which has it.

Everything here is called in the asyncio thread. bleak's errors end here, as `LinkFailed`.
"""

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from bleak import BleakAdapter, BleakClient, BleakScanner
from bleak.args.bluez import BlueZScannerArgs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError

from scentrt.adapters.dispensers.claims import Claims, is_address
from scentrt.adapters.dispensers.gatt import REQUIRED, SERVICE
from scentrt.adapters.dispensers.remedies import problem_of_adapter
from scentrt.errors import ScentError

BLUEZ_REFUSES = {"org.bluez.Error.NotPermitted", "org.bluez.Error.NotSupported"}
"""How BlueZ says no in a device's place, about what it keeps for itself: the battery, for one."""

SCAN_S = 10.0
"""After so long a scan begins anew, since one that has died does not say so."""

LOOK_AGAIN_S = 0.005
"""How often to look whether a link stands by now."""


class LinkFailed(ScentError):
    """A device, or the adapter that should reach it, did not do what was asked of it."""

    def __init__(self, who: str, problem: str) -> None:
        super().__init__(f"{who} {problem}")
        self.who = who
        self.problem = problem


class WrongProfile(LinkFailed):
    """A device is no dispenser of ours, or is too old; `missing` are the UUIDs that it lacks.

    `firmware` is what it says that it runs, None where it says nothing.
    """

    def __init__(self, who: str, missing: tuple[str, ...], firmware: str | None) -> None:
        named = ", ".join(f"{REQUIRED.get(uuid, '?')} ({uuid})" for uuid in missing)
        update = "its firmware" if firmware is None else f"its firmware, which is {firmware!r}"
        super().__init__(
            who,
            f"is no dispenser that we know: it lacks {named}; update {update}, or put the "
            "address of another device there",
        )
        self.missing = missing
        self.firmware = firmware


class Refused(LinkFailed):
    """A device, or the system before it, does not do what was asked of it; the link stands."""


class NotGenuine(LinkFailed):
    """A device could not prove that it has the key of the one that should be there."""

    def __init__(self, who: str, reason: str) -> None:
        super().__init__(
            who,
            f"could not prove that it has its key, since it {reason}, and is told nothing: find "
            "what else answers in its name, update its firmware if that is too old to answer, or "
            "correct the key",
        )


class Device(Protocol):
    """A device that was found. Calls raise `LinkFailed`, and may take for ever."""

    @property
    def characteristics(self) -> Container[str]:
        """The UUIDs of what it offers, once it was asked."""

    async def connect(self, on_lost: Callable[[], None]) -> None:
        """Connect, once; `on_lost` is called in the loop when the connection has ended.

        When this returns, or has been cancelled, the adapter is free to connect to others.
        """

    async def discover(self) -> None:
        """Ask the device what it offers; after `connect`."""

    async def disconnect(self) -> None:
        """Disconnect, or give up connecting. Safe to repeat."""

    async def read(self, characteristic: str) -> bytes:
        """Ask the device for a value."""

    async def write(self, characteristic: str, value: bytes, *, acknowledged: bool) -> None:
        """Write a value: until it was sent or, acknowledged, until the device has it."""

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        """Call `hear` in the loop with each value that the device notifies."""


class Radio(Protocol):
    """One Bluetooth adapter."""

    async def find(self, name: str) -> Device:
        """Wait until a device is in reach and can be connected; as long as that takes.

        `name` is its address, or the name under which it advertises. So a device that is away
        keeps nobody else from connecting. Raises `LinkFailed` where the adapter does not work.
        """


@dataclass(frozen=True, slots=True)
class Backend:
    """Another radio under bleak than the platform's own."""

    client: type[BaseBleakClient]
    scanner: type[BaseBleakScanner]


@dataclass(frozen=True, slots=True)
class Found:
    """A dispenser that advertises: its serial number is its name, where it tells it."""

    address: str
    serial: str | None
    rssi: int
    """How strongly it is heard, in dBm."""


async def scan(adapter: str | None, backend: Backend | None, seconds: float) -> list[Found]:
    """Listen for so long, and return the dispensers that were heard, the strongest first.

    One that is connected does not advertise. Raises `LinkFailed` where the adapter does not work.
    """
    scanner = BleakScanner(
        service_uuids=[SERVICE],
        bluez=_bluez(adapter),
        backend=None if backend is None else backend.scanner,
    )
    try:
        async with scanner:
            await asyncio.sleep(seconds)
    except Exception as error:
        raise _adapter_failure(adapter, error) from error
    heard = scanner.discovered_devices_and_advertisement_data.values()
    found = [Found(device.address, said.local_name, said.rssi) for device, said in heard]
    return sorted(found, key=lambda each: -each.rssi)


class BleakRadio:
    """A `Radio` through bleak: the adapter of that name (`hci0`), or the only one there is.

    It scans for as long as somebody waits for a device. With `pair`, devices are paired with when
    they are first connected, without asking anybody. `claims` are shared by all radios whose names
    must not stand for the same device. With `takes_over`, it also finds the devices that BlueZ
    holds connected, which a program that crashed has left, or which another one uses.
    """

    def __init__(
        self,
        adapter: str | None = None,
        backend: Backend | None = None,
        *,
        pair: bool = False,
        claims: Claims | None = None,
        takes_over: bool = False,
    ) -> None:
        self._adapter = adapter
        self._backend = backend
        self._pair = pair
        self._claims = claims or Claims()
        self._takes_over = takes_over
        self._sought: dict[str, asyncio.Future[BLEDevice]] = {}
        self._nobody = asyncio.Event()
        self._scanning: asyncio.Task[None] | None = None

    async def find(self, name: str) -> Device:
        """Wait until a device is in reach, as `Radio.find` says; one caller for each name.

        Raises `LinkFailed` also where another name stands for the same device.
        """
        loop = asyncio.get_running_loop()
        self._claims.seek(name)
        self._check(name)
        found = self._sought[name.casefold()] = loop.create_future()
        try:
            if self._scanning is None or self._scanning.done():
                self._scanning = loop.create_task(self._scan())
            device = await found
        finally:
            del self._sought[name.casefold()]
            if not self._sought:
                self._nobody.set()
        self._claims.take(name, device.address)
        self._check(name)
        return _BleakDevice(name, device, self._adapter, self._backend, pair=self._pair)

    async def _scan(self) -> None:
        try:
            while self._sought:
                self._nobody.clear()
                if self._backend is None and self._takes_over:
                    await self._see_the_connected()
                async with self._scanner():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SCAN_S):
                            await self._nobody.wait()
        except Exception as error:  # noqa: BLE001 (each of those who wait raises it)
            for found in self._sought.values():
                if not found.done():
                    found.set_exception(_adapter_failure(self._adapter, error))

    def _scanner(self) -> BleakScanner:
        return BleakScanner(
            self._see,
            bluez=_bluez(self._adapter),
            backend=None if self._backend is None else self._backend.scanner,
        )

    def _see(self, device: BLEDevice, advertisement: AdvertisementData | None) -> None:
        serial = device.name if advertisement is None else advertisement.local_name
        self._offer(device.address, device)
        # Anybody may call their device by another one's address.
        if serial and not is_address(serial):
            self._claims.hear(serial, device.address, asyncio.get_running_loop().time())
            self._offer(serial, device)

    def _offer(self, name: str, device: BLEDevice) -> None:
        found = self._sought.get(name.casefold())
        if found is not None and not found.done():
            found.set_result(device)

    def _check(self, name: str) -> None:
        problem = self._claims.problem(name)
        if problem is not None:
            raise LinkFailed(name, problem)

    async def _see_the_connected(self) -> None:
        """Find what BlueZ has left connected when its program crashed: that does not advertise."""
        with suppress(BleakError, NotImplementedError):
            adapter = await BleakAdapter.get(bluez=_bluez(self._adapter))
            for device in await adapter.get_connected_devices([SERVICE]):
                self._see(device, None)


class _BleakDevice:
    """A `Device` through bleak."""

    def __init__(
        self,
        name: str,
        device: BLEDevice,
        adapter: str | None,
        backend: Backend | None,
        *,
        pair: bool,
    ) -> None:
        self._name = name
        self._pair = pair
        self._on_lost: Callable[[], None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = BleakClient(
            device,
            self._lose,
            pair=pair,
            bluez=_bluez(adapter),
            backend=None if backend is None else backend.client,
        )
        # Looked up once: bleak searches all of them for each use of a UUID.
        self.characteristics: dict[str, BleakGATTCharacteristic] = {}

    async def connect(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        # bleak connects and discovers in one go, and does not say when the one is done; if the
        # adapter were held for both, all others would wait for a discovery that is not theirs.
        self._connecting = asyncio.create_task(self._client.connect())
        try:
            while not (self._client.is_connected or self._connecting.done() or self._ended.done()):
                await asyncio.wait({self._connecting}, timeout=LOOK_AGAIN_S)
        except asyncio.CancelledError:
            await self._give_up()
            raise
        if not self._client.is_connected:
            await self.discover()  # which says why

    async def discover(self) -> None:
        if self._connecting is None:
            raise LinkFailed(self._name, "has not been connected")
        await asyncio.wait({self._connecting, self._ended}, return_when=FIRST_COMPLETED)
        if not self._connecting.done():  # a backend may wait for an answer for ever
            raise LinkFailed(self._name, "has gone")
        what = "be connected"
        if self._pair:
            what = (
                "be paired and connected (where there is no pairing, set `pair = false` under "
                "[bluetooth])"
            )
        async with self._translating(what):
            await self._connecting
            self.characteristics = {
                each.uuid: each for each in self._client.services.characteristics.values()
            }

    async def disconnect(self) -> None:
        self._on_lost = None
        await self._give_up()
        async with self._translating("be disconnected"):
            await self._client.disconnect()

    async def _give_up(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)

    async def read(self, characteristic: str) -> bytes:
        async with self._translating("be read"):
            return bytes(await self._client.read_gatt_char(self.characteristics[characteristic]))

    async def write(self, characteristic: str, value: bytes, *, acknowledged: bool) -> None:
        try:
            await self._client.write_gatt_char(
                self.characteristics[characteristic], value, response=acknowledged
            )
        except Exception as error:
            raise self._failure("be written", error) from error

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        async with self._translating("be subscribed to"):
            await self._client.start_notify(
                self.characteristics[characteristic], lambda _, value: hear(bytes(value))
            )

    def _lose(self, _: BleakClient) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
        if self._on_lost is not None:
            self._on_lost()

    @asynccontextmanager
    async def _translating(self, what: str) -> AsyncIterator[None]:
        # Everything, not only BleakError: where a link breaks beneath it, bleak lets through what
        # D-Bus and its own assertions say.
        try:
            yield
        except Exception as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: Exception) -> LinkFailed:
        refused = isinstance(error, BleakGATTProtocolError) or (
            isinstance(error, BleakDBusError) and error.dbus_error in BLUEZ_REFUSES
        )
        kind = Refused if refused else LinkFailed
        return kind(self._name, f"could not {what}: {_why(error)}")


def _bluez(adapter: str | None) -> BlueZScannerArgs:
    return {"adapter": adapter} if adapter else {}


def _adapter_failure(adapter: str | None, error: Exception) -> LinkFailed:
    who = "the Bluetooth adapter" if adapter is None else f"the Bluetooth adapter {adapter}"
    failure = LinkFailed(who, problem_of_adapter(error, adapter))
    failure.__cause__ = error
    return failure


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__

"""The service `org.bluez` itself: who is called with what, and what is answered."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from dbus_fast import unpack_variants
from dbus_fast.aio import MessageBus
from dbus_fast.constants import MessageType
from dbus_fast.message import Message

from simulators.ble import profile
from simulators.ble.bluez.adapter import ADAPTER, Filter, Limits, SimulatedAdapter
from simulators.ble.bluez.bus import OBJECT_MANAGER, PROPERTIES, ObjectTree, Unknown, send
from simulators.ble.bluez.device import (
    CHARACTERISTIC,
    DEVICE,
    BluezError,
    Sighting,
    Station,
)
from simulators.ble.dispenser import Dispenser
from simulators.ble.peripheral import Peripheral

logger = logging.getLogger(__name__)

DBUS = "org.freedesktop.DBus"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method returns: D-Bus types, and values."""

    signature: str = ""
    body: tuple[Any, ...] = ()


NOTHING = Answer()


class UnknownMethod(Exception):
    """BlueZ has no such method, or not with such arguments."""

    def __init__(self, message: Message) -> None:
        super().__init__(f"{message.interface} has no {message.member}({message.signature})")


class Bluez:
    """Adapters hci0, hci1 and so on, and devices that all of them hear."""

    def __init__(self, bus: MessageBus, *, adapters: int = 1, limits: Limits) -> None:
        self._bus = bus
        self._tree = ObjectTree(bus)
        self.peripherals: list[Peripheral] = []
        self._adapters = {
            adapter.path: adapter
            for adapter in (SimulatedAdapter(self._tree, n, limits) for n in range(adapters))
        }
        self._sightings: dict[str, Sighting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering: dict[str | None, Callable[[Message], Coroutine[None, None, Answer]]] = {
            OBJECT_MANAGER: self._on_objects,
            PROPERTIES: self._on_properties,
            ADAPTER: self._on_adapter,
            DEVICE: self._on_device,
            CHARACTERISTIC: self._on_characteristic,
        }

    def add(
        self, address: str, dispenser: Dispenser, services: profile.Services = profile.SERVICES
    ) -> Peripheral:
        """Put a device where every adapter hears it."""
        station = Station(address, dispenser, services)
        self.peripherals.append(station.peripheral)
        for adapter in self._adapters.values():
            sighting = Sighting(self._tree, adapter, station, self._spawn)
            adapter.sightings.append(sighting)
            self._sightings[sighting.path] = sighting
        return station.peripheral

    async def serve(self, started: Callable[[], None]) -> None:
        """Answer until cancelled, or until the bus is gone."""
        self._bus.add_message_handler(self._on_message)
        await self._bus.call(
            Message(
                destination=DBUS,
                path="/org/freedesktop/DBus",
                interface=DBUS,
                member="AddMatch",
                signature="s",
                body=[f"type='signal',sender='{DBUS}',member='NameOwnerChanged'"],
            )
        )
        await self._bus.request_name("org.bluez")
        for adapter in self._adapters.values():
            self._spawn(adapter.run())
        started()
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast's
        finally:
            for peripheral in self.peripherals:
                peripheral.close()
            for task in self._tasks:
                task.cancel()

    def adapter_of(self, peripheral: Peripheral) -> str | None:
        """Return the path of the adapter that a device is connected through."""
        for path, adapter in self._adapters.items():
            if any(s.is_linked and s.station.peripheral is peripheral for s in adapter.sightings):
                return path
        return None

    def _on_message(self, message: Message) -> bool:
        """Take what is for BlueZ; the rest the library answers."""
        if message.message_type is MessageType.SIGNAL and message.member == "NameOwnerChanged":
            name, _, new_owner = message.body
            if not new_owner:
                for adapter in self._adapters.values():
                    adapter.on_client_gone(name)
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        answering = self._answering.get(message.interface)
        if answering is None:
            return False
        self._spawn(self._reply(message, answering(message)))
        return True

    async def _reply(self, message: Message, answering: Coroutine[None, None, Answer]) -> None:
        try:
            answer = await answering
        except BluezError as error:
            reply = Message.new_error(message, error.name, error.text)
        except Unknown as error:
            reply = Message.new_error(message, f"{DBUS}.Error.UnknownObject", str(error))
        except UnknownMethod as error:
            reply = Message.new_error(message, f"{DBUS}.Error.UnknownMethod", str(error))
        except msgspec.ValidationError as error:
            reply = Message.new_error(message, "org.bluez.Error.InvalidArguments", str(error))
        else:
            reply = Message.new_method_return(message, answer.signature, list(answer.body))
        send(self._bus, reply)

    async def _on_objects(self, message: Message) -> Answer:
        match message.member, message.signature:
            case "GetManagedObjects", "":
                return Answer("a{oa{sa{sv}}}", (self._tree.managed(),))
        raise UnknownMethod(message)

    async def _on_properties(self, message: Message) -> Answer:
        path, body = message.path or "", message.body
        match message.member, message.signature:
            case "GetAll", "s":
                return Answer("a{sv}", (self._tree.properties(path, body[0]),))
            case "Get", "ss":
                found = self._tree.properties(path, body[0])
                if body[1] not in found:
                    raise Unknown(f"{path} has no property {body[1]}")
                return Answer("v", (found[body[1]],))
            case "Set", "ssv":
                if body[:2] != [DEVICE, "Trusted"]:
                    raise BluezError("NotPermitted", f"{body[1]} cannot be set here")
                self._tree.properties(path, DEVICE)  # an unknown one is said to be so
                self._tree.change(path, DEVICE, {"Trusted": body[2]})
                return NOTHING
        raise UnknownMethod(message)

    async def _on_adapter(self, message: Message) -> Answer:
        client, body = message.sender or "", message.body
        adapter = self._adapters.get(message.path or "")
        if adapter is None:
            raise Unknown(f"there is no adapter at {message.path}")
        match message.member, message.signature:
            case "SetDiscoveryFilter", "a{sv}":
                adapter.set_filter(client, msgspec.convert(unpack_variants(body[0]), Filter))
            case "StartDiscovery", "":
                adapter.start_discovery(client)
            case "StopDiscovery", "":
                adapter.stop_discovery(client)
            case "RemoveDevice", "o":
                if body[0] not in self._tree:
                    raise BluezError("DoesNotExist", "Does Not Exist")
                self._sighting(body[0]).forget()
            case _:
                raise UnknownMethod(message)
        return NOTHING

    async def _on_device(self, message: Message) -> Answer:
        sighting = self._sighting(message.path or "")
        match message.member, message.signature:
            case "Connect", "":
                await sighting.connect()
            case "Disconnect", "":
                sighting.disconnect()
            case "Pair", "":
                await sighting.pair()
            case _:
                raise UnknownMethod(message)
        return NOTHING

    async def _on_characteristic(self, message: Message) -> Answer:
        path, body = message.path or "", message.body
        sighting = self._sighting(path)
        match message.member, message.signature:
            case "ReadValue", "a{sv}":
                return Answer("ay", (await sighting.read(path),))
            case "WriteValue", "aya{sv}":
                kind = unpack_variants(body[1]).get("type", "request")
                await sighting.write(path, bytes(body[0]), with_response=kind == "request")
            case "StartNotify", "":
                sighting.listen(path, wanted=True)
            case "StopNotify", "":
                sighting.listen(path, wanted=False)
            case _:
                raise UnknownMethod(message)
        return NOTHING

    def _sighting(self, path: str) -> Sighting:
        """Return whose object this is: a device's, or a part of its GATT; raises `Unknown`."""
        sighting = self._sightings.get("/".join(path.split("/")[:5]))
        if sighting is None or path not in self._tree:
            raise Unknown(f"there is no object at {path}")
        return sighting

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the simulated BlueZ failed", exc_info=error)

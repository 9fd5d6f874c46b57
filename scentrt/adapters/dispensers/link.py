"""The link to one dispenser: a task that keeps it connected and writes what it is told.

Everything here lives in the asyncio thread, and times are the loop's.
"""

import asyncio
import logging
import random
import secrets
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import NoReturn

from scentrt.adapters.dispensers import gatt
from scentrt.adapters.dispensers.adapter import Adapter
from scentrt.adapters.dispensers.gatt import Activity, BadValue, Command
from scentrt.adapters.dispensers.link_state import LinkState
from scentrt.adapters.dispensers.orders import OrderQueue, SprayOrder
from scentrt.adapters.dispensers.radio import (
    Device,
    LinkFailed,
    NotGenuine,
    Refused,
    WrongProfile,
)
from scentrt.adapters.dispensers.valves import Valves
from scentrt.domain.decisions import Withdraw

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
"""How long a link that has failed waits before it tries again: at first, and at last."""

SEEN_WITHIN_S = 4.0
"""A device that is there advertises within so long; scanning for longer costs the others air."""

CONNECTED_WITHIN_S = 5.0
"""For the connection, and pairing, while no other link of the adapter may connect."""

ANSWERED_WITHIN_S = 5.0
"""For each of the two steps that follow: what the device offers, then who it is and how."""

PATIENCE_S = 2.0
"""A device that has not answered within so long is lost."""

KEEP_ALIVE_S = 2.0
"""A device that has said nothing for so long is asked for its status."""

SLOTS_EVERY_S = 30.0
"""How often a device is asked what is left in its slots, beside what it says of that by itself."""

STOP_WITHIN_S, DISCONNECT_WITHIN_S = 1.0, 0.5
"""At the end: for the last stop, and for the farewell."""


class Link:
    """Keep one device connected, and tell it what it is to do.

    `spray` and `stop` return at once. What is told to a device that is not connected, or stuck,
    is dropped. The first write of every connection is stop all, and a stop that the device does not
    follow is repeated, as `Valves` says. `tell` is called whenever the state has changed.

    With a `key`, the device has to prove that it knows it before it is told anything else: an
    address can be copied.
    """

    def __init__(
        self,
        name: str,
        adapter: Adapter,
        tell: Callable[[LinkState], None],
        key: bytes | None = None,
    ) -> None:
        if key is not None and len(key) < gatt.SHORTEST_KEY_BYTES:
            raise ValueError(f"the key of {name} has less than {gatt.SHORTEST_KEY_BYTES} bytes")
        self.name = name
        self._key = key
        self._adapter = adapter
        self._tell = tell
        self._state = LinkState()
        self._queue = OrderQueue(name)
        self._valves = Valves()
        # What each slot was told last, and until when that goes on; infinity while it is written.
        self._told: dict[int, tuple[SprayOrder, float]] = {}
        self._has_orders = asyncio.Event()
        self._is_due = asyncio.Event()
        self._wakes_at = inf
        self._lost = False
        self._seq = 0
        self._connected_at = inf
        self._heard_at = 0.0
        self._writing_since: float | None = None
        self._latency_ms: float | None = None

    def spray(self, order: SprayOrder) -> None:
        """Let the device spray when those before it have been told."""
        if self._state.online and not self._state.stuck:
            self._queue.spray(order)
            self._has_orders.set()
        else:
            order.outcome.dropped(self.name)

    def stop(self, command: Command) -> None:
        """Close a slot, or all, before anything that waits. Offline, that has happened already."""
        if self._state.online:
            self._queue.stop(command)
            if command.op is gatt.Op.STOP_ALL:
                self._told.clear()
            else:
                self._told.pop(command.slot, None)
            self._has_orders.set()

    def withdraw(self, what: Withdraw) -> None:
        """Forget the sprays meant that wait, and close what goes on, or is being written, of them.

        A slot that a stop has been told to close already is left to that.
        """
        self._queue.withdraw(what)
        now = asyncio.get_running_loop().time()
        for slot, (order, ends) in list(self._told.items()):
            if ends > now and what.means(order.cue):
                del self._told[slot]
                self._queue.close(Command.stop(slot))
                self._has_orders.set()

    async def run(self) -> NoReturn:
        """Keep the device connected until cancelled; then stop all its slots and let it go.

        The end takes no longer than `STOP_WITHIN_S` and `DISCONNECT_WITHIN_S` together, unless
        the library does not let itself be cancelled.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._connected_at = inf
            try:
                await self._connect_and_serve()
            except NotGenuine as failed:
                self._become(replace(self._state, impostor=True))
                self._note_problem(str(failed))
            except LinkFailed as failed:
                self._note_problem(str(failed))
            except BadValue as bad:
                self._note_problem(f"{self.name} says what cannot be: {bad}")
            except Exception:
                log.exception("the link to %s failed", self.name)
                self._note_problem(f"the link to {self.name} failed; the log says how")
            if loop.time() - self._connected_at > LONGEST_WAIT_S:
                failures = 0
            longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**failures)
            failures = min(failures + 1, 10)
            # At random, so that those that were lost together do not all come back together.
            await asyncio.sleep(random.uniform(longest_s / 2, longest_s))

    async def _connect_and_serve(self) -> None:
        async with self._within(SEEN_WITHIN_S, "is not there: is it on, and its address right?"):
            device = await self._adapter.radio.find(self.name)
        async with self._adapter.free:
            try:
                async with (
                    self._adapter.connecting,
                    self._within(CONNECTED_WITHIN_S, "did not connect in time"),
                ):
                    self._lost = False
                    await device.connect(self._lose)
                async with self._within(ANSWERED_WITHIN_S, "does not say what it offers"):
                    await device.discover()
                try:
                    async with self._within(ANSWERED_WITHIN_S, "does not answer"):
                        await self._greet(device)
                    await self._serve(device)
                except asyncio.CancelledError:
                    await self._bid_farewell(device)
                    raise
            finally:
                self._go_offline()
                await self._disconnect(device)

    async def _serve(self, device: Device) -> None:
        """Write orders and watch the device until one of both fails, or until cancelled.

        Not in a `TaskGroup`: when it is cancelled as one of its tasks fails, it raises that
        failure only, and the link would connect again instead of ending.
        """
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._watch(device)),
            loop.create_task(self._write_orders(device)),
        ]
        try:
            await asyncio.wait(tasks, return_when=FIRST_COMPLETED)
        finally:
            ended = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()

    async def _greet(self, device: Device) -> None:
        """Close whatever is open, and hear how the device is."""
        missing = tuple(uuid for uuid in gatt.REQUIRED if uuid not in device.characteristics)
        if missing:
            raise WrongProfile(self.name, missing, await self._ask_firmware(device))
        await self._write(device, Command.stop(None), acknowledged=True)
        if self._key is not None:
            await self._identify(device, self._key)
        for uuid, hear in {gatt.STATUS: self._hear_status, gatt.SLOTS: self._hear_slots}.items():
            await device.subscribe(uuid, partial(self._hear, hear))
            hear(await device.read(uuid))
        if gatt.BATTERY_LEVEL in device.characteristics:
            with suppress(Refused):  # a system may keep it for itself, and the seat works
                self._hear_battery(await device.read(gatt.BATTERY_LEVEL))
                await device.subscribe(gatt.BATTERY_LEVEL, partial(self._hear, self._hear_battery))
        firmware = await self._ask_firmware(device)
        self._connected_at = asyncio.get_running_loop().time()
        self._become(
            replace(self._state, online=True, firmware=firmware, impostor=False, problem=None)
        )

    async def _ask_firmware(self, device: Device) -> str | None:
        """Return what the device says that it runs, if it does: nothing depends on it."""
        if gatt.FIRMWARE not in device.characteristics:
            return None
        try:
            return gatt.decode_firmware(await device.read(gatt.FIRMWARE))
        except Refused:
            return None

    async def _identify(self, device: Device, key: bytes) -> None:
        """See that the device has the key, by a question that nobody can have heard before."""
        if any(uuid not in device.characteristics for uuid in (gatt.CHALLENGE, gatt.RESPONSE)):
            raise NotGenuine(self.name, "cannot be asked")
        challenge = secrets.token_bytes(gatt.CHALLENGE_BYTES)
        try:
            await device.write(gatt.CHALLENGE, challenge, acknowledged=True)
            response = await device.read(gatt.RESPONSE)
        except Refused as error:
            raise NotGenuine(self.name, error.problem) from error
        if not gatt.is_proof(key, challenge, response):
            raise NotGenuine(self.name, "gave a wrong answer")

    async def _write_orders(self, device: Device) -> NoReturn:
        loop = asyncio.get_running_loop()
        while True:
            order = self._queue.take(loop.time())
            if order is None:
                self._has_orders.clear()
                await self._has_orders.wait()
            elif isinstance(order, Command):
                await self._write(device, order)
            else:
                await self._write_spray(device, order)

    async def _write_spray(self, device: Device, order: SprayOrder) -> None:
        command = order.command
        self._told[command.slot] = order, inf
        try:
            written_at = await self._write(device, command)
        except BaseException:
            order.outcome.failed()
            raise
        if command.slot in self._told:  # else a stop has come meanwhile
            self._told[command.slot] = order, written_at + command.duration_ms / 1000
        order.outcome.written(written_at)
        took_ms = (written_at - order.given) * 1000
        # An eighth of what is new, as RFC 6298 smooths the round trips of TCP.
        smooth_ms = took_ms if self._latency_ms is None else self._latency_ms
        self._latency_ms = smooth_ms + (took_ms - smooth_ms) / 8

    async def _write(
        self, device: Device, command: Command, *, acknowledged: bool = False
    ) -> float:
        """Write a command, and return when that was done."""
        loop = asyncio.get_running_loop()
        self._seq = self._seq + 1 & 0xFFFF
        self._writing_since = loop.time()
        if command.op is gatt.Op.SPRAY:
            # Open at once, and no telling for how long before the write has ended.
            self._valves.opens(command.slot, self._seq, inf)
        await device.write(gatt.COMMAND, command.encode(self._seq), acknowledged=acknowledged)
        self._writing_since = None
        now = loop.time()
        match command.op:
            case gatt.Op.SPRAY:
                self._valves.opens(command.slot, self._seq, now + command.duration_ms / 1000)
            case gatt.Op.STOP_SLOT:
                self._valves.told_to_close(command.slot, self._seq, now)
            case gatt.Op.STOP_ALL:
                self._valves.told_to_close(None, self._seq, now)
        if self._valves.look_at < self._wakes_at:
            self._is_due.set()
        return now

    async def _watch(self, device: Device) -> NoReturn:
        """See that the device answers, takes what is written, and closes what it is to close.

        Beside the writing and not between, so that no cue waits for an answer to such a question.
        """
        loop = asyncio.get_running_loop()
        note_at = loop.time() + KEEP_ALIVE_S
        slots_at = loop.time() + SLOTS_EVERY_S
        while True:
            self._is_due.clear()
            now = loop.time()
            if now >= note_at:
                self._note_health()
                note_at = now + KEEP_ALIVE_S
            taken_by = (self._writing_since or now) + PATIENCE_S
            look_at = min(self._heard_at + KEEP_ALIVE_S, self._valves.look_at, slots_at)
            if self._lost:
                raise LinkFailed(self.name, "has gone")
            if now >= taken_by:
                raise LinkFailed(self.name, "does not take what is written to it")
            if now < look_at:
                self._wakes_at = min(look_at, taken_by, note_at)
                alarm = loop.call_at(self._wakes_at, self._is_due.set)
                await self._is_due.wait()
                alarm.cancel()
                continue
            async with self._within(taken_by - now, "does not answer"):
                status = await device.read(gatt.STATUS)
            self._hear_status(status, asked_at=now)
            now = loop.time()
            if now >= self._valves.look_at:
                for slot in self._valves.still_open(now):
                    self.stop(Command.stop(slot))
            self._note_health()
            if now >= slots_at:
                slots_at = now + SLOTS_EVERY_S
                async with self._within(PATIENCE_S, "does not answer"):
                    self._hear(self._hear_slots, await device.read(gatt.SLOTS))

    def _hear(self, hear: Callable[[bytes], None], value: bytes) -> None:
        """Take in what the device says unasked; nonsense is no reason to leave it."""
        try:
            hear(value)
        except BadValue as error:
            log.warning("%s says what cannot be: %s", self.name, error)

    def _hear_status(self, value: bytes, asked_at: float = -inf) -> None:
        status = gatt.decode_status(value)
        self._heard_at = asyncio.get_running_loop().time()
        self._valves.see(status, self._heard_at, asked_at)
        if self._valves.look_at <= self._heard_at:
            self._is_due.set()
        stuck, fault = self._valves.stuck, status.activity is Activity.FAULT
        if (stuck, fault) != (self._state.stuck, self._state.fault):
            self._become(replace(self._state, stuck=stuck, fault=fault))

    def _hear_slots(self, value: bytes) -> None:
        slots, readings = gatt.decode_slots(value), self._state.readings + 1
        self._become(replace(self._state, slots=slots, readings=readings))

    def _hear_battery(self, value: bytes) -> None:
        self._become(replace(self._state, battery_percent=gatt.decode_battery(value)))

    def _note_health(self) -> None:
        latency_ms = None if self._latency_ms is None else round(self._latency_ms, 1)
        self._become(
            replace(
                self._state,
                stuck=self._valves.stuck,
                latency_ms=latency_ms,
                expired=self._queue.expired,
            )
        )

    def _lose(self) -> None:
        self._lost = True
        self._is_due.set()

    def _go_offline(self) -> None:
        self._become(replace(self._state, online=False))
        self._queue.clear()
        self._told.clear()
        self._writing_since = None

    def _note_problem(self, problem: str) -> None:
        self._become(replace(self._state, problem=problem))

    def _become(self, state: LinkState) -> None:
        if state != self._state:
            self._state = state
            self._tell(state)

    async def _bid_farewell(self, device: Device) -> None:
        self._go_offline()
        try:
            async with self._within(STOP_WITHIN_S, "was not stopped for certain"):
                await self._write(device, Command.stop(None), acknowledged=True)
        except LinkFailed as error:
            log.warning("%s", error)

    async def _disconnect(self, device: Device) -> None:
        try:
            async with self._within(DISCONNECT_WITHIN_S, "did not disconnect in time"):
                await device.disconnect()
        except LinkFailed as error:
            log.info("%s", error)

    @asynccontextmanager
    async def _within(self, seconds: float, otherwise: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise LinkFailed(self.name, otherwise) from error

"""The gateway: who is let in, whose session it is, and what follows when somebody goes.

Every connection, its handshake included, runs inside a boundary of its own: whatever a client
sends, it ends that connection at most. All deadlines are ours, none is the client's.
"""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import trio
from trio_websocket import ConnectionClosed

import scentrt
from scentrt.actors.actor import Message, Ref
from scentrt.actors.clock import ServerClock
from scentrt.actors.house import House
from scentrt.actors.messages import Forget, Hush, LeavePlace, TakePlace, WelcomeBack
from scentrt.domain.cues import OwnerId, Scent, SeatId
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.seats import Slot, Vial
from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.allowance import Allowance
from scentrt.entrypoints.gateway.caller import (
    CLOSE_WITHIN_S,
    GOING_AWAY,
    INTERNAL,
    POLICY,
    Caller,
    Hangup,
    shake_hands,
)
from scentrt.entrypoints.gateway.connection import Connection
from scentrt.entrypoints.gateway.door import Door
from scentrt.entrypoints.gateway.doorkeeper import Doorkeeper
from scentrt.entrypoints.gateway.fanout import FanOut
from scentrt.entrypoints.gateway.goggles import Headset, Headsets
from scentrt.entrypoints.gateway.refusals import busy, misread, not_authenticated, slower
from scentrt.entrypoints.gateway.session import Session, Sessions
from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.wire import BadMessage
from scentrt.errors import ActorError, ActorStopped, Busy

log = logging.getLogger(__name__)

HELLO_WITHIN_S: Final = 5.0
RESUME_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the gateway treats its clients."""

    max_silence_ms: int = 5_000
    messages_per_s: int = 2_000


class Gateway:
    """Serve game engines, goggles and operators over WebSocket."""

    def __init__(
        self,
        house: House,
        sessions: Sessions,
        fanout: FanOut,
        headsets: Headsets,
        clock: ServerClock,
        doorkeeper: Doorkeeper,
        limits: Limits,
        settings: GatewaySettings,
    ) -> None:
        self._house = house
        self._sessions = sessions
        self._fanout = fanout
        self._headsets = headsets
        self._clock = clock
        self._doorkeeper = doorkeeper
        self._limits = limits
        self._settings = settings
        self._callers: dict[OwnerId, Caller] = {}
        self._lingering: dict[OwnerId, trio.CancelScope] = {}
        self._wearers: dict[SeatId, Connection] = {}
        self._open: set[Caller] = set()
        self._left = trio.Event()
        self._stopping = trio.Event()

    async def run(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `stop`; then tell what has ended by it, and let go of everybody with 1001."""
        async with trio.open_nursery() as self._clients:
            async with trio.open_nursery() as door:
                serve = partial(trio.serve_listeners, handler_nursery=self._clients)
                await door.start(serve, self._serve, [Door(listener) for listener in listeners])
                task_status.started()
                await self._stopping.wait()
                door.cancel_scope.cancel()
            with trio.move_on_after(CLOSE_WITHIN_S):
                await self._fanout.wait_told()
            for caller in self._open:
                caller.hang_up(GOING_AWAY, "the server is going away")
            with trio.move_on_after(2 * CLOSE_WITHIN_S):
                while self._open:
                    await self._left.wait()
            self._clients.cancel_scope.cancel()

    def stop(self) -> None:
        """Take nobody in any more, and let go of those who are there."""
        self._stopping.set()

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._open)

    # One connection, from its first byte to its last

    async def _serve(self, tcp: trio.SocketStream) -> None:
        stream = FrameStream.adopt(tcp)
        deadline = trio.current_time() + HELLO_WITHIN_S
        max_silence_s = self._settings.max_silence_ms / 1000
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.run)
                caller = None
                with trio.move_on_at(deadline):
                    caller = await shake_hands(nursery, stream, self._doorkeeper, max_silence_s)
                if caller is not None:
                    nursery.start_soon(caller.keep_alive)
                    await self._converse(caller, deadline)
                    if stream.stalled.is_set():
                        await stream.wait_gone()
                nursery.cancel_scope.cancel()
        except* Exception as group:  # noqa: BLE001 (the boundary of one connection)
            # What comes before a hello is port scanners and fuzzers: no traceback for them.
            log.info("%s: the connection failed: %.200r", stream.peer, group.exceptions)
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, caller: Caller, deadline: float) -> None:
        connection: Connection | None = None
        self._open.add(caller)
        try:
            with caller.scope:
                allowance = Allowance(self._settings.messages_per_s)
                connection = await self._greet(caller, allowance, deadline)
                await self._attend(caller, allowance, connection)
        except ConnectionClosed as closed:
            caller.closed(closed)
        except Hangup as hangup:
            caller.hung_up(hangup)
        except Exception:
            log.exception("%s: a bug ends this connection", caller.stream.peer)
            caller.hung_up(Hangup(INTERNAL, "internal error"))
        finally:
            if connection is not None:
                self._depart(caller, connection)
            await caller.close()
            self._open.discard(caller)
            self._left.set()
            self._left = trio.Event()

    async def _attend(self, caller: Caller, allowance: Allowance, connection: Connection) -> None:
        while True:
            heard, received_ms = await self._hear(caller, allowance)
            match heard:
                case BadMessage():
                    caller.tell(misread(heard))
                case hear.Panic() | hear.Release():  # until the disk has it
                    with caller.waiting():
                        await connection.handle(heard, received_ms)
                case _:
                    await connection.handle(heard, received_ms)
            if self._house.is_behind:  # or its mailbox would be full before it had a turn
                await trio.lowlevel.checkpoint()

    async def _hear(
        self, caller: Caller, allowance: Allowance
    ) -> tuple[hear.ClientMessage | BadMessage, float]:
        """Return the next message that is not one too many, good or bad, and when it came."""
        while True:
            data = await caller.receive()
            received_ms = self._clock.now_ms()
            heard: hear.ClientMessage | BadMessage
            try:
                heard = caller.codec.decode(data)
                re = getattr(heard, "id", None)
            except BadMessage as bad:
                heard, re = bad, bad.re
            retry_after_ms = allowance.take(heard)
            if not retry_after_ms:
                return heard, received_ms
            caller.tell(slower(re, retry_after_ms))

    # Coming

    async def _greet(self, caller: Caller, allowance: Allowance, deadline: float) -> Connection:
        """Wait for a hello that is in order, and welcome whoever said it."""
        with trio.move_on_at(deadline):
            while True:
                hello = await self._hear_hello(caller, allowance)
                if hello is not None:
                    connection = await self._admit(caller, hello)
                    if connection is not None:
                        return connection
        raise Hangup(POLICY, f"no hello within {HELLO_WITHIN_S:g} s")

    async def _hear_hello(self, caller: Caller, allowance: Allowance) -> hear.Hello | None:
        message, _ = await self._hear(caller, allowance)
        if isinstance(message, BadMessage):
            if message.type == "hello":
                caller.tell(misread(message))
            else:
                caller.tell(not_authenticated(message.re, "the first message is hello"))
            return None
        if not isinstance(message, hear.Hello):
            re = getattr(message, "id", None)
            caller.tell(not_authenticated(re, "the first message is hello"))
            return None
        if not self._doorkeeper.lets_in(message.role, message.token):
            problem = f"token: not one that opens the role {message.role}"
            caller.tell(not_authenticated(message.id, problem))
            raise Hangup(POLICY, "not authenticated")
        if message.dispenser is not None and message.role != "goggles":
            caller.tell(
                say.Error(
                    re=message.id,
                    code="bad-message",
                    message=f"dispenser: goggles have one, the role is {message.role}",
                )
            )
            return None
        return message

    async def _admit(self, caller: Caller, hello: hear.Hello) -> Connection | None:
        known = self._sessions.resume(hello.resume, hello.role, hello.name)
        session = known or self._sessions.open(hello.role, hello.name)
        connection = Connection(
            session,
            caller.stream,
            caller.codec,
            house=self._house,
            fanout=self._fanout,
            headsets=self._headsets,
            clock=self._clock,
            limits=self._limits,
        )
        if hello.role == "goggles" and not await self._seat(caller, connection, hello):
            if known is None:
                self._sessions.close(session)
            return None
        former = self._callers.get(session.id)
        if former is not None:
            former.hang_up(POLICY, "this session was taken up by a newer connection")
        linger = self._lingering.pop(session.id, None)
        if linger is not None:
            linger.cancel()
        self._callers[session.id] = caller
        session.pick_up(connection.tell)
        if hello.role != "goggles":
            caller.tell(self._welcome(hello, session))
            if known is not None:
                self._tell_zones(WelcomeBack(session.id))
        return connection

    async def _seat(self, caller: Caller, connection: Connection, hello: hear.Hello) -> bool:
        """Give goggles their place; they are welcomed in the turn of their zone.

        So no cue can come between the welcome and the device's being known.
        """
        name = SeatId(hello.name)
        slots = None if hello.dispenser is None else tuple(map(_slot, hello.dispenser.slots))
        answered = trio.Event()
        seated = False

        def answer(has_room: bool | ActorError) -> None:  # noqa: FBT001 (a reply)
            nonlocal seated
            seated = has_room is True
            if seated:
                former = self._wearers.get(name)
                if former is not None:
                    self._replace(former)
                self._wearers[name] = connection
                caller.tell(self._welcome(hello, connection.session))
                self._house.guests.arrive(name, slots)
                if slots is not None:
                    connection.headset = Headset(caller.stream, caller.codec)
                    self._headsets.connect(name, connection.headset)
            else:
                caller.tell(busy(hello.id, 1000.0))
            answered.set()

        try:
            self._house.goggles.request(TakePlace(name, slots), answer)
        except Busy as error:
            caller.tell(busy(hello.id, error.retry_after_ms))
            return False
        with trio.CancelScope(shield=True):  # or the place would be taken by nobody
            await answered.wait()
        return seated

    def _replace(self, former: Connection) -> None:
        caller = self._callers.get(former.session.id)
        if caller is not None:
            caller.hang_up(POLICY, "newer goggles of this name have connected")

    def _welcome(self, hello: hear.Hello, session: Session) -> say.Welcome:
        return say.Welcome(
            re=hello.id,
            server=f"scentrt {scentrt.__version__}",
            session=session.id,
            server_time=self._clock.now_ms(),
            max_silence_ms=self._settings.max_silence_ms,
            zones=tuple(
                say.ZoneInfo(
                    zone=zone.id,
                    seats=zone.rows * zone.seats_per_row,
                    scents=tuple(dict.fromkeys(zone.slots)),
                )
                for zone in self._house.plan.zones
            ),
        )

    # Going

    def _depart(self, caller: Caller, connection: Connection) -> None:
        """See to what a client leaves behind, without waiting for anything."""
        session, name = connection.session, SeatId(connection.session.name)
        self._fanout.leave(connection)
        if connection.headset is not None:
            self._headsets.disconnect(name, connection.headset)
        if self._wearers.get(name) is connection:
            del self._wearers[name]
            self._house.guests.leave(name)
            self._tell(self._house.goggles, LeavePlace(name))
        if self._callers.get(session.id) is not caller:
            return  # a newer connection goes on with the session
        del self._callers[session.id]
        session.hang_up()
        if caller.left_cleanly:
            self._forget(session)
            return
        if session.role != "goggles":  # goggles own nothing in any zone
            self._tell_zones(Hush(session.id))
        # Known from now on, not from when the task begins: the client may be back by then.
        scope = self._lingering[session.id] = trio.CancelScope()
        self._clients.start_soon(self._linger, session, scope)

    async def _linger(self, session: Session, scope: trio.CancelScope) -> None:
        """Keep a session for a client that may come back."""
        with scope:
            await trio.sleep(RESUME_WITHIN_S)
        if self._lingering.get(session.id) is scope:
            del self._lingering[session.id]
            self._forget(session)

    def _forget(self, session: Session) -> None:
        self._sessions.close(session)
        if session.role != "goggles":
            self._tell_zones(Forget(session.id))

    def _tell_zones(self, message: Message[Any]) -> None:
        for zone in self._house.zones.values():
            self._tell(zone, message)

    def _tell(self, zone: Ref, message: Message[Any]) -> None:
        """Send what must get there: a farewell behind the cues before it, if that can be."""
        try:
            zone.tell(message, urgent=not isinstance(message, Forget))
        except Busy:
            zone.tell(message, urgent=True)
        except ActorStopped:
            log.debug("%s has stopped before %r", zone.name, message)


def _slot(slot: hear.DispenserSlot) -> Slot:
    vial = None if slot.remaining_s is None else Vial(round(slot.remaining_s * US_PER_S))
    return Slot(slot.slot, Scent(slot.scent), vial)

"""The core of an actor: a mailbox, a reference to it, and somebody who restarts it.

An actor is whatever runs `async for`-like over its `Mailbox`: it alone touches its state. Others
hold a `Ref`. A message says by its type what its answer is::

    @dataclass(frozen=True, slots=True)
    class Stop(Message[int]): ...


    stopped: int = await ref.ask(Stop(...))
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from scentrt.errors import ActorCrashed, ActorError, ActorStopped, Busy

log = logging.getLogger(__name__)

R = TypeVar("R")

RETRY_AFTER_MS = 50.0
"""What a sender is told to wait: time for some thousand messages to be worked off."""

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 0.8
"""A crashed actor is back within a second, however often it has crashed before."""

STEADY_AFTER_S = 10.0
"""An actor that ran so long before it crashed starts again with the first backoff."""


class Message(Generic[R]):
    """Something an actor may be sent; `R` is what it answers."""

    __slots__ = ()


class Envelope:
    """A message on its way, and whoever waits for the answer."""

    __slots__ = ("_reply", "message")

    def __init__(self, message: Message[Any], reply: Callable[[Any], None] | None = None) -> None:
        self.message = message
        self._reply = reply

    def answer(self, value: object) -> None:
        """Give the answer, an `ActorError` where there is none. Only the first one counts.

        Never raises: a fault of whoever asked must end neither the actor nor its supervisor.
        """
        reply, self._reply = self._reply, None
        if reply is not None:
            try:
                reply(value)
            except Exception:
                log.exception("an answer could not be taken")


@dataclass(frozen=True, slots=True)
class _Newest:
    """A place in the queue for whatever is newest under a key when its turn comes."""

    key: Hashable


class Mailbox:
    """What waits for one actor: urgent messages, ordinary ones, and the newest of each level.

    Ordinary messages are bounded by `capacity`: what does not fit is refused at once, so that a
    sender learns of the jam while its cue can still be dropped. Urgent messages are never
    refused; they are few, since a person or a closing connection causes each. Of messages posted
    under one key only the newest waits, in the place of the first.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.is_behind = False
        """Whether the actor has left something in here in its last turn: then whoever has much to
        say had better say it one by one."""
        # None only wakes the actor, for the sake of the urgent lane.
        self._send, self._receive = trio.open_memory_channel[Envelope | _Newest | None](capacity)
        self._urgent: deque[Envelope] = deque()
        self._newest: dict[Hashable, Envelope] = {}
        self._arrived: Envelope | _Newest | None = None
        self._in_hand: Envelope | None = None
        self._closed = False

    def post(self, envelope: Envelope) -> None:
        """Put an ordinary message in; raise `Busy` where there is no room."""
        self._post(envelope)

    def post_urgent(self, envelope: Envelope) -> None:
        """Put a message in before all ordinary ones, behind earlier urgent ones."""
        if self._closed:
            raise ActorStopped(self.name)
        if not self._urgent:
            # Where the lane is full, the actor is awake anyway.
            with suppress(trio.WouldBlock):
                self._send.send_nowait(None)
        self._urgent.append(envelope)

    def post_newest(self, key: Hashable, envelope: Envelope) -> None:
        """Put a message in, in place of the one under the same key if that still waits."""
        if key not in self._newest:
            self._post(_Newest(key))
        self._newest[key] = envelope

    async def wait(self) -> None:
        """Return when there is something to take; now and then early, for nothing.

        Always a checkpoint. If cancelled, nothing is lost: what has come is there to be taken.
        """
        if self._urgent or self._arrived is not None:
            await trio.lowlevel.checkpoint()
        else:
            self._arrived = await self._receive.receive()

    def take(self) -> Envelope | None:
        """Take the next message without waiting, urgent ones first; None if there is none."""
        self._in_hand = self._urgent.popleft() if self._urgent else self._take_ordinary()
        return self._in_hand

    def fail_all(self, error: ActorError) -> None:
        """Answer whoever waits with an error, the message that was taken last included."""
        envelope = self._in_hand or self.take()
        while envelope is not None:
            envelope.answer(error)
            envelope = self.take()

    def close(self) -> None:
        """Take nothing more, and tell whoever waits that the actor has stopped."""
        self._closed = True
        self.fail_all(ActorStopped(self.name))

    def _post(self, item: Envelope | _Newest) -> None:
        if self._closed:
            raise ActorStopped(self.name)
        try:
            self._send.send_nowait(item)
        except trio.WouldBlock:
            raise Busy(self.name, RETRY_AFTER_MS) from None

    def _take_ordinary(self) -> Envelope | None:
        item, self._arrived = self._arrived, None
        while item is None:
            try:
                item = self._receive.receive_nowait()
            except trio.WouldBlock:
                return None
        return self._newest.pop(item.key) if isinstance(item, _Newest) else item


class Ref:
    """How others reach an actor. Cheap to hand around; it outlives restarts."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    @property
    def name(self) -> str:
        """The name of the actor."""
        return self._mailbox.name

    @property
    def is_behind(self) -> bool:
        """Whether the actor does not keep pace with what it is sent."""
        return self._mailbox.is_behind

    def tell(self, message: Message[Any], *, urgent: bool = False) -> None:
        """Send a message whose answer nobody wants.

        Raises `Busy` where an ordinary message finds the mailbox full, `ActorStopped` after the
        end; then nothing was taken.
        """
        self._post(Envelope(message), urgent)

    def tell_newest(self, key: Hashable, message: Message[Any]) -> None:
        """Send a message that replaces a waiting one of the same key; raises as `tell` does."""
        self._mailbox.post_newest(key, Envelope(message))

    def request(
        self,
        message: Message[R],
        reply: Callable[[R | ActorError], None],
        *,
        urgent: bool = False,
    ) -> None:
        """Send a message and have `reply` called once with its answer, in the actor's turn.

        `reply` must not block or raise. It gets an `ActorError` where the actor crashes or stops
        before it has answered. Raises as `tell` does; then `reply` is not called.
        """
        self._post(Envelope(message, reply), urgent)

    async def ask(self, message: Message[R], *, urgent: bool = False) -> R:
        """Send a message and wait for its answer.

        Raises what `tell` raises, and `ActorCrashed` or `ActorStopped` where the actor ends
        first. If cancelled, the message is handled all the same and its answer is lost.
        """
        answered = trio.Event()
        answers: list[R | ActorError] = []

        def reply(answer: R | ActorError) -> None:
            answers.append(answer)
            answered.set()

        self.request(message, reply, urgent=urgent)
        await answered.wait()
        match answers[0]:
            case ActorError() as error:
                raise error
            case answer:
                return answer

    def _post(self, envelope: Envelope, urgent: bool) -> None:  # noqa: FBT001 (private)
        if urgent:
            self._mailbox.post_urgent(envelope)
        else:
            self._mailbox.post(envelope)


async def supervise(mailbox: Mailbox, run: Callable[[], Awaitable[None]]) -> None:
    """Run an actor until it returns; when it crashes, tell its askers and start it again.

    Each start goes through `run`, which reloads durable state. What arrives in between waits in
    the mailbox. When this ends, also by cancellation, the mailbox is closed.
    """
    backoff = FIRST_BACKOFF_S
    try:
        while True:
            started = trio.current_time()
            try:
                await run()
                return
            except Exception:
                if trio.current_time() - started > STEADY_AFTER_S:
                    backoff = FIRST_BACKOFF_S
                log.exception("%s crashed, starting it again in %g s", mailbox.name, backoff)
                mailbox.fail_all(ActorCrashed(mailbox.name))
            await trio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_S)
    finally:
        mailbox.close()

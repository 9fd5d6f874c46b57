"""Commands that come in through Redis: a batch has another quantity than was said.

On the channel ``change_batch_quantity`` a message is ``{"batchref": "…", "qty": 5}``, or with
``ref`` in place of ``batchref``; what else it holds is ignored. What cannot be read is logged and
skipped.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, NoReturn, Protocol

import trio
from msgspec import DecodeError, Meta, Struct, json

from scentrt.actors.backoff import Backoff
from scentrt.errors import ActorCrashed, Busy, ScentError, StoreUnavailable

CHANNEL = "change_batch_quantity"

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0

MAX_CRASHES = 3
"""A command that crashes its actor so often is at fault itself, and is skipped."""

MAX_MESSAGE_BYTES = 4_096
"""What is longer is no command of anybody's."""

_SHOWN_BYTES = 100
"""How much of a message that cannot be read goes into the log."""

ChangeBatchQuantity = Callable[[str, int], Awaitable[None]]
"""Set the quantity of the batch called so, from 0; raises a `ScentError` where that is not done."""

log = logging.getLogger(__name__)


class Subscriber(Protocol):
    """Whoever brings messages, in order, for ever."""

    async def listen(
        self, channels: Sequence[str], handle: Callable[[str, bytes], Awaitable[None]]
    ) -> NoReturn:
        """Call `handle` with channel and data of every message, one by one; it must not raise."""
        ...


_Ref = Annotated[str, Meta(min_length=1)]


class _Message(Struct, frozen=True):
    # As much as the database holds.
    qty: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    batchref: _Ref | None = None
    ref: _Ref | None = None


async def consume_commands(
    subscriber: Subscriber, change_batch_quantity: ChangeBatchQuantity
) -> NoReturn:
    """Carry out what is published on `CHANNEL`, one after the other, until cancelled.

    While an actor is busy or the database away, the command is tried again, with pauses, and the
    later ones wait behind it. A command that fails otherwise is logged and skipped.
    """

    async def handle(channel: str, data: bytes) -> None:
        try:
            ref, qty = _read(data)
        except DecodeError as error:
            log.warning("skipped a message on %s: %s: %r", channel, error, data[:_SHOWN_BYTES])
            return
        try:
            await _insist(change_batch_quantity, ref, qty)
        except ScentError as error:
            log.warning("skipped the quantity %d of batch %r: %s", qty, ref, error)
        except Exception:
            log.exception("skipped the quantity %d of batch %r, for a bug", qty, ref)

    await subscriber.listen([CHANNEL], handle)


def _read(data: bytes) -> tuple[str, int]:
    if len(data) > MAX_MESSAGE_BYTES:
        raise DecodeError(f"it has {len(data)} bytes")
    message = json.decode(data, type=_Message)
    ref = message.ref if message.batchref is None else message.batchref
    if ref is None:
        raise DecodeError("there is no `batchref`")
    if message.ref not in {None, ref}:
        raise DecodeError("`batchref` and `ref` name two batches")
    return ref, message.qty


async def _insist(change_batch_quantity: ChangeBatchQuantity, ref: str, qty: int) -> None:
    backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
    failures = crashes = 0
    while True:
        try:
            await change_batch_quantity(ref, qty)
            return
        except (Busy, StoreUnavailable, ActorCrashed) as error:
            failures += 1
            crashes += isinstance(error, ActorCrashed)
            if crashes == MAX_CRASHES:
                raise
            if failures == 1:
                log.warning("the quantity %d of batch %r waits: %s", qty, ref, error)
        await trio.sleep(backoff.next_s())

"""What a unit of work has to tell the outside: stored with it, and delivered afterwards.

Whoever delivers it can do so more than once, so everything carries an id of its own.
"""

import json
import os
import time
from dataclasses import dataclass
from enum import StrEnum

from scentrt.domain.names import OrderId

SUBJECT = "allocation service notification"
"""The subject of what the stock team is sent."""


class Kind(StrEnum):
    """The ways out of the house. What is of one kind is delivered in order."""

    REDIS = "redis"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """Something to be delivered. `payload` is JSON.

    For Redis it has ``channel`` and ``message``, for e-mail ``to``, ``subject`` and ``body``.
    """

    event_id: str
    kind: Kind
    payload: str
    created_ms: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that is stored. Ids go up in the order of the commits and are never used again."""

    id: int
    event_id: str
    kind: str
    payload: str
    created_ms: float


@dataclass(frozen=True, slots=True)
class Letter:
    """An e-mail to whoever placed an order. Nobody is written to if that was no customer."""

    event_id: str
    orderid: OrderId
    subject: str
    body: str
    created_ms: float


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where the stock team is reached, and whether anything goes to Redis at all."""

    stock_address: str = "stock@made.com"
    redis: bool = True


class Outgoing:
    """Put down what one unit of work has to tell. What is told twice in it is sent once."""

    def __init__(self, outlets: Outlets) -> None:
        self._outlets = outlets
        self._mailed: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Begin anew, after what was put down so far has been stored."""
        self.deliveries: list[NewDelivery] = []
        self.letters: list[Letter] = []

    def publish(self, channel: str, message: dict[str, str | int]) -> None:
        """Tell all who listen to a channel of Redis; without a Redis nobody does."""
        if self._outlets.redis:
            self._put(Kind.REDIS, json.dumps({"channel": channel, "message": message}))

    def mail_stock_team(self, body: str) -> None:
        """Write to the stock team."""
        to = self._outlets.stock_address
        payload = json.dumps({"to": to, "subject": SUBJECT, "body": body})
        if payload not in self._mailed:
            self._mailed.add(payload)
            self._put(Kind.EMAIL, payload)

    def mail_customer(self, orderid: OrderId, body: str) -> None:
        """Write to whoever placed an order."""
        subject = f"Your order {orderid}"
        now_ms = time.time() * 1000
        self.letters.append(Letter(_new_id(now_ms), orderid, subject, body, now_ms))

    def _put(self, kind: Kind, payload: str) -> None:
        now_ms = time.time() * 1000
        self.deliveries.append(NewDelivery(_new_id(now_ms), kind, payload, now_ms))


def _new_id(now_ms: float) -> str:
    # A UUID of version 7, RFC 9562: it begins with the time, so that the database's index of
    # them grows at one end, which is half the work of a commit.
    chance = os.urandom(9).hex()
    return f"{int(now_ms):012x}7{chance[:3]}8{chance[3:]}"

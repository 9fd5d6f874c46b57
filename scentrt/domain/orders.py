"""Customers, and orders of several lines as they were placed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from scentrt.domain.model import OrderLine
from scentrt.domain.names import CustomerName, OrderId
from scentrt.errors import InvalidCustomer, InvalidOrder

MOST_LINES = 1_000
"""Lines in one order: they are accepted in one transaction, in which everybody else waits."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"

EMAIL_ADDRESS = rf"(?!.{{255}})(?!.*=\?){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*"
"""All of an address that can be written to, as a pattern: of 254 characters at most.

RFC 5322 also allows comments, quotes and numbers of hosts, which nobody has. None holds ``=?``,
which begins an encoded word: mail programs decode it to whatever it hides.
"""


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who places orders, and who is written to at `email`.

    Raises `InvalidCustomer` for what is no address of e-mail.
    """

    name: CustomerName
    address: str
    email: str

    def __post_init__(self) -> None:
        if re.fullmatch(EMAIL_ADDRESS, self.email) is None:
            raise InvalidCustomer(self.name, f"{self.email!r} is no address of e-mail")


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it was placed: lines of different products, `customer` where one is known.

    What has become of its lines is up to their products. One whose lines were allocated one by one
    was never placed, and is known, without them, since it was cancelled. Raises `InvalidOrder` for
    another order without lines, with too many, with two of one product, or with those of another
    order.
    """

    orderid: OrderId
    lines: tuple[OrderLine, ...]
    customer: CustomerName | None = None
    cancelled: bool = False

    def __post_init__(self) -> None:
        if not (self.lines or self.cancelled):
            raise InvalidOrder(self.orderid, "it has no lines")
        if len(self.lines) > MOST_LINES:
            raise InvalidOrder(self.orderid, f"it has more than {MOST_LINES:,} lines")
        if twice := _twice([line.sku for line in self.lines]):
            raise InvalidOrder(self.orderid, f"it names {twice} twice")
        if any(line.orderid != self.orderid for line in self.lines):
            raise InvalidOrder(self.orderid, "it has lines of another order")


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None

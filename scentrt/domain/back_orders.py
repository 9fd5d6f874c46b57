"""The back-orders of a product: lines that wait for stock, in the order in which they came.

Stock that arrives or comes free goes to those who wait before anybody else has it: to the oldest
whose whole line fits on one batch, then to the next oldest, and so on. What is left is less than
each of them waits for, and whoever comes then may have it: since no line is split, to hold it back
would leave it on the shelf while a customer goes without. So a large back-order waits until there
is room for all of it on one batch at one moment. A delivery of that size is for the oldest who can
use it, whoever else asks; small ones do not add up for a large line while others buy them.
"""

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from scentrt.domain.first_fit import FirstFit
from scentrt.domain.names import OrderId


class Line(Protocol):
    """What waits: a quantity, for an order."""

    @property
    def orderid(self) -> OrderId:
        """Whose it is."""

    @property
    def qty(self) -> int:
        """How much it waits for."""


LineT = TypeVar("LineT", bound=Line)


class BackOrders(Generic[LineT]):
    """Lines of different orders, the oldest first.

    The oldest one that fits is found at once, however many wait and whatever they wait for.
    """

    def __init__(self, lines: Iterable[LineT] = ()) -> None:
        self._numbers = {line.orderid: (number, line) for number, line in enumerate(lines)}
        # The least is wanted here, not the most.
        self._by_age: FirstFit[int, LineT] = FirstFit(
            (number, -line.qty, line) for number, line in self._numbers.values()
        )
        self._next = len(self._numbers)

    def __iter__(self) -> Iterator[LineT]:
        return (line for _, line in self._numbers.values())

    def get(self, orderid: OrderId) -> LineT | None:
        """Return the line of an order."""
        found = self._numbers.get(orderid)
        return None if found is None else found[1]

    def append(self, line: LineT) -> None:
        """Let a line wait behind all others; its order must have none here yet."""
        self._numbers[line.orderid] = self._next, line
        self._by_age.put(self._next, -line.qty, line)
        self._next += 1

    def remove(self, orderid: OrderId) -> None:
        """Take a line out; it must be here."""
        number, _ = self._numbers.pop(orderid)
        self._by_age.remove(number)

    def oldest_within(self, most: int) -> LineT | None:
        """Return the oldest line of at most so many; None where there is none."""
        return self._by_age.first(-most)

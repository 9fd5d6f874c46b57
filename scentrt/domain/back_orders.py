"""The back-orders of a product: lines that wait for stock, in the order in which they came."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

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

    To find the oldest one that fits costs as much as there are different quantities, however many
    lines wait.
    """

    def __init__(self, lines: Iterable[LineT] = ()) -> None:
        self._numbers: dict[OrderId, tuple[int, LineT]] = {}
        # A plain dict takes longer for its first item the more were removed before it.
        self._by_quantity: dict[int, OrderedDict[OrderId, int]] = {}
        self._next = 0
        for line in lines:
            self.append(line)

    def __iter__(self) -> Iterator[LineT]:
        return (line for _, line in self._numbers.values())

    def get(self, orderid: OrderId) -> LineT | None:
        """Return the line of an order."""
        found = self._numbers.get(orderid)
        return None if found is None else found[1]

    def append(self, line: LineT) -> None:
        """Let a line wait behind all others; its order must have none here yet."""
        self._numbers[line.orderid] = self._next, line
        self._by_quantity.setdefault(line.qty, OrderedDict())[line.orderid] = self._next
        self._next += 1

    def remove(self, orderid: OrderId) -> None:
        """Take a line out; it must be here."""
        _, line = self._numbers.pop(orderid)
        of_its_size = self._by_quantity[line.qty]
        del of_its_size[orderid]
        if not of_its_size:
            del self._by_quantity[line.qty]

    def oldest_within(self, most: int) -> LineT | None:
        """Return the oldest line of at most so many; None where there is none."""
        heads = (
            next(iter(lines.items())) for qty, lines in self._by_quantity.items() if qty <= most
        )
        oldest = min(heads, key=lambda head: head[1], default=None)
        return None if oldest is None else self._numbers[oldest[0]][1]

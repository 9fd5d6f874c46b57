"""What things in the stock room are called, and how many of a thing there may be."""

from typing import NewType

from scentrt.errors import InvalidQuantity

Sku = NewType("Sku", str)
OrderId = NewType("OrderId", str)
BatchRef = NewType("BatchRef", str)
CustomerName = NewType("CustomerName", str)

LARGEST_QUANTITY = 2**53 - 1
"""What every JSON client counts to without rounding; a sum over a batch fits the database too."""


def check_quantity(qty: int, *, least: int) -> None:
    """Raise `InvalidQuantity` unless `qty` is an integer from `least` to `LARGEST_QUANTITY`."""
    # A boolean is an integer to Python, and nobody orders True bottles.
    if type(qty) is not int or not least <= qty <= LARGEST_QUANTITY:
        raise InvalidQuantity(qty, least)

"""A batch takes what there is room for, and knows how much that is."""

import pytest

from scentrt.domain.model import OrderLine
from scentrt.domain.names import LARGEST_QUANTITY, OrderId
from scentrt.errors import InvalidQuantity
from tests.goods import LATER, PINE, SEA, TODAY, TOMORROW, batch, line


def test_allocating_to_a_batch_reduces_the_available_quantity() -> None:
    lamp = batch("b-1", 20)
    lamp.allocate(line("o-1", 2))
    assert (lamp.available_quantity, lamp.allocated_quantity) == (18, 2)


@pytest.mark.parametrize(("qty", "fits"), [(2, True), (20, True), (21, False)])
def test_can_allocate_up_to_what_is_available(qty: int, *, fits: bool) -> None:
    assert batch("b-1", 20).can_allocate(line("o-1", qty)) is fits


def test_cannot_allocate_if_skus_do_not_match() -> None:
    assert not batch("b-1", 100).can_allocate(line("o-1", 10, PINE))


def test_allocation_is_idempotent() -> None:
    lamp = batch("b-1", 20)
    lamp.allocate(line("o-1", 2))
    lamp.allocate(line("o-1", 2))
    assert lamp.available_quantity == 18


def test_what_does_not_fit_is_not_taken() -> None:
    lamp = batch("b-1", 1)
    lamp.allocate(line("o-1", 2))
    assert (lamp.available_quantity, list(lamp.lines)) == (1, [])


def test_can_only_deallocate_allocated_lines() -> None:
    lamp = batch("b-1", 20)
    lamp.allocate(line("o-1", 2))
    lamp.deallocate(line("o-2", 2))
    lamp.deallocate(line("o-1", 3))
    assert lamp.available_quantity == 18
    lamp.deallocate(line("o-1", 2))
    assert lamp.available_quantity == 20


def test_the_line_allocated_last_is_the_first_to_go() -> None:
    lamp = batch("b-1", 20)
    for orderid in ("o-2", "o-1", "o-3"):
        lamp.allocate(line(orderid, 2))
    lamp.deallocate(line("o-2", 2))
    lamp.allocate(line("o-2", 2))
    assert lamp.deallocate_latest() == line("o-2", 2)
    assert lamp.deallocate_latest() == line("o-3", 2)
    assert lamp.available_quantity == 18


def test_a_batch_is_known_by_its_reference() -> None:
    assert batch("b-1", 1) == batch("b-1", 2, TODAY)
    assert batch("b-1", 1) != batch("b-2", 1)
    assert len({batch("b-1", 1), batch("b-1", 2)}) == 1
    assert batch("b-1", 1) != "b-1"


def test_the_warehouse_comes_before_shipments_and_those_in_the_order_of_their_arrival() -> None:
    later, here, today = batch("b-1", 1, LATER), batch("b-2", 1), batch("b-3", 1, TODAY)
    also_here = batch("b-4", 1)
    tomorrow = batch("b-5", 1, TOMORROW)
    assert sorted([later, here, today, also_here, tomorrow]) == [
        here,
        also_here,
        today,
        tomorrow,
        later,
    ]
    assert later > today
    assert not here < also_here
    assert not here > also_here


@pytest.mark.parametrize("qty", [0, -1, True, 1.0, "1", None, LARGEST_QUANTITY + 1])
def test_a_line_is_of_one_at_least(qty: object) -> None:
    with pytest.raises(InvalidQuantity, match=r"Invalid quantity .*: give an integer from 1"):
        OrderLine(OrderId("o-1"), SEA, qty)  # type: ignore[arg-type]  # what JSON may bring


@pytest.mark.parametrize("qty", [-1, False, LARGEST_QUANTITY + 1])
def test_a_batch_has_none_at_least(qty: int) -> None:
    with pytest.raises(InvalidQuantity):
        batch("b-1", qty)
    assert batch("b-1", 0).available_quantity == 0

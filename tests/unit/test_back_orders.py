"""Back-orders keep their order, whatever comes and goes."""

from hypothesis import given
from hypothesis import strategies as st

from scentrt.domain.back_orders import BackOrders
from scentrt.domain.model import OrderLine
from scentrt.domain.names import OrderId
from tests.goods import line

steps = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 6)))


@given(steps)
def test_the_oldest_that_fits_is_the_first_in_line_of_at_most_so_many(
    steps: list[tuple[int, int, int]],
) -> None:
    """Each step lets an order come, or go if it waits, and then looks for one that fits."""
    orders: BackOrders[OrderLine] = BackOrders()
    expected: list[OrderLine] = []
    for number, qty, room in steps:
        orderid = OrderId(f"o-{number}")
        waiting = next((line for line in expected if line.orderid == orderid), None)
        assert orders.get(orderid) == waiting
        if waiting is None:
            orders.append(line(orderid, qty))
            expected.append(line(orderid, qty))
        else:
            orders.remove(orderid)
            expected.remove(waiting)
        assert list(orders) == expected
        assert orders.oldest_within(room) == next(
            (line for line in expected if line.qty <= room), None
        )


def test_a_long_line_is_worked_off_from_its_front_without_a_search() -> None:
    """Would take minutes if every removal at the front cost a walk over the earlier ones."""
    orders = BackOrders([line(f"o-{number}", 1) for number in range(100_000)])
    for number in range(100_000):
        oldest = orders.oldest_within(1)
        assert oldest is not None
        assert oldest.orderid == f"o-{number}"
        orders.remove(oldest.orderid)
    assert list(orders) == []

"""A product allocates its lines to the best batch, and forgets none of them."""

import pytest

from scentrt.domain import model
from scentrt.domain.events import (
    Allocated,
    BackOrdered,
    BackOrderFilled,
    BatchCreated,
    BatchQuantityChanged,
    BatchRescheduled,
    BatchShrinking,
    Deallocated,
    LineCancelled,
    OutOfStock,
    StockEvent,
)
from scentrt.domain.model import Batch, Product
from scentrt.domain.names import BatchRef, OrderId
from scentrt.errors import BatchConflict, InvalidQuantity, LineConflict, UnknownBatch
from tests.goods import LATER, SEA, TODAY, TOMORROW, batch, line

O1, O2, O3 = OrderId("o-1"), OrderId("o-2"), OrderId("o-3")
B1, B2 = BatchRef("b-1"), BatchRef("b-2")


def product(*batches: Batch) -> Product:
    return Product(SEA, list(batches))


def events_of(product: Product) -> list[StockEvent]:
    """Take the events off a product."""
    events = list(product.events)
    product.events.clear()
    return events


def test_prefers_warehouse_batches_to_shipments() -> None:
    in_stock, shipment = batch("in-stock", 100), batch("shipment", 100, TOMORROW)
    product(shipment, in_stock).allocate(line("o-1", 10))
    assert (in_stock.available_quantity, shipment.available_quantity) == (90, 100)


def test_prefers_earlier_batches() -> None:
    earliest, medium = batch("speedy", 100, TODAY), batch("normal", 100, TOMORROW)
    latest = batch("slow", 100, LATER)
    product(medium, earliest, latest).allocate(line("o-1", 10))
    assert [b.available_quantity for b in (earliest, medium, latest)] == [90, 100, 100]


def test_a_line_is_not_split_but_goes_where_it_fits() -> None:
    assert product(batch("b-1", 9), batch("b-2", 10, LATER)).allocate(line("o-1", 10)) == B2


def test_returns_allocated_batch_ref() -> None:
    assert product(batch("b-1", 100), batch("b-2", 100, TOMORROW)).allocate(line("o-1", 10)) == B1


def test_outputs_allocated_event() -> None:
    posters = product(batch("b-1", 100))
    posters.allocate(line("o-1", 10))
    assert posters.events == [Allocated(O1, SEA, 10, B1)]


def test_records_out_of_stock_event_if_cannot_allocate() -> None:
    forks = product(batch("b-1", 10, TODAY))
    forks.allocate(line("o-1", 10))
    assert forks.allocate(line("o-2", 1)) is None
    assert forks.events[-1] == OutOfStock(SEA)
    assert forks.line(O2) is None


def test_increments_version_number() -> None:
    pens = product(batch("b-1", 100))
    pens.version_number = 7
    pens.allocate(line("o-1", 10))
    assert pens.version_number == 8


def test_a_line_is_allocated_once_per_product_and_not_once_per_batch() -> None:
    desks = product(batch("b-1", 10), batch("b-2", 10, TODAY))
    desks.allocate(line("o-1", 10))
    events_of(desks)
    assert desks.allocate(line("o-1", 10)) == B1
    assert (desks.version_number, desks.events) == (1, [])
    assert desks.batches[1].available_quantity == 10


def test_another_quantity_for_the_same_order_is_a_conflict_and_changes_nothing() -> None:
    desks = product(batch("b-1", 10))
    desks.allocate(line("o-1", 4))
    desks.back_order(line("o-2", 40))
    events_of(desks)
    for orderid, had in (("o-1", 4), ("o-2", 40)):
        with pytest.raises(LineConflict, match=f"{orderid} has a line of {had} SEA-BREEZE"):
            desks.allocate(line(orderid, 5))
        with pytest.raises(LineConflict):
            desks.back_order(line(orderid, 5))
    assert (desks.version_number, desks.events) == (2, [])


def test_a_product_that_is_loaded_knows_its_lines() -> None:
    taken = batch("b-1", 10)
    taken.allocate(line("o-1", 4))
    desks = Product(SEA, [taken], 5, [line("o-2", 40)])
    assert desks.allocate(line("o-1", 4)) == B1
    assert desks.allocate(line("o-2", 40)) is None
    assert (desks.version_number, desks.events) == (5, [])


# Batches


def test_a_new_batch_is_made_known_once() -> None:
    desks = product()
    desks.add_batch(batch("b-1", 10, TODAY))
    desks.add_batch(batch("b-1", 10, TODAY))
    assert desks.events == [BatchCreated(B1, SEA, 10, TODAY)]
    assert desks.version_number == 1


def test_the_same_reference_for_another_batch_is_a_conflict() -> None:
    desks = product(batch("b-1", 10, TODAY))
    for other in (batch("b-1", 11, TODAY), batch("b-1", 10), batch("b-1", 10, LATER)):
        with pytest.raises(BatchConflict, match="Batch b-1 is another one"):
            desks.add_batch(other)
    assert (desks.version_number, desks.events) == (0, [])


def test_a_batch_that_has_changed_is_still_the_one_that_was_told_at_first() -> None:
    desks = product(batch("b-1", 10, TODAY))
    desks.change_batch_quantity(B1, 7)
    desks.change_batch_eta(B1, None)
    desks.add_batch(batch("b-1", 10, TODAY))
    desks.add_batch(batch("b-1", 7))
    with pytest.raises(BatchConflict):
        desks.add_batch(batch("b-1", 10))
    assert desks.batches[0].purchased_quantity == 7


def test_a_changed_quantity_is_told_once() -> None:
    desks = product(batch("b-1", 10))
    desks.change_batch_quantity(B1, 12)
    desks.change_batch_quantity(B1, 12)
    assert desks.events == [BatchQuantityChanged(B1, SEA, 12)]
    assert (desks.version_number, desks.batches[0].available_quantity) == (1, 12)


def test_of_a_shrinking_batch_the_lines_allocated_last_give_way() -> None:
    desks = product(batch("b-1", 30))
    for orderid in ("o-3", "o-1", "o-2"):
        desks.allocate(line(orderid, 10))
    events_of(desks)
    desks.change_batch_quantity(B1, 19)
    assert desks.events == [
        Deallocated(O1, SEA, 10, B1),
        Deallocated(O2, SEA, 10, B1),
        BatchQuantityChanged(B1, SEA, 19),
    ]
    assert desks.batches[0].available_quantity == 9
    assert desks.version_number == 6
    assert (desks.line(O3), desks.line(O1)) == (line("o-3", 10), None)


def test_a_batch_shrinks_in_steps_between_which_it_has_what_its_lines_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "LINES_LET_GO_PER_STEP", 2)
    monkeypatch.setattr(model, "LINES_DISPLACED_PER_STEP", 2)
    desks = product(batch("b-1", 20))
    for number, qty in enumerate((3, 4, 4, 4, 4)):
        desks.allocate(line(f"o-{number}", qty))
    events_of(desks)
    steps = [events_of(desks) for _ in desks.changing_batch_quantity(B1, 5)]
    assert [step for step in steps if step] == [
        [
            Deallocated(OrderId("o-1"), SEA, 4, B1),
            Deallocated(OrderId("o-2"), SEA, 4, B1),
            BatchShrinking(B1, SEA, 13),
        ]
    ]
    assert len(steps) == 3, "it lets go of two lines at a time, and then tells of two at a time"
    assert desks.events == [
        Deallocated(OrderId("o-3"), SEA, 4, B1),
        Deallocated(OrderId("o-4"), SEA, 4, B1),
        BatchQuantityChanged(B1, SEA, 5),
    ]


def test_on_its_way_down_a_batch_is_never_told_to_have_more_than_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "LINES_DISPLACED_PER_STEP", 1)
    desks = product(batch("b-1", 12))
    for orderid, qty in (("o-1", 1), ("o-2", 10), ("o-3", 1)):
        desks.allocate(line(orderid, qty))
    for _ in desks.changing_batch_quantity(B1, 9):
        pass
    told = [e.qty for e in desks.events if isinstance(e, BatchShrinking | BatchQuantityChanged)]
    assert told == [10, 9]


def test_a_batch_can_shrink_to_nothing_and_not_below() -> None:
    desks = product(batch("b-1", 30))
    desks.change_batch_quantity(B1, 0)
    assert desks.batches[0].available_quantity == 0
    with pytest.raises(InvalidQuantity):
        desks.change_batch_quantity(B1, -1)


def test_a_batch_of_another_product_is_unknown() -> None:
    with pytest.raises(UnknownBatch, match="Unknown batch b-2"):
        product(batch("b-1", 1)).change_batch_quantity(B2, 1)
    with pytest.raises(UnknownBatch):
        product(batch("b-1", 1)).change_batch_eta(B2, None)


def test_a_shipment_that_has_arrived_is_preferred_from_then_on() -> None:
    desks = product(batch("b-1", 10, TODAY), batch("b-2", 10, TOMORROW))
    desks.change_batch_eta(B2, None)
    desks.change_batch_eta(B2, None)
    assert desks.events == [BatchRescheduled(B2, SEA, None)]
    assert desks.version_number == 1
    assert desks.allocate(line("o-1", 10)) == B2


def test_a_shipment_that_is_late_is_preferred_no_more() -> None:
    desks = product(batch("b-1", 10, TODAY), batch("b-2", 10, TOMORROW))
    desks.change_batch_eta(B1, LATER)
    assert desks.allocate(line("o-1", 10)) == B2


# Back-orders


def test_a_back_order_waits_once() -> None:
    desks = product(batch("b-1", 1))
    desks.back_order(line("o-1", 2))
    desks.back_order(line("o-1", 2))
    assert desks.events == [BackOrdered(O1, SEA, 2)]
    assert (desks.version_number, list(desks.back_orders)) == (1, [line("o-1", 2)])


def test_back_orders_are_filled_oldest_first_each_that_fits() -> None:
    desks = product(batch("b-1", 0), batch("b-2", 0, LATER))
    for orderid, qty in (("o-1", 6), ("o-2", 9), ("o-3", 3), ("o-4", 2)):
        desks.back_order(line(orderid, qty))
    events_of(desks)
    desks.change_batch_quantity(B2, 10)
    desks.fill_back_orders()
    assert desks.events == [
        BatchQuantityChanged(B2, SEA, 10),
        BackOrderFilled(O1, SEA, 6, B2),
        Allocated(O1, SEA, 6, B2),
        BackOrderFilled(O3, SEA, 3, B2),
        Allocated(O3, SEA, 3, B2),
    ]
    assert list(desks.back_orders) == [line("o-2", 9), line("o-4", 2)]
    assert desks.line(O1) == line("o-1", 6)


def test_many_back_orders_may_be_filled_in_parts() -> None:
    desks = product(batch("b-1", 0))
    for number in range(5):
        desks.back_order(line(f"o-{number}", 1))
    desks.change_batch_quantity(B1, 4)
    assert not desks.fill_back_orders(at_most=3)
    assert [line.orderid for line in desks.back_orders] == ["o-3", "o-4"]
    assert desks.fill_back_orders(at_most=3)
    assert [line.orderid for line in desks.back_orders] == ["o-4"]


def test_without_stock_no_back_order_is_filled() -> None:
    desks = product()
    desks.back_order(line("o-1", 1))
    desks.fill_back_orders()
    assert list(desks.back_orders) == [line("o-1", 1)]


# Cancelling


def test_a_cancelled_line_leaves_its_batch() -> None:
    desks = product(batch("b-1", 10))
    desks.allocate(line("o-1", 10))
    events_of(desks)
    assert desks.cancel(O1) == line("o-1", 10)
    assert desks.events == [LineCancelled(O1, SEA, 10, B1)]
    assert (desks.version_number, desks.batches[0].available_quantity) == (2, 10)
    assert desks.line(O1) is None
    assert desks.cancel(O1) is None
    assert desks.version_number == 2


def test_a_cancelled_back_order_waits_no_more() -> None:
    desks = product(batch("b-1", 0))
    desks.back_order(line("o-1", 10))
    events_of(desks)
    assert desks.cancel(O1) == line("o-1", 10)
    assert desks.events == [LineCancelled(O1, SEA, 10, None)]
    desks.change_batch_quantity(B1, 10)
    desks.fill_back_orders()
    assert desks.batches[0].available_quantity == 10


# Cost


def test_nothing_costs_more_because_many_lines_and_batches_are_there_already() -> None:
    """Counted in comparisons of lines and batches, which is what a search would show in."""

    def cost(lines: int) -> int:
        counted = 0

        class CountingBatch(Batch):
            def can_allocate(self, line: object) -> bool:
                nonlocal counted
                counted += 1
                return super().can_allocate(line)  # type: ignore[arg-type]  # as it came

            @property
            def available_quantity(self) -> int:
                nonlocal counted
                counted += 1
                return super().available_quantity

        full, shipment = CountingBatch(B1, SEA, 4 * lines), CountingBatch(B2, SEA, 1, TODAY)
        for number in range(lines):
            full.allocate(line(f"before-{number}", 4))
        empty = [CountingBatch(BatchRef(f"empty-{number}"), SEA, 0) for number in range(lines)]
        waiting = [line(f"waiting-{number}", 5 + number) for number in range(lines)]
        desks = Product(SEA, [*empty, full, shipment], lines, waiting)
        counted = 0
        desks.allocate(line("o-1", 1))
        desks.allocate(line("o-1", 1))
        desks.allocate(line("o-2", 1))
        desks.back_order(line("o-2", 6))
        desks.cancel(O1)
        desks.cancel(OrderId("waiting-0"))
        desks.change_batch_quantity(B1, 4 * lines - 1)
        desks.change_batch_quantity(B1, 4 * lines + 2)
        desks.fill_back_orders()
        desks.change_batch_eta(B2, None)
        desks.add_batch(CountingBatch(BatchRef("b-3"), SEA, 1))
        return counted

    assert cost(20_000) == cost(2)

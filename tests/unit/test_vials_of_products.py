"""Vials come out of the batch of a line, never more than it has, and such a line stays there."""

from itertools import count

import pytest

from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.events import StockEvent, VialsLoaded, VialsUnloaded
from scentrt.domain.model import Product
from scentrt.domain.names import BatchRef, OrderId
from scentrt.domain.vials import Loaded, Place, SeatedVial, VialId, Whereabouts
from scentrt.errors import (
    LineNotThere,
    SlotTaken,
    TooFewVials,
    UnknownLine,
    VialsTaken,
)
from tests.goods import SEA, TODAY, batch, line

O1, O2 = OrderId("o-1"), OrderId("o-2")
B1, B2 = BatchRef("b-1"), BatchRef("b-2")
FULL_US = 100


def place(seat: int, slot: int = 0) -> Place:
    return Place(ZoneId("A"), SeatId(f"A-1-{seat}"), slot)


def places(*seats: int) -> list[Place]:
    return [place(seat) for seat in seats]


class Shelf:
    """A product with a line of three on its one batch in the warehouse, and room for more."""

    def __init__(self) -> None:
        self.product = Product(SEA, [batch("b-1", 10)])
        self.product.allocate(line("o-1", 3))
        self.product.events.clear()
        self._ids = (VialId(id) for id in count(1))

    def load(self, *seats: int, least: int | None = None, orderid: OrderId = O1) -> Loaded:
        least = len(seats) if least is None else least
        return self.product.load(orderid, places(*seats), least, FULL_US, self._ids)

    def unload(
        self, *vials: SeatedVial, left_us: int = 60, to: Whereabouts = Whereabouts.RETURNED
    ) -> tuple[SeatedVial, ...]:
        return self.product.unload([(vial.id, left_us) for vial in vials], to)

    @property
    def events(self) -> list[StockEvent]:
        events = list(self.product.events)
        self.product.events.clear()
        return events


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


class TestLoading:
    def test_a_vial_comes_out_of_the_batch_of_its_line_and_is_full(self, shelf: Shelf) -> None:
        loaded = shelf.load(1, 2)
        first, second = loaded.vials
        assert first == SeatedVial(VialId(1), place(1), SEA, B1, FULL_US, FULL_US)
        assert (second.place, loaded.left) == (place(2), 1)
        assert shelf.events == [VialsLoaded(O1, SEA, B1, (first, second))]

    def test_every_loading_is_a_new_version(self, shelf: Shelf) -> None:
        before = shelf.product.version_number
        shelf.load(1)
        assert shelf.product.version_number == before + 1

    def test_the_same_once_more_changes_nothing(self, shelf: Shelf) -> None:
        first = shelf.load(1, 2)
        version, _ = shelf.product.version_number, shelf.events
        assert shelf.load(1, 2) == first
        assert (shelf.product.version_number, shelf.events) == (version, [])

    def test_what_stands_there_counts_and_the_rest_is_added(self, shelf: Shelf) -> None:
        first = shelf.load(2)
        loaded = shelf.load(1, 2)
        assert sorted(vial.place.seat for vial in loaded.vials) == ["A-1-1", "A-1-2"]
        assert first.vials[0] in loaded.vials
        assert loaded.left == 1

    def test_there_are_never_more_than_the_line_has(self, shelf: Shelf) -> None:
        shelf.load(1)
        with pytest.raises(TooFewVials, match="Order o-1 has 2 vials of SEA-BREEZE left, and 3"):
            shelf.load(2, 3, 4)
        assert shelf.load(2, 3).left == 0
        with pytest.raises(TooFewVials, match="0 vials"):
            shelf.load(4)

    def test_where_fewer_will_do_there_are_as_many_as_it_has(self, shelf: Shelf) -> None:
        assert [vial.place.seat for vial in shelf.load(1, 2, 3, 4, least=1).vials] == [
            "A-1-1",
            "A-1-2",
            "A-1-3",
        ]

    def test_vials_that_came_back_go_first_with_what_is_left_in_them(self, shelf: Shelf) -> None:
        [vial] = shelf.load(1).vials
        shelf.unload(vial, left_us=60)
        again, new = shelf.load(2, 3).vials
        assert again == SeatedVial(vial.id, place(2), SEA, B1, FULL_US, 60)
        assert (new.id, new.left_us) == (VialId(2), FULL_US)
        assert shelf.load(2, 3, 4).left == 0

    def test_a_slot_with_a_vial_of_another_line_is_taken(self, shelf: Shelf) -> None:
        shelf.product.allocate(line("o-2", 2))
        shelf.load(1)
        with pytest.raises(SlotTaken, match="Slot 0 of A-1-1 has a vial already: unload it first"):
            shelf.load(1, 2, orderid=O2)
        assert shelf.load(2, 3, orderid=O2).left == 0

    def test_an_order_without_a_line_has_no_vials(self, shelf: Shelf) -> None:
        with pytest.raises(UnknownLine, match="Order o-2 has no line of SEA-BREEZE"):
            shelf.load(1, orderid=O2)

    def test_a_batch_that_is_on_its_way_has_no_vials_yet(self, shelf: Shelf) -> None:
        shelf.product.add_batch(batch("b-2", 20, TODAY))
        shelf.product.allocate(line("o-2", 20))
        with pytest.raises(LineNotThere, match="with batch b-2, expected on 2026-03-02"):
            shelf.load(1, orderid=O2)
        shelf.product.change_batch_eta(B2, None)
        assert shelf.load(1, orderid=O2).vials[0].batchref == B2

    def test_a_line_on_back_order_has_no_vials_yet(self, shelf: Shelf) -> None:
        shelf.product.back_order(line("o-2", 20))
        with pytest.raises(LineNotThere, match="on back-order"):
            shelf.load(1, orderid=O2)


class TestUnloading:
    def test_what_is_left_is_told(self, shelf: Shelf) -> None:
        one, two = shelf.load(1, 2).vials
        assert shelf.events
        shelf.unload(one, two, left_us=60, to=Whereabouts.DISCARDED)
        [event] = shelf.events
        assert isinstance(event, VialsUnloaded)
        assert (event.to, [vial.left_us for vial in event.vials]) == ("discarded", [60, 60])

    def test_what_was_thrown_away_is_used_up(self, shelf: Shelf) -> None:
        shelf.unload(*shelf.load(1, 2).vials, to=Whereabouts.DISCARDED)
        assert shelf.load(1).left == 0

    def test_what_is_empty_is_thrown_away(self, shelf: Shelf) -> None:
        shelf.unload(*shelf.load(1, 2, 3).vials, left_us=0, to=Whereabouts.RETURNED)
        assert [event.to for event in shelf.events if isinstance(event, VialsUnloaded)] == [
            "discarded"
        ]
        with pytest.raises(TooFewVials):
            shelf.load(1)

    def test_vials_of_several_lines_are_told_by_line(self, shelf: Shelf) -> None:
        shelf.product.allocate(line("o-2", 2))
        vials = shelf.load(1).vials + shelf.load(2, orderid=O2).vials
        assert shelf.events
        assert shelf.unload(*vials) != ()
        assert [event.orderid for event in shelf.events if isinstance(event, VialsUnloaded)] == [
            O1,
            O2,
        ]

    def test_what_stands_nowhere_changes_nothing(self, shelf: Shelf) -> None:
        [vial] = shelf.load(1).vials
        shelf.unload(vial)
        version = shelf.product.version_number
        assert shelf.unload(vial) == ()
        assert shelf.product.version_number == version

    def test_no_vial_comes_back_fuller_than_it_can_be(self, shelf: Shelf) -> None:
        [vial] = shelf.unload(*shelf.load(1).vials, left_us=FULL_US + 1)
        assert vial.left_us == FULL_US


class TestWhatStays:
    def test_a_line_from_which_vials_were_taken_is_not_cancelled(self, shelf: Shelf) -> None:
        shelf.unload(*shelf.load(1).vials)
        version, _ = shelf.product.version_number, shelf.events
        with pytest.raises(VialsTaken, match="Order o-1 cannot be cancelled"):
            shelf.product.cancel(O1)
        assert (shelf.product.version_number, shelf.events) == (version, [])
        assert shelf.product.line(O1) == line("o-1", 3)

    def test_others_give_way_to_it_though_they_came_first(self, shelf: Shelf) -> None:
        shelf.product.allocate(line("o-2", 4))
        shelf.product.allocate(line("o-3", 3))
        shelf.load(1, orderid=OrderId("o-3"))
        shelf.product.change_batch_quantity(B1, 6)
        found = shelf.product.batch(B1)
        assert found is not None
        assert [each.orderid for each in found.lines] == ["o-3", "o-1"]

    def test_a_batch_does_not_shrink_below_it(self, shelf: Shelf) -> None:
        shelf.load(1)
        version, _ = shelf.product.version_number, shelf.events
        with pytest.raises(VialsTaken, match="Batch b-1 has 3 in lines from which vials were"):
            shelf.product.change_batch_quantity(B1, 2)
        assert (shelf.product.version_number, shelf.events) == (version, [])
        shelf.product.change_batch_quantity(B1, 3)
        assert shelf.product.line(O1) == line("o-1", 3)

    def test_others_may_come_and_go_beside_it(self, shelf: Shelf) -> None:
        shelf.load(1)
        assert shelf.product.allocate(line("o-2", 7)) == B1
        assert shelf.product.allocate(line("o-3", 1)) is None
        assert shelf.product.cancel(O2) == line("o-2", 7)
        assert shelf.product.allocate(line("o-1", 3)) == B1, "where it is already"

"""Who gets what there is, told once more in the plainest of ways, and compared."""

from dataclasses import dataclass, field
from datetime import date

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from scentrt.domain import first_fit
from scentrt.domain.events import BackOrderFilled, Deallocated
from scentrt.domain.model import Batch, OrderLine, Product
from scentrt.domain.names import BatchRef, OrderId
from tests.goods import LATER, SEA, TODAY, TOMORROW, line

orderids = st.sampled_from([OrderId(f"o-{n}") for n in range(12)])
etas = st.sampled_from([None, date.min, TODAY, TOMORROW, LATER])
quantities = st.integers(1, 6)
holdings = st.integers(0, 12)
picks = st.integers(0, 30)


@dataclass
class Pile:
    """A batch, as plain as can be."""

    ref: BatchRef
    qty: int
    eta: date | None
    lines: list[OrderLine] = field(default_factory=list)

    @property
    def room(self) -> int:
        return self.qty - sum(line.qty for line in self.lines)


class Rules(RuleBasedStateMachine):
    """A product beside piles that are searched from the first to the last, each time anew."""

    def __init__(self) -> None:
        super().__init__()
        self.product = Product(SEA, [])
        self.piles: list[Pile] = []
        self.waiting: list[OrderLine] = []

    @rule(qty=holdings, eta=etas)
    def add_batch(self, qty: int, eta: date | None) -> None:
        ref = BatchRef(f"b-{len(self.piles)}")
        self.piles.append(Pile(ref, qty, eta))
        self.product.add_batch(Batch(ref, SEA, qty, eta))
        self.fill()

    @rule(orderid=orderids, qty=quantities, waits=st.booleans())
    def allocate(self, orderid: OrderId, qty: int, *, waits: bool) -> None:
        if self.product.line(orderid) is not None:
            return
        newcomer = line(orderid, qty)
        pile = self.first_with_room(newcomer)
        assert self.product.allocate(newcomer) == (None if pile is None else pile.ref)
        if pile is not None:
            assert all(qty < older.qty for older in self.waiting), "nobody could have had it before"
            pile.lines.append(newcomer)
        elif waits:
            self.product.back_order(newcomer)
            self.waiting.append(newcomer)

    @rule(pick=picks, qty=holdings)
    def change_quantity(self, pick: int, qty: int) -> None:
        if not self.piles:
            return
        pile = self.piles[pick % len(self.piles)]
        pile.qty = qty
        displaced: list[OrderLine] = []
        while pile.room < 0:
            displaced.insert(0, pile.lines.pop())
        self.product.events.clear()
        self.product.change_batch_quantity(pile.ref, qty)
        told = [e.orderid for e in self.product.events if isinstance(e, Deallocated)]
        assert told == [line.orderid for line in displaced]
        for displaced_line in displaced:
            other = self.first_with_room(displaced_line)
            assert self.product.allocate(displaced_line) == (None if other is None else other.ref)
            if other is None:
                self.product.back_order(displaced_line)
                self.waiting.append(displaced_line)
            else:
                other.lines.append(displaced_line)
        self.fill()

    @rule(pick=picks, eta=etas)
    def change_eta(self, pick: int, eta: date | None) -> None:
        if self.piles:
            pile = self.piles[pick % len(self.piles)]
            pile.eta = eta
            self.product.change_batch_eta(pile.ref, eta)

    @rule(orderid=orderids)
    def cancel(self, orderid: OrderId) -> None:
        cancelled = self.product.cancel(orderid)
        for lines in [self.waiting, *(pile.lines for pile in self.piles)]:
            lines[:] = [line for line in lines if line != cancelled]
        self.fill()

    @rule()
    def load_it_anew(self) -> None:
        batches = []
        for pile in self.piles:
            batch = Batch(pile.ref, SEA, pile.qty, pile.eta)
            for of_batch in pile.lines:
                batch.allocate(of_batch)
            batches.append(batch)
        self.product = Product(SEA, batches, 0, self.waiting)

    def first_with_room(self, line: OrderLine) -> Pile | None:
        by_preference = sorted(self.piles, key=lambda p: (p.eta is not None, p.eta or TODAY))
        return next((pile for pile in by_preference if pile.room >= line.qty), None)

    def fill(self) -> None:
        """What has come free goes to those who wait, each time to the oldest who can use it."""
        filled = []
        while fits := [line for line in self.waiting if self.first_with_room(line)]:
            pile = self.first_with_room(fits[0])
            assert pile is not None
            pile.lines.append(fits[0])
            self.waiting.remove(fits[0])
            filled.append((fits[0].orderid, pile.ref))
        self.product.events.clear()
        self.product.fill_back_orders()
        events = [e for e in self.product.events if isinstance(e, BackOrderFilled)]
        assert [(e.orderid, e.batchref) for e in events] == filled

    @invariant()
    def everybody_has_the_same(self) -> None:
        assert list(self.product.back_orders) == self.waiting
        assert [
            (b.reference, b.purchased_quantity, b.eta, list(b.lines)) for b in self.product.batches
        ] == [(p.ref, p.qty, p.eta, p.lines) for p in self.piles]


def test_whoever_asks_gets_what_the_rules_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_fit, "SHELF", 2)
    run_state_machine_as_test(Rules)


def test_a_delivery_goes_to_the_large_back_order_that_has_waited_longest() -> None:
    product = Product(SEA, [Batch(BatchRef("b-1"), SEA, 10)])
    assert product.allocate(line("large", 50)) is None
    product.back_order(line("large", 50))
    assert product.allocate(line("small", 4)) == "b-1", "which it could not have used"
    product.add_batch(Batch(BatchRef("b-2"), SEA, 60))
    product.fill_back_orders()
    assert product.allocate(line("small too", 11)) is None, "it came after the large one"
    assert list(product.batches[1].lines) == [line("large", 50)]

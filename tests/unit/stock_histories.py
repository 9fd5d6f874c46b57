"""Histories of a stock room, and what must hold at every moment of them.

The model beside it is simple: which batch has how many, which order has which lines, and what is
refused. Where a line goes is not foretold; it is checked that it is somewhere, and only there.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scentrt.domain import first_fit, model
from scentrt.domain.commands import (
    Allocate,
    CancelOrder,
    ChangeBatchEta,
    ChangeBatchQuantity,
    CheckBatches,
    Command,
    CreateBatch,
    ImportBatches,
    PlaceOrder,
    ReceiveBatch,
)
from scentrt.domain.model import OrderLine, Product
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.errors import (
    BatchConflict,
    ImportConflict,
    InvalidSku,
    LineConflict,
    OrderCancelled,
    OrderConflict,
    UnknownBatch,
    UnknownOrder,
)
from scentrt.service_layer import handlers, unit_of_work
from scentrt.service_layer.changes import LineKey
from tests.goods import LATER, PINE, SEA, TODAY, TOMORROW
from tests.memory_stock import Tables

R = TypeVar("R")

skus = st.sampled_from([SEA, SEA, PINE])
refs = st.sampled_from([BatchRef(f"b-{n}") for n in range(5)])
orderids = st.sampled_from([OrderId(f"o-{n}") for n in range(6)])
etas = st.sampled_from([None, TODAY, TOMORROW, LATER])
quantities = st.integers(1, 6)
holdings = st.integers(0, 12)


def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything done in the smallest steps, each of which is stored."""
    monkeypatch.setattr(first_fit, "SHELF", 1)
    monkeypatch.setattr(model, "LINES_LET_GO_PER_STEP", 1)
    monkeypatch.setattr(model, "LINES_DISPLACED_PER_STEP", 1)
    monkeypatch.setattr(handlers, "BACK_ORDERS_PER_STEP", 1)
    monkeypatch.setattr(unit_of_work, "ROWS_PER_COMMIT", 1)


class StockHistories(RuleBasedStateMachine):
    """A stock room, everything that is asked of it, and a model of what it has promised."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[BatchRef, tuple[Sku, int, date | None]] = {}
        self.told: dict[BatchRef, tuple[Sku, int, date | None]] = {}
        self.lines: dict[LineKey, int] = {}
        self.orders: dict[OrderId, tuple[OrderLine, ...] | None] = {}  # None: cancelled

    # What a stock room has to offer

    def handle(self, command: Command[R]) -> R:
        """Carry a command out."""
        raise NotImplementedError

    def tables(self) -> Tables:
        """Return what is stored."""
        raise NotImplementedError

    def product(self, sku: Sku) -> Product | None:
        """Return a product as the stock room has it in hand."""
        raise NotImplementedError

    # What is asked of it

    @rule(ref=refs, sku=skus, qty=holdings, eta=etas)
    def create_batch(self, ref: BatchRef, sku: Sku, qty: int, eta: date | None) -> None:
        command = CreateBatch(ref, sku, qty, eta)
        if ref not in self.batches:
            self.handle(command)
            self.batches[ref] = self.told[ref] = sku, qty, eta
        elif (sku, qty, eta) in {self.batches[ref], self.told[ref]}:
            self.handle(command)
        else:
            with pytest.raises(BatchConflict):
                self.handle(command)

    @rule(told=st.lists(st.tuples(refs, skus, holdings, etas), max_size=4))
    def import_batches(self, told: list[tuple[BatchRef, Sku, int, date | None]]) -> None:
        batches = tuple(CreateBatch(*batch) for batch in told)
        new: dict[BatchRef, tuple[Sku, int, date | None]] = {}
        others = []
        for ref, sku, qty, eta in told:
            as_told = sku, qty, eta
            if ref not in self.batches:
                if new.setdefault(ref, as_told) != as_told:
                    others.append(ref)
            elif as_told not in {self.batches[ref], self.told[ref]}:
                others.append(ref)
        if others:
            for command in (CheckBatches(batches), ImportBatches(batches)):
                with pytest.raises(ImportConflict) as raised:
                    self.handle(command)
                assert raised.value.refs == tuple(others)
        else:
            assert self.handle(CheckBatches(batches)) == len(new)
            assert self.handle(ImportBatches(batches)) == len(new)
            self.batches |= new
            self.told |= new

    @rule(orderid=orderids, sku=skus, qty=quantities)
    def allocate(self, orderid: OrderId, sku: Sku, qty: int) -> None:
        command = Allocate(orderid, sku, qty)
        if not self.has_product(sku):
            with pytest.raises(InvalidSku):
                self.handle(command)
            return
        if self.lines.get((sku, orderid), qty) != qty:
            with pytest.raises(LineConflict):
                self.handle(command)
        elif self.orders.get(orderid, ()) is None:
            with pytest.raises(OrderCancelled):
                self.handle(command)
        elif (sku, orderid) in self.lines:
            self.handle(command)
        else:
            # What nobody who waits can use is for whoever comes.
            has_room = any(room >= qty for room in self.rooms(sku))
            assert (self.handle(command) is not None) == has_room
            if has_room:
                self.lines[sku, orderid] = qty

    @rule(ref=refs, qty=holdings)
    def change_quantity(self, ref: BatchRef, qty: int) -> None:
        if ref in self.batches:
            self.handle(ChangeBatchQuantity(ref, qty))
            sku, _, eta = self.batches[ref]
            self.batches[ref] = sku, qty, eta
        else:
            with pytest.raises(UnknownBatch):
                self.handle(ChangeBatchQuantity(ref, qty))

    @rule(ref=refs, eta=etas)
    def change_eta(self, ref: BatchRef, eta: date | None) -> None:
        if ref in self.batches:
            self.handle(ChangeBatchEta(ref, eta))
            sku, qty, _ = self.batches[ref]
            self.batches[ref] = sku, qty, eta
        else:
            with pytest.raises(UnknownBatch):
                self.handle(ReceiveBatch(ref))

    @rule(orderid=orderids, wanted=st.dictionaries(skus, quantities, min_size=1))
    def place_order(self, orderid: OrderId, wanted: dict[Sku, int]) -> None:
        lines = tuple(OrderLine(orderid, sku, qty) for sku, qty in sorted(wanted.items()))
        command = PlaceOrder(orderid, lines)
        if orderid in self.orders:
            if self.orders[orderid] == lines:
                self.handle(command)
                return
            error: type[Exception] = OrderConflict
        elif any(of_order == orderid for _, of_order in self.lines):
            error = OrderConflict
        elif not all(self.has_product(line.sku) for line in lines):
            error = InvalidSku
        else:
            self.handle(command)
            self.orders[orderid] = lines
            self.lines.update({(line.sku, orderid): line.qty for line in lines})
            return
        with pytest.raises(error):
            self.handle(command)

    @rule(orderid=orderids)
    def cancel_order(self, orderid: OrderId) -> None:
        keys = [key for key in self.lines if key[1] == orderid]
        if not keys and orderid not in self.orders:
            with pytest.raises(UnknownOrder):
                self.handle(CancelOrder(orderid))
            return
        self.handle(CancelOrder(orderid))
        for key in keys:
            del self.lines[key]
        self.orders[orderid] = None

    # What must hold

    @invariant()
    def never_more_is_allocated_than_was_purchased(self) -> None:
        tables = self.tables()
        allocated: Counter[BatchRef] = Counter()
        for key, ref in tables.allocations.items():
            allocated[ref] += tables.lines[key]
        for ref, (sku, qty, eta) in self.batches.items():
            assert allocated[ref] <= qty
            stored = tables.batches[ref]
            assert (stored.sku, stored.qty, stored.eta) == (sku, qty, eta)

    @invariant()
    def every_line_is_on_one_batch_or_back_ordered(self) -> None:
        tables = self.tables()
        places = [*tables.allocations, *tables.back_orders]
        assert Counter(places) == Counter(dict.fromkeys(self.lines, 1))
        assert tables.lines == self.lines

    @invariant()
    def the_read_model_is_true(self) -> None:
        assert self.tables().view == self.tables().allocations

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        for product in self.products():
            room = max((batch.available_quantity for batch in product.batches), default=0)
            assert all(line.qty > room for line in product.back_orders)

    @invariant()
    def what_is_in_hand_is_what_is_stored(self) -> None:
        tables = self.tables()
        for product in self.products():
            sku = product.sku
            assert product.version_number == tables.versions[sku]
            waiting = [(line.orderid, line.qty) for line in product.back_orders]
            stored = [(key[1], qty) for key, qty in tables.back_orders.items() if key[0] == sku]
            assert waiting == stored, "in this order"
            for batch in product.batches:
                lines = [(sku, line.orderid) for line in batch.lines]
                refs = tables.allocations.items()
                assert lines == [key for key, ref in refs if ref == batch.reference], "in order"

    def rooms(self, sku: Sku) -> list[int]:
        """How many each batch of a product has that are not allocated, by what is stored."""
        tables = self.tables()
        rooms = {ref: b.qty for ref, b in tables.batches.items() if b.sku == sku}
        for key, ref in tables.allocations.items():
            if key[0] == sku:
                rooms[ref] -= tables.lines[key]
        return list(rooms.values())

    def has_product(self, sku: Sku) -> bool:
        return any(of_sku == sku for of_sku, _, _ in self.batches.values())

    def products(self) -> Iterator[Product]:
        for sku in (SEA, PINE):
            product = self.product(sku)
            if product is not None:
                yield product

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
    LoadVials,
    PlaceOrder,
    ReceiveBatch,
    UnloadVials,
)
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.model import OrderLine, Product
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Place, SeatedVial, Whereabouts
from scentrt.errors import (
    BatchConflict,
    ImportConflict,
    InvalidSku,
    LineConflict,
    LineNotThere,
    OrderCancelled,
    OrderConflict,
    SlotTaken,
    TooFewVials,
    UnknownBatch,
    UnknownLine,
    UnknownOrder,
    VialsTaken,
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
seats = st.integers(1, 5)

CAPACITY_US = 1_000


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
        # The vials that were ever taken from each line, as they are.
        self.vials: dict[LineKey, dict[int, tuple[SeatedVial, Whereabouts]]] = {}

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
            # Who asks again and again for a cancelled order is told so before anybody looks.
            with pytest.raises((InvalidSku, OrderCancelled)) as refused:
                self.handle(command)
            is_cancelled = self.orders.get(orderid, ()) is None
            assert is_cancelled or refused.type is InvalidSku
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
        allocations = self.tables().allocations if self.vials else {}
        kept = [key for key in self.vials if allocations[key] == ref]
        if sum(self.lines[key] for key in kept) > qty:
            with pytest.raises(VialsTaken):
                self.handle(ChangeBatchQuantity(ref, qty))
        elif ref in self.batches:
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
        if not self.vials.keys().isdisjoint(keys):
            with pytest.raises(VialsTaken):
                self.handle(CancelOrder(orderid))
            return
        self.handle(CancelOrder(orderid))
        for key in keys:
            del self.lines[key]
        self.orders[orderid] = None

    @rule(
        orderid=orderids, sku=skus, at=st.lists(seats, min_size=1, unique=True), whole=st.booleans()
    )
    def load_vials(self, orderid: OrderId, sku: Sku, at: list[int], whole: bool) -> None:
        key, least = (sku, orderid), 1 if whole else len(at)
        places = tuple(Place(ZoneId("A"), SeatId(f"A-1-{n}"), int(sku == PINE)) for n in at)
        command = LoadVials(sku, orderid, places, least, CAPACITY_US)
        refused = self.why_not_loaded(key, places, least)
        if refused is not None:
            with pytest.raises(refused):
                self.handle(command)
            return
        loaded = self.handle(command)
        vials = self.vials.setdefault(key, {})
        returned = {
            id: vial.left_us for id, (vial, at) in vials.items() if at is Whereabouts.RETURNED
        }
        news = [vial for vial in loaded.vials if vial.id not in vials]
        for vial in loaded.vials:
            known, whereabouts = vials.get(vial.id, (vial, Whereabouts.SEATED))
            assert vial.place in places
            assert vial.left_us == known.left_us
            assert whereabouts is Whereabouts.RETURNED or known.place == vial.place
            assert vial.left_us == (returned.pop(vial.id, known.left_us))
            vials[vial.id] = vial, Whereabouts.SEATED
        assert not (news and returned), "what came back goes first"
        assert len({vial.place for vial in loaded.vials}) == len(loaded.vials) >= least
        assert loaded.left == self.left(key)
        assert len(loaded.vials) == len(places) or loaded.left == 0

    @rule(sku=skus, at=st.lists(seats, min_size=1), left=st.integers(0, 1_000), keep=st.booleans())
    def unload_vials(self, sku: Sku, at: list[int], left: int, keep: bool) -> None:
        to = Whereabouts.RETURNED if keep else Whereabouts.DISCARDED
        meant = {
            id: key
            for key, vials in self.vials.items()
            for id, (vial, _) in vials.items()
            if key[0] == sku and vial.place.seat in {f"A-1-{n}" for n in at}
        }
        levels = tuple(
            (self.vials[key][id][0].id, min(left, self.vials[key][id][0].left_us))
            for id, key in meant.items()
        )
        if not self.has_product(sku):
            return
        unloaded = {vial.id: vial for vial in self.handle(UnloadVials(sku, levels, to))}
        for id, left_us in levels:
            vial, whereabouts = self.vials[meant[id]][id]
            assert (id in unloaded) == (whereabouts is Whereabouts.SEATED)
            if id in unloaded:
                assert (unloaded[id].left_us, unloaded[id].place) == (left_us, vial.place)
                where = to if left_us else Whereabouts.DISCARDED
                self.vials[meant[id]][id] = unloaded[id], where

    def why_not_loaded(
        self, key: LineKey, places: tuple[Place, ...], least: int
    ) -> type[Exception] | None:
        if not self.has_product(key[0]):
            return InvalidSku
        if key not in self.lines:
            return UnknownLine
        ref = self.tables().allocations.get(key)
        if ref is None or self.batches[ref][2] is not None:
            return LineNotThere
        standing = 0
        for of_line, vials in self.vials.items():
            for vial, whereabouts in vials.values():
                if vial.place in places and whereabouts is Whereabouts.SEATED:
                    if of_line != key:
                        return SlotTaken
                    standing += 1
        return TooFewVials if standing + self.left(key) < least else None

    def left(self, key: LineKey) -> int:
        vials = self.vials.get(key, {})
        back = sum(at is Whereabouts.RETURNED for _, at in vials.values())
        return self.lines[key] - len(vials) + back

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
    def what_was_purchased_is_in_stock_in_seats_or_used_up(self) -> None:
        tables = self.tables()
        stored = {
            id: (tables.allocations[taken.vial.sku, taken.orderid], taken.vial, taken.whereabouts)
            for id, taken in tables.vials.items()
        }
        assert stored == {
            id: (vial.batchref, vial, whereabouts)
            for vials in self.vials.values()
            for id, (vial, whereabouts) in vials.items()
        }

        for ref, batch in tables.batches.items():
            lines = {key: tables.lines[key] for key, at in tables.allocations.items() if at == ref}
            taken: Counter[LineKey] = Counter()
            where: Counter[Whereabouts] = Counter()
            for vial in tables.vials.values():
                if vial.vial.batchref == ref:
                    taken[vial.vial.sku, vial.orderid] += 1
                    where[vial.whereabouts] += 1
            assert all(taken[key] <= lines[key] for key in taken)
            not_taken = sum(lines.values()) - taken.total()
            available = batch.qty - sum(lines.values())
            in_stock = available + not_taken + where[Whereabouts.RETURNED]
            assert available >= 0
            assert batch.qty == (
                in_stock + where[Whereabouts.SEATED] + where[Whereabouts.DISCARDED]
            )

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
                on_it = [key for key, ref in tables.allocations.items() if ref == batch.reference]
                assert set(lines) == set(on_it)
                can_go = [key for key in lines if key not in self.vials]
                assert can_go == [key for key in on_it if key not in self.vials], "in order"

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

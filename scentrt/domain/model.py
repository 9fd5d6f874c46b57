"""Products, their batches, and the order lines that are allocated to them.

A line belongs to a product once: it is on one batch, or waits among the back-orders. Stock in the
warehouse goes first, then what arrives earliest. Totals are kept, and batches by the room that they
have, so that no decision costs more because many lines or batches are there already.

The model is that of *Architecture Patterns with Python* (Percival and Gregory), with back-orders,
arrivals and cancellations added.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TypeAlias

from scentrt.domain.back_orders import BackOrders
from scentrt.domain.batches import Batch, OrderLine
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
    VialsLoaded,
    VialsUnloaded,
)
from scentrt.domain.first_fit import FirstFit
from scentrt.domain.names import BatchRef, OrderId, Sku, check_quantity
from scentrt.domain.taken_vials import TakenVials
from scentrt.domain.vials import Loaded, Place, SeatedVial, VialId, Whereabouts
from scentrt.errors import (
    BatchConflict,
    LineConflict,
    LineNotThere,
    TooFewVials,
    UnknownBatch,
    UnknownLine,
    VialsTaken,
)

__all__ = ["Batch", "OrderLine", "Product", "vials_taken_from"]

LINES_LET_GO_PER_STEP = 1_000
"""Lines that a shrinking batch lets go of in one step, in less than a millisecond."""

LINES_DISPLACED_PER_STEP = 100
"""Lines that it tells in one step to need another place, likewise."""


Preference: TypeAlias = tuple[bool, date, int]
"""Batches by who is asked first: the warehouse, the earliest, what was made known first."""


class Product:
    """All batches of one SKU and the lines on them: what must be consistent with itself.

    Every change raises `version_number` by one and is told by an event in `events`, which whoever
    works with the product takes from there. A `Deallocated` line belongs to nobody until it is
    allocated or back-ordered again: that has to follow in the same unit of work.

    Args:
      batches: in the order in which they were made known, with their lines.
      back_orders: the lines that wait, the oldest first.
      vials: the vials that were taken from its lines.
    """

    def __init__(
        self,
        sku: Sku,
        batches: Iterable[Batch],
        version_number: int = 0,
        back_orders: Iterable[OrderLine] = (),
        vials: TakenVials | None = None,
    ) -> None:
        self.sku = sku
        self.batches = list(batches)
        self.version_number = version_number
        self.events: list[StockEvent] = []
        self._by_ref = {batch.reference: batch for batch in self.batches}
        self._preferences = {
            batch.reference: _preference(batch, number) for number, batch in enumerate(self.batches)
        }
        self._room: FirstFit[Preference, Batch] = FirstFit(
            (self._preferences[batch.reference], batch.available_quantity, batch)
            for batch in self._by_ref.values()
        )
        self._batch_of = {line.orderid: batch for batch in self.batches for line in batch.lines}
        self._back_orders: BackOrders[OrderLine] = BackOrders(back_orders)
        self._vials = vials or TakenVials()
        for orderid in self._vials.orders:
            self._batch_of[orderid].pin(orderid)

    def __repr__(self) -> str:
        return f"<Product {self.sku}>"

    @property
    def back_orders(self) -> Iterator[OrderLine]:
        """The lines that wait for stock, the oldest first."""
        return iter(self._back_orders)

    def batch(self, ref: BatchRef) -> Batch | None:
        """Return the batch of this reference."""
        return self._by_ref.get(ref)

    def line(self, orderid: OrderId) -> OrderLine | None:
        """Return the line that an order has of this product, allocated or back-ordered."""
        batch = self._batch_of.get(orderid)
        return self._back_orders.get(orderid) if batch is None else batch.line(orderid)

    def allocate(self, line: OrderLine) -> BatchRef | None:
        """Allocate a line and return the reference of its batch; None where no batch has room.

        A line that is here already stays where it is: the answer is then its batch, or None if it
        is back-ordered.

        Raises:
          LineConflict: the order has another line of this product.
        """
        if self._has(line):
            batch = self._batch_of.get(line.orderid)
            return None if batch is None else batch.reference
        batch = self._first_with_room_for(line)
        if batch is None:
            self.events.append(OutOfStock(line.sku))
            return None
        self._put(line, batch)
        return batch.reference

    def back_order(self, line: OrderLine) -> None:
        """Let a line wait for stock, behind those that wait; one that is here already stays.

        Raises:
          LineConflict: the order has another line of this product.
        """
        if not self._has(line):
            self._back_orders.append(line)
            self._changed(BackOrdered(line.orderid, line.sku, line.qty))

    def fill_back_orders(self, at_most: int | None = None) -> bool:
        """Allocate the back-orders for which there is room now, the oldest first.

        Returns whether those were all; with `at_most`, only so many are allocated at a time.
        """
        filled = 0
        while (line := self._oldest_that_fits()) is not None:
            if filled == at_most:
                return False
            batch = self._first_with_room_for(line)
            assert batch is not None, "it fits somewhere"
            self._back_orders.remove(line.orderid)
            self.events.append(BackOrderFilled(line.orderid, line.sku, line.qty, batch.reference))
            self._put(line, batch)
            filled += 1
        return True

    def cancel(self, orderid: OrderId) -> OrderLine | None:
        """Remove the line of an order and return it; None where there is none.

        Raises:
          VialsTaken: vials were taken from it.
        """
        line = self.line(orderid)
        if line is None:
            return None
        if self._vials.has_given(orderid):
            raise vials_taken_from(orderid, self.sku)
        batch = self._batch_of.pop(orderid, None)
        if batch is None:
            self._back_orders.remove(orderid)
        else:
            batch.deallocate(line)
            self._note_room(batch)
        ref = None if batch is None else batch.reference
        self._changed(LineCancelled(line.orderid, line.sku, line.qty, ref))
        return line

    def add_batch(self, batch: Batch) -> None:
        """Make a batch known; the same one again changes nothing.

        It is the same if it is told as it was told at first, or as it is by now.

        Raises:
          BatchConflict: the reference is that of another batch.
        """
        known = self.batch(batch.reference)
        if known is None:
            preference = _preference(batch, len(self.batches))
            self.batches.append(batch)
            self._by_ref[batch.reference] = batch
            self._preferences[batch.reference] = preference
            self._room.put(preference, batch.available_quantity, batch)
            qty, eta = batch.as_told
            self._changed(BatchCreated(batch.reference, batch.sku, qty, eta))
        elif not known.is_same(batch):
            raise BatchConflict(batch.reference)

    def change_batch_quantity(self, ref: BatchRef, qty: int) -> None:
        """Set how many a batch has, from 0; the lines that no longer fit are deallocated.

        Those that were allocated last give way first, and those from which vials were taken never.

        Raises:
          UnknownBatch: there is no such batch.
          InvalidQuantity: `qty` is not one.
          VialsTaken: the lines that do not give way have more.
        """
        for _ in self.changing_batch_quantity(ref, qty):
            pass

    def changing_batch_quantity(self, ref: BatchRef, qty: int) -> Iterator[None]:
        """Change it as `change_batch_quantity` does, in steps of less than a millisecond each.

        The lines that were told to be `Deallocated` have to be allocated or back-ordered before the
        next step, and nothing else may be asked of the product before the last. What was told by
        then may be stored: the batch then has what it shall have, and besides what those lines need
        that have not been told of yet. Raises at once what `change_batch_quantity` does.
        """
        batch = self._known_batch(ref)
        check_quantity(qty, least=0)
        if qty < batch.pinned_quantity:
            raise VialsTaken(
                ref,
                f"Batch {ref} has {batch.pinned_quantity} in lines from which vials were taken: "
                "set so many, or more",
            )
        return self._changing_quantity(batch, qty)

    def _changing_quantity(self, batch: Batch, qty: int) -> Iterator[None]:
        ref = batch.reference
        if qty == batch.purchased_quantity:
            return
        batch.purchased_quantity = qty
        displaced: deque[OrderLine] = deque()
        untold = 0
        while batch.available_quantity < 0:
            line = batch.deallocate_latest()
            del self._batch_of[line.orderid]
            displaced.appendleft(line)
            untold += line.qty
            if len(displaced) % LINES_LET_GO_PER_STEP == 0:
                yield
        self._note_room(batch)
        while displaced:  # who came first is the first to get another place
            line = displaced.popleft()
            untold -= line.qty
            self._changed(Deallocated(line.orderid, line.sku, line.qty, ref))
            if displaced and len(displaced) % LINES_DISPLACED_PER_STEP == 0:
                self._changed(BatchShrinking(ref, self.sku, qty + untold))
                yield
        self._changed(BatchQuantityChanged(ref, self.sku, qty))

    def change_batch_eta(self, ref: BatchRef, eta: date | None) -> None:
        """Set when a batch arrives; None where it has arrived. Lines stay where they are.

        Raises:
          UnknownBatch: there is no such batch.
        """
        batch = self._known_batch(ref)
        if eta != batch.eta:
            batch.eta = eta
            before = self._preferences[ref]
            self._preferences[ref] = _preference(batch, before[-1])
            self._room.remove(before)
            self._room.put(self._preferences[ref], batch.available_quantity, batch)
            self._changed(BatchRescheduled(ref, self.sku, eta))

    def load(
        self,
        orderid: OrderId,
        places: Sequence[Place],
        least: int,
        capacity_us: int,
        ids: Iterator[VialId],
    ) -> Loaded:
        """Have vials of an order's line stand in these places, as many as it has, at least `least`.

        Where one of them stands already, it stays, so that the same once more changes nothing.
        Vials that came back are used first, and then new ones of `capacity_us`, named by `ids`.

        Raises:
          UnknownLine: the order has no line of this product.
          LineNotThere: there are no vials of it yet.
          SlotTaken: a vial of another line stands there.
          TooFewVials: it has fewer than `least`. In all these cases nothing has changed.
        """
        line = self.line(orderid)
        if line is None:
            raise UnknownLine(orderid, self.sku)
        batch = self._batch_of.get(orderid)
        if batch is None or batch.eta is not None:
            ref, eta = (None, None) if batch is None else (batch.reference, batch.eta)
            raise LineNotThere(orderid, self.sku, ref, eta)
        standing = tuple(self._vials.standing(orderid, places))
        left = self._vials.left(orderid, line.qty)
        if len(standing) + left < least:
            raise TooFewVials(orderid, self.sku, left, least - len(standing))
        occupied = {vial.place for vial in standing}
        free = [place for place in places if place not in occupied][:left]
        if not free:
            return Loaded(standing, left)
        batch.pin(orderid)
        ref = batch.reference
        vials = self._vials.take(orderid, self.sku, ref, free, capacity_us, ids)
        self._changed(VialsLoaded(orderid, self.sku, ref, vials))
        return Loaded(standing + vials, left - len(vials))

    def unload(
        self, levels: Iterable[tuple[VialId, int]], to: Whereabouts
    ) -> tuple[SeatedVial, ...]:
        """Take vials out of their slots, with what is left in them; those that stand nowhere stay.

        What is empty is thrown away in any case: it would only be loaded again.
        """
        put_away: dict[tuple[OrderId, Whereabouts], list[SeatedVial]] = {}
        for id, left_us in levels:
            orderid = self._vials.line_of(id)
            if orderid is not None:
                where = to if left_us > 0 else Whereabouts.DISCARDED
                vial = self._vials.put_away(id, left_us, where)
                put_away.setdefault((orderid, where), []).append(vial)
        for (orderid, where), vials in put_away.items():
            ref = vials[0].batchref
            self._changed(VialsUnloaded(orderid, self.sku, ref, tuple(vials), where))
        return tuple(vial for vials in put_away.values() for vial in vials)

    def _has(self, line: OrderLine) -> bool:
        known = self.line(line.orderid)
        if known is not None and known != line:
            raise LineConflict(line.orderid, line.sku, known.qty)
        return known is not None

    def _known_batch(self, ref: BatchRef) -> Batch:
        batch = self.batch(ref)
        if batch is None:
            raise UnknownBatch(ref)
        return batch

    def _oldest_that_fits(self) -> OrderLine | None:
        return self._back_orders.oldest_within(self._room.largest)

    def _first_with_room_for(self, line: OrderLine) -> Batch | None:
        batch = self._room.first(line.qty)
        return batch if batch is not None and batch.can_allocate(line) else None

    def _put(self, line: OrderLine, batch: Batch) -> None:
        batch.allocate(line)
        self._note_room(batch)
        self._batch_of[line.orderid] = batch
        self._changed(Allocated(line.orderid, line.sku, line.qty, batch.reference))

    def _note_room(self, batch: Batch) -> None:
        self._room.resize(self._preferences[batch.reference], batch.available_quantity)

    def _changed(self, event: StockEvent) -> None:
        self.version_number += 1
        self.events.append(event)


def _preference(batch: Batch, number: int) -> Preference:
    return batch.eta is not None, batch.eta or date.min, number


def vials_taken_from(orderid: OrderId, sku: Sku) -> VialsTaken:
    """Return why the line of an order cannot be given up."""
    return VialsTaken(
        orderid,
        f"Order {orderid} cannot be cancelled, since vials of its {sku} have been taken: unload "
        "them to the stock, and load others of this order",
    )

"""The stock in memory: all that a database of it does but the disk, with the same constraints."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import count, islice
from typing import TypeVar

from scentrt.domain.commands import CancelLine, Command, FillBackOrders, FillLine
from scentrt.domain.model import Batch, OrderLine, Product
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.domain.taken_vials import TakenVials
from scentrt.domain.vials import TakenVial, VialId, Whereabouts
from scentrt.errors import OrdersCancelled, StoreUnavailable, UnitRefused
from scentrt.service_layer.changes import Changes, LineKey, Net, Unsettled
from scentrt.service_layer.deliveries import Letter, NewDelivery, Outlets
from scentrt.service_layer.repository import AbstractOrders, AbstractRepository
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A row of a batch."""

    sku: Sku
    told: tuple[int, date | None]
    qty: int
    eta: date | None

    def batch(self, ref: BatchRef) -> Batch:
        """Return the batch without its lines."""
        batch = Batch(ref, self.sku, *self.told)
        batch.purchased_quantity, batch.eta = self.qty, self.eta
        return batch


@dataclass(slots=True)
class Tables:
    """Everything that is stored, in the order in which it came."""

    versions: dict[Sku, int] = field(default_factory=dict)
    batches: dict[BatchRef, StoredBatch] = field(default_factory=dict)
    lines: dict[LineKey, int] = field(default_factory=dict)
    allocations: dict[LineKey, BatchRef] = field(default_factory=dict)
    back_orders: dict[LineKey, int] = field(default_factory=dict)
    view: dict[LineKey, BatchRef] = field(default_factory=dict)
    unsettled: dict[LineKey, Unsettled] = field(default_factory=dict)
    vials: dict[VialId, TakenVial] = field(default_factory=dict)
    customers: dict[CustomerName, Customer] = field(default_factory=dict)
    orders: dict[OrderId, Order] = field(default_factory=dict)
    deliveries: list[NewDelivery] = field(default_factory=list)
    letters: list[tuple[Customer, Letter]] = field(default_factory=list)

    def copy(self) -> "Tables":
        """Return the same in tables of its own."""
        return Tables(*(copy(getattr(self, name)) for name in self.__slots__))

    def take(self, changes: Changes) -> None:
        """Change what a unit of work changes; raises `UnitRefused` where that cannot be."""
        cancelled = [
            id for id in changes.counted_on if id in self.orders and self.orders[id].cancelled
        ]
        if cancelled:
            raise OrdersCancelled(cancelled)
        for sku, (before, after) in changes.versions.items():
            _check(self.versions.get(sku) == before, f"{sku} is not at version {before}")
            self.versions[sku] = after
        for sku in changes.overtaken:
            self.versions[sku] = self.versions.get(sku, 0) + 1
        _remove(self.allocations, changes.allocations)
        _remove(self.back_orders, changes.back_orders)
        _remove(self.lines, changes.lines)
        for key in changes.allocations_view.removed:
            self.view.pop(key, None)
        for key, what in changes.settled.items():
            _check(self.unsettled.pop(key, None) == what, f"{what} is not to be done about {key}")
        for ref, new in changes.new_batches.items():
            _check(ref not in self.batches, f"there is a batch {ref}")
            self.batches[ref] = StoredBatch(new.sku, (new.qty, new.eta), new.qty, new.eta)
        for ref, qty in changes.quantities.items():
            self.batches[ref] = replace(self.batches[ref], qty=qty)
        for ref, eta in changes.etas.items():
            self.batches[ref] = replace(self.batches[ref], eta=eta)
        _add(self.lines, changes.lines)
        _add(self.allocations, changes.allocations)
        _add(self.back_orders, changes.back_orders)
        _add(self.view, changes.allocations_view)
        self.vials |= changes.vials
        self.unsettled.update(changes.unsettled)
        for customer in changes.customers:
            _check(customer.name not in self.customers, f"there is a customer {customer.name}")
            self.customers[customer.name] = customer
        for order in changes.orders:
            _check(order.orderid not in self.orders, f"there is an order {order.orderid}")
            self.orders[order.orderid] = order
        for orderid in changes.cancelled_orders:
            placed = self.orders.get(orderid, Order(orderid, (), cancelled=True))
            self.orders[orderid] = replace(placed, cancelled=True)
            for key in self.lines:
                is_given_up = self.unsettled.get(key) is Unsettled.CANCEL
                _check(key[1] != orderid or is_given_up, f"a line came to {orderid} meanwhile")
        self.deliveries += changes.deliveries
        for letter in changes.letters:
            about = self.orders.get(letter.orderid)
            if about is not None and about.customer is not None:
                self.letters.append((self.customers[about.customer], letter))

    def fillable_skus(self) -> list[Sku]:
        """Return the products of which there is stock for a line that waits."""
        room = {ref: batch.qty for ref, batch in self.batches.items()}
        for key, ref in self.allocations.items():
            room[ref] -= self.lines[key]
        return [
            sku
            for (sku, _), qty in self.back_orders.items()
            if any(qty <= room[ref] for ref, batch in self.batches.items() if batch.sku == sku)
        ]

    def check(self) -> None:
        """Raise `UnitRefused` where the tables do not fit together."""
        for key in self.allocations.keys() | self.back_orders.keys() | self.unsettled.keys():
            _check(key in self.lines, f"there is no line {key}")
        for sku, _ in self.lines:
            _check(sku in self.versions, f"there is no product {sku}")
        allocated = dict.fromkeys(self.batches, 0)
        for key, ref in self.allocations.items():
            _check(self.batches[ref].sku == key[0], f"{ref} is a batch of another product")
            allocated[ref] += self.lines[key]
        for ref, batch in self.batches.items():
            _check(allocated[ref] <= batch.qty, f"more is allocated of {ref} than was purchased")
        taken = Counter((vial.vial.sku, vial.orderid) for vial in self.vials.values())
        for key, many in taken.items():
            _check(many <= self.lines.get(key, 0), f"more vials of {key} than it has")
            _check(self.unsettled.get(key) != Unsettled.CANCEL, f"{key} has vials, and is to go")
        for vial in self.vials.values():
            on = self.allocations.get((vial.vial.sku, vial.orderid))
            _check(on == vial.vial.batchref, f"{vial} is of another batch")
        seated = [v.vial.place for v in self.vials.values() if v.whereabouts is Whereabouts.SEATED]
        _check(len(seated) == len(set(seated)), "two vials are in one slot")


class MemoryStock:
    """Keep the stock for as long as this object lives; it can be away, for reading and writing."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.readable = True
        self.reads = 0
        self.vial_ids = count(1)

    def commit(self, units: Sequence[Changes]) -> None:
        """Store these units of work together, or nothing of them; raises `UnitRefused`."""
        tables = self.tables.copy()
        for changes in units:
            tables.take(changes)
        tables.check()
        self.tables = tables

    def read(self) -> Tables:
        """Return the tables for reading; raises `StoreUnavailable`."""
        if not self.readable:
            raise StoreUnavailable("the database is away")
        self.reads += 1
        return self.tables

    def product(self, sku: Sku) -> Product | None:
        """Return a product as it is stored; each time a new object."""
        tables = self.read()
        if sku not in tables.versions:
            return None
        batches = {}
        for ref, row in tables.batches.items():
            if row.sku == sku:
                batches[ref] = row.batch(ref)
        for (of_sku, orderid), ref in tables.allocations.items():
            if of_sku == sku:
                batches[ref].allocate(OrderLine(orderid, sku, tables.lines[sku, orderid]))
        back_orders = [
            OrderLine(orderid, sku, qty)
            for (of_sku, orderid), qty in tables.back_orders.items()
            if of_sku == sku
        ]
        of_it = [taken for taken in tables.vials.values() if taken.vial.sku == sku]
        kept = [taken for taken in of_it if taken.whereabouts is not Whereabouts.DISCARDED]
        gone = Counter(
            taken.orderid for taken in of_it if taken.whereabouts is Whereabouts.DISCARDED
        )
        vials = TakenVials(kept, gone)
        return Product(sku, batches.values(), tables.versions[sku], back_orders, vials)


class MemoryRepository(AbstractRepository):
    """The products of a `MemoryStock`."""

    def __init__(self, stock: MemoryStock) -> None:
        super().__init__()
        self._stock = stock

    async def batches(self, refs: Collection[BatchRef]) -> dict[BatchRef, Batch]:
        rows = self._stock.read().batches
        return {ref: rows[ref].batch(ref) for ref in refs if ref in rows}

    async def new_vial_ids(self, count: int) -> Sequence[VialId]:
        return [VialId(id) for id in islice(self._stock.vial_ids, count)]

    async def _get(self, sku: Sku) -> Product | None:
        return self._stock.product(sku)

    async def _sku_of(self, ref: BatchRef) -> Sku | None:
        batch = self._stock.read().batches.get(ref)
        return None if batch is None else batch.sku


class MemoryOrders(AbstractOrders):
    """The orders of a `MemoryStock`."""

    def __init__(self, stock: MemoryStock) -> None:
        self._stock = stock

    async def get(self, orderid: OrderId) -> Order | None:
        return self._stock.read().orders.get(orderid)

    async def lines(self, orderid: OrderId) -> tuple[OrderLine, ...]:
        return tuple(
            OrderLine(orderid, sku, qty)
            for (sku, of_order), qty in self._stock.read().lines.items()
            if of_order == orderid
        )

    async def gave_vials(self, orderid: OrderId) -> Sku | None:
        taken = self._stock.read().vials.values()
        return next((vial.vial.sku for vial in taken if vial.orderid == orderid), None)

    async def customer(self, name: CustomerName) -> Customer | None:
        return self._stock.read().customers.get(name)

    async def unknown(self, skus: Iterable[Sku]) -> Sku | None:
        versions = self._stock.read().versions
        return next((sku for sku in skus if sku not in versions), None)

    async def unsettled(self, sku: Sku) -> tuple[Command[None], ...]:
        tables = self._stock.read()
        commands: list[Command[None]] = []
        if any(of_sku == sku for of_sku, _ in tables.back_orders):
            commands.append(FillBackOrders(sku))
        for (of_sku, orderid), what in tables.unsettled.items():
            if of_sku == sku:
                line = OrderLine(orderid, sku, tables.lines[sku, orderid])
                commands.append(FillLine(line) if what is Unsettled.FILL else CancelLine(line))
        return tuple(commands)

    async def unsettled_skus(self) -> tuple[Sku, ...]:
        tables = self._stock.read()
        return tuple(
            dict.fromkeys([*tables.fillable_skus(), *(sku for sku, _ in tables.unsettled)])
        )


class MemoryUnitOfWork(AbstractUnitOfWork):
    """A unit of work on a `MemoryStock`; `commit` is who stores it, if not that by itself."""

    def __init__(
        self,
        stock: MemoryStock,
        outlets: Outlets | None = None,
        commit: Callable[[Changes], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(outlets or Outlets())
        self._stock = stock
        self._committed_by = commit
        self.orders = MemoryOrders(stock)

    def _new_repository(self) -> AbstractRepository:
        return MemoryRepository(self._stock)

    async def _commit(self, changes: Changes) -> None:
        if self._committed_by is None:
            self._stock.commit([changes])
        else:
            await self._committed_by(changes)


def _check(fits: bool, problem: str) -> None:
    if not fits:
        raise UnitRefused(problem)


def _remove(table: dict[LineKey, V], net: Net[LineKey, V]) -> None:
    for key in net.removed:
        _check(key in table, f"there is no {key}")
        del table[key]


def _add(table: dict[LineKey, V], net: Net[LineKey, V]) -> None:
    for key, row in net.added.items():
        _check(key not in table, f"there is a {key}")
        table[key] = row

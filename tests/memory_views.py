"""What may be looked at of a stock in memory, as far as vials and refills need it."""

from dataclasses import replace
from itertools import count

from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.refills import Refill, RefillStatus, ZoneRefill, orderid_of
from scentrt.domain.vials import TakenVial, VialId
from scentrt.errors import StoreUnavailable
from scentrt.service_layer.views import NO_VIAL, BatchView, ProductView, VialFilter
from tests.memory_stock import MemoryStock


class MemoryViews:
    """Look at the vials and products of a `MemoryStock`."""

    def __init__(self, stock: MemoryStock) -> None:
        self._stock = stock

    async def vials(
        self, wanted: VialFilter, after: VialId = NO_VIAL, limit: int | None = None
    ) -> tuple[TakenVial, ...]:
        found = [
            taken
            for id, taken in sorted(self._stock.read().vials.items())
            if id > after
            and wanted.zone in {None, taken.vial.place.zone}
            and wanted.whereabouts in {None, taken.whereabouts}
        ]
        return tuple(found[:limit])

    async def product(self, sku: Sku) -> ProductView | None:
        product = self._stock.product(sku)
        if product is None:
            return None
        batches = (
            BatchView(b.reference, sku, b.eta, b.purchased_quantity, b.allocated_quantity)
            for b in product.batches
        )
        return ProductView(sku, tuple(batches), len(list(product.back_orders)))


class MemoryRefills:
    """Keep refills for as long as this object lives; see `actors.refills.RefillStore`.

    There is one for a need, as in a database. While `writable` is False none is stored, nor when
    there are no `puts_left`, where that is said.
    """

    def __init__(self, stock: MemoryStock) -> None:
        self._stock = stock
        self.rows: dict[OrderId, ZoneRefill] = {}
        self.writable = True
        self.puts_left: int | None = None

    async def open_refills(self) -> tuple[ZoneRefill, ...]:
        tables = self._stock.read()
        found = []
        for each in self.rows.values():
            key = each.refill.sku, each.refill.orderid
            now = each
            if each.refill.status is RefillStatus.ORDERED:
                if key not in tables.lines:
                    now = each.become(RefillStatus.CANCELLED)
                elif (ref := tables.allocations.get(key)) is not None:
                    eta = tables.batches[ref].eta
                    now = replace(each, refill=replace(each.refill, batchref=ref, eta=eta))
            if now.is_open:
                found.append(now)
        return tuple(found)

    async def next_number(self, zone: ZoneId, sku: Sku) -> int:
        theirs = (each for each in self.rows.values() if each.zone == zone)
        last = max((each.number for each in theirs if each.refill.sku == sku), default=0)
        return next(n for n in count(last + 1) if orderid_of(zone, sku, n) not in self.rows)

    async def is_ordered(self, refill: Refill) -> bool:
        return self._stock.read().lines.get((refill.sku, refill.orderid)) == refill.qty

    async def put(self, refill: ZoneRefill, instead_of: OrderId | None) -> None:
        if not self.writable or self.puts_left == 0:
            raise StoreUnavailable("the database is away")
        if self.puts_left is not None:
            self.puts_left -= 1
        rows = {id: row for id, row in self.rows.items() if id != instead_of}
        assert refill.refill.orderid not in rows, "an order is of one refill"
        assert len(rows) == len(self.rows) - (instead_of is not None)
        rows[refill.refill.orderid] = refill
        needs = [(row.zone, row.refill.scent) for row in rows.values() if row.is_open]
        assert len(needs) == len(set(needs)), "there is one for a need"
        self.rows = rows

    def of(self, zone: str, scent: str) -> list[ZoneRefill]:
        """Return all that there were for a scent in a zone, in order."""
        key = ZoneId(zone), Scent(scent)
        return [row for row in self.rows.values() if (row.zone, row.refill.scent) == key]

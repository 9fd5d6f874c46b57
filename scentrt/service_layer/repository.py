"""What is stored, as handlers see it: products by their names, and orders."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence

from scentrt.domain.commands import Command
from scentrt.domain.model import Batch, OrderLine, Product
from scentrt.domain.names import BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.domain.vials import VialId
from scentrt.service_layer.changes import Version


class AbstractRepository(ABC):
    """The products that one unit of work works with.

    A product that was asked for twice is the same object. `seen` has all that were asked for or
    added. Every reading method raises `StoreUnavailable`.
    """

    def __init__(self) -> None:
        self.seen: dict[Sku, Product] = {}
        self._as_read: dict[Sku, int | None] = {}
        self._missing: set[Sku] = set()

    @property
    def versions(self) -> dict[Sku, Version]:
        """The versions of the products that are new or have changed."""
        return {
            sku: Version(before, self.seen[sku].version_number)
            for sku, before in self._as_read.items()
            if before != self.seen[sku].version_number
        }

    def stored(self) -> None:
        """Note that all products are stored as they are now."""
        self._as_read = {sku: product.version_number for sku, product in self.seen.items()}

    def add(self, product: Product) -> None:
        """Put in a product that is not there yet."""
        self.seen[product.sku] = product
        self._as_read[product.sku] = None
        self._missing.discard(product.sku)

    def keep(self, product: Product) -> None:
        """Put in a product that was read before and is stored as it is."""
        self.seen[product.sku] = product
        self._as_read[product.sku] = product.version_number

    async def get(self, sku: Sku) -> Product | None:
        """Return a product; None where no batch of it was ever made known."""
        product = self.seen.get(sku)
        if product is None and sku not in self._missing:
            product = await self._get(sku)
            if product is None:
                self._missing.add(sku)
            else:
                self.keep(product)
        return product

    async def get_by_batchref(self, ref: BatchRef) -> Product | None:
        """Return the product that has a batch of this reference."""
        sku = await self.sku_of(ref)
        return None if sku is None else await self.get(sku)

    async def sku_of(self, ref: BatchRef) -> Sku | None:
        """Return of what product a batch is."""
        here = (product.sku for product in self.seen.values() if product.batch(ref) is not None)
        return next(here, None) or await self._sku_of(ref)

    @abstractmethod
    async def batches(self, refs: Collection[BatchRef]) -> dict[BatchRef, Batch]:
        """Return the batches of these references that are stored, by reference, without lines."""

    @abstractmethod
    async def new_vial_ids(self, count: int) -> Sequence[VialId]:
        """Return so many ids that no vial has had or is given by anybody else."""

    @abstractmethod
    async def _get(self, sku: Sku) -> Product | None: ...

    @abstractmethod
    async def _sku_of(self, ref: BatchRef) -> Sku | None: ...


class AbstractOrders(ABC):
    """The orders and customers that are stored. Every method raises `StoreUnavailable`."""

    @abstractmethod
    async def get(self, orderid: OrderId) -> Order | None:
        """Return an order as it was placed."""

    @abstractmethod
    async def lines(self, orderid: OrderId) -> tuple[OrderLine, ...]:
        """Return the lines that an order has now, whoever asked for them."""

    @abstractmethod
    async def gave_vials(self, orderid: OrderId) -> Sku | None:
        """Return of which product vials were taken for an order; None where of none."""

    @abstractmethod
    async def customer(self, name: CustomerName) -> Customer | None:
        """Return a customer."""

    @abstractmethod
    async def unknown(self, skus: Iterable[Sku]) -> Sku | None:
        """Return the first of these SKUs of which there is no product."""

    @abstractmethod
    async def unsettled(self, sku: Sku) -> tuple[Command[None], ...]:
        """Return what accepted orders and imports leave to be done to a product, in order."""

    @abstractmethod
    async def unsettled_skus(self) -> tuple[Sku, ...]:
        """Return the products to which something is left to be done."""

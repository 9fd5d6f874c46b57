"""What can go wrong, in one tree.

::

    ScentError
    ├── ConfigError          settings or theatre file cannot be used; says which line or field
    │   └── DatabaseInUse    a server runs on this database already
    ├── StoreUnavailable     the database did not take or give something
    │   ├── UnitRefused      a unit of work was not decided on what the database holds
    │   │   └── OrdersCancelled
    │   └── StoredLater      what was asked is in effect, and is not on disk yet
    ├── DeliveryFailed       the outside did not take a delivery; it is tried again
    │   └── Deferred         it does not take this one for now, but may take others
    ├── Undeliverable        nobody can ever take this delivery; says why
    ├── PanicAgain           a panic was called while another was being released
    ├── UnknownName          nobody in the house is called so
    │   ├── UnknownZone
    │   ├── UnknownSeat
    │   ├── UnknownGoggles
    │   └── UnknownScent
    ├── StockError           the stock room cannot do what it is told
    │   ├── InvalidQuantity
    │   ├── InvalidOrder
    │   ├── InvalidCustomer
    │   ├── InvalidSku       nobody has ever made a batch of it known
    │   ├── InvalidVials     vials cannot stand there, or there are none of it
    │   ├── NotInStockRoom   there is nothing of this name
    │   │   ├── UnknownBatch
    │   │   ├── UnknownOrder
    │   │   ├── UnknownLine
    │   │   └── UnknownCustomer
    │   └── StockConflict    the name is that of something else already
    │       ├── BatchConflict
    │       ├── ImportConflict
    │       ├── LineConflict
    │       ├── VialsTaken   what vials were taken from stays where it is
    │       ├── LineNotThere its batch has not arrived, so there are no vials yet
    │       ├── TooFewVials
    │       ├── SlotTaken
    │       ├── NoFreeSlot
    │       ├── OrderConflict
    │       │   └── OrderCancelled
    │       └── CustomerConflict
    └── ActorError           an actor cannot answer
        ├── Busy             its mailbox is full; try again after `retry_after_ms`
        ├── ActorCrashed     it failed while the message was its to answer
        └── ActorStopped     it has ended, and takes nothing more
"""

from collections.abc import Iterable


class ScentError(Exception):
    """The root: whoever catches this catches all that ScentRT raises on purpose."""


class ConfigError(ScentError):
    """Say what cannot be used, where it stands, and what to write instead.

    `where` is a field, an option or a place in a file; `problem` is the sentence for the user.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class DatabaseInUse(ConfigError):
    """Another process holds the database."""


class StoreUnavailable(ScentError):
    """The database could not be read or written; nothing of the attempt remains in it."""


class UnitRefused(StoreUnavailable):
    """A unit of work does not fit what is stored; it was decided on something older, or is wrong.

    Nothing of it remains in the database. Decided again on what is there, it may pass.
    """


class OrdersCancelled(UnitRefused):
    """A unit of work gives lines to orders that were cancelled: those of `orderids`."""

    def __init__(self, orderids: Iterable[str]) -> None:
        self.orderids = tuple(orderids)
        super().__init__(f"cancelled by then: {', '.join(self.orderids)}")

    @property
    def conflict(self) -> "OrderCancelled":
        """What to tell whoever asked for a unit that is about one order."""
        return OrderCancelled(self.orderids[0])


class StoredLater(StoreUnavailable):
    """What was asked is in effect; it is kept, and stored as soon as the database takes it."""


class DeliveryFailed(ScentError):
    """The outside did not take a delivery, or did not say that it has. It may take it later."""


class Deferred(DeliveryFailed):
    """The outside is there, and does not take this one delivery for now. It may take others."""


class Undeliverable(ScentError):
    """This delivery will never be taken, however often it is tried."""


class PanicAgain(ScentError):
    """Somebody has called a panic while an earlier one was being released. It remains."""

    def __init__(self) -> None:
        super().__init__("a new panic was called meanwhile")


class UnknownName(ScentError):
    """Nobody in the house is called `name`."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class UnknownZone(UnknownName):
    """There is no such zone."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"there is no zone {name!r}")


class UnknownSeat(UnknownName):
    """There is no such seat."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"there is no seat {name!r}")


class UnknownGoggles(UnknownName):
    """No goggles of this name have connected."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no goggles called {name!r} have connected")


class UnknownScent(UnknownName):
    """No zone carries the scent."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no zone carries {name!r}")


class StockError(ScentError):
    """What the stock room was told cannot be done. Nothing has changed."""


class InvalidQuantity(StockError):
    """Something that is no number of things; `least` is the smallest that would do."""

    def __init__(self, qty: object, least: int) -> None:
        super().__init__(f"Invalid quantity {qty!r}: give an integer from {least}")
        self.qty = qty


class InvalidOrder(StockError):
    """An order that nobody could fill."""

    def __init__(self, orderid: str, problem: str) -> None:
        super().__init__(f"Invalid order {orderid}: {problem}")
        self.orderid = orderid


class InvalidCustomer(StockError):
    """Somebody who could not be written to."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"Invalid customer {name}: {problem}")
        self.name = name


class InvalidSku(StockError):
    """No batch of this SKU was ever made known."""

    def __init__(self, sku: str) -> None:
        super().__init__(f"Invalid sku {sku}")
        self.sku = sku


class InvalidVials(StockError):
    """Vials that cannot be there, as the theatre is laid out; `field` says what has to change."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class NotInStockRoom(StockError):
    """There is nothing called `name`."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class UnknownBatch(NotInStockRoom):
    """There is no such batch."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Unknown batch {name}")


class UnknownOrder(NotInStockRoom):
    """There is no such order, nor any line of it."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Unknown order {name}")


class UnknownLine(NotInStockRoom):
    """The order has no line of this product."""

    def __init__(self, name: str, sku: str) -> None:
        super().__init__(name, f"Order {name} has no line of {sku}: allocate one first")
        self.sku = sku


class UnknownCustomer(NotInStockRoom):
    """No customer of this name is registered."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Unknown customer {name}")


class StockConflict(StockError):
    """What is called `name` is something else than what was told."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class BatchConflict(StockConflict):
    """The reference is that of another batch."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Batch {name} is another one: its SKU, quantity or ETA differs")


class ImportConflict(StockConflict):
    """Of the batches that are told together, those of `refs` are others."""

    def __init__(self, refs: Iterable[str]) -> None:
        self.refs = tuple(refs)
        some, more = ", ".join(self.refs[:3]), len(self.refs) - 3
        these = f"{some} and {more:,} more" if more > 0 else some
        are = "are other ones" if len(self.refs) > 1 else "is another one"
        super().__init__(self.refs[0], f"{these} {are}: SKU, quantity or ETA differs")


class LineConflict(StockConflict):
    """The order has another line of this product, of quantity `qty`."""

    def __init__(self, orderid: str, sku: str, qty: int) -> None:
        super().__init__(orderid, f"Order {orderid} has a line of {qty} {sku} already")
        self.sku = sku
        self.qty = qty


class VialsTaken(StockConflict):
    """Vials were taken from it, so it has to stay; nothing has changed."""


class LineNotThere(StockConflict):
    """The line is on back-order, or on a batch that arrives on `eta`."""

    def __init__(self, orderid: str, sku: str, batchref: str | None, eta: object) -> None:
        super().__init__(
            orderid,
            f"Order {orderid} waits for its {sku}, which is on back-order: its vials can be loaded "
            "when it has come in"
            if batchref is None
            else f"Order {orderid} gets its {sku} with batch {batchref}, expected on {eta}: take "
            "that into the warehouse first",
        )


class TooFewVials(StockConflict):
    """The line has `left` vials that stand nowhere, and more are wanted."""

    def __init__(self, orderid: str, sku: str, left: int, wanted: int) -> None:
        super().__init__(
            orderid,
            f"Order {orderid} has {left} vials of {sku} left, and {wanted} are wanted: name fewer "
            "seats, or allocate another order",
        )
        self.left = left


class SlotTaken(StockConflict):
    """A vial stands there already."""

    def __init__(self, seat: str, slot: int) -> None:
        super().__init__(seat, f"Slot {slot} of {seat} has a vial already: unload it first")


class NoFreeSlot(StockConflict):
    """Every slot of the scent in the zone has a vial."""

    def __init__(self, zone: str, scent: str) -> None:
        super().__init__(
            zone, f"Zone {zone} has no free slot for {scent}: unload vials there first"
        )


class OrderConflict(StockConflict):
    """The order is another one by now."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, f"Order {name} {problem}")


class OrderCancelled(OrderConflict):
    """The order was cancelled, and that is final."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "was cancelled")


class CustomerConflict(StockConflict):
    """The name is that of another customer."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Customer {name} is registered with another address or e-mail")


class ActorError(ScentError):
    """An actor cannot answer; `actor` is its name."""

    def __init__(self, actor: str, problem: str) -> None:
        super().__init__(f"{actor} {problem}")
        self.actor = actor


class Busy(ActorError):
    """The mailbox is full. Nothing was taken; the same message may be sent again."""

    def __init__(self, actor: str, retry_after_ms: float) -> None:
        super().__init__(actor, f"has a full mailbox, try again in {retry_after_ms:g} ms")
        self.retry_after_ms = retry_after_ms


class ActorCrashed(ActorError):
    """The actor failed before it answered. It may have acted on the message in part."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, "failed and is being restarted")


class ActorStopped(ActorError):
    """The actor has ended. Nothing was taken."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, "has stopped")

"""One function for each command and each event: what the stock room does about it.

Handlers work within a unit of work that somebody else opens and commits. A command's handler that
raises a `StockError` has changed nothing.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import trio

from scentrt.domain.commands import (
    Allocate,
    CancelLine,
    CancelOrder,
    ChangeBatchEta,
    ChangeBatchQuantity,
    CheckBatches,
    CreateBatch,
    FillBackOrders,
    FillLine,
    ImportBatches,
    LoadVials,
    PlaceOrder,
    ReceiveBatch,
    RegisterCustomer,
    ReportUnknown,
    UnloadVials,
)
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
    VialsLoaded,
    VialsUnloaded,
)
from scentrt.domain.model import Batch, OrderLine, Product, vials_taken_from
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.orders import Customer, Order
from scentrt.domain.vials import Loaded, SeatedVial
from scentrt.errors import (
    BatchConflict,
    CustomerConflict,
    ImportConflict,
    InvalidSku,
    OrderCancelled,
    OrderConflict,
    UnknownBatch,
    UnknownCustomer,
    UnknownOrder,
)
from scentrt.service_layer.changes import Unsettled
from scentrt.service_layer.unit_of_work import AbstractUnitOfWork

BACK_ORDERS_PER_STEP = 64
"""How many are filled before what follows from that is looked at, in less than a millisecond."""

BATCHES_PER_TURN = 256
"""How many of an import are looked at before it does, in less than a millisecond."""

# Commands to a product


async def add_batch(command: CreateBatch, uow: AbstractUnitOfWork) -> None:
    """Make a batch known, and its product with the first one."""
    batch = Batch(command.ref, command.sku, command.qty, command.eta)
    if await uow.products.sku_of(command.ref) not in {None, command.sku}:
        raise BatchConflict(command.ref)
    product = await uow.products.get(command.sku)
    if product is None:
        product = Product(command.sku, [])
        uow.products.add(product)
    product.add_batch(batch)


async def allocate(command: Allocate, uow: AbstractUnitOfWork) -> BatchRef | None:
    """Allocate a line; out of stock, it is not kept.

    Hardly any order was cancelled, so nobody is asked beforehand whether this one was.
    """
    line = OrderLine(command.orderid, command.sku, command.qty)
    ref = (await _product(command.sku, uow)).allocate(line)
    uow.changes.count_on(command.orderid)
    return ref


async def report_unknown(command: ReportUnknown, uow: AbstractUnitOfWork) -> None:
    """Write to the stock team that a product is missing, unless it has come to be known."""
    if await uow.products.get(command.sku) is None:
        uow.outgoing.mail_stock_team(
            f"Out of stock for {command.sku}, of which no batch was ever made known"
        )


async def change_batch_quantity(command: ChangeBatchQuantity, uow: AbstractUnitOfWork) -> None:
    """Set how many a batch has, in steps, since a hundred thousand lines may have to go."""
    product = await _product_of(command.ref, uow)
    uow.steps.append(product.changing_batch_quantity(command.ref, command.qty))


async def change_batch_eta(command: ChangeBatchEta, uow: AbstractUnitOfWork) -> None:
    """Set when a batch arrives."""
    (await _product_of(command.ref, uow)).change_batch_eta(command.ref, command.eta)


async def receive_batch(command: ReceiveBatch, uow: AbstractUnitOfWork) -> None:
    """Take a shipment into the warehouse."""
    (await _product_of(command.ref, uow)).change_batch_eta(command.ref, None)


async def load_vials(command: LoadVials, uow: AbstractUnitOfWork) -> Loaded:
    """Have vials of a line stand in slots."""
    product = await _product(command.sku, uow)
    ids = await uow.products.new_vial_ids(len(command.places))
    return product.load(
        command.orderid, command.places, command.least, command.capacity_us, iter(ids)
    )


async def unload_vials(command: UnloadVials, uow: AbstractUnitOfWork) -> tuple[SeatedVial, ...]:
    """Take vials out of their slots."""
    return (await _product(command.sku, uow)).unload(command.levels, command.to)


async def fill_line(command: FillLine, uow: AbstractUnitOfWork) -> None:
    """Allocate or back-order a line of an accepted order, unless its product has it already."""
    line = command.line
    product = await _product(line.sku, uow)
    if product.line(line.orderid) is not None:  # who read that it was left has been faster
        return
    uow.changes.settle(line, Unsettled.FILL)
    uow.changes.find_homeless(line)
    ref = product.allocate(line)
    if ref is None:
        product.back_order(line)
    else:
        _write_that_it_comes("is set aside for you", line, ref, product, uow)


async def cancel_line(command: CancelLine, uow: AbstractUnitOfWork) -> None:
    """Give up a line of a cancelled order."""
    line = command.line
    product = await _product(line.sku, uow)
    uow.changes.settle(line, Unsettled.CANCEL)
    if product.cancel(line.orderid) is None:
        uow.changes.drop(line)


# Commands about many products


async def import_batches(command: ImportBatches, uow: AbstractUnitOfWork) -> int:
    """Make batches known, without a look at what else there is of their products.

    Not to load thousands of products is one reason. The other is that one of them, if it is much
    asked for, is another a millisecond later, and the import would be refused again and again.
    """
    new = await _new_among(command.batches, uow)
    for told in new:
        uow.changes.bring(BatchCreated(told.ref, told.sku, told.qty, told.eta))
    return len(new)


async def check_batches(command: CheckBatches, uow: AbstractUnitOfWork) -> int:
    """Look whether batches could be made known."""
    return len(await _new_among(command.batches, uow))


async def _new_among(told: Sequence[CreateBatch], uow: AbstractUnitOfWork) -> list[CreateBatch]:
    known = await uow.products.batches({batch.ref for batch in told})
    new, others = [], []
    for number, command in enumerate(told, 1):
        batch = Batch(command.ref, command.sku, command.qty, command.eta)
        if batch.reference not in known:
            known[batch.reference] = batch
            new.append(command)
        elif not known[batch.reference].is_same(batch):
            others.append(batch.reference)
        if number % BATCHES_PER_TURN == 0:
            await trio.lowlevel.checkpoint()
    if others:
        raise ImportConflict(others)
    return new


# Commands about orders


async def register_customer(command: RegisterCustomer, uow: AbstractUnitOfWork) -> None:
    """Make a customer known; the same one again changes nothing."""
    customer = Customer(command.name, command.address, command.email)
    known = await uow.orders.customer(command.name)
    if known is None:
        uow.changes.customers.append(customer)
    elif known != customer:
        raise CustomerConflict(command.name)


async def place_order(command: PlaceOrder, uow: AbstractUnitOfWork) -> None:
    """Accept an order with all its lines; the same one again changes nothing."""
    order = Order(command.orderid, command.lines, command.customer)
    known = await uow.orders.get(command.orderid)
    if known == order:
        return
    if known is not None and known.cancelled:
        raise OrderCancelled(command.orderid)
    if known is not None:
        raise OrderConflict(command.orderid, "was placed with other lines or by another")
    if await uow.orders.lines(command.orderid):
        raise OrderConflict(command.orderid, "has lines that were allocated one by one")
    if command.customer is not None and await uow.orders.customer(command.customer) is None:
        raise UnknownCustomer(command.customer)
    unknown = await uow.orders.unknown(line.sku for line in command.lines)
    if unknown is not None:
        raise InvalidSku(unknown)
    uow.changes.place(order)


async def cancel_order(command: CancelOrder, uow: AbstractUnitOfWork) -> None:
    """Cancel an order, for good, and every line of it; once more changes nothing."""
    order, lines = await uow.orders.get(command.orderid), await uow.orders.lines(command.orderid)
    if order is None and not lines:
        raise UnknownOrder(command.orderid)
    if (sku := await uow.orders.gave_vials(command.orderid)) is not None:
        raise vials_taken_from(command.orderid, sku)
    if lines or not (order is None or order.cancelled):
        uow.changes.cancel(command.orderid, lines)


# Events


async def reallocate(event: Deallocated, uow: AbstractUnitOfWork) -> None:
    """Find another batch for a displaced line, or else let it wait."""
    line = OrderLine(event.orderid, event.sku, event.qty)
    product = await _product(event.sku, uow)
    ref = product.allocate(line)
    if ref is None:
        product.back_order(line)
    elif ref != event.batchref:  # there may be room for it where it was, if not for others
        _write_that_it_comes("has been moved to another delivery", line, ref, product, uow)


async def fill_back_orders(
    message: BatchCreated | BatchQuantityChanged | LineCancelled | FillBackOrders,
    uow: AbstractUnitOfWork,
) -> None:
    """Give what has come free to those who wait, in steps, since all of them may do."""
    product = await _product(message.sku, uow)
    uow.steps.append(_filling_back_orders(product))


def _filling_back_orders(product: Product) -> Iterator[None]:
    while not product.fill_back_orders(BACK_ORDERS_PER_STEP):
        yield


async def publish_allocated_event(event: Allocated, uow: AbstractUnitOfWork) -> None:
    """Tell other systems of an allocation."""
    uow.outgoing.publish(
        "line_allocated",
        {
            "orderid": event.orderid,
            "sku": event.sku,
            "qty": event.qty,
            "batchref": event.batchref,
        },
    )


async def add_allocation_to_read_model(event: Allocated, uow: AbstractUnitOfWork) -> None:
    """Show an allocation to those who ask for an order."""
    uow.changes.allocations_view.add((event.sku, event.orderid), event.batchref)


async def remove_allocation_from_read_model(
    event: Deallocated | LineCancelled, uow: AbstractUnitOfWork
) -> None:
    """Show an allocation no more."""
    uow.changes.allocations_view.remove((event.sku, event.orderid))


async def send_out_of_stock_notification(event: OutOfStock, uow: AbstractUnitOfWork) -> None:
    """Write to the stock team that something is missing."""
    uow.outgoing.mail_stock_team(f"Out of stock for {event.sku}")


async def send_back_order_filled_notification(
    event: BackOrderFilled, uow: AbstractUnitOfWork
) -> None:
    """Write to the stock team, and to the customer, that a line waits no more."""
    uow.outgoing.mail_stock_team(
        f"Back-order filled: {event.qty} {event.sku} for order {event.orderid}, "
        f"from batch {event.batchref}"
    )
    line = OrderLine(event.orderid, event.sku, event.qty)
    product = await _product(event.sku, uow)
    _write_that_it_comes("has come in for you", line, event.batchref, product, uow)


async def send_back_ordered_notification(event: BackOrdered, uow: AbstractUnitOfWork) -> None:
    """Write to the customer that a line has to wait."""
    uow.outgoing.mail_customer(
        event.orderid,
        f"{event.qty} {event.sku} is out of stock. It is on back-order for you, and we write "
        "again when it comes in.",
    )


async def _product(sku: Sku, uow: AbstractUnitOfWork) -> Product:
    product = await uow.products.get(sku)
    if product is None:
        raise InvalidSku(sku)
    return product


async def _product_of(ref: BatchRef, uow: AbstractUnitOfWork) -> Product:
    product = await uow.products.get_by_batchref(ref)
    if product is None:
        raise UnknownBatch(ref)
    return product


def _write_that_it_comes(
    what: str, line: OrderLine, ref: BatchRef, product: Product, uow: AbstractUnitOfWork
) -> None:
    batch = product.batch(ref)
    assert batch is not None, "a line was allocated to it"
    when = "now" if batch.eta is None else f"on {batch.eta:%d %B %Y}"
    uow.outgoing.mail_customer(
        line.orderid, f"{line.qty} {line.sku} {what}. Expected in our warehouse: {when}."
    )


Handler: TypeAlias = Callable[[Any, AbstractUnitOfWork], Awaitable[Any]]
"""Takes a message of the type under which it stands in a table."""

COMMAND_HANDLERS: Mapping[type, Handler] = {
    CreateBatch: add_batch,
    Allocate: allocate,
    ReportUnknown: report_unknown,
    ChangeBatchQuantity: change_batch_quantity,
    ChangeBatchEta: change_batch_eta,
    ReceiveBatch: receive_batch,
    FillLine: fill_line,
    CancelLine: cancel_line,
    LoadVials: load_vials,
    UnloadVials: unload_vials,
    FillBackOrders: fill_back_orders,
    ImportBatches: import_batches,
    CheckBatches: check_batches,
    RegisterCustomer: register_customer,
    PlaceOrder: place_order,
    CancelOrder: cancel_order,
}

EVENT_HANDLERS: Mapping[type, tuple[Handler, ...]] = {
    Allocated: (publish_allocated_event, add_allocation_to_read_model),
    Deallocated: (remove_allocation_from_read_model, reallocate),
    OutOfStock: (send_out_of_stock_notification,),
    BackOrdered: (send_back_ordered_notification,),
    BackOrderFilled: (send_back_order_filled_notification,),
    LineCancelled: (remove_allocation_from_read_model, fill_back_orders),
    BatchCreated: (fill_back_orders,),
    BatchQuantityChanged: (fill_back_orders,),
    BatchShrinking: (),
    BatchRescheduled: (),
    VialsLoaded: (),
    VialsUnloaded: (),
}

"""What may be sent to the stock over HTTP: each body is a command, where it fits."""

from contextlib import suppress
from datetime import date
from typing import Annotated, Literal, TypeVar

import trio
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from scentrt.actors.vial_desk import Load, Unload
from scentrt.domain.commands import (
    MOST_BATCHES,
    Allocate,
    ChangeBatchEta,
    ChangeBatchQuantity,
    CreateBatch,
    PlaceOrder,
    RegisterCustomer,
)
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.model import OrderLine
from scentrt.domain.names import LARGEST_QUANTITY, BatchRef, CustomerName, OrderId, Sku
from scentrt.domain.orders import MOST_LINES
from scentrt.domain.seat_settings import (
    LEAST_GAIN,
    MOST_AVERSIONS,
    MOST_DELAY_MS,
    MOST_GAIN,
    SeatChange,
)
from scentrt.domain.vials import Whereabouts
from scentrt.entrypoints.gateway.messages import LONGEST_SCENT

BodyT = TypeVar("BodyT", bound="Body")

_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_NAME = StringConstraints(min_length=1, max_length=255, pattern=rf"^[^\s{_CONTROL}][^{_CONTROL}]*$")
"""One line of text that begins with no space: what can stand in a URL, a log and a subject."""


def _iso_date(value: object) -> date:
    # Pydantic takes seconds since 1970 as well, in quotes, and a year would be some of them.
    with suppress(ValueError):
        if isinstance(value, str):
            return date.fromisoformat(value)
    raise PydanticCustomError("iso_date", "Input should be an ISO date, like 2026-03-02")


Eta = Annotated[
    date,
    PlainValidator(_iso_date),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-03-02"]}),
]
Stocked = Annotated[int, Field(ge=0, le=LARGEST_QUANTITY, examples=[100])]
Ordered = Annotated[int, Field(ge=1, le=LARGEST_QUANTITY, examples=[10])]
RefName = Annotated[BatchRef, _NAME, Field(examples=["batch-001"])]
SkuName = Annotated[Sku, _NAME, Field(examples=["SEA-BREEZE"])]
OrderName = Annotated[OrderId, _NAME, Field(examples=["order-17"])]
Customer = Annotated[CustomerName, _NAME, Field(examples=["Roxy Cinema"])]
Address = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=1_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
    ),
    Field(examples=["7 Fleet Street, London"]),
]
Email = Annotated[
    str,
    StringConstraints(max_length=254, pattern=r"^[^\s@]+@[^\s@]+$"),
    Field(examples=["box-office@roxy.example"]),
]
ZoneName = Annotated[ZoneId, StringConstraints(min_length=1, max_length=32), Field(examples=["A"])]
SeatName = Annotated[SeatId, StringConstraints(min_length=1, max_length=64)]
SeatNames = Annotated[
    tuple[SeatName, ...], Field(min_length=1, max_length=10_000, examples=[["A-1-3"]])
]


OptedOut = Annotated[bool, Field(description="No scents at all", examples=[False])]
AverseTo = Annotated[
    frozenset[Annotated[Scent, StringConstraints(min_length=1, max_length=LONGEST_SCENT)]],
    Field(max_length=MOST_AVERSIONS, description="None of these", examples=[["nightclub"]]),
]
Gain = Annotated[
    float,
    Field(ge=LEAST_GAIN, le=MOST_GAIN, description="How much stronger than asked", examples=[1.2]),
]
DelayMs = Annotated[
    float,
    Field(ge=0, le=MOST_DELAY_MS, description="How much later than due", examples=[150]),
]


class Body(BaseModel):
    """A JSON object of these fields and no others, and each of just its type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NewBatch(Body):
    """A batch in the warehouse or, with an ETA, on its way."""

    ref: RefName
    sku: SkuName
    qty: Stocked
    eta: Eta | None = None

    def command(self) -> CreateBatch:
        """Return what is asked."""
        return CreateBatch(self.ref, self.sku, self.qty, self.eta)


class NewBatches(Body):
    """Batches of whatever products, as they stand on a delivery note."""

    batches: Annotated[tuple[NewBatch, ...], Field(min_length=1, max_length=MOST_BATCHES)]

    def commands(self) -> tuple[CreateBatch, ...]:
        """Return what is asked of each."""
        return tuple(batch.command() for batch in self.batches)


class NewLine(Body):
    """A line of an order."""

    orderid: OrderName
    sku: SkuName
    qty: Ordered

    def command(self) -> Allocate:
        """Return what is asked."""
        return Allocate(self.orderid, self.sku, self.qty)


class NewQuantity(Body):
    """How many a batch has."""

    qty: Stocked

    def command(self, ref: BatchRef) -> ChangeBatchQuantity:
        """Return what is asked."""
        return ChangeBatchQuantity(ref, self.qty)


class NewEta(Body):
    """When a batch arrives; null if it has."""

    eta: Eta | None

    def command(self, ref: BatchRef) -> ChangeBatchEta:
        """Return what is asked."""
        return ChangeBatchEta(ref, self.eta)


class OrderedLine(Body):
    """So many of one product."""

    sku: SkuName
    qty: Ordered


class NewOrder(Body):
    """Lines of different products; its customer, where one is told, is written to."""

    orderid: OrderName
    lines: Annotated[tuple[OrderedLine, ...], Field(min_length=1, max_length=MOST_LINES)]
    customer: Customer | None = None

    def command(self) -> PlaceOrder:
        """Return what is asked."""
        lines = tuple(OrderLine(self.orderid, line.sku, line.qty) for line in self.lines)
        return PlaceOrder(self.orderid, lines, self.customer)


class NewCustomer(Body):
    """Somebody who places orders, and is written to about them."""

    name: Customer
    address: Address
    email: Email

    def command(self) -> RegisterCustomer:
        """Return what is asked."""
        return RegisterCustomer(self.name, self.address, self.email)


class LoadWish(Body):
    """Vials of an order, and where they are to stand."""

    orderid: OrderName
    sku: SkuName
    zone: ZoneName
    seats: SeatNames | None = None
    most: Annotated[int, Field(ge=1, le=LARGEST_QUANTITY)] | None = None

    def wish(self) -> Load:
        """Return what is asked."""
        return Load(self.orderid, self.sku, self.zone, self.seats, self.most)


class UnloadWish(Body):
    """Vials of a zone, all or those that the rest lets through, and where they are to go."""

    zone: ZoneName
    to: Annotated[Literal["return", "discard"], Field(examples=["return"])]
    seats: SeatNames | None = None
    scent: Annotated[Scent, StringConstraints(min_length=1, max_length=64)] | None = None
    slot: Annotated[int, Field(ge=0, le=255)] | None = None
    below_percent: Annotated[float, Field(gt=0, le=100)] | None = None

    def wish(self) -> Unload:
        """Return what is asked."""
        to = Whereabouts.RETURNED if self.to == "return" else Whereabouts.DISCARDED
        return Unload(self.zone, to, self.seats, self.scent, self.slot, self.below_percent)


class NewSettings(Body):
    """All that can be set for a seat."""

    opted_out: OptedOut
    averse_to: AverseTo
    gain: Gain
    delay_ms: DelayMs

    def change(self) -> SeatChange:
        """Return what is asked."""
        return SeatChange(self.opted_out, self.averse_to, self.gain, self.delay_ms)


class SettingsChange(Body):
    """Some of what can be set for a seat."""

    opted_out: OptedOut | None = None
    averse_to: AverseTo | None = None
    gain: Gain | None = None
    delay_ms: DelayMs | None = None

    def change(self) -> SeatChange:
        """Return what is asked."""
        return SeatChange(self.opted_out, self.averse_to, self.gain, self.delay_ms)


BODIES = (
    NewBatch,
    NewBatches,
    NewLine,
    NewQuantity,
    NewEta,
    NewOrder,
    NewCustomer,
    LoadWish,
    UnloadWish,
    NewSettings,
    SettingsChange,
)


async def refuse_other_queries(request: Request) -> None:
    """Raise `RequestValidationError` for a query that a route does not know.

    Where `dry_run` is misspelt, nobody wants the batches to come.
    """
    if not request.scope["query_string"]:
        return
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    only = f"There is only: {', '.join(sorted(known))}" if known else "There is none here"
    what = {"type": "extra_forbidden", "msg": only}
    if others := [name for name in request.query_params if name not in known]:
        raise RequestValidationError([{**what, "loc": ("query", name)} for name in others])


async def read(body: type[BodyT], request: Request) -> BodyT:
    """Return the body of a request, parsed and validated in one go.

    Raises `RequestValidationError`, which says where it does not fit. JSON has to be called JSON:
    a browser lets any page send other types to anybody, and asks before it sends this one.
    """
    return _parse(body, await json_of(request))


async def read_batches(request: Request) -> tuple[CreateBatch, ...]:
    """Read `NewBatches`, as `read` does; in a thread, since thousands take ten milliseconds."""
    sent = await json_of(request)
    return await trio.to_thread.run_sync(lambda: _parse(NewBatches, sent).commands())


async def json_of(request: Request) -> bytes:
    """Return the body of a request that calls it JSON; raises `RequestValidationError`.

    So does a query that the route does not know.
    """
    await refuse_other_queries(request)
    if not _is_json(request.headers.get("content-type", "")):
        what = {"type": "content_type", "msg": "Send JSON, with Content-Type: application/json"}
        raise RequestValidationError([{**what, "loc": ("header", "content-type")}])
    return await request.body()


def _parse(body: type[BodyT], sent: bytes) -> BodyT:
    try:
        return body.model_validate_json(sent)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
        ) from error


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )

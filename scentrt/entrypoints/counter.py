"""The counter: what a command asks of the stock of a server that runs, over HTTP."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

import trio

from scentrt.actors.seat_desk import SeatCard
from scentrt.actors.vial_desk import Load, Unload
from scentrt.domain.commands import (
    Allocate,
    CheckBatches,
    Command,
    CreateBatch,
    ImportBatches,
    ReceiveBatch,
)
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.seat_settings import SeatChange, SeatSettings
from scentrt.domain.vials import Loaded, Place, SeatedVial, Whereabouts
from scentrt.entrypoints.cue_list import BadCueList, CueFault
from scentrt.entrypoints.desk import EVERYWHERE
from scentrt.entrypoints.forecast_answer import Outlook
from scentrt.errors import (
    ConfigError,
    DatabaseInUse,
    ImportConflict,
    StockError,
    StoreUnavailable,
)

ANSWERED_WITHIN_S = 30.0
"""An import takes less than a second, and on a machine with other things to do some more."""

R = TypeVar("R")


class _Answer(NamedTuple):
    status: int
    body: Any


class Counter:
    """An `Owner` in front of the server that holds a database; `in_use` is what says that it does.

    It is a `SeatKeeper` of that server too. `in_use` is None for what is not in any database, so
    that nothing else is expected to run.

    Errors are those of the server. Raises also `ConfigError`, where no server answers at the
    address or the token does not do.
    """

    def __init__(
        self, host: str, port: int, token: str | None, in_use: DatabaseInUse | None
    ) -> None:
        self._host = EVERYWHERE.get(host, host)
        self._port = port
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._in_use = in_use

    async def handle(self, command: Command[R]) -> R:
        """Have a command carried out; see `service_layer.messagebus.Owner`."""
        asked: Command[Any] = command
        answer: Any = None
        match asked:
            case CreateBatch():
                await self._ask("POST", "/add_batch", _told(asked))
            case ReceiveBatch(ref):
                await self._ask("POST", f"/batches/{quote(ref, safe='')}/receive")
            case Allocate(orderid, sku, qty):
                line = {"orderid": orderid, "sku": sku, "qty": qty}
                await self._ask("POST", "/allocate", line)
                answer = await self._batch_of(orderid, sku)
            case CheckBatches(batches):
                answer = await self._hand_in("/batches?dry_run=true", batches)
            case ImportBatches(batches):
                answer = await self._hand_in("/batches", batches)
            case _:
                raise TypeError(f"{command} is not asked over HTTP")
        return cast(R, answer)

    async def forecast(self, cues: bytes) -> Outlook:
        """Have a cue list, as it is sent, held against the seats; raises `BadCueList` too."""
        request = partial(self._request, "POST", "/forecast", cues)
        answer = await trio.to_thread.run_sync(request, abandon_on_cancel=True)
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise BadCueList(*(CueFault.at(it["loc"], it["msg"]) for it in answer.body["detail"]))
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _error(answer)
        return Outlook.model_validate(answer.body)

    async def load(self, wish: Load) -> Loaded:
        """Load vials; see `actors.vial_desk.VialKeeper`."""
        asked = {
            "orderid": wish.orderid,
            "sku": wish.sku,
            "zone": wish.zone,
            "seats": wish.seats,
            "most": wish.most,
        }
        return await self._learn(_loaded, "POST", "/vials/load", asked)

    async def unload(self, wish: Unload) -> tuple[SeatedVial, ...]:
        """Unload vials; see `actors.vial_desk.VialKeeper`."""
        asked = {
            "zone": wish.zone,
            "to": "return" if wish.to is Whereabouts.RETURNED else "discard",
            "seats": wish.seats,
            "scent": wish.scent,
            "slot": wish.slot,
            "below_percent": wish.below_percent,
        }
        return await self._learn(_vials_in, "POST", "/vials/unload", asked)

    async def journal(self, zone: ZoneId, after: int = 0) -> Any:
        """Return a page of a zone's cue journal, from after a line on, as HTTP tells it."""
        path = f"/journal?zone={quote(zone, safe='')}&after={after}"
        return (await self._ask("GET", path)).body

    async def read(self, seat: SeatId) -> SeatCard:
        """Return what is set for a seat; see `actors.seat_desk.SeatKeeper`."""
        return await self._learn(_card, "GET", _path(seat))

    async def page(self, after: SeatId, most: int) -> Sequence[SeatCard]:
        """Return the seats that come after one; see `actors.seat_desk.SeatKeeper`."""
        path = f"/seats?limit={most}&after={quote(after, safe='')}"
        return await self._learn(_cards, "GET", path)

    async def change(self, seat: SeatId, change: SeatChange) -> SeatCard:
        """Set something for a seat; see `actors.seat_desk.SeatKeeper`."""
        averse_to = None if change.averse_to is None else sorted(change.averse_to)
        asked = {
            "opted_out": change.opted_out,
            "averse_to": averse_to,
            "gain": change.gain,
            "delay_ms": change.delay_ms,
        }
        return await self._learn(_card, "PATCH", _path(seat), asked)

    async def _batch_of(self, orderid: str, sku: str) -> str | None:
        path = f"/allocations/{quote(orderid, safe='')}"
        status, lines = await self._ask("GET", path, none_is_404=True)
        if status == HTTPStatus.NOT_FOUND:
            return None
        return next((line["batchref"] for line in lines if line["sku"] == sku), None)

    async def _hand_in(self, path: str, batches: Sequence[CreateBatch]) -> int:
        told = {"batches": [_told(batch) for batch in batches]}
        return await self._learn(lambda body: int(body["new"]), "POST", path, told)

    async def _learn(
        self, read: Callable[[Any], R], method: str, path: str, body: object = None
    ) -> R:
        """Ask something, and read what is answered."""
        answer = await self._ask(method, path, body)
        try:
            return read(answer.body)
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                "--http",
                f"what answers at {self._host}:{self._port} is no ScentRT, or another version; "
                "name where the server listens",
            ) from error

    async def _ask(
        self, method: str, path: str, body: object = None, *, none_is_404: bool = False
    ) -> _Answer:
        request = partial(self._request, method, path, body)
        answer = await trio.to_thread.run_sync(request, abandon_on_cancel=True)
        is_none = none_is_404 and answer.status == HTTPStatus.NOT_FOUND
        if answer.status >= HTTPStatus.BAD_REQUEST and not is_none:
            raise _error(answer)
        return answer

    def _request(self, method: str, path: str, body: object) -> _Answer:
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with closing(HTTPConnection(self._host, self._port, timeout=ANSWERED_WITHIN_S)) as server:
            try:
                server.connect()
            except OSError as error:
                if self._in_use is None:
                    raise ConfigError(
                        "--http",
                        f"no server answers at {self._host}:{self._port}; start one with scentrt "
                        "serve, or name where it listens",
                    ) from error
                raise ConfigError(
                    self._in_use.where,
                    f"{self._in_use.problem}; nor does that server answer at {self._host}:"
                    f"{self._port}: name where it listens with --http HOST:PORT",
                ) from error
            try:
                server.request(method, path, sent, self._headers)
                answer = server.getresponse()
                said = answer.read()
            except (OSError, HTTPException) as error:
                raise StoreUnavailable(
                    "the server has not answered, and may have done it or not; the same command "
                    "once more changes nothing that is done already"
                ) from error
        try:
            return _Answer(answer.status, json.loads(said))
        except ValueError:
            return _Answer(answer.status, said.decode(errors="replace"))


def _told(batch: CreateBatch) -> dict[str, object]:
    eta = None if batch.eta is None else batch.eta.isoformat()
    return {"ref": batch.ref, "sku": batch.sku, "qty": batch.qty, "eta": eta}


def _vials_in(body: Any) -> tuple[SeatedVial, ...]:
    return tuple(
        SeatedVial(
            vial["id"],
            Place(vial["zone"], vial["seat"], vial["slot"]),
            vial["sku"],
            vial["batchref"],
            round(vial["capacity_s"] * US_PER_S),
            round(vial["remaining_s"] * US_PER_S),
        )
        for vial in body["vials"]
    )


def _loaded(body: Any) -> Loaded:
    return Loaded(_vials_in(body), body["left"])


def _path(seat: SeatId) -> str:
    return f"/seats/{quote(seat, safe='')}"


def _card(seat: dict[str, Any]) -> SeatCard:
    settings = SeatSettings(
        seat["opted_out"], frozenset(seat["averse_to"]), seat["gain"], seat["delay_ms"]
    )
    return SeatCard(ZoneId(seat["zone"]), SeatId(seat["seat"]), settings)


def _cards(body: Any) -> list[SeatCard]:
    return [_card(seat) for seat in body["seats"]]


def _error(answer: _Answer) -> Exception:
    said = answer.body if isinstance(answer.body, dict) else {}
    message = str(said.get("message") or f"the server answers {answer.status}: {answer.body}")
    match answer.status:
        case HTTPStatus.CONFLICT if refs := said.get("refs"):
            return ImportConflict(refs)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return ConfigError("--token", f"does not do at the server: {message}")
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return StockError(f"{message}; split it")
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return StoreUnavailable(message)
        case _:
            return StockError(message)

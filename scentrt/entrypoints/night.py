"""The demo's night in the stock room: vials are loaded, run low, and are ordered again.

Nobody is told when to do what. The stock hand looks at the zone as any client may, and does over
HTTP what a stock hand and an usher do: a refill that is in the warehouse is brought to the seats,
and where there is none, a lorry comes.
"""

import logging
from collections import Counter as Count
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from scentrt.actors.vial_desk import Load, Unload
from scentrt.domain.commands import Allocate, CreateBatch
from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.refills import RefillStatus
from scentrt.domain.vials import Catalogue, VialKind, Whereabouts
from scentrt.entrypoints.counter import Counter

if TYPE_CHECKING:
    from simulators.client import Client, Message

ZONE = ZoneId("A")

SHELVES = (
    # What a vial holds in dose-seconds, and how many of them are in the warehouse. The game's walk
    # begins in the forest and takes about one dose-second of each scent from each seat, so the two
    # that it comes to first run dry within ten seconds; of the second, nothing is left then.
    ("FOREST", "forest", 0.62, 96),
    ("JUNGLE", "jungle", 0.65, 24),
    ("BUSYSTREET", "busy-street", 1.6, 48),
    ("NIGHTCLUB", "nightclub", 1.8, 48),
    ("SEABREEZE", "sea-breeze", 2.0, 48),
)

CATALOGUE = Catalogue(
    VialKind(Sku(sku), Scent(scent), round(holds_s * US_PER_S))
    for sku, scent, holds_s, _ in SHELVES
)

LORRY_BRINGS = 48
LORRY_AFTER_S = 3.0
USHER_AFTER_S = 2.0
LOOKS_PER_S = 4

LATEST = 4
"""So many of the latest news are listed."""

JOURNAL_WITHIN_S = 6.0
JOURNAL_QUIET_S = 1.5
"""The journal is written once a second: when nothing has come for so long, it is complete."""


@dataclass(slots=True)
class Books:
    """What came of the night so far.

    `supply` and `refills` are as the state of the zone tells them, by scent; `released_s` are the
    dose-seconds of the journal.
    """

    supply: "dict[str, Message]" = field(default_factory=dict)
    refills: "dict[str, Message]" = field(default_factory=dict)
    news: deque[str] = field(default_factory=lambda: deque(maxlen=LATEST))
    vials: int = 0
    ordered: set[str] = field(default_factory=set)
    letters: list[str] = field(default_factory=list)
    released_s: Count[str] = field(default_factory=Count)


class Night:
    """The stock room through one night.

    Args:
      counter: the way to the server's stock, over HTTP.
      tell: told of all that happens, in a sentence.
    """

    def __init__(self, counter: Counter, tell: Callable[[str], None]) -> None:
        self.books = Books()
        self._counter = counter
        self._tell_others = tell
        self._batches: Count[str] = Count()

    async def open(self) -> None:
        """Receive what is on the shelves, order a vial for each slot of the zone, and load it."""
        async with trio.open_nursery() as hands:
            for sku, _, _, qty in SHELVES:
                hands.start_soon(self._stock_up, Sku(sku), qty)

    async def keep(self, client: "Client") -> None:
        """Look at the zone, and do about its refills what there is to do, until cancelled."""
        in_hand: set[tuple[str, str]] = set()
        async with trio.open_nursery() as hands:
            while True:
                state = await client.request({"type": "state", "zone": ZONE})
                self.books.supply = _by_scent(state.get("supply", ()))
                refills = _by_scent(state.get("refills", ()))
                self._tell_of(refills)
                self.books.refills = refills
                for refill in refills.values():
                    errand = refill["orderid"], refill["status"]
                    if errand not in in_hand:
                        in_hand.add(errand)
                        hands.start_soon(self._see_to, refill)
                await trio.sleep(1 / LOOKS_PER_S)

    async def read_journal(self) -> None:
        """Add up what was released in the zone, once the journal is complete; take no longer."""
        last = 0
        with trio.move_on_after(JOURNAL_WITHIN_S):
            while True:
                page = await self._counter.journal(ZONE, after=last)
                for line in page["releases"]:
                    last = line["id"]
                    self.books.released_s[line["scent"]] += line["dose_s"]
                if page["next"] is None:
                    if last and not page["releases"]:
                        return
                    await trio.sleep(JOURNAL_QUIET_S)

    @contextmanager
    def letters(self) -> Iterator[None]:
        """Hear of each letter that is sent while the block lasts: this server has them logged."""
        log = logging.getLogger("scentrt.adapters.notifications")
        postbox = _Postbox(self._take_letter)
        log.addHandler(postbox)
        level, log.propagate = log.level, False
        log.setLevel(logging.WARNING)
        try:
            yield
        finally:
            log.removeHandler(postbox)
            log.setLevel(level)
            log.propagate = True

    # What hands do

    async def _stock_up(self, sku: Sku, qty: int) -> None:
        orderid = OrderId(f"opening-{sku}")
        await self._receive(sku, qty)
        await self._counter.handle(Allocate(orderid, sku, 24))
        await self._load(orderid, sku)

    async def _load(self, orderid: OrderId, sku: Sku) -> int:
        loaded = len((await self._counter.load(Load(orderid, sku, ZONE))).vials)
        self.books.vials += loaded
        return loaded

    async def _receive(self, sku: Sku, qty: int) -> BatchRef:
        self._batches[sku] += 1
        ref = BatchRef(f"{sku.lower()}-{self._batches[sku]}")
        await self._counter.handle(CreateBatch(ref, sku, qty))
        return ref

    async def _see_to(self, refill: "Message") -> None:
        sku = Sku(refill["sku"])
        match refill["status"]:
            case RefillStatus.OUT_OF_STOCK:
                await trio.sleep(LORRY_AFTER_S)
                ref = await self._receive(sku, LORRY_BRINGS)
                self._tell(f"A lorry brings {LORRY_BRINGS} {sku}: batch {ref}.")
            case RefillStatus.ORDERED:
                await trio.sleep(USHER_AFTER_S)
                scent = Scent(refill["scent"])
                await self._counter.unload(
                    Unload(ZONE, Whereabouts.DISCARDED, scent=scent, below_percent=20)
                )
                loaded = await self._load(OrderId(refill["orderid"]), sku)
                self._tell(f"An usher loads {loaded} {sku} of {refill['orderid']}.")

    # What is told

    def _tell_of(self, refills: "dict[str, Message]") -> None:
        for scent in self.books.refills.keys() - refills.keys():
            self._tell(f"Zone {ZONE} has enough {scent} again.")
        for scent, refill in refills.items():
            sku, qty, orderid = refill["sku"], refill["qty"], refill["orderid"]
            before = self.books.refills.get(scent, {})
            if before.get("status") == refill["status"]:
                continue
            match refill["status"]:
                case RefillStatus.ORDERED:
                    self.books.ordered.add(orderid)
                    ref = refill["batchref"]
                    self._tell(f"Zone {ZONE} orders {qty} {sku}: {orderid}, of batch {ref}.")
                case RefillStatus.OUT_OF_STOCK:
                    self._tell(f"Zone {ZONE} wants {qty} {sku}, and none is left.")

    def _take_letter(self, to: str, body: str) -> None:
        self.books.letters.append(body)
        self._tell(f"Mail to {to}: {body}.")

    def _tell(self, news: str) -> None:
        self.books.news.append(news)
        self._tell_others(news)


class _Postbox(logging.Handler):
    def __init__(self, take: Callable[[str, str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        match record.args:
            case (str(to), str(body), _):
                self._take(to, body)


def _by_scent(told: "Iterable[Message]") -> "dict[str, Message]":
    return {each["scent"]: each for each in told}

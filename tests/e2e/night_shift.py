"""A night that may end at any moment: what was asked of its server, and what must be on disk then.

Everything is asked one after the other, each thing when the last has been answered. So at the end
there is one request at most of which nobody knows whether it was done, and all cues have an order.
What `NightShift.check` holds the disk to:

- Vials, batches and order lines that were acknowledged are there; no two vials stand in one slot,
  and no line has given more vials than it has. `scentrt db check` finds nothing.
- The levels know of all cues up to one of them and of none after it, in every vial alike: they are
  written together. So does the journal, which has each cue once and with its whole dose.
- The first cue that they do not know of was asked for within about a second before the kill: they
  are handed on once a second, and then have to be written.
- What is in a vial that is thrown away is written with that, and so is exact. The journal may then
  lack cues which that level knows of: what vials gave beyond the journal is never more than the
  doses of cues that the journal has lost.
- A scent has one refill in need at most, and what is ordered under a refill's name was wanted
  before, in that number and once.
"""

import random
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import trio

from scentrt.adapters.database_check import check_file
from simulators.client import Client
from tests.e2e.shop import Shop

SCENTS = {"sea-breeze": ("SEABREEZE", "SEABREEZE-ECO"), "forest": ("FOREST",)}
SEATS = ("A-1-1", "A-1-2", "A-2-1", "A-2-2")
CAPACITY_US = 60_000

THEATRE = 'name = "Small"\n[[zones]]\nid = "A"\nrows = 2\nseats_per_row = 2\n' + (
    f"slots = {list(SCENTS)}\n".replace("'", '"')
    + "".join(
        f'[[products]]\nsku = "{sku}"\nscent = "{scent}"\ncapacity_s = {CAPACITY_US / 1e6}\n'
        for scent, skus in SCENTS.items()
        for sku in skus
    )
)
LIMITS = {
    "SCENTRT_LIMITS__DOSE_PER_MINUTE_S": "60",
    "SCENTRT_LIMITS__DOSE_PER_HOUR_S": "3600",
    "SCENTRT_LIMITS__CLEARING_S": "0",
}

TICK_S = 1.0
"""Levels and the journal are handed on so often."""

OVER_BY_S = 0.05
"""After so long a cue of a few milliseconds is over also where the server is slow."""

Where: TypeAlias = tuple[str, str]
"""A seat and a scent, of which it has one slot."""

LineKey: TypeAlias = tuple[str, str]
"""An order and a SKU."""


class Cue(NamedTuple):
    """A cue that took from a slot: `vial` is None where none stood there."""

    id: str
    at_s: float
    vial: int | None
    dose_us: int


class Row(NamedTuple):
    """A vial as it is on disk."""

    sku: str
    orderid: str
    batchref: str
    seat: str
    slot: int
    whereabouts: str
    left_us: int


@dataclass(slots=True)
class Disk:
    """What a database holds, read by SQLite itself."""

    vials: dict[int, Row]
    refills: list[tuple[str, str, str, int, str]]  # order, scent, SKU, quantity, status
    lines: dict[LineKey, int]
    batches: dict[str, int]
    journal: dict[str, int]
    journal_us: int


def read(path: Path) -> Disk:
    """Read what is on disk."""
    with closing(sqlite3.connect(path)) as connection:
        select = connection.execute
        journal: defaultdict[str, int] = defaultdict(int)
        of_vials_us = 0
        for cue, sku, dose_us in select(
            "SELECT json_extract(cue, '$'), sku, dose_us FROM releases"
        ):
            journal[cue] += dose_us
            of_vials_us += dose_us if sku is not None else 0
        return Disk(
            {
                id: Row(*row)
                for id, *row in select(
                    "SELECT id, sku, orderid, batchref, seat, slot, whereabouts, left_us FROM vials"
                )
            },
            [*select("SELECT orderid, scent, sku, qty, status FROM refills")],
            {
                (order, sku): q
                for order, sku, q in select("SELECT orderid, sku, qty FROM order_lines")
            },
            dict(select("SELECT reference, purchased_quantity FROM batches")),
            dict(journal),
            of_vials_us,
        )


@dataclass(slots=True)
class Lost:
    """What a kill has cost: cues that levels and journal do not know, and the age of the first."""

    levels: int
    journal: int
    first_s: float
    allowed_s: float


@dataclass(slots=True)
class Nights:
    """What has been acknowledged in all nights so far."""

    vials: dict[int, Row] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    lines: dict[LineKey, int] = field(default_factory=dict)
    standing: dict[Where, int] = field(default_factory=dict)
    discarded: dict[int, int] = field(default_factory=dict)
    """What was left in vials that were thrown away, where it was acknowledged."""
    unjournaled_us: int = 0
    """What was taken from vials and is not in the journal: lost in the crashes so far."""
    counted: int = 0
    """Cues that took something, over all nights."""


class NightShift:
    """One night, and what it has done."""

    def __init__(self, name: str, nights: Nights, chance: random.Random) -> None:
        self.name = name
        self.cues: list[Cue] = []
        self.unanswered: Cue | None = None
        self.slowest_s = 0.0
        """How long the slowest change took that is on disk when it is answered."""
        self._nights = nights
        self._chance = chance
        self.asked = 0
        """How much was asked so far."""
        self._base = {id: row.left_us for id, row in nights.vials.items()}

    async def work(self, game: Client, shop: Shop) -> None:
        """Play, buy and load, until the server is gone."""
        if not self._nights.standing:
            for sku in ("SEABREEZE", "FOREST"):
                await self._buy_and_load(shop, sku)
        while True:
            match self._chance.randrange(40):
                case 0:
                    sku = self._chance.choice([sku for skus in SCENTS.values() for sku in skus])
                    await self._receive(shop, sku, self._chance.randint(1, 8))
                case 1 | 2:
                    await self._bring_refills(shop)
                case 3 if self._chance.randrange(4) == 0:
                    scent = self._chance.choice(list(SCENTS))
                    await self._throw_away(shop, scent, 60)
                    await self._buy_and_load(shop, SCENTS[scent][0])
                case _:
                    await self._play(game)

    async def _play(self, game: Client) -> None:
        seat, scent = self._chance.choice(SEATS), self._chance.choice(list(SCENTS))
        dose_us = self._chance.randrange(2_000, 8_000)  # hardly ever the same, so sums tell which
        cue = Cue(
            f"{self.name}.{self._next()}",
            trio.current_time(),
            self._nights.standing.get((seat, scent)),
            dose_us,
        )
        self.unanswered = cue
        answer = await game.cue(
            scent, {"seats": [seat]}, duration_ms=dose_us / 1000, mix=True, cue_id=cue.id
        )
        self.unanswered = None
        if answer["targets"]:
            self.cues.append(cue)

    async def _ask(self, shop: Shop, path: str, **body: Any) -> Any:
        await trio.sleep(OVER_BY_S)
        began = trio.current_time()
        answer = await shop.post(path, **body)
        self.slowest_s = max(self.slowest_s, trio.current_time() - began)
        assert answer.status_code < 300 or answer.status_code == 409, answer.text
        return answer.json() if answer.status_code < 300 else None

    async def _receive(self, shop: Shop, sku: str, qty: int) -> None:
        ref = f"b-{self.name}.{self._next()}"
        await self._ask(shop, "/add_batch", ref=ref, sku=sku, qty=qty, eta=None)
        self._nights.batches[ref] = qty

    async def _buy_and_load(self, shop: Shop, sku: str) -> None:
        orderid = f"o-{self.name}.{self._next()}"
        await self._receive(shop, sku, 4)
        await self._ask(shop, "/allocate", orderid=orderid, sku=sku, qty=4)
        if await shop.allocations(orderid):
            self._nights.lines[orderid, sku] = 4
            await self._load(shop, orderid, sku)

    async def _bring_refills(self, shop: Shop) -> None:
        refills = (await shop.get("/refills", zone="A", limit=1000)).json()["refills"]
        for refill in refills:
            if refill["status"] == "ordered":
                await self._throw_away(shop, refill["scent"], 20)
                await self._load(shop, refill["orderid"], refill["sku"])

    async def _load(self, shop: Shop, orderid: str, sku: str) -> None:
        loaded = await self._ask(shop, "/vials/load", orderid=orderid, sku=sku, zone="A")
        for vial in (loaded or {"vials": []})["vials"]:
            scent = next(scent for scent, skus in SCENTS.items() if sku in skus)
            row = Row(sku, orderid, vial["batchref"], vial["seat"], vial["slot"], "seated", 0)
            assert self._nights.vials.setdefault(vial["id"], row)[:5] == row[:5], "one id, one vial"
            self._base.setdefault(vial["id"], CAPACITY_US)
            self._nights.standing[vial["seat"], scent] = vial["id"]

    async def _throw_away(self, shop: Shop, scent: str, below: float) -> None:
        out = await self._ask(
            shop, "/vials/unload", zone="A", to="discard", scent=scent, below_percent=below
        )
        for vial in out["vials"]:
            del self._nights.standing[vial["seat"], scent]
            left_us = self._base[vial["id"]]
            left_us -= sum(cue.dose_us for cue in self.cues if cue.vial == vial["id"])
            assert round(vial["remaining_s"] * 1e6) == left_us
            self._nights.discarded[vial["id"]] = left_us

    def _next(self) -> int:
        self.asked += 1
        return self.asked

    # When the server was killed

    def check(self, path: Path, killed_s: float) -> Lost:
        """Compare with what is on disk, and take that for the truth from now on."""
        disk = read(path)
        assert list(check_file(path)) == []
        self._check_stock(disk)
        _check_refills(disk)
        asked = [*self.cues, *([self.unanswered] if self.unanswered else [])]
        kept = self._check_levels(disk, asked)
        written = self._check_journal(disk, asked)
        first = min(kept, written)
        lost = Lost(
            max(0, len(self.cues) - kept),
            max(0, len(self.cues) - written),
            killed_s - self.cues[first].at_s if first < len(self.cues) else 0.0,
            # Handed on after a tick, and on disk after a commit, which may have to wait for one
            # that is under way; a busy machine is as slow with these as with others.
            2 * TICK_S + 4 * self.slowest_s,
        )
        assert lost.first_s <= lost.allowed_s, lost
        self._nights.counted += len(self.cues)
        self._nights.vials = dict(disk.vials)
        self._nights.standing = {
            (row.seat, list(SCENTS)[row.slot]): id
            for id, row in disk.vials.items()
            if row.whereabouts == "seated"
        }
        return lost

    def _check_stock(self, disk: Disk) -> None:
        for id, row in self._nights.vials.items():
            assert disk.vials[id][:3] == row[:3]
        for id, left_us in self._nights.discarded.items():
            assert disk.vials[id].whereabouts == "discarded"
            assert disk.vials[id].left_us == left_us, "it is stored with the order to unload"
        assert disk.batches.items() >= self._nights.batches.items()
        assert disk.lines.items() >= self._nights.lines.items()
        seated = [row for row in disk.vials.values() if row.whereabouts == "seated"]
        assert len({(row.seat, row.slot) for row in seated}) == len(seated)
        for line, taken in Counter((r.orderid, r.sku) for r in disk.vials.values()).items():
            assert taken <= disk.lines[line]
        if self.unanswered is not None:  # so it was no order to unload that is in doubt
            for id in self._nights.standing.values():
                assert disk.vials[id].whereabouts == "seated"

    def _check_levels(self, disk: Disk, asked: list[Cue]) -> int:
        """Return how many of the cues the levels know of."""
        least, most = 0, len(asked)
        for id, row in disk.vials.items():
            base_us = self._base.get(id, CAPACITY_US)
            if row.whereabouts != "seated":
                continue
            mine = [(n, cue.dose_us) for n, cue in enumerate(asked) if cue.vial == id]
            left_us, known = base_us, 0
            while left_us > row.left_us and known < len(mine):
                left_us -= mine[known][1]
                known += 1
            assert left_us == row.left_us, f"vial {id}: {row.left_us} is not what any cue left"
            if known:
                least = max(least, mine[known - 1][0] + 1)
            if known < len(mine):
                most = min(most, mine[known][0])
        assert least <= most, "levels of one zone are of one moment"
        return most

    def _check_journal(self, disk: Disk, asked: list[Cue]) -> int:
        """Return how many of the cues the journal knows of."""
        known = [cue.id in disk.journal for cue in asked]
        written = sum(known)
        assert known == [True] * written + [False] * (len(known) - written)
        for cue in asked[:written]:
            assert disk.journal[cue.id] == cue.dose_us
        mine = [id for id in disk.journal if id.startswith(f"{self.name}.")]
        assert len(mine) == written, "nothing was released that nobody asked for"
        # What vials gave is in the journal, but for what was lost with it in a crash.
        taken_us = sum(CAPACITY_US - row.left_us for row in disk.vials.values())
        missing_us = taken_us - disk.journal_us - self._nights.unjournaled_us
        assert 0 <= missing_us <= sum(cue.dose_us for cue in asked[written:])
        self._nights.unjournaled_us += missing_us
        return written


def _check_refills(disk: Disk) -> None:
    of_scent: defaultdict[str, list[str]] = defaultdict(list)
    orders = {}
    for orderid, scent, sku, qty, status in disk.refills:
        orders[orderid, sku] = qty
        of_scent[scent].append(status)
    for statuses in of_scent.values():
        assert sum(status != "met" for status in statuses) <= 1
    ordered = {line: q for line, q in disk.lines.items() if line[0].startswith("refill-")}
    assert ordered.items() <= orders.items(), "what is ordered was first wanted"

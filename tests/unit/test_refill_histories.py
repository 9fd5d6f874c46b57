"""Whatever zones report, whatever fails and whenever the process dies: one refill for each need."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from trio.testing import MockClock

from scentrt.actors.refills import LAST_RETRY_S
from scentrt.domain.commands import CancelOrder, ChangeBatchQuantity, Command, CreateBatch
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.refills import RefillStatus
from scentrt.errors import ScentError
from tests.goods import SEA
from tests.memory_store import MemoryStore
from tests.memory_views import MemoryRefills
from tests.trio_host import TrioHost
from tests.unit.refill_office import BREEZE, ECO, A, B, Office, open_office, supply

zones = st.sampled_from([A, A, B])
skus = st.sampled_from([SEA, ECO])
BATCHES = {SEA: BatchRef("b-sea"), ECO: BatchRef("b-eco")}


class RefillHistories(RuleBasedStateMachine):
    """A clerk over actors and a store that fail.

    `low` is what each zone said last, `came` how many vials have been loaded there, and `needs` are
    those of which there is to be a refill.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStore()
        self.refills = MemoryRefills(self.memory.stock)
        self.low: dict[str, bool] = {}
        self.came: Counter[str] = Counter()
        self.needs: set[str] = set()
        # How many refills each zone has had, and how many vials had come at the last one.
        self.refills_of: Counter[str] = Counter()
        self.came_before: dict[str, int] = {}
        self.open_host()
        for sku, ref in BATCHES.items():
            self.ask(CreateBatch(ref, sku, 0))

    def open_host(self) -> None:
        self.host: TrioHost[Office] = TrioHost(self.open, MockClock(autojump_threshold=0))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Office]:
        async with open_office(self.memory, self.refills) as office:
            yield office

    def ask(self, command: Command[Any]) -> None:
        self.host.run(self.asked, command)

    async def asked(self, command: Command[Any]) -> None:
        with suppress(ScentError):  # it cannot be, or the database is away
            await self.host.context.stage.bus.handle(command)
        await self.host.context.settle()

    @rule(zone=zones, percent=st.sampled_from([0, 19, 20]), low=st.integers(1, 5))
    def report(self, zone: str, percent: int, low: int) -> None:
        """Say what is in the vials; where it is enough, others have been loaded."""
        self.low[zone] = percent < 20
        if self.low[zone]:
            self.needs.add(zone)
        else:
            self.came[zone] += 1
            self.needs.discard(zone)
        self.host.run(self.reported, zone, percent, low)

    async def reported(self, zone: str, percent: int, low: int) -> None:
        said = supply(percent, low=low, since=self.came[zone])
        self.host.context.clerk.report(A if zone == A else B, (said,))
        await self.host.context.settle()

    @rule(zone=zones)
    def take_back(self, zone: str) -> None:
        """A spray turns out to have reached nobody, so that there is enough again."""
        if self.low.get(zone):
            self.low[zone] = False
            is_known = any(row.zone == zone and row.is_open for row in self.refills.rows.values())
            if not is_known or self.came_before[zone] < self.came[zone]:
                self.needs.discard(zone)
            self.host.run(self.reported, zone, 20, 0)

    @rule(sku=skus, qty=st.sampled_from([0, 4, 12]))
    def change_stock(self, sku: Sku, qty: int) -> None:
        self.ask(ChangeBatchQuantity(BATCHES[sku], qty))

    @rule(zone=zones)
    def cancel(self, zone: str) -> None:
        for row in self.refills.rows.values():
            if row.zone == zone and row.is_open:
                self.ask(CancelOrder(row.refill.orderid))
                return

    @rule(zone=zones, stock=st.booleans(), puts=st.sampled_from([None, None, 0, 1, 2]))
    def fail(self, zone: str, stock: bool, puts: int | None) -> None:
        """As a zone runs dry, the stock takes nothing more, or the refills' store only so much."""
        self.report(zone, 20, 1)
        self.memory.writable, self.refills.puts_left = stock, puts
        self.report(zone, 0, 3)

    @rule()
    def crash(self) -> None:
        """The process dies as things stand, and another one begins; zones report anew."""
        self.host.close()
        self.memory.writable, self.refills.puts_left = True, None
        self.open_host()
        for zone, is_low in self.low.items():
            self.host.run(self.reported, zone, 0 if is_low else 80, 3)
        self.host.run(self.host.context.settle)

    @rule()
    def recover(self) -> None:
        """Everything works again for a while, and then every need is known and looked after."""
        self.memory.writable, self.refills.puts_left = True, None
        self.host.run(trio.sleep, 3 * LAST_RETRY_S)
        open_ones = {row.zone: row for row in self.refills.rows.values() if row.is_open}
        assert open_ones.keys() == self.needs
        for row in open_ones.values():
            assert row.refill.status is not RefillStatus.WANTED
            if row.refill.status is RefillStatus.OUT_OF_STOCK:
                assert all(room < row.refill.qty for room in self.room().values())

    def room(self) -> dict[Sku, int]:
        """Return what is not allocated of each product."""
        tables = self.memory.stock.tables
        room = {sku: tables.batches[ref].qty for sku, ref in BATCHES.items()}
        for key in tables.allocations:
            room[key[0]] -= tables.lines[key]
        return room

    @invariant()
    def there_is_one_refill_for_a_need(self) -> None:
        needs = [(row.zone, row.refill.scent) for row in self.refills.rows.values() if row.is_open]
        assert len(needs) == len(set(needs))
        assert {scent for _, scent in needs} <= {BREEZE}
        many = Counter(row.zone for row in self.refills.rows.values())
        for zone in many:
            if many[zone] > self.refills_of[zone]:
                assert many[zone] == self.refills_of[zone] + 1
                assert self.came_before.get(zone, -1) < self.came[zone], "no vials have come since"
                self.came_before[zone] = self.came[zone]
        self.refills_of = Counter(many)

    @invariant()
    def every_line_is_that_of_a_refill(self) -> None:
        rows = self.refills.rows
        for sku, orderid in self.memory.stock.tables.lines:
            assert rows[orderid].refill.sku == sku
            assert rows[orderid].refill.qty == self.memory.stock.tables.lines[sku, orderid]

    def teardown(self) -> None:
        self.memory.writable, self.refills.puts_left = True, None
        self.host.close()


@pytest.mark.soak
def test_promises_hold_in_every_history_of_refills() -> None:
    examples = settings().max_examples // 2
    run_state_machine_as_test(RefillHistories, settings=settings(max_examples=examples))

"""The judge of a house: what must hold at every moment of its history."""

from collections import Counter
from typing import TypeAlias

from hypothesis.stateful import invariant

from scentrt.domain.cues import Scent, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.refills import RefillStatus, ZoneRefill
from scentrt.domain.vials import DEFAULT_LOW, Place, Whereabouts
from tests.integration.house_on_trial.attempts import CATALOGUE, ZONES, Attempt
from tests.integration.house_on_trial.model import is_refill
from tests.integration.house_on_trial.trial import LIMITS, HouseOnTrial, Trouble
from tests.unit.promises import most_s

Need: TypeAlias = tuple[ZoneId, Scent]


class JudgedHouse(HouseOnTrial):
    """A house whose every step is judged."""

    def __init__(self) -> None:
        super().__init__()
        # How many refills there were for a need when it was counted, and where vials have been
        # loaded since the last of them was; and since it was counted, before or after another.
        self.refills: Counter[Need] = Counter()
        self.loaded: set[Need] = set()
        self.just_loaded: set[Need] = set()

    def perform(self, attempt: Attempt, trouble: Trouble) -> object:
        self.count_refills()
        before = self.facts.seated.keys()
        outcome = super().perform(attempt, trouble)
        for place in self.facts.seated.keys() - before:
            self.just_loaded.add((place.zone, CATALOGUE.scent(self.facts.seated[place][0])))
        return outcome

    def count_refills(self) -> None:
        """See that there is another refill only where vials have been loaded since the last."""
        many = Counter((row.zone, row.refill.scent) for row in self.archive.refills())
        for need in many:
            if many[need] > self.refills[need]:
                is_fed = need in self.loaded | self.just_loaded
                assert many[need] == 1 or is_fed, "no vials have come since the last"
                self.loaded.discard(need)
        self.refills = many
        self.loaded |= self.just_loaded
        self.just_loaded.clear()

    def judge_needs(self) -> None:
        """See that a refill is under way where one is needed, and nowhere else."""
        open_ones: dict[Need, ZoneRefill] = {}
        for row in self.archive.refills():
            if row.is_open:
                open_ones[row.zone, row.refill.scent] = row
                assert row.refill.status is not RefillStatus.WANTED
                if row.refill.status is RefillStatus.OUT_OF_STOCK:
                    for kind in CATALOGUE.of_scent(row.refill.scent):
                        assert all(room < row.refill.qty for room in self.rooms(kind.sku))
        for zone in ZONES.values():
            for supply in self.run(self.house.page, zone.id).supply:
                need = open_ones.get((zone.id, supply.scent))
                slots = zone.seats_per_row * zone.slots.count(supply.scent)
                if need is None:
                    assert not supply.is_below(DEFAULT_LOW)
                else:
                    assert not need.is_met_by(supply, slots, DEFAULT_LOW)

    def rooms(self, sku: Sku) -> list[int]:
        """Return how many each batch of a product has that are not allocated."""
        tables = self.tables
        rooms = {ref: batch.qty for ref, batch in tables.batches.items() if batch.sku == sku}
        for key, ref in tables.allocations.items():
            if key[0] == sku:
                rooms[ref] -= tables.lines[key]
        return list(rooms.values())

    # What must hold

    @invariant()
    def every_vial_of_a_batch_is_in_stock_in_a_seat_or_used_up(self) -> None:
        tables = self.tables
        taken = Counter((each.vial.sku, each.orderid) for each in tables.vials.values())
        assert all(many <= tables.lines[key] for key, many in taken.items())
        held: Counter[BatchRef] = Counter()
        for key, ref in tables.allocations.items():
            held[ref] += tables.lines[key] - taken[key]
        out = Counter(each.vial.batchref for each in tables.vials.values())
        for ref, (_, qty) in self.facts.batches.items():
            assert held[ref] + out[ref] <= qty
        places = [*tables.allocations, *tables.back_orders]
        assert Counter(places) == Counter(dict.fromkeys(tables.lines, 1))

    @invariant()
    def the_zones_know_which_vials_they_have_and_what_is_in_them(self) -> None:
        seated = {}
        for zone in ZONES:
            page = self.run(self.house.page, zone)
            for seat, _ in page.seats:
                for slot in seat.slots:
                    left_us = slot.left_us(self.now_ms)
                    if slot.vial is not None and slot.vial.id is not None and left_us is not None:
                        seated[Place(zone, seat.id, slot.number)] = slot.vial.id
                        self.truth.see(slot.vial.id, left_us, self.now_ms)
        self.truth.follow(self.tables, self.now_ms, self.now_ms, self.house.came_ms)
        assert seated == {
            each.vial.place: id
            for id, each in self.tables.vials.items()
            if each.whereabouts is Whereabouts.SEATED
        }

    @invariant()
    def there_is_one_refill_for_a_need(self) -> None:
        rows = {row.refill.orderid: row for row in self.archive.refills()}
        needs = [(row.zone, row.refill.scent) for row in rows.values() if row.is_open]
        assert len(needs) == len(set(needs))
        for (sku, orderid), qty in self.tables.lines.items():
            if is_refill(orderid):
                assert (rows[orderid].refill.sku, rows[orderid].refill.qty) == (sku, qty)
        self.count_refills()

    @invariant()
    def nothing_is_open_in_a_panic(self) -> None:
        if self.panicked:
            assert not any(devices.open(self.now_ms) for devices in self.truth.devices.values())

    def teardown(self) -> None:
        super().teardown()
        for devices in () if self.lost_doses else self.truth.devices.values():
            for seat in devices.seats():
                breaths = devices.of(seat)
                minute_s, hour_s = most_s(breaths, 60_000), most_s(breaths, 3_600_000)
                rounding_s = 1e-6 * len(breaths)
                assert minute_s <= LIMITS.dose_per_minute_us / US_PER_S + rounding_s
                assert hour_s <= LIMITS.dose_per_hour_us / US_PER_S + rounding_s

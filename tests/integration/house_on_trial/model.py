"""What must be true of a house: what its stock has promised, and what is really in its vials."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from scentrt.domain.cues import ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Place, TakenVial, VialId, Whereabouts
from scentrt.service_layer.changes import LineKey, Unsettled
from tests.memory_stock import Tables
from tests.unit.devices import Breath, Devices

FOREVER = float("inf")


def is_refill(orderid: OrderId) -> bool:
    """Say whether an order is one that a zone has placed by itself."""
    return orderid.startswith("refill-")


@dataclass(frozen=True)
class Facts:
    """What was promised: batches, the lines of orders but for refills, and where vials are.

    Those that are `away` stand in no seat any more.
    """

    batches: Mapping[BatchRef, tuple[Sku, int]] = field(default_factory=dict)
    lines: Mapping[LineKey, int] = field(default_factory=dict)
    seated: Mapping[Place, LineKey] = field(default_factory=dict)
    away: Counter[LineKey] = field(default_factory=Counter)

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """Return the facts of what is stored."""
        vials = [(taken, (taken.vial.sku, taken.orderid)) for taken in tables.vials.values()]
        return cls(
            {ref: (batch.sku, batch.qty) for ref, batch in tables.batches.items()},
            {
                key: qty
                for key, qty in tables.lines.items()
                if not is_refill(key[1]) and tables.unsettled.get(key) is not Unsettled.CANCEL
            },
            {taken.vial.place: key for taken, key in vials if _stands(taken)},
            Counter(key for taken, key in vials if not _stands(taken)),
        )

    def with_batch(self, ref: BatchRef, sku: Sku, qty: int) -> "Facts":
        """Return them with a batch that is new, or has another quantity."""
        return replace(self, batches={**self.batches, ref: (sku, qty)})

    def with_line(self, key: LineKey, qty: int) -> "Facts":
        """Return them with a line; a refill's is none of them."""
        return self if is_refill(key[1]) else replace(self, lines={**self.lines, key: qty})

    def without_order(self, orderid: OrderId) -> "Facts":
        """Return them without an order."""
        left = {key: qty for key, qty in self.lines.items() if key[1] != orderid}
        return replace(self, lines=left)

    def loaded(self, key: LineKey, places: Iterable[Place], returned: int) -> "Facts":
        """Return them with vials in these places, of which some had come back."""
        seated = {**self.seated, **dict.fromkeys(places, key)}
        again = min(returned, len(seated) - len(self.seated))
        return replace(self, seated=seated, away=self.away - Counter({key: again}))

    def unloaded(self, places: Iterable[Place]) -> "Facts":
        """Return them without vials in these places."""
        places = set(places)
        left = {place: key for place, key in self.seated.items() if place not in places}
        return replace(
            self, seated=left, away=self.away + Counter(self.seated[place] for place in places)
        )


def _stands(taken: TakenVial) -> bool:
    return taken.whereabouts is Whereabouts.SEATED


@dataclass
class Stay:
    """A vial in its place, for as long as it really stood there."""

    place: Place
    from_ms: float
    to_ms: float = FOREVER


@dataclass
class Cartridge:
    """A vial as a thing. What the house thinks to be in it may be a little off, after crashes.

    That is `over_us` more than there is at most, and `under_us` less, and so much less again as was
    sprayed and has reached nobody: it may not know of that yet, or no more. `seen_us` is the least
    that it ever said to be in it.
    """

    taken: TakenVial
    stays: list[Stay] = field(default_factory=list)
    over_us: float = 0
    under_us: float = 0
    seen_us: float = FOREVER


class Truth:
    """All vials as they really are: what left them is what the dispensers gave meanwhile."""

    def __init__(self, zones: Iterable[ZoneId]) -> None:
        self.devices = {zone: Devices() for zone in zones}
        self.planned_ms: dict[ZoneId, list[float]] = {zone: [] for zone in self.devices}
        self.vials: dict[VialId, Cartridge] = {}

    def follow(
        self,
        tables: Tables,
        from_ms: float,
        now_ms: float,
        came_ms: Mapping[VialId, float],
        to: Whereabouts | None = None,
    ) -> None:
        """See what has become of the vials since `from_ms`: some may have been unloaded `to`.

        Those that are new in their places came there when that was told, or else by now.
        """
        assert self.vials.keys() <= tables.vials.keys(), "no vial is forgotten"
        for id, taken in tables.vials.items():
            known = self.vials.setdefault(id, Cartridge(taken))
            before, known.taken = known.taken, taken
            assert (taken.orderid, taken.vial.batchref) == (before.orderid, before.vial.batchref)
            if not _stands(taken):
                if _stands(before):
                    known.stays[-1].to_ms = from_ms
                    where = to if taken.vial.left_us > 0 else Whereabouts.DISCARDED
                    assert taken.whereabouts == where
                else:
                    assert taken == before, "what is away stays as it is"
                self.judge(known, taken.vial.left_us, FOREVER)
            elif not known.stays or known.stays[-1].to_ms < FOREVER:
                told_ms = came_ms.get(id, now_ms)  # of an earlier time, where nobody was told now
                known.stays.append(
                    Stay(taken.vial.place, told_ms if told_ms >= from_ms else now_ms)
                )
            else:
                assert taken.vial.place == before.vial.place

    def see(self, id: VialId, left_us: int, now_ms: float) -> None:
        """Hear from a zone what is in a vial at this moment."""
        known = self.vials[id]
        back_us = self.missed_us(known)
        assert left_us <= known.seen_us + back_us + 2, "nothing else comes into a vial"
        known.seen_us = min(known.seen_us, left_us)
        self.judge(known, left_us, now_ms)

    def judge(self, known: Cartridge, left_us: int, now_ms: float) -> None:
        """Hold what is said to be in a vial against what has left it by now."""
        breaths = [breath for stay in known.stays for _, breath in self.breaths(stay)]
        given_us = sum(b.dose_s(b.opened_ms, now_ms) for b in breaths) * US_PER_S
        full_us = known.taken.vial.capacity_us
        true_us, rounding_us = full_us - given_us, 2 + 2 * len(breaths)
        assert 0 <= left_us <= full_us
        assert left_us <= true_us + known.over_us + rounding_us, "it is emptier than that"
        under_us = known.under_us + self.missed_us(known)
        assert left_us >= true_us - under_us - rounding_us, "it is fuller than that"

    def lose(self, from_ms: float) -> None:
        """Allow for what a server that has died had not written since `from_ms`.

        What began since then may not be known; nor what ended early, as all that went on does now.
        """
        for known in self.vials.values():
            for stay in known.stays:
                for planned_ms, breath in self.breaths(stay):
                    if breath.closes_ms >= from_ms:
                        known.under_us += (planned_ms - breath.opened_ms) * breath.intensity * 1000
                        if breath.opened_ms >= from_ms:
                            self._forget(known, breath)

    def overlook(self, places: Iterable[Place], from_ms: float) -> None:
        """Allow for what was sprayed since `from_ms` from vials that were all but unloaded."""
        for known in self.vials.values():
            for stay in known.stays:
                if stay.place in places:
                    for _, breath in self.breaths(stay):
                        if breath.opened_ms >= from_ms:
                            self._forget(known, breath)

    def _forget(self, known: Cartridge, breath: Breath) -> None:
        given_us = breath.dose_s(breath.opened_ms, breath.closes_ms) * US_PER_S
        known.over_us += given_us
        known.seen_us += given_us

    def missed_us(self, known: Cartridge) -> float:
        """Return what was sprayed from a vial, and has reached nobody."""
        return US_PER_S * sum(
            missed.dose_s(missed.opened_ms, missed.closes_ms)
            for stay in known.stays
            for missed in self.devices[stay.place.zone].missed
            if _is_from(missed, stay)
        )

    def breaths(self, stay: Stay) -> Iterator[tuple[float, Breath]]:
        """Return what a vial gave in a place, and until when each was to last."""
        zone = stay.place.zone
        told = zip(self.planned_ms[zone], self.devices[zone].breaths, strict=True)
        for planned_ms, breath in told:
            if _is_from(breath, stay):
                yield planned_ms, breath


def _is_from(breath: Breath, stay: Stay) -> bool:
    is_there = (breath.seat, breath.slot) == (stay.place.seat, stay.place.slot)
    return is_there and stay.from_ms <= breath.opened_ms < stay.to_ms

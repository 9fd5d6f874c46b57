"""The ushers: bring vials, and news of refills, from the stock to the zones, and vials back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from scentrt.actors.actor import Ref
from scentrt.actors.herald import Herald
from scentrt.actors.messages import PutVials, SetRefill, TakeVials
from scentrt.domain.cues import ZoneId
from scentrt.domain.events import VialsUnloaded
from scentrt.domain.refills import Refill
from scentrt.domain.vials import SeatedVial
from scentrt.errors import ActorStopped

AT_A_TIME = 100
"""Vials in one message: to seat a hundred takes a zone a millisecond, in which no cue is heard."""

T = TypeVar("T")


class Ushers:
    """The vials as they stand in the zones of an open house; see `VialsInZones`."""

    def __init__(self, zones: Mapping[ZoneId, Ref]) -> None:
        self._zones = zones

    def listen_to(self, herald: Herald) -> None:
        """Clear the places of vials that are unloaded from now on.

        They are out already, unless their zone has crashed since and has read them once more.
        """
        herald.add(self._clear, VialsUnloaded)

    def put(self, vials: Iterable[SeatedVial]) -> None:
        """Have vials stand in their places. A zone that has ended reads them when it opens."""
        for zone, theirs in self._by_zone(vials):
            for some in _parts(theirs):
                with suppress(ActorStopped):
                    zone.tell(PutVials(some), urgent=True)

    async def take(self, zone: ZoneId, vials: Sequence[SeatedVial]) -> tuple[SeatedVial, ...]:
        """Take vials out of a zone, and return them with what is left in them now.

        They are as they are where there is no such zone any more.
        """
        if zone not in self._zones:
            return tuple(vials)
        taken: list[SeatedVial] = []
        for some in _parts(vials):
            out: tuple[SeatedVial, ...] = await self._zones[zone].ask(_take(some), urgent=True)
            taken += out
        return tuple(taken)

    def tell_refill(self, zone: ZoneId, refill: Refill) -> None:
        """Let a zone know what has become of a refill."""
        if zone in self._zones:
            with suppress(ActorStopped):
                self._zones[zone].tell(SetRefill(refill.scent, refill), urgent=True)

    def _clear(self, event: VialsUnloaded, _: float) -> None:
        for zone, theirs in self._by_zone(event.vials):
            for some in _parts(theirs):
                with suppress(ActorStopped):
                    zone.tell(_take(some), urgent=True)

    def _by_zone(self, vials: Iterable[SeatedVial]) -> Iterator[tuple[Ref, list[SeatedVial]]]:
        by_zone: dict[ZoneId, list[SeatedVial]] = {}
        for vial in vials:
            by_zone.setdefault(vial.place.zone, []).append(vial)
        for zone, theirs in by_zone.items():
            if zone in self._zones:  # a vial may be left of a zone that is in no plan any more
                yield self._zones[zone], theirs


def _take(vials: Iterable[SeatedVial]) -> TakeVials:
    return TakeVials(tuple((vial.place.seat, vial.place.slot) for vial in vials))


def _parts(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    left = iter(items)
    while part := tuple(islice(left, AT_A_TIME)):
        yield part

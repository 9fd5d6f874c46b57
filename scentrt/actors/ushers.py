"""The ushers: bring vials, and news of refills, from the stock to the zones, and vials back."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from scentrt.actors.actor import Ref
from scentrt.actors.herald import Herald
from scentrt.actors.messages import PutVials, SetRefill, TakeVials
from scentrt.domain.cues import ZoneId
from scentrt.domain.events import VialsLoaded
from scentrt.domain.refills import Refill
from scentrt.domain.vials import SeatedVial
from scentrt.errors import ActorStopped


class Ushers:
    """The vials as they stand in the zones of an open house; see `VialsInZones`.

    What was loaded is put there by whoever hears the herald, after it is on disk: see `listen_to`.
    """

    def __init__(self, zones: Mapping[ZoneId, Ref]) -> None:
        self._zones = zones

    def listen_to(self, herald: Herald) -> None:
        """Bring the vials that are loaded from now on to their places."""
        herald.add(self._bring, VialsLoaded)

    def put(self, vials: Iterable[SeatedVial]) -> None:
        """Have vials stand in their places. A zone that has ended reads them when it opens."""
        by_zone: dict[ZoneId, list[SeatedVial]] = {}
        for vial in vials:
            by_zone.setdefault(vial.place.zone, []).append(vial)
        for zone, theirs in by_zone.items():
            if zone in self._zones:  # a vial may be left of a zone that is in no plan any more
                with suppress(ActorStopped):
                    self._zones[zone].tell(PutVials(tuple(theirs)), urgent=True)

    async def take(self, zone: ZoneId, vials: Sequence[SeatedVial]) -> tuple[SeatedVial, ...]:
        """Take vials out of a zone, and return them with what is left in them now."""
        places = tuple((vial.place.seat, vial.place.slot) for vial in vials)
        return await self._zones[zone].ask(TakeVials(places), urgent=True)

    def tell_refill(self, zone: ZoneId, refill: Refill) -> None:
        """Let a zone know what has become of a refill."""
        if zone in self._zones:
            with suppress(ActorStopped):
                self._zones[zone].tell(SetRefill(refill.scent, refill), urgent=True)

    def _bring(self, event: VialsLoaded, _: float) -> None:
        self.put(event.vials)

"""The vials that were taken for the lines of a product, wherever they are by now."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from scentrt.domain.names import BatchRef, OrderId, Sku
from scentrt.domain.vials import Place, SeatedVial, TakenVial, VialId, Whereabouts
from scentrt.errors import SlotTaken


class TakenVials:
    """Know which vials of a product stand where, which came back, and how many were ever taken.

    Of those that were thrown away it only counts how many there were.

    Args:
      vials: those that stand somewhere or came back, in the order in which they were taken.
      discarded: how many of each line were thrown away.
    """

    def __init__(
        self, vials: Iterable[TakenVial] = (), discarded: Mapping[OrderId, int] | None = None
    ) -> None:
        self._seated: dict[VialId, TakenVial] = {}
        self._at: dict[Place, VialId] = {}
        self._returned: dict[OrderId, dict[VialId, SeatedVial]] = {}
        self._taken = Counter(discarded or {})
        for taken in vials:
            self._taken[taken.orderid] += 1
            if taken.whereabouts is Whereabouts.RETURNED:
                self._keep(taken.orderid, taken.vial)
            else:
                self._seat(taken.orderid, taken.vial)

    @property
    def orders(self) -> Iterable[OrderId]:
        """The orders for which vials were ever taken."""
        return self._taken.keys()

    def has_given(self, orderid: OrderId) -> bool:
        """Say whether a vial was ever taken for an order."""
        return orderid in self._taken

    def left(self, orderid: OrderId, qty: int) -> int:
        """Return how many more vials a line of `qty` could give: new ones, and those returned."""
        return qty - self._taken[orderid] + len(self._returned.get(orderid, ()))

    def line_of(self, vial: VialId) -> OrderId | None:
        """Return for which order a vial was taken; None where it stands nowhere."""
        taken = self._seated.get(vial)
        return None if taken is None else taken.orderid

    def standing(self, orderid: OrderId, places: Iterable[Place]) -> Iterator[SeatedVial]:
        """Return the vials of a line that stand in any of these places, in the places' order.

        Raises:
          SlotTaken: a vial of another line stands there.
        """
        for place in places:
            if (id := self._at.get(place)) is not None:
                taken = self._seated[id]
                if taken.orderid != orderid:
                    raise SlotTaken(place.seat, place.slot)
                yield taken.vial

    def take(
        self,
        orderid: OrderId,
        sku: Sku,
        batchref: BatchRef,
        places: Sequence[Place],
        capacity_us: int,
        ids: Iterator[VialId],
    ) -> tuple[SeatedVial, ...]:
        """Take a vial for each of these free places: those that came back, then new ones."""
        returned = self._returned.get(orderid, {})
        vials = []
        for place in places:
            if returned:
                id = next(iter(returned))
                vial = replace(returned.pop(id), place=place)
            else:
                self._taken[orderid] += 1
                vial = SeatedVial(next(ids), place, sku, batchref, capacity_us, capacity_us)
            self._seat(orderid, vial)
            vials.append(vial)
        return tuple(vials)

    def put_away(self, id: VialId, left_us: int, to: Whereabouts) -> SeatedVial:
        """Take a vial out of its slot and return it as it is; it must stand somewhere."""
        taken = self._seated.pop(id)
        del self._at[taken.vial.place]
        vial = replace(taken.vial, left_us=min(left_us, taken.vial.capacity_us))
        if to is Whereabouts.RETURNED:
            self._keep(taken.orderid, vial)
        return vial

    def _seat(self, orderid: OrderId, vial: SeatedVial) -> None:
        self._seated[vial.id] = TakenVial(orderid, vial, Whereabouts.SEATED)
        self._at[vial.place] = vial.id

    def _keep(self, orderid: OrderId, vial: SeatedVial) -> None:
        self._returned.setdefault(orderid, {})[vial.id] = vial

"""The herald: tells what has changed in the stock, once it is on disk."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from scentrt.domain.events import StockEvent

log = logging.getLogger(__name__)

Proclaim: TypeAlias = Callable[[Sequence[StockEvent]], None]
"""Takes what one unit of work has changed, in order, after it was committed."""


def to_nobody(_: Sequence[StockEvent]) -> None:
    """Proclaim where nobody listens."""


class Herald:
    """Tell listeners of committed events: at once, and those of a product in their order.

    Nobody is told twice, nor of what was not stored, and a crash between a commit and its
    proclamation leaves it unsaid: whoever must not miss anything looks at the stock when it starts.

    Args:
      now_ms: the clock that says when.
    """

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._listeners: dict[type[StockEvent], list[Callable[[Any, float], None]]] = {}

    def add(self, listener: Callable[[Any, float], None], *kinds: type[StockEvent]) -> None:
        """Have a listener called with each event of these types, and when it was told.

        It is called in the turn of whoever has committed, and so must neither wait nor take long.
        """
        for kind in kinds:
            self._listeners.setdefault(kind, []).append(listener)

    def proclaim(self, events: Sequence[StockEvent]) -> None:
        """Tell all who listen; never raises, whatever a listener does."""
        at_ms = self._now_ms()
        for event in events:
            for listener in self._listeners.get(type(event), ()):
                try:
                    listener(event, at_ms)
                except Exception:
                    log.exception("a listener could not take %s", event)

"""The cue journal over HTTP: what was released, when, for whom, and of which vials."""

from typing import Annotated

from fastapi import FastAPI, Query

from scentrt.domain.cues import ZoneId
from scentrt.entrypoints.http.answers import Json, Release, Releases
from scentrt.entrypoints.http.document import told
from scentrt.entrypoints.http.stock_pages import PER_PAGE, Limit, page_of
from scentrt.service_layer.views import Views

_RELEASE = {
    "id": 4711,
    "at": 1790000000500.2,
    "zone": "A",
    "source": "my-game",
    "session": "s-7f3a0c5e",
    "cue": "wave-17",
    "scent": "sea-breeze",
    "sku": "SEA-BREEZE",
    "batchref": "batch-001",
    "seats": ["A-1-3", "A-1-4"],
    "dose_s": 1.44,
    "ended": None,
}


class JournalPage:
    """Show the journal, as far as it is on disk: a second or two behind what happens."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def add_to(self, app: FastAPI) -> None:
        """Add the route."""
        app.get(
            "/journal",
            tags=["theatre"],
            summary="What was released",
            **told(200, "A page", {"releases": [_RELEASE], "next": 4711}, gives=Releases),
        )(self.journal)

    async def journal(
        self,
        after: Annotated[
            int,
            Query(ge=0, lt=2**63, description="Where the last page ended: its `next`, or an id"),
        ] = 0,
        limit: Limit = PER_PAGE,
        zone: Annotated[str | None, Query(description="Of this zone only")] = None,
    ) -> Json:
        """Return what cues and levels have released, in the order in which it was written down."""
        only = None if zone is None else ZoneId(zone)
        found = await self._views.journal(after, limit + 1, only)
        follows = found[limit - 1].id if len(found) > limit else None
        return await page_of("releases", map(Release.of, found[:limit]), follows)

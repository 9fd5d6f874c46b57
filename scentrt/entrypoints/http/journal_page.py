"""The cue journal over HTTP: what was released, when, for whom, and of which vials."""

from typing import Annotated, Self

from fastapi import FastAPI, Query
from pydantic import BaseModel

from scentrt.domain.cues import ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.entrypoints.http.answers import Json
from scentrt.entrypoints.http.document import told
from scentrt.entrypoints.http.stock_pages import PER_PAGE, Limit, page_of
from scentrt.service_layer.views import ReleaseView, Views

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


class Release(BaseModel):
    """A cue's sprays at some seats, what levels have given of late, or what ending early has saved.

    `at` is in Unix milliseconds. `source` is the hello name of whoever asked, and `session` the
    beginning of that session's id. `cue` is the id that they gave it; null for levels, of which a
    line tells what they have given since the one before. `seats` is null for every seat of the
    zone, `sku` and `batchref` where nobody has loaded a vial. `dose_s` is in dose-seconds, at all
    these seats; it is negative where `ended` says why a cue gave less than an earlier line tells.
    """

    id: int
    at: float
    zone: str
    source: str
    session: str
    cue: str | int | None
    scent: str
    sku: str | None
    batchref: str | None
    seats: list[str] | None
    dose_s: float
    ended: str | None

    @classmethod
    def of(cls, view: ReleaseView) -> Self:
        """Tell of a line."""
        return cls(
            id=view.id,
            at=view.at_ms,
            zone=view.zone,
            source=view.source,
            session=view.session,
            cue=view.cue,
            scent=view.scent,
            sku=view.sku,
            batchref=view.batchref,
            seats=None if view.seats is None else list(view.seats),
            dose_s=view.dose_us / US_PER_S,
            ended=view.ended,
        )


class Releases(BaseModel):
    """Lines of the journal as they came; `next` is the next page's `after`, null at the end."""

    releases: list[Release]
    next: int | None


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

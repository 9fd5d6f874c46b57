"""What is told of a forecast, over HTTP and by the command line alike."""

from typing import Self

from pydantic import BaseModel

from scentrt.domain.doses import US_PER_S
from scentrt.domain.forecast import Forecast, Load, RunsDry, ScentForecast, Steps


class NewVials(BaseModel):
    """How many vials of a product to load at how many seats, each in place of one that is there.

    So many `during_show` cannot be loaded before it: they take the place of emptied ones.
    """

    sku: str
    capacity_s: float
    vials: int
    seats: int
    during_show: int

    @classmethod
    def of(cls, load: Load) -> Self:
        """Tell what to load."""
        return cls(
            sku=load.kind.sku,
            capacity_s=load.kind.capacity_us / US_PER_S,
            vials=load.vials,
            seats=load.seats,
            during_show=load.during_show,
        )


class Dry(BaseModel):
    """The first cue, by its place in the list from 0, for which these seats have too little."""

    cue: int
    at_ms: float
    seats: list[str]

    @classmethod
    def of(cls, dry: RunsDry) -> Self:
        """Tell when seats run dry."""
        return cls(cue=dry.cue, at_ms=dry.at_ms, seats=list(dry.seats))


class ScentOutlook(BaseModel):
    """One scent in one zone, in dose-seconds, over the seats that the cues mean.

    `present_s` is null where no vial is loaded: such slots are not counted, and never run dry.
    `uncounted_s` of the need comes from them, at `uncounted_seats`. `short_s` is what vials lack,
    at `short_seats`. `load` says with what it would last.
    """

    zone: str
    scent: str
    lasts: bool
    seats: int
    needed_s: float
    present_s: float | None
    uncounted_s: float
    uncounted_seats: int
    short_s: float
    short_seats: int
    runs_dry: Dry | None
    load: list[NewVials]

    @classmethod
    def of(cls, scent: ScentForecast) -> Self:
        """Tell of a scent in a zone."""
        return cls(
            zone=scent.zone,
            scent=scent.scent,
            lasts=scent.lasts,
            seats=scent.seats,
            needed_s=scent.needed_us / US_PER_S,
            present_s=None if scent.present_us is None else scent.present_us / US_PER_S,
            uncounted_s=scent.uncounted_us / US_PER_S,
            uncounted_seats=scent.uncounted_seats,
            short_s=scent.short_us / US_PER_S,
            short_seats=scent.short_seats,
            runs_dry=None if scent.dry is None else Dry.of(scent.dry),
            load=[NewVials.of(load) for load in scent.load],
        )


class Outlook(BaseModel):
    """Whether what is in the vials lasts for the cues: the most that they can need.

    `unsprayed` are the cues, by their places in the list from 0, that no seat would get: none of
    those meant carries the scent, or wants it. Cues for goggles are not counted.
    """

    lasts: bool
    cues: int
    ends_ms: float
    unsprayed: list[int]
    scents: list[ScentOutlook]

    @classmethod
    def telling(cls, forecast: Forecast) -> Steps[Self]:
        """Tell of a forecast, with rests."""
        scents = []
        for scent in forecast.scents:
            scents.append(ScentOutlook.of(scent))
            yield
        return cls(
            lasts=forecast.lasts,
            cues=forecast.cues,
            ends_ms=forecast.ends_ms,
            unsprayed=list(forecast.unsprayed),
            scents=scents,
        )

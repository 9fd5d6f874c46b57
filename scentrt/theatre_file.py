"""The theatre file: zones, seats, slots and devices, in TOML.

Whatever cannot be used is a `ConfigError` that names the file and the field.
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from scentrt.domain.cues import GOGGLES_ZONE, Scent, SeatId, ZoneId
from scentrt.domain.layout import DEFAULT_THEATRE, TheatrePlan, ZonePlan
from scentrt.errors import ConfigError
from scentrt.wording import Section, config_error, matching

_WELCOME_ROOM, _WELCOME_ZONE = 30_000, 48
"""A welcome names all zones in one frame of under 32 KiB; what a zone takes but for its names."""

_ScentName = Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,64}", "1 to 64 characters on one line")]


class _ZoneEntry(Section):
    id: Annotated[
        str,
        matching(r"[A-Za-z0-9_-]{1,32}", "1 to 32 letters, digits, '-' or '_'"),
        matching(rf"(?!{GOGGLES_ZONE}$).*", "another name, since this is the zone of the goggles"),
    ]
    rows: Annotated[int, Field(strict=True, ge=1, le=200)]
    seats_per_row: Annotated[int, Field(strict=True, ge=1, le=200)]
    slots: Annotated[tuple[_ScentName, ...], Field(min_length=1, max_length=16)]
    opted_out: tuple[str, ...] = ()
    devices: dict[str, Annotated[str, Field(min_length=1)]] = Field(default={})

    def plan(self) -> ZonePlan:
        return ZonePlan(
            id=ZoneId(self.id),
            rows=self.rows,
            seats_per_row=self.seats_per_row,
            slots=tuple(Scent(slot) for slot in self.slots),
            opted_out=frozenset(SeatId(seat) for seat in self.opted_out),
            devices={SeatId(seat): address for seat, address in self.devices.items()},
        )


class _TheatreFile(Section):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    zones: Annotated[tuple[_ZoneEntry, ...], Field(min_length=1, max_length=200)]


def load_theatre(path: Path | None) -> TheatrePlan:
    """Read a theatre file; without one the house is one zone of four rows by six seats.

    Raises `ConfigError`.
    """
    if path is None:
        return DEFAULT_THEATRE
    try:
        file = _TheatreFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from error
    except ValidationError as error:
        raise config_error(str(path), error, _TheatreFile, _ZoneEntry) from error
    plans = [zone.plan() for zone in file.zones]
    for number, plan in enumerate(plans):
        field, problem = _what_does_not_fit(plan, plans[:number])
        if problem:
            raise ConfigError(f"{path}: zones[{number}].{field}", problem)
    told = sum(_WELCOME_ZONE + len(plan.id) + _told_bytes(plan.slots) for plan in plans)
    if told > _WELCOME_ROOM:
        raise ConfigError(
            f"{path}: zones",
            "the zones and their scents are too many to be told in one welcome; use shorter names "
            "or make it two theatres",
        )
    return TheatrePlan(file.name, tuple(plans))


def _told_bytes(scents: Iterable[str]) -> int:
    return sum(2 * len(scent.encode()) + len('"",') for scent in set(scents))


def _what_does_not_fit(plan: ZonePlan, before: Sequence[ZonePlan]) -> tuple[str, str]:
    """Return field and problem where a zone contradicts itself or those before it."""
    if any(plan.id == other.id for other in before):
        return "id", f"there is a zone {plan.id!r} already; give each a name of its own"
    seats = frozenset(plan.seat_ids())
    last = f"{plan.id}-{plan.rows}-{plan.seats_per_row}"
    for field, named in ("opted_out", plan.opted_out), ("devices", plan.devices.keys()):
        for seat in sorted(named - seats):
            return field, f"there is no seat {seat!r}; the last one of this zone is {last!r}"
    seat_of = {
        address.casefold(): seat for other in before for seat, address in other.devices.items()
    }
    for seat, address in plan.devices.items():
        elsewhere = seat_of.setdefault(address.casefold(), seat)
        if elsewhere != seat:
            return "devices", f"{address!r} is at {elsewhere!r} and at {seat!r}; it can be at one"
    return "", ""

"""The theatre file: zones, seats, slots, devices and the vials that fit there, in TOML.

Whatever cannot be used is a `ConfigError` that names the file and the field. A device that cannot
be used is left out with a remark that names its line, and the house opens without it.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tomlkit
from pydantic import Field, ValidationError

from scentrt.domain.cues import GOGGLES_ZONE, Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.layout import DEFAULT_THEATRE, DevicePlan, TheatrePlan, ZonePlan
from scentrt.domain.names import Sku
from scentrt.domain.vials import Catalogue, VialKind
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
            devices={SeatId(seat): DevicePlan(name) for seat, name in self.devices.items()},
        )


class _ProductEntry(Section):
    sku: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,128}", "1 to 128 characters on one line")]
    scent: _ScentName
    capacity_s: Annotated[float, Field(strict=True, gt=0, le=1_000_000)] = 3_600

    def kind(self) -> VialKind:
        return VialKind(Sku(self.sku), Scent(self.scent), round(self.capacity_s * US_PER_S))


class _TheatreFile(Section):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    zones: Annotated[tuple[_ZoneEntry, ...], Field(min_length=1, max_length=200)]
    products: Annotated[tuple[_ProductEntry, ...], Field(max_length=1_000)] = ()


def load_theatre(path: Path | None) -> TheatrePlan:
    """Read a theatre file; without one the house is one zone of four rows by six seats.

    Raises `ConfigError`.
    """
    if path is None:
        return DEFAULT_THEATRE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        table, doubled = _parse(lines)
        file = _TheatreFile.model_validate(table)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from error
    except ValidationError as error:
        raise config_error(str(path), error, _TheatreFile, _ZoneEntry, _ProductEntry) from error
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
    kinds = [product.kind() for product in file.products]
    for number, kind in enumerate(kinds):
        field, problem = _what_is_wrong_with(kind, kinds[:number], plans)
        if problem:
            raise ConfigError(f"{path}: products[{number}].{field}", problem)
    devices = _Devices(path, lines, plans, doubled)
    remarks = [*devices.doubled_names(), *devices.doubled_seats(), *devices.unknown_seats()]
    return TheatrePlan(file.name, tuple(devices.plans()), tuple(remarks), Catalogue(kinds))


_SEAT_LINE = re.compile(
    r'\s*["\']?(?P<seat>[A-Za-z0-9_-]+-\d+-\d+)["\']?\s*=\s*["\'](?P<device>[^"\']+)["\']'
)


def _parse(lines: Sequence[str]) -> tuple[dict[str, Any], dict[SeatId, tuple[int, str]]]:
    """Return what the lines say, and the seats that stand there twice: later line and device.

    To TOML a key that stands there twice is an error, which would keep the whole house closed.
    """
    kept = list(lines)
    doubled: dict[SeatId, tuple[int, str]] = {}
    while True:
        try:
            return tomllib.loads("\n".join([*kept, ""])), doubled
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"Cannot overwrite a value \(at line (\d+)", str(error))
            again = at and _SEAT_LINE.match(kept[int(at[1]) - 1])
            if not at or not again:
                raise
            doubled[SeatId(again["seat"])] = int(at[1]), again["device"]
            kept[int(at[1]) - 1] = ""


class _Devices:
    """The devices of a theatre file, of which those that cannot be used are taken out."""

    def __init__(
        self,
        path: Path,
        lines: Sequence[str],
        plans: Sequence[ZonePlan],
        doubled: Mapping[SeatId, tuple[int, str]],
    ) -> None:
        self._path = path
        self._plans = plans
        self._doubled = doubled
        self._line_of: dict[str, int] = {}
        for number, line in enumerate(lines, 1):
            if (found := _SEAT_LINE.match(line)) is not None:
                self._line_of.setdefault(found["seat"], number)
        self._devices = {
            seat: DevicePlan(device.name, self._where(seat))
            for plan in plans
            for seat, device in plan.devices.items()
        }

    def plans(self) -> Iterator[ZonePlan]:
        """Return the zones with the devices that are left."""
        for plan in self._plans:
            left = {s: self._devices[s] for s in plan.devices if s in self._devices}
            yield replace(plan, devices=left)

    def doubled_seats(self) -> Iterator[str]:
        """Take out the seats that were given two devices."""
        for seat, (line, _) in self._doubled.items():
            where = self._where(seat)
            yield f"{where}: {seat!r} has another device in line {line}; leave the right one"
            self._devices.pop(seat, None)

    def unknown_seats(self) -> Iterator[str]:
        """Take out the seats that are not there."""
        for plan in self._plans:
            last = f"{plan.id}-{plan.rows}-{plan.seats_per_row}"
            for seat in plan.devices.keys() - set(plan.seat_ids()):
                yield f"{self._where(seat)}: there is no seat {seat!r}; the last one is {last!r}"
                self._devices.pop(seat, None)

    def doubled_names(self) -> Iterator[str]:
        """Take out the devices that are at two seats: at which, nobody knows."""
        seats_of: dict[str, list[SeatId]] = {}
        called = [(seat, device.name) for seat, device in self._devices.items()]
        called += [(seat, name) for seat, (_, name) in self._doubled.items()]
        for seat, name in called:
            seats = seats_of.setdefault(name.casefold(), [])
            if seat not in seats:
                seats.append(seat)
        names = {name.casefold(): name for _, name in reversed(called)}
        for key, seats in seats_of.items():
            if len(seats) > 1:
                yield self._at_one(names[key], seats)
                for seat in seats:
                    self._devices.pop(seat, None)

    def _at_one(self, name: str, seats: Collection[SeatId]) -> str:
        first, *others = seats
        elsewhere = ", ".join(f"{seat!r} (line {self._line_of.get(seat, '?')})" for seat in others)
        return f"{self._where(first)}: {name!r} is at {first!r} and at {elsewhere}; leave it at one"

    def _where(self, seat: str) -> str:
        line = self._line_of.get(seat)
        return str(self._path) if line is None else f"{self._path} line {line}"


def give_device(path: Path, seat: SeatId, name: str) -> None:
    """Write into a theatre file which device a seat has; all else there stays as it is written.

    Whoever reads the file meanwhile finds it as it was or as it is then. Raises `ConfigError`.
    """
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    zone_id = seat.rsplit("-", 2)[0]
    zone = next(zone for zone in document["zones"] if zone["id"] == zone_id)
    if "devices" not in zone:
        zone["devices"] = tomlkit.table()
    zone["devices"][seat] = name
    # A new line stands behind the blank one that ends the table; it belongs before it.
    new_line = re.compile(rf"\n\n?({re.escape(seat)} = [^\n]*\n)(?=\[)")
    text = new_line.sub(r"\n\1\n", tomlkit.dumps(document))
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        shutil.copymode(path, partial)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from error


def _told_bytes(scents: Iterable[str]) -> int:
    return sum(2 * len(scent.encode()) + len('"",') for scent in set(scents))


def _what_does_not_fit(plan: ZonePlan, before: Sequence[ZonePlan]) -> tuple[str, str]:
    """Return field and problem where a zone contradicts itself or those before it."""
    if any(plan.id == other.id for other in before):
        return "id", f"there is a zone {plan.id!r} already; give each a name of its own"
    seats = frozenset(plan.seat_ids())
    last = f"{plan.id}-{plan.rows}-{plan.seats_per_row}"
    for seat in sorted(plan.opted_out - seats):
        return "opted_out", f"there is no seat {seat!r}; the last one of this zone is {last!r}"
    return "", ""


def _what_is_wrong_with(
    kind: VialKind, before: Sequence[VialKind], plans: Sequence[ZonePlan]
) -> tuple[str, str]:
    """Return field and problem where a product is there twice, or fits no slot of the house."""
    if any(kind.sku == other.sku for other in before):
        return "sku", f"there is a product {kind.sku!r} already; it has one scent and one capacity"
    scents = {scent for plan in plans for scent in plan.slots}
    if kind.scent not in scents:
        known = ", ".join(sorted(scents))
        return "scent", f"no zone has a slot for {kind.scent!r}; there are slots for {known}"
    return "", ""

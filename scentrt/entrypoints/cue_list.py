"""A cue list: the cues of a whole show, each in the form that it has on the WebSocket.

It is a file of JSON Lines, a cue on each line, or of one JSON list. Instead of the moment `at`, a
cue says where in the show it is due: `at_ms`. There are no levels, since a game decides them as it
goes along.

Every cue is looked at, and what is wrong is told by its cue and its field.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from scentrt.domain.cues import DEFAULT_PRIORITY, GOGGLES_ZONE, Scent
from scentrt.domain.forecast import PlannedCue, Steps
from scentrt.domain.layout import TheatrePlan
from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway.wire import complaint, integral
from scentrt.errors import ScentError

MOST_CUES = 5_000
"""A film of two hours with a cue every second and a half."""

MOST_BYTES = 1_000_000
"""What fits into a request, whatever is around it there."""

MOST_FAULTS = 100
"""Whoever has more has made one mistake a hundred times."""

DAY_MS = 86_400_000

EXAMPLE = """\
{"at_ms":0,"scent":"sea-breeze","intensity":0.4,"duration_ms":8000,"to":{"all":true}}
{"at_ms":95000,"scent":"forest","intensity":0.6,"duration_ms":3000,"to":{"zones":["A"]}}
{"at_ms":98500,"scent":"jungle","intensity":1,"duration_ms":1500,"to":{"seats":["A-1-3","A-1-4"]}}
{"at_ms":5400000,"scent":"nightclub","intensity":0.8,"duration_ms":5000,"to":{"all":true}}
"""
"""A list that the theatre without a theatre file can play."""

_REST = 100
"""Cues between two rests."""

_AtMs = Annotated[
    float,
    Meta(
        ge=0,
        le=DAY_MS,
        description=f"a number of milliseconds into the show, from 0 to {DAY_MS:,}",
        examples=[95_000],
    ),
]


class ListedCue(Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A cue of a show, due `at_ms` into it; from `type` on, whatever a cue may say is ignored."""

    at_ms: _AtMs
    scent: hear.Name
    intensity: hear.Intensity
    duration_ms: hear.Duration
    to: hear.Recipients
    type: Annotated[
        Literal["cue"], Meta(description="cue; a level is not planned, so leave it out")
    ] = "cue"
    id: hear.Id | None = None
    at: hear.Moment | None = None
    ttl_ms: hear.CueTtl = 500.0
    priority: hear.Priority = DEFAULT_PRIORITY
    mix: hear.Flag = False
    report: hear.Flag = False

    def planned(self) -> PlannedCue:
        """Return the same for the domain."""
        return PlannedCue(
            self.at_ms, Scent(self.scent), self.intensity, self.duration_ms, self.to.target()
        )


class CueList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cues of a show, in whatever order."""

    cues: Annotated[list[ListedCue], Meta(min_length=1, max_length=MOST_CUES)]


@dataclass(frozen=True, slots=True)
class CueFault:
    """Something wrong in a cue, by its place in the list from 0; None where it is the whole list.

    `field` is empty where it is the cue itself.
    """

    cue: int | None
    field: str
    problem: str

    @property
    def loc(self) -> tuple[str | int, ...]:
        """Where it is in the body of a request."""
        place = () if self.cue is None else ("cues", self.cue)
        return ("body", *place, *(self.field.split(".") if self.field else ()))

    @classmethod
    def at(cls, loc: Sequence[str | int], problem: str) -> "CueFault":
        """Return what is wrong there, the other way round."""
        match loc:
            case ["body", "cues", int(cue), *field]:
                return cls(cue, ".".join(map(str, field)), problem)
            case _:
                return cls(None, "", problem)


class BadCueList(ScentError):
    """What is wrong with a cue list; nothing was done with any of its cues."""

    def __init__(self, *faults: CueFault) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.problem}" for fault in faults[:3]))
        self.faults = faults


class CueFile:
    """A file that has been taken apart into its cues, which are still to be read, and their lines.

    Raises `BadCueList` where it cannot be.
    """

    def __init__(self, data: bytes) -> None:
        self.cues: list[msgspec.Raw] = []
        self.lines: list[int] = []
        self._take_apart(data.removeprefix(b"\xef\xbb\xbf"))

    @property
    def body(self) -> bytes:
        """The same cues as they are sent to a server."""
        return b'{"cues":[' + b",".join(bytes(cue) for cue in self.cues) + b"]}"

    def _take_apart(self, data: bytes) -> None:
        if len(data) > MOST_BYTES:
            problem = f"is larger than {MOST_BYTES:,} bytes; split it, or name zones for seats"
            raise BadCueList(CueFault(None, "", problem))
        if not data.strip():
            raise BadCueList(CueFault(None, "", "is empty; write a cue on each line"))
        if data.lstrip().startswith(b"["):
            self._take_list(data)
        else:
            self._take_lines(data)

    def _take_list(self, data: bytes) -> None:
        try:
            self.cues = msgspec.json.decode(data, type=list[msgspec.Raw])
        except (ValueError, RecursionError) as error:
            line = f"line {_line_of(error, data)}"
            problem = f"{why_unreadable(error)}; a list is [ … ], with commas between its cues"
            raise BadCueList(CueFault(None, line, problem)) from error
        end, line_number = 0, 1
        for cue in self.cues:
            start = data.index(bytes(cue), end)
            line_number += data.count(b"\n", end, start)
            self.lines.append(line_number)
            end = start

    def _take_lines(self, data: bytes) -> None:
        for number, line in enumerate(data.split(b"\n"), 1):
            if line.strip():
                self.cues.append(msgspec.Raw(line.strip()))
                self.lines.append(number)


def in_words(fault: CueFault, lines: Sequence[int]) -> str:
    """Say what is wrong, and where in a file with its cues on these lines; fit for a terminal."""
    place = ""
    if fault.cue is not None:
        place = f"line {lines[fault.cue]} (cue {fault.cue + 1})"
    where = ", ".join(part for part in (place, fault.field) if part)
    said = f"{where}: {fault.problem}" if where else fault.problem
    return "".join(c if c.isprintable() else "?" for c in said)


class CueReader:
    """Read the cues of lists that are for one house. Goggles may have any name and scent."""

    def __init__(self, plan: TheatrePlan, *, max_spray_ms: float) -> None:
        self._max_spray_ms = max_spray_ms
        self._zones = dict.fromkeys([*(zone.id for zone in plan.zones), GOGGLES_ZONE])
        self._seats = {seat for zone in plan.zones for seat in zone.seat_ids()}
        self._some_seat = plan.zones[0].seat_ids()[0]
        self._scents = dict.fromkeys(scent for zone in plan.zones for scent in zone.slots)

    def reading(self, cues: Sequence[msgspec.Raw]) -> Steps[list[PlannedCue]]:
        """Read a list, with rests; raises `BadCueList`, with some `MOST_FAULTS` faults at most."""
        if not cues:
            raise BadCueList(CueFault(None, "", "there are no cues; give at least one"))
        if len(cues) > MOST_CUES:
            problem = f"there are {len(cues):,} cues, more than {MOST_CUES:,}; split the list"
            raise BadCueList(CueFault(None, "", problem))
        planned: list[PlannedCue] = []
        faults: list[CueFault] = []
        for place, raw in enumerate(cues):
            if not place % _REST:
                yield
            cue, *wrong = _read(raw, self._max_spray_ms)
            if cue is None:
                faults.append(CueFault(place, *wrong))
            else:
                planned.append(cue)
                for field, problem in islice(self._unknown(cue), _SHOWN):
                    faults.append(CueFault(place, field, problem))
            if len(faults) >= MOST_FAULTS:
                break
        if faults:
            raise BadCueList(*faults)
        return planned

    def _unknown(self, cue: PlannedCue) -> Iterator[tuple[str, str]]:
        """Return field and problem of each name in a cue that nobody has."""
        if cue.scent not in self._scents and not cue.is_for_goggles:
            yield "scent", f"no zone carries {cue.scent!r}; there are {_some(self._scents)}"
        for zone in cue.target.zones:
            if zone not in self._zones:
                yield "to.zones", f"there is no zone {zone!r}; there are {_some(self._zones)}"
        for seat in cue.target.seats:
            if seat not in self._seats:
                like = f"seats are called like {self._some_seat!r}"
                yield "to.seats", f"there is no seat {seat!r}; {like}"


def _read(raw: msgspec.Raw, max_spray_ms: float) -> tuple[PlannedCue | None, str, str]:
    """Return a cue, or None with the field that is wrong in it and why."""
    try:
        cue = _decode(raw)
    except msgspec.ValidationError as error:
        field, _, problem = complaint(ListedCue, error).partition(": ")
        hint = f"; {_FIELDS}" if problem.partition(" in ")[0] in _ODD else ""
        return None, field, problem + hint
    except (ValueError, RecursionError) as error:
        return None, "", f"{why_unreadable(error)}; write each cue on one line, as a JSON object"
    if cue is None:
        return None, "", f"expected an object; {_FIELDS}"
    if cue.duration_ms > max_spray_ms:
        problem = f"expected 1 to {max_spray_ms:g}, the longest spray ('max_spray_ms')"
        return None, "duration_ms", problem
    return cue.planned(), "", ""


def _decode(raw: msgspec.Raw) -> ListedCue | None:
    """Return a cue, None where it is no object; forgives 5.0 for 5, as the gateway does."""
    try:
        return msgspec.json.decode(raw, type=ListedCue)
    except msgspec.ValidationError:
        value = integral(msgspec.json.decode(raw))
        return msgspec.convert(value, ListedCue) if isinstance(value, dict) else None


_FIELDS = "a cue has at_ms, scent, intensity, duration_ms and to"
_ODD = frozenset({"missing field", "unknown field"})


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(islice(names, _SHOWN)) + more


_SHOWN = 10


def why_unreadable(error: Exception) -> str:
    """Say what is wrong with text that is no JSON, by what msgspec raised."""
    match error:
        case RecursionError():
            return "is nested too deeply"
        case msgspec.DecodeError():
            return f"cannot be read: {str(error).partition(' (byte')[0]}"
        case _:
            return "is not text in UTF-8"


def _line_of(error: Exception, data: bytes) -> int:
    """Return the line on which a list could not be read any further."""
    byte = re.search(r"\(byte (\d+)\)", str(error))
    return data.count(b"\n", 0, int(byte[1]) if byte else len(data)) + 1

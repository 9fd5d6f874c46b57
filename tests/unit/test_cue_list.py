"""A cue list is read as the gateway reads cues, and what is wrong is told by line and field."""

import json

import pytest

from scentrt.domain.cues import Scent, SeatId, Target, ZoneId
from scentrt.domain.forecast import PlannedCue, finish
from scentrt.domain.layout import DEFAULT_THEATRE
from scentrt.entrypoints.cue_list import (
    EXAMPLE,
    MOST_BYTES,
    MOST_CUES,
    MOST_FAULTS,
    BadCueList,
    CueFault,
    CueFile,
    CueReader,
    in_words,
)

READER = CueReader(DEFAULT_THEATRE, max_spray_ms=10_000)
CUE = {"at_ms": 5, "scent": "jungle", "intensity": 1, "duration_ms": 100, "to": {"all": True}}


def read(text: str | bytes) -> list[PlannedCue]:
    file = CueFile(text if isinstance(text, bytes) else text.encode())
    return finish(READER.reading(file.cues))


def faults(text: str | bytes) -> list[str]:
    """Return all that is wrong, as it is told."""
    lines: list[int] = []
    try:
        file = CueFile(text if isinstance(text, bytes) else text.encode())
        lines = file.lines
        finish(READER.reading(file.cues))
    except BadCueList as bad:
        return [in_words(fault, lines) for fault in bad.faults]
    pytest.fail("nothing is wrong")


def line(**changed: object) -> str:
    return json.dumps({**CUE, **changed})


def test_lines_and_a_list_are_the_same() -> None:
    cues = [line(), "", line(at_ms=7.5, to={"zones": ["A"]}), line(to={"seats": ["A-1-3"]})]
    planned = read("\n".join(cues))
    assert planned == read(f"\ufeff [{','.join(filter(None, cues))}]\n".encode())
    assert planned == read("\r\n".join(cues))
    assert planned[1] == PlannedCue(7.5, Scent("jungle"), 1, 100, Target(zones=(ZoneId("A"),)))
    assert planned[2].target == Target(seats=(SeatId("A-1-3"),))


def test_what_else_a_cue_may_say_is_taken_and_checked() -> None:
    more = {"type": "cue", "id": "c-1", "at": 17.0, "ttl_ms": 100, "priority": 5.0, "mix": True}
    assert read(line(**more, report=False)) == read(line())
    assert faults(line(priority=11)) == [
        "line 1 (cue 1), priority: expected an integer from 0 to 9"
    ]


def test_the_example_can_be_read() -> None:
    assert len(read(EXAMPLE)) == len(EXAMPLE.splitlines())


def test_the_body_for_a_server_has_the_same_cues() -> None:
    file = CueFile(f"[{line()}, {line(at_ms=9)}]".encode())
    assert json.loads(file.body) == {"cues": [CUE, {**CUE, "at_ms": 9}]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty; write a cue on each line"),
        (" \n", "is empty; write a cue on each line"),
        ("[]", "there are no cues; give at least one"),
        (line(intensity=1.5), "line 1 (cue 1), intensity: expected a number above 0, to 1"),
        ("\n" + line(at_ms=-1), "line 2 (cue 1), at_ms: expected a number of milliseconds into"),
        (line(at_ms=True), "line 1 (cue 1), at_ms: expected a number"),
        (line(duration_ms=10_001), "line 1 (cue 1), duration_ms: expected 1 to 10000, the longest"),
        (line(scent="tar"), "line 1 (cue 1), scent: no zone carries 'tar'; there are sea-breeze,"),
        (line(to={"zones": ["A", "B"]}), "to.zones: there is no zone 'B'; there are A, goggles"),
        (line(to={"seats": ["A-9-9"]}), "to.seats: there is no seat 'A-9-9'; seats are called"),
        (line(to={}), "to: expected an object with exactly one of all (which is true), zones"),
        (line(to={"zone": ["A"]}), "zone: unknown field in to; a cue has at_ms, scent, intensity,"),
        (line(colour="red"), "colour: unknown field; a cue has at_ms, scent"),
        (line(type="level"), "type: expected cue; a level is not planned, so leave it out"),
        ('{"at_ms":1}', "scent: missing field; a cue has at_ms, scent, intensity, duration_ms"),
        ("3", "line 1 (cue 1): expected an object; a cue has at_ms"),
        ('{"at_ms":1,', "line 1 (cue 1): cannot be read: Input data was truncated; write each"),
        ('{"at_ms":NaN}', "line 1 (cue 1): cannot be read: JSON is malformed"),
        (b'{"scent":"\xff"}', "line 1 (cue 1): is not text in UTF-8"),
        ("{" + '"a":{' * 5_000, "line 1 (cue 1): is nested too deeply"),
        ("[\n" + line() + "\n" + line() + "]", "line 3: cannot be read: JSON is malformed"),
        ("[" * 5_000, "is nested too deeply"),
        ('{"\\u001b[2J":1}', "?[2J: unknown field"),
        (line(to={"seats": ["\x1b[2J"]}), "there is no seat '\\x1b[2J'"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_field(text: str | bytes, told: str) -> None:
    [fault] = faults(text)
    assert told in fault
    assert fault.isprintable()


def test_everything_that_is_wrong_is_told_at_once_up_to_a_bound() -> None:
    text = "\n".join([line(intensity=0), line(), line(scent="tar", to={"zones": ["B"]})])
    assert [fault.partition(":")[0] for fault in faults(text)] == [
        "line 1 (cue 1), intensity",
        "line 3 (cue 3), scent",
        "line 3 (cue 3), to.zones",
    ]
    assert len(faults("\n".join([line(intensity=0)] * 500))) == MOST_FAULTS
    assert len(faults(line(to={"seats": [f"B-{n}" for n in range(10_000)]}))) == 10


def test_lines_are_told_of_a_list_too() -> None:
    text = f"[{line()},\n\n{line()}, {line(intensity=0)}]"
    assert faults(text) == ["line 3 (cue 3), intensity: expected a number above 0, to 1"]


def test_goggles_may_have_any_name_and_scent() -> None:
    [cue, _] = read(f"{line(scent='tar', to={'goggles': ['player-7']})}\n{line()}")
    assert cue.is_for_goggles


def test_as_many_cues_as_there_may_be_are_read_and_no_more() -> None:
    assert len(read("\n".join([line()] * MOST_CUES))) == MOST_CUES
    [told] = faults("\n".join([line()] * (MOST_CUES + 1)))
    assert told == "there are 5,001 cues, more than 5,000; split the list"
    [told] = faults(line() + " " * MOST_BYTES)
    assert told == "is larger than 1,000,000 bytes; split it, or name zones for seats"


@pytest.mark.parametrize(
    "fault", [CueFault(None, "", "no"), CueFault(3, "", "no"), CueFault(3, "to.zones", "no")]
)
def test_a_fault_that_went_over_http_is_the_same(fault: CueFault) -> None:
    assert CueFault.at(json.loads(json.dumps(fault.loc)), fault.problem) == fault

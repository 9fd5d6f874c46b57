"""Whatever fails, a vial's newest level gets to the disk, and each line gets there once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scentrt.actors import vial_book
from scentrt.actors.vial_book import Line, VialBook, ZoneVials
from scentrt.domain.cues import CueKey, OwnerId, Scent, SeatId, ZoneId
from scentrt.domain.journal import JournalEntry
from scentrt.domain.vials import VialId, VialLevel
from tests.vials import seated

ZONE = ZoneId("A")
SEATS = [SeatId(f"A-1-{number}") for number in range(3)]
VIALS = [seated(number, seat) for number, seat in enumerate(SEATS)]


def line(number: int, seats: int = 0) -> Line:
    owner = OwnerId("s-game")
    entry = JournalEntry(
        at_ms=0.0,
        owner=owner,
        cue=CueKey(owner, number),
        scent=Scent("pine"),
        sku=None,
        batchref=None,
        seats=tuple(SEATS[:seats]) or None,
        dose_us=1,
    )
    return Line.of(entry, None)


def level(id: int, left_us: int) -> VialLevel:
    return VialLevel(VialId(id), VIALS[id].place, left_us)


STEPS = st.lists(st.sampled_from(["record", "take", "land", "fail"]), min_size=5, max_size=20)


@given(st.data())
def test_what_is_recorded_lands_in_order_and_once_but_for_the_oldest_lines_that_are_given_up(
    data: st.DataObject,
) -> None:
    book = VialBook(ZONE)
    recorded: list[Line] = []
    landed: list[Line] = []
    levels: dict[int, int] = {}
    on_disk: dict[int, int] = {}
    in_flight: ZoneVials | None = None
    lost = 0

    def land(vials: ZoneVials) -> None:
        landed.extend(vials.lines)
        on_disk.update({each.id: each.left_us for each in vials.levels})
        book.stored(vials)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vial_book, "MOST_NAMES_WAITING", 8)
        for step in data.draw(STEPS):
            if step == "record":
                newer = data.draw(st.dictionaries(st.integers(0, 2), st.integers(0, 9)))
                sizes = data.draw(st.lists(st.integers(0, 3), max_size=4))
                lines = [line(len(recorded) + n, size) for n, size in enumerate(sizes)]
                recorded += lines
                levels.update(newer)
                lost += book.record((level(*each) for each in newer.items()), lines, now=0.0)
            elif step == "take" and in_flight is None and book.waits:
                in_flight = book.take(data.draw(st.integers(1, 5)), now=0.0)
            elif step == "land" and in_flight is not None:
                land(in_flight)
                in_flight = None
            elif step == "fail":
                in_flight = None
            stored = [vial.with_left(on_disk.get(vial.id, vial.left_us)) for vial in VIALS]
            for vial in book.laid_over(stored):
                assert vial.left_us == levels.get(vial.id, VIALS[vial.id].left_us)
        while book.waits:
            land(book.take(3, now=0.0))
    assert on_disk == levels
    assert book.since is None
    numbers = [recorded.index(each) for each in landed]
    assert numbers == sorted(set(numbers))
    assert len(recorded) - lost <= len(landed) <= len(recorded)
    assert landed[-1:] == recorded[-1:]


def test_a_level_of_a_vial_that_stands_elsewhere_by_now_says_nothing_of_it() -> None:
    book = VialBook(ZONE)
    book.record([level(0, 5)], [], now=0.0)
    moved = seated(0, SEATS[2])
    assert book.laid_over([moved]) == (moved,)


def test_who_asked_is_written_by_name_and_where_nobody_knows_it_by_the_short_session() -> None:
    owner = OwnerId("s-7f3a0c5e9b1d4f62a8e7c3b5d9f10264")
    entry = JournalEntry(0.0, owner, None, Scent("pine"), None, None, None, 1)
    assert Line.of(entry, "my-game") == Line(entry, "s-7f3a0c5e", "my-game")
    assert Line.of(entry, None) == Line(entry, "s-7f3a0c5e", "s-7f3a0c5e")

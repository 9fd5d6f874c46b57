"""What the dose book says is on disk is on disk, whatever fails in between."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scentrt.actors import dose_book
from scentrt.actors.dose_book import DoseBook, ZoneDoses
from scentrt.domain.cues import SeatId, ZoneId

ZONE = ZoneId("A")
SEAT, OTHER_SEAT = SeatId("A-1-1"), SeatId("A-1-2")
NOON = 1_764_000_000
"""A Unix second at which these tests play."""


def at(second: int) -> float:
    return second * 1000.0


STEPS = st.lists(st.sampled_from(["record", "take", "land", "fail"]), min_size=5, max_size=20)


def rows_of(doses: ZoneDoses) -> dict[tuple[SeatId, int], int]:
    return {
        (seat, second): amount
        for second, seats in doses.used.items()
        for seat, amount in seats.items()
    }


@given(st.data())
def test_a_mark_on_disk_never_claims_more_than_is_on_disk(data: st.DataObject) -> None:
    """Recording, commits in parts, failures and overflows in any order: each commit is true."""
    book = DoseBook(ZONE)
    recorded: dict[tuple[SeatId, int], int] = {}
    on_disk: dict[tuple[SeatId, int], int] = {}
    in_flight: ZoneDoses | None = None
    when_taken: Mapping[tuple[SeatId, int], int] = {}
    second = NOON
    closed = False
    lost = 0

    def land(doses: ZoneDoses) -> None:
        on_disk.update(rows_of(doses))
        for (seat, of_second), amount in when_taken.items():
            if at(of_second) < doses.through_ms:
                assert on_disk.get((seat, of_second)) == amount
        if doses.closed:
            assert on_disk.items() >= when_taken.items()
        book.stored(doses)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dose_book, "MAX_ROWS_PER_ZONE", 6)
        for step in data.draw(STEPS):
            if step == "record":
                second += data.draw(st.integers(0, 1))
                used = data.draw(
                    st.dictionaries(
                        st.tuples(
                            st.sampled_from([SEAT, OTHER_SEAT]),
                            st.integers(second - 1, second),
                        ),
                        st.integers(0, 3),
                        max_size=3,
                    )
                )
                closed = data.draw(st.booleans())
                recorded.update(used)
                lost += book.record(used, at(second + 1), closed=closed, now=0.0)
            elif step == "take" and in_flight is None and book.waits:
                in_flight = book.take(data.draw(st.integers(1, 5)), now=0.0)
                when_taken = dict(recorded)
            elif step == "land" and in_flight is not None:
                land(in_flight)
                in_flight = None
            elif step == "fail":
                in_flight = None
        book.record({}, at(second + 1), closed=closed, now=0.0)
        while book.waits:
            in_flight = book.take(3, now=0.0)
            when_taken = dict(recorded)
            land(in_flight)
    if not lost and in_flight is not None:
        assert on_disk == recorded
        assert (in_flight.through_ms, in_flight.closed) == (at(second + 1), closed)

"""Levels and journal in the database: a late level changes no vial that has gone elsewhere."""

import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from scentrt.actors.ledger import Writes, ZoneDoses
from scentrt.actors.vial_book import Line, ZoneVials
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.theatre_store import SqlTheatreStore, open_store
from scentrt.adapters.views import SqlAlchemyViews
from scentrt.domain.cues import CueKey, OwnerId, Scent, SeatId, ZoneId
from scentrt.domain.events import Ended
from scentrt.domain.journal import JournalEntry
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.vials import Place, SeatedVial, VialId, VialLevel
from tests.vials import seated, store, stored_levels

ZONE, OTHER_ZONE = ZoneId("A"), ZoneId("B")
A1, A2 = SeatId("A-1-1"), SeatId("A-1-2")
VIALS = (
    seated(1, A1),
    seated(2, A2, left_s=50),
    seated(3, SeatId("B-1-1"), zone="B"),
    seated(4, A1, 1, sku="PINE", batchref="b-2"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store(tmp_path / "theatre.db", VIALS)
    return tmp_path / "theatre.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[SqlTheatreStore]:
    async with AioThread() as aio, open_store(aio, path) as store:
        yield store


def sql(path: Path, statement: str) -> None:
    with closing(create_engine(f"sqlite:///{path}").connect()) as connection:
        connection.execute(text(statement))
        connection.commit()


def levels(*told: tuple[int, SeatedVial], zone: ZoneId = ZONE) -> Writes:
    each = tuple(VialLevel(vial.id, vial.place, left_us) for left_us, vial in told)
    return Writes(vials=(ZoneVials(zone, each, (), 0),))


def journal(*entries: JournalEntry, zone: ZoneId = ZONE) -> Writes:
    return Writes(
        vials=(ZoneVials(zone, (), tuple(Line.of(each, "my-game") for each in entries), 0),)
    )


def entry(cue: str | int | None = "c-1", **more: object) -> JournalEntry:
    owner = OwnerId("s-7f3a0c5e9b1d4f62")
    given: dict[str, object] = {
        "at_ms": 1_764_000_000_000.25,
        "owner": owner,
        "cue": None if cue is None else CueKey(owner, cue),
        "scent": Scent("sea-breeze"),
        "sku": Sku("SEABREEZE"),
        "batchref": BatchRef("b-1"),
        "seats": None,
        "dose_us": 1_500_000,
        **more,
    }
    return JournalEntry(**given)  # type: ignore[arg-type]  # what a test says, or the above


async def test_the_vials_of_a_zone_are_those_that_stand_there(
    opened: SqlTheatreStore, path: Path
) -> None:
    assert await opened.vials(ZONE) == (VIALS[0], VIALS[1], VIALS[3])
    assert await opened.vials(ZoneId("C")) == ()
    sql(path, "UPDATE vials SET whereabouts = 'returned' WHERE id = 1")
    assert await opened.vials(ZONE) == (VIALS[1], VIALS[3])


async def test_a_newer_level_takes_the_place_of_the_older(
    opened: SqlTheatreStore, path: Path
) -> None:
    await opened.commit(levels((7, VIALS[0]), (8, VIALS[1])))
    await opened.commit(levels((6, VIALS[0])))
    assert stored_levels(path) == {1: 6, 2: 8, 3: 100_000_000, 4: 100_000_000}


@pytest.mark.parametrize(
    "elsewhere",
    [
        "whereabouts = 'returned'",
        "whereabouts = 'discarded'",
        "zone = 'B', seat = 'B-1-2'",
        "seat = 'A-1-3'",
        "slot = 5",
    ],
)
async def test_a_level_written_late_does_not_change_a_vial_that_has_gone_elsewhere(
    opened: SqlTheatreStore, path: Path, elsewhere: str
) -> None:
    sql(path, f"UPDATE vials SET {elsewhere} WHERE id = 1")
    nobody = SeatedVial(VialId(99), Place(ZONE, A1, 0), *("SEABREEZE", "b-1"), 1, 1)  # type: ignore[arg-type]
    await opened.commit(levels((7, VIALS[0]), (8, VIALS[1]), (9, nobody)))
    assert stored_levels(path) == {1: 100_000_000, 2: 8, 3: 100_000_000, 4: 100_000_000}


async def test_a_level_that_cannot_be_does_not_spoil_the_doses_beside_it(
    opened: SqlTheatreStore, path: Path
) -> None:
    doses = ZoneDoses(ZONE, {7: {A1: 5}}, 8_000.0, closed=False, forget_before_s=0)
    wrong = levels((-5, VIALS[0]), (100_000_001, VIALS[1]))
    await opened.commit(Writes(doses=(doses,), vials=wrong.vials))
    assert (await opened.doses(ZONE, 0)).used == {A1: {7: 5}}
    assert stored_levels(path) == {1: 0, 2: 100_000_000, 3: 100_000_000, 4: 100_000_000}


async def test_a_line_of_the_journal_is_read_as_it_was_written(opened: SqlTheatreStore) -> None:
    views = SqlAlchemyViews(opened)
    nasty = "c\"'é"
    await opened.commit(journal(entry(nasty), entry(17, seats=(A1, A2), dose_us=-3)))
    await opened.commit(journal(entry(None, sku=None, batchref=None), zone=OTHER_ZONE))
    await opened.commit(journal(entry(ended=Ended.DISPLACED)))
    found = await views.journal(0, 10, None)
    assert [line.id for line in found] == [1, 2, 3, 4]
    assert [line.cue for line in found] == [nasty, 17, None, "c-1"]
    assert [line.seats for line in found] == [None, (A1, A2), None, None]
    assert [line.zone for line in found] == ["A", "A", "B", "A"]
    assert [line.ended for line in found] == [None, None, None, "displaced"]
    assert [line.dose_us for line in found] == [1_500_000, -3, 1_500_000, 1_500_000]
    assert {(line.at_ms, line.source, line.session) for line in found} == {
        (1_764_000_000_000.25, "my-game", "s-7f3a0c5e")
    }
    assert [(line.sku, line.batchref) for line in found][1:3] == [
        ("SEABREEZE", "b-1"),
        (None, None),
    ]
    assert [line.id for line in await views.journal(1, 2, None)] == [2, 3]
    assert [line.id for line in await views.journal(1, 10, ZONE)] == [2, 4]


async def test_a_crash_keeps_levels_and_journal_of_one_commit_together(path: Path) -> None:
    async with AioThread() as aio, open_store(aio, path) as store:
        both = ZoneVials(ZONE, levels((7, VIALS[0])).vials[0].levels, (Line.of(entry(), None),), 1)
        await store.commit(Writes(vials=(both,)))
    assert stored_levels(path)[1] == 7
    async with AioThread() as aio, open_store(aio, path) as store:
        [line] = await SqlAlchemyViews(store).journal(0, 10, None)
        assert json.dumps(line.cue) == '"c-1"'

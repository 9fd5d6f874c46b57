"""A delivery note is imported just as it was written, or not at all and with every reason."""

import csv
import io
from collections.abc import Coroutine
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scentrt.domain.commands import MOST_BATCHES, Command, CreateBatch
from scentrt.domain.names import LARGEST_QUANTITY, BatchRef, Sku
from scentrt.entrypoints import delivery_note
from scentrt.entrypoints.delivery_note import (
    COLUMNS,
    check_note,
    import_note,
    read_note,
)
from scentrt.service_layer.messagebus import work_through
from tests.goods import PINE, SEA
from tests.memory_stock import MemoryStock, MemoryUnitOfWork
from tests.unit.test_stock_histories import finish


class StockRoom:
    """An owner that carries each command out in a unit of work of its own."""

    def __init__(self) -> None:
        self.stock = MemoryStock()

    async def handle(self, command: Command[Any]) -> Any:
        async with MemoryUnitOfWork(self.stock) as uow:
            answer = await work_through(command, uow)
            await uow.commit()
            return answer


def done(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return finish(coroutine)


def faults(*lines: str) -> list[str]:
    """Return what is wrong with a file of these lines, and hold it to importing nothing."""
    room = StockRoom()
    outcome = done(import_note(read_note("\n".join(lines).encode()), room))
    assert not outcome.faults or not room.stock.tables.batches
    return [str(fault) for fault in outcome.faults]


def batches(text: str | bytes) -> list[CreateBatch]:
    """Return what is in a file that is right."""
    note = read_note(text.encode() if isinstance(text, str) else text)
    assert note.faults == ()
    return list(note.batches.values())


ONE = CreateBatch(BatchRef("b-1"), SEA, 100, date(2026, 3, 2))


@pytest.mark.parametrize(
    "text",
    [
        "ref,sku,qty,eta\nb-1,SEA-BREEZE,100,2026-03-02\n",
        "ref,sku,qty,eta\r\nb-1,SEA-BREEZE,100,2026-03-02",
        "\ufeffref;sku;qty;eta\nb-1;SEA-BREEZE;100;2026-03-02\n",
        "ETA, Qty ,REF,sku\n2026-03-02, 100 , b-1 ,SEA-BREEZE\n",
        '"ref","sku","qty","eta"\n"b-1","SEA-BREEZE","0100","2026-03-02"\n',
        "ref,sku,qty,eta,,\n,,,,,\nb-1,SEA-BREEZE,100,2026-03-02,,\n,,,,,\n\n",
        "\n\nref,sku,qty,eta\n\nb-1,SEA-BREEZE,100,2026-03-02\n\n",
    ],
)
def test_a_note_is_read_however_a_spreadsheet_saves_it(text: str) -> None:
    assert batches(text) == [ONE]


def test_what_has_no_eta_is_in_the_warehouse() -> None:
    text = 'ref,sku,qty,eta\nb-1,SEA-BREEZE,0,\n"b,2",Pine "forest",1,\n'.replace(
        'Pine "forest"', '"Pine ""forest"""'
    )
    assert batches(text) == [
        CreateBatch(BatchRef("b-1"), SEA, 0),
        CreateBatch(BatchRef("b,2"), Sku('Pine "forest"'), 1),
    ]


def test_every_error_is_told_by_row_and_column_with_what_to_write_instead() -> None:
    assert faults(
        "ref,sku,qty,eta",
        'b-1,SEA-BREEZE,"1,000",2026-03-02',
        ",SEA-BREEZE,5,",
        "b-2,,-5,02.03.2026",
        "b-3,SEA-BREEZE,12.5,2026-02-30",
        "b-1,PINE-FOREST,,",
        f"{'b' * 256},SEA-BREEZE,{LARGEST_QUANTITY + 1},",
        'b-4,"SEA\nBREEZE",1e3,20260302',
        "b-5,SEA-BREEZE,1",
        "b-6,SEA-BREEZE,1,,,surplus",
    ) == [
        "row 2, qty: '1,000' is no whole number from 0; write digits only, like 100",
        "row 3, ref: is empty; write the reference of the batch",
        "row 4, sku: is empty; write the SKU",
        "row 4, qty: '-5' is no whole number from 0; write digits only, like 100",
        "row 4, eta: '02.03.2026' is no date; write it like 2026-03-02, or nothing for what is in "
        "the warehouse",
        "row 5, qty: '12.5' is no whole number from 0; write digits only, like 100",
        "row 5, eta: '2026-02-30' is no date; write it like 2026-03-02, or nothing for what is in "
        "the warehouse",
        "row 6, ref: 'b-1' is that of row 2 already; give each batch its own",
        "row 6, qty: is empty; write how many there are",
        "row 7, ref: is longer than 255 characters; shorten it",
        f"row 7, qty: '{LARGEST_QUANTITY + 1}' is too many; the most is {LARGEST_QUANTITY}",
        "row 8, sku: has a line break or the like in it; write one line of text",
        "row 8, qty: '1e3' is no whole number from 0; write digits only, like 100",
        "row 8, eta: '20260302' is no date; write it like 2026-03-02, or nothing for what is in "
        "the warehouse",
        "row 9: has 3 fields, and the first row has 4; leave none out, and put quotes around one "
        "with a separator in it",
        "row 10: has 6 fields, and the first row has 4; leave none out, and put quotes around one "
        "with a separator in it",
    ]


@pytest.mark.parametrize(
    ("lines", "problems"),
    [
        ((), ["row 1: is empty; write the columns there: ref,sku,qty,eta"]),
        (("", ",,"), ["row 1: is empty; write the columns there: ref,sku,qty,eta"]),
        (("ref,sku,qty,eta",), ["row 2: is empty; write a batch in each row"]),
        (
            ("b-1,SEA-BREEZE,1,",),
            [
                "row 1, 'b-1': is no column; the columns are ref,sku,qty,eta",
                "row 1, 'sea-breeze': is no column; the columns are ref,sku,qty,eta",
                "row 1, '1': is no column; the columns are ref,sku,qty,eta",
                "row 1, ref: is missing; the columns are ref,sku,qty,eta",
                "row 1, sku: is missing; the columns are ref,sku,qty,eta",
                "row 1, qty: is missing; the columns are ref,sku,qty,eta",
                "row 1, eta: is missing; the columns are ref,sku,qty,eta",
            ],
        ),
        (
            ("ref,sku,qty,sku", "b-1,a,1,b"),
            [
                "row 1, sku: is there twice; name each column once",
                "row 1, eta: is missing; the columns are ref,sku,qty,eta",
            ],
        ),
        (
            ("ref,sku,qty,eta", 'b-1,"SEA,1,'),
            ["row 2: cannot be read: unexpected end of data; mend its quotes"],
        ),
    ],
)
def test_what_is_no_note_at_all_is_told_so(lines: tuple[str, ...], problems: list[str]) -> None:
    assert faults(*lines) == problems


def test_text_in_another_encoding_is_told_by_its_row() -> None:
    note = read_note("ref,sku,qty,eta\nb-1,SEA,1,\nb-2,Föhre,1,\n".encode("latin-1"))
    assert [str(fault) for fault in note.faults] == [
        "row 3: is not text in UTF-8; save the file as 'CSV UTF-8'"
    ]
    note = read_note("ref,sku,qty,eta\n".encode("utf-16"))
    assert note.faults[0].row == 1


def test_a_note_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["ref,sku,qty,eta", *(f"b-{n},SEA-BREEZE,1," for n in range(MOST_BATCHES + 1))]
    whole, one_more = "\n".join(lines[:-1]).encode(), "\n".join(lines).encode()
    assert (len(read_note(whole).batches), read_note(whole).faults) == (MOST_BATCHES, ())
    assert [str(fault) for fault in read_note(one_more).faults] == [
        f"row {MOST_BATCHES + 2}: is more than 5,000 batches; split the file"
    ]
    monkeypatch.setattr(delivery_note, "MOST_BYTES", 1_000)
    assert faults(*lines) == ["row 1: the file is larger than 0.001 MB; split it"]


def test_a_reference_that_is_known_as_another_batch_is_told_beside_everything_else() -> None:
    room = StockRoom()
    done(room.handle(CreateBatch(BatchRef("b-1"), SEA, 10)))
    before = room.stock.tables
    note = read_note(b"ref,sku,qty,eta\nb-2,SEA-BREEZE,x,\nb-1,SEA-BREEZE,11,\nb-3,PINE,,\n")
    for ask in check_note, import_note:
        assert [str(fault) for fault in done(ask(note, room)).faults] == [
            "row 2, qty: 'x' is no whole number from 0; write digits only, like 100",
            "row 3, ref: 'b-1' is that of another batch already, its SKU, quantity or ETA differs; "
            "write another reference",
            "row 4, qty: is empty; write how many there are",
        ]
    assert room.stock.tables is before


# Whatever is written

names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20
).filter(lambda name: name == name.strip())
rows = st.builds(
    CreateBatch,
    names.map(BatchRef),
    names.map(Sku),
    st.integers(0, LARGEST_QUANTITY),
    st.none() | st.dates(),
)
notes = st.lists(rows, min_size=1, max_size=20, unique_by=lambda batch: batch.ref)


def written(told: list[CreateBatch], order: list[str], delimiter: str, newline: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, order, delimiter=delimiter, lineterminator=newline)
    writer.writeheader()
    for batch in told:
        writer.writerow({column: getattr(batch, column) for column in COLUMNS})
    return text.getvalue().encode("utf-8-sig" if newline == "\r\n" else "utf-8")


@pytest.mark.soak
@given(
    told=notes,
    known=notes,
    order=st.permutations(COLUMNS),
    delimiter=st.sampled_from(",;"),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_accepted_is_imported_exactly(
    told: list[CreateBatch],
    known: list[CreateBatch],
    order: list[str],
    delimiter: str,
    newline: str,
) -> None:
    room = StockRoom()
    others = [batch for batch in known if batch.ref not in {each.ref for each in told}]
    for batch in [*others, *told[::3]]:
        done(room.handle(batch))
    note = read_note(written(told, list(order), delimiter, newline))
    assert list(note.batches.values()) == told
    before = room.stock.tables
    checked = done(check_note(note, room))
    assert room.stock.tables is before
    outcome = done(import_note(note, room))
    assert outcome == checked
    assert (outcome.new, outcome.faults) == (len(told) - len(told[::3]), ())
    stored = {ref: (row.sku, *row.told) for ref, row in room.stock.tables.batches.items()}
    assert stored == {batch.ref: (batch.sku, batch.qty, batch.eta) for batch in [*others, *told]}


cells = st.one_of(
    st.sampled_from(["", "b-1", "b-2", "SEA", "1", "2", "-1", "1.5", "2026-03-02", "2026-13-01"]),
    st.text(max_size=3),
)
grids = st.lists(st.lists(cells, min_size=3, max_size=5), max_size=6)


@pytest.mark.soak
@given(grid=grids, header=st.permutations(COLUMNS) | st.lists(st.sampled_from([*COLUMNS, "x"])))
def test_what_is_refused_changes_nothing_and_what_is_not_is_all_there(
    grid: list[list[str]], header: list[str]
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *grid])
    room = StockRoom()
    done(room.handle(CreateBatch(BatchRef("b-1"), PINE, 7)))
    before = room.stock.tables
    note = read_note(text.getvalue().encode("utf-8", "surrogatepass"))
    outcome = done(import_note(note, room))
    if outcome.faults:
        assert room.stock.tables is before
        assert all(fault.problem and fault.row >= 1 for fault in outcome.faults)
        assert list(outcome.faults) == sorted(outcome.faults, key=lambda fault: fault.row)
    else:
        used = [row for row in grid if any(cell.strip() for cell in row)]
        assert len(room.stock.tables.batches) == 1 + len(used)


@pytest.mark.soak
@given(data=st.binary(max_size=200))
def test_no_bytes_make_it_fail_without_a_sentence(data: bytes) -> None:
    for text in data, b"ref,sku,qty,eta\n" + data:
        note = read_note(text)
        assert note.faults or note.batches
        assert all(fault.problem and fault.row >= 1 for fault in note.faults)

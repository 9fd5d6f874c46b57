"""A delivery note: batches in a CSV file, as a spreadsheet saves it.

The first row names the columns, in any order. Every row is looked at, and everything that is wrong
is told by its row, as a spreadsheet counts them, and its column. What is right can be imported only
if nothing is wrong.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from io import StringIO

from scentrt.domain.commands import MOST_BATCHES, CheckBatches, CreateBatch, ImportBatches
from scentrt.domain.names import LARGEST_QUANTITY, BatchRef, Sku
from scentrt.errors import ImportConflict
from scentrt.service_layer.messagebus import Owner

COLUMNS = ("ref", "sku", "qty", "eta")
HEADER = ",".join(COLUMNS)

MOST_BYTES = 8_000_000
"""A note of as many batches as there may be is a tenth of this."""

LONGEST_NAME = 255

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"[0-9]{1,100}")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something wrong in a row; `column` is empty where it is the row itself."""

    row: int
    column: str
    problem: str

    def __str__(self) -> str:
        place = f"row {self.row}, {self.column}" if self.column else f"row {self.row}"
        return f"{place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class DeliveryNote:
    """What a file says: the batches of the rows that are right, each with its row, and the rest."""

    batches: Mapping[int, CreateBatch]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a note: how many batches were new; none was imported where there are faults."""

    new: int
    faults: tuple[Fault, ...] = ()


async def check_note(note: DeliveryNote, stock: Owner) -> Outcome:
    """Say what `import_note` would do; raises as `Owner.handle` does."""
    return await _hand_in(note, stock, CheckBatches)


async def import_note(note: DeliveryNote, stock: Owner) -> Outcome:
    """Import all batches of a note, or none where anything is wrong.

    Wrong is also a reference that the stock room knows as that of another batch. To import a note
    once more changes nothing. Raises as `Owner.handle` does.
    """
    return await _hand_in(note, stock, CheckBatches if note.faults else ImportBatches)


async def _hand_in(
    note: DeliveryNote, stock: Owner, command: type[CheckBatches | ImportBatches]
) -> Outcome:
    if not note.batches:
        return Outcome(0, note.faults)
    try:
        new = await stock.handle(command(tuple(note.batches.values())))
    except ImportConflict as conflict:
        return Outcome(0, tuple(sorted([*note.faults, *_other_batches(note, conflict.refs)])))
    return Outcome(new, note.faults)


def _other_batches(note: DeliveryNote, refs: Iterable[str]) -> Iterator[Fault]:
    others = set(refs)
    for row, batch in note.batches.items():
        if batch.ref in others:
            yield Fault(
                row,
                "ref",
                f"{batch.ref!r} is that of another batch already, its SKU, quantity or ETA "
                "differs; write another reference",
            )


def read_note(data: bytes, told: Callable[[int], None] = lambda _: None) -> DeliveryNote:
    """Read the content of a file.

    It is in UTF-8, with or without a byte order mark, and its columns are separated by commas or,
    where the first row has none, by semicolons.

    Args:
      told: called with the number of each row that has been read.
    """
    if len(data) > MOST_BYTES:
        return _refused(1, f"the file is larger than {MOST_BYTES / 1e6:g} MB; split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        return _refused(row, "is not text in UTF-8; save the file as 'CSV UTF-8'")
    first_line = text.partition("\n")[0]
    delimiter = ";" if ";" in first_line and "," not in first_line else ","
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    note = _Note()
    number = 0
    try:
        for number, cells in enumerate(rows, 1):
            if not note.take(number, [cell.strip() for cell in cells]):
                break
            told(number)
    except csv.Error as error:
        note.faults.append(Fault(number + 1, "", f"cannot be read: {error}; mend its quotes"))
    return note.whole()


def _refused(row: int, problem: str) -> DeliveryNote:
    return DeliveryNote({}, (Fault(row, "", problem),))


class _Note:
    """A note that is being read, row by row."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._batches: dict[int, CreateBatch] = {}
        self._header: list[str] = []
        self._rows = 0
        self._row_of: dict[str, int] = {}

    def take(self, row: int, cells: list[str]) -> bool:
        """Take a row in; return whether it makes sense to go on."""
        while cells and not cells[-1] and len(cells) > len(self._header):
            cells.pop()  # a spreadsheet may fill all rows up to the longest one
        if not any(cells):
            return True
        if not self._header:
            return self._take_header(row, [cell.casefold() for cell in cells])
        self._rows += 1
        if self._rows > MOST_BATCHES:
            self._fault(row, "", f"is more than {MOST_BATCHES:,} batches; split the file")
            return False
        if len(cells) == len(self._header):
            self._take_batch(row, dict(zip(self._header, cells, strict=True)))
        else:
            self._fault(
                row,
                "",
                f"has {len(cells)} fields, and the first row has {len(self._header)}; leave none "
                "out, and put quotes around one with a separator in it",
            )
        return True

    def whole(self) -> DeliveryNote:
        """Return the note, when all rows have been taken in."""
        if not self._header and not self.faults:
            self._fault(1, "", f"is empty; write the columns there: {HEADER}")
        elif not self._rows and not self.faults:
            self._fault(2, "", "is empty; write a batch in each row")
        return DeliveryNote(self._batches, tuple(self.faults))

    def _fault(self, row: int, column: str, problem: str) -> None:
        self.faults.append(Fault(row, column, problem))

    def _take_header(self, row: int, header: list[str]) -> bool:
        for name in dict.fromkeys(header):
            if name not in COLUMNS:
                self._fault(row, _shown(name), f"is no column; the columns are {HEADER}")
            elif header.count(name) > 1:
                self._fault(row, name, "is there twice; name each column once")
        for name in COLUMNS:
            if name not in header:
                self._fault(row, name, f"is missing; the columns are {HEADER}")
        self._header = header
        return not self.faults

    def _take_batch(self, row: int, cells: Mapping[str, str]) -> None:
        ref, qty, eta = cells["ref"], _number(cells["qty"]), parse_date(cells["eta"])
        earlier = self._row_of.setdefault(ref, row)
        twice = f"{_shown(ref)} is that of row {earlier} already; give each batch its own"
        problems = {
            "ref": problem_of_name(ref, "the reference of the batch")
            or (twice if earlier != row else ""),
            "sku": problem_of_name(cells["sku"], "the SKU"),
            "qty": _problem_of_quantity(cells["qty"], qty),
            "eta": _problem_of_date(cells["eta"], eta),
        }
        for column, problem in problems.items():
            if problem:
                self._fault(row, column, problem)
        if not any(problems.values()) and qty is not None:
            self._batches[row] = CreateBatch(BatchRef(ref), Sku(cells["sku"]), qty, eta)


def problem_of_name(name: str, what: str) -> str:
    if not name:
        return f"is empty; write {what}"
    if len(name) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters; shorten it"
    if _UNPRINTABLE.search(name):
        return "has a line break or the like in it; write one line of text"
    return ""


def _problem_of_quantity(text: str, qty: int | None) -> str:
    if not text:
        return "is empty; write how many there are"
    if qty is None:
        return f"{_shown(text)} is no whole number from 0; write digits only, like 100"
    if qty > LARGEST_QUANTITY:
        return f"{_shown(text)} is too many; the most is {LARGEST_QUANTITY}"
    return ""


def _problem_of_date(text: str, eta: date | None) -> str:
    if eta is None and text:
        return (
            f"{_shown(text)} is no date; write it like 2026-03-02, or nothing for what is in the "
            "warehouse"
        )
    return ""


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")

"""A database that was tampered with says so when it is looked through, and each fault by name."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio
from sqlalchemy import Connection

from scentrt.actors.ledger import Writes, ZoneDoses
from scentrt.adapters.aio_thread import AioThread
from scentrt.adapters.database_check import MOST_TOLD, TRUTHS, check_database, check_file
from scentrt.adapters.database_reading import read_one_state
from scentrt.adapters.orm import SCHEMA_VERSION
from scentrt.adapters.theatre_store import open_store
from scentrt.domain.commands import Allocate, CreateBatch, LoadVials, PlaceOrder
from scentrt.domain.cues import SeatId, ZoneId
from scentrt.domain.names import BatchRef, OrderId
from scentrt.domain.vials import Place
from scentrt.errors import ConfigError
from tests.goods import PINE, SEA, TODAY, line
from tests.integration.test_database_facts import NOON_MS, trace
from tests.stock_stage import stock_in_sql

B1, B2 = BatchRef("b-1"), BatchRef("b-2")
O1, O2 = OrderId("o-1"), OrderId("o-2")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database with doses, two batches, a line on the first, and one among back-orders.

    Two vials of the first line stand in seats, and it is that of a refill.
    """
    path = tmp_path_factory.mktemp("good") / "theatre.db"
    trio.run(fill, path)
    return path


async def fill(path: Path) -> None:
    async with AioThread() as aio, open_store(aio, path) as store:
        doses = ZoneDoses(ZoneId("A"), {0: {SeatId("A-1-1"): 1}}, NOON_MS, True, 0)  # noqa: FBT003
        await store.commit(Writes(doses=(doses,)))
        async with stock_in_sql(store) as bus:
            await bus.handle(CreateBatch(B1, SEA, 10))
            await bus.handle(CreateBatch(B2, PINE, 10, TODAY))
            await bus.handle(Allocate(O1, SEA, 4))
            await bus.handle(PlaceOrder(O2, (line("o-2", 11, PINE),)))
            await bus.handle(Allocate(O1, PINE, 10))  # the order before it is settled by then
            places = tuple(Place(ZoneId("A"), SeatId(f"A-1-{n}"), 0) for n in (1, 2))
            await bus.handle(LoadVials(SEA, O1, places, 2, 100))
    tamper(
        path,
        "INSERT INTO refills VALUES ('o-1', 'A', 'sea', 'SEA-BREEZE', 1, 4, 100, '[]', 'ordered')",
        "INSERT INTO seat_settings VALUES ('A', 'A-1-1', 0, '[\"tar\"]', 1.0, 0.0)",
    )


@pytest.fixture
def path(good: Path, tmp_path: Path) -> Path:
    """Copy the good one, to be tampered with."""
    return Path(shutil.copy(good, tmp_path / "theatre.db"))


def tamper(path: Path, *statements: str) -> None:
    """Change a database past its constraints."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            database.execute(statement)
        database.commit()


def faults(path: Path) -> list[str]:
    return list(check_file(path))


def test_a_good_one_is_in_order_and_stays_as_it_was(path: Path) -> None:
    before = trace(path.parent)
    assert check_database(f"sqlite:///{path}") == (path, check_file(path))
    assert faults(path) == []
    assert trace(path.parent) == before


TAMPERED = [
    (
        ("UPDATE batches SET allocated_quantity = 5 WHERE reference = 'b-1'",),
        "batch b-1: counts 5 as allocated, and its lines add up to 4",
    ),
    (
        ("UPDATE order_lines SET qty = 12 WHERE sku = 'SEA-BREEZE'",),
        "batch b-1: 12 are allocated, of 10 that were purchased",
    ),
    (
        (
            "DROP TRIGGER line_back_ordered",
            "INSERT INTO back_orders (sku, orderid) VALUES ('SEA-BREEZE', 'o-1')",
        ),
        "order o-1: its line of SEA-BREEZE is on batch b-1 and among the back-orders at once",
    ),
    (
        ("INSERT INTO unsettled_lines (sku, orderid, what) VALUES ('PINE-FOREST', 'o-2', 'fill')",),
        "order o-2: its line of PINE-FOREST is among the back-orders and still to be filled "
        "at once",
    ),
    (
        ("DELETE FROM back_orders",),
        "order o-2: its line of 11 PINE-FOREST is forgotten, neither allocated nor back-ordered "
        "nor still to be filled",
    ),
    (
        ("DELETE FROM back_orders", "DELETE FROM order_lines WHERE orderid = 'o-2'"),
        "order o-2: was accepted with 11 PINE-FOREST, and has none",
    ),
    (
        ("UPDATE orders SET cancelled = 1",),
        "order o-2: was cancelled, and keeps its line of 11 PINE-FOREST",
    ),
    (
        ("DELETE FROM allocations_view WHERE sku = 'SEA-BREEZE'",),
        "order o-1: its line of SEA-BREEZE is on batch b-1, and the read model says none",
    ),
    (
        ("UPDATE allocations_view SET batchref = 'b-2' WHERE sku = 'SEA-BREEZE'",),
        "order o-1: its line of SEA-BREEZE is on batch b-1, and the read model says b-2",
    ),
    (
        (
            "INSERT INTO allocations_view (orderid, sku, batchref) "
            "VALUES ('o-2', 'PINE-FOREST', 'b-2')",
        ),
        "order o-2: the read model says that its line of PINE-FOREST is on batch b-2, and it is "
        "on none",
    ),
    (
        ("DELETE FROM vials WHERE id = 2",),
        "order o-1: says that 2 vials of its SEA-BREEZE were taken, and there are 1",
    ),
    (
        ("UPDATE vials SET batchref = 'b-2' WHERE id = 2",),
        "vial 2: comes from batch b-2, and the line of order o-1 is on b-1",
    ),
    (
        (
            "DROP TRIGGER cancelled_by_insert",
            "INSERT INTO unsettled_lines VALUES (9, 'SEA-BREEZE', 'o-1', 'cancel')",
        ),
        "order o-1: is to be given up, and 2 vials of its SEA-BREEZE were taken",
    ),
    (
        ("DROP INDEX one_vial_in_a_slot", "UPDATE vials SET seat = 'A-1-1'"),
        "seat A-1-1: in its slot 0 stand 2 vials",
    ),
    (
        ("UPDATE refills SET qty = 3",),
        "refill o-1: has ordered 3 SEA-BREEZE, and its line is of 4",
    ),
    *(
        (
            (f"UPDATE seat_settings SET averse_to = '{told}'",),
            f"seat A-1-1: what it is averse to is no list of scents, but {told}",
        )
        for told in ('{"tar": 1}', "[1]")
    ),
    (
        ("UPDATE dose_marks SET through_ms = -1",),
        "zone A: its doses are on record until 1969-12-31 23:59:59 UTC, which is no time in the "
        "past; seats may be refused what they have not had",
    ),
    (
        ("UPDATE dose_marks SET through_ms = 9e999",),
        "zone A: its doses are on record until Inf ms, which is no time in the past; seats may "
        "be refused what they have not had",
    ),
    (
        ("UPDATE dose_marks SET through_ms = 4102444800000",),
        "zone A: its doses are on record until 2100-01-01 00:00:00 UTC, which is no time in the "
        "past; seats may be refused what they have not had",
    ),
    (
        ("DELETE FROM dose_marks",),
        "zone A: it has doses on record, and no mark that says until when",
    ),
    (
        ("UPDATE allocations SET batchref = 'b-9' WHERE sku = 'SEA-BREEZE'",),
        "table allocations: row 1 refers to something in batches that is not there",
    ),
    (
        ("DELETE FROM products WHERE sku = 'SEA-BREEZE'",),
        "table order_lines: a row refers to something in products that is not there",
    ),
    (("DROP TRIGGER line_allocated",), "the schema has no trigger line_allocated"),
    (("DROP INDEX outbox_by_kind",), "the schema has no index outbox_by_kind"),
    (
        ("UPDATE batches SET told_quantity = -1 WHERE reference = 'b-1'",),
        "table batches: 1 rows are against told_quantity >= 0",
    ),
    (
        ("UPDATE orders SET lines = 'o-2' WHERE orderid = 'o-2'",),
        "table orders: 1 rows are against json_valid(lines)",
    ),
    (
        ("UPDATE dose_marks SET closed = 7",),
        "table dose_marks: 1 rows are against dose_marks.closed IN (0, 1)",
    ),
    (
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}",),
        f"it has schema version {SCHEMA_VERSION + 1}, and this ScentRT reads version "
        f"{SCHEMA_VERSION}; use the ScentRT that wrote it, or another file",
    ),
    (("DROP TABLE outbox",), "it is not a database of ScentRT; name another file"),
]


@pytest.mark.parametrize(("statements", "fault"), TAMPERED)
def test_each_fault_is_named(path: Path, statements: tuple[str, ...], fault: str) -> None:
    tamper(path, *statements)
    assert fault in faults(path)


@pytest.mark.parametrize("truth", TRUTHS)
def test_no_truth_goes_without_a_case_that_breaks_it(truth: object) -> None:
    begins = str(getattr(truth, "fault", "")).split("{")[1].split("}")[1]
    assert any(begins in fault for _, fault in TAMPERED)


def test_damage_to_the_file_is_told_apart_from_untruths(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(36)  # where the file says how many of its pages are unused
        file.write((7).to_bytes(4, "big"))
    found = check_file(path)
    assert (len(found.damage), found.untruths) == (1, ())
    assert found.damage[0].startswith("the file is damaged: ")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096 * 5))
    assert check_file(path).damage == (
        "the file cannot be read to its end: database disk image is malformed",
    )


def test_what_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not what you think " * 100, encoding="utf-8")
    assert faults(tmp_path / "text.db") == ["the file cannot be read: file is not a database"]


def test_a_file_with_nothing_in_it_is_not_in_order(tmp_path: Path) -> None:
    (tmp_path / "emptied.db").touch()
    [fault] = check_file(tmp_path / "emptied.db")
    assert "all that it had is lost" in fault


def test_an_order_that_waits_for_its_products_is_no_fault(path: Path) -> None:
    tamper(
        path,
        "DELETE FROM back_orders",
        "INSERT INTO unsettled_lines (sku, orderid, what) VALUES ('PINE-FOREST', 'o-2', 'fill')",
        "INSERT INTO unsettled_lines (sku, orderid, what) VALUES ('PINE-FOREST', 'o-1', 'cancel')",
    )
    assert faults(path) == []
    tamper(path, "UPDATE unsettled_lines SET what = 'cancel'")
    assert faults(path) == []


def test_of_many_faults_of_a_kind_some_are_told(path: Path) -> None:
    rows = ", ".join(f"('o-{number}', 'SEA-BREEZE', 'b-1')" for number in range(10, 100))
    tamper(path, f"INSERT INTO allocations_view (orderid, sku, batchref) VALUES {rows}")
    found = faults(path)
    assert len(found) == MOST_TOLD + 1
    assert found[-1] == "… and more of this kind"


def test_a_server_may_write_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "stock.db"
    command = [sys.executable, "-m", "tests.integration.stock_under_load", str(path), "1"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("[]")
        process.stdin.close()
        for _ in range(200):
            process.stdout.readline()
        for _ in range(5):
            assert faults(path) == []
        assert process.poll() is None
        process.kill()
    assert faults(path) == [], "what waits in the log of one that was killed counts"


def test_where_a_server_starts_meanwhile_it_is_read_once_more(path: Path) -> None:
    seen: list[int] = []

    def read(connection: Connection) -> int:
        if not seen:
            with closing(sqlite3.connect(path)) as server:
                server.execute("UPDATE dose_marks SET through_ms = 17")
                server.commit()
        [(through_ms,)] = connection.exec_driver_sql("SELECT through_ms FROM dose_marks")
        seen.append(int(through_ms))
        return seen[-1]

    assert read_one_state(path, read) == 17
    assert len(seen) == 2


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    for database, problem in (
        (str(tmp_path / "none.db"), "there is no such file"),
        (str(tmp_path), "is a directory"),
        (":memory:", "is in memory"),
    ):
        with pytest.raises(ConfigError, match=problem):
            check_database(database)
    assert not list(tmp_path.iterdir())

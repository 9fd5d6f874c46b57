"""Whether a database is whole, and whether what it says is true: to look at only.

SQLite finds what is damaged; here are the house's own truths beside that. They look for what no
constraint of the tables forbids, and for what slipped past one: each is a query that finds nothing
in a good database, and a sentence for each row that it finds in another.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import CheckConstraint, Connection, create_engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from scentrt.adapters.database_reading import existing_file_of, read_one_state
from scentrt.adapters.orm import is_new, metadata, prepare
from scentrt.adapters.sql_reader import reason_of
from scentrt.errors import ConfigError

MOST_TOLD = 20
"""Faults of one kind: with more, what matters is that there are many."""

AHEAD_MS = 60_000
"""How far a dose may lie ahead of the clock: clocks are set right while servers run."""

TICK = 100_000
"""Instructions of SQLite's between two moments at which Ctrl-C is heard: about a millisecond."""


class Truth(NamedTuple):
    """A query for what must not be, and what to say of each row that it finds."""

    sql: str
    fault: str


TRUTHS = (
    # Batches
    Truth(
        """
        SELECT reference, allocated_quantity AS counted, coalesce(added, 0) AS added
        FROM batches LEFT JOIN (
            SELECT batchref, sum(qty) AS added
            FROM allocations JOIN order_lines USING (sku, orderid) GROUP BY batchref
        ) ON batchref = reference
        WHERE counted != coalesce(added, 0) ORDER BY batches.id
        """,
        "batch {reference}: counts {counted} as allocated, and its lines add up to {added}",
    ),
    Truth(
        """
        SELECT reference, purchased_quantity AS purchased, sum(qty) AS allocated
        FROM batches JOIN allocations ON batchref = reference
            JOIN order_lines ON order_lines.sku = allocations.sku
                AND order_lines.orderid = allocations.orderid
        GROUP BY reference HAVING sum(qty) > purchased_quantity ORDER BY batches.id
        """,
        "batch {reference}: {allocated} are allocated, of {purchased} that were purchased",
    ),
    # Lines: each is in one place
    Truth(
        """
        SELECT sku, orderid, group_concat(place, ' and ') AS places FROM (
            SELECT sku, orderid, 'on batch ' || batchref AS place FROM allocations
            UNION ALL SELECT sku, orderid, 'among the back-orders' FROM back_orders
            UNION ALL SELECT sku, orderid, 'still to be filled' FROM unsettled_lines
                WHERE what = 'fill'
        ) GROUP BY sku, orderid HAVING count(*) > 1
        """,
        "order {orderid}: its line of {sku} is {places} at once",
    ),
    Truth(
        """
        SELECT sku, orderid, qty FROM order_lines AS line
        WHERE NOT EXISTS (
                SELECT 1 FROM allocations WHERE sku = line.sku AND orderid = line.orderid)
            AND NOT EXISTS (
                SELECT 1 FROM back_orders WHERE sku = line.sku AND orderid = line.orderid)
            AND NOT EXISTS (
                SELECT 1 FROM unsettled_lines WHERE sku = line.sku AND orderid = line.orderid)
        """,
        "order {orderid}: its line of {qty} {sku} is forgotten, neither allocated nor back-ordered "
        "nor still to be filled",
    ),
    Truth(
        """
        SELECT orders.orderid, json_extract(line.value, '$[0]') AS accepted_sku,
            json_extract(line.value, '$[1]') AS accepted, coalesce(order_lines.qty, 'none') AS found
        FROM orders
            JOIN json_each(CASE WHEN json_valid(lines) THEN lines ELSE '[]' END) AS line
            LEFT JOIN order_lines
                ON order_lines.orderid = orders.orderid AND order_lines.sku = accepted_sku
        WHERE NOT cancelled AND order_lines.qty IS NOT accepted
        """,
        "order {orderid}: was accepted with {accepted} {accepted_sku}, and has {found}",
    ),
    Truth(
        """
        SELECT orderid, sku, qty FROM orders JOIN order_lines USING (orderid)
        WHERE cancelled AND NOT EXISTS (
            SELECT 1 FROM unsettled_lines AS left
            WHERE left.sku = order_lines.sku AND left.orderid = orders.orderid AND what = 'cancel')
        """,
        "order {orderid}: was cancelled, and keeps its line of {qty} {sku}",
    ),
    # Vials and refills
    Truth(
        """
        SELECT orderid, sku, taken, coalesce(counted, 0) AS found
        FROM order_lines LEFT JOIN (
            SELECT sku, orderid, count(*) AS counted FROM vials GROUP BY sku, orderid
        ) USING (sku, orderid)
        WHERE taken != coalesce(counted, 0)
        """,
        "order {orderid}: says that {taken} vials of its {sku} were taken, and there are {found}",
    ),
    Truth(
        """
        SELECT vials.id, vials.batchref, vials.orderid, coalesce(line.batchref, 'none') AS found
        FROM vials LEFT JOIN allocations AS line USING (sku, orderid)
        WHERE line.batchref IS NOT vials.batchref ORDER BY vials.id
        """,
        "vial {id}: comes from batch {batchref}, and the line of order {orderid} is on {found}",
    ),
    Truth(
        """
        SELECT orderid, taken, sku FROM unsettled_lines JOIN order_lines USING (sku, orderid)
        WHERE what = 'cancel' AND taken > 0
        """,
        "order {orderid}: is to be given up, and {taken} vials of its {sku} were taken",
    ),
    Truth(
        """
        SELECT seat, slot, count(*) AS found FROM vials WHERE whereabouts = 'seated'
        GROUP BY zone, seat, slot HAVING found > 1
        """,
        "seat {seat}: in its slot {slot} stand {found} vials",
    ),
    Truth(
        """
        SELECT orderid, refills.qty, sku, order_lines.qty AS found
        FROM refills JOIN order_lines USING (sku, orderid)
        WHERE status = 'ordered' AND refills.qty != order_lines.qty
        """,
        "refill {orderid}: has ordered {qty} {sku}, and its line is of {found}",
    ),
    # Seats
    Truth(
        """
        SELECT seat, averse_to AS told FROM seat_settings
        WHERE CASE WHEN NOT json_valid(averse_to) THEN 0  -- which the table itself does not take
            WHEN json_type(averse_to) != 'array' THEN 1
            ELSE EXISTS (SELECT 1 FROM json_each(averse_to) WHERE type != 'text') END
        """,
        "seat {seat}: what it is averse to is no list of scents, but {told}",
    ),
    # What is looked at
    Truth(
        """
        SELECT sku, orderid, allocations.batchref, coalesce(seen.batchref, 'none') AS seen
        FROM allocations LEFT JOIN allocations_view AS seen USING (orderid, sku)
        WHERE seen.batchref IS NOT allocations.batchref ORDER BY allocations.id
        """,
        "order {orderid}: its line of {sku} is on batch {batchref}, and the read model says {seen}",
    ),
    Truth(
        """
        SELECT sku, orderid, seen.batchref
        FROM allocations_view AS seen LEFT JOIN allocations USING (sku, orderid)
        WHERE allocations.id IS NULL ORDER BY seen.id
        """,
        "order {orderid}: the read model says that its line of {sku} is on batch {batchref}, and "
        "it is on none",
    ),
    # Doses
    Truth(
        """
        SELECT zone, coalesce(
            datetime(through_ms / 1000, 'unixepoch') || ' UTC', through_ms || ' ms') AS until
        FROM dose_marks
        WHERE typeof(through_ms) NOT IN ('real', 'integer')
            OR through_ms NOT BETWEEN 0 AND :until_ms
        """,
        "zone {zone}: its doses are on record until {until}, which is no time in the past; seats "
        "may be refused what they have not had",
    ),
    Truth(
        """
        SELECT DISTINCT zone FROM dose_seconds WHERE zone NOT IN (SELECT zone FROM dose_marks)
        """,
        "zone {zone}: it has doses on record, and no mark that says until when",
    ),
)


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with a database, one sentence each.

    With `damage`, the file itself is broken; with `untruths`, it can be read, and what it says
    cannot be.
    """

    damage: tuple[str, ...] = ()
    untruths: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        return iter(self.damage + self.untruths)


def check_database(database: str) -> tuple[Path, Faults]:
    """Look a database through, given as to `open_store`; return its path and all its faults.

    Blocks, for minutes where it is big. A server may write meanwhile: one state of the database is
    looked at. Nothing is changed.

    Raises:
      ConfigError: there is no such database.
    """
    path = existing_file_of(database)
    return path, check_file(path)


def check_file(path: Path) -> Faults:
    """Look a file through that should be a database of ours."""
    try:
        return read_one_state(path, _faults)
    except ConfigError as error:  # of another version, or somebody else's
        return Faults(damage=(f"it {error.problem}",))
    except SQLAlchemyError as error:
        return Faults(damage=(f"the file cannot be read: {reason_of(error)}",))
    except OSError as error:
        return Faults(damage=(f"the file cannot be read: {error.strerror}",))


def _faults(connection: Connection) -> Faults:
    damage: list[str] = []
    untruths: list[str] = []
    if is_new(connection, ""):  # which no server leaves behind that has ever begun
        damage.append("nothing is in it: if it was used before, all that it had is lost")
    else:
        try:
            with _hearing_ctrl_c(connection):
                damage += _damage(connection)
                untruths += _missing_parts(connection)
                untruths += _against_the_tables(connection)
                untruths += _loose_ends(connection)
                for truth in TRUTHS:
                    untruths += _against(truth, connection)
        except SQLAlchemyError as error:
            damage.append(f"the file cannot be read to its end: {reason_of(error)}")
    return Faults(tuple(damage), tuple(untruths))


def _damage(connection: Connection) -> list[str]:
    told = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_TOLD})").scalars().all()
    return [] if told == ["ok"] else [f"the file is damaged: {flaw}" for flaw in told]


def _missing_parts(connection: Connection) -> list[str]:
    ours = create_engine("sqlite://")
    with ours.begin() as model:
        prepare(model, "")
        missing = _parts(model) - _parts(connection)
    ours.dispose()
    return [f"the schema has no {kind} {name}" for kind, name in sorted(missing)]


def _parts(connection: Connection) -> set[tuple[str, str]]:
    rows = connection.exec_driver_sql("SELECT type, name FROM sqlite_master")
    return {(kind, name) for kind, name in rows}


def _against_the_tables(connection: Connection) -> list[str]:
    """Look for rows that no table takes; SQLite itself forgets of this where it only reads."""
    faults = []
    for table in metadata.sorted_tables:
        of_columns = [rule for column in table.columns for rule in column.constraints]
        for rule in (*table.constraints, *of_columns):
            if isinstance(rule, CheckConstraint):
                said = rule.sqltext.compile(connection, compile_kwargs={"literal_binds": True})
                wrong = select(func.count()).select_from(table).where(text(f"NOT ({said})"))
                if rows := connection.scalar(wrong):
                    faults.append(f"table {table.name}: {rows} rows are against {said}")
    return sorted(faults)


def _loose_ends(connection: Connection) -> list[str]:
    faults: dict[str, None] = {}
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        what = "a row" if row is None else f"row {row}"
        faults[f"table {table}: {what} refers to something in {parent} that is not there"] = None
        if len(faults) > MOST_TOLD:
            break
    return _told(list(faults))


def _against(truth: Truth, connection: Connection) -> list[str]:
    facts = {"until_ms": time.time() * 1000 + AHEAD_MS} if ":until_ms" in truth.sql else {}
    rows = connection.execute(text(f"{truth.sql} LIMIT {MOST_TOLD + 1}"), facts)
    return _told([truth.fault.format(**row._mapping) for row in rows])  # noqa: SLF001  # public


def _told(faults: list[str]) -> list[str]:
    if len(faults) > MOST_TOLD:
        faults[MOST_TOLD:] = ["… and more of this kind"]
    return faults


@contextmanager
def _hearing_ctrl_c(connection: Connection) -> Iterator[None]:
    """Have a statement that takes long end with `KeyboardInterrupt`, which SQLite would not."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_progress_handler(lambda: 0, TICK)  # Python hears of signals when it is called
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.__cause__
        if (
            isinstance(cause, sqlite3.OperationalError)
            and cause.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT
        ):
            raise KeyboardInterrupt from error
        raise

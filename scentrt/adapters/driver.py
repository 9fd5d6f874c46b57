"""SQLite's driver itself, for what is written most.

SQLAlchemy words the statements, once. To let it look at each value again would be a third of what a
commit costs, so they are executed without it, and the values are such as SQLite has.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import UpdateBase

from scentrt.errors import StoreUnavailable, UnitRefused

Row: TypeAlias = dict[str, Any]
"""The values of a row by their names, in one order for all rows of a statement."""


class Driver:
    """Execute statements in the transaction of a connection."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver

    def write(self, statement: UpdateBase, rows: Sequence[Row]) -> int:
        """Execute a statement for each of these rows; return how many rows that has changed."""
        if not rows:
            return 0
        text, values_of = _worded(statement, tuple(rows[0]))
        return self._driver.executemany(text, map(values_of, rows)).rowcount

    def ask(self, question: Select[tuple[str]], **values: str) -> Sequence[str]:
        """Return what a question of one column finds."""
        text, values_of = _worded(question, tuple(values))
        return [found for (found,) in self._driver.execute(text, values_of(values))]


@contextmanager
def driver_of(connection: Connection) -> Iterator[Driver]:
    """Give the driver of a connection that is in a transaction.

    Raises:
      UnitRefused: what is written does not fit what is stored. The caller has to roll back.
      StoreUnavailable: the database is locked, full or broken. Likewise.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection), "it is SQLite, and connected"
    try:
        yield Driver(driver)
    except (sqlite3.IntegrityError, sqlite3.DataError) as error:
        raise UnitRefused(str(error)) from error
    except (OverflowError, UnicodeError) as error:  # what SQLite has no room for
        raise UnitRefused(str(error)) from error
    except sqlite3.Error as error:
        raise StoreUnavailable(str(error)) from error


@cache
def _worded(
    statement: UpdateBase | Select[Any], names: tuple[str, ...]
) -> tuple[str, Callable[[Row], tuple[Any, ...]]]:
    """Return a statement's text for rows of these names, and what makes its values of a row.

    They go by their places: the driver lets go of the interpreter to ask for each name in each row.
    """
    compiled = statement.compile(dialect=sqlite.dialect(), column_keys=names)
    constants = {name: value for name, value in compiled.params.items() if name not in names}
    places = compiled.positiontup
    assert places is not None, "it has places"

    def values_of(row: Row) -> tuple[Any, ...]:
        values = constants | row if constants else row
        return tuple([values[name] for name in places])

    return str(compiled), values_of

"""The schema of the database, in tables of SQLAlchemy's Core.

The rules that must hold in any case are constraints here, whatever the code above does.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
)

from scentrt.errors import ConfigError

SCHEMA_VERSION = 1
"""Kept in the file as ``PRAGMA user_version``; goes up with every change of the tables."""

metadata = MetaData()

panic_latch = Table(
    "panic_latch",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),  # there is one latch
    Column("panicked", Boolean(create_constraint=True), nullable=False),
)

# The key is also the order on disk: what is written, read and forgotten together lies together.
dose_seconds = Table(
    "dose_seconds",
    metadata,
    Column("zone", Text, primary_key=True),
    Column("second", Integer, CheckConstraint("second >= 0"), primary_key=True),
    Column("seat", Text, primary_key=True),
    Column("used_us", Integer, CheckConstraint("used_us >= 0"), nullable=False),
    sqlite_with_rowid=False,
)

dose_marks = Table(
    "dose_marks",
    metadata,
    Column("zone", Text, primary_key=True),
    Column("through_ms", Float, nullable=False),
    Column("closed", Boolean(create_constraint=True), nullable=False),
    sqlite_with_rowid=False,
)


def is_new(connection: Connection, where: str) -> bool:
    """Say whether a database has nothing in it yet; `where` is what to call it. Changes nothing.

    Raises:
      ConfigError: it is of another version, or somebody else's.
    """
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    tables = set(inspect(connection).get_table_names())
    if version not in {0, SCHEMA_VERSION}:
        raise ConfigError(
            where,
            f"has schema version {version}, and this ScentRT reads version {SCHEMA_VERSION}; "
            "use the ScentRT that wrote it, or another file",
        )
    if version == 0 and not tables:
        return True
    if version == 0 or not tables.issuperset(metadata.tables):
        raise ConfigError(where, "is not a database of ScentRT; name another file")
    return False


def prepare(connection: Connection, where: str) -> None:
    """Create the tables in a new database, and check an older one, as `is_new` does."""
    new = is_new(connection, where)
    # Only now, since the file keeps it, and another's is not ours to change.
    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    if new:
        # In one transaction, so that nobody ever finds half a schema. The driver begins one by
        # itself for rows only.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

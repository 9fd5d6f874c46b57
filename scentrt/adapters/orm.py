"""The schema of the database, in tables of SQLAlchemy's Core.

The rules that must hold in any case are constraints here, whatever the code above does.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    inspect,
)

from scentrt.errors import ConfigError

SCHEMA_VERSION = 2
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

# The stock. Where rows have an `id`, their order is the order in which they came.

products = Table(
    "products",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("version_number", Integer, CheckConstraint("version_number >= 0"), nullable=False),
    sqlite_with_rowid=False,
)

batches = Table(
    "batches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("reference", Text, nullable=False, unique=True),
    Column("sku", Text, ForeignKey("products.sku"), nullable=False, index=True),
    Column("told_quantity", Integer, CheckConstraint("told_quantity >= 0"), nullable=False),
    Column("told_eta", Date),
    Column("purchased_quantity", Integer, nullable=False),
    Column("allocated_quantity", Integer, nullable=False, server_default="0"),
    Column("eta", Date),
    UniqueConstraint("reference", "sku"),  # what an allocation refers to
    CheckConstraint("allocated_quantity BETWEEN 0 AND purchased_quantity"),
)

# The key begins with the SKU, so that the lines of a product lie together and are read together.
order_lines = Table(
    "order_lines",
    metadata,
    Column("sku", Text, ForeignKey("products.sku"), primary_key=True),
    Column("orderid", Text, primary_key=True, index=True),
    Column("qty", Integer, CheckConstraint("qty > 0"), nullable=False),
    sqlite_with_rowid=False,
)

allocations = Table(
    "allocations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("orderid", Text, nullable=False),
    Column("batchref", Text, nullable=False),
    # A line is on one batch. Orders come in order, so this index grows at one end, where one by SKU
    # would change a page for each product of a commit; `order_lines` is that one.
    UniqueConstraint("orderid", "sku"),
    ForeignKeyConstraint(["sku", "orderid"], ["order_lines.sku", "order_lines.orderid"]),
    ForeignKeyConstraint(["batchref", "sku"], ["batches.reference", "batches.sku"]),
)

back_orders = Table(
    "back_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("orderid", Text, nullable=False),
    UniqueConstraint("sku", "orderid"),
    ForeignKeyConstraint(["sku", "orderid"], ["order_lines.sku", "order_lines.orderid"]),
)

allocations_view = Table(
    "allocations_view",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("orderid", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("batchref", Text, nullable=False),
    UniqueConstraint("orderid", "sku"),
)

customers = Table(
    "customers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("email", Text, nullable=False),
    sqlite_with_rowid=False,
)

orders = Table(
    "orders",
    metadata,
    Column("orderid", Text, primary_key=True),
    Column("customer", Text, ForeignKey("customers.name")),
    Column("lines", Text, CheckConstraint("json_valid(lines)"), nullable=False),  # as placed
    Column("cancelled", Boolean(create_constraint=True), nullable=False),
    sqlite_with_rowid=False,
)

# What accepted orders leave to be done by the products; see `service_layer.changes.Unsettled`.
unsettled_lines = Table(
    "unsettled_lines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("orderid", Text, nullable=False),
    Column("what", Text, CheckConstraint("what IN ('fill', 'cancel')"), nullable=False),
    UniqueConstraint("sku", "orderid"),
    ForeignKeyConstraint(["sku", "orderid"], ["order_lines.sku", "order_lines.orderid"]),
)

# Ids are never used again, so that whoever delivers may remember how far it has come.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("kind", Text, CheckConstraint("kind IN ('redis', 'email')"), nullable=False),
    Column("payload", Text, CheckConstraint("json_valid(payload)"), nullable=False),
    Column("created_ms", Float, nullable=False),
    Index("outbox_by_kind", "kind"),
    sqlite_autoincrement=True,
)

# The database itself adds up what is allocated, and so refuses what a batch does not have.
_TRIGGERS = (
    """
    CREATE TRIGGER line_allocated AFTER INSERT ON allocations BEGIN
        SELECT RAISE(ABORT, 'a line is back-ordered and allocated') FROM back_orders
            WHERE sku = NEW.sku AND orderid = NEW.orderid;
        UPDATE batches SET allocated_quantity = allocated_quantity +
            (SELECT qty FROM order_lines WHERE sku = NEW.sku AND orderid = NEW.orderid)
            WHERE reference = NEW.batchref;
    END
    """,
    """
    CREATE TRIGGER line_deallocated AFTER DELETE ON allocations BEGIN
        UPDATE batches SET allocated_quantity = allocated_quantity -
            (SELECT qty FROM order_lines WHERE sku = OLD.sku AND orderid = OLD.orderid)
            WHERE reference = OLD.batchref;
    END
    """,
    """
    CREATE TRIGGER line_back_ordered AFTER INSERT ON back_orders BEGIN
        SELECT RAISE(ABORT, 'a line is allocated and back-ordered') FROM allocations
            WHERE sku = NEW.sku AND orderid = NEW.orderid;
    END
    """,
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
        for trigger in _TRIGGERS:
            connection.exec_driver_sql(trigger)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

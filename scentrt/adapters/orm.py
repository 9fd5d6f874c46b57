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

SCHEMA_VERSION = 3
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
# `taken` is how many vials were ever taken from a line.
order_lines = Table(
    "order_lines",
    metadata,
    Column("sku", Text, ForeignKey("products.sku"), primary_key=True),
    Column("orderid", Text, primary_key=True, index=True),
    Column("qty", Integer, CheckConstraint("qty > 0"), nullable=False),
    Column("taken", Integer, nullable=False, server_default="0"),
    CheckConstraint("taken BETWEEN 0 AND qty", name="no_more_vials_than_the_line_has"),
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

# What joins the stock to the seats.

# A vial is one of its line, wherever it is by now; `left_us` is what will be left in it when what
# runs has ended. A line from which vials were taken stays on its batch.
vials = Table(
    "vials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("orderid", Text, nullable=False),
    Column("batchref", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("seat", Text, nullable=False),
    Column("slot", Integer, CheckConstraint("slot >= 0"), nullable=False),
    Column(
        "whereabouts",
        Text,
        CheckConstraint("whereabouts IN ('seated', 'returned', 'discarded')"),
        nullable=False,
    ),
    Column("capacity_us", Integer, CheckConstraint("capacity_us > 0"), nullable=False),
    Column("left_us", Integer, nullable=False),
    ForeignKeyConstraint(["sku", "orderid"], ["order_lines.sku", "order_lines.orderid"]),
    ForeignKeyConstraint(["batchref", "sku"], ["batches.reference", "batches.sku"]),
    CheckConstraint("left_us BETWEEN 0 AND capacity_us"),
    Index("vials_by_line", "sku", "orderid"),
    sqlite_autoincrement=True,
)
Index(
    "one_vial_in_a_slot",
    vials.c.zone,
    vials.c.seat,
    vials.c.slot,
    unique=True,
    sqlite_where=vials.c.whereabouts == "seated",
)

# What zones have ordered by themselves, and the ids of the vials that stood there when the need
# came; see `domain.refills`.
refills = Table(
    "refills",
    metadata,
    Column("orderid", Text, primary_key=True),
    Column("zone", Text, nullable=False),
    Column("scent", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("number", Integer, CheckConstraint("number > 0"), nullable=False),
    Column("qty", Integer, CheckConstraint("qty > 0"), nullable=False),
    Column("capacity_us", Integer, CheckConstraint("capacity_us >= 0"), nullable=False),
    Column("vials", Text, CheckConstraint("json_valid(vials)"), nullable=False),
    Column(
        "status",
        Text,
        CheckConstraint("status IN ('wanted', 'ordered', 'out-of-stock', 'met', 'cancelled')"),
        nullable=False,
    ),
    UniqueConstraint("zone", "sku", "number"),
    sqlite_with_rowid=False,
)
Index(
    "one_refill_for_a_need",
    refills.c.zone,
    refills.c.scent,
    unique=True,
    sqlite_where=refills.c.status != "met",
)

# What was set for seats; null is what nobody has said anything of. See `domain.seat_settings`.
seat_settings = Table(
    "seat_settings",
    metadata,
    Column("zone", Text, primary_key=True),
    Column("seat", Text, primary_key=True),
    Column("opted_out", Boolean(create_constraint=True)),
    Column("averse_to", Text, CheckConstraint("averse_to IS NULL OR json_valid(averse_to)")),
    Column("gain", Float, CheckConstraint("gain > 0")),
    Column("delay_ms", Float, CheckConstraint("delay_ms >= 0")),
    sqlite_with_rowid=False,
)

# The cue journal; see `domain.journal.JournalEntry`. Rows are added, and never changed or removed.
releases = Table(
    "releases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_ms", Float, nullable=False),
    Column("zone", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("cue", Text, CheckConstraint("cue IS NULL OR json_valid(cue)")),
    Column("scent", Text, nullable=False),
    Column("sku", Text),
    Column("batchref", Text),
    Column("seats", Text, CheckConstraint("seats IS NULL OR json_valid(seats)")),
    Column("dose_us", Integer, nullable=False),
    Column("ended", Text),
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
    Column("due_ms", Float),  # for what was put off: when it is tried again
    Index("outbox_by_kind", "kind", "due_ms"),
    sqlite_autoincrement=True,
)

# What was given up, as it was in the outbox: for whoever looks for a letter that did not arrive.
undelivered = Table(
    "undelivered",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_ms", Float, nullable=False),
    Column("given_up_ms", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

# The database itself adds up what is allocated and which vials are taken, and so refuses what a
# batch or a line does not have.
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
    """
    CREATE TRIGGER vial_taken AFTER INSERT ON vials BEGIN
        UPDATE order_lines SET taken = taken + 1 WHERE sku = NEW.sku AND orderid = NEW.orderid;
        SELECT RAISE(ABORT, 'a vial of a line that is not on that batch') WHERE NOT EXISTS (
            SELECT 1 FROM allocations
            WHERE orderid = NEW.orderid AND sku = NEW.sku AND batchref = NEW.batchref);
        SELECT RAISE(ABORT, 'a vial of a line that is being cancelled') FROM unsettled_lines
            WHERE sku = NEW.sku AND orderid = NEW.orderid;
    END
    """,
    *(
        f"""
        CREATE TRIGGER cancelled_by_{verb.lower()} AFTER {verb} ON unsettled_lines
            WHEN NEW.what = 'cancel' BEGIN
            SELECT RAISE(ABORT, 'vials of this line have been taken') FROM vials
                WHERE sku = NEW.sku AND orderid = NEW.orderid;
        END
        """
        for verb in ("INSERT", "UPDATE")
    ),
    """
    CREATE TRIGGER line_with_vials_deallocated BEFORE DELETE ON allocations BEGIN
        SELECT RAISE(ABORT, 'vials of this line have been taken') FROM vials
            WHERE sku = OLD.sku AND orderid = OLD.orderid;
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

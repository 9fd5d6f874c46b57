"""Vials for tests: made up shortly, and put into a database as the stock would."""

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, insert, select

from scentrt.adapters.orm import (
    allocations,
    allocations_view,
    batches,
    order_lines,
    prepare,
    products,
)
from scentrt.adapters.orm import vials as rows
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.names import BatchRef, Sku
from scentrt.domain.vials import Catalogue, Place, SeatedVial, VialId, VialKind

CATALOGUE = Catalogue(
    VialKind(Sku(sku), Scent(scent))
    for sku, scent in (("SEABREEZE", "sea-breeze"), ("PINE", "pine"), ("TAR", "tar"))
)


def seated(
    id: int,
    seat: SeatId,
    slot: int = 0,
    *,
    left_s: float = 100,
    capacity_s: float = 100,
    sku: str = "SEABREEZE",
    batchref: str = "b-1",
    zone: str = "A",
) -> SeatedVial:
    """Return a vial in its place; what it holds is in dose-seconds."""
    return SeatedVial(
        VialId(id),
        Place(ZoneId(zone), seat, slot),
        Sku(sku),
        BatchRef(batchref),
        round(capacity_s * US_PER_S),
        round(left_s * US_PER_S),
    )


def store(database: Path, vials: Iterable[SeatedVial]) -> None:
    """Put vials into a database that no server has open, with all that they come from."""
    vials = list(vials)
    engine = create_engine(f"sqlite:///{database}")
    with closing(engine.connect()) as connection:
        prepare(connection, str(database))
        connection.commit()
        for sku in {vial.sku for vial in vials}:
            connection.execute(insert(products).values(sku=sku, version_number=0))
        for (sku, ref), qty in Counter((vial.sku, vial.batchref) for vial in vials).items():
            connection.execute(
                insert(batches).values(
                    reference=ref, sku=sku, told_quantity=qty, purchased_quantity=qty
                )
            )
            line = {"sku": sku, "orderid": f"o-{ref}"}
            connection.execute(insert(order_lines).values(**line, qty=qty))
            for table in (allocations, allocations_view):
                connection.execute(insert(table).values(**line, batchref=ref))
        for vial in vials:
            connection.execute(
                insert(rows).values(
                    id=vial.id,
                    sku=vial.sku,
                    orderid=f"o-{vial.batchref}",
                    batchref=vial.batchref,
                    zone=vial.place.zone,
                    seat=vial.place.seat,
                    slot=vial.place.slot,
                    whereabouts="seated",
                    capacity_us=vial.capacity_us,
                    left_us=vial.left_us,
                )
            )
        connection.commit()
    engine.dispose()


def stored_levels(database: Path) -> dict[int, int]:
    """Return what a database says is left in each vial, in micro-dose-seconds."""
    engine = create_engine(f"sqlite:///{database}")
    with closing(engine.connect()) as connection:
        found = {row.id: row.left_us for row in connection.execute(select(rows))}
    engine.dispose()
    return found

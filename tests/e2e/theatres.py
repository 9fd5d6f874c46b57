"""Theatres to perform in, other than the house without a theatre file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def theatre(
    folder: Path, products: Mapping[str, str] | None = None, **zones: dict[str, Any]
) -> Path:
    """Write a theatre file with these zones, each by its fields as the file has them.

    `devices`, which the file has in a table of its own, are a dictionary. `products` are the
    scents of what comes in vials, by SKU.
    """
    lines = ['name = "Roxy"']
    for id, fields in zones.items():
        lines += ["[[zones]]", f'id = "{id}"']
        lines += _pairs({name: value for name, value in fields.items() if name != "devices"})
        if "devices" in fields:
            lines += ["[zones.devices]", *_pairs(fields["devices"])]
    for sku, scent in (products or {}).items():
        lines += ["[[products]]", *_pairs({"sku": sku, "scent": scent})]
    path = folder / "theatre.toml"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def _pairs(fields: dict[str, Any]) -> list[str]:
    # What JSON writes for strings, numbers and lists of them is TOML too.
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]


def one_row(
    folder: Path,
    seats: int = 3,
    devices: dict[str, str] | None = None,
    products: Mapping[str, str] | None = None,
) -> Path:
    """Write a theatre of one row with two scents, and with devices by seat."""
    row = {"rows": 1, "seats_per_row": seats, "slots": ["sea-breeze", "forest"]}
    return theatre(folder, products, A={**row, "devices": devices or {}})


def two_zones(folder: Path) -> Path:
    """Write a theatre of six seats with two scents, one of them opted out, and four with one."""
    return theatre(
        folder,
        A={
            "rows": 2,
            "seats_per_row": 3,
            "slots": ["sea-breeze", "forest"],
            "opted_out": ["A-1-2"],
        },
        B={"rows": 1, "seats_per_row": 4, "slots": ["forest"]},
    )


def big_theatre(folder: Path) -> Path:
    """Write a theatre of one zone with 2,000 seats and five scents."""
    scents = ["sea-breeze", "nightclub", "jungle", "forest", "busy-street"]
    return theatre(folder, A={"rows": 40, "seats_per_row": 50, "slots": scents})

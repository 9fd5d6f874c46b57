"""Theatres to perform in, other than the house without a theatre file."""

import json
from pathlib import Path
from typing import Any


def theatre(folder: Path, **zones: dict[str, Any]) -> Path:
    """Write a theatre file with these zones, each by its fields as the file has them."""
    lines = ['name = "Roxy"']
    for id, fields in zones.items():
        lines += ["[[zones]]", f'id = "{id}"']
        for field, value in fields.items():
            # What JSON writes for strings, numbers and lists of them is TOML too.
            lines.append(f"{field} = {json.dumps(value, ensure_ascii=False)}")
    path = folder / "theatre.toml"
    path.write_text("\n".join(lines))
    return path


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

"""What was measured, kept as JSON, and read again to compare with."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from simulators.latency.figures import About, Row


class Record(msgspec.Struct, frozen=True):
    """A run: about it, and its rows."""

    about: About
    rows: tuple[Row, ...]


class Unreadable(Exception):
    """A file is no record of a run."""


def write(file: Path, about: About, rows: Sequence[Row]) -> None:
    """Keep a run; raises `OSError`."""
    kept = msgspec.json.format(msgspec.json.encode(Record(about, tuple(rows))), indent=1)
    file.write_bytes(kept + b"\n")


def read(file: Path) -> Record:
    """Return a run that was kept; raises `Unreadable`."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as error:
        raise Unreadable(
            f"{file} is not what --json writes: {error}; name a file of an earlier run"
        ) from error

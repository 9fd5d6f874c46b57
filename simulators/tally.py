"""What the simulators counted: what was sent, what became of it, and how long it took."""

import math
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from rich.table import Table

from simulators.connection import Message

Samples: TypeAlias = deque[float]
"""Milliseconds; of a long run the newest, so that a load may go on for days."""

KEPT_SAMPLES = 100_000


def _samples() -> Samples:
    return deque(maxlen=KEPT_SAMPLES)


@dataclass(slots=True)
class Tally:
    """The counts of one run; several players in one trio run may share it."""

    frames: int = 0
    frames_missed: int = 0
    """Frames that were over before their turn came, and were left out."""
    levels: int = 0
    level_states: Counter[str] = field(default_factory=Counter)

    cues: int = 0
    accepted: int = 0
    targets: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Seats by reason, as the `accepted` said."""
    refused: Counter[str] = field(default_factory=Counter)
    """Requests by error code."""
    round_trip_ms: Samples = field(default_factory=_samples)
    """From sending a cue to its `accepted`."""

    reports: int = 0
    written: int = 0
    failed: int = 0
    expired: int = 0
    lateness_ms: Samples = field(default_factory=_samples)
    first_ms: Samples = field(default_factory=_samples)
    last_ms: Samples = field(default_factory=_samples)

    shown: int = 0
    """Events of scents that reached goggles and operators."""
    sprayed: int = 0
    """Sprays that goggles' own dispensers were told to do."""
    missed: int = 0
    """Events that a client dropped, because it did not take them in time."""
    transit_ms: Samples = field(default_factory=_samples)
    """From the dispatch of a cue, as its event tells it, to the event's arrival."""

    stopped: int = 0
    stop_ms: Samples = field(default_factory=_samples)
    closed: Counter[str] = field(default_factory=Counter)
    """Connections that the server or the network ended, by how."""

    def take_accepted(self, accepted: Message, round_trip_ms: float) -> None:
        """Count the answer to a cue."""
        self.accepted += 1
        self.targets += accepted["targets"]
        self.skipped.update(accepted["skipped"])
        self.round_trip_ms.append(round_trip_ms)

    def take_report(self, report: Message) -> None:
        """Count what became of a cue; where nothing was written, there is nothing to time."""
        self.reports += 1
        self.written += report["written"]
        self.failed += report["failed"]
        self.expired += report["expired"]
        if report["written"]:
            self.lateness_ms.append(report["lateness_ms"])
            self.first_ms.append(report["first_ms"])
            self.last_ms.append(report["last_ms"])

    def take_scent(self, event: Message, now_ms: float) -> None:
        """Count a scent event that arrived now, on the server's clock."""
        self.shown += 1
        self.transit_ms.append(now_ms - event["at"])

    def table(self, title: str) -> Table:
        """Return what was counted, as a table for the terminal; what never was is left out."""
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column()
        for what, value in self._rows():
            if value:
                table.add_row(what, value)
        return table

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield "frames at 60 Hz", _named({"shown": self.frames, "left out": self.frames_missed})
        yield "levels", _named({"sent": self.levels})
        yield "level states", _named(self.level_states)
        yield "cues", _named({"sent": self.cues, "accepted": self.accepted})
        yield "seats", _named({"targets": self.targets, **self.skipped})
        yield "refused", _named(self.refused)
        yield (
            "reported",
            _named(
                {
                    "cues": self.reports,
                    "written": self.written,
                    "failed": self.failed,
                    "expired": self.expired,
                }
            ),
        )
        yield "events", _named({"seen": self.shown, "dropped": self.missed})
        yield "goggles", _named({"sprayed": self.sprayed})
        yield "stops", _named({"stopped": self.stopped})
        yield "connections lost", _named(self.closed)
        yield "cue to accepted", _timed(self.round_trip_ms)
        yield "lateness", _timed(self.lateness_ms)
        yield "first seat", _timed(self.first_ms)
        yield "last seat", _timed(self.last_ms)
        yield "dispatch to event", _timed(self.transit_ms)
        yield "stop to stopped", _timed(self.stop_ms)


def percentile(samples: Collection[float], share: float) -> float:
    """Return the smallest sample that `share` (above 0, to 1) of them do not exceed.

    The nearest-rank definition: always one of the samples. Raises `ValueError` for none at all.
    """
    if not samples:
        raise ValueError("no samples")
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def _timed(samples: Samples) -> str:
    if not samples:
        return ""
    p50, p99, most = (percentile(samples, share) for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:.2f} ms   p99 {p99:.2f} ms   max {most:.2f} ms   ({len(samples):,})"


def _named(counts: Mapping[str, int]) -> str:
    """Put what was counted at all into words."""
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

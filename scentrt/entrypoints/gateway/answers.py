"""One answer out of many: a cue, stop or cancel that several zones decide is answered once."""

from collections.abc import Callable
from typing import Generic, TypeVar

from scentrt.actors.actor import RETRY_AFTER_MS
from scentrt.actors.reports import Report
from scentrt.domain.cues import ZoneId
from scentrt.domain.decisions import Accepted, Refusal, Refused, Verdict
from scentrt.domain.seats import Skip
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.refusals import busy, internal, panic
from scentrt.errors import ActorError, Busy

T = TypeVar("T")


class Collector(Generic[T]):
    """Wait for one answer of each zone, then hand all of them over at once."""

    def __init__(self, zones: int, done: Callable[[dict[ZoneId, T | ActorError]], None]) -> None:
        self._missing = zones
        self._done = done
        self._answers: dict[ZoneId, T | ActorError] = {}

    def put(self, zone: ZoneId, answer: T | ActorError) -> None:
        """Take one zone's answer; the last one ends the waiting."""
        self._answers[zone] = answer
        self._missing -= 1
        if self._missing == 0:
            self._done(self._answers)


class Reports:
    """The reports of all zones that took a cue, as one, and not before the cue was answered."""

    def __init__(self, cue: str | int, tell: Callable[[say.Report], None]) -> None:
        self._cue = cue
        self._tell = tell
        self._expected: int | None = None
        self._reports: list[Report] = []

    def put(self, report: Report) -> None:
        """Take one zone's report."""
        self._reports.append(report)
        self._tell_if_complete()

    def expect(self, zones: int) -> None:
        """Say how many zones will report."""
        self._expected = zones
        self._tell_if_complete()

    def _tell_if_complete(self) -> None:
        if self._expected and len(self._reports) == self._expected:
            self._tell(merge_reports(self._cue, self._reports))


def merge_reports(cue: str | int, reports: list[Report]) -> say.Report:
    """Return one report for the whole cue: the first and the last dispenser of all zones."""
    written = failed = expired = 0
    late: list[float] = []
    first: list[float] = []
    last: list[float] = []
    for report in reports:
        written += report.written
        failed += report.failed
        expired += report.expired
        if report.lateness_ms is not None:
            late.append(report.lateness_ms)
        if report.first_ms is not None and report.last_ms is not None:
            first.append(report.first_ms)
            last.append(report.last_ms)
    return say.Report(
        cue=cue,
        written=written,
        failed=failed,
        expired=expired,
        lateness_ms=max(late, default=None),
        first_ms=min(first, default=None),
        last_ms=max(last, default=None),
    )


def merge_verdicts(
    re: str | int,
    verdicts: dict[ZoneId, Verdict | ActorError],
    seats: Callable[[ZoneId], int],
) -> say.Accepted | say.Error:
    """Return one answer for the whole cue.

    Where some zones took it and others could not, it is accepted, and the seats of those that
    could not are skipped as busy, or offline; `seats` says how many these are.
    """
    first: Accepted | None = None
    targets, is_duplicate = 0, True
    skipped: dict[Skip, int] = {}
    for zone, verdict in verdicts.items():
        if isinstance(verdict, Accepted):
            first = first or verdict
            targets += verdict.targets
            is_duplicate = is_duplicate and verdict.duplicate
            left_out = verdict.skipped
        else:
            is_full = isinstance(verdict, Refused | Busy)
            left_out = {Skip.BUSY if is_full else Skip.OFFLINE: seats(zone)}
        for reason, number in left_out.items():
            if number:
                skipped[reason] = skipped.get(reason, 0) + number
    if first is None:
        return _refusal(re, next(iter(verdicts.values())))
    return say.Accepted(
        re=re, due=first.due_ms, targets=targets, skipped=skipped, duplicate=is_duplicate
    )


def _refusal(re: str | int, verdict: Verdict | ActorError) -> say.Error:
    match verdict:
        case Refused(Refusal.PANIC):
            return panic(re)
        case Refused(Refusal.TOO_LATE):
            return say.Error(
                re=re, code="too-late", message="the cue's time to live has passed already"
            )
        case Refused() | Busy():
            return busy(re, RETRY_AFTER_MS)
        case _:
            return internal(re, "the zone is being restarted, send it again in a second")

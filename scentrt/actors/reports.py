"""What became of a cue, put together from what its dispensers say."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import trio

from scentrt.domain.cues import CueKey, SeatId
from scentrt.domain.events import CueDispatched, CueExpired, SpraysDropped

REPORT_WITHIN_S = 1.0
"""A dispenser that has not said by then whether it sprayed counts as failed."""


class Written(NamedTuple):
    """What dispensers made of an order: how many took it and how many did not, and when.

    Those of whom `expired` tells were not told, since it had become too late. `untold` names those
    that have surely not been told; of the others that failed, nobody knows.
    """

    written: int
    failed: int
    first_ms: float
    last_ms: float
    expired: int = 0
    untold: tuple[SeatId, ...] = ()


class Report(NamedTuple):
    """What became of a cue in one zone; times in milliseconds after it was due or dispatched."""

    cue: CueKey
    written: int
    failed: int
    expired: int
    lateness_ms: float | None = None
    first_ms: float | None = None
    last_ms: float | None = None


class Account:
    """What dispensers have said so far about one cue in one zone.

    It is closed, and reported, when all have spoken or `deadline` (trio's clock) has passed.
    What they say after that changes nothing: a cue is reported once. `deadline` is set when the
    last of them has been told, since some seats are sprayed later.
    """

    def __init__(self, report: Callable[[Report], None], cue: CueKey, targets: int) -> None:
        self.deadline = float("inf")
        self._to: Callable[[Report], None] | None = report
        self.cue = cue
        self._targets = targets
        self._told = self._failed = self._expired = 0
        self._heard = self._written = self._too_late = 0  # of those who have spoken
        self._first_ms, self._last_ms = float("inf"), 0.0
        self._late_ms: float | None = None
        self._at_ms = 0.0

    def hear(self, written: Written) -> None:
        """Note what some dispensers have said."""
        self._heard += written.written + written.failed + written.expired
        self._too_late += written.expired
        if written.written:
            self._written += written.written
            self._first_ms = min(self._first_ms, written.first_ms)
            self._last_ms = max(self._last_ms, written.last_ms)

    def tell(self, dispensers: int) -> None:
        """Note that so many dispensers are being told."""
        self._told += dispensers

    def dispatched(self, event: CueDispatched) -> None:
        """Note that the cue has gone out, and to how many."""
        self._targets, self._late_ms, self._at_ms = event.targets, event.late_ms, event.at_ms
        self.wait()

    def drop(self, event: SpraysDropped) -> None:
        """Note that some of those who were to be told later will not be."""
        self._targets -= event.withdrawn
        self._failed += event.failed
        self._expired += event.expired
        self.wait()

    def wait(self) -> None:
        """Wait for the answers from now on, if all who are to be told have been."""
        if self.is_dispatched and self._told + self._lost >= self._targets:
            self.deadline = min(self.deadline, trio.current_time() + REPORT_WITHIN_S)

    @property
    def is_dispatched(self) -> bool:
        """Whether the cue has gone out, to all but those seats that are sprayed later."""
        return self._late_ms is not None

    @property
    def _lost(self) -> int:
        return self._failed + self._expired

    @property
    def settled(self) -> bool:
        """Whether the cue has gone out and every dispenser has spoken."""
        return self.is_dispatched and self._heard + self._lost >= self._targets

    def close(self) -> None:
        """Report, with whoever has not spoken counted as failed.

        Before the cue has gone out that is everybody: it was lost on the way.
        """
        expired = self._expired + self._too_late
        self._report(
            Report(
                self.cue,
                written=self._written,
                failed=self._targets - self._written - expired,
                expired=expired,
                lateness_ms=self._late_ms,
                first_ms=self._first_ms - self._at_ms if self._written else None,
                last_ms=self._last_ms - self._at_ms if self._written else None,
            )
        )

    def expire(self, event: CueExpired) -> None:
        """Report that nobody was sprayed because it had become too late."""
        self._report(Report(self.cue, 0, 0, event.targets, lateness_ms=event.late_ms))

    def withdraw(self) -> None:
        """Report that the cue was taken back before it was due: nobody was to be sprayed."""
        self._report(Report(self.cue, 0, 0, 0))

    def _report(self, report: Report) -> None:
        to, self._to = self._to, None
        if to is not None:
            to(report)


class Accounts:
    """The accounts of one zone's cues, until they are closed."""

    def __init__(self) -> None:
        self._by_cue: dict[CueKey, Account] = {}
        # Of these, what all dispensers have been told and not all have answered: earliest first.
        self._unsettled: dict[CueKey, Account] = {}

    @property
    def next_deadline(self) -> float:
        """When `close_overdue` has something to do; infinity where nothing waits."""
        for account in self._unsettled.values():
            return account.deadline  # the first to be dispatched is the first to be due
        return float("inf")

    @property
    def cues(self) -> list[CueKey]:
        """The cues that are not reported yet."""
        return list(self._by_cue)

    def open(self, account: Account) -> None:
        """Take a cue's account."""
        self._by_cue[account.cue] = account

    def of(self, cue: CueKey | None) -> Account | None:
        """Return a cue's account, if it has one."""
        return None if cue is None else self._by_cue.get(cue)

    def hear(self, event: CueDispatched | SpraysDropped | CueExpired) -> None:
        """Note what has become of a cue in its zone."""
        account = self._by_cue.get(event.cue)
        if account is None:
            return
        match event:
            case CueDispatched():
                account.dispatched(event)
                self.wait_for(account)
            case SpraysDropped():
                account.drop(event)
                self.wait_for(account)
            case CueExpired():
                del self._by_cue[event.cue]
                account.expire(event)

    def wait_for(self, account: Account) -> None:
        """Close an account in time, once all of its dispensers have been told."""
        if account.deadline < float("inf"):
            self._unsettled.setdefault(account.cue, account)
            self.close_if_settled(account)

    def close_if_settled(self, account: Account) -> None:
        """Close an account of which all dispensers have spoken."""
        if account.settled:
            self._close(account)

    def close_overdue(self, now: float) -> None:
        """Close the accounts whose dispensers have had their time."""
        for account in list(self._unsettled.values()):
            if account.deadline > now:
                return
            self._close(account)

    def close_withdrawn(self, cues: Iterable[CueKey], waits: Callable[[CueKey], bool]) -> None:
        """Report those of these cues that were taken back before they were due."""
        for cue in cues:
            account = self._by_cue.get(cue)
            if account is not None and not account.is_dispatched and not waits(cue):
                del self._by_cue[cue]
                account.withdraw()

    def close_all(self) -> None:
        """Close all accounts as they are: their zone has crashed."""
        lost, self._by_cue, self._unsettled = self._by_cue, {}, {}
        for account in lost.values():
            account.close()

    def _close(self, account: Account) -> None:
        self._by_cue.pop(account.cue, None)
        self._unsettled.pop(account.cue, None)
        account.close()

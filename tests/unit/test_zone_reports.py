"""A cue with a report is reported once, whatever becomes of it."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from scentrt.actors.actor import Message
from scentrt.actors.messages import (
    CancelCue,
    Forget,
    Panic,
    Stop,
)
from scentrt.actors.reports import REPORT_WITHIN_S, Report
from scentrt.domain.cues import CueKey
from tests.stage import GAME, PINE, Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_a_cue_is_reported_when_every_dispenser_has_said_what_it_did(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.dispensers.silent = {stage.seats[0]}
    stage.dispensers.jammed = {stage.seats[1], stage.seats[2]}
    async with stage.play():
        await stage.targets(stage.cue("c-1", in_ms=100))
        await trio.sleep(0.5)
        assert stage.reports == []
        stage.dispensers.speak()
        (report,) = stage.reports
        assert (report.cue, report.written, report.failed, report.expired) == (
            CueKey(GAME, "c-1"),
            *(4, 2, 0),
        )
        assert report.lateness_ms == pytest.approx(0, abs=0.001)
        assert (report.first_ms, report.last_ms) == (0, 0)


async def test_whoever_has_not_said_anything_after_a_second_counts_as_failed(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.dispensers.silent = set(stage.seats[:2])
    async with stage.play():
        await stage.targets(stage.cue("c-1"))
        await trio.sleep(0.4)
        await stage.targets(stage.cue("c-2", scent=PINE, mix=True))
        await trio.sleep(REPORT_WITHIN_S - 0.41)
        assert stage.reports == []
        await trio.sleep(0.02)
        assert [report.cue.id for report in stage.reports] == ["c-1"]
        assert (stage.reports[0].written, stage.reports[0].failed) == (4, 2)


async def test_those_that_it_became_too_late_for_are_reported_as_such(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.dispensers.silent = {stage.seats[0]}
    stage.dispensers.slow = set(stage.seats[:2])
    stage.dispensers.jammed = {stage.seats[2]}
    async with stage.play():
        await stage.targets(stage.cue())
        assert stage.reports == []
        stage.dispensers.speak()
    (report,) = stage.reports
    assert (report.written, report.failed, report.expired) == (3, 1, 2)


async def test_what_is_said_after_the_report_is_not_reported_again(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.dispensers.silent = set(stage.seats)
    async with stage.play():
        await stage.targets(stage.cue())
        await trio.sleep(REPORT_WITHIN_S + 0.1)
        stage.dispensers.speak()
        await trio.sleep(5)
    (report,) = stage.reports
    assert (report.written, report.failed) == (0, 6)


async def test_a_cue_that_reaches_nobody_is_reported_at_once(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play():
        assert await stage.targets(stage.cue(seats=())) == 0
    (report,) = stage.reports
    assert (report.written, report.failed, report.expired) == (0, 0, 0)


async def test_a_duplicate_is_not_reported_again(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.play():
        cue = stage.cue()
        await stage.targets(cue)
        assert await stage.targets(cue) == 6
    assert len(stage.dispensers.sprayed) == len(stage.reports) == 1


@pytest.mark.parametrize("withdrawal", ["cancel", "stop", "panic", "forget"])
async def test_a_cue_that_is_taken_back_before_it_is_due_is_reported_to_have_met_nobody(
    stage: Stage, autojump_clock: MockClock, withdrawal: str
) -> None:
    async with stage.play():
        stage.ref.tell(stage.cue("now"))
        await stage.targets(stage.cue("later", in_ms=2_000, scent=PINE))
        stage.reports.clear()
        now_ms = stage.clock.now_ms()
        withdrawals: dict[str, Message[Any]] = {
            "cancel": CancelCue(CueKey(GAME, "later"), now_ms),
            "stop": Stop(GAME, None, now_ms),
            "panic": Panic(now_ms),
            "forget": Forget(GAME),
        }
        await stage.ref.ask(withdrawals[withdrawal], urgent=True)
        assert stage.reports == [Report(CueKey(GAME, "later"), 0, 0, 0)]
        await trio.sleep(5)
    assert len(stage.reports) == len(stage.dispensers.sprayed) == 1


async def test_a_stop_of_what_runs_leaves_its_report_to_the_dispensers(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.dispensers.silent = set(stage.seats)
    async with stage.play():
        await stage.targets(stage.cue())
        assert await stage.ref.ask(Stop(None, None, stage.clock.now_ms()), urgent=True) == 6
        assert stage.reports == []
        stage.dispensers.speak()
        (report,) = stage.reports
        assert (report.written, report.failed) == (6, 0)


async def test_a_stop_at_some_seats_leaves_the_report_to_the_others(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.play():
        await stage.targets(stage.cue(in_ms=2_000))
        await stage.ref.ask(Stop(None, stage.seats[:2], stage.clock.now_ms()))
        assert stage.reports == []
        await trio.sleep(3)
    (report,) = stage.reports
    assert (report.written, report.failed, report.expired) == (4, 0, 0)


async def test_a_crash_reports_what_was_lost_and_what_was_heard_so_far_as_it_is(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.dispensers.silent = {stage.seats[0]}
    async with stage.play():
        await stage.targets(stage.cue("running"))
        await stage.targets(stage.cue("waiting", in_ms=60_000))
        await stage.crash()
        await trio.sleep(1)
        stage.dispensers.speak()
        await trio.sleep(60)
    assert [(r.cue.id, r.written, r.failed, r.expired) for r in stage.reports] == [
        ("running", 5, 1, 0),
        ("waiting", 0, 6, 0),
    ]

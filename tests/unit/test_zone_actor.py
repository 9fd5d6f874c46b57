"""A zone's actor keeps its times, lets stops pass, and comes back after a crash."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors.messages import (
    DeviceState,
    EndPanic,
    Panic,
    ReadPage,
    SetLevel,
    Stop,
    Stuck,
    Suspect,
    TakeCue,
)
from scentrt.actors.reports import Report
from scentrt.actors.zone import MAILBOX_CAPACITY
from scentrt.domain.cues import CueKey, Level, LevelKey, Spray, Target
from scentrt.domain.decisions import Accepted, Refusal, Refused
from scentrt.domain.events import Change, ScentEnded, ScentReleased, ZoneChanged
from scentrt.errors import ActorStopped, Busy
from tests.stage import GAME, PINE, SEA, Halted, Sprayed, Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


class TestTime:
    async def test_a_cue_that_is_due_is_sprayed_answered_and_published_at_once(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            verdict = await stage.ref.ask(stage.cue("c-1", duration_ms=1500))
            now_ms = stage.clock.now_ms()
            assert verdict == Accepted(now_ms, targets=6, skipped={})
            spray = Spray(0, 1.0, 1500, CueKey(GAME, "c-1"), now_ms + 500)
            assert stage.dispensers.sprayed == [Sprayed(now_ms, spray, stage.seats)]
            (event,) = stage.audience.events
            assert isinstance(event, ScentReleased)
            assert (event.revision, event.seats, event.at_ms) == (1, None, now_ms)

    async def test_each_cue_is_sprayed_when_it_is_due_in_whatever_order_they_came(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        began_ms = stage.clock.now_ms()
        due = {"c": 3_000, "a": 250.125, "d": 3_600_000, "b": 1_000.5}
        async with stage.play():
            for id, in_ms in due.items():
                assert await stage.targets(stage.cue(id, in_ms=in_ms, duration_ms=1)) == 6
            await trio.sleep(3_600.1)
        at = {s.spray.cue.id: s.at_ms - began_ms for s in stage.dispensers.sprayed if s.spray.cue}
        assert at == pytest.approx(due, abs=0.001)
        assert list(at) == ["a", "b", "c", "d"]

    async def test_a_cue_that_comes_too_late_is_refused_and_counted(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            verdict = await stage.ref.ask(stage.cue(in_ms=-501, ttl_ms=500))
            assert verdict == Refused(Refusal.TOO_LATE)
            assert stage.zone.late == 1
        assert stage.dispensers.sprayed == []
        assert stage.reports == []

    async def test_a_cue_that_could_not_be_dispatched_in_time_is_dropped_counted_and_reported(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue("late", in_ms=100, ttl_ms=500))
            await stage.targets(stage.cue("in time", in_ms=100, ttl_ms=1000))
            autojump_clock.jump(0.7)  # the whole process was not given the processor
            await wait_all_tasks_blocked()
            assert stage.zone.late == 1
        assert [s.spray.cue for s in stage.dispensers.sprayed] == [CueKey(GAME, "in time")]
        late, in_time = stage.reports
        assert (late.expired, late.written, late.failed) == (6, 0, 0)
        assert (in_time.expired, in_time.written, in_time.failed) == (0, 6, 0)
        assert late.lateness_ms == in_time.lateness_ms == pytest.approx(600)

    async def test_a_level_ends_when_no_newer_value_comes(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        key = LevelKey(GAME, SEA, Target(all=True))
        async with stage.play():
            stage.ref.tell(SetLevel(Level(key, 0.4, stage.clock.now_ms(), ttl_ms=500)))
            await trio.sleep(0.499)
            assert stage.dispensers.open == {(seat, 0) for seat in stage.seats}
            assert stage.audience.levels == ["active"]
            await trio.sleep(0.002)
            assert stage.audience.levels == ["active", "ended"]

    async def test_an_idle_zone_wakes_once_a_second_and_no_more(
        self, stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with stage.play():
            await stage.zone.opened.wait()
            wakes = 0
            wait = stage.zone.mailbox.wait

            async def counted() -> None:
                nonlocal wakes
                wakes += 1
                await wait()

            monkeypatch.setattr(stage.zone.mailbox, "wait", counted)
            await trio.sleep(100)
            assert wakes <= 101


class TestPanic:
    async def test_a_zone_that_starts_under_the_latch_takes_no_cue_until_it_is_released(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.latch.panicked = True
        async with stage.play():
            assert await stage.ref.ask(stage.cue("c-1")) == Refused(Refusal.PANIC)
            await stage.ref.ask(EndPanic(), urgent=True)
            assert await stage.targets(stage.cue("c-2")) == 6

    async def test_the_latch_outlives_a_crash(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.crash()
            stage.latch.panicked = True
            assert await stage.ref.ask(stage.cue()) == Refused(Refusal.PANIC)

    async def test_a_panic_closes_every_slot_also_those_that_are_not_known_to_be_open(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue(seats=stage.seats[:2]))
            assert await stage.ref.ask(Panic(stage.clock.now_ms()), urgent=True) == 2
            assert Halted(None, stage.seats) in stage.dispensers.orders
            assert stage.dispensers.open == set()


class TestMailbox:
    async def test_a_full_mailbox_refuses_a_cue_at_once_but_never_a_stop(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.zone.opened.wait()
            for number in range(MAILBOX_CAPACITY + 1):  # the first is in the actor's hand already
                stage.ref.tell(stage.cue(number))
            with pytest.raises(Busy):
                await stage.ref.ask(stage.cue("one too many"))
            stopped = await stage.ref.ask(Stop(None, None, stage.clock.now_ms()), urgent=True)
            assert stopped == 0
            await trio.sleep(0.001)
            assert await stage.targets(stage.cue("there is room again")) == 6

    async def test_a_stop_overtakes_four_thousand_cues_and_none_of_them_is_sprayed(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue("running", duration_ms=10_000))
            for number in range(4_000):
                stage.ref.tell(stage.cue(number, scent=PINE))
            stop = Stop(None, None, stage.clock.now_ms())
            assert await stage.ref.ask(stop, urgent=True) == 6
            await trio.sleep(0.001)
            assert await stage.targets(stage.cue("after the stop")) == 6
        sprayed = [s.spray.cue.id for s in stage.dispensers.sprayed if s.spray.cue]
        assert sprayed == ["running", "after the stop"]

    async def test_a_stop_can_come_in_while_a_thousand_cues_that_are_due_together_go_out(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        def stop_at_the_first(report: Report) -> None:
            if not stage.reports:
                stage.ref.tell(Stop(None, None, stage.clock.now_ms()), urgent=True)
            stage.reports.append(report)

        async with stage.play():
            for number in range(1_000):
                cue = stage.cue(number, in_ms=1_000, seats=stage.seats[:1])
                stage.ref.tell(TakeCue(cue.cue, stop_at_the_first))
            await trio.sleep(2)
        assert len(stage.reports) == 1_000
        taken_back = [report for report in stage.reports if report.lateness_ms is None]
        assert len(taken_back) >= 1_000 - 32

    async def test_other_tasks_have_their_turn_while_a_zone_works_off_a_full_mailbox(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.zone.opened.wait()
            for number in range(MAILBOX_CAPACITY):
                stage.ref.tell(stage.cue(number))
            longest = 0
            while (done := len(stage.reports)) < MAILBOX_CAPACITY:
                await trio.lowlevel.checkpoint()
                longest = max(longest, len(stage.reports) - done)
        assert longest <= 3 * 32


class TestDevices:
    async def test_what_is_known_of_devices_is_on_the_page_of_their_seats(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        known = DeviceState(latency_ms=2.5, battery_percent=97)
        stage.dispensers.devices[stage.seats[1]] = known
        async with stage.play():
            page = await stage.ref.ask(ReadPage(1, lambda _: 1_000))
        assert [device for _, device in page.seats] == [None, known, None, None, None, None]

    async def test_a_device_that_sticks_is_left_out_until_it_comes_loose(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            stage.ref.tell(Stuck(stage.seats[0], stuck=True), urgent=True)
            assert await stage.targets(stage.cue("c-1")) == 5
            stage.ref.tell(Stuck(stage.seats[0], stuck=False), urgent=True)
            await trio.sleep(stage.limits.clearing_ms / 1000)
            assert await stage.targets(stage.cue("c-2")) == 6
            stage.ref.tell(Suspect(stage.seats[2]))
            await stage.ref.ask(ReadPage(1, lambda _: 1_000))
        changes = [
            event.change for event in stage.audience.events if isinstance(event, ZoneChanged)
        ]
        assert changes == [Change.SEAT_STUCK, Change.SEAT_LOOSE, Change.SEAT_IMPOSTOR]


class TestLifetime:
    async def test_every_slot_is_closed_before_a_zone_takes_its_first_cue(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue())
        assert stage.dispensers.orders[0] == Halted(None, stage.seats)

    async def test_a_zone_that_is_cancelled_stops_what_runs_and_leaves_in_good_order(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        answers: list[object] = []
        async with stage.play():
            await stage.targets(stage.cue(duration_ms=10_000))
            await stage.targets(stage.cue("waiting", in_ms=1_000))
            await trio.sleep(0.25)
            stage.playing.cancel_scope.cancel()
            stage.ref.request(stage.cue("too late"), answers.append)
        assert [type(answer) for answer in answers] == [ActorStopped]
        assert stage.dispensers.open == set()
        assert stage.dispensers.orders[-1] == Halted(None, stage.seats)
        assert [type(event) for event in stage.audience.events] == [ScentReleased, ScentEnded]
        assert not stage.zone.is_open
        stored = await stage.store.doses(stage.zone.id, 0)
        assert stored.closed
        assert {sum(used.values()) for used in stored.used.values()} == {250_000}
        with pytest.raises(ActorStopped):
            stage.ref.tell(stage.cue())

    async def test_a_zone_that_is_cancelled_before_it_has_opened_ends_at_once(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.store.readable = False
        async with stage.play():
            pass
        assert trio.current_time() == 0

    async def test_a_zone_waits_a_second_at_most_for_a_database_that_hangs(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue())
            await trio.sleep(2.5)
            stage.store.commit_s = 100
            stage.playing.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await stage.ended.wait()
            assert trio.current_time() == pytest.approx(3.5)
            assert stage.dispensers.open == set()

    async def test_a_crash_closes_every_slot_and_the_zone_is_back_within_a_second(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue("running", duration_ms=10_000))
            for _ in range(6):
                await stage.crash()
                assert stage.dispensers.open == set()
                assert not stage.zone.is_open
                with trio.fail_after(1):
                    await stage.ref.ask(ReadPage(1, lambda _: 1_000))
                assert stage.zone.is_open

    async def test_a_zone_that_was_restarted_says_so_and_goes_on_counting_its_revisions(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue("first"))
            await stage.crash()
            assert await stage.targets(stage.cue("second")) == 6
            page = await stage.ref.ask(ReadPage(1, lambda _: 1_000))
            first, restarted, second = stage.audience.events
            assert isinstance(restarted, ZoneChanged)
            assert restarted.change is Change.RESTARTED
            assert first.revision < restarted.revision < second.revision == page.revision

    async def test_a_crash_is_of_no_concern_to_other_zones(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        other = Stage(zone="B")
        async with stage.play(), other.play():
            await other.targets(other.cue("running", duration_ms=10_000))
            await other.targets(other.cue("waiting", scent=PINE, in_ms=200, mix=True))
            for _ in range(3):
                await stage.crash()
            await trio.sleep(1)
            assert len(other.dispensers.sprayed) == len(other.reports) == 2
            assert {seat for seat, _ in other.dispensers.open} == set(other.seats)

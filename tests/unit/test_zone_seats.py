"""What is set for a seat is in effect at once, outlives what breaks, and delays are reported."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from scentrt.actors.house import Guests, House
from scentrt.actors.messages import CancelCue, Connected, ReadSeats, SetSeat
from scentrt.actors.seat_desk import STORED_WITHIN_S, SeatCard, SeatDesk
from scentrt.domain.cues import CueKey, Scent, SeatId
from scentrt.domain.events import Change, ZoneChanged
from scentrt.domain.layout import TheatrePlan
from scentrt.domain.seat_settings import SeatChange, SeatSettings
from scentrt.errors import StoredLater, StoreUnavailable, UnknownScent, UnknownSeat
from tests.stage import GAME, SEA, Stage

OPT_OUT = SeatChange(opted_out=True)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def desk_of(stage: Stage) -> SeatDesk:
    """Return the seat desk of the house whose one zone is on stage."""
    plan = TheatrePlan("Stage", (stage.plan,))
    zones = {stage.plan.id: stage.ref}
    house = House(plan, zones, Guests(), stage.ledger, stage.clock, stage.latch)
    return SeatDesk(house, stage.ledger)


class TestSettings:
    async def test_they_are_in_effect_and_on_disk_when_they_are_answered(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first = stage.seats[0]
        async with stage.play():
            desk = desk_of(stage)
            card = await desk.change(first, SeatChange(gain=1.5, averse_to=frozenset({SEA})))
            assert card == SeatCard(
                stage.plan.id, first, SeatSettings(averse_to=frozenset({SEA}), gain=1.5)
            )
            assert await stage.store.settings(stage.plan.id) == {
                first: SeatChange(averse_to=frozenset({SEA}), gain=1.5)
            }
            assert await desk.read(first) == card
            assert await stage.targets(stage.cue()) == 5
            [event] = [e for e in stage.audience.events if isinstance(e, ZoneChanged)]
            assert (event.change, event.seat) == (Change.SEAT_CHANGED, first)

    async def test_two_changes_at_once_both_hold(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first = stage.seats[0]
        async with stage.play():
            desk = desk_of(stage)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.change, first, SeatChange(gain=1.5))
                nursery.start_soon(desk.change, first, SeatChange(delay_ms=100))
            both = SeatChange(gain=1.5, delay_ms=100)
            assert (await desk.read(first)).settings == SeatSettings(gain=1.5, delay_ms=100)
            assert await stage.store.settings(stage.plan.id) == {first: both}

    async def test_what_nobody_has_set_is_as_the_theatre_file_has_it_also_later(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first = stage.seats[0]
        async with stage.play():
            await desk_of(stage).change(first, SeatChange(gain=1.2))
        stage.plan = replace(stage.plan, opted_out=frozenset({first}))
        async with stage.play():
            card = await desk_of(stage).read(first)
            assert card.settings == SeatSettings(opted_out=True, gain=1.2)
            assert await stage.targets(stage.cue()) == 5
            await desk_of(stage).change(first, SeatChange(opted_out=False))
        async with stage.play():
            assert await stage.targets(stage.cue()) == 6

    async def test_what_the_database_does_not_take_is_in_effect_and_said_not_to_be_stored(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first, second = stage.seats[:2]
        stage.store.refuses = {first}
        async with stage.play():
            desk = desk_of(stage)
            with pytest.raises(StoreUnavailable, match="does not take what is set for A-1-1"):
                await desk.change(first, OPT_OUT)
            await desk.change(second, OPT_OUT)  # which is stored
            await stage.crash()
            await trio.sleep(1)
            assert await stage.targets(stage.cue()) == 4
            assert stage.ledger.health.refused_seats == 1
            assert await stage.store.settings(stage.plan.id) == {second: OPT_OUT}
            stage.store.refuses = set()
            await desk.change(first, OPT_OUT)
            assert stage.ledger.health.refused_seats == 0

    async def test_what_is_set_already_can_be_set_again_without_the_goggles_that_have_the_scent(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first = stage.seats[0]
        rare = Scent("rare")
        async with stage.play():
            await stage.ref.ask(SetSeat(first, SeatChange(averse_to=frozenset({rare}))))
            desk = desk_of(stage)
            card = await desk.change(first, SeatChange(averse_to=frozenset({rare, SEA})))
            assert card.settings.averse_to == {rare, SEA}
            with pytest.raises(UnknownScent, match="rarer"):
                await desk.change(first, SeatChange(averse_to=frozenset({rare, Scent("rarer")})))

    async def test_they_outlive_a_crash_and_a_restart_and_beat_the_theatre_file(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first, second = stage.seats[:2]
        async with stage.play():
            await desk_of(stage).change(first, OPT_OUT)
            await stage.crash()
            await trio.sleep(1)
            assert await stage.targets(stage.cue()) == 5
        stage.plan = type(stage.plan)(
            stage.plan.id, 2, 3, stage.plan.slots, opted_out=frozenset({first, second})
        )
        async with stage.play():
            await desk_of(stage).change(first, SeatChange(opted_out=False))
        async with stage.play():
            found = await stage.ref.ask(ReadSeats((first, second)))
            assert [each.opted_out for each in found if each is not None] == [False, True]

    async def test_while_the_database_is_away_they_are_in_effect_also_after_a_crash_and_kept(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        first = stage.seats[0]
        async with stage.play():
            stage.store.writable = False
            with pytest.raises(StoredLater, match="the database is away"):
                await desk_of(stage).change(first, OPT_OUT)
            assert await stage.targets(stage.cue("c-1", duration_ms=1)) == 5
            await stage.crash()
            await trio.sleep(1)
            assert await stage.targets(stage.cue("c-2")) == 5
            stage.store.writable = True
            await trio.sleep(5)
            assert await stage.store.settings(stage.plan.id) == {first: SeatChange(opted_out=True)}

    async def test_a_slow_database_keeps_nobody_waiting(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await trio.sleep(0.5)
            stage.store.commit_s = 60
            began = trio.current_time()
            with pytest.raises(StoredLater):
                await desk_of(stage).change(stage.seats[0], OPT_OUT)
            assert trio.current_time() - began == pytest.approx(STORED_WITHIN_S)
            stage.store.commit_s = 0

    async def test_who_is_not_there_and_what_nobody_carries_is_refused(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            desk = desk_of(stage)
            with pytest.raises(UnknownSeat):
                await desk.change(SeatId("A-9-9"), OPT_OUT)
            with pytest.raises(UnknownSeat):
                await desk.read(SeatId("A-9-9"))
            with pytest.raises(UnknownScent):
                await desk.change(stage.seats[0], SeatChange(averse_to=frozenset({Scent("tar")})))
            assert await stage.ref.ask(SetSeat(SeatId("A-9-9"), OPT_OUT)) is None
            assert await stage.store.settings(stage.plan.id) == {}

    async def test_the_seats_come_page_by_page(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            desk = desk_of(stage)
            first = await desk.page(SeatId(""), 4)
            rest = await desk.page(first[-1].seat, 4)
            assert [card.seat for card in (*first, *rest)] == list(stage.seats)


class TestReportsOfDelays:
    async def set_delays(self, stage: Stage, *delays_ms: float) -> None:
        for seat, delay_ms in zip(stage.seats, delays_ms, strict=False):
            await stage.ref.ask(SetSeat(seat, SeatChange(delay_ms=delay_ms)))

    async def test_a_report_waits_for_the_seats_that_are_sprayed_later(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await self.set_delays(stage, 1_900, 500)
            await stage.targets(stage.cue("c-1"))
            await trio.sleep(1.89)
            assert [len(s.seats) for s in stage.dispensers.sprayed] == [4, 1]
            assert stage.reports == []
            await trio.sleep(0.02)
            (report,) = stage.reports
            assert (report.cue, report.written, report.failed) == (CueKey(GAME, "c-1"), 6, 0)
            assert report.last_ms == pytest.approx(1_900, abs=5)

    async def test_whoever_is_told_later_has_a_second_to_answer_from_then_on(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.dispensers.silent = {stage.seats[0]}
        async with stage.play():
            await self.set_delays(stage, 1_500)
            await stage.targets(stage.cue("c-1"))
            await trio.sleep(2.49)
            assert stage.reports == []
            await trio.sleep(0.02)
            assert [(r.written, r.failed) for r in stage.reports] == [(5, 1)]

    async def test_of_a_cue_that_is_cancelled_meanwhile_the_others_are_reported(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await self.set_delays(stage, 500, 500)
            await stage.targets(stage.cue("c-1"))
            await trio.sleep(0.1)
            assert await stage.ref.ask(CancelCue(CueKey(GAME, "c-1"), stage.clock.now_ms())) == 6
            await trio.sleep(0.5)
            assert [(r.written, r.failed, r.expired) for r in stage.reports] == [(4, 0, 0)]

    async def test_a_seat_that_is_lost_before_its_moment_has_failed(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await self.set_delays(stage, 500)
            await stage.targets(stage.cue("c-1"))
            stage.ref.tell(Connected(stage.seats[0], online=False))
            await trio.sleep(0.6)
            assert [(r.written, r.failed, r.expired) for r in stage.reports] == [(5, 1, 0)]

    async def test_what_could_begin_too_late_only_has_expired(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await self.set_delays(stage, 500)
            await stage.targets(stage.cue("c-1", ttl_ms=100))
            await wait_all_tasks_blocked()
            autojump_clock.jump(0.7)  # the whole process was not given the processor
            await wait_all_tasks_blocked()
            assert [(r.written, r.failed, r.expired) for r in stage.reports] == [(5, 0, 1)]
            assert stage.zone.late == 1

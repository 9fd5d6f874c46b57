"""A zone's vials, over commands, restarts, crashes and an outage of the database."""

from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock

from scentrt.actors.actor import Message
from scentrt.actors.messages import (
    Contents,
    NotTold,
    Page,
    PutVials,
    ReadPage,
    SetRefill,
    SlotsHeard,
    TakeVials,
)
from scentrt.actors.zone import MAILBOX_CAPACITY
from scentrt.domain.cues import CueKey, SeatId
from scentrt.domain.doses import US_PER_S
from scentrt.domain.events import Change, Ended, ZoneChanged
from scentrt.domain.names import OrderId, Sku
from scentrt.domain.rack import Rack
from scentrt.domain.refills import Refill, RefillStatus
from scentrt.domain.vials import SeatedVial
from scentrt.errors import ActorCrashed, Busy
from tests.stage import GAME, SEA, Stage
from tests.vials import seated

REFILL = Refill(SEA, Sku("SEABREEZE"), OrderId("refill-A-SEABREEZE-1"), 6, RefillStatus.WANTED)


@pytest.fixture
async def stage() -> Stage:
    stage = Stage()
    for number, seat in enumerate(stage.seats):
        vial = seated(number, seat, left_s=100)
        stage.store.seated[vial.id] = vial
    return stage


async def page(stage: Stage) -> Page:
    def everything(_: Contents) -> int:
        return 1_000

    return await stage.ref.ask(ReadPage(1, everything))


async def left_s(stage: Stage) -> list[float | None]:
    """Return what is in the first slot of each seat at this moment."""
    now_ms = stage.clock.now_ms()
    left = [seat.slots[0].left_us(now_ms) for seat, _ in (await page(stage)).seats]
    return [None if left_us is None else round(left_us / US_PER_S, 3) for left_us in left]


def stored_s(stage: Stage) -> list[float]:
    return [vial.left_us / US_PER_S for vial in stage.store.seated.values()]


def changes(stage: Stage) -> list[tuple[Change, SeatId | None]]:
    told = [event for event in stage.audience.events if isinstance(event, ZoneChanged)]
    stage.audience.events.clear()
    return [(event.change, event.seat) for event in told]


class TestLevels:
    async def test_a_zone_opens_with_its_vials_and_says_nothing_of_it(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            assert await left_s(stage) == [100] * 6
            assert changes(stage) == []

    async def test_levels_are_on_disk_a_second_after_they_were_decided(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue(duration_ms=4_000, seats=stage.seats[:2]))
            await trio.sleep(1.001)
            assert stored_s(stage) == [96, 96, 100, 100, 100, 100]
            assert await left_s(stage) == [98.999, 98.999, 100, 100, 100, 100]

    async def test_after_a_stop_in_good_order_the_levels_are_exact(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue(duration_ms=4_000))
            await trio.sleep(1.5)
        assert stored_s(stage) == pytest.approx([98.5] * 6)
        async with stage.play():
            assert await left_s(stage) == [98.5] * 6

    async def test_a_crash_of_the_zone_costs_nothing_of_what_it_knew_of_its_vials(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue(1, duration_ms=1_000))
            await trio.sleep(1.5)
            stage.store.writable = False  # which makes no difference
            await stage.targets(stage.cue(2, duration_ms=1_000))
            await trio.sleep(1)
            await stage.targets(stage.cue(3, duration_ms=800))
            await trio.sleep(0.3)
            await stage.crash()
            assert await left_s(stage) == [97.7] * 6, "what ran was closed, and saved the rest"
            stage.store.writable = True
            await trio.sleep(5)
            assert stored_s(stage) == [97.7] * 6
            lines = [line.entry for _, line in stage.store.journal if line.entry.scent == SEA]
            assert sum(entry.dose_us for entry in lines) == pytest.approx(6 * 2.3 * US_PER_S)
            assert lines[-1].ended is Ended.RESTARTED

    async def test_a_zone_that_stumbles_over_its_vials_is_back_all_the_same(
        self, stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stumble(*_: object) -> NoReturn:
            raise RuntimeError

        async with stage.play():
            await stage.targets(stage.cue(1, duration_ms=500))
            await trio.sleep(1.1)
            with monkeypatch.context() as patch:
                patch.setattr(Rack, "take_levels", stumble)
                await stage.crash()
            assert await left_s(stage) == [99.5] * 6

    async def test_after_a_kill_the_levels_are_those_on_disk(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play_and_be_killed():
            await stage.targets(stage.cue(1, duration_ms=1_000))
            await trio.sleep(1.5)
            await stage.targets(stage.cue(2, duration_ms=300))
        async with stage.play():
            assert await left_s(stage) == [99] * 6

    async def test_a_zone_does_not_open_as_if_it_had_no_vials_while_they_cannot_be_read(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.store.readable = False
        async with stage.play():
            with trio.fail_after(1), pytest.raises(ActorCrashed):
                await stage.ref.ask(stage.cue())
            stage.store.readable = True
            await stage.targets(stage.cue("next", duration_ms=1_000))
            await trio.sleep(1)
            assert await left_s(stage) == [99] * 6

    async def test_vials_where_the_theatre_has_no_slot_any_more_are_left_out_and_logged(
        self, stage: Stage, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
    ) -> None:
        stray = seated(77, SeatId("A-9-9"))
        stage.store.seated[stray.id] = stray
        async with stage.play():
            assert await left_s(stage) == [100] * 6
        assert "1 vials stand where it has no slot" in caplog.text


class TestComingAndGoing:
    async def test_vials_come_and_go_also_when_the_mailbox_is_full(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        new = tuple(seated(10 + n, seat, 1, sku="PINE") for n, seat in enumerate(stage.seats))
        async with stage.play():
            await stage.zone.opened.wait()
            with suppress(Busy):
                for number in range(2 * MAILBOX_CAPACITY):
                    stage.ref.tell(stage.cue(number, in_ms=60_000))
            with pytest.raises(Busy):
                stage.ref.tell(stage.cue("one too many"))
            stage.ref.tell(PutVials(new), urgent=True)
            places = ((stage.seats[0], 1), (stage.seats[1], 0))
            taken = await stage.ref.ask(TakeVials(places), urgent=True)
            assert [vial.id for vial in taken] == [10, 1]
            assert changes(stage) == [
                (Change.VIALS_LOADED, None),
                (Change.VIALS_UNLOADED, stage.seats[0]),
                (Change.VIALS_UNLOADED, stage.seats[1]),
            ]

    async def test_what_is_taken_out_in_the_middle_of_a_cue_is_closed_and_counted_to_the_moment(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue(duration_ms=4_000))
            await trio.sleep(1.5)
            seat = stage.seats[2]
            [vial] = await stage.ref.ask(TakeVials(((seat, 0),)), urgent=True)
            assert vial.left_us == pytest.approx(98.5 * US_PER_S, abs=1)
            assert stage.dispensers.open == {(other, 0) for other in stage.seats if other != seat}
            assert (await left_s(stage))[2] is None

    async def test_a_crash_costs_a_vial_nothing_that_is_out_and_not_yet_put_away(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        """Until it is put away the stock says that it stands there, and so does the zone again."""
        async with stage.play():
            await stage.targets(stage.cue(1, duration_ms=4_000, seats=stage.seats[:1]))
            await trio.sleep(1.5)
            await stage.targets(stage.cue(2, duration_ms=300, seats=stage.seats[1:2]))
            await trio.sleep(0.3)
            out = await stage.ref.ask(TakeVials(tuple((seat, 0) for seat in stage.seats)))
            assert [vial.left_us / US_PER_S for vial in out] == [98.2, 99.7, 100, 100, 100, 100]
            await stage.crash()
            assert await left_s(stage) == [98.2, 99.7, 100, 100, 100, 100]

    async def test_a_vial_that_comes_twice_comes_once_also_over_a_crash(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        vial = seated(10, stage.seats[0], 1, left_s=50, sku="PINE")
        async with stage.play():
            stage.ref.tell(PutVials((vial,)), urgent=True)
            await stage.targets(stage.cue(duration_ms=2_000))
            await trio.sleep(1.1)
            stage.store.seated[vial.id] = vial
            await stage.crash()
            stage.ref.tell(PutVials((vial, *stage.store.seated.values())), urgent=True)
            assert await left_s(stage) == [98.9] * 6
            assert [change for change, _ in changes(stage)] == [
                Change.VIALS_LOADED,
                Change.RESTARTED,
            ]

    async def test_a_level_written_late_does_not_change_a_vial_that_has_gone_elsewhere(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            stage.store.writable = False
            await stage.targets(stage.cue(duration_ms=2_000))
            await trio.sleep(2)
            [vial] = await stage.ref.ask(TakeVials(((stage.seats[0], 0),)), urgent=True)
            stage.store.seated[vial.id] = seated(vial.id, stage.seats[5], 1, left_s=12)
            stage.store.writable = True
            await trio.sleep(5)
        assert stored_s(stage) == [12, 98, 98, 98, 98, 98]


class TestSprays:
    async def test_what_surely_was_not_told_costs_its_vial_nothing(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.dispensers.jammed = {stage.seats[0]}
        stage.dispensers.slow = {stage.seats[1]}
        stage.dispensers.silent = {stage.seats[1]}
        async with stage.play():
            cue = stage.cue(duration_ms=2_000)
            await stage.targets(cue)
            await trio.sleep(0.5)
            assert await left_s(stage) == [100, 99.5, 99.5, 99.5, 99.5, 99.5]
            stage.dispensers.speak()
            assert await left_s(stage) == [100, 100, 99.5, 99.5, 99.5, 99.5]
            await trio.sleep(2)
        assert stored_s(stage) == [100, 100, 98, 98, 98, 98]

    async def test_without_a_report_that_is_wanted_it_is_heard_as_well(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.dispensers.jammed = {stage.seats[0]}
        async with stage.play():
            cue = stage.cue(duration_ms=2_000)
            await stage.ref.ask(type(cue)(cue.cue))
            assert await left_s(stage) == [100] * 6
            await trio.sleep(2)
            assert await left_s(stage) == [100, *[98] * 5]

    async def test_what_is_heard_of_a_former_life_changes_nothing(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        stage.dispensers.jammed = stage.dispensers.silent = set(stage.seats)
        async with stage.play():
            await stage.targets(stage.cue(duration_ms=2_000))
            await trio.sleep(1.1)
            await stage.crash()
            stage.dispensers.speak()
            stage.ref.tell(NotTold(CueKey(GAME, "nobody's"), stage.seats), urgent=True)
            assert await left_s(stage) == [98.9] * 6


class TestJournal:
    async def test_each_cue_is_on_disk_with_the_batch_of_its_vials_a_second_later(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue("c-1", duration_ms=1_500))
            await trio.sleep(1.001)
            [(zone, line)] = stage.store.journal
            assert zone == stage.zone.id
            assert (line.entry.cue, line.entry.batchref, line.entry.seats) == (
                *(CueKey(GAME, "c-1"), "b-1"),
                None,
            )
            assert line.entry.dose_us == 6 * 1_500_000

    async def test_what_was_released_in_the_last_second_is_on_disk_after_a_stop(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            await stage.targets(stage.cue("c-1"))
        assert stage.store.journal[0][1].entry.cue == CueKey(GAME, "c-1")


class TestSupplies:
    async def test_what_there_is_is_reported_at_the_start_and_when_it_has_changed(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        reports = stage.storekeeper.reports
        async with stage.play():
            await trio.sleep(3.5)
            assert [[each.left_us for each in report] for report in reports] == [[600 * US_PER_S]]
            await stage.targets(stage.cue(duration_ms=200))
            await trio.sleep(3)
            assert [report[0].left_us for report in reports] == [600 * US_PER_S, 598_800_000]
            await stage.ref.ask(TakeVials(tuple((seat, 0) for seat in stage.seats)))
            await trio.sleep(1.1)
            assert reports[2:] == [()]
            await stage.crash()
            await stage.ref.ask(stage.cue("next"))
            assert len(reports[3][0].vials) == 6  # as the database has it

    async def test_a_scent_that_runs_low_is_told_once_and_again_after_a_restart(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        for id, vial in stage.store.seated.items():
            stage.store.seated[id] = vial.with_left(20_500_000)
        async with stage.play():
            await trio.sleep(2)
            assert changes(stage) == []
            await stage.targets(stage.cue(duration_ms=1_000))
            await trio.sleep(5)
            assert changes(stage) == [(Change.SUPPLY_LOW, None)]
            await stage.crash()
            await page(stage)
            assert [change for change, _ in changes(stage)] == [
                Change.RESTARTED,
                Change.SUPPLY_LOW,
            ]
            full = tuple(seated(50 + n, seat) for n, seat in enumerate(stage.seats))
            stage.ref.tell(PutVials(full), urgent=True)
            await trio.sleep(1.1)
            assert [change for change, _ in changes(stage)] == [
                Change.VIALS_LOADED,
                Change.SUPPLY_RESTORED,
            ]

    async def test_what_becomes_of_a_refill_is_told_once_and_kept_over_a_crash(
        self, stage: Stage, autojump_clock: MockClock
    ) -> None:
        async with stage.play():
            stage.ref.tell(SetRefill(SEA, REFILL), urgent=True)
            stage.ref.tell(SetRefill(SEA, REFILL), urgent=True)
            assert (await page(stage)).refills == (REFILL,)
            assert changes(stage) == [(Change.REFILL_WANTED, None)]
            await stage.crash()
            assert (await page(stage)).refills == (REFILL,)
            changes(stage)
            met = replace(REFILL, status=RefillStatus.MET)
            for _ in range(2):
                stage.ref.tell(SetRefill(SEA, met), urgent=True)
            assert (await page(stage)).refills == ()
            assert changes(stage) == [(Change.REFILL_MET, None)]


async def test_what_a_device_says_of_its_slots_is_seen_and_a_disagreement_told(
    stage: Stage, autojump_clock: MockClock
) -> None:
    seat = stage.seats[0]
    async with stage.play():
        for _ in range(2):
            stage.ref.tell(SlotsHeard(seat, {0: 50 * US_PER_S, 9: 1}))
        slots = (await page(stage)).seats[0][0].slots
        assert [slot.reported_us for slot in slots] == [50 * US_PER_S, None]
        assert changes(stage) == [(Change.VIAL_DISAGREES, seat)]


async def test_whoever_waits_for_vials_is_answered_when_the_zone_crashes(
    stage: Stage, autojump_clock: MockClock
) -> None:
    take: Message[tuple[SeatedVial, ...]] = TakeVials(((stage.seats[0], 0),))
    async with stage.play():
        await stage.zone.opened.wait()
        stage.dispensers.broken = True
        stage.ref.tell(stage.cue())
        stage.ref.tell(stage.cue("and then"))
        with pytest.raises(ActorCrashed):
            await stage.ref.ask(take)
        stage.dispensers.broken = False
        assert [vial.id for vial in await stage.ref.ask(take)] == [0]

"""The dispensers of a zone on Bluetooth LE: two threads, made-up air, and so real time."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from scentrt.adapters.dispensers import ble, gatt
from scentrt.adapters.dispensers.adapter import Adapter, assign_adapters
from scentrt.adapters.dispensers.gatt import Command
from scentrt.domain.cues import CueKey, OwnerId, SeatId
from scentrt.domain.decisions import Withdraw
from scentrt.errors import ConfigError
from tests.integration.ble_zone import CUE, CountingThread, Zone, seats_of
from tests.integration.fake_air import FakeDispenser, FakeRadio

STOP_ALL = Command.stop(None)


@asynccontextmanager
async def zone(
    fakes: Sequence[FakeDispenser], slots: int = 100, keys: Mapping[SeatId, bytes] | None = None
) -> AsyncIterator[Zone]:
    async with CountingThread() as aio:
        house = Zone(aio, *on_one_adapter(fakes, slots), keys)
        async with house.running():
            yield house


def on_one_adapter(fakes: Sequence[FakeDispenser], slots: int) -> tuple[list[str], list[Adapter]]:
    return [fake.name for fake in fakes], [Adapter("hci0", FakeRadio(fakes), slots)]


def many(number: int) -> list[FakeDispenser]:
    fakes = [FakeDispenser(f"C4:{n:02}") for n in range(number)]
    for fake in fakes:
        fake.connect_takes_s = 0
    return fakes


async def test_a_spray_reaches_every_seat_with_one_crossing_there_and_one_back() -> None:
    fakes = many(24)
    async with zone(fakes) as house:
        await house.online()
        before = list(house.aio.crossings)
        asked_ms = house.clock.now_ms()
        house.spray()
        await house.done_by_all(24)
        assert [now - then for now, then in zip(house.aio.crossings, before, strict=True)] == [
            1,
            1,
        ]
        (written,) = house.written
        assert (written.written, written.failed) == (24, 0)
        assert asked_ms <= written.first_ms <= written.last_ms <= house.clock.now_ms()
        assert all(fake.sprays == [Command.spray(0, 0.8, 1500)] for fake in fakes)


async def test_a_halt_closes_a_slot_or_all_at_the_seats_it_names() -> None:
    fakes = many(3)
    async with zone(fakes) as house:
        await house.online()
        house.spray()
        await house.done_by_all(3)
        house.ble.halt(0, house.seats[:1])
        house.ble.halt(None, house.seats[1:2])
        await house.in_the_thread(lambda: None)
        house.spray(cue=None)
        await house.done_by_all(6)
        assert [len(fake.commands) for fake in fakes] == [4, 4, 3]
        assert [fake.commands[2] for fake in fakes[:2]] == [Command.stop(0), STOP_ALL]


async def test_what_is_withdrawn_is_not_sprayed_any_more_at_the_seats_that_are_named() -> None:
    fakes = many(3)
    async with zone(fakes) as house:
        await house.online()
        for fake in fakes:
            fake.write_takes_s = 0.1
        house.spray(0.1, cue=CueKey(OwnerId("s-2"), "c-1"))
        house.spray(0.2)
        house.ble.withdraw(Withdraw(CUE, None, (house.seats[0], SeatId("A-9-9"))))
        house.spray(0.3)
        house.ble.withdraw(Withdraw(None, OwnerId("s-3"), None))
        await house.done_by_all(9)
        assert [len(fake.sprays) for fake in fakes] == [2, 3, 3]
        assert sum(written.failed for written in house.written) == 1


async def test_seats_without_a_device_and_devices_that_are_away_fail() -> None:
    fakes = many(3)
    fakes[0].present.clear()
    async with zone(fakes) as house:
        await house.until(lambda: sum(s.online for s in house.ble.states.values()) == 2)
        seats = [*house.seats, SeatId("A-9-9")]
        house.spray(at=seats)
        await house.done_by_all(4)
        assert [(w.written, w.failed) for w in house.written] == [(2, 2)]
        assert set(house.written[0].untold) == {house.seats[0], SeatId("A-9-9")}


async def test_only_where_a_write_has_not_begun_a_seat_is_surely_not_told() -> None:
    fakes = many(2)
    async with zone(fakes) as house:
        await house.online()
        for fake in fakes:
            fake.write_takes_s = 0.2
        house.spray()
        house.spray(within_ms=100)
        house.spray()
        await house.in_the_thread(lambda: None)
        await trio.sleep(0.05)
        await house.in_the_thread(fakes[0].drop)
        await house.done_by_all(6)
        untold = Counter(seat for written in house.written for seat in written.untold)
        assert untold == {house.seats[0]: 2, house.seats[1]: 1}
        assert sum(written.expired for written in house.written) == 1


async def test_a_seat_with_a_key_is_sprayed_where_its_device_has_it_only() -> None:
    fakes = many(3)
    fakes[0].key, fakes[1].key = b"k" * 16, b"another that is as long"
    keys = {SeatId("A-1-1"): b"k" * 16, SeatId("A-1-2"): b"k" * 16}
    async with zone(fakes, keys=keys) as house:
        await house.until(lambda: sum(s.online for s in house.ble.states.values()) == 2)
        await house.until(lambda: house.ble.states[house.seats[1]].impostor)
        house.spray()
        await house.done_by_all(3)
        assert [len(fake.sprays) for fake in fakes] == [1, 0, 1]
        assert [state.impostor for state in house.ble.states.values()] == [False, True, False]


async def test_where_nobody_is_reached_it_says_so_all_the_same() -> None:
    async with zone([]) as house:
        house.spray(at=[SeatId("A-9-9")])
        house.ble.halt(None, [SeatId("A-9-9")])
        await house.done_by_all(1)
        house.spray(at=[])
        assert [(w.written, w.failed) for w in house.written] == [(0, 1)]


async def test_a_slow_device_does_not_hold_back_the_word_of_the_others() -> None:
    fakes = many(3)
    async with zone(fakes) as house:
        await house.online()
        fakes[1].write_takes_s = 0.3
        house.spray()
        await house.done_by_all(3)
        assert [(w.written, w.failed) for w in house.written] == [(2, 0), (1, 0)]
        fast, slow = house.written
        assert slow.first_ms - fast.last_ms > 200


async def test_one_device_that_hangs_costs_the_others_nothing() -> None:
    fakes = many(24)
    async with zone(fakes) as house:
        await house.online()
        await house.in_the_thread(fakes[7].answers.clear)
        for number in range(20):
            house.spray(cue=CueKey(OwnerId("s-1"), number))
        await house.until(lambda: sum(w.written for w in house.written) == 23 * 20)
        assert all(len(fake.sprays) == 20 for fake in fakes if fake is not fakes[7])
        await house.until(lambda: not house.ble.states[house.seats[7]].online)
        await house.done_by_all(24 * 20)
        assert sum(w.failed for w in house.written) == 20


async def test_of_level_steps_a_slow_device_gets_only_the_newest() -> None:
    fakes = many(1)
    async with zone(fakes) as house:
        await house.online()
        fakes[0].write_takes_s = 0.05
        for percent in range(1, 101):
            house.spray(percent / 100, cue=None)
        await house.done_by_all(100)
        assert fakes[0].sprays[-1].intensity == 255
        assert len(fakes[0].sprays) <= 3


async def test_what_a_slow_device_could_not_be_told_in_time_has_expired() -> None:
    fakes = many(3)
    async with zone(fakes) as house:
        await house.online()
        fakes[1].write_takes_s = 0.3
        for number in range(3):
            house.spray(number / 10 + 0.1, within_ms=200)
        await house.done_by_all(9)
        assert [len(fake.sprays) for fake in fakes] == [3, 1, 3]
        assert sum(w.expired for w in house.written) == 2
        assert sum(w.failed for w in house.written) == 0


async def test_a_spray_that_has_expired_when_it_is_ordered_is_not_told() -> None:
    fakes = many(2)
    async with zone(fakes) as house:
        await house.online()
        house.spray(within_ms=-1)
        await house.done_by_all(2)
        assert [(w.written, w.failed, w.expired) for w in house.written] == [(0, 0, 2)]
        assert not any(fake.sprays for fake in fakes)


async def test_a_spray_too_short_for_a_device_is_over_at_once() -> None:
    fakes = many(1)
    async with zone(fakes) as house:
        await house.online()
        house.spray(duration_ms=0.5)
        assert [(w.written, w.failed) for w in house.written] == [(1, 0)]
        await house.in_the_thread(lambda: None)
        assert fakes[0].sprays == []


async def test_what_happens_to_the_links_is_told_together() -> None:
    fakes = many(24)
    async with zone(fakes) as house:
        await house.online()
        assert [state.battery_percent for state in house.ble.states.values()] == [100] * 24
        before = house.aio.crossings[1]

        def drop_all() -> None:
            for fake in fakes:
                fake.present.clear()
                fake.drop()

        await house.in_the_thread(drop_all)
        await house.until(lambda: not any(s.online for s in house.ble.states.values()))
        await house.until(lambda: all(s.problem for s in house.ble.states.values()))
        assert house.aio.crossings[1] - before <= 4
        assert {seat for seat, _ in house.changes} == set(house.seats)


async def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    fakes = many(2)

    def fail(*_: object) -> None:
        raise LookupError("nobody is here")

    async with zone(fakes) as house:
        await house.online()
        house.on_change = fail
        await house.in_the_thread(lambda: fakes[0].say(gatt.BATTERY_LEVEL, bytes([9])))
        await house.until(lambda: house.ble.states[house.seats[0]].battery_percent == 9)
        house.spray(done=fail)
        house.spray()
        await house.done_by_all(2)
    assert "the change at A-1-1 could not be taken" in caplog.text
    assert "a report could not be taken" in caplog.text


# Starting and stopping


async def test_at_the_end_every_device_is_stopped_and_let_go() -> None:
    fakes = many(24)
    async with zone(fakes) as house:
        await house.online()
        house.spray()
        await house.done_by_all(24)
    assert all(fake.commands[-1] == STOP_ALL for fake in fakes)
    assert not any(fake.open_slots or fake.connected for fake in fakes)


async def test_the_end_is_shielded() -> None:
    fakes = many(2)
    with trio.CancelScope() as scope:
        async with zone(fakes) as house:
            await house.online()
            house.spray()
            await house.done_by_all(2)
            scope.cancel()
            await trio.sleep_forever()
    assert not any(fake.open_slots or fake.connected for fake in fakes)


@pytest.mark.parametrize("deaf", [False, True])
async def test_devices_that_hang_hold_up_the_end_for_two_seconds_at_most(
    deaf: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fakes = many(3)
    for fake in fakes[:2]:
        fake.deaf = deaf
    async with CountingThread() as aio:
        house = Zone(aio, *on_one_adapter(fakes, slots=3))
        async with house.running():
            await house.online()
            house.spray()
            await house.done_by_all(3)
            await house.in_the_thread(fakes[0].answers.clear)
            await house.in_the_thread(fakes[1].answers.clear)
            ended = trio.current_time()
        took_s = trio.current_time() - ended
        for fake in fakes:
            aio.post(fake.answers.set)
    assert took_s < ble.STOP_WITHIN_S + 0.5
    assert not fakes[2].open_slots
    assert ("not every dispenser could be stopped in time" in caplog.text) is deaf


# The plan


def adapters(*slots: int) -> list[Adapter]:
    return [Adapter(f"hci{number}", FakeRadio([]), count) for number, count in enumerate(slots)]


def test_seats_are_spread_evenly_over_the_adapters() -> None:
    plan = assign_adapters("devices", seats_of(10), adapters(7, 7, 7))
    assert [adapter.name for adapter in plan.values()] == ["hci0", "hci1", "hci2"] * 3 + ["hci0"]


def test_no_adapter_is_given_more_than_its_slots() -> None:
    plan = assign_adapters("devices", seats_of(10), adapters(3, 7))
    names = [adapter.name for adapter in plan.values()]
    assert (names.count("hci0"), names.count("hci1")) == (3, 7)


@pytest.mark.parametrize(
    ("number", "slots", "sentence"),
    [
        (
            24,
            (7, 7),
            "24 dispensers and only 14 links on 2 Bluetooth adapters: add 2 adapters, or spread "
            "the theatre over 2 nodes",
        ),
        (
            8,
            (7,),
            "8 dispensers and only 7 links on 1 Bluetooth adapter: add 1 adapter, or spread the "
            "theatre over 2 nodes",
        ),
        (24, (), "24 dispensers and only 0 links on 0 Bluetooth adapters: add 4 adapters"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_it_takes(
    number: int, slots: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        assign_adapters("roxy.toml: devices", seats_of(number), adapters(*slots))
    assert refused.value.where == "roxy.toml: devices"
    assert refused.value.problem == sentence

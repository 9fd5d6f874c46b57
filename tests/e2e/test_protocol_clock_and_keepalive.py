"""The protocol's clock, and who counts as silent."""

import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.conftest import House, OpenHouse
from tests.e2e.speaking import Speaker, connect, enter, until

UNASKED_PONG = bytes((0x8A, 0x80, 0, 0, 0, 0))
"""An empty pong as clients send it, masked with zeros (RFC 6455, section 5.5.3)."""


# The clock


async def test_a_pong_tells_when_the_ping_was_received_and_answered(house: House) -> None:
    async with enter(house.gateway_url) as client:
        before = await client.now()
        pong = await client.ask("ping", id=2, t0=1764000000000.25)
        after = await client.now()

        assert pong.keys() == {"type", "re", "t0", "t1", "t2"}
        assert (pong["type"], pong["re"], pong["t0"]) == ("pong", 2, 1764000000000.25)
        assert before <= pong["t1"] <= pong["t2"] <= after


async def test_the_clock_tells_unix_milliseconds(house: House) -> None:
    async with enter(house.gateway_url) as client:
        here = time.time() * 1000  # to the minute: this server's clock does not count pauses
        assert abs(await client.now() - here) < 60_000
        assert abs(client.welcome["server_time"] - here) < 60_000


async def test_all_times_are_of_one_clock_that_never_steps_backwards(house: House) -> None:
    async with enter(house.gateway_url) as client:
        await client.ask("subscribe", events=["scent"])
        times = [client.welcome["server_time"]]
        for n in range(20):
            pong = await client.ask("ping", t0=n)
            due = (await client.cue(n, duration_ms=1, to={"seats": ["A-1-1"]}))["due"]
            at = (await client.hear("scent"))["at"] if n == 0 else due
            times += [pong["t1"], pong["t2"], due, at]

        assert times == sorted(times)


async def test_setting_the_wall_clock_back_does_not_move_the_servers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with enter(house.gateway_url) as client:
        before = await client.now()
        with monkeypatch.context() as set_back:
            set_back.setattr(time, "time", lambda: 1_000_000_000.0)
            after = await client.now()
        assert before <= after < before + 1000


# Silence


async def test_max_silence_is_five_seconds_unless_configured(open_house: OpenHouse) -> None:
    async with open_house() as house, enter(house.gateway_url) as client:
        assert client.welcome["max_silence_ms"] == 5000
    async with (
        open_house(gateway={"max_silence_ms": 700}) as house,
        enter(house.gateway_url) as client,
    ):
        assert client.welcome["max_silence_ms"] == 700


async def test_who_sends_nothing_is_closed_with_1008_be_it_before_hello_or_after(
    open_house: OpenHouse,
) -> None:
    async with (
        open_house(gateway={"max_silence_ms": 500}) as house,
        enter(house.gateway_url) as client,
        connect(house.gateway_url) as nobody,
    ):
        begun = trio.current_time()
        client.line.hold()
        nobody.line.hold()
        await until(lambda: house.server.gateway.clients == 0)
        assert trio.current_time() - begun > 0.45

        for silent in (client, nobody):
            silent.line.let_go()
            assert await silent.hear_the_end() == 1008


async def talk(client: Speaker) -> None:
    await client.say("ping", id=f"at-{trio.current_time()}", t0=0)


async def talk_nonsense(client: Speaker) -> None:
    await client.say_frame("nonsense")


async def pong_unasked(client: Speaker) -> None:
    await client.line.send_all(UNASKED_PONG)


async def pong_when_asked(client: Speaker) -> None:
    client.line.let_go()


async def test_whoever_says_anything_stays_and_be_it_a_pong(open_house: OpenHouse) -> None:
    async def live(client: Speaker, sign_of_life: Callable[[Speaker], Awaitable[None]]) -> None:
        client.line.hold()
        living_until = trio.current_time() + 1.5
        while trio.current_time() < living_until:
            await sign_of_life(client)
            await trio.sleep(0.1)
        client.line.let_go()
        assert (await client.ask("ping", t0=1))["type"] == "pong"

    async with (
        open_house(gateway={"max_silence_ms": 700}) as house,
        enter(house.gateway_url) as talker,
        enter(house.gateway_url) as babbler,
        enter(house.gateway_url) as heart,
        enter(house.gateway_url) as listener,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(live, talker, talk)
        nursery.start_soon(live, babbler, talk_nonsense)
        nursery.start_soon(live, heart, pong_unasked)
        nursery.start_soon(live, listener, pong_when_asked)

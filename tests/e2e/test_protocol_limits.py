"""How much a client may say, and how large it may be."""

import json
from contextlib import AsyncExitStack

import pytest
import trio

from scentrt.actors import zone
from scentrt.config import LimitsSection
from tests.conftest import House, OpenHouse
from tests.e2e.hostility import TEXT, frame
from tests.e2e.speaking import MSGPACK, Message, Speaker, connect, enter

MOST = 64 * 1024


def ping(size: int, filling: str = " ") -> str:
    """Return a ping of so many bytes."""
    text = '{"type":"ping","id":1,"t0":1' + "%s" + "}"
    return text % (filling * ((size - len(text) + 2) // len(filling.encode())))


# Sizes


async def test_a_frame_may_have_64_kib(house: House) -> None:
    async with enter(house.gateway_url) as client:
        client.owes(1)
        await client.say_frame(ping(MOST))
        assert (await client.reply_to(1))["type"] == "pong"


@pytest.mark.parametrize("size", [MOST + 1, 10 * MOST])
async def test_a_frame_of_more_is_closed_with_1009(house: House, size: int) -> None:
    async with enter(house.gateway_url) as bystander, enter(house.gateway_url) as client:
        await client.say_frame(ping(size))
        assert await client.hear_the_end() == 1009
        assert (await bystander.ask("ping", t0=1))["type"] == "pong"


async def test_bytes_count_and_not_characters(house: House) -> None:
    text = '{"type":"ping","id":1,"t0":1,"colour":"%s"}' % ("\N{GRINNING FACE}" * (MOST // 4))
    async with enter(house.gateway_url) as client:
        await client.say_frame(text)
        assert await client.hear_the_end() == 1009


async def test_a_binary_frame_of_more_is_closed_with_1009(house: House) -> None:
    async with enter(house.gateway_url, subprotocol=MSGPACK) as client:
        await client.say_frame(bytes(MOST + 1))
        assert await client.hear_the_end() == 1009


async def test_before_hello_a_frame_of_more_is_closed_with_1009_as_well(house: House) -> None:
    async with connect(house.gateway_url) as client:
        await client.say_frame(ping(MOST + 1))
        assert await client.hear_the_end() == 1009


async def test_a_message_in_pieces_counts_as_a_whole(house: House) -> None:
    piece = bytes((126,)) + (32_000).to_bytes(2, "big") + bytes(4) + b" " * 32_000
    masked = bytes((0x80 | 126,)) + piece[1:]
    async with enter(house.gateway_url) as client:
        await client.line.send_all(b"\x01" + masked + b"\x00" + masked + b"\x00" + masked)
        assert await client.hear_the_end() == 1009


async def test_a_target_of_as_many_names_as_a_frame_holds_is_understood(house: House) -> None:
    seats = [f"A-{row}-{number}" for row in range(1, 5) for number in range(1, 7)] * 200
    async with enter(house.gateway_url) as client:
        assert (await client.cue("c", to={"seats": seats}))["targets"] == 24


async def test_a_level_that_could_not_be_told_of_in_a_frame_is_a_bad_message(
    house: House,
) -> None:
    """Whoever hears a level-state checks that it is under 32 KiB."""
    fields: Message = {"scent": "forest", "intensity": 0.1, "ttl_ms": 5000}
    names = [f"{n:03}" + "x" * 125 for n in range(3)]
    async with enter(house.gateway_url) as client:
        for name in names:
            async with enter(house.gateway_url, "goggles", name):
                pass
        await client.say("level", **fields, to={"goggles": names * 70})
        assert (await client.hear("level-state"))["state"] == "offline"
        await client.say("level", **fields, to={"goggles": names * 120})
        assert (await client.hear("error"))["code"] == "bad-message"


# How often


def test_a_connection_may_send_2000_messages_a_second() -> None:
    assert LimitsSection().messages_per_s == 2000


async def test_a_burst_of_as_many_is_taken_and_what_goes_beyond_is_rate_limited(
    open_house: OpenHouse,
) -> None:
    async with (
        open_house(limits={"messages_per_s": 50}) as house,
        enter(house.gateway_url) as client,
        enter(house.gateway_url) as other,
    ):
        for n in range(200):
            await client.say("ping", id=f"p-{n}", t0=n)
        replies = [await client.reply_to(f"p-{n}") for n in range(200)]
        refused = [reply for reply in replies if reply["type"] == "error"]

        assert all(reply["type"] == "pong" for reply in replies[:49])  # one was the hello
        assert len(refused) > 50
        for error in refused:
            assert (error["code"], error["retryable"]) == ("rate-limited", True)
            assert 0 < error["retry_after_ms"] <= 1000
        assert (await other.ask("ping", t0=1))["type"] == "pong"

        reply = refused[-1]
        while reply["type"] == "error":
            await trio.sleep(reply["retry_after_ms"] / 1000)
            reply = await client.ask("ping", t0=1)


async def test_what_is_rate_limited_has_not_happened(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"messages_per_s": 2}) as house,
        enter(house.gateway_url) as client,
    ):
        assert (await client.cue("first"))["type"] == "accepted"
        reply = await client.cue("c", "jungle", mix=True)
        assert reply["code"] == "rate-limited"
        while reply["type"] == "error":
            await trio.sleep(reply["retry_after_ms"] / 1000)
            reply = await client.cue("c", "jungle", mix=True)
        assert (reply["targets"], reply["duplicate"]) == (24, False)


async def test_before_hello_no_more_may_be_said_than_after(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"messages_per_s": 10}) as house,
        connect(house.gateway_url) as client,
    ):
        for n in range(30):
            await client.say("ping", id=n, t0=n)
        codes = [(await client.reply_to(n))["code"] for n in range(30)]
        assert codes[:10] == ["not-authenticated"] * 10
        assert "rate-limited" in codes


async def test_levels_count_too(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"messages_per_s": 20}) as house,
        enter(house.gateway_url) as client,
    ):
        for n in range(40):
            await client.say(
                "level", scent="forest", intensity=(n + 1) / 100, to={"all": True}, ttl_ms=5000
            )
        error = await client.hear("error")
        assert error["code"] == "rate-limited"
        assert "re" not in error


async def test_a_stop_gets_through_all_the_same(open_house: OpenHouse) -> None:
    async with (
        open_house(limits={"messages_per_s": 5}) as house,
        enter(house.gateway_url) as client,
    ):
        await client.cue("c", duration_ms=9000)
        for n in range(10):
            await client.say("ping", id=f"p-{n}", t0=n)
        assert (await client.ask("stop"))["stopped"] == 24


async def test_a_zone_whose_mailbox_is_full_is_busy_for_a_moment(
    open_house: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone, "MAILBOX_CAPACITY", 1)
    busy: list[Message] = []

    async def flood(client: Speaker) -> None:
        cue = {"scent": "forest", "intensity": 0.001, "duration_ms": 1, "to": {"zones": ["A"]}}
        for n in range(50):
            await client.say("cue", id=n, **cue)
        replies = [await client.reply_to(n) for n in range(50)]
        busy.extend(reply for reply in replies if reply["type"] == "error")
        refused = [reply["re"] for reply in replies if reply["type"] == "error"]
        assert len(refused) < 50
        for id in refused:
            reply = await client.cue(id)
            while reply["type"] == "error":
                await trio.sleep(reply["retry_after_ms"] / 1000)
                reply = await client.cue(id)
            assert reply["duplicate"] is False

    async with open_house() as house, AsyncExitStack() as crowd:
        engines = [await crowd.enter_async_context(enter(house.gateway_url)) for _ in range(6)]
        async with trio.open_nursery() as floods:
            for engine in engines:
                floods.start_soon(flood, engine)
    assert busy
    for error in busy:
        assert (error["code"], error["retryable"]) == ("busy", True)
        assert error["retry_after_ms"] > 0


async def test_more_than_a_mailbox_holds_is_worked_off_where_it_comes_at_once(
    open_house: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone, "MAILBOX_CAPACITY", 128)

    async def blurt(client: Speaker) -> None:
        cues = []
        for n in range(400):
            client.owes(n)
            cue = {"scent": "forest", "intensity": 0.001, "duration_ms": 1, "ttl_ms": 60_000}
            cues.append({"type": "cue", "id": n, **cue, "to": {"seats": ["A-1-1"]}})
        await client.line.send_all(b"".join(frame(TEXT, json.dumps(cue).encode()) for cue in cues))
        for n in range(400):
            assert (await client.reply_to(n))["type"] == "accepted"

    async with open_house() as house, AsyncExitStack() as crowd:
        engines = [await crowd.enter_async_context(enter(house.gateway_url)) for _ in range(8)]
        async with trio.open_nursery() as blurting:
            for engine in engines:
                blurting.start_soon(blurt, engine)

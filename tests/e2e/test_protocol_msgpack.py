"""The same protocol in MessagePack, from hello to goodbye."""

import msgspec
import pytest

from tests.conftest import House
from tests.e2e.speaking import JSON, MSGPACK, Message, connect, enter

CUE: Message = {
    "type": "cue",
    "id": "c",
    "scent": "forest",
    "intensity": 0.5,
    "duration_ms": 500,
    "to": {"zones": ["A"]},
}


def pack(message: object) -> bytes:
    return msgspec.msgpack.encode(message)


async def test_the_whole_conversation_can_be_had_in_msgpack(house: House) -> None:
    """Whoever hears a frame checks that it is binary."""
    dispenser = {"slots": [{"slot": 0, "scent": "pine", "remaining_s": 200.5}]}
    async with (
        enter(
            house.gateway_url, "goggles", "player-7", subprotocol=MSGPACK, dispenser=dispenser
        ) as goggles,
        enter(house.gateway_url, "operator", subprotocol=MSGPACK) as operator,
        enter(house.gateway_url, subprotocol=MSGPACK) as engine,
    ):
        assert engine.welcome["zones"][0]["seats"] == 24
        assert (await engine.ask("ping", t0=2.5))["t0"] == 2.5
        await operator.ask("subscribe", events=["scent", "zone"], zones=["goggles"])

        to = {"goggles": ["player-7"]}
        answer = await engine.cue("c-17", "pine", to, intensity=1, duration_ms=9000, report=True)
        assert (answer["targets"], answer["skipped"], answer["duplicate"]) == (1, {}, False)
        assert (await engine.cue("c-17", "pine", to))["duplicate"] is True
        spray = await goggles.hear("spray")
        assert (spray["cue"], spray["slot"], spray["duration_ms"]) == ("c-17", 0, 9000)
        await goggles.say("sprayed", cue="c-17", ok=True)
        assert (await engine.hear("report"))["written"] == 1
        event = await operator.hear("scent")
        assert (event["cue"], event["seats"]) == ("c-17", None)
        assert (await engine.ask("cancel", cue="c-17"))["stopped"] == 1
        assert (await goggles.hear("stop"))["slot"] == 0
        assert (await operator.hear("scent-end"))["reason"] == "cancelled"

        await engine.say("level", scent="pine", intensity=0.25, to=to)
        assert (await engine.hear("level-state"))["to"] == to
        assert (await goggles.hear("level"))["intensity"] == 0.25

        state = await operator.ask("state", zone="A")
        assert state["seats"][0]["slots"][0]["sku"] is None
        assert (await operator.ask("panic"))["type"] == "panicked"
        assert (await goggles.hear_until("stop", slot=None))[-1] == {"type": "stop", "slot": None}
        assert (await engine.cue("refused"))["code"] == "panic"
        assert (await operator.ask("release"))["type"] == "released"
        assert (await operator.ask("unsubscribe", subscription="sub-1"))["type"] == "unsubscribed"


async def test_an_event_reaches_each_in_his_own_language(house: House) -> None:
    async with (
        enter(house.gateway_url, subprotocol=MSGPACK) as one,
        enter(house.gateway_url, subprotocol=JSON) as other,
    ):
        for client in (one, other):
            await client.ask("subscribe", events=["scent"])
        await one.cue("c", to={"seats": ["A-1-1", "A-1-2"]})
        assert await one.hear("scent") == await other.hear("scent")


async def test_a_session_can_be_resumed_in_another_language(house: House) -> None:
    async with enter(house.gateway_url, subprotocol=JSON) as client:
        first = await client.cue(7)
        client.line.cut()
        await client.hear_the_end()
    async with enter(house.gateway_url, subprotocol=MSGPACK, resume=client.session) as again:
        assert again.session == client.session
        assert await again.cue(7) == {**first, "duplicate": True}


async def test_numbers_may_be_of_any_width(house: House) -> None:
    async with enter(house.gateway_url, subprotocol=MSGPACK) as client:
        single = pack({**CUE, "intensity": 0}).replace(b"\xa9intensity\x00", b"\xa9intensity%s")
        client.owes("c")
        await client.say_frame(single.replace(b"%s", b"\xca\x3f\x00\x00\x00"))  # 0.5 in 32 bits
        assert (await client.reply_to("c"))["targets"] == 24
        (*_, told) = house.memory("A").received
        assert told.spray.intensity == 0.5


BAD = {
    "NaN": pack({**CUE, "intensity": float("nan")}),
    "infinity": pack({**CUE, "duration_ms": float("inf")}),
    "too large an integer": pack({**CUE, "duration_ms": 2**64 - 1}),
    "a boolean for a number": pack({**CUE, "intensity": True}),
    "bytes for a string": pack({**CUE, "scent": b"forest"}),
    "bytes for an object": pack({**CUE, "to": b"A"}),
    "an unknown field": pack({**CUE, "colour": "blue"}),
    "an extension": pack({**CUE, "at": msgspec.msgpack.Ext(5, b"now")}),
    "text that is not UTF-8": pack({**CUE, "scent": "forest"}).replace(b"forest", b"for\xffst"),
}


async def test_what_is_not_strict_is_a_bad_message_and_changes_nothing(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url, subprotocol=MSGPACK) as client:
        for name, frame in BAD.items():
            with subtests.test(name):
                client.owes("c")
                await client.say_frame(frame)
                assert (await client.reply_to("c"))["code"] == "bad-message"
                assert house.memory("A").received == []
        assert (await client.cue("c"))["targets"] == 24


async def test_what_is_no_object_is_a_bad_message(house: House) -> None:
    frames: list[str | bytes] = [
        b"",
        b"\xc1",
        b"\x80",
        b"\x90",
        b"\xc0",
        b"\x91" * 60_000,
        b"\x81\xa1a" * 20_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        pack([1, 2, 3]),
        pack({1: 2}),
        pack({**CUE, "id": None}),
        pack(CUE)[:-1],
        "{}",  # a text frame
    ]
    async with enter(house.gateway_url, subprotocol=MSGPACK) as client:
        for frame in frames:
            await client.say_frame(frame)
            error = await client.hear("error")
            assert (error["code"], error.get("re")) == ("bad-message", None)
        assert house.memory("A").received == []


async def test_errors_have_their_codes_and_ids(house: House) -> None:
    async with connect(house.gateway_url, MSGPACK) as client:
        assert (await client.ask("ping", id=5, t0=1))["code"] == "not-authenticated"
        await client.ask("hello", protocol=1, role="engine", name="game")
        assert (await client.ask("dance", id="d"))["code"] == "unknown-type"
        assert (await client.ask("panic", id=-7))["code"] == "forbidden"

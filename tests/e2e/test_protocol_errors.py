"""Errors: what is no message, and that nothing follows from it."""

from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.conftest import House
from tests.e2e.speaking import Speaker, connect, enter


def cue(intensity: str = "0.5", duration_ms: str = "500", more: str = "") -> str:
    """Return a cue with these numbers and with more fields, as they are."""
    what = f'"scent":"forest","intensity":{intensity},"duration_ms":{duration_ms}'
    return '{"type":"cue","id":"c",' + what + ',"to":{"zones":["A"]}' + more + "}"


async def test_an_error_tells_what_is_wrong_and_whether_to_try_again(house: House) -> None:
    async with enter(house.gateway_url) as client:
        error = await client.cue("c-17", "tar")
        assert isinstance(error.pop("message"), str)
        assert error == {
            "type": "error",
            "re": "c-17",
            "code": "unknown-scent",
            "retryable": False,
        }


# What is no message


WITH_AN_ID = {
    "NaN": cue(intensity="NaN"),
    "infinity": cue(duration_ms="Infinity"),
    "minus infinity": cue(duration_ms="-Infinity"),
    "too large a number": cue(duration_ms="1e999"),
    "too large an integer": cue(duration_ms="9" * 400),
    "a boolean for a number": cue(intensity="true"),
    "a string for a number": cue(intensity='"0.5"'),
    "null for a number": cue(intensity="null"),
    "a number in another notation": cue(intensity="0x1"),
    "a number that begins with a dot": cue(intensity=".5"),
    "a number with a plus": cue(intensity="+0.5"),
    "an unknown field": cue(more=',"colour":"blue"'),
    "an unknown field in to": cue().replace('["A"]', '["A"],"colour":"blue"'),
    "deep nesting": cue(more=',"colour":' + "[" * 20_000 + "]" * 20_000),
    "deep nesting of objects": cue(more=',"colour":' + '{"a":' * 5_000 + "1" + "}" * 5_000),
    "nesting without an end": cue(more=',"colour":' + "[" * 30_000),
    "half a surrogate": cue(more=r',"colour":"\ud800"'),
    "a broken escape": cue(more=r',"colour":"\x41"'),
    "a string without an end": cue(more=',"colour":"blue'),
    "no end": cue()[:-1],
    "something behind the end": cue() + "}",
    "two messages": cue() + cue(),
    "a comma too many": cue(more=","),
    "a comment": cue(more="/* now */"),
    "single quotes": cue(more=",'report':true"),
    "a control character in a string": cue(more=',"colour":"\x01"'),
    "no type": cue().replace('"type":"cue",', ""),
    "a number for a type": cue().replace('"cue"', "5"),
}


async def test_what_is_not_strict_is_a_bad_message_under_its_id_and_changes_nothing(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url) as client:
        for name, text in WITH_AN_ID.items():
            with subtests.test(name):
                client.owes("c")
                await client.say_frame(text)
                error = await client.reply_to("c")
                assert error["type"] == "error"
                assert (error["code"], error["retryable"]) == ("bad-message", False)
                assert house.memory("A").received == []
        assert (await client.cue("c"))["duplicate"] is False


async def test_what_has_no_id_to_answer_to_is_answered_without(house: House) -> None:
    frames: list[str | bytes] = [
        "",
        " ",
        "hello",
        "null",
        "5",
        '"cue"',
        "[]",
        "{}",
        "{",
        "[" * 60_000,
        '{"a":' * 12_000,
        "\ufeff{}",
        cue().replace('"id":"c",', ""),
        cue().replace('"id":"c"', '"id":null'),
        cue().encode(),  # a binary frame
        b"",
        b"\xff\xfe",
    ]
    async with enter(house.gateway_url) as client:
        for frame in frames:
            await client.say_frame(frame)
            error = await client.hear("error")
            assert error["code"] == "bad-message"
            assert "re" not in error
        assert house.memory("A").received == []


async def test_text_that_is_not_utf_8_ends_its_connection_as_websockets_must(
    house: House,
) -> None:
    """RFC 6455, section 8.1: it is no text at all, so there is nothing to answer."""
    frame = b"\x81\x84" + bytes(4) + b'{"\xff}'
    async with enter(house.gateway_url) as bystander, enter(house.gateway_url) as client:
        await client.line.send_all(frame)
        assert await client.hear_the_end() == 1007
        assert (await bystander.ask("ping", t0=1))["type"] == "pong"


# Ids


IDS: list[str | int] = ["a", "A" * 64, "x_Y-z.0:9", 0, -1, 2**53 - 1, -(2**53) + 1]


async def test_an_id_is_a_short_string_or_an_integer(house: House) -> None:
    async with enter(house.gateway_url) as client:
        for id in IDS:
            reply = await client.ask("ping", id=id, t0=1)
            assert reply["type"] == "pong"
            assert (type(reply["re"]), reply["re"]) == (type(id), id)


NO_IDS = [
    '""',
    f'"{"a" * 65}"',
    '"a b"',
    '"é"',
    '"a\\n"',
    "1.5",
    "true",
    "null",
    "[1]",
    "{}",
    "1e30",
    "9007199254740993",
]


async def test_what_is_no_id_is_a_bad_message_that_cannot_be_answered_under_it(
    house: House, subtests: pytest.Subtests
) -> None:
    async with enter(house.gateway_url) as client:
        for id in NO_IDS:
            with subtests.test(id):
                await client.say_frame(f'{{"type":"ping","id":{id},"t0":1}}')
                error = await client.hear("error")
                assert error["code"] == "bad-message"
                assert "re" not in error


async def test_every_request_has_exactly_one_reply_in_whatever_company(house: House) -> None:
    def frames() -> Iterator[tuple[str | None, str]]:
        for n in range(100):
            yield f"p-{n}", f'{{"type":"ping","id":"p-{n}","t0":{n}}}'
            yield f"c-{n}", cue(intensity="0.001").replace('"c"', f'"c-{n}"')
            yield f"c-{n}", cue(intensity="0.001").replace('"c"', f'"c-{n}"')
            yield f"x-{n}", f'{{"type":"cancel","id":"x-{n}","cue":"c-{n}"}}'
            yield None, '{"type":"level","scent":"jungle","intensity":0.01,"to":{"all":true}}'
            yield f"s-{n}", f'{{"type":"state","id":"s-{n}","zone":"A"}}'
            yield f"t-{n}", f'{{"type":"stop","id":"t-{n}"}}'
            yield f"b-{n}", f'{{"type":"stop","id":"b-{n}","to":[]}}'
            yield f"d-{n}", f'{{"type":"dance","id":"d-{n}"}}'
            yield f"f-{n}", f'{{"type":"panic","id":"f-{n}"}}'

    async with enter(house.gateway_url) as client:
        for id, frame in frames():
            if id is not None:
                client.owes(id)
            await client.say_frame(frame)
        await client.settle()


# Codes


async def test_an_unknown_type_is_called_so(house: House) -> None:
    async with enter(house.gateway_url) as client:
        for type in ("dance", "", "Cue", "welcome", "accepted"):
            error = await client.ask(type)
            assert (error["code"], error["retryable"]) == ("unknown-type", False)


async def test_what_a_role_may_not_do_is_forbidden(house: House, subtests: pytest.Subtests) -> None:
    cue = {"scent": "forest", "intensity": 1, "duration_ms": 1, "to": {"all": True}}
    async with (
        enter(house.gateway_url, "goggles") as goggles,
        enter(house.gateway_url, "engine") as engine,
    ):
        for client, type, fields in (
            (goggles, "cue", cue),
            (goggles, "cancel", {"cue": "c"}),
            (goggles, "stop", {}),
            (goggles, "panic", {}),
            (goggles, "release", {}),
            (engine, "panic", {}),
            (engine, "release", {}),
        ):
            with subtests.test(type):
                error = await client.ask(type, **fields)
                assert (error["code"], error["retryable"]) == ("forbidden", False)
        assert house.memory("A").received == []


@pytest.mark.parametrize("role", ["engine", "goggles", "operator"])
async def test_what_only_looks_is_for_every_role(house: House, role: str) -> None:
    async with enter(house.gateway_url, role) as client:
        assert (await client.ask("ping", t0=1))["type"] == "pong"
        assert (await client.ask("subscribe", events=["scent"]))["type"] == "subscribed"
        assert (await client.ask("unsubscribe", subscription="sub-1"))["type"] == "unsubscribed"
        assert (await client.ask("state", zone="A"))["type"] == "state"


async def test_a_zone_that_crashes_answers_internal_and_is_back_within_a_second(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("a dispenser's driver has a bug")

    async with enter(house.gateway_url, "operator") as client:
        await client.ask("subscribe", events=["zone"], zones=["A"])
        with monkeypatch.context() as broken:
            broken.setattr(house.memory("A"), "spray", fail)
            error = await client.cue("c")
        assert (error["code"], error["retryable"]) == ("internal", True)
        await client.hear("zone")
        assert (await client.cue("c"))["targets"] == 24  # under the id that had no answer


async def test_a_bug_in_one_connection_ends_that_one_with_1011(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("a bug")

    async def provoke(client: Speaker) -> None:
        await client.say("state", id=1, zone="A")
        assert await client.hear_the_end() == 1011

    async with enter(house.gateway_url) as bystander, enter(house.gateway_url) as client:
        with monkeypatch.context() as broken:
            broken.setattr(house.server.house, "zone", fail)
            await provoke(client)
        assert (await bystander.ask("state", zone="A"))["type"] == "state"
    async with connect(house.gateway_url) as newcomer:
        hello = await newcomer.ask("hello", protocol=1, role="engine", name="game")
        assert hello["type"] == "welcome"

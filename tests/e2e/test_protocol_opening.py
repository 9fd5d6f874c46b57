"""The protocol's opening: subprotocols, hello and welcome, tokens and origins."""

import hashlib
import time

import pytest
import trio

import scentrt
from scentrt.config import GatewaySection
from scentrt.entrypoints.gateway import server
from scentrt.errors import ConfigError
from tests.conftest import House, OpenHouse
from tests.e2e.speaking import (
    JSON,
    MSGPACK,
    Message,
    connect,
    connect_offering,
    enter,
    refused_with,
)

MARKET_SCENTS = ["sea-breeze", "nightclub", "jungle", "forest", "busy-street"]
HELLO: Message = {"protocol": 1, "role": "engine", "name": "my-game"}


def token(role: str, secret: str) -> Message:
    return {"role": role, "sha256": hashlib.sha256(secret.encode()).hexdigest()}


def test_the_gateway_is_at_port_8765_of_loopback_by_default() -> None:
    default = GatewaySection()
    assert (default.host, default.port) == ("127.0.0.1", 8765)


@pytest.mark.parametrize("role", ["engine", "goggles", "operator"])
async def test_whoever_says_hello_is_welcomed(house: House, role: str) -> None:
    async with connect(house.gateway_url) as client:
        welcome = await client.ask("hello", id=1, protocol=1, role=role, name="my-game")

        session, server_time = welcome.pop("session"), welcome.pop("server_time")
        assert isinstance(session, str)
        assert abs(server_time - time.time() * 1000) < 60_000
        assert welcome == {
            "type": "welcome",
            "re": 1,
            "protocol": 1,
            "server": f"scentrt {scentrt.__version__}",
            "max_silence_ms": 5000,
            "zones": [{"zone": "A", "seats": 24, "scents": MARKET_SCENTS}],
        }


async def test_every_hello_opens_a_session_of_its_own(house: House) -> None:
    async with enter(house.gateway_url) as one, enter(house.gateway_url) as other:
        assert one.session != other.session


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_a_subprotocol_that_is_offered_is_spoken(house: House, subprotocol: str) -> None:
    async with enter(house.gateway_url, subprotocol=subprotocol) as client:
        assert client.subprotocol == subprotocol
        assert (await client.ask("ping", t0=1.5))["t0"] == 1.5


async def test_json_is_spoken_where_a_client_offers_no_subprotocol(house: House) -> None:
    async with enter(house.gateway_url, subprotocol=None) as client:
        assert client.subprotocol is None
        assert (await client.ask("ping", t0=1.5))["t0"] == 1.5


async def test_of_several_subprotocols_the_first_that_is_known_is_spoken(house: House) -> None:
    async with connect_offering(house.gateway_url, ["mqtt", MSGPACK, JSON]) as client:
        assert client.subprotocol == MSGPACK
        assert (await client.ask("hello", **HELLO))["type"] == "welcome"


TOO_EARLY = [
    '{"type":"ping","id":7,"t0":1}',
    '{"type":"cue","id":7,"scent":"forest","intensity":1,"duration_ms":1,"to":{"all":true}}',
    '{"type":"panic","id":7}',
    '{"type":"dance","id":7}',
    '{"id":7}',
    '{"id":7, this is no JSON',
]


async def test_anything_before_hello_is_not_authenticated(
    house: House, subtests: pytest.Subtests
) -> None:
    async with connect(house.gateway_url) as client:
        for message in TOO_EARLY:
            with subtests.test(message):
                client.owes(7)
                await client.say_frame(message)
                error = await client.reply_to(7)
                assert (error["type"], error["code"]) == ("error", "not-authenticated")
        assert (await client.ask("hello", **HELLO))["type"] == "welcome"


async def test_before_hello_what_has_no_id_is_not_authenticated_either(house: House) -> None:
    async with connect(house.gateway_url) as client:
        await client.say("level", scent="forest", intensity=1, to={"all": True})
        error = await client.hear("error")
        assert "re" not in error
        assert error["code"] == "not-authenticated"
        await client.ask("hello", **HELLO)
        assert house.memory("A").received == []


async def test_hello_in_another_protocol_is_answered_so(house: House) -> None:
    async with connect(house.gateway_url) as client:
        error = await client.ask("hello", **{**HELLO, "protocol": 2})
        assert error["code"] == "protocol-version"
        assert (await client.ask("hello", **HELLO))["type"] == "welcome"


NO_HELLOS: list[Message] = [
    {"role": "audience"},
    {"role": None},
    {"protocol": "1"},
    {"protocol": True},
    {"name": ""},
    {"name": 5},
    {"name": "my\ngame"},
    {"token": 5},
    {"resume": 5},
    {"dispenser": {"slots": [{"slot": 0, "scent": "pine"}]}},
    {"colour": "blue"},
]


async def test_a_hello_that_is_wrong_is_a_bad_message_and_may_be_said_again(
    house: House, subtests: pytest.Subtests
) -> None:
    async with connect(house.gateway_url) as client:
        for wrong in NO_HELLOS:
            with subtests.test(**wrong):
                assert (await client.ask("hello", **{**HELLO, **wrong}))["code"] == "bad-message"
        assert (await client.ask("hello", **HELLO))["type"] == "welcome"


async def test_a_second_hello_is_a_bad_message_and_changes_nothing(house: House) -> None:
    async with enter(house.gateway_url) as client:
        assert (await client.ask("hello", **{**HELLO, "role": "operator"}))["code"] == "bad-message"
        assert (await client.ask("panic"))["code"] == "forbidden"


# Time


def test_a_client_has_five_seconds_for_its_hello() -> None:
    assert server.HELLO_WITHIN_S == 5


async def test_who_does_not_say_hello_in_time_is_closed_with_1008(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HELLO_WITHIN_S", 0.2)
    async with enter(house.gateway_url) as polite, connect(house.gateway_url) as client:
        begun = trio.current_time()
        assert await client.hear_the_end() == 1008
        assert trio.current_time() - begun > 0.1
        assert (await polite.ask("ping", t0=1))["type"] == "pong"


async def test_talking_about_something_else_does_not_gain_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HELLO_WITHIN_S", 0.3)
    async with connect(house.gateway_url) as client:
        while (error := await client.ask_or_end("ping", t0=1)) is not None:
            assert error["code"] == "not-authenticated"
            await trio.sleep(0.02)
        assert client.close_code == 1008


# Tokens


TOKENS = [token("engine", "for-games"), token("operator", "for-me"), token("goggles", "for-all")]


@pytest.mark.parametrize(
    ("role", "secret"), [("engine", "for-games"), ("operator", "for-me"), ("goggles", "for-all")]
)
async def test_the_token_of_a_role_opens_it(open_house: OpenHouse, role: str, secret: str) -> None:
    async with (
        open_house(tokens=TOKENS) as house,
        enter(house.gateway_url, role, token=secret) as client,
    ):
        assert client.welcome["protocol"] == 1


async def test_a_wrong_or_missing_token_is_not_authenticated_and_closed_with_1008(
    open_house: OpenHouse, subtests: pytest.Subtests
) -> None:
    async with open_house(tokens=TOKENS) as house:
        for wrong in ({}, *({"token": token} for token in ("guessed", "for-me", "", 2_000 * "x"))):
            with subtests.test(**wrong):
                async with connect(house.gateway_url) as client:
                    error = await client.ask("hello", id="h", **HELLO, **wrong)
                    assert (error["re"], error["code"]) == ("h", "not-authenticated")
                    assert await client.hear_the_end() == 1008


async def test_where_no_token_is_required_any_will_do(house: House) -> None:
    async with enter(house.gateway_url, token="whatever") as client:
        assert client.welcome["protocol"] == 1


async def test_beyond_loopback_a_server_without_tokens_refuses_to_start(
    open_house: OpenHouse,
) -> None:
    with pytest.raises(ConfigError, match="tokens"):
        async with open_house(gateway={"host": "0.0.0.0"}):
            pass


async def test_beyond_loopback_a_server_with_tokens_asks_for_them(open_house: OpenHouse) -> None:
    async with open_house(gateway={"host": "0.0.0.0"}, tokens=TOKENS) as house:
        url = house.gateway_url.replace("0.0.0.0", "127.0.0.1")
        async with enter(url, token="for-games") as client:
            assert client.welcome["protocol"] == 1
        async with connect(url) as client:
            assert (await client.ask("hello", **HELLO))["code"] == "not-authenticated"
            assert await client.hear_the_end() == 1008


# Origins


async def test_an_origin_that_is_not_allowed_is_refused_with_403(open_house: OpenHouse) -> None:
    async with open_house(gateway={"origins": ["https://play.example.com"]}) as house:
        assert await refused_with(house.gateway_url, origin="https://evil.example.com") == 403
        assert await refused_with(house.gateway_url, origin="null") == 403


async def test_an_origin_that_is_allowed_comes_in(open_house: OpenHouse) -> None:
    origin = "https://play.example.com"
    async with (
        open_house(gateway={"origins": [origin]}) as house,
        connect(house.gateway_url, origin=origin) as client,
    ):
        assert (await client.ask("hello", **HELLO))["type"] == "welcome"


async def test_by_default_no_origin_is_allowed_but_none_at_all(house: House) -> None:
    assert await refused_with(house.gateway_url, origin="http://127.0.0.1:8765") == 403
    async with enter(house.gateway_url) as client:
        assert client.welcome["protocol"] == 1

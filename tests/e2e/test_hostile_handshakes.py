"""Handshakes that are none: each ends its own connection, and nobody else notices."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio

from tests.conftest import House
from tests.e2e.hostility import (
    HEADERS,
    TEXT,
    attack,
    close_code,
    frame,
    frames,
    hello,
    request,
    undisturbed,
)

OPTIONAL = {
    "Sec-WebSocket-Protocol": "scentrt.v1.json",
    "Sec-WebSocket-Extensions": "permessage-deflate",
}
DECODED = {**HEADERS, **OPTIONAL}
"""The headers that mean something to a WebSocket."""

TLS_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(range(0xED))
# Nobody needs so long for a name, but a decoder of internationalised ones.
LONG_NAME = "xn--" + "b" * 10_000
# A label that is in order, again and again.
LONG_HOST = ".".join(["xn--" + "8pvxsw9b2f3qxy8awia"] * 400)

NEEDED = ("Upgrade", "Connection", "Sec-WebSocket-Version")

BAD = b"HTTP/1.1 4"

Attacks = dict[str, bytes]

BEYOND_ASCII: Attacks = {
    **{
        f"{n} {b!a}": request(headers={n: v + b}) for n, v in DECODED.items() for b in ("\xff", "é")
    },
    **{f"{n}, in its name": request(headers={n + "\xff": v}) for n, v in DECODED.items()},
    "Host, in Punycode": request(headers={"Host": "xn--\xff"}),
    "method": request("G\xcbT / HTTP/1.1"),
    "target": request("GET /\xff HTTP/1.1"),
    "version": request("GET / HTTP/1.1\xff"),
    "line": request("\xff\xfe\xfd"),
    "zero": request(headers={"Host": "a\x00b"}),
}
LACKING: Attacks = {
    **{f"no {name}": request(without=name) for name in HEADERS},
    **{f"{n} without a value": request(headers={n: ""}) for n in NEEDED},
    "no header": b"GET / HTTP/1.1\r\n\r\n",
    "no line": request("")[2:],
    "nothing but an empty line": b"\r\n\r\n",
    "nothing but line ends": b"\n" * 1000,
    "plain GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
}
WRONG: Attacks = {
    **{
        f"version {v}": request(headers={"Sec-WebSocket-Version": v}) for v in ("0", "8", "14", "x")
    },
    **{
        f"method {m}": request(f"{m} / HTTP/1.1")
        for m in ("POST", "CONNECT", "get", "OPTIONS", "*")
    },
    "upgrade to something else": request(headers={"Upgrade": "h2c"}),
    "connection to be closed": request(headers={"Connection": "close"}),
    "two hosts": request(headers={"Host": "a\r\nHost: b"}),
    "space before the colon": request(headers={"Host ": "a"}),
    "header without a colon": request(headers={"X": "a\r\nnonsense"}),
    "header without a name": request(headers={"": "a"}),
    "two lengths": request(headers={"Content-Length": "5\r\nContent-Length: 6"}),
    "negative length": request(headers={"Content-Length": "-1"}),
}
HUGE: Attacks = {
    "one header of 200 KB": request(headers={"X-Big": "a" * 200_000}),
    "200 KB of headers": request(headers={f"X-{n}": "a" * 90 for n in range(2_000)}),
    "a line of 200 KB": request(f"GET /{'a' * 200_000} HTTP/1.1"),
    "20,000 subprotocols": request(headers={"Sec-WebSocket-Protocol": "a, " * 20_000}),
    "a long host name": request(headers={"Host": "a" * 5_000}),
    "a long internationalised name": request(headers={"Host": LONG_NAME}),
    "many internationalised names": request(headers={"Host": LONG_HOST}),
    "a folded host": request(headers={"Host": f"a\r\n .{LONG_HOST}"}),
}
OTHER_LANGUAGES: Attacks = {
    "TLS": TLS_HELLO,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO example.com\r\n",
    "SOCKS": b"\x05\x01\x00",
    "RTSP": b"OPTIONS rtsp://example.com/media.mp4 RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "a frame": hello(),
    "JSON": b'{"type":"hello","id":1,"protocol":1,"role":"engine","name":"a"}\n',
    "zeros": bytes(1_000),
    "all bytes": bytes(range(256)) * 40,
    "one byte": b"G",
    "nothing": b"",
}
# These are answered with 101, whether they deserve it or not; what follows must be in order.
ODD: Attacks = {
    "a cookie beyond ASCII": request(headers={"Cookie": "name=\xe9\xff"}),
    "control characters": request(headers={"User-Agent": "\x1b[2J\x07"}),
    "HTTP/2.0": request("GET / HTTP/2.0"),
    "a host without a name": request(headers={"Host": ""}),
    "an empty key": request(headers={"Sec-WebSocket-Key": ""}),
    "a short key": request(headers={"Sec-WebSocket-Key": "abc"}),
    "a long key": request(headers={"Sec-WebSocket-Key": "a" * 4_000}),
    "two keys": request(headers={"Sec-WebSocket-Key": "a\r\nSec-WebSocket-Key: b"}),
    "bare line feeds": request(end="\n"),
    "an extension": request(headers={"Sec-WebSocket-Extensions": 'permessage-deflate; x="y'}),
    "a wild target": request("GET //../..;a?b#c%00 HTTP/1.1"),
    "a subprotocol of nobody's": request(headers={"Sec-WebSocket-Protocol": "chat,,  ,"}),
    "expectations": request(headers={"Expect": "100-continue"}),
}


@pytest.fixture(autouse=True)
def sessions_are_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scentrt.entrypoints.gateway.server.RESUME_WITHIN_S", 0.2)


@pytest.fixture
async def url(house: House) -> AsyncIterator[str]:
    """Where to attack, while a witness watches."""
    async with undisturbed(house.gateway_url):
        yield house.gateway_url


async def answers(url: str, attacks: Attacks, *, end: bool) -> dict[str, bytes | None]:
    """Make all attacks at once, and return what was answered; None where the server still waits.

    With `end`, the attackers say that nothing more will come.
    """
    answered: dict[str, bytes | None] = {}

    async def one(name: str, data: bytes) -> None:
        answered[name] = None
        async with attack(url) as peer:
            await peer.send(data)
            if end:
                await peer.end()
            with suppress(trio.TooSlowError):
                answered[name] = await peer.read_to_the_end(within_s=3)

    async with trio.open_nursery() as nursery:
        for name, data in attacks.items():
            nursery.start_soon(one, name, data)
    return answered


@pytest.mark.parametrize(
    "attacks",
    [BEYOND_ASCII, LACKING, WRONG, HUGE, OTHER_LANGUAGES],
    ids=["beyond-ascii", "lacking", "wrong", "huge", "other-languages"],
)
async def test_what_is_no_handshake_is_refused(url: str, attacks: Attacks) -> None:
    answered = await answers(url, attacks, end=True)
    assert {n: a for n, a in answered.items() if a is None or a[:10] not in {b"", BAD}} == {}


@pytest.mark.parametrize(
    "attacks",
    [BEYOND_ASCII, LACKING, WRONG, HUGE],
    ids=["beyond-ascii", "lacking", "wrong", "huge"],
)
async def test_who_waits_for_an_answer_to_it_gets_one_at_once(url: str, attacks: Attacks) -> None:
    answered = await answers(url, attacks, end=False)
    assert {n: a for n, a in answered.items() if a is None or a[:10] != BAD} == {}


async def test_an_odd_handshake_is_as_good_as_any(url: str) -> None:
    attacks = {name: data + hello() for name, data in ODD.items()}
    answered = await answers(url, attacks, end=True)
    assert {n: a for n, a in answered.items() if not a or b'"type":"welcome"' not in a} == {}


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "9"}, {"Transfer-Encoding": "chunked"}, {"Content-Length": "100000"}],
    ids=str,
)
async def test_a_body_is_taken_for_frames_and_ends_the_connection(
    url: str, headers: dict[str, str]
) -> None:
    async with attack(url) as peer:
        await peer.send(request(headers=headers) + b"9\r\nnonsense!\r\n0\r\n\r\n")
        answer = await peer.read_to_the_end(within_s=3)
    _, _, said = answer.partition(b"\r\n\r\n")
    assert close_code(said) in {1002, None}


async def test_a_page_from_elsewhere_is_refused_however_much_it_sends(url: str) -> None:
    for behind in (b"", hello(), bytes(500_000)):
        async with attack(url) as peer:
            await peer.send(request(headers={"Origin": "https://evil.example"}) + behind)
            answer = await peer.read_to_the_end(within_s=3)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.endswith(b"This origin is not allowed.\n")


class TestInOneSegmentWithTheUpgrade:
    async def test_a_hello_is_answered(self, url: str) -> None:
        async with attack(url) as peer:
            await peer.send(request() + hello())
            assert b'"type":"welcome"' in await peer.read_past(b'"zones":')
            await peer.send(frame(TEXT, b'{"type":"ping","id":2,"t0":0}'))
            assert b'"re":2' in await peer.read_past(b'"t0":')

    async def test_everything_is_answered_wherever_it_is_cut_in_two(self, url: str) -> None:
        pings = b"".join(frame(TEXT, b'{"type":"ping","id":%d,"t0":0}' % n) for n in range(10, 15))
        data = request() + hello() + pings

        async def one(cut: int) -> None:
            async with attack(url) as peer:
                await peer.send(data[:cut])
                await trio.sleep(0.05)  # or the kernel would join what was cut
                await peer.send(data[cut:])
                await peer.end()
                answer = await peer.read_to_the_end(within_s=3)
            _, _, said = answer.partition(b"\r\n\r\n")
            replies = [payload for opcode, payload in frames(said) if opcode == TEXT]
            assert len(replies) == 6, f"cut at {cut}: {answer!r}"

        async with trio.open_nursery() as nursery:
            for cut in range(0, len(data), 3):
                nursery.start_soon(one, cut)

    async def test_a_message_that_is_too_large_is_answered_with_1009(self, url: str) -> None:
        for size in (65_537, 1_000_000):
            async with attack(url) as peer:
                await peer.send(request() + frame(TEXT, b"a" * size))
                await peer.read_past(b"\r\n\r\n")
                assert close_code(await peer.read_past(b"bytes")) == 1009

    async def test_garbage_is_answered_with_1002(self, url: str) -> None:
        async with attack(url) as peer:
            await peer.send(request() + b"\xff" * 100)
            await peer.read_past(b"\r\n\r\n")
            assert close_code(await peer.read_to_the_end(within_s=3)) == 1002

    async def test_a_second_request_is_garbage_too(self, url: str) -> None:
        async with attack(url) as peer:
            await peer.send(request() * 2)
            await peer.read_past(b"\r\n\r\n")
            assert close_code(await peer.read_to_the_end(within_s=3)) == 1002

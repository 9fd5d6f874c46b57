"""Frames that are none, messages that never end, and connections that end in the middle of them."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from tests.conftest import House
from tests.e2e.hostility import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    attack,
    close_code,
    frame,
    frames,
    hello,
    request,
    undisturbed,
)

PING_7 = b'{"type":"ping","id":7,"t0":0}'


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def pieces(payload: bytes, size: int, between: bytes = b"") -> bytes:
    """Return one text message in fragments, with something between each two."""
    parts = [payload[n : n + size] for n in range(0, len(payload), size)]
    last = len(parts) - 1
    return between.join(
        frame(CONTINUATION if n else TEXT, part, fin=n == last) for n, part in enumerate(parts)
    )


# What is no WebSocket any more, and the code with which it ends.
BROKEN: dict[str, tuple[bytes, int]] = {
    "an unmasked frame": (frame(TEXT, PING_7, masked=False), 1002),
    **{f"reserved bits {n}": (frame(TEXT, PING_7, reserved=n), 1002) for n in range(1, 8)},
    **{f"opcode {n}": (frame(n, b"abc"), 1002) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a control frame of 126 bytes": (frame(PING, bytes(126)), 1002),
    "a control frame of 64 KB": (frame(PONG, bytes(70_000)), 1002),
    "a control frame in fragments": (frame(PING, b"a", fin=False), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"a"), 1002),
    "a text in a text": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "a length with too many bytes": (b"\x81\xfe\x00\x05" + bytes(4) + b"abcde", 1002),
    "a length with far too many bytes": (b"\x81\xff" + bytes(7) + b"\x05" + bytes(4), 1002),
    "a length beyond 63 bits": (b"\x82\xff" + b"\xff" * 8 + bytes(4), 1002),
    "a length of 2^62": (frame(BINARY, bytes(70_000), length=2**62), 1009),
    "a length of 2^40, in text": (frame(TEXT, b"a" * 70_000, length=2**40), 1009),
    "text that is not UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "text that ends in the middle": (frame(TEXT, b"\xe2\x82"), 1007),
    "text with a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "text that breaks in a fragment": (
        frame(TEXT, b"\xe2", fin=False) + frame(CONTINUATION, b"\xff"),
        1007,
    ),
    "65,537 bytes": (frame(TEXT, b"a" * 65_537), 1009),
    "65,538 bytes of two each": (frame(TEXT, "é".encode() * 32_769), 1009),
    "a megabyte": (frame(BINARY, bytes(1_000_000)), 1009),
    "a megabyte in fragments": (pieces(b"a" * 1_000_000, 1_000), 1009),
    "a close without its code": (frame(CLOSE, b"\x03"), 1002),
    **{f"close {n}": (close(n), 1002) for n in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999)},
    **{f"close {n}": (close(n), 1002) for n in (5000, 65_535)},
    "a close with a reason that is not UTF-8": (close(1000, b"\xff"), 1007),
}
LEAVING: dict[str, tuple[bytes, int]] = {
    "close 1000": (close(1000, b"bye"), 1000),
    "close 4999": (close(4999), 4999),
    "a close without a code": (frame(CLOSE), 0),
    "a close and more": (close(1000) + frame(PING) * 50 + frame(TEXT, PING_7), 1000),
    "two closes": (close(1000) + close(1001), 1000),
    "a close in a message": (frame(TEXT, b"{", fin=False) + close(1000), 1000),
    "pings and garbage behind a close": (close(1000) + frame(PING) + b"\xff" * 1000, 1000),
}
GOOD: dict[str, bytes] = {
    "whole": frame(TEXT, PING_7),
    "byte by byte": pieces(PING_7, 1),
    "with pings between": pieces(PING_7, 1, frame(PING, b"a")),
    "with pongs between": pieces(PING_7, 2, frame(PONG, b"nobody asked")),
    "with empty fragments between": pieces(PING_7, 3, frame(CONTINUATION, fin=False)),
    "behind thousands of empty fragments": frame(TEXT, fin=False)
    + frame(CONTINUATION, fin=False) * 5_000
    + frame(CONTINUATION, PING_7),
    "behind thousands of empty messages": frame(TEXT) * 1_500 + frame(TEXT, PING_7),
    "behind thousands of pings": frame(PING, b"?") * 2_000 + frame(TEXT, PING_7),
    "behind thousands of pongs": frame(PONG) * 5_000 + frame(TEXT, PING_7),
    "behind the largest message": frame(TEXT, b"a" * 65_536) + frame(TEXT, PING_7),
    "behind the largest message in small pieces": pieces(b"a" * 65_536, 4) + frame(TEXT, PING_7),
    "behind frames of the other kind": frame(BINARY, bytes(100)) * 3 + frame(TEXT, PING_7),
}


@pytest.fixture(autouse=True)
def sessions_are_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scentrt.entrypoints.gateway.server.RESUME_WITHIN_S", 0.1)


@pytest.fixture
async def url(house: House) -> AsyncIterator[str]:
    """Where to attack, while a witness watches."""
    async with undisturbed(house.gateway_url):
        yield house.gateway_url


async def answers(url: str, attacks: dict[str, bytes], *, entered: bool) -> dict[str, bytes]:
    """Make all attacks at once, before a hello or behind it; return what was said to them."""
    said: dict[str, bytes] = {}

    async def one(name: str, data: bytes) -> None:
        async with attack(url) as peer:
            await (peer.enter() if entered else peer.upgrade())
            await peer.send(data)
            said[name] = await peer.read_to_the_end(within_s=5)

    async with trio.open_nursery() as nursery:
        for name, data in attacks.items():
            nursery.start_soon(one, name, data)
    return said


@pytest.mark.parametrize("entered", [False, True], ids=["before-hello", "behind-hello"])
@pytest.mark.parametrize("attacks", [BROKEN, LEAVING], ids=["broken", "leaving"])
async def test_a_connection_ends_with_the_code_for_what_was_said(
    url: str, attacks: dict[str, tuple[bytes, int]], entered: bool
) -> None:
    said = await answers(url, {name: data for name, (data, _) in attacks.items()}, entered=entered)
    codes = {name: close_code(answer) for name, answer in said.items()}
    assert codes == {name: code for name, (_, code) in attacks.items()}


async def test_a_request_is_answered_however_it_is_cut_up(url: str) -> None:
    attacks = {name: data + close(1000) for name, data in GOOD.items()}
    said = await answers(url, attacks, entered=True)
    assert [name for name, answer in said.items() if answer.count(b'"re":7') != 1] == []


async def test_a_ping_between_fragments_is_answered_before_their_message(url: str) -> None:
    async with attack(url) as peer:
        await peer.enter()
        await peer.send(pieces(PING_7, 1, frame(PING, b"now")) + close(1000))
        answer = await peer.read_to_the_end()
    pongs = [payload for opcode, payload in frames(answer) if opcode == PONG]
    assert pongs == [b"now"] * (len(PING_7) - 1)
    assert answer.rindex(b"now") < answer.index(b'"re":7')


# Where a connection is when it breaks.


async def at_the_beginning(peer: Peer) -> None:
    pass


async def in_the_request(peer: Peer) -> None:
    await peer.send(request()[:90])


async def behind_the_request(peer: Peer) -> None:
    await peer.send(request())


async def behind_a_bad_request(peer: Peer) -> None:
    await peer.send(request(without="Host"))


async def once_upgraded(peer: Peer) -> None:
    await peer.upgrade()


async def behind_the_hello(peer: Peer) -> None:
    await peer.send(request() + hello())


async def once_welcomed(peer: Peer) -> None:
    await peer.enter()


async def as_goggles(peer: Peer) -> None:
    await peer.enter("goggles")


async def in_a_frame(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, PING_7)[:9])


async def in_a_header(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, b"a" * 1000)[:3])


async def in_a_message(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, PING_7, fin=False))


async def with_requests_unanswered(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, PING_7) * 200)


async def behind_its_own_close(peer: Peer) -> None:
    await peer.enter()
    await peer.send(close(1000))


async def behind_the_server_s_close(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, b"a" * 70_000))
    await peer.read()


STAGES: list[Callable[[Peer], Awaitable[None]]] = [
    at_the_beginning,
    in_the_request,
    behind_the_request,
    behind_a_bad_request,
    once_upgraded,
    behind_the_hello,
    once_welcomed,
    as_goggles,
    in_a_frame,
    in_a_header,
    in_a_message,
    with_requests_unanswered,
    behind_its_own_close,
    behind_the_server_s_close,
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
async def test_a_connection_may_break_at_any_moment(
    url: str, stage: Callable[[Peer], Awaitable[None]]
) -> None:
    async def one(pause_s: float) -> None:
        async with attack(url) as peer:
            await stage(peer)
            await trio.sleep(pause_s)
            peer.reset()

    async with trio.open_nursery() as nursery:
        for n in range(12):
            nursery.start_soon(one, n // 4 * 0.002)


async def test_a_connection_may_be_half_closed_at_any_moment(url: str) -> None:
    async def one(stage: Callable[[Peer], Awaitable[None]]) -> None:
        async with attack(url) as peer:
            await stage(peer)
            await peer.end()
            await peer.read_to_the_end(within_s=3)

    async with trio.open_nursery() as nursery:
        for stage in STAGES:
            nursery.start_soon(one, stage)

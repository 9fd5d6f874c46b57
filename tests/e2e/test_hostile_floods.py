"""Too much of everything, and clients who take their time: others are served as ever."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from tests.conftest import OpenHouse
from tests.e2e.hostility import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    Witness,
    attack,
    close_code,
    frame,
    hello,
    request,
    undisturbed,
)
from tests.e2e.speaking import MSGPACK

AT_WORST_S = 0.1
"""In the middle of a flood some five milliseconds of work go before a cue at the worst, and this
where the machine is slow; where the flood is let in as it comes, that much and more."""

ATTEMPTS = 3
"""A flood that delays others does so each time. A pause that a virtual machine counts as work, or
the garbage of many tests, does so once."""

CUES = 10
"""How many must come through a flood before it ends."""

CHUNK = 64 * 1024


def full(one: bytes) -> bytes:
    """Return as many of one frame as fit in a chunk."""
    return one * (CHUNK // len(one))


def colliding_keys() -> bytes:
    """Return a MessagePack map whose keys are arrays of -1 and -2, all with the same hash."""
    keys = itertools.islice(itertools.product((b"\xff", b"\xfe"), repeat=13), 4_000)
    return b"\xde\x0f\xa0" + b"".join(b"\x9d" + b"".join(key) + b"\0" for key in keys)


def names(count: int) -> bytes:
    return b",".join(b'"nobody-%x"' % n for n in range(count))


FLOODS = {
    "empty-fragments": full(frame(CONTINUATION, fin=False)),
    "pings": full(frame(PING)),
    "pongs": full(frame(PONG)),
    "requests": full(frame(TEXT, b'{"type":"ping","id":7,"t0":0}')),
    "stops": full(frame(TEXT, b'{"type":"stop","id":7}')),
    "many-objects": frame(TEXT, b'{"id":7,"a":[' + b",".join([b"{}"] * 21_000) + b"]}"),
    "deep-nesting": frame(TEXT, b'{"id":7,"a":' + b"[" * 60_000),
    "names-of-nobody": frame(
        TEXT,
        b'{"type":"level","scent":"sea-breeze","intensity":1,"to":{"seats":['
        + names(1_900)
        + b"]}}",
    ),
    "keys-of-one-hash": frame(BINARY, colliding_keys())
    + frame(BINARY, b"\x81\x91" + colliding_keys() + b"\0"),
}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose deadlines are a second away and not five."""
    monkeypatch.setattr("scentrt.entrypoints.gateway.server.HELLO_WITHIN_S", 1.0)
    monkeypatch.setattr("scentrt.entrypoints.gateway.server.RESUME_WITHIN_S", 0.1)


@pytest.fixture
async def url(open_house: OpenHouse) -> AsyncIterator[str]:
    """Where to attack."""
    async with open_house(gateway={"max_silence_ms": 2_000}) as house:
        yield house.gateway_url


async def drain(peer: Peer) -> None:
    while await peer.read():
        pass


async def worst_s_in(flood: str, seen: Witness, url: str) -> float:
    """Return how much work went before a cue at the worst, while all of them came through."""
    async with attack(url) as peer, trio.open_nursery() as nursery:
        if flood == "keys-of-one-hash":
            await peer.upgrade(MSGPACK)
        else:
            await peer.enter()
            await peer.send(frame(TEXT, fin=False) * (flood == "empty-fragments"))
        nursery.start_soon(drain, peer)
        nursery.start_soon(peer.repeat, FLOODS[flood])
        seen.worked_s.clear()
        while len(seen.worked_s) < CUES:
            await seen.check()
        peer.reset()
        nursery.cancel_scope.cancel()
    return max(seen.worked_s)


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_delays_nobody_else(url: str, flood: str) -> None:
    worst_s: list[float] = []
    async with undisturbed(url) as seen:
        while len(worst_s) < ATTEMPTS and min(worst_s, default=AT_WORST_S) >= AT_WORST_S:
            worst_s.append(await worst_s_in(flood, seen, url))
    assert min(worst_s) < AT_WORST_S


# Who takes too long, and how: each must have been cut when its function returns.


async def silent(peer: Peer) -> None:
    assert await peer.read_to_the_end() == b""


async def a_request_byte_by_byte(peer: Peer) -> None:
    await peer.drip(request(), 0.1)
    await peer.read_to_the_end()


async def a_head_without_end(peer: Peer) -> None:
    await peer.send(request()[:-2])
    await peer.repeat(b"X: y\r\n", 0.05)


async def no_hello(peer: Peer) -> None:
    await peer.upgrade()
    assert close_code(await peer.read_to_the_end()) == 1008


async def a_hello_byte_by_byte(peer: Peer) -> None:
    await peer.upgrade()
    await peer.drip(hello(), 0.1)
    assert close_code(await peer.read_to_the_end()) == 1008


async def pings_and_no_hello(peer: Peer) -> None:
    await peer.upgrade()
    await peer.repeat(frame(PING), 0.05)


async def anything_but_a_hello(peer: Peer) -> None:
    await peer.upgrade()
    await peer.repeat(frame(TEXT, b'{"type":"ping","id":7,"t0":0}'), 0.05)


async def no_pong(peer: Peer) -> None:
    await peer.enter()
    assert close_code(await peer.read_to_the_end()) == 1008


async def a_frame_byte_by_byte(peer: Peer) -> None:
    await peer.enter()
    await peer.drip(frame(TEXT, bytes(100)), 0.1)
    assert close_code(await peer.read_to_the_end()) == 1008


async def fragments_without_end(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, fin=False))
    await peer.repeat(frame(CONTINUATION, fin=False), 0.05)


async def no_answer_to_a_close(peer: Peer) -> None:
    await peer.enter()
    await peer.send(frame(TEXT, bytes(70_000)))
    # Where the machine is slow, the hello may have come too late.
    assert close_code(await peer.read_to_the_end()) in {1008, 1009}


async def more_behind_a_close(peer: Peer) -> None:
    await peer.enter()
    await peer.repeat(frame(TEXT, bytes(70_000)))


SLOW: list[Callable[[Peer], Awaitable[None]]] = [
    silent,
    a_request_byte_by_byte,
    a_head_without_end,
    no_hello,
    a_hello_byte_by_byte,
    pings_and_no_hello,
    anything_but_a_hello,
    no_pong,
    a_frame_byte_by_byte,
    fragments_without_end,
    no_answer_to_a_close,
    more_behind_a_close,
]


async def test_who_takes_too_long_is_cut_by_our_deadlines(url: str) -> None:
    async def one(slow: Callable[[Peer], Awaitable[None]]) -> None:
        async with attack(url) as peer:
            with trio.fail_after(30):
                await slow(peer)

    async with undisturbed(url), trio.open_nursery() as nursery:
        for slow in SLOW:
            for _ in range(5):
                nursery.start_soon(one, slow)


async def test_who_does_not_read_is_cut(url: str) -> None:
    requests = full(frame(TEXT, b'{"type":"state","id":7,"zone":"A"}'))

    async def one(data: bytes) -> None:
        async with attack(url, receive_buffer=4096) as peer:
            await peer.enter()
            with trio.fail_after(30):
                await peer.repeat(data)

    async with undisturbed(url), trio.open_nursery() as nursery:
        for data in (requests, FLOODS["pings"], FLOODS["requests"], full(frame(TEXT))):
            for _ in range(2):
                nursery.start_soon(one, data)

"""Bytes that nobody thought of: whatever comes, the server goes on, and every request is answered.

Hypothesis runs in a thread, with blocking sockets, against one server in the test's own loop.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import House
from tests.e2e.hostility import (
    BINARY,
    CLOSE,
    GONE_WITHIN_S,
    PING,
    TEXT,
    frame,
    frames,
    hello,
    request,
    undisturbed,
)
from tests.e2e.speaking import JSON, MSGPACK, REPLIES, Message, enter

FEWER = settings(max_examples=settings().max_examples // 4)
"""Of each kind of bytes, since there are many kinds."""

CONVERSATION = [
    hello(),
    frame(TEXT, b'{"type":"ping","id":2,"t0":0}'),
    frame(TEXT, b'{"type":"subscribe","id":3,"events":["scent"]}'),
    frame(PING, b"?"),
    frame(TEXT, b'{"type":"stop",', fin=False) + frame(0, b'"id":4}'),
    frame(CLOSE, b"\x03\xe8bye"),
]


def exchange(url: str, data: bytes) -> bytes:
    """Send all that, and nothing more; return what the server says until it ends the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=GONE_WITHIN_S) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65_536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return b""


@st.composite
def edited(draw: st.DrawFn, original: bytes) -> bytes:
    """Draw the same bytes with some of them cut out, changed and put in."""
    data = original
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.sampled_from([0, 0, 1, 2, 7, 100]))
        data = data[:at] + draw(st.binary(max_size=8)) + data[at + cut :]
    return data


HOSTILE: dict[str, st.SearchStrategy[bytes]] = {
    "anything": st.binary(max_size=300),
    "a handshake, edited": edited(request() + b"".join(CONVERSATION)),
    "a handshake with any headers": st.dictionaries(
        st.sampled_from(["Host", "Connection", "Upgrade", "Sec-WebSocket-Key", "X"]),
        st.text(st.characters(max_codepoint=255), max_size=30),
    ).map(lambda headers: request(headers=headers)),
    "anything behind the upgrade": st.binary(max_size=300).map(lambda data: request() + data),
    "anything behind the hello": st.binary(max_size=300).map(
        lambda data: request() + hello() + data
    ),
    "frames, edited": edited(b"".join(CONVERSATION)).map(lambda data: request() + data),
    "frames in any order": st.lists(st.sampled_from(CONVERSATION), max_size=12).map(
        lambda drawn: request() + b"".join(drawn)
    ),
    "frames of any kind": st.lists(
        st.builds(
            frame,
            st.integers(0, 15),
            st.binary(max_size=200),
            fin=st.booleans(),
            reserved=st.sampled_from([0, 0, 0, 1, 4]),
            masked=st.sampled_from([True, True, True, False]),
        ),
        max_size=12,
    ).map(lambda drawn: request() + hello() + b"".join(drawn)),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_no_bytes_harm_anybody_else(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("scentrt.entrypoints.gateway.server.RESUME_WITHIN_S", 0.1)

    @FEWER
    @given(HOSTILE[kind])
    def attack(data: bytes) -> None:
        exchange(house.gateway_url, data)

    async with undisturbed(house.gateway_url):
        await trio.to_thread.run_sync(attack)


# --- Messages.

TEMPLATES: list[Message] = [
    {"type": "ping", "t0": 1.5},
    {
        "type": "cue",
        "scent": "sea-breeze",
        "intensity": 0.5,
        "duration_ms": 5,
        "to": {"all": True},
        "at": None,
        "ttl_ms": 500,
        "priority": 5,
        "mix": False,
        "report": True,
    },
    {"type": "cancel", "cue": "c-1"},
    {"type": "level", "scent": "forest", "intensity": 0.5, "to": {"zones": ["A"]}, "ttl_ms": 9},
    {"type": "stop"},
    {"type": "stop", "to": {"seats": ["A-1-1"]}},
    {"type": "panic"},
    {"type": "release"},
    {"type": "subscribe", "events": ["scent"], "zones": ["A"], "seats": None, "scents": None},
    {"type": "unsubscribe", "subscription": "sub-1"},
    {"type": "state", "zone": "A", "page": 1},
    {"type": "sprayed", "cue": "c-1", "ok": True},
    {"type": "hello", "protocol": 1, "role": "engine", "name": "again", "resume": "s-1"},
    {},
]
FIELDS = sorted({field for template in TEMPLATES for field in template})
ABSENT = object()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["sea-breeze", "A", "A-1-1", "engine", "scent", "c-1", "sub-1", "", 0, -1])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)
names = st.sampled_from(FIELDS) | st.text(max_size=6).filter(lambda name: name != "id")


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Draw a message that is in order but for a few fields; it has no id yet."""
    changes = draw(st.dictionaries(names, values | st.just(ABSENT), max_size=3))
    message = {**draw(st.sampled_from(TEMPLATES)), **changes}
    return {name: value for name, value in message.items() if value is not ABSENT}


class Talk:
    """A client that sends frames and counts the replies."""

    def __init__(self, sock: socket.socket, read: Callable[[bytes], Message]) -> None:
        self._sock = sock
        self._read = read
        self._got = b""
        self.replies: list[Message] = []

    def hear(self, count: int) -> None:
        """Wait until so many replies have come in all."""
        while len(self.replies) < count:
            data = self._sock.recv(65_536)
            assert data, f"the connection ended after {self.replies}"
            self._got += data
            whole = list(frames(self._got))
            self._got = self._got[sum(_size(payload) for _, payload in whole) :]
            for opcode, payload in whole:
                if opcode in {TEXT, BINARY}:
                    message = self._read(payload)
                    if message["type"] in REPLIES:
                        self.replies.append(message)


def _size(payload: bytes) -> int:
    return len(payload) + (2 if len(payload) < 126 else 4)


def as_json(message: Message) -> bytes:
    return frame(TEXT, json.dumps(message).encode())


def as_msgpack(message: Message) -> bytes:
    return frame(BINARY, msgspec.msgpack.encode(message))


@pytest.mark.parametrize(
    ("subprotocol", "write", "read", "nonsense"),
    [
        (JSON, as_json, msgspec.json.decode, st.text(max_size=40).map(str.encode)),
        (MSGPACK, as_msgpack, msgspec.msgpack.decode, st.binary(max_size=40)),
    ],
    ids=["json", "msgpack"],
)
async def test_every_request_gets_exactly_one_reply_whatever_is_in_it(
    house: House,
    subprotocol: str,
    write: Callable[[Message], bytes],
    read: Callable[[bytes], Any],
    nonsense: st.SearchStrategy[bytes],
) -> None:
    opcode = TEXT if subprotocol == JSON else BINARY
    parts = urlsplit(house.gateway_url)
    upgrade = request(headers={"Sec-WebSocket-Protocol": subprotocol})

    @FEWER
    @given(
        st.sampled_from(["engine", "operator", "goggles"]),
        st.lists(messages() | nonsense, max_size=12),
    )
    def converse(role: str, said: list[Message | bytes]) -> None:
        hello = {"type": "hello", "id": "first", "protocol": 1, "role": role, "name": "mallory"}
        data = upgrade + write(hello)
        for n, message in enumerate(said):
            if isinstance(message, bytes):
                data += frame(opcode, message)
            else:
                data += write({"id": f"f-{n}", **message})
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as sock:
            sock.sendall(data)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            talk = Talk(sock, read)
            talk.hear(1 + len(said))
            sock.sendall(write({"type": "ping", "id": "last", "t0": 0}))
            talk.hear(2 + len(said))
        asked = [f"f-{n}" for n, message in enumerate(said) if not isinstance(message, bytes)]
        replies = Counter(reply["re"] for reply in talk.replies if "re" in reply)
        assert replies == Counter(["first", *asked, "last"])
        assert (talk.replies[0]["type"], talk.replies[-1]["type"]) == ("welcome", "pong")

    await trio.to_thread.run_sync(converse)
    async with enter(house.gateway_url) as client:
        await client.now()

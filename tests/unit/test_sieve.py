"""Which of a client's frames are taken at once, and which are left to trio-websocket."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, TextMessage
from wsproto.utilities import RemoteProtocolError

from scentrt.entrypoints.gateway.sieve import Sieve
from tests.e2e.hostility import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MASK = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a frame of less than 126 bytes whose mask changes something."""
    hidden = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + MASK + hidden


def sifted(*pieces: bytes) -> Sieve:
    sieve = Sieve()
    for piece in pieces:
        sieve.sift(piece)
    return sieve


def test_a_text_is_taken_as_text_and_a_binary_message_as_bytes() -> None:
    sieve = sifted(masked(TEXT, "sént".encode()) + masked(BINARY, b"\xff\x00\xfe"))
    assert sieve.messages == ["sént", b"\xff\x00\xfe"]
    assert sieve.rest == b""


def test_the_example_of_the_standard_is_read() -> None:
    """RFC 6455, section 5.7."""
    assert sifted(bytes.fromhex("818537fa213d7f9f4d5158")).messages == ["Hello"]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 127, 65_535])
def test_a_message_is_taken_up_to_the_length_that_two_bytes_can_tell(size: int) -> None:
    assert sifted(frame(BINARY, bytes(size))).messages == [bytes(size)]


def test_a_message_is_taken_when_its_last_byte_has_come() -> None:
    *all_but_the_last, last = [bytes((byte,)) for byte in frame(TEXT, b"x" * 130)]
    sieve = sifted(*all_but_the_last)
    assert sieve.messages == []
    sieve.sift(last)
    assert sieve.messages == ["x" * 130]


def test_pings_and_pongs_are_left_as_they_came() -> None:
    ping, pong = frame(PING, b"a"), frame(PONG)
    sieve = sifted(frame(TEXT, b"1") + ping + frame(TEXT, b"2") + pong)
    assert sieve.messages == ["1", "2"]
    assert sieve.rest == ping + pong
    assert not sieve.is_open


@pytest.mark.parametrize(
    "strange",
    [
        pytest.param(frame(CLOSE, b"\x03\xe8"), id="the end, behind which nothing counts"),
        pytest.param(frame(TEXT, b"{", fin=False), id="the first of some fragments"),
        pytest.param(frame(CONTINUATION, b"}"), id="a fragment of nothing"),
        pytest.param(frame(TEXT, b"\xc3("), id="text that is not UTF-8"),
        pytest.param(frame(TEXT, b"{}", masked=False), id="a frame without a mask"),
        pytest.param(frame(TEXT, b"{}", reserved=4), id="a compressed message"),
        pytest.param(frame(0x3, b"{}"), id="a kind that there is not"),
        pytest.param(frame(PING, bytes(126)), id="a ping that is too large"),
        pytest.param(frame(PING, fin=False), id="half a ping"),
        pytest.param(b"\x81\xfe\x00\x02" + MASK + b"{}", id="a length that is not the shortest"),
        pytest.param(frame(BINARY, b"", length=65_536), id="the beginning of 64 KiB"),
    ],
)
def test_from_the_first_strange_frame_on_nothing_is_taken(strange: bytes) -> None:
    behind = frame(TEXT, b"2")
    sieve = sifted(frame(TEXT, b"1") + strange + behind, behind)
    assert sieve.messages == ["1"]
    assert sieve.rest == strange + behind + behind
    assert sieve.is_open


def test_what_has_begun_to_come_is_let_through_by_opening() -> None:
    whole = frame(TEXT, b"whole")
    sieve = sifted(whole[:3])
    sieve.open()
    sieve.sift(whole[3:])
    assert sieve.rest == whole
    assert sieve.messages == []


frames = st.builds(
    frame,
    st.sampled_from([TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG, 0x3]),
    st.binary(max_size=140) | st.text(max_size=40).map(str.encode),
    fin=st.sampled_from([True, True, True, False]),
    reserved=st.sampled_from([0, 0, 0, 0, 4]),
    masked=st.sampled_from([True, True, True, True, False]),
) | st.builds(masked, st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=125))


def read_by_the_library(data: bytes) -> tuple[list[str | bytes], int | None]:
    """Return the messages that wsproto reads, and the code with which that has come to an end."""
    reader = Connection(ConnectionType.SERVER)
    messages: list[str | bytes] = []
    parts: list[bytes] = []
    reader.receive_data(data)
    try:
        for event in reader.events():
            match event:
                case TextMessage(data=text):
                    parts.append(text.encode())
                case BytesMessage(data=some):
                    parts.append(bytes(some))
                case CloseConnection(code=code):
                    return messages, code
            if isinstance(event, Message) and event.message_finished:
                whole = b"".join(parts)
                messages.append(whole.decode() if isinstance(event, TextMessage) else whole)
                parts = []
    except RemoteProtocolError as error:
        how = error.event_hint
        return messages, how.code if isinstance(how, CloseConnection) else None
    return messages, None


@given(st.lists(frames, max_size=6), st.lists(st.integers(0, 900), max_size=5))
@example([frame(TEXT, b"1"), frame(PING), frame(TEXT, b"2", fin=False)], [])
def test_both_together_hear_what_the_library_alone_would_hear(
    sent: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(sent)
    whole, ended = read_by_the_library(data)
    sieve = sifted(*(data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)])))
    sieve.open()
    rest, ended_with_the_rest = read_by_the_library(sieve.rest)
    assert [*sieve.messages, *rest] == whole
    assert ended_with_the_rest == ended

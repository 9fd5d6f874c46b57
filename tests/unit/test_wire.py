"""What the wire makes of any frame, and what it writes."""

import itertools
import math
import time
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from scentrt.domain.cues import SeatId, Target, ZoneId
from scentrt.domain.events import Change
from scentrt.domain.seats import Skip
from scentrt.entrypoints.gateway import messages as said
from scentrt.entrypoints.gateway import server_messages as answers
from scentrt.entrypoints.gateway.wire import (
    BINARY,
    JSON,
    MSGPACK,
    TEXT,
    BadMessage,
    Codec,
    choose_codec,
    encode_frame,
)

Object = dict[str, Any]

CUE: Object = {
    "type": "cue",
    "id": "c-17",
    "scent": "sea-breeze",
    "intensity": 0.8,
    "duration_ms": 1500,
    "to": {"zones": ["A"]},
}
LEVEL: Object = {"type": "level", "scent": "pine", "intensity": 0, "to": {"goggles": ["p"]}}
HELLO: Object = {"type": "hello", "id": 1, "protocol": 1, "role": "engine", "name": "my-game"}

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])


def written(codec: Codec, value: object) -> str | bytes:
    """Return the payload that a client would send for a value."""
    return msgspec.json.encode(value).decode() if codec is JSON else msgspec.msgpack.encode(value)


def refused(codec: Codec, data: str | bytes) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        codec.decode(data)
    return caught.value


def payload(frame: bytes) -> bytes:
    return frame[2 if frame[1] < 126 else 4 :]


class TestChoosingACodec:
    @pytest.mark.parametrize(
        ("proposed", "codec", "confirmed"),
        [
            ([], JSON, None),
            (["chat"], JSON, None),
            (["scentrt.v1.msgpack"], MSGPACK, "scentrt.v1.msgpack"),
            (["chat", "scentrt.v1.json", "scentrt.v1.msgpack"], JSON, "scentrt.v1.json"),
            (["scentrt.v1.msgpack", "scentrt.v1.json"], MSGPACK, "scentrt.v1.msgpack"),
        ],
    )
    def test_the_first_subprotocol_that_we_know_is_spoken_and_else_json(
        self, proposed: list[str], codec: Codec, confirmed: str | None
    ) -> None:
        assert choose_codec(proposed) == (codec, confirmed)

    def test_each_codec_takes_its_own_kind_of_frame_only(self) -> None:
        assert "text frames" in refused(JSON, written(MSGPACK, CUE)).message
        assert "binary frames" in refused(MSGPACK, written(JSON, CUE)).message


class TestFrames:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
    def test_every_length_of_frame_is_written_as_wsproto_writes_it(self, size: int) -> None:
        protocol = FrameProtocol(client=False, extensions=[])
        assert encode_frame(BINARY, b"x" * size) == protocol.send_data(b"x" * size, fin=True)

    @given(st.text(max_size=300))
    def test_text_frames_are_written_as_wsproto_writes_them(self, text: str) -> None:
        protocol = FrameProtocol(client=False, extensions=[])
        assert encode_frame(TEXT, text.encode()) == protocol.send_data(text, fin=True)


class TestWriting:
    @both
    def test_null_is_written_and_what_is_not_known_is_left_out(self, codec: Codec) -> None:
        event = answers.ZoneChanged(
            zone="A", revision=7, change=Change.PANICKED, seat=None, at=1764000000000.5
        )
        error = answers.Error(code="bad-message", message="no")
        accepted = answers.Accepted(
            re="c-17", due=0.0, targets=3, skipped={Skip.BUSY: 1}, duplicate=False
        )
        read = msgspec.json.decode if codec is JSON else msgspec.msgpack.decode
        assert read(payload(codec.encode(event))) == {
            "type": "zone",
            "zone": "A",
            "revision": 7,
            "change": "panicked",
            "seat": None,
            "at": 1764000000000.5,
        }
        assert read(payload(codec.encode(error))) == {
            "type": "error",
            "code": "bad-message",
            "message": "no",
            "retryable": False,
        }
        assert read(payload(codec.encode(accepted)))["skipped"] == {"busy": 1}

    def test_a_target_is_written_with_the_one_field_that_it_has(self) -> None:
        for target in (
            Target(all=True),
            said.To(seats=(SeatId("A-1-1"), SeatId("A-1-2"))).target(),
        ):
            to = msgspec.json.encode(said.To.of(target))
            assert msgspec.json.decode(to, type=said.To).target() == target
            assert len(msgspec.json.decode(to)) == 1


class TestTargets:
    def test_a_name_counts_once_in_the_order_of_first_mention(self) -> None:
        b, a = ZoneId("B"), ZoneId("A")
        assert said.To(zones=(b, a, b)).target().zones == (b, a)

    @both
    @pytest.mark.parametrize(
        "to",
        [
            {},
            {"all": False},
            {"all": True, "zones": ["A"]},
            {"all": False, "zones": ["A"]},
            {"zones": ["A"], "seats": ["A-1-1"]},
            {"zones": []},
            {"zones": None},
            {"zones": "A"},
            {"zones": [1]},
            {"zones": [""]},
            {"zones": ["x" * 129]},
            {"zones": ["A"] * 10_001},
            {"rows": ["A"]},
            None,
            "all",
        ],
    )
    def test_anything_but_exactly_one_is_refused(self, codec: Codec, to: object) -> None:
        bad = refused(codec, written(codec, CUE | {"to": to}))
        assert (bad.code, bad.re, bad.type) == ("bad-message", "c-17", "cue")


class TestNumbers:
    @both
    @pytest.mark.parametrize(
        "fields",
        [
            {"intensity": 0},
            {"intensity": -0.0},
            {"intensity": 1.01},
            {"intensity": True},
            {"intensity": "0.5"},
            {"duration_ms": 0.5},
            {"ttl_ms": 0},
            {"ttl_ms": 86_400_001},
            {"ttl_ms": None},
            {"at": 1e16},
            {"at": 10**17},
            {"priority": 10},
            {"priority": -1},
            {"priority": 5.5},
            {"priority": True},
            {"mix": 1},
            {"report": "true"},
        ],
    )
    def test_a_number_out_of_bounds_or_no_number_is_refused(
        self, codec: Codec, fields: Object
    ) -> None:
        bad = refused(codec, written(codec, CUE | fields))
        assert bad.re == "c-17"
        assert bad.message.startswith(f"{next(iter(fields))}: expected ")

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("field", ["intensity", "duration_ms", "at", "ttl_ms", "priority"])
    def test_no_messagepack_float_but_a_finite_one_gets_in(self, field: str, number: float) -> None:
        assert refused(MSGPACK, written(MSGPACK, CUE | {field: number})).re == "c-17"

    @pytest.mark.parametrize(
        "number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 400, "9" * 5000, "01", "+1", ".5"]
    )
    def test_no_number_that_is_not_strict_json_gets_in(self, number: str) -> None:
        text = '{"type":"cue","id":"c-17","intensity":' + number + "}"
        assert refused(JSON, text).re == "c-17"

    @both
    def test_an_integer_may_be_written_as_a_float(self, codec: Codec) -> None:
        cue = codec.decode(written(codec, CUE | {"id": 7.0, "priority": 9.0, "ttl_ms": 200.0}))
        assert isinstance(cue, said.SendCue)
        assert (cue.id, cue.priority) == (7, 9)
        assert isinstance(cue.id, int)

        slots = [{"slot": 2.0, "scent": "pine", "remaining_s": 200}]
        hello = codec.decode(
            written(codec, HELLO | {"protocol": 1.0, "dispenser": {"slots": slots}})
        )
        assert isinstance(hello, said.Hello)
        assert hello.dispenser is not None
        assert hello.dispenser.slots[0].slot == 2

    @both
    @pytest.mark.parametrize(
        "id", ["", "a b", "a\n", "ü", "x" * 65, 1.5, 2**53, -(2**53), 1e300, True, None, [1], {}]
    )
    def test_an_id_is_short_and_plain_or_an_exact_integer(self, codec: Codec, id: object) -> None:
        bad = refused(codec, written(codec, CUE | {"id": id}))
        assert bad.re is None
        assert bad.message.startswith("id: expected 1 to 64 of ")


class TestRefusing:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "\ufeff{}",
            "{",
            "null",
            "[]",
            "5",
            '"hello"',
            "{}",
            "{} {}",
            '{"type":5}',
            '{"type":null}',
            '{"type":"ping","id":1,"t0":0} x',
            '{"type":"ping","id":1,"t0":"\\ud800"}',
            '{"type":"ping","id":1,"t0":0,}',
            "{'type':'ping'}",
            '{"type":"ping","id":1,"t0":0,"\ud800":1}',
            "[" * 60_000,
            '{"a":' * 12_000,
        ],
    )
    def test_what_is_not_one_json_object_with_a_type_is_a_bad_message(self, text: str) -> None:
        assert refused(JSON, text).code == "bad-message"

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xc1",
            b"\xc0",
            b"\x90",
            b"\x80",
            b"\x91" * 60_000,
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\x81\x80\x01",
            b"\x81\xa4type\xa4ping\x00",
            b"\x81\xa4type\xa4\xff\xff\xff\xff",
            b"\x82\xa4type\xa5panic\xa2id\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ],
    )
    def test_what_is_not_one_messagepack_object_with_a_type_is_a_bad_message(
        self, data: bytes
    ) -> None:
        assert refused(MSGPACK, data).code == "bad-message"

    @both
    @pytest.mark.parametrize("type", ["welcome", "spray", "scent", "cues", "", "Cue"])
    def test_a_type_that_no_client_says_is_unknown(self, codec: Codec, type: str) -> None:
        bad = refused(codec, written(codec, {"type": type, "id": 8, "what": [1.5]}))
        assert (bad.code, bad.re, bad.type) == ("unknown-type", 8, type)

    @both
    def test_another_protocol_is_told_so_whatever_else_its_hello_says(self, codec: Codec) -> None:
        hello = {"type": "hello", "id": "h", "protocol": 2, "capabilities": ["smell-o-vision"]}
        bad = refused(codec, written(codec, hello))
        assert (bad.code, bad.re, bad.type) == ("protocol-version", "h", "hello")
        for protocol in ("1", True, None, 1.5):
            bad = refused(codec, written(codec, HELLO | {"protocol": protocol}))
            assert bad.code == "bad-message"

    @both
    @pytest.mark.parametrize(
        ("message", "words"),
        [
            (HELLO | {"role": "usher"}, "role: expected engine, goggles or operator"),
            (HELLO | {"name": "a\nb"}, "name: expected a string of 1 to 128 characters without"),
            (
                HELLO | {"dispenser": {"slots": [{"slot": 0, "scent": "a"}] * 2}},
                "dispenser: expected an object with slots, each slot number in it only once",
            ),
            (HELLO | {"dispenser": {"slots": [{"slot": 0}]}}, "scent: missing field in dispenser"),
            (HELLO | {"dispenser": {"slots": [5]}}, "dispenser.slots[0]: expected an object with"),
            (CUE | {"colour": "red"}, "colour: unknown field"),
            (CUE | {"to": {"rows": ["A"]}}, "rows: unknown field in to"),
            (LEVEL | {"id": 4}, "id: unknown field"),
            ({"type": "panic"}, "id: missing field"),
            ({"type": "subscribe", "id": 1, "events": ["rain"]}, "events[0]: expected scent, "),
            ({"type": "state", "id": 1, "zone": "A", "page": 0}, "page: expected an integer from"),
        ],
    )
    def test_the_answer_names_the_field_and_what_is_expected(
        self, codec: Codec, message: Object, words: str
    ) -> None:
        assert refused(codec, written(codec, message)).message.startswith(words)

    @pytest.mark.parametrize("kind", get_args(said.ClientMessage))
    def test_there_are_words_for_every_field(self, kind: type[msgspec.Struct]) -> None:
        tag = kind.__struct_config__.tag
        for field in kind.__struct_fields__:
            bad = refused(JSON, written(JSON, {"type": tag, field: [[]]}))
            assert bad.message.startswith((f"{field}: expected ", f"{field}[0]: expected "))
            assert "`" not in bad.message

    @pytest.mark.parametrize(
        ("text", "re"),
        [
            ('{"type":"cue","id":"c-1","intensity":NaN}', "c-1"),
            ('{"to":{"id":"other"},"id" : 12 ,"at":1e400', 12),
            ('{"scent":"\\"id\\":1","id":"c-1","to":' + "[" * 60_000, "c-1"),
            ('{"to":{"id":"other"},"at":NaN}', None),
            ('{"id":12.5,"at":NaN}', None),
            ('{"id":"a b","at":NaN}', None),
            ('{"id":9007199254740993,"at":NaN}', None),
            ('["id",1,{"id":3}', None),
        ],
    )
    def test_broken_json_is_answered_under_its_id_if_that_can_be_read(
        self, text: str, re: str | int | None
    ) -> None:
        assert refused(JSON, text).re == re

    def test_broken_messagepack_is_answered_under_its_id_if_that_can_be_read(self) -> None:
        assert refused(MSGPACK, b"\x82\xa2id\x07\xa1x\xa1\xff").re == 7
        assert refused(MSGPACK, b"\x82\xa1x\x07\xa2id").re is None

    @pytest.mark.parametrize("key", [5, 5.5, None, True])
    def test_a_messagepack_key_that_is_no_string_is_a_bad_message_with_its_id(
        self, key: object
    ) -> None:
        bad = refused(MSGPACK, msgspec.msgpack.encode({"type": "stop", "id": 7, key: 1}))
        assert (bad.code, bad.re, bad.message) == ("bad-message", 7, "keys: expected strings")

    @pytest.mark.parametrize("nested", [False, True])
    def test_messagepack_keys_of_one_hash_are_refused_at_once(self, nested: bool) -> None:
        # Arrays of -1 and -2, of which Python makes the same hash.
        keys = itertools.islice(itertools.product((b"\xff", b"\xfe"), repeat=13), 4_000)
        data = b"\xde\x0f\xa0" + b"".join(b"\x9d" + b"".join(key) + b"\0" for key in keys)
        before = time.process_time()
        assert refused(MSGPACK, b"\x81\x91" + data + b"\0" if nested else data).re is None
        assert time.process_time() - before < 0.1

    def test_of_a_field_that_is_there_twice_the_last_counts(self) -> None:
        ping = JSON.decode('{"type":"ping","id":1,"t0":1,"t0":2,"id":3}')
        assert ping == said.Ping(id=3, t0=2.0)


names = st.text(min_size=1, max_size=12)
ids = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True) | st.integers(-(2**53 - 1), 2**53 - 1)
moments = st.floats(-1e15, 1e15)
lists = st.lists(names, min_size=1, max_size=4).map(tuple)
tos = (
    st.just(said.To(all=True))
    | st.builds(said.To, zones=lists)
    | st.builds(said.To, seats=lists)
    | st.builds(said.To, goggles=lists)
)
messages: st.SearchStrategy[said.ClientMessage] = st.one_of(
    st.builds(said.Ping, id=ids, t0=moments),
    st.builds(
        said.SendCue,
        id=ids,
        scent=names,
        intensity=st.floats(0, 1, exclude_min=True),
        duration_ms=st.floats(1, 10_000),
        to=tos,
        at=st.none() | moments,
        ttl_ms=st.floats(1, 86_400_000),
        priority=st.integers(0, 9),
        mix=st.booleans(),
        report=st.booleans(),
    ),
    st.builds(said.SetLevel, scent=names, intensity=st.floats(0, 1), to=tos),
    st.builds(said.Stop, id=ids, to=st.none() | tos),
    st.builds(said.CancelCue, id=ids, cue=ids),
    st.builds(
        said.Subscribe,
        id=ids,
        events=st.lists(st.sampled_from(["scent", "zone"]), min_size=1, max_size=3).map(tuple),
        zones=st.none() | lists,
    ),
    st.builds(said.ReadState, id=ids, zone=names, page=st.integers(1, 1000)),
    st.builds(said.Sprayed, cue=ids, ok=st.booleans()),
)
fields = st.sampled_from(
    sorted({name for kind in get_args(said.ClientMessage) for name in kind.__struct_fields__})
)
types = st.sampled_from(
    sorted(str(kind.__struct_config__.tag) for kind in get_args(said.ClientMessage))
)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields | names, inner, max_size=3),
    max_leaves=4,
)
objects = st.fixed_dictionaries({"type": types | values}, optional={"id": ids | values}).flatmap(
    lambda head: st.dictionaries(fields, values, max_size=6).map(lambda body: body | head)
)


class TestAnyFrameAtAll:
    @both
    @given(message=messages)
    def test_what_a_client_means_is_what_is_read(
        self, codec: Codec, message: said.ClientMessage
    ) -> None:
        assert codec.decode(written(codec, message)) == message

    @both
    @given(data=st.text() | st.binary())
    def test_noise_is_a_bad_message(self, codec: Codec, data: str | bytes) -> None:
        assert refused(codec, data).code == "bad-message"

    @both
    @given(value=objects | values)
    def test_any_value_is_a_message_or_a_bad_message(self, codec: Codec, value: object) -> None:
        try:
            codec.decode(written(codec, value))
        except BadMessage as bad:
            code: answers.ErrorCode = bad.code
            JSON.encode(answers.Error(code=code, message=bad.message))

    @given(message=messages, at=st.integers(0, 400), put=st.text(max_size=3))
    def test_a_damaged_message_is_a_message_or_a_bad_message(
        self, message: said.ClientMessage, at: int, put: str
    ) -> None:
        text = str(written(JSON, message))
        data = msgspec.msgpack.encode(message)
        for codec, damaged in (
            (JSON, text[:at] + put + text[at + 1 :]),
            (MSGPACK, data[:at] + put.encode() + data[at + 1 :]),
        ):
            with suppress(BadMessage):
                codec.decode(damaged)

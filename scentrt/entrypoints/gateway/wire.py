"""Frames to messages and back, without I/O.

`choose_codec` picks one of the two subprotocols; a codec reads what a client sent and writes what
the server says. What is written is a whole WebSocket frame, header included, so that one encoding
can go to any number of sockets as it is.

Reading is one pass over a frame that is in order. Only where that fails, the frame is looked at
again: to forgive a game engine that writes the integer 5 as 5.0, or else to say what is wrong, and
to find the id that the answer belongs to.
"""

import re as regex
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import inspect

from scentrt.entrypoints.gateway.messages import ClientMessage, Id
from scentrt.entrypoints.gateway.server_messages import PROTOCOL, ServerMessage
from scentrt.errors import ScentError

ROOM: Final = 30_000
"""How many bytes of seats a frame may hold, so that with all the rest it stays under 32 KiB."""

BYTES_PER_CHARACTER: Final = 4
"""What a character of a name takes at most, in UTF-8 or with a backslash before it."""

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8

_TYPES: Final[dict[str, type[ClientMessage]]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(ClientMessage)
}


class BadMessage(ScentError):
    """A frame holds no message of a client's. Nothing was done.

    `message` is for whoever wrote that client, `code` that of the answer, `re` the id of the
    request (None where none could be read), and `type` what it said it was (None where it did not).
    """

    def __init__(
        self,
        message: str,
        *,
        code: Literal["bad-message", "unknown-type", "protocol-version"] = "bad-message",
        re: str | int | None = None,
        type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code: Final = code
        self.re = re
        self.type = type


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return one whole, unmasked frame, as servers send them (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


class Codec:
    """One subprotocol: `JSON` or `MSGPACK`. It keeps nothing between two calls."""

    def __init__(
        self,
        subprotocol: str,
        opcode: int,
        *,
        read: Callable[[Any], ClientMessage],
        read_untyped: Callable[[Any], object],
        find_id: Callable[[Any], str | int | None],
        write: Callable[[ServerMessage], bytes],
    ) -> None:
        self.subprotocol = subprotocol
        self._opcode = opcode
        self._read = read
        self._read_untyped = read_untyped
        self._find_id = find_id
        self._write = write

    def __repr__(self) -> str:
        return f"<Codec {self.subprotocol}>"

    def encode(self, message: ServerMessage) -> bytes:
        """Return a message as one whole frame."""
        return encode_frame(self._opcode, self._write(message))

    def decode(self, data: str | bytes) -> ClientMessage:
        """Return the message that is the payload of a frame: `str` if it was text, else `bytes`.

        An integer may be written as a float (5.0), and of a field that is there twice the last
        counts. Whatever a frame holds, nothing but `BadMessage` is raised.
        """
        if isinstance(data, str) != (self._opcode == TEXT):
            frames = "text" if self._opcode == TEXT else "binary"
            raise BadMessage(f"{self.subprotocol} is spoken in {frames} frames")
        try:
            return self._read(data)
        except (ValueError, RecursionError):
            return self._look_again(data)

    def _look_again(self, data: str | bytes) -> ClientMessage:
        try:
            message = integral(self._read_untyped(data))
        except RecursionError:
            raise BadMessage("nested too deeply", re=self._find_id(data)) from None
        except msgspec.DecodeError as error:
            problem = str(error).partition(" - at ")[0]
            raise BadMessage(f"cannot be read: {problem}", re=self._find_id(data)) from error
        except ValueError as error:
            raise BadMessage("not UTF-8", re=self._find_id(data)) from error
        if not isinstance(message, dict):
            raise BadMessage("a message is an object")
        re, type = _as_id(message.get("id")), message.get("type")
        if not isinstance(type, str):
            raise BadMessage("type: expected a string", re=re)
        if type not in _TYPES:
            known = ", ".join(_TYPES)
            raise BadMessage(
                f"type: expected one of {known}", code="unknown-type", re=re, type=type
            )
        if type == "hello" and _is_other_protocol(message.get("protocol")):
            raise BadMessage(
                f"protocol: expected {PROTOCOL}", code="protocol-version", re=re, type=type
            )
        try:
            return msgspec.convert(message, _TYPES[type])
        except msgspec.ValidationError as error:
            raise BadMessage(complaint(_TYPES[type], error), re=re, type=type) from error


def choose_codec(proposed: Iterable[str]) -> tuple[Codec, str | None]:
    """Return the codec for a client that proposes these subprotocols, and which one to confirm.

    It is the first that we know. Where there is none, JSON is spoken and none is confirmed.
    """
    for subprotocol in proposed:
        for codec in (JSON, MSGPACK):
            if codec.subprotocol == subprotocol:
                return codec, subprotocol
    return JSON, None


# --- The second look.


# The first byte of a map and of an array.
_MAPS = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})
_ARRAYS = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
# More, and deeper, than any message of ours has, names aside.
_MOST_FIELDS = 64
_MOST_ITEMS = 256
_DEEPEST = 8

_MAP = msgspec.msgpack.Decoder(
    Annotated[
        dict[str | int | float | bool | None, msgspec.Raw], msgspec.Meta(max_length=_MOST_FIELDS)
    ]
)
_ARRAY = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MOST_ITEMS)])
_NAMES = msgspec.msgpack.Decoder(list[str])


def _read_msgpack(data: bytes | msgspec.Raw, depth: int = 0) -> object:
    """Return what is in a frame, as far as it might be a message.

    The format has arrays for keys too. Here it has not, since a few thousand of them that were
    chosen to have one hash keep a map busy for half a second.
    """
    if depth > _DEEPEST:
        raise RecursionError
    first = memoryview(data)[0] if data else None
    if first in _MAPS:
        return {key: _read_msgpack(item, depth + 1) for key, item in _MAP.decode(data).items()}
    if first in _ARRAYS:
        with suppress(msgspec.ValidationError):
            return _NAMES.decode(data)
        return [_read_msgpack(item, depth + 1) for item in _ARRAY.decode(data)]
    return msgspec.msgpack.decode(data)


def integral(value: object) -> object:
    """Return the same with whole floats as integers, which do for a float as well.

    Lists are searched for objects only, since no list of ours holds integers, and long ones not
    at all.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: integral(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) <= _MOST_ITEMS:
        return [integral(item) if isinstance(item, dict) else item for item in value]
    return value


def _as_id(value: object) -> str | int | None:
    try:
        id: str | int = msgspec.convert(value, Id)
    except msgspec.ValidationError:
        return None
    return id


def _is_other_protocol(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value != PROTOCOL


# What JSON consists of, as far as it tells at which depth an id stands. A string that does not end
# goes to the end of the text: no text takes longer than one pass.
_JSON_MARKS = regex.compile(
    r'"id"\s*:\s*("[A-Za-z0-9._:-]{1,64}"|-?(?:0|[1-9][0-9]{0,15})(?![0-9.eE]))'
    r'|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
    r"|[{}\[\]]",
    regex.DOTALL,
)


def _find_json_id(text: str) -> str | int | None:
    """Return the id near the beginning of a text that as a whole is not JSON."""
    depth = 0
    for mark in _JSON_MARKS.finditer(text, 0, 4096):
        if mark[1] and depth == 1:
            return _as_id(msgspec.json.decode(mark[1]))
        depth += (mark[0] in "{[") - (mark[0] in "}]")
    return None


class _Numbered(msgspec.Struct):
    """Something with an id, whatever else is in it."""

    id: Id


def _find_msgpack_id(data: bytes) -> str | int | None:
    """Return the id of an object that has something unreadable in it."""
    try:
        return msgspec.msgpack.decode(data, type=_Numbered).id
    except (ValueError, RecursionError):
        return None


_FIELD = regex.compile(r"Object (missing|contains unknown).* field `(.{,64})", regex.DOTALL)


def complaint(kind: type[msgspec.Struct], error: msgspec.ValidationError) -> str:
    """Return what is wrong in words of the protocol: which field, and what is expected there."""
    problem, at, path = str(error).rpartition(" - at `$")
    if not at:
        problem, path = path, ""
    place = path.strip(".`")
    if field := _FIELD.match(problem):
        state = "unknown" if field[1] != "missing" else "missing"
        return f"{field[2].rstrip('`')}: {state} field" + (f" in {place}" if place else "")
    words = _words(_shape(kind), regex.findall(r"\w+|\[.*?\]", place))
    return f"{place}: expected {words}" if words else "keys: expected strings"


@cache
def _shape(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _words(shape: inspect.Type, path: list[str]) -> str | None:
    """Return the description that stands beside a type, at the end of a path into it."""
    match shape:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return _words(inner, path) if path else (schema or {}).get("description")
        case inspect.UnionType(types=types):
            return next(filter(None, (_words(inner, path) for inner in types)), None)
        case inspect.StructType(fields=fields) if path:
            found = (field.type for field in fields if field.encode_name == path[0])
            return next((_words(inner, path[1:]) for inner in found), None)
        case inspect.VarTupleType(item_type=inner) if path:
            return _words(inner, path[1:])
        case _:
            return None


JSON: Final = Codec(
    "scentrt.v1.json",
    TEXT,
    read=msgspec.json.Decoder(ClientMessage).decode,
    read_untyped=msgspec.json.decode,
    find_id=_find_json_id,
    write=msgspec.json.Encoder().encode,
)
MSGPACK: Final = Codec(
    "scentrt.v1.msgpack",
    BINARY,
    read=msgspec.msgpack.Decoder(ClientMessage).decode,
    read_untyped=_read_msgpack,
    find_id=_find_msgpack_id,
    write=msgspec.msgpack.Encoder().encode,
)

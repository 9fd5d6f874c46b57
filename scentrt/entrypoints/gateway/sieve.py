"""Messages out of the bytes of a client, without I/O.

What a client says is nearly always a message in one frame, in order and not too large. Those are
taken here, in a tenth of the time that a library for all of RFC 6455 needs. The rest is left to it.
"""

from typing import Final

from scentrt.entrypoints.gateway.wire import BINARY, TEXT

_WHOLE: Final = 0x80
_MESSAGES: Final = frozenset({_WHOLE | TEXT, _WHOLE | BINARY})
_SIGNS_OF_LIFE: Final = frozenset({_WHOLE | 0x9, _WHOLE | 0xA})  # pings and pongs
_KNOWN: Final = _MESSAGES | _SIGNS_OF_LIFE
_MASKED: Final = 0x80
_MASK: Final = 4
_MOST_SHORT: Final = 125
_MEDIUM: Final = 126
"""Says that the length is in the two bytes that follow."""


class Sieve:
    """Take the whole messages out of what comes: into `messages`, of text as `str`.

    `rest` is what is left, as it came: pings and pongs. From the first frame on that is anything
    else, all is rest, and `is_open`: the end, a message in fragments, one of 64 KiB or more, or
    what breaks the protocol. So no message can overtake another.
    """

    __slots__ = ("_begun", "is_open", "messages", "rest")

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.rest = b""
        self.is_open = False
        self._begun = b""

    def open(self) -> None:
        """Let everything through from now on, also what has begun to come."""
        self.is_open = True
        self.rest += self._begun
        self._begun = b""

    def sift(self, data: bytes) -> None:
        """Take what has come next."""
        self._begun += data
        if self.is_open or not self._take_frames():
            self.open()

    def _take_frames(self) -> bool:
        """Take the frames that are there as a whole; False before one that is to be let through."""
        data, at = self._begun, 0
        try:
            while len(data) >= at + 2:
                kind, size, mask = data[at], data[at + 1] ^ _MASKED, at + 2
                if size == _MEDIUM and kind in _MESSAGES:
                    mask += 2
                    if len(data) < mask:
                        break
                    size = int.from_bytes(data[at + 2 : mask], "big")
                    if size <= _MOST_SHORT:
                        return False
                elif size > _MOST_SHORT or kind not in _KNOWN:
                    return False
                payload = mask + _MASK
                end = payload + size
                if len(data) < end:
                    break
                if kind in _SIGNS_OF_LIFE:
                    self.rest += data[at:end]
                else:
                    message = _unmasked(data[payload:end], data[mask:payload])
                    self.messages.append(message if kind & BINARY else message.decode())
                at = end
        except UnicodeDecodeError:
            return False
        finally:
            self._begun = data[at:]
        return True


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """Return what was masked with these four bytes, again and again (RFC 6455, section 5.3)."""
    size = len(payload)
    key = (mask * (size // _MASK + 1))[:size]
    plain = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return plain.to_bytes(size, "little")

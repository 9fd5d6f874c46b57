"""A WebSocket that costs next to nothing: a blocking socket, and frames by hand (RFC 6455).

A client library takes about as long over a message as the servers that are to be measured. Just
enough is here for two servers that are known to behave.
"""

import json
import select
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from simulators.connection import Message
from simulators.latency.schedule import moments, wait_until

ANSWER_WITHIN_S = 10.0
RECEIVE_SIZE = 64 * 1024

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FIN, MASKED = 0x80, 0x80
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
NO_MASK = bytes(4)  # a mask of zeros leaves the payload as it is


class Unanswered(Exception):
    """A server did not do what the bench asked of it, so there is nothing to measure."""


class Answer(NamedTuple):
    """When a frame was sent and its answer had come, in seconds of `perf_counter`."""

    sent: float
    came: float
    text: bytes


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one whole frame as clients send it."""
    size = len(payload)
    if size < 126:
        return bytes((FIN | opcode, MASKED | size)) + NO_MASK + payload
    return bytes((FIN | opcode, MASKED | 126)) + size.to_bytes(2, "big") + NO_MASK + payload


def server_frame(text: bytes) -> bytes:
    """Return one whole frame as servers send it, without a mask."""
    size = len(text)
    head = (size,) if size < 126 else (126, *size.to_bytes(2, "big"))
    return bytes((FIN | TEXT, *head)) + text


def message_frame(message: Message) -> bytes:
    """Return a message as a frame, ready to be sent."""
    return frame(json.dumps(message, separators=(",", ":")).encode())


class Line:
    """One connection. Whatever takes longer than ten seconds raises `TimeoutError`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection(
            (parts.hostname, parts.port), timeout=ANSWER_WITHIN_S
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno = self.socket.fileno
        self._buffer = b""
        self._texts: deque[bytes] = deque()
        self.socket.sendall(UPGRADE.format(path=parts.path, host=parts.netloc).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self.receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise Unanswered(f"{url} does not upgrade: {head[:80]!r}")

    def close(self) -> None:
        """Take leave as a client does who goes for good, and hang up."""
        with self.socket, suppress(OSError):
            self.socket.sendall(frame((1000).to_bytes(2, "big"), CLOSE))

    def exchange(self, sending: bytes) -> Answer:
        """Send a frame and wait for the next text; what came before it is thrown away."""
        self._texts.clear()
        sent = perf_counter()
        self.socket.sendall(sending)
        while True:
            data = self.receive()
            came = perf_counter()
            self.feed(data)
            if self._texts:
                return Answer(sent, came, self._texts.popleft())

    def exchange_on_schedule(self, frames: Sequence[bytes], per_s: float) -> list[Answer]:
        """Send so many frames a second, and return the text that answers each, in their order.

        Each is timed from the moment at which it was to be sent.
        """
        sent: list[float] = []
        answers: list[Answer] = []
        began = perf_counter()

        def listen(seconds: float) -> None:
            for came, text in self.within(seconds):
                answers.append(Answer(sent[len(answers)], came, text))

        for sending, moment in zip(frames, moments(len(frames), per_s), strict=True):
            wait_until(began + moment, listen)
            sent.append(began + moment)
            self.socket.sendall(sending)
        while len(answers) < len(frames):
            text = self.text()
            answers.append(Answer(sent[len(answers)], perf_counter(), text))
        return answers

    def text(self) -> bytes:
        """Return the next text, waiting for it where none has come yet."""
        while not self._texts:
            self.feed(self.receive())
        return self._texts.popleft()

    def texts(self) -> list[bytes]:
        """Return the next texts, all that have come; waits for one at least."""
        texts = [self.text(), *self._texts]
        self._texts.clear()
        return texts

    def within(self, seconds: float) -> Iterator[tuple[float, bytes]]:
        """Yield the texts that come next, and when; none where nothing comes for so long."""
        if not self._texts:
            # Not poll or epoll, which round up to whole milliseconds.
            if not select.select([self.socket], [], [], max(0.0, seconds))[0]:
                return
            data = self.receive()
            came = perf_counter()
            self.feed(data)
        else:
            came = perf_counter()
        while self._texts:
            yield came, self._texts.popleft()

    def feed(self, data: bytes) -> None:
        """Take bytes that were received: keep the texts, answer pings."""
        data = self._buffer + data
        at = 0
        while len(data) >= at + 2:
            opcode, size, start = data[at] & 0xF, data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[start : start + 2], "big"), at + 4
            if len(data) < start + size:
                break
            at = start + size
            if opcode == TEXT:
                self._texts.append(data[start:at])
            elif opcode == PING:
                self.socket.sendall(frame(data[start:at], PONG))
            elif opcode == CLOSE:
                raise Unanswered(f"the server closes: {data[start + 2 : at].decode()}")
        self._buffer = data[at:]

    def receive(self) -> bytes:
        """Return what has come, unread."""
        data = self.socket.recv(RECEIVE_SIZE)
        if not data:
            raise Unanswered("the server has closed the connection")
        return data


def greet(line: Line, role: Literal["engine", "goggles"], name: str) -> None:
    """Say hello to the server, and be welcome."""
    hello = {"type": "hello", "id": 1, "protocol": 1, "role": role, "name": name}
    told(line.exchange(message_frame(hello)).text, "welcome")


def told(text: bytes, expected: str) -> Message:
    """Return a message, which has to be of this type."""
    message: Message = json.loads(text)
    if message["type"] != expected:
        raise Unanswered(f"expected {expected!r}, was told {text.decode()}")
    return message

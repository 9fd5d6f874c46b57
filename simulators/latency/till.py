"""Orders over HTTP that cost their sender next to nothing: blocking sockets, requests made before.

A client library takes longer over a request than the server. This takes some 20 us, in a process
that is not the server's, and a server that is known to behave.
"""

import json
import selectors
import socket
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlsplit

from simulators.latency.line import ANSWER_WITHIN_S, Unanswered
from simulators.latency.schedule import moments, wait_until

RECEIVE_SIZE = 64 * 1024

HEAD = "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"


def post(path: str, body: object = None) -> bytes:
    """Return a whole request, ready to be sent; without a body, an empty one."""
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    return f"{HEAD.format(path=path)}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Rung(NamedTuple):
    """What came of some requests."""

    per_s: float
    took_ms: list[float]
    errors: int
    """Answers that were not 2xx."""


class Till:
    """Clients of a shop, each on a connection of its own."""

    def __init__(self, url: str, clients: int) -> None:
        parts = urlsplit(url)
        # Not poll or epoll, which round up to whole milliseconds.
        self._selector = selectors.SelectSelector()
        self._customers = [_Customer(parts.hostname, parts.port) for _ in range(clients)]
        for customer in self._customers:
            self._selector.register(customer.socket, selectors.EVENT_READ, customer)

    def close(self) -> None:
        """Let everybody leave."""
        self._selector.close()
        for customer in self._customers:
            customer.socket.close()

    def ring(self, requests: Sequence[bytes]) -> Rung:
        """Have requests answered, by each client one after the other."""
        took_ms: list[float] = []
        errors = 0
        waiting = iter(requests)
        began = perf_counter()
        for customer, first in zip(self._customers, waiting, strict=False):
            customer.send(first, perf_counter())
        while len(took_ms) < len(requests):
            for customer, came, is_good in self._answers(ANSWER_WITHIN_S):
                took_ms.append((came - customer.sent.pop(0)) * 1000)
                errors += not is_good
                if (request := next(waiting, None)) is not None:
                    customer.send(request, perf_counter())
        return Rung(len(requests) / (perf_counter() - began), took_ms, errors)

    def ring_on_schedule(self, requests: Sequence[bytes], per_s: float) -> Rung:
        """Send so many requests a second, whether answers come in time or not.

        Each is timed from the moment at which it was to be sent.
        """
        took_ms: list[float] = []
        errors = 0
        began = perf_counter()

        def listen(seconds: float) -> None:
            nonlocal errors
            for customer, came, is_good in self._answers(seconds):
                took_ms.append((came - customer.sent.pop(0)) * 1000)
                errors += not is_good

        for number, moment in enumerate(moments(len(requests), per_s)):
            wait_until(began + moment, listen)
            customer = self._customers[number % len(self._customers)]
            customer.send(requests[number], began + moment)
        while len(took_ms) < len(requests):
            heard = len(took_ms)
            listen(ANSWER_WITHIN_S)
            if len(took_ms) == heard:
                raise Unanswered(f"{len(requests) - heard} requests have no answer")
        return Rung(len(requests) / (perf_counter() - began), took_ms, errors)

    def _answers(self, seconds: float) -> Iterator[tuple["_Customer", float, bool]]:
        for key, _ in self._selector.select(seconds):
            customer: _Customer = key.data
            data = customer.socket.recv(RECEIVE_SIZE)
            came = perf_counter()
            for is_good in customer.take(data):
                yield customer, came, is_good


class _Customer:
    """One connection: when each of its requests was sent that is not answered yet."""

    def __init__(self, host: str | None, port: int | None) -> None:
        self.socket = socket.create_connection((host, port), timeout=ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent: list[float] = []
        self._buffer = b""

    def send(self, request: bytes, moment: float) -> None:
        self.sent.append(moment)
        self.socket.sendall(request)

    def take(self, data: bytes) -> Iterator[bool]:
        """Take bytes that were received; yield for each whole answer whether it is a good one."""
        if not data:
            raise Unanswered("the HTTP server has closed a connection")
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:head_end].lower()
            end = head_end + 4
            if (at := head.find(b"content-length:")) >= 0:
                end += int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._buffer) < end:
                return
            self._buffer = self._buffer[end:]
            yield head.startswith(b"http/1.1 2")

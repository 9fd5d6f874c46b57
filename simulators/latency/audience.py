"""Connections that all hear the same, and when the last of them does."""

import select
import sys
from contextlib import suppress
from time import perf_counter
from typing import Protocol

from simulators.latency.line import ANSWER_WITHIN_S, Unanswered

IS_POSSIBLE = sys.platform == "linux"
"""Waiting for many needs Linux' epoll."""


class Listener(Protocol):
    """One connection."""

    def fileno(self) -> int:
        """Return its socket, for epoll."""

    def text(self) -> bytes:
        """Return the next text, waiting for it where none has come yet."""

    def close(self) -> None:
        """Take leave."""


class Audience:
    """Connections that all hear the same.

    As long as somebody waits, nothing is even received: epoll tells once of each socket to which
    something has come, hundreds in one call. And it is not asked before something has come to who
    joined last, who is the last to be told as a rule. So one who listens for thousands is hardly
    slower than each would be for himself, and takes no processor from who tells them.
    """

    def __init__(self) -> None:
        self._lines: dict[int, Listener] = {}
        self._last = select.poll()
        self._epoll = select.epoll() if sys.platform == "linux" else None

    def __len__(self) -> int:
        return len(self._lines)

    def join(self, line: Listener) -> None:
        """Add a connection."""
        assert self._epoll is not None
        for last in list(self._lines)[-1:]:
            self._last.unregister(last)
        self._last.register(line.fileno(), select.POLLIN)
        self._lines[line.fileno()] = line
        self._epoll.register(line.fileno(), select.EPOLLIN | select.EPOLLET)

    def wait(self) -> float:
        """Wait until something has come to everybody; return when, in seconds of `perf_counter`."""
        assert self._epoll is not None
        waiting = set(self._lines)
        came = perf_counter()
        self._last.poll(ANSWER_WITHIN_S * 1000)
        while waiting:
            ready = self._epoll.poll(ANSWER_WITHIN_S, len(self._lines))
            came = perf_counter()
            if not ready:
                raise Unanswered(f"{len(waiting)} of {len(self)} heard nothing")
            waiting.difference_update(number for number, _ in ready)
        return came

    def text(self) -> bytes:
        """Return what everybody has heard, a text each."""
        texts = {line.text() for line in self._lines.values()}
        if len(texts) > 1:
            raise Unanswered(f"they heard different things: {texts}")
        return texts.pop()

    def close(self) -> None:
        """Let everybody leave."""
        if self._epoll is not None:
            self._epoll.close()
        for line in self._lines.values():
            with suppress(OSError):
                line.close()

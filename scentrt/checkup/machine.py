"""What Python itself can tell of this machine: addresses, files, the clock and the timer.

To look at only: what is bound is let go at once, and nothing is written.
"""

import ctypes
import errno
import http.client
import ipaddress
import json
import os
import socket
import sys
import time
from dataclasses import dataclass

import trio

ANSWERS_WITHIN_S = 1.0
"""For each thing that a server of ours is waited for, which answers in milliseconds."""

NAPS, NAP_S = 200, 0.001
NAPS_WITHIN_S = 0.6

TIME_ERROR = 5
"""What adjtimex says of a clock that nobody has set right; from Linux' timex.h."""


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """An address that a server is to listen on; `field` is the setting and the option of it.

    `problem` is why that would fail, in the system's words, empty where it would not.
    """

    field: str
    host: str
    port: int
    problem: str = ""
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The wall clock, in Unix seconds; `synchronised` is None where the system does not say."""

    now_s: float
    synchronised: bool | None


def try_address(field: str, host: str, port: int) -> AddressFacts:
    """Find out whether this process could listen there, as a server would. May block on a name."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            if os.name == "posix":  # as servers do there, or their last connections would count
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except UnicodeError:
        return AddressFacts(field, host, port, "that is no name of a host")
    except OSError as error:
        problem = error.strerror or str(error)
        return AddressFacts(field, host, port, problem, error.errno == errno.EADDRINUSE)
    return AddressFacts(field, host, port)


def scentrt_answers(host: str, port: int) -> bool:
    """Ask whether the HTTP server at this address is one of ScentRT's. Blocks."""
    server = http.client.HTTPConnection(_reachable(host), port, timeout=ANSWERS_WITHIN_S)
    try:
        server.request("GET", "/healthz")
        answer = server.getresponse()
        said = json.loads(answer.read(4_096))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        server.close()
    match answer.status, said:
        case 200, {"status": "alive"}:
            return True
        case 401, {"message": str(message)}:  # one that other machines can reach wants a token
            return "operator's token" in message
    return False


def _reachable(host: str) -> str:
    """Return where to call a server that listens on all addresses of its machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def read_clock() -> ClockFacts:
    """Read the wall clock, and ask Linux whether anybody keeps it right."""
    state = -1
    if sys.platform == "linux":
        # Zeroed, it asks and sets nothing; longer than the structure is anywhere.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1_024))
    return ClockFacts(time.time(), None if state < 0 else state != TIME_ERROR)


async def measure_naps() -> list[float]:
    """Return how late trio wakes from short sleeps, in milliseconds each."""
    late_ms: list[float] = []
    with trio.move_on_after(NAPS_WITHIN_S):
        for _ in range(NAPS):
            due = trio.current_time() + NAP_S
            await trio.sleep_until(due)
            late_ms.append((trio.current_time() - due) * 1_000)
    return late_ms

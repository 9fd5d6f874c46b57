"""The sockets that a server listens on; one that cannot be had is named in a sentence."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from scentrt.errors import ConfigError

BACKLOG = 1_024
"""Connections that the kernel may hold for us, when a whole audience comes in at once."""


@contextmanager
def listening_on(field: str, host: str, port: int) -> Iterator[socket.socket]:
    """Listen for as long as the block lasts; raises `ConfigError`, naming the option `field`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:  # the latter where a host cannot be a name
        raise ConfigError(
            field,
            f"cannot listen on {host}:{port}: {_reason(error)}; choose another with "
            f"--{field} HOST:PORT",
        ) from error
    with listening:
        yield listening


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "that is no name of a host"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)  # socket.create_server says the address a second time


def listener_of(listening: socket.socket) -> trio.SocketListener:
    """Return a socket that listens already as trio serves it."""
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))


def url_of(scheme: str, listening: socket.socket) -> str:
    """Return where a socket listens."""
    host, port, *_ = listening.getsockname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

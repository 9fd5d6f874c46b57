"""Mosquitto, a broker in C, and as much of MQTT 3.1.1 as it takes to hear and to tell something."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final

from simulators.latency.line import ANSWER_WITHIN_S, RECEIVE_SIZE, Unanswered
from simulators.latency.venue import running

LISTENS_WITHIN_S = 10.0

CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 0x10, 0x30, 0x82, 0xE0
CLEAN_SESSION: Final = 0x02
TOPIC: Final = b"scent"

# As its fastest: nothing is kept or logged, and nothing waits to be sent together with more.
CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
persistence false
log_dest none
"""


def program() -> str | None:
    """Return where Mosquitto is installed; Debian keeps it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def open_mosquitto(program: str) -> Iterator[int]:
    """Run a broker on a free port for as long as the block lasts, and give the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory(prefix="scentrt-latency-") as name:
        file, log = Path(name) / "mosquitto.conf", Path(name) / "log"
        file.write_text(CONFIGURATION.format(port=port), encoding="utf-8")
        with log.open("wb") as said, running([program, "-c", str(file)], log=said) as process:
            deadline = monotonic() + LISTENS_WITHIN_S
            while True:
                try:
                    MqttLine(port).close()
                    break
                except ConnectionRefusedError:
                    if process.poll() is not None or monotonic() > deadline:
                        raise Unanswered(
                            f"Mosquitto does not start: {log.read_text(errors='replace')}"
                        ) from None
                    sleep(0.01)
            yield port


def packet(kind: int, payload: bytes) -> bytes:
    """Return one packet."""
    size, left = bytearray(), len(payload)
    while True:
        left, digit = left >> 7, left & 0x7F
        size.append(digit | (0x80 if left else 0))
        if not left:
            return bytes((kind,)) + bytes(size) + payload


def published(text: bytes) -> bytes:
    """Return the packet that tells a text to the audience."""
    return packet(PUBLISH, _string(TOPIC) + text)


class MqttLine:
    """One connection to a broker."""

    def __init__(self, port: int, *, listens: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno = self.socket.fileno
        self._buffer = b""
        no_keep_alive, no_name = bytes(2), _string(b"")
        self._ask(CONNECT, _string(b"MQTT") + bytes((4, CLEAN_SESSION)) + no_keep_alive + no_name)
        if listens:
            self._ask(SUBSCRIBE, (1).to_bytes(2, "big") + _string(TOPIC) + bytes(1))

    def text(self) -> bytes:
        """Return the next text that was published, waiting for it where none has come yet."""
        return self._packet()[2 + len(TOPIC) :]

    def close(self) -> None:
        """Take leave."""
        with self.socket:
            self.socket.sendall(packet(DISCONNECT, b""))

    def _ask(self, kind: int, payload: bytes) -> None:
        self.socket.sendall(packet(kind, payload))
        if self._packet()[-1] != 0:
            raise Unanswered("Mosquitto refuses")

    def _packet(self) -> bytes:
        """Return the payload of the next packet."""
        while True:
            size = shift = 0
            for at, digit in enumerate(self._buffer[1:], start=2):
                size |= (digit & 0x7F) << shift
                shift += 7
                if digit & 0x80:
                    continue
                if len(self._buffer) < at + size:
                    break
                payload, self._buffer = self._buffer[at : at + size], self._buffer[at + size :]
                return payload
            data = self.socket.recv(RECEIVE_SIZE)
            if not data:
                raise Unanswered("Mosquitto has closed the connection")
            self._buffer += data


def _string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text

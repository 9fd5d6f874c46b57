"""A simulated BlueZ from Python: started in a process of its own, and ended with the block."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from simulators.ble.bluez.control import (
    Answer,
    Device,
    DeviceReport,
    Drop,
    Ready,
    Report,
    Request,
    SetFaults,
)
from simulators.ble.peripheral import Faults

ENDS_WITHIN_S = 5.0


def is_possible() -> bool:
    """Whether this machine has what it takes, which is dbus-daemon."""
    return shutil.which("dbus-daemon") is not None


class SimulatedBluez:
    """A running simulator, at the other end of its control line. Calls block until it answers."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests = requests
        self._answers = answers
        first = msgspec.json.decode(self._next_line(), type=Ready)
        self.bus: str = first.bus
        self.devices: list[Device] = first.devices

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program to it."""
        return {"DBUS_SYSTEM_BUS_ADDRESS": self.bus}

    def set_faults(self, faults: Faults, *serials: str) -> None:
        """Have these devices misbehave from now on; all of them, if none is named."""
        self._ask(SetFaults(faults, list(serials) or None))

    def drop(self, *serials: str) -> None:
        """Break the links of these devices; all, if none is named."""
        self._ask(Drop(list(serials) or None))

    def report(self, *serials: str) -> list[DeviceReport]:
        """Return what these devices got and did; all, if none is named."""
        return self._ask(Report(list(serials) or None))

    def _ask(self, request: Request) -> list[DeviceReport]:
        self._requests.write(msgspec.json.encode(request) + b"\n")
        self._requests.flush()
        answer = msgspec.json.decode(self._next_line(), type=Answer)
        if answer.error:
            raise LookupError(answer.error)
        return answer.devices

    def _next_line(self) -> bytes:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the simulated BlueZ has ended; what it said last is above")
        return line


@contextmanager
def simulated_bluez(*options: str) -> Iterator[SimulatedBluez]:
    """Run `python -m simulators.ble.bluez` with these options while the block lasts."""
    command: Sequence[str] = (sys.executable, "-m", "simulators.ble.bluez", *options)
    # Where this process looks for modules, the other has to look as well.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("asked for pipes, got none")
        try:
            yield SimulatedBluez(process.stdin, process.stdout)
        finally:
            process.stdin.close()
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

"""Where the server spends its time: py-spy, which looks into it from outside while it is measured.

It draws who holds the interpreter, which is what everybody in a server waits for: not the threads
that wait, nor system calls that let others have it meanwhile. It is let loose on every server and
every part of one that a bench starts. The first flame graph goes to the file that was named, the
others beside it: cue.svg, cue-2.svg, ...
"""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from simulators.latency.line import Unanswered

SAMPLES_PER_S = 250
DRAWN_WITHIN_S = 60.0


class Profiler:
    """Makes flame graphs of what is measured; without a file to begin with, none."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._numbers = count(1)
        self.drawn: list[Path] = []
        """The flame graphs so far."""

    @contextmanager
    def watching(self, process: Popen[bytes]) -> Iterator[None]:
        """Look into a process for as long as the block lasts; raises `Unanswered` if it may not."""
        if self._file is None:
            yield
            return
        number = next(self._numbers)
        file = self._file if number == 1 else self._file.with_stem(f"{self._file.stem}-{number}")
        command = [_py_spy(), "record", "--pid", str(process.pid), "--output", str(file)]
        command += ["--rate", str(SAMPLES_PER_S), "--gil"]
        with Popen(command, stdout=DEVNULL, stderr=PIPE, start_new_session=True) as spy:
            try:
                yield
            finally:
                spy.send_signal(signal.SIGINT)  # as Ctrl-C, at which it draws what it has seen
                _, said = spy.communicate(timeout=DRAWN_WITHIN_S)
        if not file.exists():
            raise Unanswered(f"py-spy draws no flame graph: {said.decode().strip()}")
        self.drawn.append(file)


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise Unanswered("py-spy is not installed: 'just setup' does, or pip install py-spy")
    return found

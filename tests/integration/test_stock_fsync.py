"""A disk that does not say that it has stored something has not stored it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stored_stock import read_tables, wrong_totals

FAILING_FSYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_or_fail(const char *name, int fd) {
    if (access(getenv("FSYNC_FAILS_WHILE_THERE"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return sync_or_fail("fsync", fd); }
int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }
"""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="takes Linux and a C compiler"
)


@pytest.fixture
def failing_fsync(tmp_path: Path) -> Path:
    """Return a library that lets fsync fail for the process that has it preloaded."""
    source, library = tmp_path / "fsync.c", tmp_path / "fsync.so"
    source.write_text(FAILING_FSYNC)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"],
        check=True,
        timeout=60,
    )
    return library


def test_what_could_not_be_synced_is_not_acknowledged_and_then_all_goes_on(
    tmp_path: Path, failing_fsync: Path
) -> None:
    path, switch = tmp_path / "stock.db", tmp_path / "failing"
    environment = {"LD_PRELOAD": str(failing_fsync), "FSYNC_FAILS_WHILE_THERE": str(switch)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.stock_on_demand", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as room:

        def ask(order: str) -> str:
            assert room.stdin is not None
            assert room.stdout is not None
            room.stdin.write(order + "\n")
            room.stdin.flush()
            return room.stdout.readline().strip()

        try:
            assert ask("o-1") == "allocated"
            switch.touch()
            assert [ask("o-2"), ask("o-3")] == ["unavailable"] * 2
            assert {order for _, order in read_tables(path).lines} == {"o-1"}
            switch.unlink()
            assert [ask("o-3"), ask("o-4")] == ["allocated"] * 2
        finally:
            room.kill()
    assert {order for _, order in read_tables(path).lines} == {"o-1", "o-3", "o-4"}
    assert wrong_totals(path) == []

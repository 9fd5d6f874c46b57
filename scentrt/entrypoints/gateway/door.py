"""The listening socket, when more come than the system has room for."""

import errno
import logging
import os
from typing import Final

import trio

log = logging.getLogger(__name__)

NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
RETRY_AFTER_S: Final = 0.1
QUIET_FOR_S: Final = 60.0


class Door(trio.abc.Listener[trio.SocketStream]):
    """A listener that lets people wait outside while there is no room, and says so once a minute.

    `trio.serve_listeners` alone does the same, but logs a traceback ten times a second.
    """

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._quiet_until = -float("inf")

    async def accept(self) -> trio.SocketStream:
        """Return the next connection, however long that takes."""
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._complain(error.errno)
            await trio.sleep(RETRY_AFTER_S)

    async def aclose(self) -> None:
        """Close the listening socket."""
        await self._listener.aclose()

    def _complain(self, error: int) -> None:
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_FOR_S
            log.warning("No room for more connections, who comes now waits: %s", os.strerror(error))

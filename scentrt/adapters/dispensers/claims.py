"""Which device each name of a theatre file stands for: an address, of which no two names may share.

A device that is named twice, once by its serial number and once by its address, would be one
nozzle with the dose budgets of two seats. A serial number that two devices advertise could stand
for the one that is elsewhere, and is logged; only a key can tell which of them is genuine.
"""

import logging
import re

log = logging.getLogger(__name__)

REMEMBERED_FOR_S = 300.0
"""For so long it is remembered where a serial number was heard."""

_ADDRESS = re.compile(
    r"([0-9a-f]{2}:){5}[0-9a-f]{2}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)


def is_address(name: str) -> bool:
    """Say whether a name is an address, or the UUID that macOS has in place of one."""
    return _ADDRESS.fullmatch(name) is not None


class Claims:
    """What the radios of a server know together. Used in the asyncio thread; case is ignored."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        """The address of each name that stands for a device."""
        self._holders: dict[str, str] = {}
        """The name at each of these addresses, as it is written."""
        self._refused: dict[str, str] = {}
        """The address, held by another, of each name that was refused it."""
        self._heard: dict[str, dict[str, float]] = {}
        """When a serial number was last advertised, at each address; of those that were sought."""

    def seek(self, name: str) -> None:
        """Note from now on where a name is advertised."""
        self._heard.setdefault(name.casefold(), {})

    def hear(self, serial: str, address: str, now: float) -> None:
        """Note that a serial number is advertised at an address; a second one is logged."""
        heard = self._heard.get(serial.casefold())
        if heard is None:
            return
        for at, when in list(heard.items()):
            if now - when >= REMEMBERED_FOR_S:
                del heard[at]
        is_new = address not in heard
        heard[address] = now
        if is_new and len(heard) > 1:
            where = " and at ".join(sorted(heard))
            log.warning("%s answers at %s: name it by its address", serial, where)

    def problem(self, name: str) -> str | None:
        """Say why a name must not be used, if it must not, as the end of a sentence about it."""
        holder = self._holders.get(self._refused.get(name.casefold(), ""))
        if holder is not None:
            return f"is the same device as {holder}: leave it at one seat, under one name"
        return None

    def take(self, name: str, address: str) -> None:
        """Let a name stand for the device at an address; a `problem` where another name does."""
        key, address = name.casefold(), address.casefold()
        former = self._held.pop(key, None)
        if former is not None:
            del self._holders[former]
        self._refused.pop(key, None)
        if address in self._holders:
            self._refused[key] = address
        else:
            self._held[key] = address
            self._holders[address] = name

"""The dispensers of a whole theatre on one virtual air, for the server that will look for them."""

import re
from collections.abc import Mapping, Sequence
from itertools import count

from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from simulators.ble.air import Air
from simulators.ble.dispenser import SLOTS_AT_MOST, Dispenser, Identity, Vial
from simulators.ble.peripheral import Peripheral
from simulators.ble.places import nth_address

_ADDRESS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


class SimulatedHouse:
    """Dispensers called as a theatre calls them: by their addresses, or by what they advertise.

    `open` and `aclose` are called in the asyncio loop in which the dispensers are to live, each
    once. Whoever looks at a `Peripheral` from another thread sees it as it was a moment ago.
    """

    def __init__(self) -> None:
        self.peripherals: dict[str, Peripheral] = {}
        """By the names that were given to `open`."""
        self._air = Air()

    async def open(
        self, devices: Sequence[str], keys: Mapping[str, bytes]
    ) -> tuple[type[BaseBleakClient], type[BaseBleakScanner]]:
        """Switch on a dispenser for each of these names, and return bleak's ways to reach them."""
        await self._air.open()
        vials = [Vial(code) for code in range(1, SLOTS_AT_MOST + 1)]
        given = {name.upper() for name in devices if _ADDRESS.fullmatch(name)}
        made_up = (address for address in map(nth_address, count(1)) if address not in given)
        for name in devices:
            is_address = name.upper() in given
            serial = f"SIM-{name.replace(':', '')}" if is_address else name
            address = name.upper() if is_address else next(made_up)
            dispenser = Dispenser(Identity(serial), vials, key=keys.get(name))
            self.peripherals[name] = await self._air.add(dispenser, address)
        return self._air.client_backend, self._air.scanner_backend

    async def aclose(self) -> None:
        """Switch everything off."""
        await self._air.aclose()

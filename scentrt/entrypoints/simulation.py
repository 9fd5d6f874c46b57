"""The simulators, for the commands that play with them: they are no part of the server."""

import logging
from typing import TYPE_CHECKING

from scentrt.errors import ConfigError

if TYPE_CHECKING:
    from simulators.ble.house import SimulatedHouse


def simulated_radio(asked_by: str) -> "SimulatedHouse":
    """Return a simulated radio; raises `ConfigError` where what it takes is not installed."""
    try:
        from simulators.ble.house import SimulatedHouse
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "bumble":
            raise
        raise ConfigError(
            asked_by, "its simulated radio is Bumble's; install it: pip install 'scentrt[demo]'"
        ) from error
    # It warns of what was under way when a link ended, which is nobody's fault.
    logging.getLogger("bumble").setLevel(logging.ERROR)
    return SimulatedHouse()

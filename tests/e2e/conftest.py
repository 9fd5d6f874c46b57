"""Devices on the air, where a test needs no more of them than a few."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import House, OpenHouse
from tests.e2e.airwaves import Airwaves, watch
from tests.e2e.speaking import Speaker
from tests.e2e.theatres import one_row


@dataclass(frozen=True, slots=True)
class Row:
    """Three seats, A-1-1 to A-1-3, with slots for sea-breeze and forest.

    `desk` is an operator who hears what becomes of them.
    """

    radio: Airwaves
    house: House
    desk: Speaker


@pytest.fixture
async def row(open_house: OpenHouse, tmp_path: Path) -> AsyncIterator[Row]:
    """Run a house with one row, whose devices are connected."""
    radio = Airwaves()
    async with (
        open_house(airwaves=radio, theatre=one_row(tmp_path)) as house,
        watch(house.gateway_url) as desk,
    ):
        yield Row(radio, house, desk)

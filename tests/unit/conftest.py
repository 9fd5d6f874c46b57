"""What several tests of units have in common."""

from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from scentrt.domain.commands import CreateBatch
from tests.goods import SEA
from tests.unit.refill_office import B1, Office, open_office


@pytest.fixture
async def office(autojump_clock: MockClock) -> AsyncIterator[Office]:
    async with open_office() as office:
        await office.stage.handle(CreateBatch(B1, SEA, 10))
        yield office

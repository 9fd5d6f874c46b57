"""A real Redis for whoever asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.redis_server import RedisServer


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis of the test's own."""
    redis = RedisServer(tmp_path)
    redis.start()
    yield redis
    redis.kill()

"""Whatever is asked of a house, and whatever fails or dies meanwhile, it keeps its promises."""

import os

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.house_on_trial.archives import MemoryArchive, SqlArchive
from tests.integration.house_on_trial.histories import HouseHistories

SOAKS = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
"""A soak makes histories up; otherwise they are the same ones each time."""


class InMemory(HouseHistories):
    """Over all of a database but the disk, which is fast."""

    archive_type = MemoryArchive


class OnDisk(HouseHistories):
    """Over a database on disk."""

    archive_type = SqlArchive


@pytest.mark.soak
@pytest.mark.parametrize(("histories", "part"), [(InMemory, 8), (OnDisk, 100)])
def test_no_history_of_a_house_breaks_a_promise(histories: type[HouseHistories], part: int) -> None:
    examples = settings().max_examples // part
    as_often = settings(max_examples=examples, stateful_step_count=30, derandomize=not SOAKS)
    run_state_machine_as_test(histories, settings=as_often)

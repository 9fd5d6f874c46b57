"""Which device a name stands for, and when that is in doubt."""

import pytest

from scentrt.adapters.dispensers.claims import DOUBTED_FOR_S, Claims, is_address

HERE, THERE = "C4:00:00:00:00:01", "C4:00:00:00:00:02"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (HERE, True),
        (HERE.lower(), True),
        ("6F1C2E34-0A1B-4C5D-8E9F-001122334455", True),
        ("SD-0001", False),
        (HERE + ":03", False),
        ("", False),
    ],
)
def test_an_address_is_told_from_a_serial(name: str, *, is_one: bool) -> None:
    assert is_address(name) is is_one


def test_an_address_belongs_to_the_first_name_until_that_stands_for_another() -> None:
    claims = Claims()
    claims.take("SD-0001", HERE)
    claims.take(HERE.lower(), HERE)
    assert claims.problem("sd-0001", 0) is None
    problem = "is the same device as SD-0001: leave it at one seat, under one name"
    assert claims.problem(HERE, 0) == problem
    claims.take("SD-0001", HERE)
    assert claims.problem(HERE, 0) == problem
    claims.take("SD-0001", THERE)
    assert claims.problem(HERE, 0) is None


def test_a_second_address_of_a_serial_is_forgotten_when_nothing_was_heard_there_for_long() -> None:
    claims = Claims()
    claims.seek("SD-0001")
    claims.hear("SD-0001", HERE, 0)
    assert claims.problem("SD-0001", 0) is None
    claims.hear("sd-0001", THERE, 1)
    assert (
        claims.problem("SD-0001", 1) == f"answers at {HERE} and at {THERE}: name it by its address"
    )
    claims.hear("SD-0001", THERE, DOUBTED_FOR_S)
    assert claims.problem("SD-0001", DOUBTED_FOR_S) is None

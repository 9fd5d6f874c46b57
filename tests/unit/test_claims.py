"""Which device a name stands for, and when that is in doubt."""

import pytest

from scentrt.adapters.dispensers.claims import REMEMBERED_FOR_S, Claims, is_address

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
    assert claims.problem("sd-0001") is None
    problem = "is the same device as SD-0001: leave it at one seat, under one name"
    assert claims.problem(HERE) == problem
    claims.take("SD-0001", HERE)
    assert claims.problem(HERE) == problem
    claims.take("SD-0001", THERE)
    assert claims.problem(HERE) is None


def test_a_second_address_of_a_serial_is_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    claims = Claims()
    claims.seek("SD-0001")
    claims.hear("SD-0001", HERE, 0)
    assert caplog.messages == []
    for now in (1, 2, 3):
        claims.hear("SD-0001", THERE, now)
    assert caplog.messages == [f"SD-0001 answers at {HERE} and at {THERE}: name it by its address"]
    claims.hear("SD-0001", THERE, REMEMBERED_FOR_S)
    claims.hear("SD-0001", HERE, REMEMBERED_FOR_S)
    assert len(caplog.messages) == 2

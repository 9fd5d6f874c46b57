"""A test that needs a program is skipped where that is missing, but for CI, where it fails."""

import pytest

from tests.conftest import require


def test_where_a_program_is_missing_the_test_is_skipped_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is missing here: install"):
        require("no-such-program", "no-such-package")


def test_in_ci_a_missing_program_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-package"):
        require("no-such-program", "no-such-package")


@pytest.mark.parametrize("ci", ["", "true"])
def test_what_is_there_is_no_reason_to_skip(ci: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)
    require("sh", "dash")


@pytest.mark.needs("sh", "dash")
def test_a_test_whose_program_is_there_runs(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("needs") is not None

"""A session is known by its name, also for a while after it has ended."""

import pytest

from scentrt.domain.cues import OwnerId
from scentrt.entrypoints.gateway import session as sessions_module
from scentrt.entrypoints.gateway.session import Sessions


def test_a_session_is_known_by_name_while_it_lasts_and_of_those_that_ended_the_latest_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions_module, "MOST_FORMER", 2)
    sessions = Sessions()
    engine = sessions.open("engine", "my-game")
    former = [sessions.open("goggles", f"player-{number}") for number in range(4)]
    for session in former:
        sessions.close(session)
    sessions.close(former[0])  # again, which is no news
    assert sessions.name_of(engine.id) == "my-game"
    assert [sessions.name_of(each.id) for each in former] == [None, None, "player-2", "player-3"]
    assert sessions.name_of(OwnerId("s-nobody")) is None

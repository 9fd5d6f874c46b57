"""A session is known by its name, also for a while after it has ended, and knows its levels."""

import pytest

from scentrt.domain.cues import EVERYWHERE, LevelKey, OwnerId, Scent, ZoneId
from scentrt.domain.events import ACTIVE, ENDED
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


# What becomes of a level

A, B, GOGGLES = ZoneId("A"), ZoneId("B"), ZoneId("goggles")


def told(*news: tuple[ZoneId, str], zones: int = 2) -> list[str]:
    """Return what the sender of a level is told after each piece of news, where it is told."""
    session = Sessions().open("engine", "my-game")
    level = LevelKey(session.id, Scent("pine"), EVERYWHERE)
    session.level_sent(level, zones)
    return [said for zone, state in news if (said := session.level_changed(level, zone, state))]


def test_a_level_is_active_where_one_zone_has_it_whichever_says_so_first() -> None:
    assert told((GOGGLES, "offline"), (A, ACTIVE), (A, ENDED), (GOGGLES, ENDED)) == [ACTIVE, ENDED]
    assert told((A, ACTIVE), (GOGGLES, "offline"), (GOGGLES, ENDED), (A, ENDED)) == [ACTIVE, ENDED]
    assert told((A, ACTIVE), (B, ACTIVE), (A, ENDED), (B, ENDED)) == [ACTIVE, ENDED]


def test_a_level_that_is_nowhere_has_the_reason_of_those_who_could_once_all_have_given_theirs() -> (
    None
):
    assert told((B, "no-such-scent")) == []
    assert told((B, "no-such-scent"), (A, "dose-limit")) == ["dose-limit"]
    assert told((A, "dose-limit"), (GOGGLES, "offline")) == ["dose-limit"]
    assert told((B, "no-such-scent"), (GOGGLES, "offline"), (B, ENDED)) == ["offline", ENDED]


def test_a_level_that_was_stopped_in_its_only_zone_is_told_of_again_when_it_comes_again() -> None:
    assert told((A, ACTIVE), (B, "no-such-scent"), (A, ENDED), (A, "busy"), (A, ACTIVE)) == [
        ACTIVE,
        ENDED,
        "busy",
        ACTIVE,
    ]


def test_a_level_is_forgotten_when_it_has_ended_everywhere() -> None:
    session = Sessions().open("engine", "my-game")
    level = LevelKey(session.id, Scent("pine"), EVERYWHERE)
    for _ in range(2):
        session.level_sent(level, 2)
        news = [(A, ACTIVE), (B, "offline"), (A, ENDED), (B, ENDED)]
        assert [session.level_changed(level, *each) for each in news] == [ACTIVE, None, ENDED, None]
    assert session.level_changed(level, A, ENDED) is None

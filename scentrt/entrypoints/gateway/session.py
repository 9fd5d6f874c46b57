"""What a client asks for belongs to its session, which may outlive its connection."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from msgspec import structs

from scentrt.domain.cues import LevelKey, OwnerId, ZoneId
from scentrt.domain.events import ACTIVE, ENDED, LevelChanged
from scentrt.domain.seats import Skip
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.messages import Role, To

REMEMBERED_CUES: Final = 10_000
REMEMBERED_MS: Final = 5 * 60_000.0
"""How many cue ids, and for how long, get their first answer again."""

MOST_FORMER: Final = 10_000
"""Sessions whose names are remembered when they have ended: what they asked for is written down a
second later, and waits for the database longer."""

MOST_LEVELS: Final = 10_000
"""Levels that one session may hold at once; a frame of a game has some dozens."""

_LEAST_TELLING: Final[tuple[str, ...]] = (Skip.NO_SUCH_SCENT, Skip.OFFLINE)


@dataclass(slots=True)
class KnownCue:
    """A cue of this session: the zones that have it, and what was answered, once it was."""

    asked_ms: float
    zones: tuple[ZoneId, ...]
    answer: say.Accepted | None = None
    repeats: int = 0
    """How often it came again before it was answered."""

    def repeated(self) -> say.Accepted | None:
        """Return what is said to a duplicate, once there is an answer."""
        return self.answer and structs.replace(self.answer, duplicate=True)


@dataclass(slots=True)
class KnownLevel:
    """What becomes of a level in each of its `zones`, so many, and what its sender was told."""

    zones: int = 0
    by_zone: dict[ZoneId, str] = field(default_factory=dict)
    told: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended in all its zones, so that nothing more will be said of it."""
        states = self.by_zone.values()
        return len(states) >= self.zones and all(state == ENDED for state in states)

    def state_after(self, news: str) -> str | None:
        """Return the state of the whole after a zone's news; None where that is not known yet.

        It is active where it is so anywhere. Where it ends and is active nowhere, it has ended:
        zones that had nothing of it will say so, too. Otherwise it is known when all zones have
        said why nothing of it is sprayed, and the best reason is that of those who could.
        """
        if ACTIVE in self.by_zone.values():
            return ACTIVE
        if news == ENDED:
            return ENDED
        if len(self.by_zone) < self.zones:
            return None
        return max((state for state in self.by_zone.values() if state != ENDED), key=_telling)


class Session:
    """Remember what must be known again when the client repeats itself or comes back.

    The id is a secret of the client's: who knows it may take the session up.
    """

    def __init__(self, id: OwnerId, role: Role, name: str) -> None:
        self.id = id
        self.role = role
        self.name = name
        self._tell: Callable[[say.ServerMessage], None] = _to_nobody
        self._cues: OrderedDict[str | int, KnownCue] = OrderedDict()
        # By the hash of their keys: ten thousand keys, with all the names in them, take gigabytes.
        self._levels: OrderedDict[int, KnownLevel] = OrderedDict()

    def tell(self, message: say.ServerMessage) -> None:
        """Tell the client, over the connection it has by now; without one it is lost."""
        self._tell(message)

    def pick_up(self, tell: Callable[[say.ServerMessage], None]) -> None:
        """Be connected in this way from now on."""
        self._tell = tell

    def hang_up(self) -> None:
        """Be without a connection from now on."""
        self._tell = _to_nobody

    def cue(self, id: str | int, now_ms: float) -> KnownCue | None:
        """Return a cue of this id, unless it is so old that the id may be used again."""
        known = self._cues.get(id)
        if known is not None and known.asked_ms < now_ms - REMEMBERED_MS:
            del self._cues[id]
            return None
        return known

    def remember(self, id: str | int, cue: KnownCue) -> None:
        """Know a cue from now on."""
        self._cues[id] = cue
        while len(self._cues) > REMEMBERED_CUES:
            self._cues.popitem(last=False)

    def forget(self, id: str | int) -> None:
        """Forget a cue that was not taken, so that its id may be tried again."""
        self._cues.pop(id, None)

    def level_sent(self, key: LevelKey, zones: int) -> None:
        """Note that so many zones will say what becomes of a level, each when that changes."""
        self._level(hash(key)).zones = zones

    def level_changed(self, key: LevelKey, zone: ZoneId | None, state: str) -> str | None:
        """Note what becomes of a level in a zone (None: in none, since it was refused).

        Return what its sender is to be told, or None where that is nothing new.
        """
        hashed = hash(key)
        if state == ENDED and hashed not in self._levels:
            return None
        known = self._level(hashed)
        if zone is None:
            whole: str | None = state
        else:
            known.by_zone[zone] = state
            whole = known.state_after(state)
            if known.is_over:
                del self._levels[hashed]
        if whole in (None, known.told):
            return None
        known.told = whole
        return whole

    def _level(self, hashed: int) -> KnownLevel:
        known = self._levels.get(hashed)
        if known is None:
            known = self._levels[hashed] = KnownLevel()
            if len(self._levels) > MOST_LEVELS:
                self._levels.popitem(last=False)
        return known


class Sessions:
    """All sessions there are, with a connection or waiting for their client to come back."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._former: OrderedDict[OwnerId, str] = OrderedDict()

    def open(self, role: Role, name: str) -> Session:
        """Begin a new session, under an id that nobody can guess."""
        session = Session(OwnerId(f"s-{secrets.token_hex(16)}"), role, name)
        self._sessions[session.id] = session
        return session

    def name_of(self, id: OwnerId) -> str | None:
        """Return the hello name of a session, also of one that has ended not too long ago."""
        session = self._sessions.get(id)
        return self._former.get(id) if session is None else session.name

    def resume(self, id: str | None, role: Role, name: str) -> Session | None:
        """Return the session of this id if it is there still, and of this role and name."""
        session = self._sessions.get(id or "")
        if session is None or (session.role, session.name) != (role, name):
            return None
        return session

    def close(self, session: Session) -> None:
        """End a session for good."""
        if self._sessions.pop(session.id, None) is not None:
            self._former[session.id] = session.name
            if len(self._former) > MOST_FORMER:
                self._former.popitem(last=False)

    def tell_level(self, zone: ZoneId, change: LevelChanged) -> None:
        """Tell the sender of a level when what becomes of it, over all zones, has changed."""
        level = change.level
        session = self._sessions.get(level.owner)
        if session is not None:
            state = session.level_changed(level, zone, change.state)
            if state is not None:
                to = To.of(level.target)
                session.tell(say.LevelState(scent=level.scent, to=to, state=state))


def _telling(reason: str) -> tuple[int, str]:
    """Return how much a reason tells, least that of a zone that does not have the scent at all."""
    rank = _LEAST_TELLING.index(reason) if reason in _LEAST_TELLING else len(_LEAST_TELLING)
    return rank, reason


def _to_nobody(_: say.ServerMessage) -> None:
    """Nobody is there."""

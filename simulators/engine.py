"""A game session: an explorer walks through forest, street, night club and beach.

What a game knows is pure: where the explorer is (`Walk`), how strongly each place smells there
(`levels_at`), and what happens on the way (`happenings`). The same seed is the same session.
`play` streams it as a game engine would: levels with every frame, cues when something happens.
"""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import trio

from simulators.client import Client, Message, Refused, plain_nursery
from simulators.tally import Tally

FRAMES_PER_S = 60
LAP_S = 20.0
LEVEL_TTL_MS = 500.0
AMBIENT = 0.15
"""How strong a place is at its heart: air, and not an event, so that a seat's dose lasts."""

CLOCK_PINGS = 5
SETTLE_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere that smells: strongest at its heart, of nothing from `reach_m` on.

    `heart` is a point of the map, x + yj in metres. Now and then something `happens` there, which
    the game knows `foreseen_ms` before: a wave is seen coming, a door opens as it opens.
    """

    scent: str
    heart: complex
    reach_m: float
    happens: str
    foreseen_ms: float


MAP = (
    Place("forest", 4 + 14j, 9, "a twig breaks", 0),
    Place("jungle", -9 + 11j, 8, "a bird flies up", 0),
    Place("busy-street", -13 - 3j, 9, "a bus goes by", 300),
    Place("nightclub", -3 - 11j, 7, "the door opens", 0),
    Place("sea-breeze", 12 - 4j, 12, "a wave breaks", 250),
)


@dataclass(frozen=True, slots=True)
class Walk:
    """A way through all places of a map and back, lap after lap, swaying a little."""

    places: Sequence[Place]
    start: float
    """Where it begins, as a share of the lap."""
    sway: complex
    """How far aside it goes half-way between two places, in metres."""

    @classmethod
    def of(cls, seed: int, places: Sequence[Place] = MAP) -> Self:
        """Return the walk of a seed."""
        chance = random.Random(f"walk {seed}")
        return cls(places, chance.random(), complex(chance.uniform(-2, 2), chance.uniform(-2, 2)))

    def position(self, t_s: float) -> complex:
        """Return where the explorer is, t_s seconds after the start: x + yj in metres.

        The way is continuous and closed: a uniform Catmull-Rom spline through the hearts, each
        passed at the same interval. `LAP_S` later the explorer is there again.
        """
        count = len(self.places)
        lap = t_s / LAP_S + self.start
        leg, along = divmod(lap * count, 1)
        a, b, c, d = (self.places[(int(leg) + i) % count].heart for i in (-1, 0, 1, 2))
        spline = (
            2 * b
            + (c - a) * along
            + (2 * a - 5 * b + 4 * c - d) * along**2
            + (3 * b - a - 3 * c + d) * along**3
        ) / 2
        return spline + self.sway * 4 * along * (1 - along)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happens `at_s` seconds into the session, and smells for `duration_ms`."""

    at_s: float
    place: Place
    intensity: float
    duration_ms: float

    @property
    def known_at_s(self) -> float:
        """When the game knows of it, and can ask for its scent."""
        return max(0.0, self.at_s - self.place.foreseen_ms / 1000)


def levels_at(position: complex, places: Iterable[Place]) -> dict[str, float]:
    """Return how strongly each scent is smelled there: 0 to `AMBIENT`, smooth to its very end."""
    return {
        place.scent: round(
            AMBIENT * max(0.0, 1 - (abs(position - place.heart) / place.reach_m) ** 2) ** 2, 3
        )
        for place in places
    }


def happenings(seed: int, seconds: float, walk: Walk) -> list[Happening]:
    """Return what happens on a walk, each at the place that is then nearest, in order."""
    chance = random.Random(f"happenings {seed}")
    happened = []
    at_s = chance.uniform(0.2, 1.0)
    while at_s < seconds:
        here = walk.position(at_s)
        place = min(walk.places, key=lambda place: abs(here - place.heart))
        intensity = round(chance.uniform(0.3, 0.8), 2)
        happened.append(Happening(at_s, place, intensity, round(chance.uniform(300, 800))))
        at_s += chance.uniform(1, 3)
    return sorted(happened, key=lambda happening: happening.known_at_s)


def next_frame(frame: int, elapsed_s: float) -> int:
    """Return the frame after this one, without those that are over already.

    A game that was held up shows the present: it neither catches up in a burst, nor drifts.
    """
    return max(frame + 1, int(elapsed_s * FRAMES_PER_S))


def places_for(zones: Iterable[Message], to: Message) -> list[Place]:
    """Return the places whose scents are carried by the zones meant; all zones, unless named."""
    named = to.get("zones")
    meant = [zone for zone in zones if named is None or zone["zone"] in named]
    return [place for place in MAP if any(place.scent in zone["scents"] for zone in meant)]


async def play(client: Client, *, seed: int, seconds: float, to: Message, tally: Tally) -> None:
    """Play one session of so many seconds to the seats of `to`, and count in `tally`.

    It takes the client's events for itself. At the end it ends its levels, and waits, at most
    3 s, for the answers and reports that are still due. Raises `ValueError` where the zones carry
    none of the map's scents, and `Closed`.
    """
    places = places_for(client.zones, to)
    if not places:
        known = ", ".join(place.scent for place in MAP)
        raise ValueError(f"none of the zones meant carries any of: {known}")
    for _ in range(CLOCK_PINGS):
        await client.ping()
    session = _Session(client, to, tally)
    async with plain_nursery() as nursery:
        nursery.start_soon(session.listen)
        await session.stream(nursery, Walk.of(seed, places), seed, seconds)
        with trio.move_on_after(SETTLE_WITHIN_S):
            await session.settled()
        nursery.cancel_scope.cancel()
    tally.missed += client.missed


class _Session:
    """The streaming of one `play`, and what it still waits for."""

    def __init__(self, client: Client, to: Message, tally: Tally) -> None:
        self._client = client
        self._to = to
        self._tally = tally
        self._due = 0
        """Answers and reports that have not come yet."""
        self._came = trio.Event()
        self._smelled: set[str] = set()

    async def stream(self, nursery: trio.Nursery, walk: Walk, seed: int, seconds: float) -> None:
        """Send a frame every 60th of a second, each at its time counted from the start."""
        ahead = deque(happenings(seed, seconds, walk))
        server_start_ms = self._client.server_now()
        start = trio.current_time()
        frame, frames = 0, round(seconds * FRAMES_PER_S)
        while frame < frames:
            t_s = frame / FRAMES_PER_S
            await trio.sleep_until(start + t_s)
            while ahead and ahead[0].known_at_s <= t_s:
                happening = ahead.popleft()
                nursery.start_soon(self._ask, happening, server_start_ms)
            await self._send_levels(levels_at(walk.position(t_s), walk.places))
            self._tally.frames += 1
            following = min(next_frame(frame, trio.current_time() - start), frames)
            self._tally.frames_missed += following - frame - 1
            frame = following
        await self._send_levels({})

    async def listen(self) -> None:
        """Count what the server says unasked."""
        async for message in self._client.events():
            match message["type"]:
                case "report":
                    self._tally.take_report(message)
                    self._settle()
                case "level-state":
                    self._tally.level_states[message["state"]] += 1
                case "error":
                    self._tally.refused[message["code"]] += 1

    async def settled(self) -> None:
        """Wait until every answer and report that is due has come."""
        while self._due:
            self._came = trio.Event()
            await self._came.wait()

    def _settle(self) -> None:
        self._due -= 1
        self._came.set()

    async def _send_levels(self, levels: dict[str, float]) -> None:
        """Send what is smelled, and a last 0 for what no longer is."""
        smelled = {scent for scent, intensity in levels.items() if intensity > 0}
        for scent in sorted(smelled | self._smelled):
            intensity = levels.get(scent, 0.0)
            await self._client.level(scent, intensity, self._to, ttl_ms=LEVEL_TTL_MS)
            self._tally.levels += 1
        self._smelled = smelled

    async def _ask(self, happening: Happening, server_start_ms: float) -> None:
        """Ask for the scent of a happening, ahead of time where it was foreseen."""
        place = happening.place
        self._tally.cues += 1
        self._due += 1
        asked = trio.current_time()
        try:
            accepted = await self._client.cue(
                place.scent,
                self._to,
                intensity=happening.intensity,
                duration_ms=happening.duration_ms,
                at=server_start_ms + happening.at_s * 1000 if place.foreseen_ms else None,
                mix=True,
                report=True,
            )
        except Refused as refusal:
            self._tally.refused[refusal.code] += 1
            self._settle()
        else:
            # What was due as the answer is now due as the report.
            self._tally.take_accepted(accepted, (trio.current_time() - asked) * 1000)

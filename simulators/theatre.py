"""A whole house: its plan as a file for the server, and everybody who uses it in one evening.

`plan` writes a theatre of any size. `play_house` brings engines, goggles and an operator to a
server, plays, and counts: a load for the server, and a rehearsal of what happens together.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from json import dumps

import trio

from simulators.client import JSON, Client, Closed, Message, Role, open_client, plain_nursery
from simulators.engine import MAP, play
from simulators.goggles import Goggles, Vial, crowd
from simulators.tally import Tally

SCENTS = tuple(place.scent for place in MAP)
STOPS_AFTER = 0.5
"""When the operator stops the first zone, as a share of the show."""


def zone_names() -> Iterator[str]:
    """Name zones as spreadsheets name columns: A to Z, AA, AB and so on, without end."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    yield from letters
    for head in zone_names():
        yield from (head + letter for letter in letters)


def plan(
    *,
    zones: int,
    rows: int,
    seats_per_row: int,
    slots: Sequence[str] = SCENTS,
    name: str = "Simulated house",
) -> str:
    """Return a theatre as TOML, for `scentrt serve --theatre`: so many equal zones."""
    # Names and scents are written as JSON strings, which are TOML strings too.
    blocks = [f"name = {dumps(name)}"]
    blocks += [
        "\n".join(
            (
                "[[zones]]",
                f"id = {dumps(zone)}",
                f"rows = {rows}",
                f"seats_per_row = {seats_per_row}",
                f"slots = {dumps(list(slots))}",
            )
        )
        for zone in islice(zone_names(), zones)
    ]
    return "\n\n".join(blocks) + "\n"


@dataclass(frozen=True, slots=True)
class Evening:
    """A server, and who comes to it. The same seed is the same evening."""

    url: str
    engines: int = 1
    goggles: int = 10
    dispensers: bool = False
    """Whether the goggles spray by themselves."""
    seconds: float = 20.0
    seed: int = 1
    subprotocol: str = JSON
    tokens: dict[Role, str] = field(default_factory=dict)


async def play_house(evening: Evening, tally: Tally) -> None:
    """Play an evening: engines, before a crowd and an operator.

    A single engine plays to everybody, several take turns at the zones and, where they spray by
    themselves, the goggles.

    The operator watches everything, stops the first zone once in the middle, and stops the house
    at the end. Who loses the connection is counted, and the others play on. Raises
    `NotConnected`, `Refused` where somebody is not let in, and `ValueError` where the zones carry
    none of the map's scents.
    """
    seated = partial(
        crowd,
        evening.url,
        evening.goggles,
        dispenser=[Vial(scent) for scent in SCENTS] if evening.dispensers else None,
        zones=None,
        token=evening.tokens.get("goggles"),
        subprotocol=evening.subprotocol,
        tally=tally,
    )
    over = trio.Event()
    async with plain_nursery() as audience:
        worn: list[Goggles] = await audience.start(seated)
        players = [goggles.name for goggles in worn] if evening.dispensers else []
        async with plain_nursery() as staff:
            await staff.start(partial(_operate, evening, over, tally))
            async with plain_nursery() as stage:
                for number in range(evening.engines):
                    stage.start_soon(_engine, evening, number, players, tally)
            over.set()
        audience.cancel_scope.cancel()


async def _engine(evening: Evening, number: int, players: list[str], tally: Tally) -> None:
    """Play one session to the audience whose turn it is."""
    try:
        async with _enter(evening, "engine", f"engine-{number + 1}") as client:
            audiences = _audiences(client, players)
            to = {"all": True} if evening.engines == 1 else audiences[number % len(audiences)]
            seed = evening.seed + number
            await play(client, seed=seed, seconds=evening.seconds, to=to, tally=tally)
    except Closed as closed:
        tally.closed[str(closed)] += 1


async def _operate(
    evening: Evening,
    over: trio.Event,
    tally: Tally,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Watch the house until it is over, and stop things."""
    async with _enter(evening, "operator", "operator") as client:
        await client.ping()
        await client.subscribe("scent", "zone")
        task_status.started()
        try:
            async with plain_nursery() as nursery:
                nursery.start_soon(_watch, client, tally)
                await trio.sleep(evening.seconds * STOPS_AFTER)
                await _stop(client, _audiences(client, [])[0], tally)
                await over.wait()
                await _stop(client, {"all": True}, tally)
                nursery.cancel_scope.cancel()
        except Closed as closed:
            tally.closed[str(closed)] += 1
        finally:
            tally.missed += client.missed


async def _watch(client: Client, tally: Tally) -> None:
    async for message in client.events():
        if message["type"] == "scent":
            tally.take_scent(message, client.server_now())


async def _stop(client: Client, to: Message, tally: Tally) -> None:
    asked = trio.current_time()
    tally.stopped += await client.stop(to)
    tally.stop_ms.append((trio.current_time() - asked) * 1000)


def _enter(evening: Evening, role: Role, name: str) -> AbstractAsyncContextManager[Client]:
    return open_client(
        evening.url,
        role=role,
        name=name,
        token=evening.tokens.get(role),
        subprotocol=evening.subprotocol,
    )


def _audiences(client: Client, players: list[str]) -> list[Message]:
    """Return whom engines play to, in turn: each zone, and the players whose goggles spray."""
    zones: list[Message] = [{"zones": [zone["zone"]]} for zone in client.zones]
    return [*zones, {"goggles": players}] if players else zones

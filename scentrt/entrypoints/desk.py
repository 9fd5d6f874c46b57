"""An operator's desk: what a command asks of a server that runs, over the public protocol."""

from typing import TypeVar

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket

from scentrt.domain.cues import Scent, SeatId
from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.errors import ConfigError, DatabaseInUse

T = TypeVar("T", bound=say.ServerMessage)

ANSWERED_WITHIN_S = 5.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Desk:
    """A connection for one question, as an operator."""

    def __init__(self, host: str, port: int, token: str | None) -> None:
        self._host = EVERYWHERE.get(host, host)
        self._port = port
        self._token = token

    async def puff(
        self,
        seat: SeatId,
        scent: Scent,
        intensity: float,
        duration_ms: float,
        in_use: DatabaseInUse,
    ) -> tuple[say.Accepted, say.Report | None]:
        """Ask for a cue at one seat; return what was decided, and what came of it.

        Raises `ConfigError` where no server answers, although one holds the database, and where
        it refuses.
        """
        cue = hear.SendCue(
            id="puff",
            scent=scent,
            intensity=intensity,
            duration_ms=duration_ms,
            to=hear.To(seats=(seat,)),
            report=True,
        )
        hello = hear.Hello(
            id="hello", protocol=1, role="operator", name="scentrt devices", token=self._token
        )
        address = f"{self._host}:{self._port}"
        try:
            with trio.fail_after(ANSWERED_WITHIN_S + duration_ms / 1000):
                async with open_websocket(self._host, self._port, "/", use_ssl=False) as connection:
                    await connection.send_message(_text(hello))
                    _expect(say.Welcome, await connection.get_message())
                    await connection.send_message(_text(cue))
                    accepted = _expect(say.Accepted, await connection.get_message())
                    if not accepted.targets:
                        return accepted, None
                    return accepted, _expect(say.Report, await connection.get_message())
        except (OSError, trio.TooSlowError, HandshakeError, ConnectionClosed) as error:
            raise ConfigError(
                in_use.where,
                f"{in_use.problem}; nor does that server answer at {address}: name where it "
                "listens with --gateway HOST:PORT",
            ) from error


def _text(message: hear.ClientMessage) -> str:
    return msgspec.json.encode(message).decode()


def _expect(kind: type[T], frame: str | bytes) -> T:
    said: say.ServerMessage = msgspec.json.decode(frame, type=say.ServerMessage)
    if isinstance(said, kind):
        return said
    if isinstance(said, say.Error):
        raise ConfigError("the server", said.message)
    raise ConfigError("the server", f"says {said!r}, which nobody has asked")

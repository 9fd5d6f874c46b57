"""Goggles that dispense by themselves, as the gateway sees them: a device behind a connection."""

from typing import Protocol

from scentrt.domain.cues import SeatId, Spray
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.stream import FrameStream
from scentrt.entrypoints.gateway.wire import Codec


class Headset:
    """Tell goggles what to spray, over their own connection.

    Of a level they get the newest step when they are slow, and a stop overtakes steps that wait.
    """

    def __init__(self, stream: FrameStream, codec: Codec) -> None:
        self._stream = stream
        self._codec = codec

    def spray(self, spray: Spray) -> None:
        """Tell them of a spray, or of a level's newest step."""
        if spray.cue is None:
            level = say.LevelSlot(
                slot=spray.slot, intensity=spray.intensity, ttl_ms=spray.duration_ms
            )
            self._stream.push_latest(spray.slot, self._codec.encode(level))
        else:
            self._stream.forget(spray.slot)
            order = say.SpraySlot(
                cue=spray.cue.id,
                slot=spray.slot,
                intensity=spray.intensity,
                duration_ms=spray.duration_ms,
            )
            self._stream.push(self._codec.encode(order))

    def halt(self, slot: int | None) -> None:
        """Tell them to close a slot, or all of them."""
        if slot is None:
            self._stream.forget_latest()
        else:
            self._stream.forget(slot)
        self._stream.push(self._codec.encode(say.StopSlot(slot=slot)))


class Headsets(Protocol):
    """The dispensers of the goggles' zone, to which a connection adds its own."""

    def connect(self, seat: SeatId, headset: Headset) -> None:
        """Send what these goggles are to spray to this headset from now on."""

    def disconnect(self, seat: SeatId, headset: Headset) -> None:
        """Forget a headset, unless a newer one has taken its place."""

    def sprayed(self, seat: SeatId, cue: str | int, *, ok: bool) -> None:
        """Take the goggles' word for what became of a spray."""

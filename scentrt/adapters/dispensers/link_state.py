"""What is known of a link to a dispenser, and of the dispenser."""

from dataclasses import dataclass

from scentrt.adapters.dispensers.gatt import SlotReading


@dataclass(frozen=True, slots=True)
class LinkState:
    """What is known of a device and the link to it; of the device, as it last said."""

    online: bool = False
    stuck: bool = False
    """A slot does not close although it was told to three times."""
    fault: bool = False
    """The device says that it has a fault."""
    slots: tuple[SlotReading, ...] = ()
    readings: int = 0
    """How often it has told of its slots: to say the same again is news, too."""
    battery_percent: int | None = None
    firmware: str | None = None
    latency_ms: float | None = None
    """From the order to the end of its write, smoothed; noted every two seconds at least."""
    expired: int = 0
    """Sprays that were dropped since they had waited too long."""
    impostor: bool = False
    """What answered there could not prove that it is the device; until the device is back."""
    problem: str | None = None
    """Why there is no connection, where it should have been made."""

    def left_us(self) -> dict[int, int]:
        """Return what the device says is left in its slots, as far as it can say how much."""
        return {
            reading.slot: left_us
            for reading in self.slots
            if (left_us := reading.left_us) is not None
        }

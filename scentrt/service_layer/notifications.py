"""How the system tells people something."""

from abc import ABC, abstractmethod


class AbstractNotifications(ABC):
    """A way to tell somebody something."""

    @abstractmethod
    async def send(self, destination: str, message: str) -> None:
        """Tell `destination`, an e-mail address, a message of one or more lines.

        Raises:
          DeliveryFailed: it did not go out now; it may go out later.
          Undeliverable: it will never go out, to this address or as it is.
        """

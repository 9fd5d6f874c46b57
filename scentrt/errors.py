"""What can go wrong, in one tree.

::

    ScentError
    ├── ConfigError          settings or theatre file cannot be used; says which line or field
    │   └── DatabaseInUse    a server runs on this database already
    ├── StoreUnavailable     the database did not take or give something
    ├── PanicAgain           a panic was called while another was being released
    ├── UnknownName          nobody in the house is called so
    │   ├── UnknownZone
    │   ├── UnknownSeat
    │   ├── UnknownGoggles
    │   └── UnknownScent
    └── ActorError           an actor cannot answer
        ├── Busy             its mailbox is full; try again after `retry_after_ms`
        ├── ActorCrashed     it failed while the message was its to answer
        └── ActorStopped     it has ended, and takes nothing more
"""


class ScentError(Exception):
    """The root: whoever catches this catches all that ScentRT raises on purpose."""


class ConfigError(ScentError):
    """Say what cannot be used, where it stands, and what to write instead.

    `where` is a field, an option or a place in a file; `problem` is the sentence for the user.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class DatabaseInUse(ConfigError):
    """Another process holds the database."""


class StoreUnavailable(ScentError):
    """The database could not be read or written; nothing of the attempt remains in it."""


class PanicAgain(ScentError):
    """Somebody has called a panic while an earlier one was being released. It remains."""

    def __init__(self) -> None:
        super().__init__("a new panic was called meanwhile")


class UnknownName(ScentError):
    """Nobody in the house is called `name`."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(problem)
        self.name = name


class UnknownZone(UnknownName):
    """There is no such zone."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"there is no zone {name!r}")


class UnknownSeat(UnknownName):
    """There is no such seat."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"there is no seat {name!r}")


class UnknownGoggles(UnknownName):
    """No goggles of this name have connected."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no goggles called {name!r} have connected")


class UnknownScent(UnknownName):
    """No zone carries the scent."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"no zone carries {name!r}")


class ActorError(ScentError):
    """An actor cannot answer; `actor` is its name."""

    def __init__(self, actor: str, problem: str) -> None:
        super().__init__(f"{actor} {problem}")
        self.actor = actor


class Busy(ActorError):
    """The mailbox is full. Nothing was taken; the same message may be sent again."""

    def __init__(self, actor: str, retry_after_ms: float) -> None:
        super().__init__(actor, f"has a full mailbox, try again in {retry_after_ms:g} ms")
        self.retry_after_ms = retry_after_ms


class ActorCrashed(ActorError):
    """The actor failed before it answered. It may have acted on the message in part."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, "failed and is being restarted")


class ActorStopped(ActorError):
    """The actor has ended. Nothing was taken."""

    def __init__(self, actor: str) -> None:
        super().__init__(actor, "has stopped")

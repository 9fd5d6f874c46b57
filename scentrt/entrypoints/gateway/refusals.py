"""What a client is told where something cannot be done."""

from msgspec import UNSET, UnsetType

from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.wire import BadMessage


def misread(bad: BadMessage) -> say.Error:
    """Return the answer to a frame that holds no message."""
    return say.Error(re=_re(bad.re), code=bad.code, message=bad.message)


def not_authenticated(re: str | int | None, message: str) -> say.Error:
    """Return the refusal of whoever has not said a hello that is in order."""
    return say.Error(re=_re(re), code="not-authenticated", message=message)


def slower(re: str | int | None, retry_after_ms: float) -> say.Error:
    """Return the refusal of a message too many."""
    return say.Error(
        re=_re(re),
        code="rate-limited",
        message="too many messages a second on this connection",
        retryable=True,
        retry_after_ms=retry_after_ms,
    )


def panic(re: str | int) -> say.Error:
    """Return the refusal of whatever a panic forbids."""
    return say.Error(
        re=re,
        code="panic",
        message="everything is stopped until an operator sends release",
    )


def internal(re: str | int, message: str) -> say.Error:
    """Return the answer to a request that failed through no fault of the client's."""
    return say.Error(re=re, code="internal", message=message, retryable=True)


def busy(re: str | int, retry_after_ms: float) -> say.Error:
    """Return the refusal of what found no room in a mailbox."""
    return say.Error(
        re=re,
        code="busy",
        message="too much waits there, send it again in a moment",
        retryable=True,
        retry_after_ms=retry_after_ms,
    )


def _re(re: str | int | None) -> str | int | UnsetType:
    return UNSET if re is None else re

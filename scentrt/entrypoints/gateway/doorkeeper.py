"""Who may come in: tokens and origins."""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from scentrt.entrypoints.gateway.messages import Role

TOKEN_PREFIX = "scentrt_"  # so that a token is known for what it is where it should not be


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token that the server knows, by its hash: the token itself is stored nowhere."""

    role: Role
    sha256: str


def new_token() -> str:
    """Return a new token of 256 random bits; a plain hash of so many needs no salt."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return what the configuration keeps of a token: its SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


class Doorkeeper:
    """Decide who comes in. Without any token of a role, where none is required, all may."""

    def __init__(self, tokens: Collection[TokenEntry], origins: Collection[str]) -> None:
        self._tokens = tuple(tokens)
        self._origins = frozenset(origins)

    def lets_in(self, role: Role, token: str | None) -> bool:
        """Say whether this token opens this role; takes as long for any wrong token."""
        if not self._tokens:
            return True
        presented = hash_token(token or "")
        matches = [
            hmac.compare_digest(entry.sha256, presented) and entry.role == role
            for entry in self._tokens
        ]
        return any(matches)

    def allows_origin(self, origin: str | None) -> bool:
        """Say whether a page from this origin may connect; what is no page has no origin."""
        return origin is None or origin in self._origins

"""The secrets of a theatre: the keys by which its devices prove who they are.

They are in a file of their own, in TOML, that nobody but its owner may read::

    [keys]
    SD-0001 = "00112233445566778899aabbccddeeff"
    "C0:FF:EE:00:00:01" = "ffeeddccbbaa99887766554433221100"

Each device is called as in the theatre file. Nothing in a message tells a key.
"""

import logging
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from scentrt.domain.cues import SeatId
from scentrt.domain.layout import TheatrePlan
from scentrt.errors import ConfigError
from scentrt.wording import Section, config_error

log = logging.getLogger(__name__)

SHORTEST_KEY, LONGEST_KEY = 16, 64
"""Bytes of a key: fewer could be guessed, and more than a block of SHA-256 add nothing."""


class _SecretsFile(Section):
    keys: Annotated[dict[str, str], Field(max_length=10_000)] = Field(default={})


def secrets_beside(theatre: Path | None) -> Path | None:
    """Return the secrets that lie beside a theatre file, if there are any: `roxy.secrets.toml`."""
    if theatre is None:
        return None
    path = theatre.with_suffix(".secrets.toml")
    return path if path.exists() else None


def load_keys(path: Path, plan: TheatrePlan) -> Mapping[SeatId, bytes]:
    """Return the key of each seat's device, for those that have one.

    A key for a device that the theatre does not have is a spare's, or misspelt: that is logged.
    Raises `ConfigError`, also where others than the owner may read the file.
    """
    seat_of = {
        device.name.casefold(): seat for zone in plan.zones for seat, device in zone.devices.items()
    }
    keys: dict[SeatId, bytes] = {}
    for name, text in _read(path).items():
        seat = seat_of.get(name.casefold())
        key = _key(f"{path}: keys.{name}", text)
        if seat is None:
            log.warning("%s: keys: no seat has a device %r; is that a spare?", path, name)
        elif seat in keys:
            raise ConfigError(f"{path}: keys", f"{name!r} is there twice; leave one")
        else:
            keys[seat] = key
    return keys


def _read(path: Path) -> Mapping[str, str]:
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(str(path), f"can be read by others; run: chmod 600 {path}")
        return _SecretsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).keys
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from error
    except ValidationError as error:
        raise config_error(str(path), error, _SecretsFile) from None


def _key(where: str, text: str) -> bytes:
    expected = f"expected {2 * SHORTEST_KEY} to {2 * LONGEST_KEY} hexadecimal digits"
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ConfigError(where, expected) from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ConfigError(where, expected)
    return key

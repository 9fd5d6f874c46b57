"""Settings: options beat the environment, the environment beats `scentrt.toml`, that the defaults.

An environment variable is called `SCENTRT_` and the field, with two underscores for a dot:
`SCENTRT_GATEWAY__PORT=9000`; an empty one counts as not set. Whatever cannot be used is a
`ConfigError` that names the field.
"""

import ipaddress
import json
import logging
import os
import re
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from scentrt.domain.cues import GOGGLES_ZONE, Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.layout import DEFAULT_THEATRE, TheatrePlan, ZonePlan
from scentrt.errors import ConfigError

log = logging.getLogger(__name__)

CONFIG_FILE = Path("scentrt.toml")

_WELCOME_ROOM, _WELCOME_ZONE = 30_000, 48
"""A welcome names all zones in one frame of under 32 KiB; what a zone takes but for its names."""


def _is(pattern: str, what: str) -> AfterValidator:
    """Return a validator that says in words what it wants, where a pattern would say nothing."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(what)
        return text

    return AfterValidator(check)


Port = Annotated[int, Field(ge=0, le=65_535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySection(_Section):
    """Where game engines, goggles and operators connect. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 8765
    origins: tuple[str, ...] = ()
    """Web pages that may connect, as browsers name them: `https://play.example.com`."""
    max_silence_ms: Annotated[int, Field(ge=500, le=600_000)] = 5_000


class HttpSection(_Section):
    """Where the HTTP server listens. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 5005


class LimitsSection(_Section):
    """What no seat and no connection exceeds; doses in seconds at full intensity."""

    messages_per_s: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    dose_per_minute_s: Annotated[float, Field(gt=0, le=60)] = 20
    dose_per_hour_s: Annotated[float, Field(gt=0, le=3_600)] = 300
    clearing_s: Annotated[float, Field(ge=0, le=600)] = 2
    max_spray_ms: Annotated[int, Field(ge=1, le=60_000)] = 10_000

    def of_seats(self) -> Limits:
        """Return the limits of a seat, as the domain counts them."""
        return Limits(
            dose_per_minute_us=int(self.dose_per_minute_s * US_PER_S),
            dose_per_hour_us=int(self.dose_per_hour_s * US_PER_S),
            clearing_ms=self.clearing_s * 1000,
            max_spray_ms=self.max_spray_ms,
        )


class TokenSection(_Section):
    """A token by its hash, as `scentrt token new` prints it."""

    role: Literal["engine", "goggles", "operator"]
    sha256: Annotated[str, _is(r"[0-9a-f]{64}", "the hash of a token ('scentrt token new')")]
    name: str = ""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="SCENTRT_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    db: str = "scentrt.db"
    """A path, or an SQLAlchemy URL of an SQLite database."""
    theatre: Path | None = None
    simulate: bool = False
    gateway: GatewaySection = GatewaySection()
    http: HttpSection = HttpSection()
    limits: LimitsSection = LimitsSection()
    tokens: tuple[TokenSection, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources; the file is `scentrt.toml` where the server is started."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=CONFIG_FILE)
        return init_settings, env_settings, _older_names(settings_cls), file

    def check_exposure(self) -> None:
        """Raise `ConfigError` where anybody beyond this machine could come in without a token."""
        roles = {token.role for token in self.tokens}
        if not is_loopback(self.gateway.host) and not roles:
            raise ConfigError(
                "gateway.host",
                f"{self.gateway.host!r} can be reached from elsewhere, so clients need tokens: "
                "make one with 'scentrt token new --role engine' and put what it prints into "
                f"{CONFIG_FILE}, or listen on 127.0.0.1",
            )
        if not is_loopback(self.http.host) and "operator" not in roles:
            raise ConfigError(
                "http.host",
                f"{self.http.host!r} can be reached from elsewhere, so HTTP needs an operator's "
                "token: make one with 'scentrt token new --role operator' and put what it prints "
                f"into {CONFIG_FILE}, or listen on 127.0.0.1",
            )


def _older_names(settings_cls: type[BaseSettings]) -> PydanticBaseSettingsSource:
    """Take the name that a setting had in the environment of earlier systems."""
    host = os.environ.get("API_HOST")
    return InitSettingsSource(settings_cls, {"http": {"host": host}} if host else {})


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(options: Mapping[str, Any] | None = None) -> Settings:
    """Put the settings together; `options` are those of the command line, nested as the fields.

    Raises `ConfigError`.
    """
    _warn_of_misspelt_variables()
    try:
        return Settings(**dict(options or {}))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(CONFIG_FILE), f"is not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(CONFIG_FILE), "is not text in UTF-8") from error
    except OSError as error:
        raise ConfigError(str(CONFIG_FILE), f"cannot be read: {error.strerror}") from error
    except SettingsError as error:
        problem = f"{error}; there, lists and tables are written as JSON"
        raise ConfigError("environment", problem) from error
    except ValidationError as error:
        raise _config_error("", error) from error


def _warn_of_misspelt_variables() -> None:
    """Say which variables mean nothing; a limit that is not kept should not go unnoticed."""
    prefix = "SCENTRT_"
    for variable in os.environ:
        name = variable.upper().removeprefix(prefix).lower()
        if variable.upper().startswith(prefix) and name.split("__")[0] not in Settings.model_fields:
            log.warning("%s: %s", variable, _unknown(name.split("__")[0]))


def parse_address(field: str, text: str) -> dict[str, str | int]:
    """Return host and port of `HOST:PORT`, `[::1]:PORT` or `:PORT`; raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(field, f"expected HOST:PORT, like 127.0.0.1:8765, not {text!r}")
    return {"host": host.removeprefix("[").removesuffix("]") or "127.0.0.1", "port": int(port)}


# The theatre file

_ScentName = Annotated[str, _is(r"[^\x00-\x1f\x7f]{1,64}", "1 to 64 characters on one line")]


class _ZoneEntry(_Section):
    id: Annotated[
        str,
        _is(r"[A-Za-z0-9_-]{1,32}", "1 to 32 letters, digits, '-' or '_'"),
        _is(rf"(?!{GOGGLES_ZONE}$).*", "another name, since this is the zone of the goggles"),
    ]
    rows: Annotated[int, Field(strict=True, ge=1, le=200)]
    seats_per_row: Annotated[int, Field(strict=True, ge=1, le=200)]
    slots: Annotated[tuple[_ScentName, ...], Field(min_length=1, max_length=16)]
    opted_out: tuple[str, ...] = ()
    devices: dict[str, Annotated[str, Field(min_length=1)]] = {}

    def plan(self) -> ZonePlan:
        return ZonePlan(
            id=ZoneId(self.id),
            rows=self.rows,
            seats_per_row=self.seats_per_row,
            slots=tuple(Scent(slot) for slot in self.slots),
            opted_out=frozenset(SeatId(seat) for seat in self.opted_out),
            devices={SeatId(seat): address for seat, address in self.devices.items()},
        )


class _TheatreFile(_Section):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    zones: Annotated[tuple[_ZoneEntry, ...], Field(min_length=1, max_length=200)]


def load_theatre(path: Path | None) -> TheatrePlan:
    """Read a theatre file; without one the house is one zone of four rows by six seats.

    Raises `ConfigError`.
    """
    if path is None:
        return DEFAULT_THEATRE
    try:
        file = _TheatreFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from error
    except ValidationError as error:
        raise _config_error(str(path), error) from error
    plans = [zone.plan() for zone in file.zones]
    for number, plan in enumerate(plans):
        field, problem = _what_does_not_fit(plan, plans[:number])
        if problem:
            raise ConfigError(f"{path}: zones[{number}].{field}", problem)
    told = sum(_WELCOME_ZONE + len(plan.id) + _told_bytes(plan.slots) for plan in plans)
    if told > _WELCOME_ROOM:
        raise ConfigError(
            f"{path}: zones",
            "the zones and their scents are too many to be told in one welcome; use shorter names "
            "or make it two theatres",
        )
    return TheatrePlan(file.name, tuple(plans))


def _told_bytes(scents: Iterable[str]) -> int:
    return sum(2 * len(scent.encode()) + len('"",') for scent in set(scents))


def _what_does_not_fit(plan: ZonePlan, before: Sequence[ZonePlan]) -> tuple[str, str]:
    """Return field and problem where a zone contradicts itself or those before it."""
    if any(plan.id == other.id for other in before):
        return "id", f"there is a zone {plan.id!r} already; give each a name of its own"
    seats = frozenset(plan.seat_ids())
    last = f"{plan.id}-{plan.rows}-{plan.seats_per_row}"
    for field, named in ("opted_out", plan.opted_out), ("devices", plan.devices.keys()):
        for seat in sorted(named - seats):
            return field, f"there is no seat {seat!r}; the last one of this zone is {last!r}"
    seat_of = {
        address.casefold(): seat for other in before for seat, address in other.devices.items()
    }
    for seat, address in plan.devices.items():
        elsewhere = seat_of.setdefault(address.casefold(), seat)
        if elsewhere != seat:
            return "devices", f"{address!r} is at {elsewhere!r} and at {seat!r}; it can be at one"
    return "", ""


# What is wrong, in words


def _config_error(file: str, error: ValidationError) -> ConfigError:
    """Say the first thing that is wrong: once that is mended, the next is easier to understand."""
    # A name that is misspelt is why another one is missing.
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    where = ": ".join(part for part in (file, field) if part)
    return ConfigError(where or "settings", _problem(first))


def _problem(error: ErrorDetails) -> str:
    name, given, facts = str(error["loc"][-1]), error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return _unknown(name)
        case "tuple_type" if isinstance(given, dict):
            return f"expected a list: write [[{name}]], with two brackets on each side"
        case "value_error":
            expected = str(facts["error"])
        case kind:
            ours = _EXPECTED.get(kind, "").format(**facts)
            expected = ours or error["msg"].removeprefix("Input should be ")
    if name == "sha256":
        return f"expected {expected}"  # what stands there may be a token
    shown = textwrap.shorten(json.dumps(given, default=str, ensure_ascii=False), 60)
    return f"expected {expected}, not {shown}"


def _unknown(name: str) -> str:
    alike = get_close_matches(name, _KNOWN_NAMES, n=1)
    hint = f"did you mean {alike[0]!r}?" if alike else "is it misspelt?"
    return f"there is no such setting; {hint}"


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text in quotes",
    "string_too_short": "some text",
    "string_too_long": "at most {max_length} characters",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "too_short": "at least {min_length} in the list",
    "too_long": "at most {max_length} in the list",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
"""What Pydantic calls by these names, as the writer of a file would say it."""

_KNOWN_NAMES = {
    name
    for section in (
        Settings,
        GatewaySection,
        HttpSection,
        LimitsSection,
        TokenSection,
        _TheatreFile,
        _ZoneEntry,
    )
    for name in section.model_fields
}

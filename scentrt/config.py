"""Settings: options beat the environment, the environment beats `scentrt.toml`, that the defaults.

An environment variable is called `SCENTRT_` and the field, with two underscores for a dot:
`SCENTRT_GATEWAY__PORT=9000`. Whatever cannot be used is a `ConfigError` that names the field.
"""

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from scentrt.domain.cues import GOGGLES_ZONE, Scent, SeatId, ZoneId
from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.layout import DEFAULT_THEATRE, TheatrePlan, ZonePlan
from scentrt.errors import ConfigError

CONFIG_FILE = Path("scentrt.toml")

Port = Annotated[int, Field(ge=0, le=65_535)]


_ScentName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]


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
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    name: str = ""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="SCENTRT_",
        env_nested_delimiter="__",
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
        return init_settings, env_settings, file

    def check_exposure(self) -> None:
        """Raise `ConfigError` where anybody beyond this machine could come in without a token."""
        roles = {token.role for token in self.tokens}
        if not is_loopback(self.gateway.host) and not roles:
            raise ConfigError(
                "gateway.host",
                f"{self.gateway.host} can be reached from other machines, so clients need tokens: "
                "make one with 'scentrt token new --role engine' and put what it prints into "
                f"{CONFIG_FILE}, or listen on 127.0.0.1",
            )
        if not is_loopback(self.http.host) and "operator" not in roles:
            raise ConfigError(
                "http.host",
                f"{self.http.host} can be reached from other machines, so HTTP needs an operator's "
                "token: make one with 'scentrt token new --role operator' and put what it prints "
                f"into {CONFIG_FILE}, or listen on 127.0.0.1",
            )


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
    try:
        return Settings(**dict(options or {}))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(CONFIG_FILE), str(error)) from error
    except ValidationError as error:
        raise _config_error("", error) from error
    except OSError as error:
        raise ConfigError(str(CONFIG_FILE), error.strerror or str(error)) from error


def parse_address(field: str, text: str) -> dict[str, str | int]:
    """Return host and port of `HOST:PORT`, `[::1]:PORT` or `:PORT`; raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(field, f"expected HOST:PORT, like 127.0.0.1:8765, not {text!r}")
    return {"host": host.removeprefix("[").removesuffix("]") or "127.0.0.1", "port": int(port)}


# The theatre file


class _ZoneEntry(_Section):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")]
    rows: Annotated[int, Field(ge=1, le=200)]
    seats_per_row: Annotated[int, Field(ge=1, le=200)]
    slots: Annotated[tuple[_ScentName, ...], Field(min_length=1, max_length=16)]
    opted_out: tuple[str, ...] = ()
    devices: dict[str, str] = {}

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.id == GOGGLES_ZONE:
            raise ValueError("id: 'goggles' is the zone of the goggles, choose another name")
        seats = set(self.plan().seat_ids())
        for where, named in (("opted_out", self.opted_out), ("devices", tuple(self.devices))):
            for seat in named:
                if seat not in seats:
                    raise ValueError(f"{where}: there is no seat {seat!r} in zone {self.id}")
        return self

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

    @model_validator(mode="after")
    def check(self) -> Self:
        ids = [zone.id for zone in self.zones]
        for id in ids:
            if ids.count(id) > 1:
                raise ValueError(f"zones: there are two zones called {id!r}")
        seat_of: dict[str, str] = {}
        for zone in self.zones:
            for seat, address in zone.devices.items():
                if address in seat_of:
                    raise ValueError(
                        f"zones: the device {address} is at {seat_of[address]} and at {seat}"
                    )
                seat_of[address] = seat
        return self


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
    return TheatrePlan(file.name, tuple(zone.plan() for zone in file.zones))


def _config_error(file: str, error: ValidationError) -> ConfigError:
    """Say the first thing that is wrong: once that is mended, the next is easier to understand."""
    first = error.errors()[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        problem = "there is no such setting; is it misspelt?"
    elif first["type"] == "missing":
        problem = "is missing"
    elif first["type"] != "value_error":
        problem = f"{problem[0].lower()}{problem[1:]}, not {first['input']!r}"
    where = ": ".join(part for part in (file, field) if part)
    return ConfigError(where or "settings", problem)

"""Settings: options beat the environment, the environment beats `scentrt.toml`, that the defaults.

An environment variable is called `SCENTRT_` and the field, with two underscores for a dot:
`SCENTRT_GATEWAY__PORT=9000`; an empty one counts as not set. Whatever cannot be used is a
`ConfigError` that names the field.
"""

import ipaddress
import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from scentrt.domain.doses import US_PER_S, Limits
from scentrt.domain.orders import EMAIL_ADDRESS
from scentrt.errors import ConfigError
from scentrt.wording import Section, config_error, matching, unknown

log = logging.getLogger(__name__)

CONFIG_FILE = Path("scentrt.toml")


Port = Annotated[int, Field(ge=0, le=65_535)]
EmailAddress = Annotated[str, matching(EMAIL_ADDRESS, "an address, like 'stock@example.com'")]
AdapterName = Annotated[str, matching(r"hci\d{1,3}", "the name of an adapter, like 'hci0'")]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each adapter once: its links would be counted twice")
    return names


class GatewaySection(Section):
    """Where game engines, goggles and operators connect. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 8765
    origins: tuple[str, ...] = ()
    """Web pages that may connect, as browsers name them: `https://play.example.com`."""
    max_silence_ms: Annotated[int, Field(ge=500, le=600_000)] = 5_000


class HttpSection(Section):
    """Where the HTTP server listens. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 5005


class LimitsSection(Section):
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


class RefillsSection(Section):
    """When a zone orders vials of a scent by itself; at 0, it never does."""

    threshold_percent: Annotated[float, Field(ge=0, le=100)] = 20
    """Of what its vials of the scent can hold."""


class BluetoothSection(Section):
    """How the dispensers of the theatre file are reached."""

    adapters: Annotated[
        tuple[AdapterName, ...], Field(max_length=32), AfterValidator(_each_once)
    ] = ()
    """As BlueZ calls them; the one that the system takes by itself, where none is named."""
    links: Annotated[int, Field(ge=1, le=100)] = 7
    """How many devices one adapter holds at a time; most hold five to seven."""
    pair: bool = False
    """Pair with each device, where the platform can."""
    secrets: Path | None = None
    """The file with the devices' keys; `roxy.secrets.toml` beside `roxy.toml`, if it is there."""


class RedisSection(Section):
    """Where allocations are published and quantities are heard of; nowhere without a host."""

    host: str | None = None
    port: Port = 6379
    password: str | None = None


class EmailSection(Section):
    """Who delivers the letters; without a host they go to the log."""

    host: str | None = None
    port: Port = 25
    sender: EmailAddress = "allocations@example.com"
    stock_team: EmailAddress = "stock@made.com"
    """Who hears of what is out of stock."""
    give_up_after_days: Annotated[float, Field(gt=0, le=365)] = 5
    """How long a letter is tried again that its recipient's server does not take for now."""


class TokenSection(Section):
    """A token by its hash, as `scentrt token new` prints it."""

    role: Literal["engine", "goggles", "operator"]
    sha256: Annotated[str, matching(r"[0-9a-f]{64}", "the hash of a token ('scentrt token new')")]
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
    simulate_ble: bool = False
    gateway: GatewaySection = GatewaySection()
    http: HttpSection = HttpSection()
    limits: LimitsSection = LimitsSection()
    refills: RefillsSection = RefillsSection()
    bluetooth: BluetoothSection = BluetoothSection()
    redis: RedisSection = RedisSection()
    email: EmailSection = EmailSection()
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

    def check(self) -> None:
        """Raise `ConfigError` where settings contradict each other or let strangers in."""
        if self.simulate and self.simulate_ble:
            raise ConfigError(
                "simulate_ble",
                "dispensers are simulated either in memory (--simulate) or over a simulated radio "
                "(--simulate-ble); leave one out",
            )
        self._check_exposure()

    def _check_exposure(self) -> None:
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
    """Take the names that settings had in the environment of earlier systems.

    There, Redis and the mail server of a developer's own machine had ports of their own.
    """
    found: dict[str, dict[str, Any]] = {}
    if api_host := os.environ.get("API_HOST"):
        found["http"] = {"host": api_host}
    if redis_host := os.environ.get("REDIS_HOST"):
        found["redis"] = {
            "host": redis_host,
            "port": 63_791 if redis_host == "localhost" else 6379,
        }
    if email_host := os.environ.get("EMAIL_HOST"):
        found["email"] = {
            "host": email_host,
            "port": 11_025 if email_host == "localhost" else 1025,
        }
    return InitSettingsSource(settings_cls, found)


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
        raise config_error("", error, *_MODELS) from error


def _warn_of_misspelt_variables() -> None:
    """Say which variables mean nothing; a limit that is not kept should not go unnoticed."""
    prefix = "SCENTRT_"
    for variable in os.environ:
        name = variable.upper().removeprefix(prefix).lower()
        if variable.upper().startswith(prefix) and name.split("__")[0] not in Settings.model_fields:
            log.warning("%s: %s", variable, unknown(name.split("__")[0], Settings.model_fields))


def parse_address(field: str, text: str) -> dict[str, str | int]:
    """Return host and port of `HOST:PORT`, `[::1]:PORT` or `:PORT`; raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(field, f"expected HOST:PORT, like 127.0.0.1:8765, not {text!r}")
    return {"host": host.removeprefix("[").removesuffix("]") or "127.0.0.1", "port": int(port)}


_MODELS = (
    Settings,
    GatewaySection,
    HttpSection,
    LimitsSection,
    RefillsSection,
    BluetoothSection,
    RedisSection,
    EmailSection,
    TokenSection,
)

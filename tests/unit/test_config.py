"""Settings come from where they should, and what cannot be used is named in a sentence."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scentrt.config import Settings, is_loopback, load_settings, parse_address
from scentrt.errors import ConfigError

HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, as a server that is started there."""
    monkeypatch.chdir(tmp_path)
    for name in ("API_HOST", "REDIS_HOST", "EMAIL_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def load(
    monkeypatch: pytest.MonkeyPatch,
    file: str = "",
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> Settings:
    if file:
        Path("scentrt.toml").write_text(file, encoding="utf-8")
    for name, value in (env or {}).items():
        monkeypatch.setenv(name, value)
    return load_settings(options)


class TestSources:
    def test_the_defaults_are_those_of_the_contract(self) -> None:
        settings = load_settings()
        assert (settings.gateway.host, settings.gateway.port) == ("127.0.0.1", 8765)
        assert (settings.http.host, settings.http.port) == ("127.0.0.1", 5005)
        assert settings.gateway.max_silence_ms == 5_000
        assert settings.limits.model_dump() == {
            "messages_per_s": 2_000,
            "dose_per_minute_s": 20,
            "dose_per_hour_s": 300,
            "clearing_s": 2,
            "max_spray_ms": 10_000,
        }
        assert settings.tokens == ()
        assert settings.db == "scentrt.db"

    @pytest.mark.parametrize("sources", range(4))
    def test_options_beat_the_environment_that_the_file_and_that_the_defaults(
        self, monkeypatch: pytest.MonkeyPatch, sources: int
    ) -> None:
        settings = load(
            monkeypatch,
            file="[gateway]\nport = 1\n" if sources > 0 else "",
            env={"SCENTRT_GATEWAY__PORT": "2"} if sources > 1 else {},
            **({"gateway": {"port": 3}} if sources > 2 else {}),
        )
        assert settings.gateway.port == (8765, 1, 2, 3)[sources]

    def test_sources_are_joined_field_by_field(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(
            monkeypatch,
            file="[gateway]\nport = 1\nmax_silence_ms = 700\n[limits]\nclearing_s = 0.5\n",
            env={"SCENTRT_GATEWAY__PORT": "2", "SCENTRT_LIMITS__MAX_SPRAY_MS": "99"},
            gateway={"host": "::1"},
        )
        gateway, limits = settings.gateway, settings.limits
        assert (gateway.host, gateway.port, gateway.max_silence_ms) == ("::1", 2, 700)
        assert (limits.clearing_s, limits.max_spray_ms) == (0.5, 99)

    def test_an_empty_variable_counts_as_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch, env={"SCENTRT_GATEWAY__PORT": "", "SCENTRT_THEATRE": ""})
        assert settings == load_settings()

    def test_tokens_and_origins_can_be_given_in_the_file_and_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_file = load(
            monkeypatch,
            file=f'[gateway]\norigins = ["https://a"]\n[[tokens]]\nrole = "engine"\n'
            f'sha256 = "{HASH}"\n',
        )
        Path("scentrt.toml").unlink()
        in_environment = load(
            monkeypatch,
            env={
                "SCENTRT_GATEWAY__ORIGINS": '["https://a"]',
                "SCENTRT_TOKENS": f'[{{"role": "engine", "sha256": "{HASH}"}}]',
            },
        )
        assert in_file == in_environment
        assert in_file.gateway.origins == ("https://a",)
        assert [(token.role, token.sha256) for token in in_file.tokens] == [("engine", HASH)]

    @pytest.mark.parametrize(("newer", "host"), [("", "api"), ("newer", "newer")])
    def test_the_older_name_of_the_http_host_holds_where_there_is_no_newer_one(
        self, monkeypatch: pytest.MonkeyPatch, newer: str, host: str
    ) -> None:
        env = {"API_HOST": "api", "SCENTRT_HTTP__HOST": newer}
        settings = load(monkeypatch, file='[http]\nhost = "file"', env=env)
        assert settings.http.host == host

    def test_a_variable_that_means_nothing_is_remarked_upon(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        load(monkeypatch, env={"SCENTRT_LIMIT__DOSE_PER_MINUTE_S": "5"})
        assert caplog.record_tuples == [
            (
                "scentrt.config",
                logging.WARNING,
                "SCENTRT_LIMIT__DOSE_PER_MINUTE_S: there is no such setting; "
                "did you mean 'limits'?",
            )
        ]


class TestUnusableSettings:
    @pytest.mark.parametrize(
        ("file", "sentence"),
        [
            ("port", "scentrt.toml: is not TOML: "),
            ("[gateway]\nport = 1\nport = 2", "scentrt.toml: is not TOML: Cannot overwrite"),
            ("gateway = 3", "gateway: expected a table, not 3"),
            ("[gateway]\nport = 70000", "gateway.port: expected at most 65535, not 70000"),
            ("[gateway]\nport = 3.5", "gateway.port: expected a whole number, not 3.5"),
            ("[gateway]\nprot = 3", "gateway.prot: there is no such setting; did you mean 'port'?"),
            ("[gatway]\nport = 3", "gatway: there is no such setting; did you mean 'gateway'?"),
            ("[gateway]\norigins = 'a'", 'gateway.origins: expected a list, not "a"'),
            ("[limits]\nclearing_s = -1", "limits.clearing_s: expected at least 0, not -1"),
            (
                "[limits]\ndose_per_minute_s = 0",
                "limits.dose_per_minute_s: expected more than 0, not 0",
            ),
            (
                "[limits]\ndose_per_hour_s = inf",
                "limits.dose_per_hour_s: expected at most 3600, not Infinity",
            ),
            ("[limits]\ndose_per_minute_s = nan", "limits.dose_per_minute_s: expected "),
            ("simulate = 'yes please'", 'simulate: expected true or false, not "yes please"'),
            (
                f"[tokens]\nrole = 'engine'\nsha256 = '{HASH}'",
                "tokens: expected a list: write [[tokens]], with two brackets on each side",
            ),
            (
                f"[[tokens]]\nrole = 'chef'\nsha256 = '{HASH}'",
                "tokens[0].role: expected 'engine', 'goggles' or 'operator', not \"chef\"",
            ),
            ("[[tokens]]\nrole = 'engine'", "tokens[0].sha256: is missing"),
        ],
    )
    def test_what_is_wrong_in_the_file_is_said_in_one_sentence(
        self, monkeypatch: pytest.MonkeyPatch, file: str, sentence: str
    ) -> None:
        with pytest.raises(ConfigError) as error:
            load(monkeypatch, file=file)
        assert str(error.value).startswith(sentence)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("variable", "value", "sentence"),
        [
            ("SCENTRT_GATEWAY__PORT", "http", 'gateway.port: expected a whole number, not "http"'),
            ("SCENTRT_GATEWAY__PROT", "1", "gateway.prot: there is no such setting"),
            ("SCENTRT_GATEWAY__ORIGINS", "https://a", "environment: "),
            ("SCENTRT_TOKENS", "scentrt_abc", "environment: "),
            ("SCENTRT_LIMITS__CLEARING_S", "1e999", "limits.clearing_s: expected at most 600"),
        ],
    )
    def test_what_is_wrong_in_the_environment_is_said_in_one_sentence(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
    ) -> None:
        with pytest.raises(ConfigError) as error:
            load(monkeypatch, env={variable: value})
        assert str(error.value).startswith(sentence)

    def test_a_token_that_stands_where_its_hash_should_is_not_repeated(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = '[[tokens]]\nrole = "engine"\nsha256 = "scentrt_secret"'
        with pytest.raises(ConfigError, match="expected the hash of a token") as error:
            load(monkeypatch, file=file)
        assert "secret" not in str(error.value)

    def test_a_file_that_is_no_text_is_called_so(self) -> None:
        Path("scentrt.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match=r"scentrt\.toml: is not text in UTF-8"):
            load_settings()


class TestExposure:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
    def test_on_loopback_no_token_is_needed(self, host: str) -> None:
        assert is_loopback(host)
        load_settings({"gateway": {"host": host}, "http": {"host": host}}).check()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "roxy.example.com", ""])
    def test_off_loopback_one_is_and_http_needs_that_of_an_operator(self, host: str) -> None:
        engine, operator = ({"role": role, "sha256": HASH} for role in ("engine", "operator"))
        with pytest.raises(ConfigError, match=r"gateway\.host: .*token new --role engine"):
            load_settings({"gateway": {"host": host}}).check()
        load_settings({"gateway": {"host": host}, "tokens": [engine]}).check()
        with pytest.raises(ConfigError, match=r"http\.host: .*token new --role operator"):
            load_settings({"http": {"host": host}, "tokens": [engine]}).check()
        load_settings({"http": {"host": host}, "tokens": [operator]}).check()


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("0.0.0.0:80", "0.0.0.0", 80),
            (":0", "127.0.0.1", 0),
            ("[::1]:5005", "::1", 5005),
            ("::1:5005", "::1", 5005),
            ("roxy.example.com:65535", "roxy.example.com", 65_535),
        ],
    )
    def test_host_and_port_are_read(self, text: str, host: str, port: int) -> None:
        assert parse_address("--gateway", text) == {"host": host, "port": port}

    @pytest.mark.parametrize("text", ["", "localhost", "h:", "h:65536", "h:-1", "h:80x", "8765"])
    def test_what_is_no_address_is_answered_with_an_example(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"--gateway: expected HOST:PORT, like 127\.0\.0\.1:"):
            parse_address("--gateway", text)


@pytest.mark.parametrize(
    ("name", "section", "host", "port"),
    [
        ("REDIS_HOST", "redis", "localhost", 63_791),
        ("REDIS_HOST", "redis", "redis.example.com", 6379),
        ("EMAIL_HOST", "email", "localhost", 11_025),
        ("EMAIL_HOST", "email", "mail.example.com", 1025),
    ],
)
def test_the_older_names_of_redis_and_e_mail_bring_their_ports(
    monkeypatch: pytest.MonkeyPatch, name: str, section: str, host: str, port: int
) -> None:
    assert getattr(load_settings(), section).host is None
    monkeypatch.setenv(name, host)
    found = getattr(load_settings(), section)
    assert (found.host, found.port) == (host, port)
    monkeypatch.setenv(f"SCENTRT_{section.upper()}__PORT", "7")
    assert getattr(load_settings(), section).port == 7


def test_what_is_no_address_of_e_mail_is_named_with_an_example() -> None:
    with pytest.raises(ConfigError, match=r"email\.stock_team: expected an address, like"):
        load_settings({"email": {"stock_team": "the stock team"}})


def test_dispensers_are_simulated_in_one_way() -> None:
    with pytest.raises(ConfigError, match=r"simulate_ble: .* leave one out"):
        load_settings({"simulate": True, "simulate_ble": True}).check()


def test_an_adapter_that_cannot_be_one_is_named_with_an_example() -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({"bluetooth": {"adapters": ["hci0", "usb dongle"]}})
    assert str(refused.value) == (
        "bluetooth.adapters[1]: expected the name of an adapter, like 'hci0', not \"usb dongle\""
    )


def test_an_adapter_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings({"bluetooth": {"adapters": ["hci0", "hci1", "hci0"]}})
    assert str(refused.value) == (
        "bluetooth.adapters: expected each adapter once: its links would be counted twice, not "
        '["hci0", "hci1", "hci0"]'
    )

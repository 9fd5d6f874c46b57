"""Settings come from where they should, and what cannot be used is named in a sentence."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scentrt.config import Settings, is_loopback, load_settings, load_theatre, parse_address
from scentrt.domain.layout import DEFAULT_THEATRE
from scentrt.domain.seats import Slot
from scentrt.errors import ConfigError

HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, as a server that is started there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("API_HOST", raising=False)
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
        load_settings({"gateway": {"host": host}, "http": {"host": host}}).check_exposure()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "roxy.example.com", ""])
    def test_off_loopback_one_is_and_http_needs_that_of_an_operator(self, host: str) -> None:
        engine, operator = ({"role": role, "sha256": HASH} for role in ("engine", "operator"))
        with pytest.raises(ConfigError, match=r"gateway\.host: .*token new --role engine"):
            load_settings({"gateway": {"host": host}}).check_exposure()
        load_settings({"gateway": {"host": host}, "tokens": [engine]}).check_exposure()
        with pytest.raises(ConfigError, match=r"http\.host: .*token new --role operator"):
            load_settings({"http": {"host": host}, "tokens": [engine]}).check_exposure()
        load_settings({"http": {"host": host}, "tokens": [operator]}).check_exposure()


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


ROXY = """\
name = "Roxy"
[[zones]]
id = "A"
rows = 4
seats_per_row = 6
slots = ["sea-breeze", "nightclub"]
"""
BALCONY = ROXY.replace('name = "Roxy"\n', "").replace('"A"', '"balcony-left"')


class TestTheatre:
    def test_without_a_file_it_is_one_zone_of_four_rows_with_the_five_scents_of_the_research(
        self,
    ) -> None:
        plan = load_theatre(None)
        assert plan is DEFAULT_THEATRE
        (zone,) = plan.zones
        assert zone.seat_ids()[0] == "A-1-1"
        assert zone.seat_ids()[-1] == "A-4-6"
        assert zone.slots == ("sea-breeze", "nightclub", "jungle", "forest", "busy-street")

    def test_a_file_is_read_as_it_is_written(self, folder: Path) -> None:
        file = folder / "roxy.toml"
        devices = '[zones.devices]\n"A-1-1" = "C0:FF:EE:00:00:01"\n'
        opted_out = 'opted_out = ["A-4-6"]\n'
        file.write_text(ROXY + opted_out + devices + BALCONY, encoding="utf-8")
        plan = load_theatre(file)
        a, balcony = plan.zones
        assert (plan.name, a.id, balcony.id) == ("Roxy", "A", "balcony-left")
        assert (len(a.seat_ids()), balcony.seat_ids()[-1]) == (24, "balcony-left-4-6")
        assert a.devices == {"A-1-1": "C0:FF:EE:00:00:01"}
        seats = a.seats(load_settings().limits.of_seats(), online=True)
        assert [seat.id for seat in seats if seat.opted_out] == ["A-4-6"]
        slots: list[Slot] = seats[0].slots
        assert [(slot.number, slot.scent) for slot in slots] == [
            (0, "sea-breeze"),
            (1, "nightclub"),
        ]

    def test_as_many_seats_as_a_row_of_cinemas_has_are_no_problem(self, folder: Path) -> None:
        zones = "".join(
            f'[[zones]]\nid = "Z{n}"\nrows = 40\nseats_per_row = 50\nslots = ["pine"]\n'
            for n in range(10)
        )
        (folder / "big.toml").write_text(f'name = "Big"\n{zones}', encoding="utf-8")
        plan = load_theatre(folder / "big.toml")
        assert sum(len(zone.seat_ids()) for zone in plan.zones) == 20_000

    def test_more_zones_and_scents_than_a_welcome_can_tell_are_refused(self, folder: Path) -> None:
        slots = ", ".join(f'"a-rather-long-name-of-a-scent-{n}"' for n in range(16))
        zones = "".join(
            f'[[zones]]\nid = "Z{n}"\nrows = 1\nseats_per_row = 1\nslots = [{slots}]\n'
            for n in range(100)
        )
        (folder / "many.toml").write_text(f'name = "Many"\n{zones}', encoding="utf-8")
        with pytest.raises(ConfigError, match=r"zones: .*too many to be told in one welcome"):
            load_theatre(folder / "many.toml")

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "name: is missing"),
            ('name = "Roxy"', "zones: is missing"),
            ('name = "Roxy"\nzones = []', "zones: expected at least 1 in the list, not []"),
            (
                'name = "Roxy"\n[zones]\nid = "A"',
                "zones: expected a list: write [[zones]], with two brackets on each side",
            ),
            (ROXY.replace("rows = 4\n", ""), "zones[0].rows: is missing"),
            (ROXY.replace("[[zones]]", "[[zones]"), "is not TOML: Expected"),
            (ROXY.replace('"Roxy"', '""'), 'name: expected some text, not ""'),
            (f"colour = 'red'\n{ROXY}", "colour: there is no such setting; is it misspelt?"),
            (
                ROXY.replace("seats_per_row", "seats_in_row"),
                "zones[0].seats_in_row: there is no such setting; did you mean 'seats_per_row'?",
            ),
            (
                ROXY + BALCONY.replace("balcony-left", "A"),
                "zones[1].id: there is a zone 'A' already; give each a name of its own",
            ),
            (
                ROXY.replace('"A"', '"goggles"'),
                "zones[0].id: expected another name, since this is the zone of the goggles, "
                'not "goggles"',
            ),
            (
                ROXY.replace('"A"', '"A 1"'),
                "zones[0].id: expected 1 to 32 letters, digits, '-' or '_', not \"A 1\"",
            ),
            (ROXY.replace('"A"', "1"), "zones[0].id: expected text in quotes, not 1"),
            (ROXY.replace("rows = 4", "rows = 0"), "zones[0].rows: expected at least 1, not 0"),
            (
                ROXY.replace("rows = 4", "rows = 4000"),
                "zones[0].rows: expected at most 200, not 4000",
            ),
            (
                ROXY.replace("rows = 4", 'rows = "4"'),
                'zones[0].rows: expected a whole number, not "4"',
            ),
            (
                ROXY.replace("rows = 4", "rows = true"),
                "zones[0].rows: expected a whole number, not true",
            ),
            (
                ROXY.replace('["sea-breeze", "nightclub"]', "[]"),
                "zones[0].slots: expected at least 1 in the list, not []",
            ),
            (
                ROXY.replace('"nightclub"', '""'),
                'zones[0].slots[1]: expected 1 to 64 characters on one line, not ""',
            ),
            (
                ROXY.replace('["sea-breeze", "nightclub"]', '"pine"'),
                'zones[0].slots: expected a list, not "pine"',
            ),
            (
                ROXY + '[zones.devices]\n"A-1-1" = "aa"\n"A-1-1" = "bb"\n',
                "is not TOML: Cannot overwrite a value (at line 9",
            ),
            (
                ROXY + '[zones.devices]\n"A-5-1" = "aa"\n',
                "zones[0].devices: there is no seat 'A-5-1'; the last one of this zone is 'A-4-6'",
            ),
            (
                ROXY + '[zones.devices]\n"A-1-1" = "c0:ff"\n"A-1-2" = "C0:FF"\n',
                "zones[0].devices: 'C0:FF' is at 'A-1-1' and at 'A-1-2'; it can be at one",
            ),
            (
                ROXY
                + '[zones.devices]\n"A-1-1" = "aa"\n'
                + BALCONY
                + '[zones.devices]\n"balcony-left-1-1" = "aa"\n',
                "zones[1].devices: 'aa' is at 'A-1-1' and at 'balcony-left-1-1'; it can be at one",
            ),
            (
                ROXY + '[zones.devices]\n"A-1-1" = ""\n',
                'zones[0].devices.A-1-1: expected some text, not ""',
            ),
            (
                ROXY + 'opted_out = ["B-1-1"]\n',
                "zones[0].opted_out: there is no seat 'B-1-1'; "
                "the last one of this zone is 'A-4-6'",
            ),
        ],
    )
    def test_what_is_wrong_is_said_with_file_and_field(
        self, folder: Path, text: str, sentence: str
    ) -> None:
        file = folder / "roxy.toml"
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as error:
            load_theatre(file)
        assert str(error.value).startswith(f"{file}: {sentence}")
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (None, "cannot be read: No such file or directory"),
            (b"\xff\xfe", "is not text in UTF-8"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_named(
        self, folder: Path, content: bytes | None, sentence: str
    ) -> None:
        file = folder / "roxy.toml"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError) as error:
            load_theatre(file)
        assert str(error.value) == f"{file}: {sentence}"

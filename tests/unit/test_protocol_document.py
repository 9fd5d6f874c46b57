"""What protocol.md says is what the code does: it is read by the same code that reads clients."""

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from typer.testing import CliRunner

from scentrt.actors.reports import REPORT_WITHIN_S
from scentrt.adapters.dispensers import gatt
from scentrt.config import Settings, load_settings
from scentrt.domain.agenda import MOST_WAITING
from scentrt.domain.events import Change, Ended
from scentrt.domain.layout import DEFAULT_THEATRE
from scentrt.domain.seats import Skip
from scentrt.entrypoints.cli import app
from scentrt.entrypoints.cue_list import DAY_MS as CUE_LIST_DAY_MS
from scentrt.entrypoints.cue_list import EXAMPLE, MOST_BYTES, MOST_CUES
from scentrt.entrypoints.forecast_answer import ScentOutlook
from scentrt.entrypoints.gateway import messages as hear
from scentrt.entrypoints.gateway import server_messages as say
from scentrt.entrypoints.gateway.caller import MAX_MESSAGE
from scentrt.entrypoints.gateway.connection import DAY_MS, MAY, MOST_SUBSCRIPTIONS
from scentrt.entrypoints.gateway.server import HELLO_WITHIN_S, RESUME_WITHIN_S
from scentrt.entrypoints.gateway.session import REMEMBERED_CUES, REMEMBERED_MS
from scentrt.entrypoints.gateway.stream import MAX_WAITING
from scentrt.entrypoints.gateway.wire import JSON, ROOM
from scentrt.secrets_file import load_keys
from scentrt.theatre_file import load_theatre

DOCUMENT = (files("scentrt.entrypoints.gateway") / "protocol.md").read_text(encoding="utf-8")
YOURS, OURS = "→ ", "← "


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def examples(direction: str) -> list[str]:
    """Return what is said in a direction; a message goes on where a line begins with spaces."""
    messages = [m for block in blocks("text") for m in re.split(r"\n(?! )", block.strip())]
    return [m.removeprefix(direction) for m in messages if m.startswith(direction)]


ASKED = examples(YOURS)
SAID = [json.loads(message) for message in examples(OURS)]


def type_of(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


class TestExamples:
    @pytest.mark.parametrize("message", ASKED, ids=range(len(ASKED)))
    def test_what_a_client_sends_is_read_as_it_stands(self, message: str) -> None:
        assert type_of(type(JSON.decode(message))) == json.loads(message)["type"]

    @pytest.mark.parametrize("message", SAID, ids=range(len(SAID)))
    def test_what_the_server_says_has_the_fields_that_it_sends(self, message: Any) -> None:
        # A field too many is dropped on the way, one too few is an error or comes in addition.
        sent = msgspec.json.encode(msgspec.convert(message, say.ServerMessage))
        assert json.loads(sent) == message

    @pytest.mark.parametrize("kind", get_args(hear.ClientMessage), ids=type_of)
    def test_each_message_of_a_client_has_an_example_and_its_fields_are_told(
        self, kind: type[msgspec.Struct]
    ) -> None:
        assert any(isinstance(JSON.decode(message), kind) for message in ASKED)
        for field in kind.__struct_fields__:
            assert f'"{field}":' in DOCUMENT or f"`{field}`" in DOCUMENT

    @pytest.mark.parametrize("kind", get_args(say.ServerMessage), ids=type_of)
    def test_each_message_of_the_server_has_an_example_with_its_fields(
        self, kind: type[msgspec.Struct]
    ) -> None:
        told = [said for said in SAID if said["type"] == type_of(kind)]
        fields = {field.name for field in msgspec.structs.fields(kind) if field.required} - {"re"}
        assert any(fields <= said.keys() for said in told)
        assert set().union(*told) >= set(kind.__struct_fields__) - {"re", "retry_after_ms"}


class TestTables:
    @pytest.mark.parametrize("code", get_args(say.ErrorCode))
    def test_each_error_code_is_explained(self, code: str) -> None:
        assert f"\n| `{code}` | " in DOCUMENT

    @pytest.mark.parametrize("reason", Skip)
    def test_each_reason_to_skip_a_seat_is_explained(self, reason: Skip) -> None:
        assert f"\n| `{reason}` | " in DOCUMENT

    @pytest.mark.parametrize("kind", get_args(hear.EventKind))
    def test_each_kind_of_event_is_explained(self, kind: str) -> None:
        assert f"\n| `{kind}` | " in DOCUMENT

    @pytest.mark.parametrize("word", sorted({*Ended, *Change, *say.StockChange, "active", "ended"}))
    def test_each_reason_change_and_state_is_named(self, word: str) -> None:
        assert f"`{word}`" in DOCUMENT

    @pytest.mark.parametrize("code", [1001, 1008, 1009, 1011, 1013])
    def test_each_close_code_is_explained(self, code: int) -> None:
        assert f"\n| {code} | " in DOCUMENT

    @pytest.mark.parametrize("kind", get_args(hear.ClientMessage), ids=type_of)
    def test_each_role_is_told_what_it_may_send(self, kind: type[hear.ClientMessage]) -> None:
        if kind is hear.Hello:
            return
        may = MAY.get(kind, frozenset(get_args(hear.Role)))
        cells = " | ".join("yes" if role in may else "no" for role in get_args(hear.Role))
        rows = [row for row in DOCUMENT.splitlines() if row.endswith(f"| {cells} |")]
        assert any(f"`{type_of(kind)}`" in row for row in rows)

    def test_each_optional_field_of_a_cue_is_told_with_its_default(self) -> None:
        for field in msgspec.structs.fields(hear.SendCue):
            if field.default is None or field.name == "id":
                continue
            default = "" if field.required else f"{json.dumps(field.default)}".removesuffix(".0")
            assert f"\n| `{field.name}` | {default} | ".replace("|  |", "| |") in DOCUMENT


@pytest.mark.parametrize(
    "told",
    [
        f"within {HELLO_WITHIN_S:g} s of connecting",
        f"are held for {RESUME_WITHIN_S:g} s, then dropped",
        f"its last {REMEMBERED_CUES:,} cues, each for {REMEMBERED_MS / 60_000:g} minutes",
        f"at most {DAY_MS / 3_600_000:g} h ahead",
        f"or did not say so within {REPORT_WITHIN_S:g} s",
        f"`to` may have {ROOM:,} bytes here",
        f"may have {MOST_SUBSCRIPTIONS} subscriptions",
        f"a message of more than {MAX_MESSAGE // 1024} KiB",
        f"{MAX_WAITING // 1024} KiB waiting",
        f"| cues that wait in one zone | {MOST_WAITING:,} |",
        f"A list has {MOST_CUES:,} cues and {MOST_BYTES:,} bytes at most",
        f"in milliseconds from 0 to {CUE_LIST_DAY_MS:,}",
    ],
)
def test_each_limit_is_told_as_it_is(told: str) -> None:
    assert told in DOCUMENT.replace("\n  ", " ").replace("\n", " ")


def test_the_cue_list_that_is_shown_is_the_example_of_the_command() -> None:
    assert blocks("jsonl") == [EXAMPLE]


def test_each_field_of_a_forecast_is_told() -> None:
    for field in {*ScentOutlook.model_fields, "unsprayed", "during_show"} - {"zone", "scent"}:
        assert f"`{field}`" in DOCUMENT


def test_the_profile_of_dispensers_is_told_as_it_is() -> None:
    named = {**gatt.REQUIRED, gatt.CHALLENGE: "challenge", gatt.RESPONSE: "response"}
    for uuid, name in named.items():
        assert f"| {name} `{uuid}` |" in DOCUMENT
    assert f"| characteristic of `{gatt.SERVICE}` |" in DOCUMENT


class TestSettings:
    @pytest.fixture(autouse=True)
    def nothing_is_set(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def test_the_settings_are_all_there_with_their_defaults(self, tmp_path: Path) -> None:
        written = next(block for block in blocks("toml") if "[gateway]" in block)
        (tmp_path / "scentrt.toml").write_text(written, encoding="utf-8")
        defaults = Settings.model_construct()
        assert load_settings() == defaults
        told = tomllib.loads(written)
        for name, value in json.loads(defaults.model_dump_json()).items():
            unset = [key for key in value if value[key] is None] if isinstance(value, dict) else []
            for key in unset:
                assert f"# {key} = " in written
                del value[key]
            if name in told:
                assert told[name] == value
            else:
                assert f"# {name} = " in written or f"# [[{name}]]" in written

    def test_the_theatre_can_be_opened(self, tmp_path: Path) -> None:
        written = {
            name: block
            for block in blocks("toml")
            for name in ("zones", "keys")
            if f"[{name}]" in block
        }
        file, secrets = tmp_path / "roxy.toml", tmp_path / "roxy.secrets.toml"
        file.write_text(written["zones"], encoding="utf-8")
        secrets.write_text(written["keys"], encoding="utf-8")
        secrets.chmod(0o600)
        plan = load_theatre(file)
        assert plan.zones[0].seat_ids()[-1] == "A-4-6"
        assert load_keys(secrets, plan).keys() == {"A-1-2"}

    def test_the_house_without_a_theatre_file_is_described(self) -> None:
        (zone,) = DEFAULT_THEATRE.zones
        assert f"one zone `{zone.id}` of {zone.rows} rows by {zone.seats_per_row}" in DOCUMENT


class TestCommand:
    def test_raw_prints_the_document_as_it_is(self) -> None:
        assert CliRunner().invoke(app, ["protocol", "--raw"]).stdout == DOCUMENT

    def test_without_a_terminal_it_is_printed_and_not_paged(self) -> None:
        printed = CliRunner().invoke(app, ["protocol"], env={"PAGER": "false"}).stdout
        assert "The ScentRT protocol" in printed
        assert "```" not in printed

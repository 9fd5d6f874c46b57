"""Keys are read from a file that only its owner may read, and are never told."""

from pathlib import Path

import pytest

from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.layout import DevicePlan, TheatrePlan, ZonePlan
from scentrt.errors import ConfigError
from scentrt.secrets_file import load_keys, secrets_beside

KEY = "00112233445566778899aabbccddeeff"
DEVICES = {SeatId("A-1-1"): DevicePlan("SD-0001"), SeatId("A-1-2"): DevicePlan("C0:FF:EE:00:00:01")}
PLAN = TheatrePlan("Roxy", (ZonePlan(ZoneId("A"), 1, 3, (Scent("pine"),), devices=DEVICES),))


def secrets(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "roxy.secrets.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_keys_belong_to_the_seats_whose_devices_they_name(tmp_path: Path) -> None:
    path = secrets(tmp_path, f'[keys]\n"c0:ff:ee:00:00:01" = "{KEY}"\n')
    assert load_keys(path, PLAN) == {"A-1-2": bytes.fromhex(KEY)}


def test_the_secrets_of_a_theatre_lie_beside_its_file(tmp_path: Path) -> None:
    theatre = tmp_path / "roxy.toml"
    assert secrets_beside(None) is None
    assert secrets_beside(theatre) is None
    path = secrets(tmp_path, "")
    assert secrets_beside(theatre) == path
    assert load_keys(path, PLAN) == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[keys", "is not TOML: "),
        ("[key]\n", "key: there is no such setting; did you mean 'keys'?"),
        (f'[keys]\nSD-0001 = ["{KEY}"]\n', "keys.SD-0001: expected text in quotes"),
        (
            f'[keys]\nSD-0001 = "{KEY}"\nsd-0001 = "{KEY}"\n',
            "keys: 'sd-0001' is there twice; leave one",
        ),
        (
            f'[keys]\nSD-0001 = "{KEY[2:]}"\n',
            "keys.SD-0001: expected 32 to 128 hexadecimal digits",
        ),
        (
            f'[keys]\nSD-0001 = "x{KEY}"\n',
            "keys.SD-0001: expected 32 to 128 hexadecimal digits",
        ),
    ],
)
def test_what_is_wrong_is_said_without_telling_a_key(
    tmp_path: Path, text: str, sentence: str
) -> None:
    path = secrets(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        load_keys(path, PLAN)
    assert str(refused.value).startswith(f"{path}: {sentence}")
    assert KEY[4:] not in str(refused.value)


def test_a_key_for_a_device_that_has_no_seat_is_logged_without_telling_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_keys(secrets(tmp_path, f'[keys]\nSD-0009 = "{KEY}"\n'), PLAN) == {}
    assert "keys: no seat has a device 'SD-0009'; is that a spare?" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = secrets(tmp_path, "", mode)
    with pytest.raises(ConfigError, match=r"can be read by others; run: chmod 600 "):
        load_keys(path, PLAN)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: cannot be read: No such file"):
        load_keys(tmp_path / "no.toml", PLAN)

"""A theatre file is read as it is written, and what cannot be used is named in a sentence."""

from pathlib import Path

import pytest

from scentrt.domain.cues import Scent, SeatId
from scentrt.domain.doses import Limits
from scentrt.domain.layout import DEFAULT_THEATRE, DevicePlan
from scentrt.domain.names import Sku
from scentrt.domain.seats import Slot
from scentrt.domain.vials import VialKind
from scentrt.errors import ConfigError
from scentrt.theatre_file import give_device, load_theatre

ROXY = """\
name = "Roxy"
[[zones]]
id = "A"
rows = 4
seats_per_row = 6
slots = ["sea-breeze", "nightclub"]
"""
BALCONY = ROXY.replace('name = "Roxy"\n', "").replace('"A"', '"balcony-left"')
STALLS = BALCONY.replace("balcony-left", "B")
SURF = '[[products]]\nsku = "SURF"\nscent = "sea-breeze"\ncapacity_s = 0.5\n'


def test_without_a_file_it_is_one_zone_of_four_rows_with_the_five_scents_of_the_research() -> None:
    plan = load_theatre(None)
    assert plan is DEFAULT_THEATRE
    (zone,) = plan.zones
    assert zone.seat_ids()[0] == "A-1-1"
    assert zone.seat_ids()[-1] == "A-4-6"
    assert zone.slots == ("sea-breeze", "nightclub", "jungle", "forest", "busy-street")


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "roxy.toml"
    devices = '[zones.devices]\n"A-1-1" = "C0:FF:EE:00:00:01"\n'
    opted_out = 'opted_out = ["A-4-6"]\n'
    file.write_text(ROXY + opted_out + devices + BALCONY, encoding="utf-8")
    plan = load_theatre(file)
    a, balcony = plan.zones
    assert (plan.name, a.id, balcony.id) == ("Roxy", "A", "balcony-left")
    assert (len(a.seat_ids()), balcony.seat_ids()[-1]) == (24, "balcony-left-4-6")
    assert a.devices == {"A-1-1": DevicePlan("C0:FF:EE:00:00:01", f"{file} line 9")}
    assert plan.remarks == ()
    seats = a.seats(Limits(), online=True)
    assert [seat.id for seat in seats if seat.opted_out] == ["A-4-6"]
    slots: list[Slot] = seats[0].slots
    assert [(slot.number, slot.scent) for slot in slots] == [
        (0, "sea-breeze"),
        (1, "nightclub"),
    ]


def test_a_scent_comes_in_the_vials_of_several_products_the_preferred_one_first(
    tmp_path: Path,
) -> None:
    file = tmp_path / "roxy.toml"
    file.write_text(
        ROXY + SURF + '[[products]]\nsku = "SEA-ECO"\nscent = "sea-breeze"\n', encoding="utf-8"
    )
    catalogue = load_theatre(file).catalogue
    surf = VialKind(Sku("SURF"), Scent("sea-breeze"), 500_000)
    eco = VialKind(Sku("SEA-ECO"), Scent("sea-breeze"), 3_600_000_000)
    assert catalogue.of_scent(Scent("sea-breeze")) == (surf, eco)
    assert catalogue.kind(Sku("SEA-ECO")) == eco
    assert catalogue.kind(Sku("SOFA")) is None
    assert catalogue.of_scent(Scent("nightclub")) == ()


def test_as_many_seats_as_a_row_of_cinemas_has_are_no_problem(tmp_path: Path) -> None:
    zones = "".join(
        f'[[zones]]\nid = "Z{n}"\nrows = 40\nseats_per_row = 50\nslots = ["pine"]\n'
        for n in range(10)
    )
    (tmp_path / "big.toml").write_text(f'name = "Big"\n{zones}', encoding="utf-8")
    plan = load_theatre(tmp_path / "big.toml")
    assert sum(len(zone.seat_ids()) for zone in plan.zones) == 20_000


def test_more_zones_and_scents_than_a_welcome_can_tell_are_refused(tmp_path: Path) -> None:
    slots = ", ".join(f'"a-rather-long-name-of-a-scent-{n}"' for n in range(16))
    zones = "".join(
        f'[[zones]]\nid = "Z{n}"\nrows = 1\nseats_per_row = 1\nslots = [{slots}]\n'
        for n in range(100)
    )
    (tmp_path / "many.toml").write_text(f'name = "Many"\n{zones}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"zones: .*too many to be told in one welcome"):
        load_theatre(tmp_path / "many.toml")


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
            ROXY + '[zones.devices]\n"A-1-1" = ""\n',
            'zones[0].devices.A-1-1: expected some text, not ""',
        ),
        (
            ROXY + 'opted_out = ["B-1-1"]\n',
            "zones[0].opted_out: there is no seat 'B-1-1'; the last one of this zone is 'A-4-6'",
        ),
        (
            ROXY + SURF + SURF,
            "products[1].sku: there is a product 'SURF' already; it has one scent and one capacity",
        ),
        (
            ROXY + SURF.replace("sea-breeze", "tar"),
            "products[0].scent: no zone has a slot for 'tar'; there are slots for "
            "nightclub, sea-breeze",
        ),
        (
            ROXY + SURF.replace("0.5", "0"),
            "products[0].capacity_s: expected more than 0, not 0",
        ),
        (
            ROXY + SURF.replace("capacity_s", "capacity"),
            "products[0].capacity: there is no such setting; did you mean 'capacity_s'?",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "roxy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_theatre(file)
    assert str(error.value).startswith(f"{file}: {sentence}")
    assert "\n" not in str(error.value)


DEVICES = (
    ROXY
    + """\
[zones.devices]
A-1-1 = "SD-0001"
"A-1-2" = "SD-0002"
"""
)


@pytest.mark.parametrize(
    ("more", "left", "remarks"),
    [
        (
            'A-1-1 = "SD-0003"\n',
            ["A-1-2"],
            ["line 8: 'A-1-1' has another device in line 10; leave the right one"],
        ),
        (
            'A-5-1 = "SD-0003"\n',
            ["A-1-1", "A-1-2"],
            ["line 10: there is no seat 'A-5-1'; the last one is 'A-4-6'"],
        ),
        (
            'A-1-3 = "sd-0001"\nA-1-4 = "SD-0004"\n',
            ["A-1-2", "A-1-4"],
            ["line 8: 'SD-0001' is at 'A-1-1' and at 'A-1-3' (line 10); leave it at one"],
        ),
        (
            STALLS + '[zones.devices]\nB-1-1 = "SD-0001"\n',
            ["A-1-2"],
            ["line 8: 'SD-0001' is at 'A-1-1' and at 'B-1-1' (line 16); leave it at one"],
        ),
        (
            '"A-1-2" = "SD-0003"\nA-1-3 = "SD-0001"\nZ-9-9 = "x"\n',
            [],
            [
                "line 8: 'SD-0001' is at 'A-1-1' and at 'A-1-3' (line 11); leave it at one",
                "line 9: 'A-1-2' has another device in line 10; leave the right one",
                "line 12: there is no seat 'Z-9-9'; the last one is 'A-4-6'",
            ],
        ),
        (
            'A-1-1 = "SD-0003"\nA-1-3 = "SD-0003"\nA-1-4 = "SD-0001"\n',
            ["A-1-2"],
            [
                "line 8: 'SD-0001' is at 'A-1-1' and at 'A-1-4' (line 12); leave it at one",
                "line 11: 'SD-0003' is at 'A-1-3' and at 'A-1-1' (line 8); leave it at one",
                "line 8: 'A-1-1' has another device in line 10; leave the right one",
            ],
        ),
        (
            'A-9-9 = "SD-0002"\n',
            ["A-1-1"],
            [
                "line 9: 'SD-0002' is at 'A-1-2' and at 'A-9-9' (line 10); leave it at one",
                "line 10: there is no seat 'A-9-9'; the last one is 'A-4-6'",
            ],
        ),
    ],
)
def test_a_device_that_cannot_be_used_is_left_out_with_its_line_and_the_house_opens(
    tmp_path: Path, more: str, left: list[str], remarks: list[str]
) -> None:
    file = tmp_path / "roxy.toml"
    file.write_text(DEVICES + more, encoding="utf-8")
    plan = load_theatre(file)
    assert [seat for zone in plan.zones for seat in zone.devices] == left
    assert list(plan.remarks) == [f"{file} {remark}" for remark in remarks]


@pytest.mark.parametrize(
    "text",
    [
        ROXY + "rows = 5\n",
        ROXY + "[zones.devices]\nA-1-1 = { a = 1 }\n[zones.devices]\n",
    ],
)
def test_what_else_is_there_twice_is_no_toml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "roxy.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"roxy\.toml: is not TOML: Cannot "):
        load_theatre(file)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "roxy.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_theatre(file)
    assert str(error.value) == f"{file}: {sentence}"


def test_a_device_is_written_into_the_file_and_all_else_stays_as_it_is_written(
    tmp_path: Path,
) -> None:
    file = tmp_path / "roxy.toml"
    file.write_text("# As Anna wrote it\n" + ROXY + "\n" + STALLS, encoding="utf-8")
    file.chmod(0o640)
    for seat, name in [("A-1-1", "SD-0001"), ("B-1-1", "SD-0002"), ("A-1-2", "C0:FF:EE:00:00:01")]:
        give_device(file, SeatId(seat), name)
    assert file.read_text(encoding="utf-8") == (
        "# As Anna wrote it\n"
        + ROXY
        + '\n[zones.devices]\nA-1-1 = "SD-0001"\nA-1-2 = "C0:FF:EE:00:00:01"\n\n'
        + STALLS
        + '\n[zones.devices]\nB-1-1 = "SD-0002"\n'
    )
    give_device(file, SeatId("A-1-1"), "SD-0003")
    assert load_theatre(file).zones[0].devices[SeatId("A-1-1")].name == "SD-0003"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]

"""What the doctor thinks of theatre, files, addresses and time, from facts alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from scentrt.adapters.database_facts import DatabaseContents, DatabaseFacts
from scentrt.checkup.findings import Finding, Verdict, green
from scentrt.checkup.machine import AddressFacts, ClockFacts
from scentrt.checkup.premises import (
    judge_addresses,
    judge_clock,
    judge_database,
    judge_doses,
    judge_naps,
    judge_theatre,
)
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.layout import DevicePlan, TheatrePlan, ZonePlan

NOON_S = 1_764_072_000.0
"""2025-11-25 12:00:00 UTC."""

GATEWAY = AddressFacts("gateway", "127.0.0.1", 8765)
HTTP = AddressFacts("http", "::1", 5005)
GATEWAY_TAKEN = replace(GATEWAY, problem="Address already in use", in_use=True)
HTTP_TAKEN = replace(HTTP, problem="Address already in use", in_use=True)

WHOLE = DatabaseContents(new=False, flaws=(), latest_dose_ms=NOON_S * 1_000)
DATABASE = DatabaseFacts(Path("/srv/scentrt.db"), WHOLE, holder="", writable=True, free_bytes=10**9)


def theatre(*devices: str, opted_out: tuple[str, ...] = ()) -> TheatrePlan:
    """Return a theatre of five seats, some of which have devices."""
    zone = ZonePlan(
        ZoneId("A"),
        1,
        5,
        (Scent("pine"),),
        frozenset(SeatId(seat) for seat in opted_out),
        {SeatId(seat): DevicePlan(f"D of {seat}") for seat in devices},
    )
    return TheatrePlan("Roxy", (zone,))


def verdicts(findings: list[Finding]) -> list[str]:
    """Return how things are, and hold the findings to saying what to do where it is amiss."""
    for finding in findings:
        assert bool(finding.fix) == (finding.verdict is not Verdict.GREEN)
    return [finding.verdict for finding in findings]


class TestTheatre:
    def test_with_a_device_at_every_seat_it_is_green(self) -> None:
        all_five = theatre(*(f"A-1-{n}" for n in range(1, 6)))
        assert judge_theatre(all_five, simulate=False) == green(
            "theatre", "'Roxy': 1 zone, 5 seats, 5 with a device"
        )

    def test_seats_without_one_are_named_up_to_three(self) -> None:
        three = judge_theatre(theatre("A-1-1", "A-1-3"), simulate=False)
        assert verdicts([three]) == ["yellow"]
        assert "give A-1-2, A-1-4, A-1-5 their devices" in three.fix
        five = judge_theatre(theatre(), simulate=False)
        assert "give A-1-1, A-1-2, A-1-3 and others their devices" in five.fix
        assert five.found.endswith("none with a device")

    def test_a_seat_that_has_opted_out_needs_none(self) -> None:
        plan = theatre("A-1-1", "A-1-2", "A-1-3", opted_out=("A-1-4", "A-1-5"))
        assert verdicts([judge_theatre(plan, simulate=False)]) == ["green"]

    def test_simulated_dispensers_are_not_what_an_audience_came_for(self) -> None:
        all_five = theatre(*(f"A-1-{n}" for n in range(1, 6)))
        finding = judge_theatre(all_five, simulate=True)
        assert verdicts([finding]) == ["yellow"]
        assert "simulated" in finding.found


class TestAddresses:
    @pytest.mark.parametrize("there", [True, False])
    @pytest.mark.parametrize("holder", ["", "4242"])
    def test_free_ones_are_green_whoever_runs_elsewhere(self, there: bool, holder: str) -> None:
        findings = judge_addresses(GATEWAY, HTTP, scentrt_there=there, holder=holder)
        assert findings == [
            green("gateway", "127.0.0.1:8765 is free"),
            green("http", "[::1]:5005 is free"),
        ]

    @pytest.mark.parametrize(
        ("there", "holder", "verdict", "found"),
        [
            (True, "4242", "green", "a server runs on 127.0.0.1:8765"),
            (True, "", "yellow", "a ScentRT runs there that has another database"),
            (False, "", "red", "another program listens on 127.0.0.1:8765"),
            (False, "4242", "red", "another program listens on 127.0.0.1:8765"),
        ],
    )
    def test_one_in_use_is_judged_by_who_is_there(
        self, there: bool, holder: str, verdict: str, found: str
    ) -> None:
        findings = judge_addresses(GATEWAY_TAKEN, HTTP_TAKEN, scentrt_there=there, holder=holder)
        assert verdicts(findings) == [verdict, verdict]
        assert found in findings[0].found

    def test_an_address_that_this_machine_does_not_have_is_red(self) -> None:
        lost = replace(HTTP, problem="Cannot assign requested address")
        findings = judge_addresses(GATEWAY, lost, scentrt_there=False, holder="")
        assert verdicts(findings) == ["green", "red"]
        assert findings[1].fix == "choose another with --http HOST:PORT"

    def test_both_on_one_port_is_red_unless_the_system_chooses(self) -> None:
        same = replace(GATEWAY, field="http")
        findings = judge_addresses(GATEWAY, same, scentrt_there=False, holder="")
        assert verdicts(findings) == ["green", "red"]
        any_port = replace(GATEWAY, port=0)
        findings = judge_addresses(
            any_port, replace(any_port, field="http"), scentrt_there=False, holder=""
        )
        assert verdicts(findings) == ["green", "green"]


class TestDatabase:
    @pytest.mark.parametrize(
        ("facts", "verdict", "found"),
        [
            (DATABASE, "green", "/srv/scentrt.db is whole"),
            (replace(DATABASE, contents=None), "green", "/srv/scentrt.db will be made"),
            (
                replace(DATABASE, holder="4242"),
                "green",
                "/srv/scentrt.db is whole, in use by the server with process id 4242",
            ),
            (
                replace(DATABASE, contents=replace(WHOLE, new=True)),
                "green",
                "/srv/scentrt.db is still empty",
            ),
            (
                replace(DATABASE, contents=replace(WHOLE, flaws=("row 3 missing", "more"))),
                "red",
                "/srv/scentrt.db is damaged: row 3 missing",
            ),
            (
                replace(DATABASE, contents=replace(WHOLE, flaws=None)),
                "yellow",
                "/srv/scentrt.db, too big to be checked in a second",
            ),
            (
                replace(DATABASE, writable=False),
                "red",
                "/srv/scentrt.db cannot be written by this user, or the folder around it",
            ),
        ],
    )
    def test_its_file_is_judged(self, facts: DatabaseFacts, verdict: str, found: str) -> None:
        findings = judge_database(facts)
        assert verdicts(findings) == [verdict, "green"]
        assert findings[0].found == found

    @pytest.mark.parametrize(("free_mb", "verdict"), [(0, "red"), (99, "red"), (100, "green")])
    def test_the_disk_has_to_have_room(self, free_mb: int, verdict: str) -> None:
        findings = judge_database(replace(DATABASE, free_bytes=free_mb * 1_000_000))
        assert verdicts(findings) == ["green", verdict]

    def test_one_in_memory_works_but_forgets(self) -> None:
        assert verdicts(judge_database(None)) == ["yellow"]


class TestTime:
    @pytest.mark.parametrize(
        ("facts", "verdict", "found"),
        [
            (
                ClockFacts(NOON_S, synchronised=True),
                "green",
                "2025-11-25 12:00:00 UTC, synchronised",
            ),
            (
                ClockFacts(NOON_S, synchronised=False),
                "yellow",
                "2025-11-25 12:00:00 UTC; nothing keeps it",
            ),
            (ClockFacts(NOON_S, None), "green", "this system does not say whether"),
            (ClockFacts(0, synchronised=True), "red", "it is set to the year 1970"),
            (ClockFacts(NOON_S * 10, synchronised=True), "red", "it is set to the year 2529"),
            (ClockFacts(1e30, None), "red", "it is set to the year 9999"),
            (ClockFacts(-1e30, None), "red", "it is set to the year 1970"),
        ],
    )
    def test_the_clock_is_kept_right_and_its_year_is_of_this_century(
        self, facts: ClockFacts, verdict: str, found: str
    ) -> None:
        finding = judge_clock(facts)
        assert verdicts([finding]) == [verdict]
        assert found in finding.found

    @pytest.mark.parametrize(
        ("now_s", "verdict"),
        [(NOON_S + 1e9, "green"), (NOON_S, "green"), (NOON_S - 5, "green"), (NOON_S - 6, "red")],
    )
    def test_doses_are_of_the_past(self, now_s: float, verdict: str) -> None:
        finding = judge_doses(WHOLE, now_s)
        assert verdicts([finding]) == [verdict]
        assert "on record until 2025-11-25 12:00:00 UTC" in finding.found

    def test_no_doses_are_no_problem(self) -> None:
        assert judge_doses(replace(WHOLE, latest_dose_ms=None), 0) == green(
            "doses", "none on record"
        )

    def test_naps_are_judged_by_the_latest_but_one_in_a_hundred(self) -> None:
        assert verdicts([judge_naps([1.0] * 198 + [30.0] * 2)]) == ["yellow"]
        assert judge_naps([500.0] + [1.0] * 199) == green(
            "timer", "99 of 100 short sleeps end at most 1.0 ms late"
        )
        assert verdicts([judge_naps([21.0])]) == ["yellow"]
        assert verdicts([judge_naps([])]) == ["yellow"]

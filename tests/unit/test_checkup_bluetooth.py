"""What the doctor thinks of Bluetooth, from facts that no machine is needed for."""

import pytest

from scentrt.adapters.dispensers.bluetooth import (
    AdapterFacts,
    BluetoothFacts,
    BluetoothUnreachable,
    LinkedDevice,
    Obstacle,
)
from scentrt.checkup.bluetooth import judge_adapters, judge_bluetooth, judge_links
from scentrt.checkup.findings import Finding, Verdict, green
from scentrt.domain.cues import Scent, SeatId, ZoneId
from scentrt.domain.layout import DevicePlan, TheatrePlan, ZonePlan

HCI0 = AdapterFacts("hci0", "00:00:00:00:00:00", powered=True)
HCI1 = AdapterFacts("hci1", "00:00:00:00:00:01", powered=True)
OFF = AdapterFacts("hci2", "00:00:00:00:00:02", powered=False)


def theatre(devices: int) -> TheatrePlan:
    """Return a theatre with so many devices, in two zones: `D-0`, `D-1` and so on."""
    zones = []
    for id, numbers in ("A", range(0, devices, 2)), ("B", range(1, devices, 2)):
        seats = {
            SeatId(f"{id}-1-{n}"): DevicePlan(f"D-{number}") for n, number in enumerate(numbers, 1)
        }
        zones.append(ZonePlan(ZoneId(id), 1, 200, (Scent("pine"),), devices=seats))
    return TheatrePlan("Roxy", tuple(zones))


def verdicts(findings: list[Finding]) -> dict[str, str]:
    """Return by subject how it is, and hold the findings to saying what to do if it is amiss."""
    for finding in findings:
        assert bool(finding.fix) == (finding.verdict is not Verdict.GREEN)
    return {finding.subject: finding.verdict for finding in findings}


class TestBluetooth:
    @pytest.mark.parametrize("obstacle", Obstacle)
    def test_what_is_in_the_way_is_red_unless_no_seat_has_a_device(
        self, obstacle: Obstacle
    ) -> None:
        facts = BluetoothUnreachable(obstacle, "as the system says")
        needed, needless = (judge_bluetooth(facts, needed=needed) for needed in (True, False))
        assert verdicts([needed]) == {"bluetooth": "red"}
        assert verdicts([needless]) == {"bluetooth": "yellow"}
        assert needless.found == f"{needed.found}; no seat needs it"

    def test_every_obstacle_is_told_and_removed_in_its_own_way(self) -> None:
        told = [judge_bluetooth(BluetoothUnreachable(o, "x"), needed=True) for o in Obstacle]
        assert len({finding.found for finding in told}) == len(Obstacle)
        assert len({finding.fix for finding in told}) == len(Obstacle)

    def test_a_system_that_lists_no_adapters_says_so(self) -> None:
        finding = judge_bluetooth(BluetoothFacts("win_rt", None), needed=True)
        assert finding == green(
            "bluetooth", "reached through win_rt; this system does not list its adapters"
        )


class TestAdapters:
    def test_without_names_it_is_the_first_that_is_on(self) -> None:
        findings = judge_adapters([OFF, HCI0, HCI1], (), needed=True)
        assert [finding.found.rpartition("; ")[2] for finding in findings] == [
            "the settings do not name it",
            "00:00:00:00:00:00, switched on, 0 links in use",
            "the settings do not name it",
        ]
        assert set(verdicts(findings).values()) == {"green"}

    @pytest.mark.parametrize(("needed", "verdict"), [(True, "red"), (False, "yellow")])
    def test_one_that_is_named_has_to_be_there_and_on(self, needed: bool, verdict: str) -> None:
        findings = judge_adapters([HCI0, OFF], ("hci0", "hci2", "hci7"), needed=needed)
        assert verdicts(findings) == {"hci0": "green", "hci2": verdict, "hci7": verdict}
        assert "rfkill" in findings[1].fix
        assert findings[2].fix.endswith("what is there: hci0, hci2")

    @pytest.mark.parametrize(("needed", "verdict"), [(True, "red"), (False, "yellow")])
    def test_the_only_one_has_to_be_on(self, needed: bool, verdict: str) -> None:
        assert verdicts(judge_adapters([OFF], (), needed=needed)) == {"hci2": verdict}

    @pytest.mark.parametrize(("needed", "verdict"), [(True, "red"), (False, "yellow")])
    def test_none_at_all_is_one_line_whatever_was_named(self, needed: bool, verdict: str) -> None:
        findings = judge_adapters([], ("hci0", "hci1"), needed=needed)
        assert verdicts(findings) == {"adapters": verdict}

    def test_links_in_use_are_counted(self) -> None:
        busy = AdapterFacts("hci0", "00", powered=True, linked=(LinkedDevice("AA", "x"),))
        [finding] = judge_adapters([busy], (), needed=True)
        assert finding.found.endswith("1 link in use")


class TestLinks:
    def test_seven_devices_fit_on_an_adapter_and_fifteen_on_three(self) -> None:
        assert judge_links(theatre(7), [HCI0], (), 7).verdict == "green"
        assert judge_links(theatre(14), [HCI0, HCI1], ("hci0", "hci1"), 7).verdict == "green"
        assert judge_links(theatre(15), [HCI0, HCI1, OFF], ("hci0", "hci1", "hci2"), 5) == green(
            "links", "15 devices in the theatre, and links for it: 5 on hci0, 5 on hci1, 5 on hci2"
        )

    def test_what_is_missing_is_said_in_adapters(self) -> None:
        finding = judge_links(theatre(15), [HCI0, HCI1], ("hci0", "hci1"), 7)
        assert (finding.verdict, finding.fix) == (
            "red",
            "15 dispensers and only 14 links on 2 Bluetooth adapters: add 1 adapter, or spread the "
            "theatre over 2 nodes",
        )

    def test_only_adapters_that_are_used_count(self) -> None:
        assert judge_links(theatre(8), [HCI0, HCI1], (), 7).verdict == "red"
        assert judge_links(theatre(8), [HCI0, HCI1], ("hci1", "hci7"), 7).verdict == "red"
        assert judge_links(theatre(1), [HCI0, HCI1], ("hci7",), 7).verdict == "red"

    def test_a_device_of_somebody_else_takes_a_link_and_one_of_the_theatre_has_it(self) -> None:
        ours = LinkedDevice("d-0", ""), LinkedDevice("AA:AA", "D-1")
        busy = AdapterFacts("hci0", "00", powered=True, linked=(*ours, LinkedDevice("M", "mouse")))
        assert judge_links(theatre(6), [busy], (), 7).verdict == "green"
        finding = judge_links(theatre(7), [busy], (), 7)
        assert finding.verdict == "red"
        assert "6 on hci0" in finding.found

    def test_more_strangers_than_links_leave_none(self) -> None:
        strangers = tuple(LinkedDevice(str(n), "") for n in range(9))
        full = AdapterFacts("hci0", "00", powered=True, linked=strangers)
        assert "0 on hci0" in judge_links(theatre(1), [full], (), 7).found

    def test_a_system_that_lists_no_adapters_has_one(self) -> None:
        assert judge_links(theatre(7), None, (), 7).verdict == "green"
        assert judge_links(theatre(8), None, (), 7).verdict == "red"

"""What is to be thought of this machine's Bluetooth: pure, from facts to findings.

What is amiss is red only where a seat needs it: a theatre without devices runs without Bluetooth.
"""

from collections.abc import Sequence
from typing import assert_never

from scentrt.adapters.dispensers.adapter import Adapter, assign_adapters
from scentrt.adapters.dispensers.bluetooth import (
    AdapterFacts,
    BluetoothFacts,
    BluetoothUnreachable,
    Obstacle,
)
from scentrt.adapters.dispensers.radio import BleakRadio
from scentrt.checkup.findings import Finding, green, many, red, yellow
from scentrt.domain.cues import SeatId
from scentrt.domain.layout import TheatrePlan
from scentrt.errors import ConfigError


def judge_bluetooth(facts: BluetoothFacts | BluetoothUnreachable, *, needed: bool) -> Finding:
    """Say whether Bluetooth can be reached."""
    if isinstance(facts, BluetoothUnreachable):
        found, fix = _hindered(facts)
        return _amiss("bluetooth", found, fix, needed=needed)
    if facts.adapters is None:
        return green(
            "bluetooth", f"reached through {facts.backend}; this system does not list its adapters"
        )
    return green("bluetooth", "BlueZ answers")


def _hindered(facts: BluetoothUnreachable) -> tuple[str, str]:
    match facts.obstacle:
        case Obstacle.NO_BACKEND:
            return (
                f"there is no way to Bluetooth on this system: {facts.detail}",
                "run the theatre on Linux, macOS or Windows",
            )
        case Obstacle.BAD_ADDRESS:
            return (
                f"DBUS_SYSTEM_BUS_ADDRESS names no bus: {facts.detail}",
                "unset it, or write it like unix:path=/run/dbus/system_bus_socket",
            )
        case Obstacle.NO_BUS:
            return (
                f"there is no system D-Bus: {facts.detail}",
                "install and start it (sudo apt install bluez dbus), or let this container see "
                "/run/dbus of its host",
            )
        case Obstacle.SHUT_OUT:
            return (
                f"the system D-Bus does not let this user in: {facts.detail}",
                "run ScentRT as a user whom the bus knows; in a container, as the same one as "
                "outside",
            )
        case Obstacle.NOT_RUNNING:
            return (
                "the Bluetooth service BlueZ does not run",
                "start it: sudo systemctl enable --now bluetooth (sudo apt install bluez, if it "
                "is not there)",
            )
        case Obstacle.FORBIDDEN:
            return (
                f"this user may not talk to BlueZ: {facts.detail}",
                "add the user to the group bluetooth (sudo usermod -aG bluetooth USER), and log "
                "in again",
            )
        case Obstacle.SILENT:
            return (
                "BlueZ does not answer",
                "start it again: sudo systemctl restart bluetooth",
            )
        case Obstacle.OTHER:
            return (
                f"BlueZ cannot be asked: {facts.detail}",
                "start it again (sudo systemctl restart bluetooth), and see its log: journalctl "
                "-u bluetooth",
            )
        case _:
            assert_never(facts.obstacle)


def judge_adapters(
    adapters: Sequence[AdapterFacts],
    named: Sequence[str],
    *,
    needed: bool,
) -> list[Finding]:
    """Say of each adapter what it is, and of those that the settings name whether they are there.

    Where none is named, it is the first that is switched on, as bleak has it.
    """
    if not adapters:
        return [
            _amiss(
                "adapters",
                "BlueZ has no Bluetooth adapter",
                "plug one in; one that is in and not seen lacks a driver: see 'sudo dmesg'",
                needed=needed,
            )
        ]
    used = {adapter.name for adapter in used_adapters(adapters, named)}
    findings = [_judge_adapter(adapter, used, needed=needed) for adapter in adapters]
    there = [adapter.name for adapter in adapters]
    for name in dict.fromkeys(named):
        if name not in there:
            fix = f"plug it in, or name in the settings what is there: {', '.join(there)}"
            findings.append(_amiss(name, "there is no such adapter", fix, needed=needed))
    return findings


def used_adapters(adapters: Sequence[AdapterFacts], named: Sequence[str]) -> list[AdapterFacts]:
    """Return those that the theatre uses: the named ones, else the first that is switched on."""
    if named:
        return [adapter for adapter in adapters if adapter.name in named]
    on = [adapter for adapter in adapters if adapter.powered]
    return (on or list(adapters))[:1]


def _judge_adapter(adapter: AdapterFacts, used: set[str], *, needed: bool) -> Finding:
    links = f"{many(len(adapter.linked), 'link')} in use"
    if adapter.name not in used:
        power = "on" if adapter.powered else "off"
        return green(
            adapter.name,
            f"{adapter.address}, switched {power}, {links}; the settings do not name it",
        )
    if not adapter.powered:
        return _amiss(
            adapter.name,
            f"{adapter.address} is switched off",
            "switch it on: bluetoothctl power on (and before it, sudo rfkill unblock bluetooth)",
            needed=needed,
        )
    return green(adapter.name, f"{adapter.address}, switched on, {links}")


def judge_links(
    plan: TheatrePlan,
    adapters: Sequence[AdapterFacts] | None,
    named: Sequence[str],
    links_each: int,
) -> Finding:
    """Say whether the adapters that are used have links for all devices of the theatre.

    A system that does not list its adapters (None) is taken to have one. What an adapter is
    connected with that is not the theatre's takes a link away.
    """
    devices = {seat: device for zone in plan.zones for seat, device in zone.devices.items()}
    ours = {device.name.casefold() for device in devices.values()}
    free: dict[str, int] = {"the adapter": links_each} if adapters is None else {}
    for adapter in used_adapters(adapters or (), named):
        others = [
            linked
            for linked in adapter.linked
            if ours.isdisjoint({linked.address.casefold(), linked.name.casefold()})
        ]
        free[adapter.name] = max(0, links_each - len(others))
    slots = ", ".join(f"{links} on {name}" for name, links in free.items()) or "none"
    found = f"{many(len(devices), 'device')} in the theatre, and links for it: {slots}"
    try:
        _assign(list(devices), free)
    except ConfigError as error:
        return red("links", found, error.problem)
    return green("links", found)


def _assign(seats: list[SeatId], free: dict[str, int]) -> None:
    adapters = [Adapter(name, BleakRadio(name), links) for name, links in free.items()]
    assign_adapters("links", seats, adapters)


def _amiss(subject: str, found: str, fix: str, *, needed: bool) -> Finding:
    if needed:
        return red(subject, found, fix)
    return yellow(subject, f"{found}; no seat needs it", fix)

"""The control line: faults by script, and what the devices got. One JSON object to a line.

Requests come in on standard input, and each gets one answer on standard output, in order:

    {"do": "faults", "faults": {"late_s": 0.2, "stuck_slots": [1]}, "to": ["SD-0003"]}
    {"do": "drop"}
    {"do": "report", "to": ["SD-0003"]}

`to` are serial numbers, and all devices where it is left out. The answer is `{}`, or
`{"devices": […]}` to a report, or `{"error": "…"}` where nothing was done. Bytes are Base64; times
are seconds on the system's monotonic clock, which all processes share, as `time.monotonic` reads
it in Python.
"""

import asyncio

import msgspec

from simulators.ble.bluez.service import Bluez
from simulators.ble.dispenser import Opening, Received
from simulators.ble.peripheral import Faults, Peripheral


class SetFaults(msgspec.Struct, tag="faults", tag_field="do", forbid_unknown_fields=True):
    """Have devices misbehave like this from now on; without anything, not at all."""

    faults: Faults = Faults()
    to: list[str] | None = None


class Drop(msgspec.Struct, tag="drop", tag_field="do", forbid_unknown_fields=True):
    """Break the links of devices."""

    to: list[str] | None = None


class Report(msgspec.Struct, tag="report", tag_field="do", forbid_unknown_fields=True):
    """Ask what devices got."""

    to: list[str] | None = None


class DeviceReport(msgspec.Struct, frozen=True):
    """What one device got, and what it did."""

    serial: str
    address: str
    adapter: str | None
    """The path of the adapter that it is connected through."""
    received: list[Received]
    openings: list[Opening]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What comes of a request: the devices of a report, or why nothing was done."""

    devices: list[DeviceReport] = []
    error: str = ""


class Device(msgspec.Struct, frozen=True):
    """A device as the first line names it."""

    serial: str
    address: str


class Ready(msgspec.Struct, frozen=True):
    """The first line: where the bus is, and which devices there are."""

    bus: str
    devices: list[Device]


Request = SetFaults | Drop | Report
_decoder = msgspec.json.Decoder(Request)


def answer(bluez: Bluez, line: bytes) -> Answer:
    """Do what a line asks for."""
    try:
        request = _decoder.decode(line)
        addressed = _addressed(bluez.peripherals, request.to)
    except (msgspec.DecodeError, LookupError) as error:
        return Answer(error=str(error))
    match request:
        case SetFaults(faults=faults):
            for peripheral in addressed:
                peripheral.set_faults(faults)
        case Drop():
            for peripheral in addressed:
                peripheral.drop()
        case Report():
            return Answer([_report(bluez, peripheral) for peripheral in addressed])
    return Answer()


def _addressed(peripherals: list[Peripheral], serials: list[str] | None) -> list[Peripheral]:
    if serials is None:
        return peripherals
    by_serial = {p.dispenser.identity.serial: p for p in peripherals}
    unknown = [serial for serial in serials if serial not in by_serial]
    if unknown:
        raise LookupError(f"there is no device {', '.join(unknown)}")
    return [by_serial[serial] for serial in serials]


def _report(bluez: Bluez, peripheral: Peripheral) -> DeviceReport:
    dispenser = peripheral.dispenser
    return DeviceReport(
        serial=dispenser.identity.serial,
        address=peripheral.address,
        adapter=bluez.adapter_of(peripheral),
        received=list(dispenser.received),
        openings=dispenser.openings(asyncio.get_running_loop().time()),
    )

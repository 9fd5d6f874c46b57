"""Run a simulated BlueZ: `python -m simulators.ble.bluez --help`.

It says where it is in a line of JSON, takes what `control` describes, and ends when its standard
input does, or with SIGTERM.
"""

import argparse
import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from dbus_fast.aio import MessageBus

from simulators.ble.bluez.adapter import Limits
from simulators.ble.bluez.bus import DaemonFailed, DaemonMissing, private_bus
from simulators.ble.bluez.control import Device, Ready, answer
from simulators.ble.bluez.service import Bluez
from simulators.ble.dispenser import Dispenser, Identity
from simulators.ble.peripheral import Faults
from simulators.ble.places import nth_address, nth_serial


def options() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    usual = Limits()
    parser = argparse.ArgumentParser(
        prog="python -m simulators.ble.bluez",
        description="Simulate BlueZ, with dispensers, on a private D-Bus. Lead programs there with "
        "DBUS_SYSTEM_BUS_ADDRESS; the first line says to where.",
    )
    parser.add_argument("--devices", type=int, default=24, help="how many dispensers there are")
    parser.add_argument("--adapters", type=int, default=1, help="how many adapters hear them")
    parser.add_argument(
        "--links", type=int, default=usual.links, help="how many connections an adapter has"
    )
    parser.add_argument(
        "--interval-ms", type=float, default=Faults().interval_s * 1000, help="of a connection"
    )
    parser.add_argument(
        "--connect-timeout",
        type=float,
        metavar="S",
        default=usual.connect_timeout_s,
        help="how long BlueZ waits for a device that is absent",
    )
    parser.add_argument(
        "--forget-after",
        type=float,
        metavar="S",
        default=usual.forget_after_s,
        help="how long BlueZ remembers a device that is not heard any more",
    )
    parser.add_argument(
        "--key", type=bytes.fromhex, metavar="HEX", help="every device's, for challenges"
    )
    parser.add_argument("--ready-file", type=Path, help="write the first line here as well")
    return parser


async def simulate(arguments: argparse.Namespace, address: str) -> None:
    """Be on the bus at this address until there is a reason to end."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer)
    bus = await MessageBus(bus_address=address).connect()
    limits = Limits(arguments.links, arguments.connect_timeout, arguments.forget_after)
    bluez = Bluez(bus, adapters=arguments.adapters, limits=limits)
    for number in range(1, arguments.devices + 1):
        dispenser = Dispenser(Identity(nth_serial(number)), key=arguments.key)
        peripheral = bluez.add(nth_address(number), dispenser)
        peripheral.set_faults(Faults(interval_s=arguments.interval_ms / 1000))
    devices = [Device(p.dispenser.identity.serial, p.address) for p in bluez.peripherals]

    def say_ready() -> None:
        first_line = msgspec.json.encode(Ready(address, devices))
        if arguments.ready_file is not None:
            arguments.ready_file.write_bytes(first_line + b"\n")
        _say(first_line)

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(bluez.serve(say_ready))
        loop.add_signal_handler(signal.SIGTERM, lines.feed_eof)
        loop.add_signal_handler(signal.SIGINT, lines.feed_eof)
        while line := await lines.readline():
            _say(msgspec.json.encode(answer(bluez, line)))
        serving.cancel()
    bus.disconnect()


def _say(line: bytes) -> None:
    with suppress(BrokenPipeError):  # nobody listens, and standard input is about to end
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    """Run the command line."""
    arguments = options().parse_args()
    # Until the loop takes over, so that the daemon never outlives the simulator.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        with private_bus() as address:
            asyncio.run(simulate(arguments, address))
    except (DaemonMissing, DaemonFailed) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

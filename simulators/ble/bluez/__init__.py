"""A simulated BlueZ: `org.bluez` on a private D-Bus, in a process of its own.

bleak's real Linux backend talks to it as it would to the system's Bluetooth daemon, so the path
that production takes is the one that is tried: `DBUS_SYSTEM_BUS_ADDRESS` leads there. Start it with
`python -m simulators.ble.bluez`, or from Python with `process.simulated_bluez`.
"""

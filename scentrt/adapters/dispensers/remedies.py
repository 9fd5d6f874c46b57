"""Why a Bluetooth adapter does not work, in sentences that say how to mend it.

From what bleak raises when it is to scan: errors of its own, of BlueZ, and of the bus to BlueZ.
"""

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakError,
)

_MISSING = "is not there: plug it in, or name another; on Linux, `bluetoothctl list` shows them"
_CLASSIC = "does not connect to devices by Bluetooth LE: plug in one that does"
_OFF = "is switched off: switch it on, on Linux with `bluetoothctl power on`"
_NO_BLUEZ = (
    "cannot be reached without BlueZ: install it, and start it with `systemctl start bluetooth`"
)
_DENIED = (
    "must not be used by this program: allow that in the system's settings or, on Linux, add the "
    "program's user to the group `bluetooth`, and start it from a new login"
)

_BY_REASON = {
    BleakBluetoothNotAvailableReason.NO_BLUETOOTH: _MISSING,
    BleakBluetoothNotAvailableReason.NO_BLE_CENTRAL_ROLE: _CLASSIC,
    BleakBluetoothNotAvailableReason.POWERED_OFF: _OFF,
    BleakBluetoothNotAvailableReason.DENIED_BY_USER: _DENIED,
    BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM: _DENIED,
    BleakBluetoothNotAvailableReason.DENIED_BY_UNKNOWN: _DENIED,
}

_BY_DBUS_ERROR = {
    "org.bluez.Error.NotReady": _OFF,
    "org.bluez.Error.NotAuthorized": _DENIED,
    "org.bluez.Error.NotPermitted": _DENIED,
    "org.freedesktop.DBus.Error.AccessDenied": _DENIED,
    "org.freedesktop.DBus.Error.NameHasNoOwner": _NO_BLUEZ,
    "org.freedesktop.DBus.Error.ServiceUnknown": _NO_BLUEZ,
    "org.freedesktop.systemd1.NoSuchUnit": _NO_BLUEZ,
}


def problem_of_adapter(error: Exception, adapter: str | None) -> str:
    """Return what follows after "the Bluetooth adapter", which was asked for by this name."""
    match error:
        case BleakBluetoothNotAvailableError():
            known = _BY_REASON.get(error.reason)
        case BleakDBusError():
            known = _BY_DBUS_ERROR.get(error.dbus_error)
        case BleakError() if adapter is not None:
            known = _MISSING  # bleak has no kind of its own for a name that BlueZ does not know
        case PermissionError():
            known = _DENIED
        case FileNotFoundError() | ConnectionError():  # of the bus, which BlueZ needs as well
            known = _NO_BLUEZ
        case _:
            known = None
    why = str(error) or type(error).__name__
    return known or f"does not work: {why}; on Linux, `systemctl restart bluetooth` may help"

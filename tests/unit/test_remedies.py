"""What is said of a Bluetooth adapter that does not work, by what bleak raises."""

import pytest
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakDBusError,
    BleakError,
)

from scentrt.adapters.dispensers.remedies import problem_of_adapter


def unavailable(reason: BleakBluetoothNotAvailableReason) -> BleakError:
    return BleakBluetoothNotAvailableError("it is not available", reason)


def answered(name: str) -> BleakError:
    return BleakDBusError(name, ["what BlueZ says"])


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (unavailable(BleakBluetoothNotAvailableReason.NO_BLUETOOTH), "plug it in"),
        (BleakError("adapter 'hci3' not found"), "plug it in"),
        (unavailable(BleakBluetoothNotAvailableReason.NO_BLE_CENTRAL_ROLE), "plug in one that"),
        (unavailable(BleakBluetoothNotAvailableReason.POWERED_OFF), "`bluetoothctl power on`"),
        (answered("org.bluez.Error.NotReady"), "`bluetoothctl power on`"),
        (answered("org.freedesktop.DBus.Error.ServiceUnknown"), "`systemctl start bluetooth`"),
        (answered("org.freedesktop.DBus.Error.NameHasNoOwner"), "`systemctl start bluetooth`"),
        (FileNotFoundError(2, "No such file or directory"), "`systemctl start bluetooth`"),
        (ConnectionRefusedError(111, "Connection refused"), "`systemctl start bluetooth`"),
        (answered("org.freedesktop.DBus.Error.AccessDenied"), "the group `bluetooth`"),
        (unavailable(BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM), "the group `bluetooth`"),
        (unavailable(BleakBluetoothNotAvailableReason.DENIED_BY_USER), "the system's settings"),
        (PermissionError(13, "Permission denied"), "the group `bluetooth`"),
    ],
)
def test_every_problem_with_an_adapter_comes_with_its_remedy(error: Exception, remedy: str) -> None:
    assert remedy in problem_of_adapter(error, "hci3")


@pytest.mark.parametrize(
    "error",
    [
        answered("org.bluez.Error.Failed"),
        unavailable(BleakBluetoothNotAvailableReason.UNKNOWN),
        BleakError("another platform's"),
        AssertionError(),
    ],
)
def test_a_problem_that_nobody_foresaw_is_told_in_its_own_words(error: Exception) -> None:
    problem = problem_of_adapter(error, None)
    assert problem.startswith("does not work: ")
    assert (str(error) or "AssertionError") in problem

"""How simulated devices are called, over either radio."""


def nth_address(number: int) -> str:
    """Return the address of the nth device: random and static, as its two highest bits say."""
    return f"C4:5C:E7:00:{number >> 8:02X}:{number & 0xFF:02X}"


def nth_serial(number: int) -> str:
    """Return the serial number of the nth device, which it advertises as its name."""
    return f"SD-{number:04d}"

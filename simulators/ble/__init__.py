"""Dispensers on the air: what a seat's device does, and two simulated radios to reach it by.

`dispenser` is the device itself, pure. `peripheral` gives it a radio's delays and faults.
`air` puts many of them on a virtual link in the calling asyncio loop, for bleak through a backend
of its own; `bluez` puts them behind a simulated `org.bluez`, for bleak's real BlueZ backend.
"""

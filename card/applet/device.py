# SPDX-License-Identifier: MIT
"""Yubico's management application, which Yubico's tools select first: it tells what the device is."""

from __future__ import annotations

from .. import tlv
from ..apdu import Command
from ..status import SW, CardError

AID = bytes.fromhex("A000000527471117")

_READ_CONFIGURATION = 0x1D
_PIV = b"\x00\x10"
"""The PIV bit among the bits of all applications."""

_USB_SUPPORTED, _SERIAL, _USB_ENABLED, _FORM_FACTOR, _VERSION = 0x01, 0x02, 0x03, 0x04, 0x05
_CONFIGURATION_LOCK, _NFC_SUPPORTED, _NFC_ENABLED = 0x0A, 0x0D, 0x0E
_USB_A_KEYCHAIN, _UNLOCKED = b"\1", b"\0"


class Device:
    """The management application during one activation. `serial` has eight bytes, `version` three."""

    aid = AID

    def __init__(self, serial: bytes, version: bytes) -> None:
        self._serial = serial
        self._version = version

    def select(self) -> bytes:
        """Return the version as text."""
        return f"Virtual mgr - FW version {'.'.join(map(str, self._version))}".encode()

    def deselect(self) -> None:
        """Do nothing: the application has no volatile state."""

    def execute(self, command: Command) -> bytes:
        """Execute READ CONFIGURATION of the only page. Raises CardError(6D00) for the rest: nothing can be changed."""
        if command.cla:
            raise CardError(SW.CLA_NOT_SUPPORTED)
        if command.ins != _READ_CONFIGURATION:
            raise CardError(SW.INS_NOT_SUPPORTED)
        if command.p1 or command.p2:
            raise CardError(SW.INCORRECT_P1P2)
        configuration = b"".join(
            (
                tlv.encode(_USB_SUPPORTED, _PIV),
                tlv.encode(_SERIAL, self._serial[-4:]),
                tlv.encode(_USB_ENABLED, _PIV),
                tlv.encode(_FORM_FACTOR, _USB_A_KEYCHAIN),
                tlv.encode(_VERSION, self._version),
                tlv.encode(_CONFIGURATION_LOCK, _UNLOCKED),
                tlv.encode(_NFC_SUPPORTED, _PIV),
                tlv.encode(_NFC_ENABLED, _PIV),
            )
        )
        return bytes([len(configuration)]) + configuration

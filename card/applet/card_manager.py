# SPDX-License-Identifier: MIT
"""GlobalPlatform's card manager of an issued card: it can be read, but nobody can authenticate to it.

The keys are not given out, so no application can be loaded or deleted (GlobalPlatform Card Specification 2.3, 11).
"""

from __future__ import annotations

import os

from .. import tlv
from ..apdu import Command
from ..status import SW, CardError

AID = bytes.fromhex("A000000151000000")

_GET_DATA, _INITIALIZE_UPDATE, _EXTERNAL_AUTHENTICATE = 0xCA, 0x50, 0x82
_WANTS_SECURE_CHANNEL = {
    0xD8: "PUT KEY",
    0xE2: "STORE DATA",
    0xE4: "DELETE",
    0xE6: "INSTALL",
    0xE8: "LOAD",
    0xF0: "SET STATUS",
    0xF2: "GET STATUS",
}
_CLASSES = (0x00, 0x80, 0x84)
_LIFE_CYCLE = 0x9F7F
_RECOGNITION, _KEY_INFORMATION = 0x66, 0xE0
_LONGEST_DATA = 0x9F65
_KEY_VERSION, _AES, _AES_128 = 1, 0x88, 16
_KEYS = (1, 2, 3)
"""Of the one key version: for encryption, for MACs, and for other keys (table 7-2 of SCP03)."""
_CHALLENGE_LENGTH = 8


class CardManager:
    """The card manager during one activation. `serial` has eight bytes."""

    aid = AID

    def __init__(self, serial: bytes) -> None:
        self._serial = serial
        self._is_challenged = False

    def select(self) -> bytes:
        """Return the file control information: the AID, and the maximum length of command data (table 11-58)."""
        proprietary = tlv.encode(0xA5, tlv.encode(_LONGEST_DATA, b"\xff"))
        return tlv.encode(0x6F, tlv.encode(0x84, self.aid), proprietary)

    def deselect(self) -> None:
        """Discard a secure channel that has been initiated but not established."""
        self._is_challenged = False

    def execute(self, command: Command) -> bytes:
        """Execute one command. Raises CardError: 6E00, 6D00, 6982 for all that needs a secure channel."""
        if command.cla not in _CLASSES:
            raise CardError(SW.CLA_NOT_SUPPORTED)
        if command.ins == _GET_DATA:
            return self._get_data(command)
        if command.cla and command.ins == _INITIALIZE_UPDATE:
            return self._initialize_update(command)
        if command.cla and command.ins == _EXTERNAL_AUTHENTICATE:
            return self._external_authenticate()
        if command.ins in _WANTS_SECURE_CHANNEL:
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)
        raise CardError(SW.INS_NOT_SUPPORTED)

    def _get_data(self, command: Command) -> bytes:
        """Return a data object that is free to read. Raises CardError(6A88) for every other one."""
        asked = command.p1 << 8 | command.p2
        if asked == _LIFE_CYCLE:
            return tlv.encode(_LIFE_CYCLE, self._life_cycle())
        if asked == _RECOGNITION:
            return _recognition_data()
        if asked == _KEY_INFORMATION:
            return _key_information()
        raise CardError(SW.REFERENCE_NOT_FOUND)

    def _life_cycle(self) -> bytes:
        """Return the 42 bytes of production data: chip and system, its serial number and batch, makers and dates."""
        nobody, never = b"\0\0", b"\0\0"
        chip_and_system = bytes(2 * 5)
        made_by = 2 * (nobody + never)
        personalised_by = 2 * (nobody + never + bytes(4))
        return chip_and_system + never + self._serial[-4:] + self._serial[-6:-4] + made_by + personalised_by

    def _initialize_update(self, command: Command) -> bytes:
        """Begin SCP03 with random challenges: key diversification, key version 1, challenge, cryptogram (7.1.1)."""
        if len(command.data) != _CHALLENGE_LENGTH:
            raise CardError(SW.WRONG_LENGTH)
        self._is_challenged = True
        return self._serial[-8:].rjust(10, b"\0") + b"\1\3\0" + os.urandom(2 * _CHALLENGE_LENGTH)

    def _external_authenticate(self) -> bytes:
        """Refuse the host's cryptogram, which cannot be right. Raises CardError: 6300, 6985."""
        if not self._is_challenged:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        self._is_challenged = False
        raise CardError(SW.VERIFICATION_FAILED)


def _recognition_data() -> bytes:
    """Encode the card recognition data: GlobalPlatform 2.3, serial number, SCP03 with random challenges (H.2)."""
    said = {0x60: b"\2\2\3", 0x63: b"\3", 0x64: b"\4\3\0"}
    identifiers = (tlv.encode(tag, _identifier(rest)) for tag, rest in said.items())
    return tlv.encode(_RECOGNITION, tlv.encode(0x73, _identifier(b"\1"), *identifiers))


def _identifier(rest: bytes) -> bytes:
    """Encode an object identifier of GlobalPlatform's, below 1.2.840.114283."""
    return tlv.encode(0x06, bytes.fromhex("2A864886FC6B") + rest)


def _key_information() -> bytes:
    """Encode each key's number, version, type and length (table 11-28), but not the key."""
    keys = (tlv.encode(0xC0, bytes((number, _KEY_VERSION, _AES, _AES_128))) for number in _KEYS)
    return tlv.encode(_KEY_INFORMATION, *keys)

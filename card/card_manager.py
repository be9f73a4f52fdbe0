# SPDX-License-Identifier: MIT
"""GlobalPlatform's card manager, as of a card in the field: it shows itself, and lets in nobody without its keys.

Nobody has these keys, so no application can be loaded or deleted (GlobalPlatform Card Specification 2.3, chapter 11).
"""

from __future__ import annotations

import os

from . import tlv
from .apdu import Command
from .cms import oid
from .status import SW, CardError

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
_LONGEST_DATA = 0x9F65
_CHALLENGE_LENGTH = 8

_AES, _AES_LENGTH = 0x88, 16
_KEY_VERSION = 1
_KEY_INFORMATION = tlv.encode(
    0xE0, *(tlv.encode(0xC0, bytes((number, _KEY_VERSION, _AES, _AES_LENGTH))) for number in (1, 2, 3))
)
"""The three keys of a secure channel (11.3.3.1.1)."""

_GLOBAL_PLATFORM = "1.2.840.114283"
_CARD_DATA = tlv.encode(
    0x66,
    tlv.encode(
        0x73,
        oid(f"{_GLOBAL_PLATFORM}.1"),
        tlv.encode(0x60, oid(f"{_GLOBAL_PLATFORM}.2.2.3")),
        tlv.encode(0x63, oid(f"{_GLOBAL_PLATFORM}.3")),
        tlv.encode(0x64, oid(f"{_GLOBAL_PLATFORM}.4.3.0")),
    ),
)
"""Card recognition data (appendix H.2): version 2.3, and SCP03 for a secure channel."""


class CardManager:
    """In one activation. `serial` has eight bytes."""

    aid = AID

    def __init__(self, serial: bytes) -> None:
        self._serial = serial
        self._is_challenged = False

    def select(self) -> bytes:
        """The file control information: its name, and how long commands can be (table 11-58)."""
        proprietary = tlv.encode(0xA5, tlv.encode(_LONGEST_DATA, b"\xff"))
        return tlv.encode(0x6F, tlv.encode(0x84, self.aid), proprietary)

    def deselect(self) -> None:
        """A secure channel that has only been begun is forgotten."""
        self._is_challenged = False

    def execute(self, command: Command) -> bytes:
        """Raises CardError: 6E00, 6D00, 6982 for all that wants a secure channel."""
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
        """What anybody may know: the card's production, what card it is, which keys it wants; anything else is 6A88."""
        match command.p1 << 8 | command.p2:
            case 0x9F7F:
                return tlv.encode(_LIFE_CYCLE, self._life_cycle())
            case 0x0066:
                return _CARD_DATA
            case 0x00E0:
                return _KEY_INFORMATION
        raise CardError(SW.REFERENCE_NOT_FOUND)

    def _life_cycle(self) -> bytes:
        """42 bytes: chip and system, serial number and batch of the chip, and who has made a card of it, when."""
        nobody, never = b"\0\0", b"\0\0"
        chip_and_system = bytes(2 * 5)
        made_by = 2 * (nobody + never)
        personalised_by = 2 * (nobody + never + bytes(4))
        return chip_and_system + never + self._serial[-4:] + self._serial[-6:-4] + made_by + personalised_by

    def _initialize_update(self, command: Command) -> bytes:
        """SCP03 with random challenges: key diversification, key version 1, challenge, cryptogram (7.1.1)."""
        if len(command.data) != _CHALLENGE_LENGTH:
            raise CardError(SW.WRONG_LENGTH)
        self._is_challenged = True
        return self._serial[-8:].rjust(10, b"\0") + bytes((_KEY_VERSION, 3, 0)) + os.urandom(2 * _CHALLENGE_LENGTH)

    def _external_authenticate(self) -> bytes:
        """Whatever the host's cryptogram is, it cannot be right. Raises CardError: 6300, 6985."""
        if not self._is_challenged:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        self._is_challenged = False
        raise CardError(SW.VERIFICATION_FAILED)

# SPDX-License-Identifier: MIT
"""The host's side of PIV: commands to a card in a reader, as short APDUs with command chaining and GET RESPONSE.

Knows nothing of PKCS #11 but the errors into which it turns status words. CardRemoved passes through.
"""

from __future__ import annotations

from ..card import tlv
from ..card.security import PIN_LENGTH
from ..card.status import SW
from ..card.tables import DISCOVERY, INS, PIN, PIV_AID, PUK, Algorithm
from ..reader.reader import Insertion
from .constants import CKR
from .errors import P11Error, from_status

_SHORT = 255
_CHAINING = 0x10
_OK = b"\x90\x00"


class PivClient:
    """Speaks to one card for as long as it stays in its reader. Thread-safe: each command holds the card's lock."""

    def __init__(self, insertion: Insertion) -> None:
        self.insertion = insertion
        self._selected: object = None

    def select(self) -> bool:
        """Select the PIV application if that has not been done since the last reset. False: the card has none."""
        insertion = self.insertion
        with insertion.lock:
            if self._selected is insertion.activation:
                return True
            response = insertion.transmit(bytes((0, INS.SELECT, 4, 0, len(PIV_AID))) + PIV_AID + b"\0")
            if not response.endswith(_OK):
                return False
            self._selected = insertion.activation
            return True

    def exchange(self, ins: int, p1: int, p2: int, data: bytes = b"") -> tuple[bytes, int]:
        """One whole command to one whole answer and its status word."""
        insertion = self.insertion
        transmit = insertion.transmit
        with insertion.lock:
            if self._selected is not insertion.activation and not self.select():
                raise P11Error(CKR.TOKEN_NOT_RECOGNIZED)
            while len(data) > _SHORT:
                response = transmit(bytes((_CHAINING, ins, p1, p2, _SHORT)) + data[:_SHORT])
                if response != _OK:
                    return b"", int.from_bytes(response[-2:], "big")
                data = data[_SHORT:]
            length = bytes((len(data),)) if data else b""
            response = transmit(bytes((0, ins, p1, p2)) + length + data + b"\0")
            if response[-2] != 0x61:
                return response[:-2], response[-2] << 8 | response[-1]
            parts = [response[:-2]]
            while response[-2] == 0x61:
                response = transmit(bytes((0, INS.GET_RESPONSE, 0, 0, response[-1])))
                parts.append(response[:-2])
            return b"".join(parts), response[-2] << 8 | response[-1]

    def command(self, ins: int, p1: int, p2: int, data: bytes = b"") -> bytes:
        """The answer to a command that has to succeed. Raises P11Error."""
        answer, status = self.exchange(ins, p1, p2, data)
        if status != SW.OK:
            raise from_status(status)
        return answer

    def read_object(self, tag: int) -> bytes | None:
        """A data object without its wrapping, or None if the card has none (or does not let it be read now)."""
        name = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
        answer, status = self.exchange(INS.GET_DATA, 0x3F, 0xFF, tlv.encode(0x5C, name))
        if status != SW.OK:
            return None
        try:
            kind, value, _ = tlv.read(answer)
        except tlv.TlvError:
            return None
        return value if kind == (DISCOVERY if tag == DISCOVERY else 0x53) else None

    def metadata(self, reference: int) -> dict[int, bytes] | None:
        """What the card tells of a key slot, where it has that command."""
        answer, status = self.exchange(INS.GET_METADATA, 0, reference)
        if status != SW.OK:
            return None
        try:
            return dict(tlv.decode(answer))
        except tlv.TlvError:
            return None

    def verify(self, pin: bytes) -> None:
        """VERIFY. Raises P11Error(PIN_INCORRECT or PIN_LOCKED)."""
        _, status = self.exchange(INS.VERIFY, 0, PIN, _padded(pin, CKR.PIN_INCORRECT))
        _check_pin(status)

    def give_up_verification(self) -> None:
        """Back to a card on which no PIN is verified (SP 800-73-4 part 2, 3.2.1)."""
        self.exchange(INS.VERIFY, 0xFF, PIN)

    def pin_tries(self) -> int | None:
        """Tries left for the PIN; None while it is verified, for then the card does not say."""
        _, status = self.exchange(INS.VERIFY, 0, PIN)
        if status == SW.AUTHENTICATION_METHOD_BLOCKED:
            return 0
        return status & 0xF if status & 0xFFF0 == 0x63C0 else None

    def change(self, reference: int, old: bytes, new: bytes) -> None:
        """CHANGE REFERENCE DATA for PIN or PUK. Raises P11Error."""
        value = _padded(old, CKR.PIN_INCORRECT) + _padded(new, CKR.PIN_LEN_RANGE)
        _, status = self.exchange(INS.CHANGE_REFERENCE_DATA, 0, reference, value)
        _check_pin(status, malformed=CKR.PIN_INVALID)

    def check_puk(self, puk: bytes) -> None:
        """PIV has no command that only compares the PUK; changing it to itself does. Raises P11Error."""
        value = _padded(puk, CKR.PIN_INCORRECT)
        _, status = self.exchange(INS.CHANGE_REFERENCE_DATA, 0, PUK, value + value)
        _check_pin(status)

    def reset_pin(self, puk: bytes, pin: bytes) -> None:
        """RESET RETRY COUNTER: a new PIN by the PUK. Raises P11Error."""
        value = _padded(puk, CKR.PIN_INCORRECT) + _padded(pin, CKR.PIN_LEN_RANGE)
        _, status = self.exchange(INS.RESET_RETRY_COUNTER, 0, PIN, value)
        _check_pin(status, malformed=CKR.PIN_INVALID)

    def use_key(self, slot: int, algorithm: Algorithm, data: bytes, tag: int = 0x81) -> bytes:
        """GENERAL AUTHENTICATE with a private key; tag 85 for key agreement. Raises P11Error."""
        template = tlv.encode(0x7C, b"\x82\x00", tlv.encode(tag, data))
        answer = self.command(INS.GENERAL_AUTHENTICATE, algorithm, slot, template)
        try:
            return dict(tlv.decode(tlv.read(answer)[1]))[0x82]
        except (tlv.TlvError, KeyError):
            raise P11Error(CKR.DEVICE_ERROR) from None


def _padded(value: bytes, error: CKR) -> bytes:
    """A PIN for the card edge; one that cannot be sent at all never costs a try."""
    if not 6 <= len(value) <= PIN_LENGTH:
        raise P11Error(error)
    return value.ljust(PIN_LENGTH, b"\xff")


def _check_pin(status: int, malformed: CKR = CKR.PIN_INCORRECT) -> None:
    if status == SW.INCORRECT_DATA:
        raise P11Error(malformed)
    if status != SW.OK:
        raise from_status(status)

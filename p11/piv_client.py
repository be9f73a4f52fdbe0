# SPDX-License-Identifier: MIT
"""The host's side of PIV (SP 800-73-5 part 2): commands to a card in a reader.

Of PKCS #11 it uses only P11Error, into which it turns status words. CardRemoved passes through.
"""

from __future__ import annotations

from functools import lru_cache

from ..card import atr as answer_to_reset
from ..card import tlv
from ..card.crypto.dsa_keys import Domain
from ..card.crypto.edwards import Variant
from ..card.pin_rules import PIN_LENGTH
from ..card.status import SW
from ..card.tables import DISCOVERY, EDWARDS_VARIANTS, INS, PIN, PIV_AID, PUK, SELF_TAGGED, Algorithm, PinRule
from ..reader.errors import CardMute
from ..reader.reader import Insertion
from .constants import CKR
from .errors import P11Error
from .status_words import To, error_for, is_refusal

_POLICIES = {PinRule.NEVER: b"\1", PinRule.ONCE: b"\2", PinRule.ALWAYS: b"\3"}
_SHORT = 255
_CHAINING = 0x10
_OK = b"\x90\x00"
_WITH_DATA = frozenset({SW.OK, 0x6282})
"""Success, and the warning that the data ends before all that was asked for (ISO/IEC 7816-4, table 6)."""

_MOST_RESETS = 3
_MOST_PARTS = 4096
"""Parts of a response, of 256 bytes each: 1 MB, more than any data object has."""
_OF_ANOTHER = frozenset({SW.INS_NOT_SUPPORTED, SW.CLA_NOT_SUPPORTED})
"""Status words that a card returns when another application is selected."""
_SUCCESS, _GENERAL_AUTHENTICATE = SW.OK, INS.GENERAL_AUTHENTICATE
_WITH_PIN = (To.VERIFY, To.CHANGE)
"""Commands whose refusal says nothing of the management key."""


class PivClient:
    """The connection to one card while it is in its reader. Thread-safe: each command holds the card's lock."""

    def __init__(self, insertion: Insertion) -> None:
        self.insertion = insertion
        self.lock = insertion.lock
        self._extended = _takes_extended_lengths(insertion.atr)
        self._selected: object = None
        self._lacking: set[int] = set()
        self._authenticated: object = None

    @property
    def is_authenticated(self) -> bool:
        """Return whether the management key has been authenticated since the last reset."""
        return self._authenticated is self.insertion.activation

    @is_authenticated.setter
    def is_authenticated(self, value: bool) -> None:
        self._authenticated = self.insertion.activation if value else None

    @property
    def revision(self) -> tuple[object, int]:
        """Return a value that changes whenever keys or data on the card do."""
        card = self.insertion.card
        return card, card.revision

    def select(self) -> bool:
        """Select the PIV application unless it is selected already; return False if the card has none.

        Raises P11Error(DEVICE_ERROR) when the card could not tell.
        """
        insertion = self.insertion
        if self._selected is insertion.activation:  # without waiting for a card that is at work
            return True
        with insertion.lock:
            if self._selected is insertion.activation:
                return True
            response = self._transmit(bytes((0, INS.SELECT, 4, 0, len(PIV_AID))) + PIV_AID + b"\0")
            if not response.endswith(_OK) and response[-2] != 0x61:
                if response[-2] == 0x62 or is_refusal(int.from_bytes(response[-2:], "big")):
                    return False
                raise P11Error(CKR.DEVICE_ERROR)
            self._selected = insertion.activation
            return True

    def _transmit(self, command: bytes) -> bytes:
        """Send one APDU. Raises P11Error(DEVICE_ERROR) for no response, or one without a status word."""
        try:
            response = self.insertion.transmit(command)
        except CardMute:
            raise P11Error(CKR.DEVICE_ERROR) from None
        if len(response) < 2:
            raise P11Error(CKR.DEVICE_ERROR)
        return response

    def exchange(self, ins: int, p1: int, p2: int, data: bytes = b"", extended: bool = False) -> tuple[bytes, int]:
        """Send one command and return the whole response data and the status word.

        All commands but SELECT go this way. With `extended` it is one APDU of extended lengths; otherwise it is short
        APDUs with command chaining and GET RESPONSE. After a response of another application PIV is selected again and
        the command repeated, once. Raises P11Error(TOKEN_NOT_RECOGNIZED, DEVICE_ERROR).
        """
        with self.insertion.lock:
            response, status = self._send(ins, p1, p2, data, extended)
            if status in _OF_ANOTHER and ins not in self._lacking:
                # Another program has selected another application, or the card does not have the instruction.
                self._selected = None
                response, status = self._send(ins, p1, p2, data, extended)
                if status in _OF_ANOTHER:
                    self._lacking.add(ins)
            return response, status

    def _send(self, ins: int, p1: int, p2: int, data: bytes, extended: bool) -> tuple[bytes, int]:
        transmit = self._transmit
        if self._selected is not self.insertion.activation and not self.select():
            raise P11Error(CKR.TOKEN_NOT_RECOGNIZED)
        if extended:
            response = transmit(bytes((0, ins, p1, p2, 0, len(data) >> 8, len(data) & 0xFF)) + data + b"\0\0")
        else:
            while len(data) > _SHORT:
                response = transmit(bytes((_CHAINING, ins, p1, p2, _SHORT)) + data[:_SHORT])
                if response != _OK:
                    return b"", int.from_bytes(response[-2:], "big")
                data = data[_SHORT:]
            header = bytes((0, ins, p1, p2, len(data))) if data else bytes((0, ins, p1, p2))
            response = transmit(header + data + b"\0")
            if response[-2] == 0x6C:  # by T=0, without data
                response = transmit(header + response[-1:])
        if response[-2] != 0x61:
            return response[:-2], response[-2] << 8 | response[-1]
        return self._whole_response(response)

    def _whole_response(self, response: bytes) -> tuple[bytes, int]:
        """Get the rest of a response by GET RESPONSE. Raises P11Error(DEVICE_ERROR) for one without end or content."""
        parts = [response[:-2]]
        while response[-2] == 0x61:
            response = self._transmit(bytes((0, INS.GET_RESPONSE, 0, 0, response[-1])))
            if len(parts) == _MOST_PARTS or (len(response) == 2 and response[-2] == 0x61):
                raise P11Error(CKR.DEVICE_ERROR)
            parts.append(response[:-2])
        return b"".join(parts), response[-2] << 8 | response[-1]

    def command(self, to: To, ins: int, p1: int, p2: int, data: bytes = b"") -> bytes:
        """Send a command that has to succeed and return its response data.

        Raises P11Error; `to` selects the column of the table of status words.
        """
        response, status = self.exchange(ins, p1, p2, data)
        if status == _SUCCESS:
            return response
        if status == SW.SECURITY_STATUS_NOT_SATISFIED and to not in _WITH_PIN:  # another program has reset the card
            self.is_authenticated = False
        raise error_for(to, status)

    def read_object(self, tag: int, as_user: bool = False) -> bytes | None:
        """Return a data object without its wrapping, None if there is none or it cannot be read now (GET DATA).

        With `as_user`, for an object that needs the PIN, a refusal is P11Error(USER_NOT_LOGGED_IN). Raises P11Error
        also when the card could not tell.
        """
        response, status = self._read(INS.GET_DATA, 0x3F, 0xFF, _tag_list(tag), self._extended)
        if as_user and status == SW.SECURITY_STATUS_NOT_SATISFIED:
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        if status not in _WITH_DATA:
            return None
        try:
            kind, value, _ = tlv.read(response)
        except tlv.TlvError:
            return None
        return value if kind == (DISCOVERY if tag == DISCOVERY else 0x53) else None

    def _read(self, ins: int, p1: int, p2: int, data: bytes = b"", extended: bool = False) -> tuple[bytes, int]:
        """Send a command that only reads, again if the card has been reset meanwhile.

        Raises P11Error when the card could not tell: that does not mean that the card lacks what it was asked for.
        """
        for _ in range(_MOST_RESETS):
            response, status = self.exchange(ins, p1, p2, data, extended)
            if self._selected is self.insertion.activation:
                if status not in _WITH_DATA and not is_refusal(status):
                    raise P11Error(CKR.DEVICE_ERROR)
                return response, status
        raise P11Error(CKR.DEVICE_ERROR)

    def write_object(self, tag: int, value: bytes) -> None:
        """Write a data object, or delete it by an empty value (PUT DATA). Raises P11Error."""
        if tag in SELF_TAGGED:
            self.command(To.WRITE, INS.PUT_DATA, 0x3F, 0xFF, tlv.encode(tag, value))
            return
        self.command(To.WRITE, INS.PUT_DATA, 0x3F, 0xFF, _tag_list(tag) + tlv.encode(0x53, value))

    def generate(self, slot: int, algorithm: Algorithm, rule: PinRule, domain: Domain | None = None) -> None:
        """Generate a key pair in a slot, with a PIN policy, and a domain for DSA. Raises P11Error."""
        control = tlv.encode(0x80, bytes([algorithm])) + tlv.encode(0xAA, _POLICIES[rule])
        control += b"".join(tlv.encode(*each) for each in domain.encode(0x81).items()) if domain is not None else b""
        self.command(To.MAKE, INS.GENERATE_ASYMMETRIC_KEY_PAIR, 0, slot, tlv.encode(0xAC, control))

    def import_key(self, slot: int, algorithm: Algorithm, numbers: dict[int, bytes], rule: PinRule) -> None:
        """Import a private key into a slot, with a PIN policy (Yubico's IMPORT KEY). Raises P11Error."""
        fields = [tlv.encode(tag, value) for tag, value in numbers.items()]
        self.command(To.MAKE, INS.IMPORT_KEY, algorithm, slot, b"".join(fields) + tlv.encode(0xAA, _POLICIES[rule]))

    def delete_key(self, slot: int) -> None:
        """Delete the key in a slot (Yubico's MOVE KEY to slot FF). Raises P11Error."""
        self.command(To.WRITE, INS.MOVE_KEY, 0xFF, slot)

    def metadata(self, reference: int) -> dict[int, bytes] | None:
        """Return the metadata of a key slot, {} for an empty one, None if the card lacks the command (GET METADATA)."""
        response, status = self._read(INS.GET_METADATA, 0, reference)
        if status == SW.REFERENCE_NOT_FOUND:
            return {}
        if status != SW.OK:
            return None
        try:
            return dict(tlv.decode(response))
        except tlv.TlvError:
            return None

    def serial(self) -> int | None:
        """Return the serial number of the device, None if the card lacks the command (Yubico's GET SERIAL)."""
        response, status = self.exchange(INS.GET_SERIAL, 0, 0)
        return int.from_bytes(response, "big") if status == SW.OK else None

    def verify(self, pin: bytes) -> None:
        """Verify the PIN (VERIFY). Raises P11Error."""
        self.is_authenticated = False  # so that the next write authenticates by this login
        self.command(To.VERIFY, INS.VERIFY, 0, PIN, _padded(pin))

    def give_up_verification(self) -> None:
        """End the verification of the PIN (VERIFY with P1 FF; SP 800-73-5 part 2, 3.2.1)."""
        self.exchange(INS.VERIFY, 0xFF, PIN)

    def is_verified(self) -> bool:
        """Ask the card, by an empty VERIFY, whether the PIN counts as verified."""
        return self.exchange(INS.VERIFY, 0, PIN)[1] == SW.OK

    def retries(self, reference: int) -> tuple[int | None, int | None]:
        """Return the retries left for PIN or PUK and the most there are, None for what the card does not tell.

        Without GET METADATA only an empty VERIFY tells, and only of a PIN that is not verified.
        """
        told = (self.metadata(reference) or {}).get(0x06)
        if told is not None and len(told) == 2:
            return told[1], told[0]
        if reference != PIN:
            return None, None
        _, status = self.exchange(INS.VERIFY, 0, PIN)
        if status == SW.AUTHENTICATION_METHOD_BLOCKED:
            return 0, None
        return (status & 0xF if status & 0xFFF0 == 0x63C0 else None), None

    def change(self, reference: int, old: bytes, new: bytes) -> None:
        """Change PIN or PUK (CHANGE REFERENCE DATA). Raises P11Error."""
        self.command(To.CHANGE, INS.CHANGE_REFERENCE_DATA, 0, reference, _padded(old) + _padded(new))

    def check_puk(self, puk: bytes) -> None:
        """Compare the PUK, by changing it to itself: PIV has no command that only compares it. Raises P11Error."""
        self.command(To.CHANGE, INS.CHANGE_REFERENCE_DATA, 0, PUK, 2 * _padded(puk))

    def reset_pin(self, puk: bytes, pin: bytes) -> None:
        """Set a new PIN by the PUK (RESET RETRY COUNTER). Raises P11Error."""
        self.command(To.CHANGE, INS.RESET_RETRY_COUNTER, 0, PIN, _padded(puk) + _padded(pin))

    def use_edwards_key(self, slot: int, algorithm: Algorithm, message: bytes, variant: Variant) -> bytes:
        """Sign by a variant of EdDSA, with an algorithm identifier that only our cards take. Raises P11Error."""
        identifier = next(each for each, known in EDWARDS_VARIANTS.items() if known is algorithm)
        return self.use_key(slot, identifier, message, more=tlv.encode(0x8E, variant.encode()))

    def has_edwards_variants(self) -> bool:
        """Return whether the card has the variants of EdDSA: cards with a device serial number have not."""
        return self.serial() is None

    def use_key(self, slot: int, algorithm: int, data: bytes, tag: int = 0x81, more: bytes = b"") -> bytes:
        """Use a private key, with tag 85 for key agreement (GENERAL AUTHENTICATE). Raises P11Error."""
        template = tlv.encode(0x7C, b"\x82\x00", tlv.encode(tag, data), more)
        response = self.command(To.USE, _GENERAL_AUTHENTICATE, algorithm, slot, template)
        try:
            kind, result, _ = tlv.read(tlv.read(response)[1])
        except tlv.TlvError:
            raise P11Error(CKR.DEVICE_ERROR) from None
        if kind != 0x82:
            raise P11Error(CKR.DEVICE_ERROR)
        return result


@lru_cache(1024)  # every object of a card is read again and again
def _tag_list(tag: int) -> bytes:
    """Return the data field of GET DATA."""
    return tlv.encode(0x5C, tag.to_bytes((tag.bit_length() + 7) // 8, "big"))


def _takes_extended_lengths(atr: bytes) -> bool:
    """Return what the card capabilities (tag 7) of the historical bytes say (ISO/IEC 7816-4, 8.1.1.2.7)."""
    historical = answer_to_reset.historical(atr)
    at = 1  # after the category indicator
    while at < len(historical):
        tag, length = historical[at] >> 4, historical[at] & 0xF
        if tag == 7 and length == 3 and at + 3 < len(historical):
            return bool(historical[at + 3] & 0x40)
        at += 1 + length
    return False


def _padded(value: bytes) -> bytes:
    """Pad a PIN for the card. Raises P11Error(PIN_INCORRECT) without using a retry for one that cannot be sent."""
    if not 1 <= len(value) <= PIN_LENGTH:
        raise P11Error(CKR.PIN_INCORRECT)
    return value.ljust(PIN_LENGTH, b"\xff")

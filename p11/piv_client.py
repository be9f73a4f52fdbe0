# SPDX-License-Identifier: MIT
"""The host's side of PIV: commands to a card in a reader, as short APDUs with command chaining and GET RESPONSE.

Knows nothing of PKCS #11 but the errors into which it turns status words. CardRemoved passes through.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ..card import atr as answer_to_reset
from ..card import tlv
from ..card.applet.dsa_keys import Domain
from ..card.applet.edwards import Variant
from ..card.applet.security import PIN_LENGTH
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
_WITH_ANSWER = frozenset({SW.OK, 0x6282})
"""Success, and the warning that the data ends before all that was asked for (ISO/IEC 7816-4, table 6)."""

_MOST_RESETS = 3
_MOST_PARTS = 4096
"""Of an answer, of 256 bytes each: 1 MB, more than any data object has."""
_OF_ANOTHER = frozenset({SW.INS_NOT_SUPPORTED, SW.CLA_NOT_SUPPORTED})
"""What is answered when another application is selected."""
_SUCCESS, _GENERAL_AUTHENTICATE, _GET_METADATA = SW.OK, INS.GENERAL_AUTHENTICATE, INS.GET_METADATA


class PivClient:
    """Speaks to one card for as long as it stays in its reader. Thread-safe: each command holds the card's lock."""

    def __init__(self, insertion: Insertion) -> None:
        self.insertion = insertion
        self.lock = insertion.lock
        self._extended = _takes_extended_lengths(insertion.atr)
        self._selected: object = None
        self._lacking: set[int] = set()
        self._authenticated: object = None

    @property
    def is_authenticated(self) -> bool:
        """Whether the management key has been proved since the last reset."""
        return self._authenticated is self.insertion.activation

    @is_authenticated.setter
    def is_authenticated(self, value: bool) -> None:
        self._authenticated = self.insertion.activation if value else None

    @property
    def revision(self) -> tuple[object, int]:
        """Another value whenever anybody has changed keys or data on the card."""
        card = self.insertion.card
        return card, card.revision

    def select(self) -> bool:
        """Select the PIV application if that has not been done since the last reset. False: the card has none.

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
        """One APDU, answered with a status word at least. Raises P11Error(DEVICE_ERROR) when it is not."""
        try:
            response = self.insertion.transmit(command)
        except CardMute:
            raise P11Error(CKR.DEVICE_ERROR) from None
        if len(response) < 2:
            raise P11Error(CKR.DEVICE_ERROR)
        return response

    def exchange(self, ins: int, p1: int, p2: int, data: bytes = b"") -> tuple[bytes, int]:
        """One whole command to one whole answer and its status word."""
        answer, status = self._exchange(ins, p1, p2, data)
        if status in _OF_ANOTHER and ins not in self._lacking:
            # Somebody else has selected another application, or the card does not have the instruction.
            self._selected = None
            answer, status = self._exchange(ins, p1, p2, data)
            if status in _OF_ANOTHER:
                self._lacking.add(ins)
        return answer, status

    def _exchange(self, ins: int, p1: int, p2: int, data: bytes) -> tuple[bytes, int]:
        insertion = self.insertion
        transmit = self._transmit
        with insertion.lock:
            if self._selected is not insertion.activation and not self.select():
                raise P11Error(CKR.TOKEN_NOT_RECOGNIZED)
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
            parts = [response[:-2]]
            while response[-2] == 0x61:
                response = transmit(bytes((0, INS.GET_RESPONSE, 0, 0, response[-1])))
                if len(parts) == _MOST_PARTS or (len(response) == 2 and response[-2] == 0x61):
                    raise P11Error(CKR.DEVICE_ERROR)  # an answer without end, or of nothing
                parts.append(response[:-2])
            return b"".join(parts), response[-2] << 8 | response[-1]

    def command(self, to: To, ins: int, p1: int, p2: int, data: bytes = b"") -> bytes:
        """The answer to a command that has to succeed; `to` tells what a refusal of it means. Raises P11Error."""
        answer, status = self.exchange(ins, p1, p2, data)
        if status == _SUCCESS:
            return answer
        if status == SW.SECURITY_STATUS_NOT_SATISFIED:  # somebody else has made the card forget
            self.is_authenticated = False
        raise error_for(to, status)

    def read_object(self, tag: int, as_user: bool = False) -> bytes | None:
        """A data object without its wrapping, or None if the card has none (or does not let it be read now).

        `as_user` is for one that the user may read: if the card does not know him, P11Error(USER_NOT_LOGGED_IN). Raises
        P11Error also when the card could not tell.
        """
        answer, status = self._read(self._get_data, tag)
        if as_user and status == SW.SECURITY_STATUS_NOT_SATISFIED:
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        if status not in _WITH_ANSWER:
            return None
        try:
            kind, value, _ = tlv.read(answer)
        except tlv.TlvError:
            return None
        return value if kind == (DISCOVERY if tag == DISCOVERY else 0x53) else None

    def _read(self, ask: Callable[..., tuple[bytes, int]], *what: int) -> tuple[bytes, int]:
        """An answer to a question that may be repeated: it is when the card has been reset meanwhile.

        Raises P11Error when the card could not tell. That is no word on whether it has what it was asked for: who took
        it for "no" would go on with a card that seems to have lost something.
        """
        for _ in range(_MOST_RESETS):
            answer, status = ask(*what)
            if self._selected is self.insertion.activation:
                if status not in _WITH_ANSWER and not is_refusal(status):
                    raise P11Error(CKR.DEVICE_ERROR)
                return answer, status
        raise P11Error(CKR.DEVICE_ERROR)

    def _get_data(self, tag: int) -> tuple[bytes, int]:
        """GET DATA: in one APDU where the card takes extended lengths, for objects are longer than 256 bytes."""
        tag_list, command = _asking_for(tag)
        if not self._extended:
            return self.exchange(INS.GET_DATA, 0x3F, 0xFF, tag_list)
        with self.lock:
            if self._selected is not self.insertion.activation and not self.select():
                raise P11Error(CKR.TOKEN_NOT_RECOGNIZED)
            response = self._transmit(command)
            status = response[-2] << 8 | response[-1]
            if status in _OF_ANOTHER:
                self._selected = None
                response = self._transmit(command) if self.select() else response
                status = response[-2] << 8 | response[-1]
        return response[:-2], status

    def write_object(self, tag: int, value: bytes) -> None:
        """PUT DATA; an empty value deletes the object. Raises P11Error."""
        if tag in SELF_TAGGED:
            self.command(To.WRITE, INS.PUT_DATA, 0x3F, 0xFF, tlv.encode(tag, value))
            return
        name = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
        self.command(To.WRITE, INS.PUT_DATA, 0x3F, 0xFF, tlv.encode(0x5C, name) + tlv.encode(0x53, value))

    def generate(self, slot: int, algorithm: Algorithm, rule: PinRule, domain: Domain | None = None) -> None:
        """GENERATE ASYMMETRIC KEY PAIR with a PIN policy, and a domain for DSA. Raises P11Error."""
        control = tlv.encode(0x80, bytes([algorithm])) + tlv.encode(0xAA, _POLICIES[rule])
        control += b"".join(tlv.encode(*each) for each in domain.encode(0x81).items()) if domain is not None else b""
        self.command(To.MAKE, INS.GENERATE_ASYMMETRIC_KEY_PAIR, 0, slot, tlv.encode(0xAC, control))

    def import_key(self, slot: int, algorithm: Algorithm, numbers: dict[int, bytes], rule: PinRule) -> None:
        """Yubico's IMPORT KEY with a PIN policy. Raises P11Error."""
        fields = [tlv.encode(tag, value) for tag, value in numbers.items()]
        self.command(To.MAKE, INS.IMPORT_KEY, algorithm, slot, b"".join(fields) + tlv.encode(0xAA, _POLICIES[rule]))

    def delete_key(self, slot: int) -> None:
        """Yubico's MOVE KEY to nowhere. Raises P11Error."""
        self.command(To.WRITE, INS.MOVE_KEY, 0xFF, slot)

    def metadata(self, reference: int) -> dict[int, bytes] | None:
        """What the card tells of a key slot: nothing for an empty one, None if it does not have that command."""
        answer, status = self._read(self.exchange, _GET_METADATA, 0, reference)
        if status == SW.REFERENCE_NOT_FOUND:
            return {}
        if status != SW.OK:
            return None
        try:
            return dict(tlv.decode(answer))
        except tlv.TlvError:
            return None

    def serial(self) -> int | None:
        """Yubico's GET SERIAL: the number of the device, None if the card does not have that command."""
        answer, status = self.exchange(INS.GET_SERIAL, 0, 0)
        return int.from_bytes(answer, "big") if status == SW.OK else None

    def verify(self, pin: bytes) -> None:
        """VERIFY. Raises P11Error."""
        self.is_authenticated = False  # whatever was proved before this login
        self._give(To.VERIFY, INS.VERIFY, PIN, _padded(pin))

    def give_up_verification(self) -> None:
        """Back to a card on which no PIN is verified (SP 800-73-4 part 2, 3.2.1)."""
        self.exchange(INS.VERIFY, 0xFF, PIN)

    def is_verified(self) -> bool:
        """Whether the PIN counts as verified: an empty VERIFY asks."""
        return self.exchange(INS.VERIFY, 0, PIN)[1] == SW.OK

    def tries(self, reference: int) -> tuple[int | None, int | None]:
        """The tries left for PIN or PUK, and how many there are at most, as far as the card tells.

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
        """CHANGE REFERENCE DATA for PIN or PUK. Raises P11Error."""
        self._give(To.CHANGE, INS.CHANGE_REFERENCE_DATA, reference, _padded(old) + _padded(new))

    def check_puk(self, puk: bytes) -> None:
        """PIV has no command that only compares the PUK; changing it to itself does. Raises P11Error."""
        self._give(To.CHANGE, INS.CHANGE_REFERENCE_DATA, PUK, 2 * _padded(puk))

    def reset_pin(self, puk: bytes, pin: bytes) -> None:
        """RESET RETRY COUNTER: a new PIN by the PUK. Raises P11Error."""
        self._give(To.CHANGE, INS.RESET_RETRY_COUNTER, PIN, _padded(puk) + _padded(pin))

    def _give(self, to: To, ins: int, reference: int, data: bytes) -> None:
        """A command with PIN or PUK in it. Raises P11Error."""
        _, status = self.exchange(ins, 0, reference, data)
        if status != _SUCCESS:
            raise error_for(to, status)

    def use_edwards_key(self, slot: int, algorithm: Algorithm, message: bytes, variant: Variant) -> bytes:
        """GENERAL AUTHENTICATE with the identifier of a variant, which no other make of card takes. Raises P11Error."""
        identifier = next(each for each, known in EDWARDS_VARIANTS.items() if known is algorithm)
        return self.use_key(slot, identifier, message, more=tlv.encode(0x8E, variant.encode()))

    def has_edwards_variants(self) -> bool:
        """Whether the card is of the make that has them: it is if it tells no number of a device."""
        return self.serial() is None

    def use_key(self, slot: int, algorithm: int, data: bytes, tag: int = 0x81, more: bytes = b"") -> bytes:
        """GENERAL AUTHENTICATE with a private key; tag 85 for key agreement. Raises P11Error."""
        template = tlv.encode(0x7C, b"\x82\x00", tlv.encode(tag, data), more)
        answer = self.command(To.USE, _GENERAL_AUTHENTICATE, algorithm, slot, template)
        try:
            kind, result, _ = tlv.read(tlv.read(answer)[1])
        except tlv.TlvError:
            raise P11Error(CKR.DEVICE_ERROR) from None
        if kind != 0x82:
            raise P11Error(CKR.DEVICE_ERROR)
        return result


@lru_cache(1024)  # every object of a card is asked for again and again
def _asking_for(tag: int) -> tuple[bytes, bytes]:
    """The data field of a GET DATA, and the whole command with extended lengths."""
    tag_list = tlv.encode(0x5C, tag.to_bytes((tag.bit_length() + 7) // 8, "big"))
    return tag_list, bytes((0, INS.GET_DATA, 0x3F, 0xFF, 0, 0, len(tag_list))) + tag_list + b"\0\0"


def _takes_extended_lengths(atr: bytes) -> bool:
    """What the card capabilities (tag 7) among the historical bytes say (ISO/IEC 7816-4, 8.1.1.2.7)."""
    historical = answer_to_reset.historical(atr)
    at = 1  # after the category indicator
    while at < len(historical):
        tag, length = historical[at] >> 4, historical[at] & 0xF
        if tag == 7 and length == 3 and at + 3 < len(historical):
            return bool(historical[at + 3] & 0x40)
        at += 1 + length
    return False


def _padded(value: bytes) -> bytes:
    """A PIN for the card edge. Raises P11Error(PIN_INCORRECT): one that cannot be sent at all costs no try."""
    if not 1 <= len(value) <= PIN_LENGTH:
        raise P11Error(CKR.PIN_INCORRECT)
    return value.ljust(PIN_LENGTH, b"\xff")

# SPDX-License-Identifier: MIT
"""The PIV card application (SP 800-73-4 part 2, chapter 3): whole commands in, whole answers out.

An Applet is one activation: everything volatile is here and dies with it. What lasts is the store's.
"""

from __future__ import annotations

from collections.abc import Callable

from . import keys, management, security, tlv
from .apdu import Command
from .card import CardTorn
from .security import SecurityStatus
from .status import SW, CardError, tries_left
from .store import Store, StoredKey
from .tables import (
    DISCOVERY,
    EC_ALGORITHMS,
    INS,
    MANAGEMENT_KEY,
    OBJECTS,
    PIN,
    PIV_AID,
    PIV_RID_PIX,
    PUK,
    RSA_BITS,
    SLOTS,
    VENDOR_OBJECTS,
    Algorithm,
    PinRule,
    ReadRule,
)

OBJECT_LIMIT = 12 * 1024
"""Bytes of one data object."""

_APPLICATION_PROPERTY_TEMPLATE = tlv.encode(
    0x61,
    tlv.encode(0x4F, PIV_AID[5:]),
    tlv.encode(0x79, tlv.encode(0x4F, PIV_AID[:5])),
    tlv.encode(0x50, b"PIV card application"),
    tlv.encode(0xAC, *(tlv.encode(0x80, bytes([each])) for each in Algorithm), tlv.encode(0x06, b"\0")),
)
_CHALLENGE, _RESPONSE, _EXPONENTIATION = 0x81, 0x82, 0x85
_NOTHING = b""

LoadKey = Callable[[int], "keys.PrivateKey | None"]


class Applet:
    """The PIV application under power. `load_key` gives the private key of a slot, ready for use."""

    def __init__(self, store: Store, load_key: LoadKey) -> None:
        self._store = store
        self._load_key = load_key
        self._selected = False
        self._status = SecurityStatus()
        self._commands: dict[int, Callable[[Command], bytes]] = {
            INS.VERIFY: self._verify,
            INS.CHANGE_REFERENCE_DATA: self._change_reference_data,
            INS.RESET_RETRY_COUNTER: self._reset_retry_counter,
            INS.GENERAL_AUTHENTICATE: self._general_authenticate,
            INS.GENERATE_ASYMMETRIC_KEY_PAIR: self._generate,
            INS.GET_DATA: self._get_data,
            INS.PUT_DATA: self._put_data,
            INS.GET_METADATA: self._get_metadata,
        }

    def execute(self, command: Command) -> tuple[bytes, int]:
        """Carry out one command. Returns the answer and 9000; raises CardError and CardTorn."""
        if command.cla != 0:
            raise CardError(SW.CLA_NOT_SUPPORTED)
        fresh, self._status.pin_fresh = self._status.pin_fresh, False
        if command.ins == INS.SELECT:
            return self._select(command), SW.OK
        handler = self._commands.get(command.ins)
        if handler is None:
            raise CardError(SW.INS_NOT_SUPPORTED)
        if not self._selected:
            raise CardError(SW.CONDITIONS_NOT_SATISFIED)
        if command.ins == INS.GENERAL_AUTHENTICATE:
            self._status.pin_fresh = fresh
            try:
                return handler(command), SW.OK
            finally:
                self._status.pin_fresh = False
        return handler(command), SW.OK

    def _select(self, command: Command) -> bytes:
        """3.1.1. Selecting again keeps the security status; another application is not found and changes nothing."""
        if command.p1 != 0x04 or command.p2 != 0x00:
            raise CardError(SW.INCORRECT_P1P2)
        if not (PIV_AID.startswith(command.data) and command.data.startswith(PIV_RID_PIX)):
            raise CardError(SW.NOT_FOUND)
        self._selected = True
        return _APPLICATION_PROPERTY_TEMPLATE

    def _verify(self, command: Command) -> bytes:
        """3.2.1: check the PIN, ask for its status (no data), or give the verification up (P1 = FF)."""
        if command.p2 != PIN:
            raise CardError(SW.REFERENCE_NOT_FOUND)
        if command.p1 == 0xFF:
            if command.data:
                raise CardError(SW.INCORRECT_DATA)
            self._status.pin_verified = False
            return _NOTHING
        if command.p1 != 0:
            raise CardError(SW.INCORRECT_P1P2)
        if not command.data:
            if not self._status.pin_verified:
                raise CardError(self._tries(PIN))
            return _NOTHING
        self._status.pin_verified = False
        if self._store.state.references[PIN].tries == 0:
            raise CardError(SW.AUTHENTICATION_METHOD_BLOCKED)
        if not security.pin_is_well_formed(PIN, command.data):
            raise CardError(SW.INCORRECT_DATA)
        security.check(self._store, self._store.writer(self), PIN, command.data)
        self._status.pin_verified = self._status.pin_fresh = True
        return _NOTHING

    def _change_reference_data(self, command: Command) -> bytes:
        """3.2.2: old and new PIN or PUK, eight bytes each."""
        if command.p1 != 0:
            raise CardError(SW.INCORRECT_P1P2)
        if command.p2 not in (PIN, PUK):
            raise CardError(SW.REFERENCE_NOT_FOUND)
        old, new = self._two_references(command.data)
        if not security.pin_is_well_formed(command.p2, new):
            raise CardError(SW.INCORRECT_DATA)
        writer = self._store.writer(self)
        if command.p2 == PIN:
            self._status.pin_verified = False
        security.check(self._store, writer, command.p2, old)
        security.replace(self._store, writer, command.p2, new)
        if command.p2 == PIN:
            self._status.pin_verified = True
        return _NOTHING

    def _reset_retry_counter(self, command: Command) -> bytes:
        """3.2.3: the PUK and a new PIN."""
        if command.p1 != 0:
            raise CardError(SW.INCORRECT_P1P2)
        if command.p2 != PIN:
            raise CardError(SW.REFERENCE_NOT_FOUND)
        puk, pin = self._two_references(command.data)
        if not security.pin_is_well_formed(PIN, pin):
            raise CardError(SW.INCORRECT_DATA)
        writer = self._store.writer(self)
        security.check(self._store, writer, PUK, puk)
        security.replace(self._store, writer, PIN, pin)
        return _NOTHING

    def _general_authenticate(self, command: Command) -> bytes:
        """3.2.4: management-key authentication, RSA, ECDSA or ECDH, by key and by what the template holds."""
        algorithm, slot = command.p1 or Algorithm.TDES, command.p2
        fields = _dynamic_authentication_template(command.data)
        if slot == MANAGEMENT_KEY:
            stored = self._store.state.keys[MANAGEMENT_KEY]
            if stored.algorithm != algorithm:
                raise CardError(SW.INCORRECT_P1P2)
            return management.authenticate(stored, self._status, fields)
        if slot not in SLOTS:
            raise CardError(SW.INCORRECT_P1P2)
        key = self._load_key(slot)
        if key is None:
            raise CardError(SW.REFERENCE_NOT_FOUND)
        if self._store.state.keys[slot].algorithm != algorithm:
            raise CardError(SW.INCORRECT_P1P2)
        self._require_pin(SLOTS[slot].pin_rule)
        if fields.get(_RESPONSE) != b"":
            raise CardError(SW.INCORRECT_DATA)
        if isinstance(key, keys.RsaKey):
            result = key.apply(fields.get(_CHALLENGE, b""))
        elif _EXPONENTIATION in fields:
            result = key.agree(fields[_EXPONENTIATION])
        else:
            result = key.sign(fields.get(_CHALLENGE, b""))
        return tlv.encode(0x7C, tlv.encode(_RESPONSE, result))

    def _generate(self, command: Command) -> bytes:
        """3.3.2: a new key pair in a slot; the public key is the answer."""
        if command.p1 != 0 or command.p2 not in SLOTS:
            raise CardError(SW.INCORRECT_P1P2)
        self._require_management()
        algorithm = _control_reference_template(command.data)
        value = keys.generate(algorithm)
        writer = self._store.writer(self)
        writer.put_key(command.p2, StoredKey(algorithm, value))
        writer.commit()
        key = self._load_key(command.p2)
        if key is None:
            raise CardTorn
        return tlv.encode(0x7F49, key.public_template())

    def _get_data(self, command: Command) -> bytes:
        """3.1.3."""
        tag, rest = self._object_tag(command)
        if rest:
            raise CardError(SW.INCORRECT_DATA)
        if tag not in VENDOR_OBJECTS:
            rule = OBJECTS.get(tag)
            if rule is None:
                raise CardError(SW.NOT_FOUND)
            if rule is ReadRule.PIN and not self._status.pin_verified:
                raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)
        value = self._store.state.objects.get(tag)
        if value is None:
            raise CardError(SW.NOT_FOUND)
        return tlv.encode(tag if tag == DISCOVERY else 0x53, value)

    def _put_data(self, command: Command) -> bytes:
        """3.3.1; an empty value deletes the object."""
        self._require_management()
        tag, rest = self._object_tag(command)
        if tag not in VENDOR_OBJECTS and tag not in OBJECTS:
            raise CardError(SW.NOT_FOUND)
        if len(rest) != 1 or rest[0][0] != 0x53:
            raise CardError(SW.INCORRECT_DATA)
        if len(rest[0][1]) > OBJECT_LIMIT:
            raise CardError(SW.NOT_ENOUGH_MEMORY)
        writer = self._store.writer(self)
        writer.put_object(tag, rest[0][1])
        writer.commit()
        return _NOTHING

    def _get_metadata(self, command: Command) -> bytes:
        """Yubico: algorithm, policies, origin and public key of a slot; tries of PIN and PUK."""
        slot = command.p2
        if command.p1 != 0:
            raise CardError(SW.INCORRECT_P1P2)
        if slot in (PIN, PUK):
            reference = self._store.state.references[slot]
            return tlv.encode(0x05, b"\0") + tlv.encode(0x06, bytes((reference.maximum, reference.tries)))
        key = self._load_key(slot) if slot in SLOTS else None
        if key is None:
            raise CardError(SW.REFERENCE_NOT_FOUND)
        stored = self._store.state.keys[slot]
        rule = {PinRule.NEVER: 1, PinRule.ONCE: 2, PinRule.ALWAYS: 3}[SLOTS[slot].pin_rule]
        return (
            tlv.encode(0x01, bytes([stored.algorithm]))
            + tlv.encode(0x02, bytes((rule, 1)))
            + tlv.encode(0x03, b"\2" if stored.imported else b"\1")
            + tlv.encode(0x04, key.public_template())
        )

    def _tries(self, reference: int) -> int:
        tries = self._store.state.references[reference].tries
        return tries_left(tries) if tries else SW.AUTHENTICATION_METHOD_BLOCKED

    def _require_pin(self, rule: PinRule) -> None:
        status = self._status
        if not (rule is PinRule.NEVER or (status.pin_verified and (rule is PinRule.ONCE or status.pin_fresh))):
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)

    def _require_management(self) -> None:
        if not self._status.management_authenticated:
            raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)

    @staticmethod
    def _two_references(data: bytes) -> tuple[bytes, bytes]:
        if len(data) != 2 * security.PIN_LENGTH:
            raise CardError(SW.INCORRECT_DATA)
        return data[: security.PIN_LENGTH], data[security.PIN_LENGTH :]

    @staticmethod
    def _object_tag(command: Command) -> tuple[int, list[tuple[int, bytes]]]:
        """The tag list (5C) of GET DATA and PUT DATA, and what follows it."""
        if command.p1 != 0x3F or command.p2 != 0xFF:
            raise CardError(SW.INCORRECT_P1P2)
        try:
            kind, tag, at = tlv.read(command.data)
            if kind != 0x5C or not tag:
                raise CardError(SW.INCORRECT_DATA)
            number = int.from_bytes(tag, "big")
            if number == DISCOVERY:
                return number, [(0x53, command.data[at:])] if at < len(command.data) else []
            return number, tlv.decode(command.data[at:])
        except tlv.TlvError:
            raise CardError(SW.INCORRECT_DATA) from None


def _dynamic_authentication_template(data: bytes) -> dict[int, bytes]:
    """What is in the 7C of GENERAL AUTHENTICATE, by tag (table 7)."""
    try:
        (tag, value), *more = tlv.decode(data) or [(0, b"")]
        if tag != 0x7C or more:
            raise CardError(SW.INCORRECT_DATA)
        return dict(tlv.decode(value))
    except tlv.TlvError:
        raise CardError(SW.INCORRECT_DATA) from None


def _control_reference_template(data: bytes) -> int:
    """The algorithm in the AC of GENERATE ASYMMETRIC KEY PAIR (table 10)."""
    try:
        (tag, value), *more = tlv.decode(data) or [(0, b"")]
        fields = dict(tlv.decode(value))
    except tlv.TlvError:
        raise CardError(SW.INCORRECT_DATA) from None
    algorithm = fields.get(0x80, b"")
    if tag != 0xAC or more or len(algorithm) != 1 or not (algorithm[0] in RSA_BITS or algorithm[0] in EC_ALGORITHMS):
        raise CardError(SW.INCORRECT_DATA)
    return algorithm[0]

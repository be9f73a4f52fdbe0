# SPDX-License-Identifier: MIT
"""The management key: where a host finds it, and how it proves it to the card.

Writing to PIV's own places wants this key. By default it lies on the card itself, readable with the PIN, where
Yubico's tools put it too; on other cards only the SO can know it, or everybody does, or nobody.
"""

from __future__ import annotations

import hmac
import os
import warnings

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.utils import CryptographyDeprecationWarning

from ..card import tlv
from ..card.management import DEFAULT_MANAGEMENT_KEY, derived_key
from ..card.tables import (
    BLOCK_LENGTHS,
    INS,
    KEY_OBJECT,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    PRINTED_INFORMATION,
    PUK,
    SALT_OBJECT,
    Algorithm,
)
from ..card.traits import Traits
from .constants import CKR, CKU
from .errors import P11Error
from .piv_client import PivClient
from .sessions import Right

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

_PROTECTED_DATA, _PROTECTED_KEY = 0x88, 0x89
_WRITERS = {"pin": CKU.USER, "so": CKU.SO}
"""Who has to be logged in for the module to know the key."""

_SALT, _NEXT_SALT = 0x80, 0x81
_TEMPLATE, _WITNESS, _CHALLENGE, _RESPONSE = 0x7C, 0x80, 0x81, 0x82


def require(card: PivClient, traits: Traits, right: Right) -> None:
    """See to it that the card lets us write.

    Raises P11Error(USER_NOT_LOGGED_IN, TOKEN_WRITE_PROTECTED), CardRemoved. A user whom the card forgets meanwhile is
    not logged in, whatever came of it.
    """
    with card.lock:
        if right.role is not _WRITERS.get(traits.management, right.role):
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        if card.is_authenticated:
            return
        try:
            _authenticate_with(card, _candidates(card, traits, right))
        except P11Error:
            if right.role is CKU.USER and not card.is_verified():
                raise P11Error(CKR.USER_NOT_LOGGED_IN) from None
            raise


def change_puk(card: PivClient, old: bytes, new: bytes) -> None:
    """Another PUK on a card whose management key is derived from it. Raises P11Error, CardRemoved.

    The salt of the new key is written first, the new key next, then the PUK: if the card is pulled in between, the same
    change can be made again.
    """
    salts = _salts(card)
    fresh = salts[1] if len(salts) > 1 else os.urandom(16)
    card.check_puk(old)
    _authenticate_with(card, [_derived(old, salts[0]), _derived(new, fresh)])
    card.write_object(SALT_OBJECT, tlv.encode(_SALT, salts[0]) + tlv.encode(_NEXT_SALT, fresh))
    key = _derived(new, fresh)
    fields = bytes([_algorithm(card, key)]) + tlv.encode(MANAGEMENT_KEY, key)
    card.command(INS.SET_MANAGEMENT_KEY, 0xFF, 0xFF, fields)
    card.change(PUK, old, new)
    card.write_object(SALT_OBJECT, tlv.encode(_SALT, fresh))


def _candidates(card: PivClient, traits: Traits, right: Right) -> list[bytes]:
    """The keys that it can be."""
    if traits.management in ("none", "derived"):
        return []
    if traits.management == "so":
        return [_derived(right.puk, salt) for salt in _salts(card)]
    if traits.management == "pin":
        for place in (PRINTED_INFORMATION, KEY_OBJECT):
            key = _field(card.read_object(place), _PROTECTED_DATA, _PROTECTED_KEY)
            if key is not None:
                return [key]
    return [DEFAULT_MANAGEMENT_KEY]


def _derived(puk: bytes, salt: bytes) -> bytes:
    return derived_key(puk.decode("utf-8", "replace"), salt)


def _salts(card: PivClient) -> list[bytes]:
    """The salt of the key, and while the PUK is being changed that of the next one."""
    value = card.read_object(SALT_OBJECT)
    return [salt for salt in (_field(value, tag) for tag in (_SALT, _NEXT_SALT)) if salt is not None]


def _field(value: bytes | None, *path: int) -> bytes | None:
    """The data object that lies under these tags."""
    for tag in path:
        try:
            value = dict(tlv.decode(value or b"")).get(tag)
        except tlv.TlvError:
            return None
    return value


def _authenticate_with(card: PivClient, candidates: list[bytes]) -> None:
    """Raises P11Error(TOKEN_WRITE_PROTECTED) if it is none of them."""
    for key in candidates:
        try:
            _authenticate(card, key)
        except P11Error as error:
            if error.value is not CKR.PIN_INCORRECT:
                raise
        else:
            return
    raise P11Error(CKR.TOKEN_WRITE_PROTECTED)


def _authenticate(card: PivClient, key: bytes) -> None:
    """Mutual authentication (SP 800-73-4 part 2, A.1). Raises P11Error(PIN_INCORRECT, DEVICE_ERROR)."""
    algorithm = _algorithm(card, key)
    witness = _step(card, algorithm, tlv.encode(_WITNESS)).get(_WITNESS, b"")
    challenge = os.urandom(BLOCK_LENGTHS[algorithm])
    try:
        cipher = Cipher(TripleDES(key) if algorithm is Algorithm.TDES else algorithms.AES(key), modes.ECB())
    except ValueError:
        raise P11Error(CKR.PIN_INCORRECT) from None
    decryptor, encryptor = cipher.decryptor(), cipher.encryptor()  # single blocks: no chaining mode is involved
    fields = tlv.encode(_WITNESS, decryptor.update(witness)) + tlv.encode(_CHALLENGE, challenge)
    answer = _step(card, algorithm, fields).get(_RESPONSE, b"")
    if not hmac.compare_digest(answer, encryptor.update(challenge)):
        raise P11Error(CKR.DEVICE_ERROR)
    card.is_authenticated = True


def _algorithm(card: PivClient, key: bytes) -> Algorithm:
    told = (card.metadata(MANAGEMENT_KEY) or {}).get(0x01)
    if told:
        return Algorithm(told[0])
    return next((each for each, length in MANAGEMENT_KEY_LENGTHS.items() if length == len(key)), Algorithm.TDES)


def _step(card: PivClient, algorithm: Algorithm, fields: bytes) -> dict[int, bytes]:
    try:
        answer = card.command(INS.GENERAL_AUTHENTICATE, algorithm, MANAGEMENT_KEY, tlv.encode(_TEMPLATE, fields))
        return dict(tlv.decode(tlv.read(answer)[1]))
    except tlv.TlvError:
        raise P11Error(CKR.DEVICE_ERROR) from None
    except P11Error as error:
        raise P11Error(CKR.PIN_INCORRECT) if error.value is CKR.USER_NOT_LOGGED_IN else error from None

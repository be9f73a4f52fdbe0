# SPDX-License-Identifier: MIT
"""The management key: where a host finds it, and how it proves it to the card.

Writing to PIV's own places wants this key. By default it lies on the card itself, readable with the PIN, where
Yubico's tools put it too; on other cards only the SO can know it, or everybody does, or nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import warnings

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.utils import CryptographyDeprecationWarning

from ..card import tlv
from ..card.tables import BLOCK_LENGTHS, INS, MANAGEMENT_KEY, MANAGEMENT_KEY_LENGTHS, PUBLIC_OBJECTS, Algorithm
from ..card.traits import Traits
from .constants import CKR, CKU
from .errors import P11Error
from .piv_client import PivClient
from .sessions import Right

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

PRINTED_INFORMATION = 0x5FC109
_PROTECTED_DATA, _PROTECTED_KEY = 0x88, 0x89
_WRITERS = {"pin": CKU.USER, "so": CKU.SO}
"""Who has to be logged in for the module to know the key."""

_WELL_KNOWN = bytes.fromhex("010203040506070801020304050607080102030405060708")
_SALT_OBJECT, _SALT = PUBLIC_OBJECTS[2], 0x80
_ITERATIONS = 10_000
_TEMPLATE, _WITNESS, _CHALLENGE, _RESPONSE = 0x7C, 0x80, 0x81, 0x82


def require(card: PivClient, traits: Traits, right: Right) -> None:
    """See to it that the card lets us write. Raises P11Error(USER_NOT_LOGGED_IN, TOKEN_WRITE_PROTECTED), CardRemoved."""
    with card.lock:
        if right.role is not _WRITERS.get(traits.management, right.role):
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        if card.is_authenticated:
            return
        key = _find(card, traits, right)
        try:
            _authenticate(card, key)
        except P11Error as error:
            raise P11Error(CKR.TOKEN_WRITE_PROTECTED) if error.value is CKR.PIN_INCORRECT else error from None


def derived(puk: bytes, salt: bytes) -> bytes:
    """The key of a card whose SO alone may write: made from the PUK as Yubico's tools make one from the PIN."""
    return hashlib.pbkdf2_hmac("sha1", puk, salt, _ITERATIONS, 24)


def set_derived(card: PivClient, puk: bytes) -> None:
    """Another PUK, another key: for a card whose key is derived from it. The old one has been proved."""
    salt = os.urandom(16)
    key = derived(puk, salt)
    algorithm = _algorithm(card, key)
    card.command(INS.SET_MANAGEMENT_KEY, 0xFF, 0xFF, bytes([algorithm]) + tlv.encode(MANAGEMENT_KEY, key))
    card.write_object(_SALT_OBJECT, tlv.encode(_SALT, salt))


def _find(card: PivClient, traits: Traits, right: Right) -> bytes:
    if traits.management == "pin":
        key = _field(card.read_object(PRINTED_INFORMATION), _PROTECTED_DATA, _PROTECTED_KEY)
        if key is not None:
            return key
    elif traits.management == "so":
        salt = _field(card.read_object(_SALT_OBJECT), _SALT)
        if salt is not None:
            return derived(right.puk, salt)
    elif traits.management == "none":
        raise P11Error(CKR.TOKEN_WRITE_PROTECTED)
    return _WELL_KNOWN


def _field(value: bytes | None, *path: int) -> bytes | None:
    """The data object that lies under these tags."""
    for tag in path:
        try:
            value = dict(tlv.decode(value or b"")).get(tag)
        except tlv.TlvError:
            return None
    return value


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

# SPDX-License-Identifier: MIT
"""The management key: finding it, and authenticating with it.

Writing PIV's own data and keys needs this key. By default it is on the card, readable with the PIN, where Yubico's
tools put it too, or is derived from the PIN, as they once did; on other cards only the SO knows it, or it
is public, or unknown.
"""

from __future__ import annotations

import hmac
import os
import warnings
from collections.abc import Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.utils import CryptographyDeprecationWarning

from ..card import tlv
from ..card.applet.management import DEFAULT_MANAGEMENT_KEY, SALT_LENGTH, derived_key, kept_for, taken_with
from ..card.tables import (
    ADMIN_DATA,
    BLOCK_LENGTHS,
    INS,
    KEY_OBJECT,
    MANAGEMENT_KEY,
    MANAGEMENT_KEY_LENGTHS,
    PIN,
    PRINTED_INFORMATION,
    PUK,
    SALT_OBJECT,
    SO_KEY_OBJECT,
    Algorithm,
)
from ..card.token_traits import Traits
from .constants import CKR, CKU
from .errors import P11Error
from .login import Right
from .piv_client import PivClient
from .status_words import To

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

_PROTECTED_DATA, _PROTECTED_KEY = 0x88, 0x89
_WRITERS = {"pin": (CKU.USER, CKU.SO), "derived": (CKU.USER,), "so": (CKU.SO,)}
"""The roles, one of which has to be logged in for the module to know the key; otherwise no login is needed."""

_SALT, _NEXT_SALT = 0x80, 0x81
_ADMIN, _ADMIN_FLAGS, _ADMIN_SALT = 0x80, 0x81, 0x82
_IS_PROTECTED = 0x02
_SALT_OF = {PIN: (ADMIN_DATA, (_ADMIN, _ADMIN_SALT)), PUK: (SALT_OBJECT, (_SALT,))}
"""Data object and tags of the salt of a derived key; for the PIN they are those of Yubico's software."""

_TEMPLATE, _WITNESS, _CHALLENGE, _RESPONSE = 0x7C, 0x80, 0x81, 0x82


def require(card: PivClient, traits: Traits, right: Right) -> None:
    """Authenticate with the management key; `right.secret` is the PIN or PUK of the login.

    Raises P11Error(USER_NOT_LOGGED_IN, TOKEN_WRITE_PROTECTED), CardRemoved. It is USER_NOT_LOGGED_IN, too, if the card
    has lost the verification of the user's PIN meanwhile.
    """
    with card.lock:
        if right.role not in _WRITERS.get(traits.management, (right.role,)):
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        if card.is_authenticated:
            return
        try:
            _authenticate_with(card, _candidates(card, traits, right))
        except P11Error:
            if right.role is CKU.USER and not card.is_verified():
                raise P11Error(CKR.USER_NOT_LOGGED_IN) from None
            raise


def require_without_pin(card: PivClient, traits: Traits) -> None:
    """Raise P11Error(TOKEN_WRITE_PROTECTED) if the key would be lost with the PIN, from which it is derived."""
    if _is_derived_from(traits, PIN) and _salts(card, PIN):
        raise P11Error(CKR.TOKEN_WRITE_PROTECTED)


def change_reference(card: PivClient, traits: Traits, reference: int, old: bytes, new: bytes) -> None:
    """Change PIN or PUK, and the management key where that is derived from it. Raises P11Error, CardRemoved.

    The salt of the new key is written first, the new key next, then the PIN or PUK: after a removal in between the same
    change can be made again.
    """
    if reference == PUK and traits.management == "pin":
        _change_puk(card, old, new)
        return
    salts = _salts(card, reference) if _is_derived_from(traits, reference) else []
    if not salts:
        card.change(reference, old, new)
        return
    prove = card.verify if reference == PIN else card.check_puk
    prove(old)
    keys = {_derived(secret, salt): (secret, salt) for secret in (old, new) for salt in salts}
    secret, salt = keys[_authenticate_with(card, iter(keys))]
    fresh = salt
    if secret == old:
        fresh = os.urandom(SALT_LENGTH)
        _keep_salts(card, reference, salt, fresh)
        _set_key(card, _derived(new, fresh))
    try:
        card.change(reference, old, new)
    except P11Error:  # the card has refused it
        _set_key(card, _derived(old, salt))
        raise
    _keep_salts(card, reference, fresh)


def keep_for_so(card: PivClient, traits: Traits, right: Right, puk: bytes) -> None:
    """Write the management key, which `right` gives, encrypted by the PUK. Raises P11Error, CardRemoved."""
    if traits.management == "pin":
        _write_entries(card, _authenticate_with(card, _candidates(card, traits, right)), puk)


def _change_puk(card: PivClient, old: bytes, new: bytes) -> None:
    """Change the PUK, with the management key encrypted by both PUKs before and by the new one afterwards.

    After a removal in between it is there for the PUK that the card has. Raises P11Error, CardRemoved.
    """
    keys = list(_kept_for_so(card, old))
    try:
        key = _authenticate_with(card, iter(keys)) if keys else None
    except P11Error:  # another program has changed the management key
        key = None
    if key is None:
        card.change(PUK, old, new)
        return
    _write_entries(card, key, old, new)
    try:
        card.change(PUK, old, new)
    except P11Error:  # the card has refused it
        _write_entries(card, key, old)
        raise
    _write_entries(card, key, new)


def _write_entries(card: PivClient, key: bytes, *puks: bytes) -> None:
    entries = (kept_for(puk.decode("utf-8", "replace"), key) for puk in puks)
    card.write_object(SO_KEY_OBJECT, b"".join(entries))


def _kept_for_so(card: PivClient, puk: bytes) -> Iterator[bytes]:
    return taken_with(puk.decode("utf-8", "replace"), card.read_object(SO_KEY_OBJECT) or b"")


def _candidates(card: PivClient, traits: Traits, right: Right) -> Iterator[bytes]:
    """Yield the keys that may be it, likely ones first. Raises P11Error(USER_NOT_LOGGED_IN) if the PIN is needed."""
    if traits.management == "none":
        return
    if traits.management == "so":
        yield from (_derived(right.secret, salt) for salt in _salts(card, PUK))
        return
    if right.role is CKU.SO and traits.management == "pin":
        kept = list(_kept_for_so(card, right.secret))
        if not kept:  # a card of an older version, or another program has changed the PUK
            raise P11Error(CKR.USER_NOT_LOGGED_IN)
        yield from kept
        return
    if traits.management == "pin":  # then nothing else is read
        yield from _protected_keys(card)
    is_protected, salts = _is_protected(card), _salts(card, PIN)
    if right.role is None and (is_protected or salts):
        raise P11Error(CKR.USER_NOT_LOGGED_IN)
    if right.role is CKU.USER:
        yield from _protected_keys(card) if is_protected else ()
        yield from (_derived(right.secret, salt) for salt in salts)
    yield DEFAULT_MANAGEMENT_KEY


def _protected_keys(card: PivClient) -> Iterator[bytes]:
    """Yield the keys that are readable with the PIN. Raises P11Error(USER_NOT_LOGGED_IN) when it is not verified."""
    for tag in (PRINTED_INFORMATION, KEY_OBJECT):
        key = _field(card.read_object(tag, as_user=True), _PROTECTED_DATA, _PROTECTED_KEY)
        if key is not None:
            yield key


def _derived(secret: bytes, salt: bytes) -> bytes:
    return derived_key(secret.decode("utf-8", "replace"), salt)


def _set_key(card: PivClient, key: bytes) -> None:
    fields = bytes([_algorithm(card, key)]) + tlv.encode(MANAGEMENT_KEY, key)
    card.command(To.MAKE, INS.SET_MANAGEMENT_KEY, 0xFF, 0xFF, fields)


def _is_derived_from(traits: Traits, reference: int) -> bool:
    """Return whether the key may be derived: from the PUK by the card's policy, from the PIN by Yubico's software."""
    return traits.management == "so" if reference == PUK else traits.management not in ("so", "none")


def _is_protected(card: PivClient) -> bool:
    """Return whether Yubico's software has stored the key on the card, readable with the PIN."""
    flags = _field(card.read_object(ADMIN_DATA), _ADMIN, _ADMIN_FLAGS)
    return flags is not None and bool(int.from_bytes(flags[:1], "big") & _IS_PROTECTED)


def _salts(card: PivClient, reference: int) -> list[bytes]:
    """Return the salt of the key, and during a change that of the next key; none if the key is not derived."""
    tag, path = _SALT_OF[reference]
    salt = _field(card.read_object(tag), *path)
    if salt is None:
        return []
    following = _field(card.read_object(SALT_OBJECT), _NEXT_SALT)
    return [salt] if following is None else [salt, following]


def _keep_salts(card: PivClient, reference: int, salt: bytes, following: bytes | None = None) -> None:
    """Write the salts where _salts() reads them."""
    own = b"" if following is None else tlv.encode(_NEXT_SALT, following)
    if reference == PUK:
        card.write_object(SALT_OBJECT, tlv.encode(_SALT, salt) + own)
        return
    admin = dict(tlv.decode(_field(card.read_object(ADMIN_DATA), _ADMIN) or b"")) | {_ADMIN_SALT: salt}
    card.write_object(ADMIN_DATA, tlv.encode(_ADMIN, *(tlv.encode(tag, value) for tag, value in admin.items())))
    card.write_object(SALT_OBJECT, own)


def _field(value: bytes | None, *path: int) -> bytes | None:
    """Return the value under nested tags, None without."""
    for tag in path:
        try:
            value = dict(tlv.decode(value or b"")).get(tag)
        except tlv.TlvError:
            return None
    return value


def _authenticate_with(card: PivClient, candidates: Iterator[bytes]) -> bytes:
    """Authenticate with the first key that the card accepts. Raises P11Error(TOKEN_WRITE_PROTECTED) for none."""
    for key in candidates:
        try:
            _authenticate(card, key)
        except P11Error as error:
            if error.value is not CKR.PIN_INCORRECT:
                raise
        else:
            return key
    raise P11Error(CKR.TOKEN_WRITE_PROTECTED)


def _authenticate(card: PivClient, key: bytes) -> None:
    """Authenticate mutually (SP 800-73-5 part 2, A.1). Raises P11Error(PIN_INCORRECT, DEVICE_ERROR)."""
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
        answer = card.command(
            To.PROVE, INS.GENERAL_AUTHENTICATE, algorithm, MANAGEMENT_KEY, tlv.encode(_TEMPLATE, fields)
        )
        return dict(tlv.decode(tlv.read(answer)[1]))
    except tlv.TlvError:
        raise P11Error(CKR.DEVICE_ERROR) from None

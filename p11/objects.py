# SPDX-License-Identifier: MIT
"""Objects: a card's certificates, keys and data as applications see them, and session objects."""

from __future__ import annotations

import hashlib
from typing import Any

from ..card import certificate_reader
from ..card.certificate_reader import Certificate
from . import keys
from .attributes import FALSE, TRUE, Attributes, as_ulong, date, ulong
from .constants import CKA, CKC, CKH, CKK, CKM, CKO, CKP, CKR
from .errors import P11Error
from .keys import PrivateKey, PublicKey, SessionKey
from .operations.ciphers import check_value
from .templates import secret_attributes

Key = PublicKey | PrivateKey | bytes

_PRIVATE, _KEY_TYPE = CKA.PRIVATE, CKA.KEY_TYPE
_AES_LENGTHS = (16, 24, 32)
FIXED_LENGTHS: dict[int, int] = {CKK.DES: 8, CKK.DES2: 16, CKK.DES3: 24, CKK.CHACHA20: 32}
"""Bytes of secret keys of a kind that has one length only."""
_SECRET_LENGTHS: dict[int, tuple[int, ...]] = {
    CKK.AES: _AES_LENGTHS,
    **{kind: (length,) for kind, length in FIXED_LENGTHS.items()},
}


class P11Object:
    """An object. `key` is what operations use: a public or a private key, or the bytes of a secret.

    `location` tells where on the card it is, None for a session object. `gone` is true once it has been deleted from
    the card, also by another program. An `is_private` object is visible only after login.
    """

    __slots__ = ("_key", "attributes", "gone", "hidden", "is_private", "location")

    def __init__(self, attributes: Attributes, key: Key | None = None, location: Any = None) -> None:
        self._key = key
        self.location = location
        self.gone = False
        self.become(attributes)

    @property
    def key(self) -> Key | None:
        """Return the key, made from the attributes at the first use unless it was given."""
        if self._key is None:
            self._key = _material(self.attributes)
        return self._key

    @key.setter
    def key(self, key: Key | None) -> None:
        self._key = key

    @property
    def object_class(self) -> int:
        """Return the CK_OBJECT_CLASS."""
        return as_ulong(self.attributes[CKA.CLASS])

    @property
    def key_type(self) -> int | None:
        """Return the CK_KEY_TYPE of a key."""
        value = self.attributes.get(_KEY_TYPE)
        return None if value is None else as_ulong(value)

    def allows(self, usage: CKA) -> bool:
        """Return whether a boolean attribute, such as that of a usage, is true."""
        return bool(self.attributes.get(usage) == TRUE)

    def matches(self, template: list[tuple[int, Any]]) -> bool:
        """Return whether all attributes of the template have these values; hidden ones never match."""
        return all(kind not in self.hidden and self.attributes.get(kind) == value for kind, value in template)

    def become(self, attributes: Attributes) -> None:
        """Replace the attributes; handles stay valid."""
        self.attributes = attributes
        self.hidden = secret_attributes(attributes)
        self.is_private: bool = attributes.get(_PRIVATE) == TRUE


def finished(attributes: Attributes) -> P11Object:
    """Return a new object of complete attributes, with key material and derived attributes added.

    Raises P11Error: ATTRIBUTE_VALUE_INVALID and others for numbers that make no key, or a malformed certificate.
    """
    object_class = as_ulong(attributes[CKA.CLASS])
    if object_class == CKO.CERTIFICATE:
        return P11Object(_certificate(attributes))
    if object_class == CKO.PUBLIC_KEY:
        public = keys.public_from(attributes, as_ulong(attributes[CKA.KEY_TYPE]))
        return P11Object(_with_material(attributes, keys.public_attributes(public)), public)
    if object_class == CKO.PRIVATE_KEY:
        private = keys.private_from(attributes, as_ulong(attributes[CKA.KEY_TYPE]))
        told = {kind: value for kind, value in attributes.items() if kind != CKA.VALUE}
        key = SessionKey(private, told.get(CKA.ALWAYS_AUTHENTICATE) == TRUE)
        return P11Object(_with_material(told, keys.private_attributes(private)), key)
    if object_class == CKO.SECRET_KEY:
        return _secret(attributes)
    if object_class == CKO.DOMAIN_PARAMETERS:
        return P11Object({**attributes, **keys.domain_attributes(attributes, as_ulong(attributes[CKA.KEY_TYPE]))})
    return P11Object(attributes)


def profile_object(profile: CKP) -> P11Object:
    """Return a CKO_PROFILE object (PKCS #11 3.0, 4.13)."""
    return P11Object({**built_in(CKO.PROFILE, f"profile:{profile.name}"), CKA.PROFILE_ID: ulong(profile)})


def mechanism_object(mechanism: int) -> P11Object:
    """Return a CKO_MECHANISM object (4.12)."""
    return P11Object({CKA.CLASS: ulong(CKO.MECHANISM), CKA.MECHANISM_TYPE: ulong(mechanism)})


def built_in(kind: CKO, unique: str) -> Attributes:
    """Return the attributes common to objects of the token itself, which cannot be changed, copied or destroyed."""
    return {
        CKA.CLASS: ulong(kind),
        CKA.TOKEN: TRUE,
        CKA.PRIVATE: FALSE,
        CKA.MODIFIABLE: FALSE,
        CKA.COPYABLE: FALSE,
        CKA.DESTROYABLE: FALSE,
        CKA.UNIQUE_ID: unique.encode(),
    }


def user_interface_object() -> P11Object:
    """Return a CKO_HW_FEATURE object (4.4.3): a PIN pad with one line of sixteen characters."""
    return P11Object(
        {
            CKA.CLASS: ulong(CKO.HW_FEATURE),
            CKA.HW_FEATURE_TYPE: ulong(CKH.USER_INTERFACE),
            **{kind: ulong(0) for kind in (CKA.PIXEL_X, CKA.PIXEL_Y, CKA.RESOLUTION)},
            CKA.CHAR_ROWS: ulong(1),
            CKA.CHAR_COLUMNS: ulong(16),
            CKA.COLOR: FALSE,
            CKA.BITS_PER_PIXEL: ulong(0),
            CKA.CHAR_SETS: b"US-ASCII",
            CKA.ENCODING_METHODS: b"",
            CKA.MIME_TYPES: b"",
        }
    )


def certificate_attributes(certificate: Certificate) -> Attributes:
    """Return the attributes that follow from an X.509 certificate (4.6.3); those that cannot be read are empty."""
    return {
        CKA.CERTIFICATE_TYPE: ulong(CKC.X_509),
        CKA.CHECK_VALUE: hashlib.sha1(certificate.der, usedforsecurity=False).digest()[:3],
        CKA.START_DATE: date(certificate.not_before),
        CKA.END_DATE: date(certificate.not_after),
        CKA.PUBLIC_KEY_INFO: certificate.public_key_info,
        CKA.SUBJECT: certificate.subject,
        CKA.ISSUER: certificate.issuer,
        CKA.SERIAL_NUMBER: certificate.serial,
        CKA.NAME_HASH_ALGORITHM: ulong(CKM.SHA_1),
        CKA.VALUE: certificate.der,
    }


def certified_key(certificate: Certificate | None) -> PublicKey | None:
    """Return the public key of a certificate, None for a kind that this module does not know."""
    key = None if certificate is None else certificate.public_key
    return key if isinstance(key, PublicKey) else None


def certificate_id(certificate: Certificate) -> bytes:
    """Return the CKA_ID of a certificate that was given none: that of its key, empty for an unreadable key."""
    public = certified_key(certificate)
    return b"" if public is None else keys.identity(public)


def _certificate(attributes: Attributes) -> Attributes:
    if as_ulong(attributes[CKA.CERTIFICATE_TYPE]) != CKC.X_509:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    certificate = certificate_reader.read(attributes[CKA.VALUE])
    if certificate is None:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    known = certificate_attributes(certificate)
    serial = attributes.get(CKA.SERIAL_NUMBER)
    if serial and certificate.serial_number in (certificate_reader.number(serial), int.from_bytes(serial, "big")):
        # Given without its DER header, or coded anew.
        attributes = {**attributes, CKA.SERIAL_NUMBER: known[CKA.SERIAL_NUMBER]}
    attributes.setdefault(CKA.ID, certificate_id(certificate))
    readable = {kind: value for kind, value in known.items() if value or kind not in attributes}
    return _with_material(attributes, readable)


def _material(attributes: Attributes) -> Key | None:
    """Return the key in the attributes of a public or secret key, None for other objects."""
    object_class = as_ulong(attributes[CKA.CLASS])
    try:
        if object_class == CKO.PUBLIC_KEY:
            return keys.public_from(attributes, as_ulong(attributes[CKA.KEY_TYPE]))
        return attributes[CKA.VALUE] if object_class == CKO.SECRET_KEY else None
    except (P11Error, KeyError):
        return None


def _secret(attributes: Attributes) -> P11Object:
    value = attributes[CKA.VALUE]
    key_type = as_ulong(attributes[CKA.KEY_TYPE])
    if len(value) not in _SECRET_LENGTHS.get(key_type, (len(value),)) or not value:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    given = attributes.get(CKA.VALUE_LEN)
    if given is not None and as_ulong(given) != len(value):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    known = check_value(key_type, value)
    given = attributes.setdefault(CKA.CHECK_VALUE, known)  # an empty value asks for an object without one
    if given and given != known:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    return P11Object({**attributes, CKA.VALUE_LEN: ulong(len(value))}, value)


def _with_material(attributes: Attributes, material: Attributes) -> Attributes:
    """Merge attributes; those that an application gave have to agree with the material where they can be compared."""
    for kind, value in material.items():
        given = attributes.get(kind)
        if given and given != value and kind not in _SPELLINGS:
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    kept: Attributes = {kind: attributes[kind] for kind in _SPELLINGS if attributes.get(kind)}
    return {**attributes, **material, **kept}


_SPELLINGS = (CKA.EC_PARAMS, CKA.EC_POINT, CKA.NAME_HASH_ALGORITHM, CKA.ISSUER, CKA.SERIAL_NUMBER)
"""What the application gave is kept: the same thing can be said in different bytes, and issuer and serial number of a
certificate may be modified at any time (PKCS #11 3.1, 4.6.3), so they need not be what the certificate says."""

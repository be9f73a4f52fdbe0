# SPDX-License-Identifier: MIT
"""Objects: what applications see of a card's certificates and keys, and objects that live in a session only."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..card import tlv
from ..card.tables import RSA_BITS, SLOTS, Algorithm, PinRule
from .attributes import FALSE, SECRET, TRUE, Attributes, as_ulong, boolean, date, number, ulong
from .constants import CKA, CKC, CKK, CKM, CKO, CKP
from .piv_client import PivClient

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_CURVES: dict[str, tuple[Algorithm, bytes]] = {
    "secp256r1": (Algorithm.P256, bytes.fromhex("06082a8648ce3d030107")),
    "secp384r1": (Algorithm.P384, bytes.fromhex("06052b81040022")),
}
_CURVE_OF = {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}
_UNAVAILABLE_INFORMATION = 2**64 - 1
_NO_ATTRIBUTES: frozenset[int] = frozenset()
_EC_SECRET: frozenset[int] = frozenset({CKA.VALUE})
_RSA_SECRET = SECRET - _EC_SECRET


@dataclass(frozen=True, slots=True)
class SlotLabels:
    """What the objects of a key slot are called, and what its private key may do: RSA flags, EC flags."""

    certificate: str
    key: str
    rsa_usage: frozenset[CKA]
    ec_usage: frozenset[CKA]


_SIGN, _DECRYPT, _UNWRAP, _DERIVE = CKA.SIGN, CKA.DECRYPT, CKA.UNWRAP, CKA.DERIVE

SLOT_LABELS: dict[int, SlotLabels] = {
    0x9A: SlotLabels(
        "Certificate for PIV Authentication", "PIV AUTH", frozenset({_SIGN, _DECRYPT}), frozenset({_SIGN})
    ),
    0x9C: SlotLabels("Certificate for Digital Signature", "SIGN", frozenset({_SIGN}), frozenset({_SIGN})),
    0x9D: SlotLabels(
        "Certificate for Key Management",
        "KEY MAN",
        frozenset({_SIGN, _DECRYPT, _UNWRAP}),
        frozenset({_SIGN, _DERIVE}),
    ),
    0x9E: SlotLabels("Certificate for Card Authentication", "CARD AUTH", frozenset({_SIGN}), frozenset({_SIGN})),
}

_COUNTERPARTS = {CKA.SIGN: CKA.VERIFY, CKA.DECRYPT: CKA.ENCRYPT, CKA.UNWRAP: CKA.WRAP}


@dataclass(eq=False, slots=True)
class P11Object:
    """Any object: its attributes as bytes, and which of them are not given out.

    `key` is what operations work with: a public key of cryptography, a CardKey, or the bytes of a secret.
    """

    attributes: Attributes
    hidden: frozenset[int] = _NO_ATTRIBUTES
    key: PublicKey | CardKey | bytes | None = None

    @property
    def is_private(self) -> bool:
        """Whether it is seen only after login."""
        return self.attributes.get(CKA.PRIVATE) == TRUE

    @property
    def key_type(self) -> int | None:
        """The CK_KEY_TYPE of a key."""
        value = self.attributes.get(CKA.KEY_TYPE)
        return None if value is None else as_ulong(value)

    def allows(self, usage: CKA) -> bool:
        """Whether a usage attribute is true."""
        return self.attributes.get(usage) == TRUE

    def matches(self, template: list[tuple[int, bytes]]) -> bool:
        """Whether every attribute of the template is there with that very value; those not given out never match."""
        return all(kind not in self.hidden and self.attributes.get(kind) == value for kind, value in template)


@dataclass(frozen=True, slots=True)
class CardKey:
    """A private key on the card: its slot and algorithm, and its public half."""

    slot: int
    algorithm: Algorithm
    public: PublicKey = field(repr=False)

    @property
    def needs_login(self) -> bool:
        """Whether the card wants the PIN at all."""
        return SLOTS[self.slot].pin_rule is not PinRule.NEVER

    @property
    def always_authenticate(self) -> bool:
        """Whether the card wants the PIN before each use."""
        return SLOTS[self.slot].pin_rule is PinRule.ALWAYS


def read_card(card: PivClient) -> list[P11Object]:
    """All objects of a card, read from it: certificates, public and private keys, profiles. Raises CardRemoved."""
    objects: list[P11Object] = []
    for position, slot in enumerate(SLOTS, start=1):
        identity = bytes([position])
        certificate = _read_certificate(card, slot)
        metadata = card.metadata(slot)
        public = _certified_key(certificate) or _metadata_key(metadata)
        if certificate is not None:
            objects.append(certificate_object(certificate, identity, SLOT_LABELS[slot].certificate))
        if public is not None:
            subject = certificate.subject.public_bytes() if certificate is not None else b""
            objects += _key_pair(slot, public, identity, subject)
    return objects + [profile_object(profile) for profile in _PROFILES]


_PROFILES = (CKP.BASELINE_PROVIDER, CKP.AUTHENTICATION_TOKEN, CKP.PUBLIC_CERTIFICATES_TOKEN)


def profile_object(profile: CKP) -> P11Object:
    """CKO_PROFILE (PKCS #11 3.0, 4.13)."""
    common = _token_object(CKO.PROFILE, "", private=False)
    del common[CKA.LABEL]
    unique = f"profile:{profile.name.lower()}".encode()
    return P11Object({**common, CKA.UNIQUE_ID: unique, CKA.PROFILE_ID: ulong(profile)})


def certificate_object(certificate: x509.Certificate, identity: bytes, label: str) -> P11Object:
    """CKO_CERTIFICATE of type X.509 (4.6.3)."""
    der = certificate.public_bytes(Encoding.DER)
    return P11Object(
        {
            **_token_object(CKO.CERTIFICATE, label, private=False),
            CKA.CERTIFICATE_TYPE: ulong(CKC.X_509),
            CKA.CERTIFICATE_CATEGORY: ulong(1),  # token user
            CKA.TRUSTED: FALSE,
            CKA.CHECK_VALUE: hashlib.sha1(der, usedforsecurity=False).digest()[:3],
            CKA.START_DATE: date(certificate.not_valid_before_utc),
            CKA.END_DATE: date(certificate.not_valid_after_utc),
            CKA.PUBLIC_KEY_INFO: certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            CKA.SUBJECT: certificate.subject.public_bytes(),
            CKA.ISSUER: certificate.issuer.public_bytes(),
            CKA.SERIAL_NUMBER: _der_integer(certificate.serial_number),
            CKA.ID: identity,
            CKA.VALUE: der,
            CKA.URL: b"",
            CKA.HASH_OF_SUBJECT_PUBLIC_KEY: b"",
            CKA.HASH_OF_ISSUER_PUBLIC_KEY: b"",
            CKA.NAME_HASH_ALGORITHM: ulong(CKM.SHA_1),
            CKA.JAVA_MIDP_SECURITY_DOMAIN: ulong(0),
        }
    )


def public_key_attributes(public: PublicKey) -> Attributes:
    """What is told of a public key by its kind (RSA: PKCS #11 mechanisms 2.1.2; EC: 2.3.3)."""
    common: Attributes = {CKA.PUBLIC_KEY_INFO: public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {
            **common,
            CKA.KEY_TYPE: ulong(CKK.RSA),
            CKA.MODULUS: number(numbers.n),
            CKA.MODULUS_BITS: ulong(public.key_size),
            CKA.PUBLIC_EXPONENT: number(numbers.e),
        }
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return {
        **common,
        CKA.KEY_TYPE: ulong(CKK.EC),
        CKA.EC_PARAMS: _CURVES[public.curve.name][1],
        CKA.EC_POINT: tlv.encode(0x04, point),
    }


def secret_key(value: bytes, template: Attributes) -> P11Object:
    """A CKO_SECRET_KEY session object; the template has been checked."""
    attributes: Attributes = {
        **_session_object(CKO.SECRET_KEY),
        CKA.KEY_TYPE: ulong(CKK.GENERIC_SECRET),
        CKA.ID: b"",
        CKA.START_DATE: b"",
        CKA.END_DATE: b"",
        CKA.LOCAL: FALSE,
        CKA.KEY_GEN_MECHANISM: ulong(_UNAVAILABLE_INFORMATION),
        CKA.SENSITIVE: FALSE,
        CKA.EXTRACTABLE: TRUE,
        CKA.WRAP_WITH_TRUSTED: FALSE,
        CKA.TRUSTED: FALSE,
        **dict.fromkeys((CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP, CKA.DERIVE), FALSE),
        **template,
        CKA.VALUE: value,
        CKA.VALUE_LEN: ulong(len(value)),
    }
    # The card's key that it comes from has always been sensitive and never extractable (2.3.11).
    attributes[CKA.ALWAYS_SENSITIVE] = attributes[CKA.SENSITIVE]
    attributes[CKA.NEVER_EXTRACTABLE] = boolean(attributes[CKA.EXTRACTABLE] == FALSE)
    readable = attributes[CKA.SENSITIVE] == FALSE and attributes[CKA.EXTRACTABLE] == TRUE
    return P11Object(attributes, _NO_ATTRIBUTES if readable else frozenset({CKA.VALUE}), value)


def _token_object(kind: CKO, label: str, private: bool) -> Attributes:
    """What all objects on the card have in common; they cannot be changed, copied or destroyed through the module."""
    return {
        CKA.CLASS: ulong(kind),
        CKA.TOKEN: TRUE,
        CKA.PRIVATE: boolean(private),
        CKA.MODIFIABLE: FALSE,
        CKA.COPYABLE: FALSE,
        CKA.DESTROYABLE: FALSE,
        CKA.LABEL: label.encode(),
        CKA.UNIQUE_ID: f"{kind.name.lower()}:{label}".encode(),
    }


def _session_object(kind: CKO) -> Attributes:
    return {
        CKA.CLASS: ulong(kind),
        CKA.TOKEN: FALSE,
        CKA.PRIVATE: FALSE,
        CKA.MODIFIABLE: TRUE,
        CKA.COPYABLE: TRUE,
        CKA.DESTROYABLE: TRUE,
        CKA.LABEL: b"",
    }


def _key_pair(slot: int, public: PublicKey, identity: bytes, subject: bytes) -> list[P11Object]:
    """The public and the private key object of a slot."""
    names = SLOT_LABELS[slot]
    is_rsa = isinstance(public, rsa.RSAPublicKey)
    usage = names.rsa_usage if is_rsa else names.ec_usage
    public_usage = {_COUNTERPARTS[each] for each in usage if each in _COUNTERPARTS}
    kind = public_key_attributes(public)
    shared: Attributes = {
        **kind,
        CKA.ID: identity,
        CKA.SUBJECT: subject,
        CKA.START_DATE: b"",
        CKA.END_DATE: b"",
        CKA.LOCAL: FALSE,
        CKA.KEY_GEN_MECHANISM: ulong(_UNAVAILABLE_INFORMATION),
    }
    public_object = P11Object(
        {
            **_token_object(CKO.PUBLIC_KEY, f"{names.key} pubkey", private=False),
            **shared,
            **{each: boolean(each in public_usage) for each in (CKA.ENCRYPT, CKA.VERIFY, CKA.WRAP)},
            CKA.VERIFY_RECOVER: FALSE,
            CKA.DERIVE: FALSE,
            CKA.TRUSTED: FALSE,
        },
        key=public,
    )
    card_key = CardKey(slot, _algorithm(public), public)
    rule = SLOTS[slot].pin_rule
    private_object = P11Object(
        {
            **_token_object(CKO.PRIVATE_KEY, f"{names.key} key", private=rule is not PinRule.NEVER),
            **{kind: value for kind, value in shared.items() if kind != CKA.MODULUS_BITS},
            **{each: boolean(each in usage) for each in (CKA.DECRYPT, CKA.SIGN, CKA.UNWRAP, CKA.DERIVE)},
            CKA.SIGN_RECOVER: FALSE,
            CKA.SENSITIVE: TRUE,
            CKA.EXTRACTABLE: FALSE,
            CKA.ALWAYS_SENSITIVE: TRUE,
            CKA.NEVER_EXTRACTABLE: TRUE,
            CKA.WRAP_WITH_TRUSTED: FALSE,
            CKA.ALWAYS_AUTHENTICATE: boolean(rule is PinRule.ALWAYS),
        },
        _RSA_SECRET if is_rsa else _EC_SECRET,
        card_key,
    )
    return [public_object, private_object]


def _read_certificate(card: PivClient, slot: int) -> x509.Certificate | None:
    """SP 800-73-4 part 1, table 10: certificate (70), CertInfo (71; bit 1: compressed)."""
    value = card.read_object(SLOTS[slot].certificate)
    if value is None:
        return None
    try:
        fields = dict(tlv.decode(value))
        der = fields[0x70]
        if fields.get(0x71, b"\0")[:1] == b"\1":
            der = gzip.decompress(der)
        return x509.load_der_x509_certificate(der)
    except (ValueError, KeyError, OSError):
        return None


def _certified_key(certificate: x509.Certificate | None) -> PublicKey | None:
    if certificate is None:
        return None
    key = certificate.public_key()
    return key if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


def _metadata_key(metadata: dict[int, bytes] | None) -> PublicKey | None:
    """The public key of a slot without a certificate, as the card tells it."""
    if metadata is None:
        return None
    try:
        algorithm = Algorithm(metadata[0x01][0])
        fields = dict(tlv.decode(metadata[0x04]))
        if algorithm in RSA_BITS:
            exponent, modulus = (int.from_bytes(fields[tag], "big") for tag in (0x82, 0x81))
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE_OF[algorithm], fields[0x86])
    except (ValueError, KeyError, IndexError):
        return None


def _algorithm(public: PublicKey) -> Algorithm:
    if isinstance(public, rsa.RSAPublicKey):
        return next(algorithm for algorithm, bits in RSA_BITS.items() if bits == public.key_size)
    return _CURVES[public.curve.name][0]


def _der_integer(value: int) -> bytes:
    return tlv.encode(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))

# SPDX-License-Identifier: MIT
"""ATTEST: certify, with the card's attestation key, that another key was generated on the card.

The certificate has the form that Yubico's tools expect: the subject names the slot; extensions hold the firmware's
version, the serial number, the key's policies and the form factor.
"""

from __future__ import annotations

from typing import NoReturn, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes

from .. import certificates, tlv
from ..image.state import StoredKey
from ..status import SW, CardError
from ..tables import ATTESTATION, ATTESTATION_CERTIFICATE, PIN_POLICIES
from .context import CommandContext
from .extensions import Attest

_VERSION, _SERIAL, _POLICIES, _FORM_FACTOR = (
    x509.ObjectIdentifier(f"1.3.6.1.4.1.41482.3.{number}") for number in (3, 7, 8, 9)
)
_USB_A_KEYCHAIN = b"\1"
_INTEGER = 0x02
_CODES = {rule: code for code, rule in PIN_POLICIES.items()}


def attest(context: CommandContext, command: Attest) -> bytes:
    """Return a certificate (DER) of a key that was generated on the card.

    Raises CardError: 6A82 for a slot without key, 6A80 for a key that was imported, 6985 if the card has no key or
    no certificate to attest with.
    """
    state = context.store.state
    key = state.keys.get(command.slot)
    if key is None:
        raise CardError(SW.NOT_FOUND)
    if key.imported:
        raise CardError(SW.INCORRECT_DATA)
    signer = _private_key(state.keys.get(ATTESTATION))
    if not isinstance(signer, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        _refuse()
    extensions = {
        _VERSION: context.variant.version,
        _SERIAL: tlv.encode(_INTEGER, _signed(int.from_bytes(state.serial[-4:], "big"))),
        _POLICIES: bytes((_CODES[key.pin_rule], key.touch)),
        _FORM_FACTOR: _USB_A_KEYCHAIN,
    }
    try:
        builder = _builder(certificates.decode(state.objects.get(ATTESTATION_CERTIFICATE)), command.slot)
        for identifier, value in extensions.items():
            builder = builder.add_extension(x509.UnrecognizedExtension(identifier, value), critical=False)
        public = cast(CertificatePublicKeyTypes, _private_key(key).public_key())
        return builder.public_key(public).sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    except (ValueError, x509.InvalidVersion):  # the object beside the attestation key is no usable issuer certificate
        _refuse()


def _builder(issuer_certificate: bytes, slot: int) -> x509.CertificateBuilder:
    """Build names and dates of an attestation. Raises ValueError, x509.InvalidVersion for an unfit issuer."""
    issuer = x509.load_der_x509_certificate(issuer_certificate)
    subject = x509.NameAttribute(x509.NameOID.COMMON_NAME, f"YubiKey PIV Attestation {slot:02x}")
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([subject]))
        .issuer_name(issuer.subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
    )


def _private_key(stored: StoredKey | None) -> PrivateKeyTypes:
    """Load a stored private key. Raises CardError(6985) if there is none."""
    if stored is None:
        _refuse()
    return serialization.load_der_private_key(stored.value, None, unsafe_skip_rsa_key_validation=True)


def _refuse() -> NoReturn:
    """Raise CardError(6985): the card has no key or certificate to attest with."""
    raise CardError(SW.CONDITIONS_NOT_SATISFIED)


def _signed(number: int) -> bytes:
    """Encode the content octets of an INTEGER that is not negative."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")

# SPDX-License-Identifier: MIT
"""The test CA: issues the certificates on ready-made cards and of test servers. Trust it in tests only."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..certificate_reader import NO_KEY
from ..files import input_file, output_file

_YEARS = 20
KEY_FILE, CERTIFICATE_FILE = "ca.key", "ca.pem"
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class TestCA:
    """A key and its self-signed certificate."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self, key: CertificateIssuerPrivateKeyTypes, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def from_files(cls, certificate_file: Path, key_file: Path) -> TestCA:
        """Load a CA from its certificate and key, PEM or DER. Raises OSError, and ValueError for other content."""
        certificate = _read(certificate_file, x509.load_pem_x509_certificate, x509.load_der_x509_certificate)
        key = _read(key_file, serialization.load_pem_private_key, serialization.load_der_private_key, None)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise ValueError(f"{key_file}: a CA signs with RSA, EC or Ed25519 here, not {type(key).__name__}")
        if key.public_key() != certificate.public_key():
            raise ValueError(f"{key_file} is not the key of the certificate in {certificate_file}")
        if (problem := _why_no_ca(certificate)) is not None:
            raise ValueError(f"{certificate_file} is not the certificate of a CA: {problem}")
        return cls(key, certificate)

    @classmethod
    def create(cls) -> TestCA:
        """Make a CA with a new P-256 key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _self_signed(key))

    @classmethod
    def load_or_create(cls, folder: Path) -> TestCA:
        """Load the CA in `folder` (mode 0700), or make it; safe if two processes do so at once."""
        output_file.make_folder(folder)
        key_file, certificate_file = folder / KEY_FILE, folder / CERTIFICATE_FILE
        if not certificate_file.exists() and not key_file.exists():
            _write_first(key_file, _pem(ec.generate_private_key(ec.SECP256R1())))
        try:
            key = serialization.load_pem_private_key(_content(key_file), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError("another kind of key")
            if not certificate_file.exists():
                _write_first(certificate_file, cls(key, _self_signed(key)).certificate_pem())
            ca = cls(key, x509.load_pem_x509_certificate(_content(certificate_file)))
            constraints = ca.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            if ca.certificate.public_key() != key.public_key():
                raise ValueError("the certificate of another key")
        except (*NO_KEY, x509.InvalidVersion, x509.ExtensionNotFound):
            raise ValueError(f"the files in {folder} are not those of a test CA; delete it, for a new one") from None
        if constraints.path_length == 0:
            ca._renew(folder)
        return ca

    def certificate_pem(self) -> bytes:
        """Return the certificate that a client has to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        public_key: CertificatePublicKeyTypes,
        subject: x509.Name,
        extensions: Iterable[tuple[x509.ExtensionType, bool]],
        until: datetime.datetime,
        since: datetime.datetime | None = None,
    ) -> x509.Certificate:
        """Issue a certificate valid until `end`, and from yesterday on unless another start is given.

        The extensions come with whether they are critical. Raises ValueError for times that do not fit.
        """
        builder = self._builder(subject, public_key, until, since)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        return self._sign(builder)

    def issue_attestation_ca(self, public_key: CertificatePublicKeyTypes) -> x509.Certificate:
        """Issue a certificate for the key of a card that attests its other keys."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cardtear PIV attestation")])
        builder = self._builder(subject, public_key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(key_usage("key_cert_sign"), critical=True)
        return self._sign(builder)

    def _builder(
        self,
        subject: x509.Name,
        public_key: CertificatePublicKeyTypes,
        until: datetime.datetime | None = None,
        since: datetime.datetime | None = None,
    ) -> x509.CertificateBuilder:
        """Return a builder with what all certificates below this CA have in common."""
        identifiers = [
            each.value for each in self.certificate.extensions if isinstance(each.value, x509.SubjectKeyIdentifier)
        ]
        if identifiers:
            authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifiers[0])
        else:
            authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return _certificate_builder(subject, self.certificate.subject, public_key, authority, until, since)

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Sign a certificate."""
        is_edwards = isinstance(self._key, ed25519.Ed25519PrivateKey)
        return builder.sign(self._key, None if is_edwards else hashes.SHA256())

    def issue_server(self, host: str) -> tuple[bytes, bytes]:
        """Issue a key and a certificate (both PEM) for a TLS server on `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        builder = self._builder(subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(key_usage("digital_signature"), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        certificate = self._sign(builder)
        return _pem(key), certificate.public_bytes(serialization.Encoding.PEM)

    def _renew(self, folder: Path) -> None:
        """Issue another certificate for the same key, if an earlier version's allows no CA below it.

        Where it cannot be written the earlier one stays: good for all but attestations.
        """
        renewed = TestCA(self._key, _self_signed(self._key))
        with contextlib.suppress(OSError):
            output_file.write(folder / CERTIFICATE_FILE, renewed.certificate_pem())
            self.certificate = renewed.certificate


def _write_first(path: Path, content: bytes) -> None:
    """Write a file unless another process has just done so."""
    with contextlib.suppress(FileExistsError):
        output_file.write_new(path, content)


def _pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Encode a private key as PEM, without encryption."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _self_signed(key: CertificateIssuerPrivateKeyTypes) -> x509.Certificate:
    """Return the CA's own certificate; it allows one CA below it, on a card that attests its keys."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cardtear"),
            x509.NameAttribute(NameOID.COMMON_NAME, "cardtear test CA"),
        ]
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = _certificate_builder(name, name, key.public_key(), authority)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
    return builder.sign(key, hashes.SHA256())


def _certificate_builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    authority: x509.AuthorityKeyIdentifier,
    until: datetime.datetime | None = None,
    since: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    """Return a builder with what all certificates have in common: valid from yesterday, for twenty years."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since or now - datetime.timedelta(days=1))
        .not_valid_after(until or now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority, critical=False)
    )


def _why_no_ca(certificate: x509.Certificate) -> str | None:
    """Return why a certificate cannot be used as a CA's (RFC 5280, 4.2.1.3 and 4.2.1.9), None if it can."""
    try:
        extensions = certificate.extensions
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    except (ValueError, x509.DuplicateExtension) as error:
        return f"its extensions cannot be read: {error}"
    if not is_ca:
        return "it has no basic constraints with CA:TRUE"
    usages = [each.value for each in extensions if isinstance(each.value, x509.KeyUsage)]
    if usages and not usages[0].key_cert_sign:
        return "its key usage is without keyCertSign"
    return None


def _read(path: Path, pem: Callable[..., Any], der: Callable[..., Any], *more: Any) -> Any:
    """Return the objects in a file, PEM or DER. Raises OSError, ValueError."""
    content = _content(path)
    try:
        return (pem if b"-----BEGIN" in content else der)(content, *more)
    except (*NO_KEY, x509.InvalidVersion) as error:
        raise ValueError(f"{path}: {error}") from None


def _content(path: Path) -> bytes:
    """Read a file, without waiting long: others may wait for a simulator that reads it. Raises OSError."""
    return input_file.read_regular(path, input_file.KEYS_AND_CERTIFICATES)


def key_usage(*names: str) -> x509.KeyUsage:
    """Return the key usage extension with these bits, by their names in x509.KeyUsage."""
    return x509.KeyUsage(**{name: name in names for name in _USAGES})

# SPDX-License-Identifier: MIT
"""Read the private keys and certificates in files as people have them: PEM, DER, PKCS #12, PKCS #7, OpenSSH.

A PEM file may have text around its blocks, and blocks of several kinds. DER is told apart by its shape. What is none of
these is refused with the reason. Certificates are taken as they are, however broken.
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from asn1crypto import pem
from asn1crypto import pkcs12 as pkcs12_structure
from cryptography.exceptions import InternalError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import InvalidVersion

from .. import certificate_reader
from ..certificate_reader import NO_KEY, Element, elements


@dataclass
class Contents:
    """Private keys of cryptography and certificates (DER), in the order of the file and each once.

    `others` says what else was there, `had_password` whether it took the password to read it.
    """

    keys: list[Any] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    had_password: bool = False

    def add_certificate(self, der: bytes) -> None:
        """Add a certificate without what follows it, such as OpenSSL's trust. Raises ValueError if it is none."""
        if certificate_reader.read(der) is None:
            raise ValueError("what should be a certificate is none, or is cut off")
        whole = elements(der)[0].whole
        if whole not in self.certificates:
            self.certificates.append(whole)


class _Locked(ValueError):
    """The password is missing or wrong."""


Password = bytes | None


def read(content: bytes, password: Password, name: str) -> Contents:
    """Read what is in a file; `name` is for the message. Raises ValueError."""
    found = Contents()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's, of BER and old ciphers: nothing that a user can do about
            _read(_as_bytes(content), password, found)
        if not found.keys and not found.certificates:
            raise ValueError(", ".join(found.others) or "it has neither a private key nor a certificate")
    except NO_KEY as error:
        hint = "; the password of a file that has one goes into --password-file"
        told = "a key in it is damaged" if isinstance(error, InternalError) else re.sub("b'(.*?)'", r"\1", str(error))
        words = " ".join(re.split("Details:|error parsing|ParseError|See https", told)[0].split()) or "it is damaged"
        raise ValueError(f"{name} cannot be taken: {words}{hint if isinstance(error, _Locked) else ''}") from None
    return found


def _as_bytes(content: bytes) -> bytes:
    """Convert UTF-16 to UTF-8, and drop a byte order mark."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16").encode()
    return content.removeprefix(b"\xef\xbb\xbf")


def _read(content: bytes, password: Password, found: Contents) -> None:
    for beginning, reason in _REASONS.items():
        if content.lstrip().startswith(beginning):
            raise ValueError(reason)
    if b"-----BEGIN " in content:
        _read_pem(content, password, found)
        return
    if re.fullmatch(rb"[A-Za-z0-9+/]+={0,2}", bare := b"".join(content.split())):  # base64 without the lines around it
        content = base64.b64decode(bare)
    outer = [each for each in elements(content) if each.is_universal(_SEQUENCE)]
    if not outer:
        raise ValueError("it is empty" if not content.strip() else "it is neither PEM nor DER, or it is cut off")
    for each in outer:
        _read_der(each, password, found)


_REASONS = {
    b"{": "an export of a card makes a whole card: import it without --slot, into a new file",
    b"SQLite format 3": "it is a card image or another database; copy cards with: cardtear card copy",
    b"PuTTY-User-Key-File": "it is a key of PuTTY; make a PEM file of it with: puttygen FILE -O private-openssh -o NEW",
    b"ssh-": "it is a public key of OpenSSH; the private one is in the file without .pub",
    b"ecdsa-sha2-": "it is a public key of OpenSSH; the private one is in the file without .pub",
    b"sk-": "it is a public key of OpenSSH; the private one is in a security key and cannot be had",
    b"---- BEGIN SSH2 PUBLIC KEY": "it is a public key",
    b"\xfe\xed\xfe\xed": "it is a Java key store; make a PKCS #12 file of it with: keytool -importkeystore "
    "-srckeystore FILE -destkeystore NEW -deststoretype PKCS12",
}
"""What is known and cannot be taken, by how it begins."""


# PEM

_BLOCK = rb"-----BEGIN ([ -,.-~]+)-----(?:(?!-----BEGIN ).)*?-----END \1-----"
_IN_ONE_LINE = rb"(-----BEGIN [^-]+-----)(.*)(-----END [^-]+-----)"


def _read_pem(content: bytes, password: Password, found: Contents) -> None:
    blocks = list(re.finditer(_BLOCK, content, re.DOTALL))
    if len(blocks) != content.count(b"-----BEGIN "):
        raise ValueError("a block of it has a BEGIN line and no END line: it is cut off")
    for each in blocks:
        label = each[1].decode()
        block = b"".join(line.strip() + b"\n" for line in _lines(each[0]))
        if label.endswith("PRIVATE KEY") and label in _KEY_BLOCKS:
            found.keys.append(_key(_KEY_BLOCKS[label], block, password, found))
        elif label in _DER_BLOCKS:
            _DER_BLOCKS[label](_unarmored(block), found)
        elif not label.endswith("PARAMETERS"):  # those are in the key that follows, too
            found.others.append(_OTHER_BLOCKS.get(label, f"it is a {label}, which has no place on a card"))


def _lines(block: bytes) -> list[bytes]:
    """Split a block into lines. A block in one line, as in variables and JSON, is split at spaces and `\n`."""
    if (whole := re.fullmatch(_IN_ONE_LINE, block)) is None:
        return block.splitlines()
    begin, body, end = whole.groups()
    return [begin, *body.replace(rb"\n", b" ").split(), end]


def _unarmored(block: bytes) -> bytes:
    """Return the DER in a PEM block. Raises ValueError."""
    try:
        der: bytes = pem.unarmor(block)[2]
    except ValueError:
        raise ValueError("a block of it is not PEM between its BEGIN and END lines") from None
    return der


def _key(load: Callable[..., Any], data: bytes, password: Password, found: Contents) -> Any:
    """Load a private key, with a password or without. Raises ValueError, UnsupportedAlgorithm."""
    try:
        return load(data, None)
    except TypeError:  # it is encrypted
        if load is serialization.load_ssh_private_key and find_spec("bcrypt") is None:
            raise ValueError(
                "it is a key of OpenSSH under a passphrase, for which the Python package bcrypt is missing; "
                "install it, or take the passphrase from a copy with: ssh-keygen -p -N '' -f COPY"
            ) from None
    if password is None:
        raise _Locked("the key is encrypted")
    found.had_password = True
    try:
        return load(data, password)
    except ValueError as error:
        if re.search("password|decrypt|passphrase", str(error), re.IGNORECASE):
            raise _Locked(str(error)) from None
        raise


def _add_signed_data(der: bytes, found: Contents) -> None:
    """Add the certificates in a PKCS #7 (RFC 2315, 9.1; RFC 5652, 5.1). Raises ValueError if there are none."""
    outer = elements(der)[:1] or [_NOTHING]
    kind, content, *_ = [*elements(outer[0].content), _NOTHING, _NOTHING]
    signed = elements(content.content)
    if certificate_reader.dotted(kind) != _SIGNED_DATA or not signed:
        raise ValueError("it is a PKCS #7 of another kind than signed data, which has no certificates")
    sets = [each for each in elements(signed[0].content) if (each.class_, each.tag) == (_CONTEXT, 0)]
    certificates = [each.whole for each in elements(sets[0].content) if each.is_universal(_SEQUENCE)] if sets else []
    if not certificates:
        raise ValueError("it is a PKCS #7 without certificates")
    for each in certificates:
        found.add_certificate(each)


def _add_certificate(der: bytes, found: Contents) -> None:
    """Add the content of a CERTIFICATE block, which some programs put around a PKCS #7. Raises ValueError."""
    outer = elements(der)[:1] or [_NOTHING]
    if _shape(outer[0].content).startswith("D"):
        _add_signed_data(der, found)
    else:
        found.add_certificate(der)


_KEY_BLOCKS: dict[str, Callable[..., Any]] = {
    **{f"{kind}PRIVATE KEY": serialization.load_pem_private_key for kind in ("", "RSA ", "EC ", "DSA ", "ENCRYPTED ")},
    "OPENSSH PRIVATE KEY": serialization.load_ssh_private_key,
}
_DER_BLOCKS: dict[str, Callable[[bytes, Contents], None]] = {
    **dict.fromkeys(("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"), _add_certificate),
    **dict.fromkeys(("PKCS7", "PKCS #7 SIGNED DATA", "CMS"), _add_signed_data),
}
_REQUEST = "it is a certificate request; the CA makes the certificate of it"
_OTHER_BLOCKS = {
    "CERTIFICATE REQUEST": _REQUEST,
    "NEW CERTIFICATE REQUEST": _REQUEST,
    "PUBLIC KEY": "it is a public key",
    "RSA PUBLIC KEY": "it is a public key",
    "X509 CRL": "it is a list of revoked certificates",
}


# DER

_SEQUENCE = 16
_CONTEXT = 2
_NOTHING = Element(_CONTEXT, 31, b"", b"")
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_LETTERS = {2: "I", 3: "B", 4: "O", 6: "D", 16: "S", 23: "T", 24: "T"}
"""Of universal types in a shape; those of class context are digits, others a dot."""


def _shape(content: bytes) -> str:
    """Return the element types of a SEQUENCE as a word: `ISO` is INTEGER, SEQUENCE, OCTET STRING."""
    return "".join(
        _LETTERS.get(each.tag, ".") if each.class_ == 0 else str(each.tag)[:1] if each.class_ == _CONTEXT else "."
        for each in elements(content)
    )


def _read_der(outer: Element, password: Password, found: Contents) -> None:
    shape = _shape(outer.content)
    if re.match("ISO|IO|SO$|I{9}|I{6}$", shape):  # PKCS #8, SEC1, encrypted PKCS #8, PKCS #1, DSA
        found.keys.append(_key(serialization.load_der_private_key, outer.whole, password, found))
    elif re.fullmatch("ISS?", shape):
        _add_pkcs12(outer.whole, password, found)
    elif shape.startswith("D"):
        _add_signed_data(outer.whole, found)
    elif re.match("SB|II$", shape):
        found.others.append(_OTHER_BLOCKS["PUBLIC KEY"])
    elif not shape.startswith("SSB"):
        raise ValueError("it is neither a certificate nor a private key, nor PKCS #12 or PKCS #7")
    elif re.match("ISS0", inner := _shape(elements(outer.content)[0].content)):
        found.others.append(_REQUEST)
    elif re.match("I?SST", inner):
        found.others.append(_OTHER_BLOCKS["X509 CRL"])
    else:
        found.add_certificate(outer.whole)


_STRICT = "a certificate in it is broken; PEM is read more leniently: openssl pkcs12 -in FILE -nodes -out NEW.pem"


def _add_pkcs12(der: bytes, password: Password, found: Contents) -> None:
    """Add the key and the certificates of a PKCS #12. Raises ValueError, UnsupportedAlgorithm."""
    problem = ValueError()
    for each in (None, b"", *([] if password is None else [password])):  # none is one thing, an empty one another
        try:
            bundle = pkcs12.load_pkcs12(der, each)
            found.had_password |= bool(each)
            break
        except InvalidVersion:
            raise ValueError(_STRICT) from None
        except ValueError as error:
            problem = error
    else:
        if "parsing asn1" in str(problem):
            raise ValueError(_STRICT)
        is_locked = re.search("password", str(problem), re.IGNORECASE)
        raise _Locked(str(problem)) if is_locked else problem
    if (count := _count_keys(der)) > 1:  # the library gives one of them
        apart = "openssl pkcs12 -in FILE -nodes -out NEW.pem"
        raise ValueError(f"there are {count} private keys in it, and one slot; take them apart with: {apart}")
    if bundle.key is not None:
        found.keys.append(bundle.key)
    for certificate in (bundle.cert, *bundle.additional_certs):
        if certificate is not None:
            found.add_certificate(certificate.certificate.public_bytes(serialization.Encoding.DER))


def _count_keys(der: bytes) -> int:
    """Count the private keys that a PKCS #12 shows without its password (RFC 7292, 4.2); 0 if unknown."""
    try:
        safes = pkcs12_structure.Pfx.load(der).authenticated_safe
        readable = [each["content"].native for each in safes if each["content_type"].native == "data"]
        bags = [bag for each in readable for bag in pkcs12_structure.SafeContents.load(each)]
        return sum(bag["bag_id"].native in ("key_bag", "pkcs8_shrouded_key_bag") for bag in bags)
    except (ValueError, TypeError):
        return 0

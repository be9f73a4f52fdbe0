# SPDX-License-Identifier: MIT
"""A certificate in its data object: itself, CertInfo, error detection code (SP 800-73-5 part 1, table 42)."""

from __future__ import annotations

import contextlib
import gzip
import zlib

from . import tlv

_CERTIFICATE, _INFO, _ERROR_DETECTION_CODE = 0x70, 0x71, 0xFE
_COMPRESSED = 1
"""The bit of CertInfo for gzip."""

_ANY_COMPRESSED = 0x81
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_SEQUENCE = b"\x30"
_LONGEST = 64 * 1024


def encode(der: bytes, is_compressed: bool = False) -> bytes:
    """Encode the data object of a certificate (DER)."""
    content = gzip.compress(der, mtime=0) if is_compressed else der
    info = bytes([_COMPRESSED if is_compressed else 0])
    return tlv.encode(_CERTIFICATE, content) + tlv.encode(_INFO, info) + tlv.encode(_ERROR_DETECTION_CODE)


def decode(value: bytes | None) -> bytes:
    """Return the certificate (DER) in a data object; empty if it holds none or cannot be decoded.

    Writers disagree about CertInfo: the bit for gzip was the first of the byte in the first edition of SP 800-73 and is
    the last one since; some compress with zlib, some say so and do not. So it is the content that tells. What
    follows the certificate does not matter, and a bare certificate without a tag is taken, too.
    """
    if not value or value.startswith(_SEQUENCE):
        return value or b""
    content, info = _fields(value)
    if content.startswith(_SEQUENCE):
        return content
    try:
        inflated = zlib.decompressobj(wbits=_GZIP_OR_ZLIB).decompress(content, _LONGEST)
    except zlib.error:
        inflated = b""
    return inflated if info & _ANY_COMPRESSED or inflated.startswith(_SEQUENCE) else content


def _fields(value: bytes) -> tuple[bytes, int]:
    """Return the certificate as stored, and CertInfo, as far as the fields can be decoded."""
    fields: dict[int, bytes] = {}
    at = 0
    with contextlib.suppress(tlv.TlvError):
        while at < len(value):
            tag, content, at = tlv.read(value, at)
            fields.setdefault(tag, content)
    return fields.get(_CERTIFICATE, b""), int.from_bytes(fields.get(_INFO, b"")[:1], "big")

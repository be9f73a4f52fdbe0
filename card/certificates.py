# SPDX-License-Identifier: MIT
"""A certificate in its data object: itself, CertInfo, error detection code (SP 800-73-5 part 1, table 42)."""

from __future__ import annotations

import gzip
import zlib

from . import tlv

_CERTIFICATE, _INFO, _ERROR_DETECTION_CODE = 0x70, 0x71, 0xFE
_COMPRESSED = 1
"""The bit of CertInfo for gzip."""

_LONGEST = 64 * 1024


def encode(der: bytes, is_compressed: bool = False) -> bytes:
    """The content of the data object for a certificate (DER)."""
    content = gzip.compress(der, mtime=0) if is_compressed else der
    info = bytes([_COMPRESSED if is_compressed else 0])
    return tlv.encode(_CERTIFICATE, content) + tlv.encode(_INFO, info) + tlv.encode(_ERROR_DETECTION_CODE)


def decode(value: bytes | None) -> bytes:
    """The certificate (DER) in a data object, nothing if there is none or what is there cannot be read."""
    try:
        fields = dict(tlv.decode(value or b""))
        content = fields.get(_CERTIFICATE, b"")
        if not int.from_bytes(fields.get(_INFO, b"")[:1], "big") & _COMPRESSED:
            return content
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(content, _LONGEST)
    except (tlv.TlvError, zlib.error):
        return b""

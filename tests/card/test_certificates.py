# SPDX-License-Identifier: MIT
"""Certificates in their data objects: compressed or not, and whatever else may lie there."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from cardtear.card import certificates, tlv
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(max_size=3000), st.booleans())
def test_what_is_encoded_is_decoded(der: bytes, is_compressed: bool) -> None:
    value = certificates.encode(der, is_compressed)
    assert certificates.decode(value) == der
    assert [tag for tag, _ in tlv.decode(value)] == [0x70, 0x71, 0xFE]
    assert dict(tlv.decode(value))[0x71] == bytes([is_compressed])


@given(st.binary(max_size=200))
def test_any_bytes(value: bytes) -> None:
    assert isinstance(certificates.decode(value), bytes)
    assert isinstance(certificates.decode(tlv.encode(0x70, value) + b"\x71\1\1"), bytes)


@pytest.mark.parametrize("value", [None, b"", b"\x70", b"\x70\2\1", bytes.fromhex("7003010203 710101"), b"\x71\1\1"])
def test_none(value: bytes | None) -> None:
    assert certificates.decode(value) == b""


def test_other_ways_to_write_them() -> None:
    """Without CertInfo, with an empty one, with further bits and fields (MSCUID, 72)."""
    assert certificates.decode(bytes.fromhex("7003010203")) == b"\1\2\3"
    assert certificates.decode(bytes.fromhex("7003010203 7100")) == b"\1\2\3"
    assert certificates.decode(bytes.fromhex("7003010203 710104 7202FFFF FE00")) == b"\1\2\3"
    assert certificates.decode(tlv.encode(0x70, gzip.compress(b"\1\2\3")) + b"\x71\1\5") == b"\1\2\3"


DER = tlv.encode(0x30, b"certificate")


@pytest.mark.parametrize("info", [b"", b"\0", b"\1", b"\5", b"\x80", b"\x81", b"\x04"])
@pytest.mark.parametrize("squeeze", [bytes, gzip.compress, zlib.compress], ids=["plain", "gzip", "zlib"])
def test_certinfo_of_all_writers(squeeze: Callable[[bytes], bytes], info: bytes) -> None:
    """The bit for gzip has been the first and the last one, and not everybody sets it for what he writes."""
    value = tlv.encode(0x70, squeeze(DER)) + tlv.encode(0x71, info)
    assert certificates.decode(value) == DER
    assert certificates.decode(value + tlv.encode(0xFE)) == DER
    assert certificates.decode(value + b"\xfe\xff\xff") == DER
    assert certificates.decode(tlv.encode(0x71, info) + tlv.encode(0x70, squeeze(DER))) == DER


def test_a_bare_certificate() -> None:
    assert certificates.decode(DER) == DER


def test_a_small_object_does_not_fill_the_memory() -> None:
    value = tlv.encode(0x70, gzip.compress(bytes(10_000_000))) + b"\x71\1\1"
    assert len(value) < 12_000
    assert len(certificates.decode(value)) == 64 * 1024

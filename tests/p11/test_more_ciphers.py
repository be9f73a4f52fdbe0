# SPDX-License-Identifier: MIT
"""ChaCha20, triple DES with two keys and CBC-MAC: published vectors, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKA, CKK, CKM, CKR

from ..shared.host import probes
from ..shared.host.host import Host

# RFC 8439, 2.4.2, 2.8.2
TEXT = b"""\
Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.\
"""
STREAM = (
    "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b3571639d624e65152ab"
    "8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42"
    "874d"
)
SEALED = (
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
    "05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b"
    "61161ae10b594f09e26a7e902ecbd0600691"
)


def chacha20(m: Module) -> Any:
    """CK_CHACHA20_PARAMS of the vector."""
    return probes.struct(
        m,
        "CK_CHACHA20_PARAMS",
        pBlockCounter=bytes([1, 0, 0, 0]),
        blockCounterBits=32,
        pNonce=bytes.fromhex("000000000000004a00000000"),
        ulNonceBits=96,
    )


def poly1305(m: Module) -> Any:
    """CK_SALSA20_CHACHA20_POLY1305_PARAMS of the vector."""
    return probes.struct(
        m,
        "CK_SALSA20_CHACHA20_POLY1305_PARAMS",
        pNonce=bytes.fromhex("070000004041424344454647"),
        ulNonceLen=12,
        pAAD=bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
        ulAADLen=12,
    )


VECTORS = {
    "ChaCha20": (CKK.CHACHA20, bytes(range(32)), "CHACHA20", chacha20, TEXT, STREAM),
    "ChaCha20-Poly1305": (CKK.CHACHA20, bytes(range(0x80, 0xA0)), "CHACHA20_POLY1305", poly1305, TEXT, SEALED),
}


@pytest.fixture
def session(host: Host) -> int:
    """A read/write session with the user logged in, on the standard card."""
    return int(host.call(probes.user_session, read_write=True))


@pytest.mark.parametrize("name", VECTORS)
def test_vector(host: Host, session: int, name: str) -> None:
    """In one part, in many, and back."""
    kind, value, mechanism, parameter, text, expected = VECTORS[name]
    key = host.call(probes.secret, session, int(kind), value)

    def passed(m: Module, way: str, given: bytes | list[bytes]) -> Any:
        return probes.passed(m, session, way, CKM[mechanism], parameter(m), key, given)

    for parts in (text, [text[:5], text[5:]]):
        assert host.call(passed, "Encrypt", parts) == bytes.fromhex(expected)
    assert host.call(passed, "Decrypt", bytes.fromhex(expected)) == text


def test_two_keys_are_three(host: Host, session: int) -> None:
    """A triple DES key of double length is K1, K2, K1."""
    two, three = (
        host.call(probes.secret, session, int(kind), value)
        for kind, value in ((CKK.DES2, bytes(range(16))), (CKK.DES3, bytes(range(16)) + bytes(range(8))))
    )

    def encrypted(m: Module, s: int, k: int) -> Any:
        return probes.passed(m, s, "Encrypt", CKM.DES3_CBC_PAD, bytes(8), k, b"data")

    assert host.call(encrypted, s=session, k=two) == host.call(encrypted, s=session, k=three)


def test_wrong_tag(host: Host, session: int) -> None:
    """Nothing comes out; too short for a tag is the wrong length."""
    key = host.call(probes.secret, session, int(CKK.CHACHA20), bytes(range(128, 160)))
    sealed = bytes.fromhex(SEALED)

    def decrypted(m: Module, given: bytes) -> Any:
        return probes.passed(m, session, "Decrypt", CKM.CHACHA20_POLY1305, poly1305(m), key, given)

    assert host.call(decrypted, sealed[:-1] + b"x") == CKR.ENCRYPTED_DATA_INVALID
    assert host.call(decrypted, sealed[:15]) == CKR.ENCRYPTED_DATA_LEN_RANGE


@pytest.mark.parametrize(("mechanism", "length"), [(CKM.DES2_KEY_GEN, 16), (CKM.CHACHA20_KEY_GEN, 32)])
def test_generate(host: Host, session: int, mechanism: CKM, length: int) -> None:
    """Of the one length that there is; DES keys with odd parity."""
    value, key = host.call(probes.generated, session, int(mechanism), {CKA.SENSITIVE: b"\x00"})
    assert (value, len(key)) == (CKR.OK, length)
    if mechanism is not CKM.CHACHA20_KEY_GEN:
        assert all(each.bit_count() % 2 for each in key)
    wrong = {CKA.VALUE_LEN: length + 8}
    assert host.call(probes.generated, session, int(mechanism), wrong)[0] == CKR.ATTRIBUTE_VALUE_INVALID


@pytest.mark.parametrize("size", [0, 1, 16, 17, 48])
def test_cbc_mac(host: Host, session: int, size: int) -> None:
    """The last block of CBC over the data and zeros, or as much of it as is asked for; half of it if nothing is."""
    data = bytes(range(size))
    key = host.call(probes.secret, session, CKK.AES, bytes(16))
    padded = data + bytes(-size % 16)
    last = host.call(probes.passed, session, "Encrypt", CKM.AES_CBC, bytes(16), key, padded)[-16:]
    whole = last.rjust(16, b"\0")

    def signed(m: Module, s: int, k: int, p: Any, h: int, d: Any) -> Any:
        return probes.passed(m, s, "Sign", k, p, h, d)

    for mechanism, parameter, length in ((CKM.AES_MAC, b"", 8), (CKM.AES_MAC_GENERAL, b"\3" + bytes(7), 3)):
        for parts in (data, [data[:5], data[5:]]):
            made = host.call(signed, s=session, k=int(mechanism), p=parameter, h=key, d=parts)
            assert made == whole[:length]

# SPDX-License-Identifier: MIT
"""Published vectors, through the module: each says where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKD, CKK, CKM, CKO
from cryptography.hazmat.primitives.asymmetric import x25519

from ..shared.host import probes
from ..shared.host.host import Host


class Vector(NamedTuple):
    """One known answer; `parameter` is an expression in the host, everything else is hexadecimal."""

    source: str
    mechanism: str
    key: str
    parameter: Callable[[Module], bytes]
    data: str
    answer: str


SP800_38A = "2b7e151628aed2a6abf7158809cf4f3c"
BLOCKS = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"


def fixed(value: bytes) -> Callable[[Module], bytes]:
    """A parameter that is bytes."""
    return lambda _m: value


def gcm(iv: bytes, aad: bytes) -> Callable[[Module], bytes]:
    """CK_GCM_PARAMS."""
    fields = {"pIv": iv, "ulIvLen": 12, "ulIvBits": 96, "pAAD": aad, "ulAADLen": len(aad), "ulTagBits": 128}
    return lambda m: probes.struct(m, "CK_GCM_PARAMS", **fields)


def ccm(length: int, nonce: bytes, aad: bytes, mac: int) -> Callable[[Module], bytes]:
    """CK_CCM_PARAMS for so many bytes of data."""
    fields = {"pNonce": nonce, "ulNonceLen": len(nonce), "pAAD": aad, "ulAADLen": len(aad), "ulMACLen": mac}
    return lambda m: probes.struct(m, "CK_CCM_PARAMS", ulDataLen=length, **fields)


NOTHING = fixed(b"")
IV = fixed(bytes(range(16)))
COUNTER = fixed((128).to_bytes(8, "little") + bytes(range(0xF0, 0x100)))
TEST_CASE_4 = gcm(bytes.fromhex("cafebabefacedbaddecaf888"), bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"))
EXAMPLE_1 = ccm(4, bytes(range(16, 23)), bytes(range(8)), 4)
EXAMPLE_2 = ccm(16, bytes(range(16, 24)), bytes(range(16)), 6)

CIPHERS = [
    Vector(
        "SP 800-38A F.1.1",
        "AES_ECB",
        SP800_38A,
        NOTHING,
        BLOCKS,
        "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf",
    ),
    Vector(
        "SP 800-38A F.2.1",
        "AES_CBC",
        SP800_38A,
        IV,
        BLOCKS,
        "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
    ),
    Vector(
        "SP 800-38A F.3.13",
        "AES_CFB128",
        SP800_38A,
        IV,
        BLOCKS,
        "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b",
    ),
    Vector("SP 800-38A F.3.7", "AES_CFB8", SP800_38A, IV, BLOCKS[:16], "3b79424c9c0dd436"),
    Vector(
        "SP 800-38A F.4.1",
        "AES_OFB",
        SP800_38A,
        IV,
        BLOCKS,
        "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825",
    ),
    Vector(
        "SP 800-38A F.5.1",
        "AES_CTR",
        SP800_38A,
        COUNTER,
        BLOCKS,
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
    ),
    Vector(
        "GCM specification, test case 4",
        "AES_GCM",
        "feffe9928665731c6d6a8f9467308308",
        TEST_CASE_4,
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
        "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
        "5bc94fbc3221a5db94fae95ae7121a47",
    ),
    Vector(
        "SP 800-38C, example 1",
        "AES_CCM",
        "404142434445464748494a4b4c4d4e4f",
        EXAMPLE_1,
        "20212223",
        "7162015b4dac255d",
    ),
    Vector(
        "SP 800-38C, example 2",
        "AES_CCM",
        "404142434445464748494a4b4c4d4e4f",
        EXAMPLE_2,
        "202122232425262728292a2b2c2d2e2f",
        "d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd",
    ),
    Vector(
        "RFC 3394, 4.1",
        "AES_KEY_WRAP",
        "000102030405060708090a0b0c0d0e0f",
        NOTHING,
        "00112233445566778899aabbccddeeff",
        "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
    ),
    Vector(
        "RFC 3394, 4.1, by the number of NSS",
        "NSS_AES_KEY_WRAP",
        "000102030405060708090a0b0c0d0e0f",
        NOTHING,
        "00112233445566778899aabbccddeeff",
        "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
    ),
    Vector(
        "RFC 5649, 6",
        "AES_KEY_WRAP_KWP",
        "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
        NOTHING,
        "c37b7e6492584340bed12207808941155068f738",
        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
    ),
    Vector(
        "SP 800-67, the Fox message",
        "DES3_ECB",
        "0123456789abcdef23456789abcdef01456789abcdef0123",
        NOTHING,
        "54686520717566636b2062726f776e20666f78206a756d70",
        "a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900",
    ),
    Vector("SP 800-17, table 2", "DES_ECB", "80" + "01" * 7, NOTHING, "00" * 8, "95a8d72813daa94d"),
]

MACS = [
    Vector(
        "RFC 4231, test case 1",
        "SHA256_HMAC",
        "0b" * 20,
        NOTHING,
        b"Hi There".hex(),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    Vector(
        "RFC 2202, test case 2",
        "SHA_1_HMAC",
        b"Jefe".hex(),
        NOTHING,
        b"what do ya want for nothing?".hex(),
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    ),
    Vector("RFC 4493, example 2", "AES_CMAC", SP800_38A, NOTHING, BLOCKS[:32], "070a16b46b4d4144f79bdd9dd04a287c"),
    Vector(
        "RFC 4493, example 2, cut",
        "AES_CMAC_GENERAL",
        SP800_38A,
        fixed((5).to_bytes(8, "little")),
        BLOCKS[:32],
        "070a16b46b",
    ),
    Vector(
        "GCM specification, test case 1",
        "AES_GMAC",
        "00" * 16,
        gcm(bytes(12), b""),
        "",
        "58e2fccefa7e3061367f1d57a4e7455a",
    ),
]

DIGESTS = [
    Vector("RFC 1321", "MD5", "", NOTHING, b"abc".hex(), "900150983cd24fb0d6963f7d28e17f72"),
    Vector("FIPS 180", "SHA_1", "", NOTHING, b"abc".hex(), "a9993e364706816aba3e25717850c26c9cd0d89d"),
    Vector(
        "FIPS 180",
        "SHA256",
        "",
        NOTHING,
        b"abc".hex(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    Vector(
        "FIPS 180",
        "SHA512_256",
        "",
        NOTHING,
        b"abc".hex(),
        "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
    ),
    Vector(
        "FIPS 202",
        "SHA3_256",
        "",
        NOTHING,
        b"abc".hex(),
        "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    ),
]


def names(vector: Vector) -> str:
    """What a vector is called in the report."""
    return f"{vector.mechanism} {vector.source}"


@pytest.fixture
def simulator(bare_simulator: Simulator) -> Simulator:
    """With a card that has old mechanisms, too."""
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(legacy=True))
    return bare_simulator


@pytest.fixture
def session(host: Host) -> int:
    """A session with the user logged in."""
    return int(host.call(probes.user_session))


def key_of(host: Host, session: int, vector: Vector) -> int:
    """The vector's key in the session."""
    kind = CKK.GENERIC_SECRET
    for prefix, known in (("AES", CKK.AES), ("NSS_AES", CKK.AES), ("DES_", CKK.DES), ("DES3", CKK.DES3)):
        kind = known if vector.mechanism.startswith(prefix) else kind
    return int(host.call(probes.secret, session, int(kind), bytes.fromhex(vector.key)))


def answer(host: Host, session: int, way: str, vector: Vector, key: int, data: Any) -> Any:
    """What the module says to one part, or to a list of them."""
    mechanism, parameter = CKM[vector.mechanism], vector.parameter
    return host.call(lambda m: probes.passed(m, session, way, mechanism, parameter(m), key, data))


@pytest.mark.parametrize("vector", CIPHERS, ids=names)
def test_ciphers(host: Host, session: int, vector: Vector) -> None:
    """Both ways, whole and byte by byte."""
    key, data, expected = key_of(host, session, vector), bytes.fromhex(vector.data), bytes.fromhex(vector.answer)
    for way, given, wanted in (("Encrypt", data, expected), ("Decrypt", expected, data)):
        assert answer(host, session, way, vector, key, given) == wanted
        assert answer(host, session, way, vector, key, [bytes([each]) for each in given]) == wanted


@pytest.mark.parametrize("vector", MACS, ids=names)
def test_macs(host: Host, session: int, vector: Vector) -> None:
    """Made, and found right; with another bit found wrong."""
    key, data, expected = key_of(host, session, vector), bytes.fromhex(vector.data), bytes.fromhex(vector.answer)
    assert answer(host, session, "Sign", vector, key, data) == expected
    assert answer(host, session, "Sign", vector, key, [bytes([each]) for each in data]) == expected
    mechanism, parameter = CKM[vector.mechanism], vector.parameter

    def verify(m: Module, signature: bytes) -> int:
        probes.begin(m, "C_VerifyInit", session, mechanism, parameter(m), key)
        return m.call("C_Verify", session, data, len(data), signature, len(signature))

    spoilt = bytes([expected[0] ^ 1]) + expected[1:]
    results = [host.call(verify, given) for given in (expected, spoilt, expected[:-1])]
    assert results == [0, 0xC0, 0xC1]


@pytest.mark.parametrize("vector", DIGESTS, ids=names)
def test_digests(host: Host, session: int, vector: Vector) -> None:
    """Whole and byte by byte."""
    data, expected = bytes.fromhex(vector.data), bytes.fromhex(vector.answer)
    assert answer(host, session, "Digest", vector, 0, data) == expected
    assert answer(host, session, "Digest", vector, 0, [bytes([each]) for each in data]) == expected


def test_ed25519(host: Host, session: int) -> None:
    """RFC 8032, 7.1, test 2. CK_EDDSA_PARAMS ask for Ed25519ctx or Ed25519ph: others (test_edwards_variants.py)."""
    template = {
        int(CKA.CLASS): int(CKO.PRIVATE_KEY),
        int(CKA.KEY_TYPE): int(CKK.EC_EDWARDS),
        int(CKA.EC_PARAMS): bytes.fromhex("06032b6570"),
        int(CKA.VALUE): bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
    }
    key = host.call(Module.create, session, template)
    signature = host.call(probes.passed, session, "Sign", CKM.EDDSA, b"", key, b"r")
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )

    def signed(m: Module, fields: dict[str, Any]) -> Any:
        return probes.passed(m, session, "Sign", CKM.EDDSA, probes.struct(m, "CK_EDDSA_PARAMS", **fields), key, b"r")

    others: list[dict[str, Any]] = [{"phFlag": 0}, {"phFlag": 1}, {"pContextData": b"c", "ulContextDataLen": 1}]
    assert len({signature, *(host.call(signed, each) for each in others)}) == 4


def test_hkdf(host: Host, session: int) -> None:
    """RFC 5869, A.1; the salt as data, and as a key."""
    base = host.call(probes.secret, session, CKK.GENERIC_SECRET, b"\x0b" * 22)
    salt = host.call(probes.secret, session, CKK.GENERIC_SECRET, bytes(range(13)))

    def value_of(m: Module, salted: dict[str, Any]) -> Any:
        info = {"prfHashMechanism": CKM.SHA256, "pInfo": bytes(range(0xF0, 0xFA)), "ulInfoLen": 10}
        parameter = probes.struct(m, "CK_HKDF_PARAMS", bExtract=1, bExpand=1, **info, **salted)
        return probes.derived_value(m, session, CKM.HKDF_DERIVE, parameter, base, VALUE_LEN=42)

    for how in (
        {"ulSaltType": 2, "pSalt": bytes(range(13)), "ulSaltLen": 13},
        {"ulSaltType": 4, "hSaltKey": salt},
    ):
        value = host.call(value_of, how)
        assert value.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


def test_extraction(host: Host, session: int) -> None:
    """The standard's own example (PKCS #11 3.1, 6.43.7): round the end."""
    base = host.call(probes.secret, session, CKK.GENERIC_SECRET, bytes.fromhex("329f84a9"))
    first = (21).to_bytes(8, "little")
    value = host.call(probes.derived_value, session, CKM.EXTRACT_KEY_FROM_KEY, first, base, VALUE_LEN=2)
    assert value.hex() == "9526"


def test_x963_kdf(host: Host, session: int) -> None:
    """ECDH with X9.63's function and that of SP 800-56C, against hashlib by hand."""
    ours, theirs = x25519.X25519PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    template = {
        int(CKA.CLASS): int(CKO.PRIVATE_KEY),
        int(CKA.KEY_TYPE): int(CKK.EC_MONTGOMERY),
        int(CKA.EC_PARAMS): bytes.fromhex("06032b656e"),
        int(CKA.VALUE): ours.private_bytes_raw(),
        int(CKA.DERIVE): b"\1",
    }
    key = host.call(Module.create, session, template)
    shared, point = ours.exchange(theirs.public_key()), theirs.public_key().public_bytes_raw()
    first, second = (number.to_bytes(4, "big") for number in (1, 2))
    expected = {
        CKD.NULL: shared,
        CKD.SHA256_KDF: (
            hashlib.sha256(shared + first + b"i").digest() + hashlib.sha256(shared + second + b"i").digest()
        ),
        CKD.SHA256_KDF_SP800: (
            hashlib.sha256(first + shared + b"i").digest() + hashlib.sha256(second + shared + b"i").digest()
        ),
    }

    def derived(m: Module, kdf: int, info: bytes, length: int | None) -> Any:
        told = {"pSharedData": info, "ulSharedDataLen": len(info)} if info else {}
        public = {"pPublicData": point, "ulPublicDataLen": 32}
        parameter = probes.struct(m, "CK_ECDH1_DERIVE_PARAMS", kdf=kdf, **told, **public)
        lengths = {} if length is None else {"VALUE_LEN": length}
        return probes.derived_value(m, session, CKM.ECDH1_DERIVE, parameter, key, **lengths)

    for kdf, wanted in expected.items():
        if kdf is CKD.NULL:
            assert host.call(derived, int(kdf), b"", 20) == wanted[-20:]
        else:
            assert host.call(derived, int(kdf), b"i", 50) == wanted[:50]
    shared_without_kdf = host.call(derived, int(CKD.NULL), b"i", None)
    assert shared_without_kdf == -0x71

# SPDX-License-Identifier: MIT
"""What an operation says that it will give it gives, however the data is cut; and nothing it is fed makes it crash."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from cardtear.p11.constants import CKF, CKK, CKR
from cardtear.p11.errors import P11Error
from cardtear.p11.keys import SessionKey
from cardtear.p11.mechanisms import DIGESTS, MECHANISMS, MechanismRule, Scheme
from cardtear.p11.operations import Operation
from cardtear.p11.operations.ciphers import cipher
from cardtear.p11.operations.digests import Digest, Mac
from cardtear.p11.operations.parameters import MASKS
from cardtear.p11.operations.rsa_encryption import RsaDecrypt, RsaEncrypt
from cardtear.p11.wire import Mechanism
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

RSA_KEY = rsa.generate_private_key(65537, 1024)
BLOCK_CIPHERS = (CKK.AES, CKK.DES3, CKK.DES)
CIPHERS = [rule for rule in MECHANISMS.values() if rule.flags & CKF.ENCRYPT and rule.key_types[0] in BLOCK_CIPHERS]
MACS = [rule for rule in MECHANISMS.values() if rule.scheme in (Scheme.HMAC, Scheme.CMAC, Scheme.GMAC)]
REFUSED = {CKR.DATA_LEN_RANGE}
REFUSED_BACK = {CKR.ENCRYPTED_DATA_LEN_RANGE, CKR.ENCRYPTED_DATA_INVALID}


def ulongs(*numbers: int) -> bytes:
    """CK_ULONGs one behind the other."""
    return struct.pack(f"@{len(numbers)}L", *numbers)


def secret_for(rule: MechanismRule) -> bytes:
    """A key of the right kind."""
    return bytes(range({CKK.DES3: 24, CKK.DES: 8}.get(rule.key_types[0], 32)))


def parameter_of(rule: MechanismRule, size: int) -> Mechanism:
    """A good parameter; `size` is that of the plaintext."""
    block = rule.block
    match rule.scheme:
        case Scheme.CBC | Scheme.CBC_PAD | Scheme.OFB | Scheme.CFB | Scheme.CFB8:
            return Mechanism(rule.type, bytes(block))
        case Scheme.CTR:
            return Mechanism(rule.type, ulongs(128) + bytes(16))
        case Scheme.GCM | Scheme.GMAC:
            additional = b"" if rule.scheme is Scheme.GMAC else b"additional"
            return Mechanism(rule.type, ulongs(0, 12, 96, 0, len(additional), 96), (bytes(12), additional))
        case Scheme.CCM:
            return Mechanism(rule.type, ulongs(size, 0, 12, 0, 0, 8), (bytes(12), b""))
    return Mechanism(rule.type, ulongs(3) if rule.general else b"")


def fed(operation: Operation, data: bytes, cuts: list[int]) -> bytes:
    """All of the data in parts; every answer has the length that was announced."""
    result = b""
    for cut in [*cuts, len(data)]:
        part, data = data[:cut], data[cut:]
        said = operation.output_length(len(part), False)
        given_out = operation.update(part)
        assert len(given_out) == said
        result += given_out
    said = operation.output_length(0, True)
    rest = operation.finish()
    assert len(rest) == said if operation.exact else len(rest) <= said
    return result + rest


def outcome(work: Callable[[], bytes]) -> bytes | CKR:
    """The result, or the CK_RV."""
    try:
        return work()
    except P11Error as error:
        return error.value


CUTS = st.lists(st.integers(0, 40), max_size=4)


@pytest.mark.parametrize("rule", CIPHERS, ids=lambda rule: rule.type.name)
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), CUTS, CUTS)
def test_ciphers(rule: MechanismRule, data: bytes, cuts: list[int], other_cuts: list[int]) -> None:
    """There and back gives the same; other lengths have their code; what is random is refused or decrypted."""
    key, mechanism = secret_for(rule), parameter_of(rule, len(data))
    whole = cipher(True, rule, mechanism, key)
    said = outcome(lambda: bytes(whole.output_length(len(data), True)))
    sealed = outcome(lambda: fed(cipher(True, rule, mechanism, key), data, cuts))
    if isinstance(sealed, bytes):
        assert bytes(len(sealed)) == said
        assert whole.update(data) + whole.finish() == sealed
        assert fed(cipher(False, rule, mechanism, key), sealed, other_cuts) == data
    else:
        assert sealed in REFUSED
        assert rule.scheme in (Scheme.KEY_WRAP, Scheme.KEY_WRAP_PAD) or said is sealed
    back = outcome(lambda: fed(cipher(False, rule, mechanism, key), data, other_cuts))
    assert isinstance(back, bytes) or back in REFUSED_BACK


@pytest.mark.parametrize("rule", MACS, ids=lambda rule: rule.type.name)
@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200), CUTS)
def test_macs(rule: MechanismRule, data: bytes, cuts: list[int]) -> None:
    """The same however the data comes; found right and found wrong."""
    mechanism = parameter_of(rule, len(data))

    def made() -> Mac:
        return Mac(secret_for(rule), rule, mechanism)

    mac = fed(made(), data, cuts)
    assert fed(made(), data, []) == mac

    def checked(wanted: bytes) -> bytes:
        checking = made()
        checking.update(data)
        checking.check(wanted)
        return b"right"

    assert outcome(lambda: checked(mac)) == b"right"
    assert outcome(lambda: checked(mac[:-1])) is CKR.SIGNATURE_LEN_RANGE
    assert outcome(lambda: checked(bytes([mac[0] ^ 1]) + mac[1:])) is CKR.SIGNATURE_INVALID


@pytest.mark.parametrize("name", DIGESTS.values())
def test_copies_go_their_own_way(name: str) -> None:
    """What a copy takes in the first does not."""
    first = Digest(name)
    first.update(b"a")
    copy = first.copy()
    copy.update(b"b")
    alone, together = Digest(name), Digest(name)
    alone.update(b"a")
    together.update(b"ab")
    assert (first.finish(), copy.finish()) == (alone.finish(), together.finish())


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("digest", DIGESTS)
def test_every_hash_of_oaep(digest: int, mask: int) -> None:
    """Those that may be in the parameter work; a modulus that is too short for them is said to be."""
    rule = next(rule for rule in MECHANISMS.values() if rule.scheme is Scheme.RSA_OAEP)
    mechanism = Mechanism(rule.type, ulongs(digest, mask, 1, 0, 5), (b"label",))

    def there_and_back() -> bytes:
        sealed = fed(RsaEncrypt(RSA_KEY.public_key(), rule, mechanism), b"data", [2])
        return fed(RsaDecrypt(SessionKey(RSA_KEY), rule, mechanism), sealed, [100])

    expected = {"md5": CKR.MECHANISM_PARAM_INVALID, "sha512": CKR.KEY_SIZE_RANGE, "sha3_512": CKR.KEY_SIZE_RANGE}
    assert outcome(there_and_back) == expected.get(DIGESTS[digest], b"data")

# SPDX-License-Identifier: MIT
"""What suites written for any token ask beyond the vectors: states of operations, what is secret by default, DES."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKR
from cryptography.hazmat.primitives.asymmetric import rsa

NO, YES = b"\0", b"\1"
COUNTER_OF_TWO_BITS = struct.pack("@L", 2) + bytes(15) + b"\1"


@pytest.fixture
def simulator(bare_simulator: Simulator) -> Simulator:
    """With a card that has old mechanisms, too."""
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(legacy=True))
    return bare_simulator


@pytest.fixture
def session(host: Any) -> int:
    """A read/write session with the user logged in."""
    return int(host.eval("user_session(m, read_write=True)"))


@pytest.mark.parametrize("more", ["Update", "Final"])
@pytest.mark.parametrize(
    ("way", "kind"), [("Encrypt", CKK.AES), ("Decrypt", CKK.AES), ("Digest", CKK.AES), ("Sign", CKK.GENERIC_SECRET)]
)
def test_one_part_does_not_become_many(host: Any, session: int, way: str, kind: CKK, more: str) -> None:
    """An operation that was asked for its whole result takes no parts; the attempt ends it."""
    key = host.eval("secret(m, s, k, bytes(16))", s=session, k=int(kind))
    values = host.eval("mixed(m, s, w, k, more)", s=session, w=way, k=key, more=more)
    assert values == [CKR.OK, CKR.OPERATION_ACTIVE, CKR.OPERATION_NOT_INITIALIZED]


@pytest.mark.parametrize(
    ("begun", "mechanism", "kind"),
    [
        ("C_EncryptInit", CKM.AES_ECB, CKK.AES),
        ("C_DecryptInit", CKM.AES_ECB, CKK.AES),
        ("C_SignInit", CKM.SHA256_HMAC, CKK.GENERIC_SECRET),
        ("C_VerifyInit", CKM.SHA256_HMAC, CKK.GENERIC_SECRET),
        ("C_DigestInit", CKM.SHA256, CKK.AES),
    ],
)
def test_no_mechanism(host: Any, session: int, begun: str, mechanism: CKM, kind: CKK) -> None:
    """NULL ends what is under way; where nothing is, a mechanism is missing, which C_EncryptInit says otherwise."""
    key = host.eval("secret(m, s, k, bytes(16))", s=session, k=int(kind))
    values = host.eval("cancelled(m, s, b, c, k)", s=session, b=begun, c=int(mechanism), k=key)
    missing = CKR.MECHANISM_INVALID if begun == "C_EncryptInit" else CKR.ARGUMENTS_BAD  # its list has no other
    assert values == [missing, CKR.OK, missing]


@pytest.mark.parametrize(
    ("given", "extractable", "wrapped"),
    [
        ({}, YES, True),
        ({CKA.SENSITIVE: NO}, YES, True),
        ({CKA.SENSITIVE: YES}, NO, False),
        ({CKA.SENSITIVE: YES, CKA.EXTRACTABLE: YES}, YES, True),
        ({CKA.SENSITIVE: NO, CKA.EXTRACTABLE: NO}, NO, False),
    ],
)
def test_sensitive_keys_stay(
    host: Any, session: int, given: dict[int, bytes], extractable: bytes, wrapped: bool
) -> None:
    """A sensitive key can be wrapped only if its template says so; no secret key is derived from by default."""
    template = {int(kind): value for kind, value in given.items()}
    key = host.eval("generated_key(m, s, t)", s=session, t=template)
    attributes = [host.eval("m.attribute(s, k, a)", s=session, k=key, a=int(a)) for a in (CKA.EXTRACTABLE, CKA.DERIVE)]
    assert attributes == [extractable, NO]
    wrapping = host.eval("secret(m, s, k, bytes(8))", s=session, k=int(CKK.DES))
    out = "m.ffi.new('unsigned char[8]'), m.ffi.new('CK_ULONG *', 8)"
    wrap = f"m.call('C_WrapKey', s, m.mechanism(CKM.DES_ECB)[0], w, k, {out})"
    value = host.eval(wrap, s=session, w=wrapping, k=key)
    assert value == (CKR.OK if wrapped else CKR.KEY_UNEXTRACTABLE)


def test_generated_des_key(host: Any, session: int) -> None:
    """Eight bytes, each of odd parity."""
    key = host.eval("generated_key(m, s, {})", s=session)
    value = host.eval("m.attribute(s, k, CKA.VALUE)", s=session, k=key)
    assert [each.bit_count() % 2 for each in value] == [1] * 8


@pytest.mark.parametrize("mechanism", [CKM.RSA_PKCS, CKM.SHA256_RSA_PKCS, CKM.RSA_X_509])
def test_signature_that_is_no_number_below_the_modulus(host: Any, session: int, mechanism: CKM) -> None:
    """It is wrong, not the data."""
    public = host.eval("m.find(s, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b'\\1'})[0]", s=session)
    verified = "verified(m, s, c, b'', k, b'data', b'\\xff' * 256)"
    assert host.eval(verified, s=session, c=int(mechanism), k=public) == CKR.SIGNATURE_INVALID


def test_two_operations_at_once(host: Any) -> None:
    """The token says that it can."""
    assert host.eval("m.token_info(0)[2]") & CKF.DUAL_CRYPTO_OPERATIONS


@pytest.mark.parametrize("way", ["Encrypt", "Decrypt"])
@pytest.mark.parametrize(
    ("mechanism", "parameter", "size", "fits"),
    [
        (CKM.AES_ECB, b"", 17, False),
        (CKM.AES_CBC, bytes(16), 15, False),
        (CKM.AES_CBC, bytes(16), 32, True),
        (CKM.AES_CTR, COUNTER_OF_TWO_BITS, 48, True),
        (CKM.AES_CTR, COUNTER_OF_TWO_BITS, 49, False),
    ],
)
def test_wrong_length_is_told_at_once(
    host: Any, session: int, way: str, mechanism: CKM, parameter: bytes, size: int, fits: bool
) -> None:
    """Also to who asks for the length of the result only; and that ends the operation."""
    key = host.eval("secret(m, s, CKK.AES, bytes(16))", s=session)
    ask = "length_only(m, s, b, k, c, p, n)"
    values = host.eval(ask, s=session, b=f"C_{way}Init", k=key, c=int(mechanism), p=parameter, n=size)
    refused = CKR.DATA_LEN_RANGE if way == "Encrypt" else CKR.ENCRYPTED_DATA_LEN_RANGE
    assert values == ([CKR.OK, CKR.OK] if fits else [refused, CKR.OPERATION_NOT_INITIALIZED])


def test_pin_is_missed_at_the_first_part(host: Any, session: int) -> None:
    """Of a key that asks for it each time."""
    key = host.eval("key(m, s, b'\\2')", s=session)
    part = "m.call('C_SignUpdate', s, b'data', 4)"
    host.eval("m.sign_init(s, k, CKM.ECDSA_SHA256)", s=session, k=key)
    assert host.eval(part, s=session) == CKR.USER_NOT_LOGGED_IN
    assert host.eval(part, s=session) == CKR.OPERATION_NOT_INITIALIZED


@pytest.mark.parametrize(("kind", "value"), [(CKA.SENSITIVE, YES), (CKA.EXTRACTABLE, NO)])
def test_what_cannot_go_back_is_read_only(host: Any, session: int, kind: CKA, value: bytes) -> None:
    """Saying it once more is an attempt to change it."""
    key = host.eval("secret(m, s, CKK.AES, bytes(16))", s=session)
    change = "rv(lambda: m.change(s, k, {a: v}))"
    values = [host.eval(change, s=session, k=key, a=int(kind), v=value) for _ in range(2)]
    assert values == [CKR.OK, CKR.ATTRIBUTE_READ_ONLY]


@pytest.mark.parametrize("exponent", [65537, 3])
def test_rsa_key_without_public_exponent(host: Any, session: int, exponent: int) -> None:
    """Modulus and private exponent are all that has to be there; one of the usual exponents fits."""
    numbers = rsa.generate_private_key(exponent, 1024).private_numbers()
    n, d = (value.to_bytes(128, "big") for value in (numbers.public_numbers.n, numbers.d))
    make = "m.create(s, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: n, CKA.PRIVATE_EXPONENT: d})"
    assert len(host.eval(f"sign(m, s, {make})", s=session, n=n, d=d)) == 128
    wrong = host.eval(f"rv(lambda: {make})", s=session, n=n, d=d[:-1] + b"\0")
    assert wrong == CKR.TEMPLATE_INCOMPLETE

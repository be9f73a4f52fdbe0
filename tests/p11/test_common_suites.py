# SPDX-License-Identifier: MIT
"""What suites written for any token ask beyond the vectors: states of operations, what is secret by default, DES."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import rsa

from ..shared.host import key_probes, probes
from ..shared.host.host import Host

NO, YES = b"\0", b"\1"
COUNTER_OF_TWO_BITS = struct.pack("@L", 2) + bytes(15) + b"\1"


@pytest.fixture
def simulator(bare_simulator: Simulator) -> Simulator:
    """With a card that has old mechanisms, too."""
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(legacy=True))
    return bare_simulator


@pytest.fixture
def session(host: Host) -> int:
    """A read/write session with the user logged in."""
    return int(host.call(probes.user_session, read_write=True))


@pytest.mark.parametrize("more", ["Update", "Final"])
@pytest.mark.parametrize(
    ("way", "kind"), [("Encrypt", CKK.AES), ("Decrypt", CKK.AES), ("Digest", CKK.AES), ("Sign", CKK.GENERIC_SECRET)]
)
def test_one_part_does_not_become_many(host: Host, session: int, way: str, kind: CKK, more: str) -> None:
    """An operation that was asked for its whole result takes no parts; the attempt ends it."""
    key = host.call(probes.secret, session, int(kind), bytes(16))
    values = host.call(key_probes.mixed, session, way, key, more)
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
def test_no_mechanism(host: Host, session: int, begun: str, mechanism: CKM, kind: CKK) -> None:
    """NULL ends what is under way; where nothing is, a mechanism is missing, which C_EncryptInit says otherwise."""
    key = host.call(probes.secret, session, int(kind), bytes(16))
    values = host.call(key_probes.cancelled, session, begun, int(mechanism), key)
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
    host: Host, session: int, given: dict[int, bytes], extractable: bytes, wrapped: bool
) -> None:
    """A sensitive key can be wrapped only if its template says so; no secret key is derived from by default."""
    template = {int(kind): value for kind, value in given.items()}
    key = host.call(key_probes.generated_key, session, template)
    attributes = [host.call(Module.attribute, session, key, a) for a in (CKA.EXTRACTABLE, CKA.DERIVE)]
    assert attributes == [extractable, NO]
    wrapping = host.call(probes.secret, session, int(CKK.DES), bytes(8))

    def wrap(m: Module) -> int:
        mechanism, _kept = m.mechanism(CKM.DES_ECB)
        length = m.ffi.new("CK_ULONG *", 8)
        return m.call("C_WrapKey", session, mechanism, wrapping, key, m.ffi.new("unsigned char[8]"), length)

    value = host.call(wrap)
    assert value == (CKR.OK if wrapped else CKR.KEY_UNEXTRACTABLE)


def test_generated_des_key(host: Host, session: int) -> None:
    """Eight bytes, each of odd parity."""
    key = host.call(key_probes.generated_key, session, {})
    value = host.call(Module.attribute, session, key, CKA.VALUE)
    assert [each.bit_count() % 2 for each in value] == [1] * 8


@pytest.mark.parametrize("mechanism", [CKM.RSA_PKCS, CKM.SHA256_RSA_PKCS, CKM.RSA_X_509])
def test_signature_that_is_no_number_below_the_modulus(host: Host, session: int, mechanism: CKM) -> None:
    """It is wrong, not the data."""
    public = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b"\1"})[0])

    def verified(m: Module, s: int, c: Any, k: int) -> Any:
        return key_probes.verified(m, s, c, b"", k, b"data", b"\xff" * 256)

    assert host.call(verified, s=session, c=int(mechanism), k=public) == CKR.SIGNATURE_INVALID


def test_two_operations_at_once(host: Host) -> None:
    """The token says that it can."""
    assert host.call(lambda m: m.token_info(0)[2]) & CKF.DUAL_CRYPTO_OPERATIONS


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
    host: Host, session: int, way: str, mechanism: CKM, parameter: bytes, size: int, fits: bool
) -> None:
    """Also to who asks for the length of the result only; and that ends the operation."""
    key = host.call(probes.secret, session, CKK.AES, bytes(16))

    def ask(m: Module, s: int, b: Any, k: int, c: Any, p: Any, n: Any) -> Any:
        return key_probes.length_only(m, s, b, k, c, p, n)

    values = host.call(ask, s=session, b=f"C_{way}Init", k=key, c=int(mechanism), p=parameter, n=size)
    refused = CKR.DATA_LEN_RANGE if way == "Encrypt" else CKR.ENCRYPTED_DATA_LEN_RANGE
    assert values == ([CKR.OK, CKR.OK] if fits else [refused, CKR.OPERATION_NOT_INITIALIZED])


def test_pin_is_missed_at_the_first_part(host: Host, session: int) -> None:
    """Of a key that asks for it each time."""
    key = host.call(probes.key, session, b"\2")

    def part(m: Module, s: int) -> Any:
        return m.call("C_SignUpdate", s, b"data", 4)

    host.call(Module.sign_init, session, key, CKM.ECDSA_SHA256)
    assert host.call(part, s=session) == CKR.USER_NOT_LOGGED_IN
    assert host.call(part, s=session) == CKR.OPERATION_NOT_INITIALIZED


@pytest.mark.parametrize(("kind", "value"), [(CKA.SENSITIVE, YES), (CKA.EXTRACTABLE, NO)])
def test_what_cannot_go_back_is_read_only(host: Host, session: int, kind: CKA, value: bytes) -> None:
    """Saying it once more is an attempt to change it."""
    key = host.call(probes.secret, session, CKK.AES, bytes(16))

    def change(m: Module, s: int, k: int, a: Any, v: Any) -> Any:
        return m.change(s, k, {a: v})

    values = [host.rv(change, s=session, k=key, a=int(kind), v=value) for _ in range(2)]
    assert values == [CKR.OK, CKR.ATTRIBUTE_READ_ONLY]


@pytest.mark.parametrize("exponent", [65537, 3])
def test_rsa_key_without_public_exponent(host: Host, session: int, exponent: int) -> None:
    """Modulus and private exponent are all that has to be there; one of the usual exponents fits."""
    numbers = rsa.generate_private_key(exponent, 1024).private_numbers()
    n, d = (value.to_bytes(128, "big") for value in (numbers.public_numbers.n, numbers.d))

    template = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: n, CKA.PRIVATE_EXPONENT: d}
    assert len(host.call(probes.sign, session, host.call(Module.create, session, template))) == 128
    wrong = host.rv(Module.create, session, {**template, CKA.PRIVATE_EXPONENT: d[:-1] + b"\0"})
    assert wrong == CKR.TEMPLATE_INCOMPLETE

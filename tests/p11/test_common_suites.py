# SPDX-License-Identifier: MIT
"""What suites written for any token ask beyond the vectors: states of operations, what is secret by default, DES."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.profiles import CardRequest
from cardtear.lab.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKR

NO, YES = b"\0", b"\1"


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
    """NULL ends what is under way; where nothing is, a mechanism is missing."""
    key = host.eval("secret(m, s, k, bytes(16))", s=session, k=int(kind))
    values = host.eval("cancelled(m, s, b, c, k)", s=session, b=begun, c=int(mechanism), k=key)
    assert values == [CKR.ARGUMENTS_BAD, CKR.OK, CKR.ARGUMENTS_BAD]


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

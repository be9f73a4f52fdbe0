# SPDX-License-Identifier: MIT
"""Session keys of kinds that no card has: made, used, read and made anew from what was read; the card refuses them."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKR

OIDS = {
    "secp192r1": "06082a8648ce3d030101",
    "secp224r1": "06052b81040021",
    "secp521r1": "06052b81040023",
    "secp256k1": "06052b8104000a",
    "brainpoolP256r1": "06092b2403030208010107",
    "brainpoolP384r1": "06092b240303020801010b",
    "brainpoolP512r1": "06092b240303020801010d",
    "edwards448": "06032b6571",
    "curve448": "06032b656f",
}
EDDSA = "struct(m, 'CK_EDDSA_PARAMS', phFlag={}, pContextData={}, ulContextDataLen={})"
NO_CONTEXT = EDDSA.format(0, "b''", 0)
CONTEXT = "struct(m, 'CK_SIGN_ADDITIONAL_CONTEXT', hedgeVariant={}, pContext=b'purpose', ulContextLen=7)"


def curve(name: str) -> str:
    """The public template as an expression of the host."""
    return f"{{CKA.EC_PARAMS: bytes.fromhex('{OIDS[name]}')}}"


# What makes the pair, its public template, what signs with it, the parameter, and the length of a signature.
SIGNING = {
    "secp192r1": ("EC_KEY_PAIR_GEN", curve("secp192r1"), "ECDSA_SHA256", "b''", 48),
    "secp224r1": ("EC_KEY_PAIR_GEN", curve("secp224r1"), "ECDSA_SHA512", "b''", 56),
    "secp521r1": ("EC_KEY_PAIR_GEN", curve("secp521r1"), "ECDSA_SHA512", "b''", 132),
    "secp521r1, short hash": ("EC_KEY_PAIR_GEN", curve("secp521r1"), "ECDSA_SHA1", "b''", 132),
    "secp256k1": ("EC_KEY_PAIR_GEN", curve("secp256k1"), "ECDSA", "b''", 64),
    "brainpoolP256r1": ("EC_KEY_PAIR_GEN", curve("brainpoolP256r1"), "ECDSA_SHA256", "b''", 64),
    "brainpoolP384r1": ("EC_KEY_PAIR_GEN", curve("brainpoolP384r1"), "ECDSA_SHA384", "b''", 96),
    "brainpoolP512r1": ("EC_KEY_PAIR_GEN", curve("brainpoolP512r1"), "ECDSA_SHA512", "b''", 128),
    "edwards448": ("EC_EDWARDS_KEY_PAIR_GEN", curve("edwards448"), "EDDSA", NO_CONTEXT, 114),
    "ML-DSA-44": ("ML_DSA_KEY_PAIR_GEN", "{CKA.PARAMETER_SET: 1}", "ML_DSA", "b''", 2420),
    "ML-DSA-65": ("ML_DSA_KEY_PAIR_GEN", "{CKA.PARAMETER_SET: 2}", "ML_DSA", CONTEXT.format(0), 3309),
    "ML-DSA-87": ("ML_DSA_KEY_PAIR_GEN", "{CKA.PARAMETER_SET: 3}", "ML_DSA", CONTEXT.format(1), 4627),
}
DATA = b"twenty bytes of data"


@pytest.fixture
def session(host: Any) -> int:
    """A read/write session with the user logged in, on the standard card."""
    return int(host.eval("user_session(m, read_write=True)"))


def pair(host: Any, session: int, mechanism: str, public: str) -> tuple[int, int]:
    """A key pair of the session whose private key can be read."""
    readable = "{CKA.SENSITIVE: b'\\0', CKA.EXTRACTABLE: b'\\1'}"
    made: tuple[int, int] = host.eval(f"m.generate_pair(s, CKM.{mechanism}, {public}, {readable})", s=session)
    return made


@pytest.mark.parametrize("name", SIGNING)
def test_sign_and_verify(host: Any, session: int, name: str) -> None:
    """A signature of the right length, which holds for this data and key only; also of a key made from its numbers."""
    making, template, signing, parameter, length = SIGNING[name]
    public, private = pair(host, session, making, template)
    sign = f"passed(m, s, 'Sign', CKM.{signing}, {parameter}, k, d)"
    verify = f"verified(m, s, CKM.{signing}, {parameter}, k, d, g)"
    for key in (private, host.eval("made_anew(m, s, k)", s=session, k=private)):
        signature = host.eval(sign, s=session, k=key, d=DATA)
        assert len(signature) == length
        for key_of_it in (public, host.eval("made_anew(m, s, k)", s=session, k=public)):
            assert host.eval(verify, s=session, k=key_of_it, d=DATA, g=signature) == CKR.OK
        assert host.eval(verify, s=session, k=public, d=DATA[::-1], g=signature) == CKR.SIGNATURE_INVALID
        assert host.eval(verify, s=session, k=public, d=DATA, g=signature[1:]) == CKR.SIGNATURE_LEN_RANGE


@pytest.mark.parametrize(
    ("making", "template", "expected"),
    [
        ("EC_KEY_PAIR_GEN", curve("brainpoolP256r1"), CKR.CURVE_NOT_SUPPORTED),
        ("RSA_PKCS_KEY_PAIR_GEN", "{CKA.MODULUS_BITS: 1032}", CKR.ATTRIBUTE_VALUE_INVALID),
        ("ML_DSA_KEY_PAIR_GEN", "{CKA.PARAMETER_SET: 1}", CKR.TEMPLATE_INCONSISTENT),
    ],
)
def test_not_on_a_card(host: Any, session: int, making: str, template: str, expected: CKR) -> None:
    """A key of the token has to be one that the card can hold."""
    made = f"rv(lambda: m.generate_pair(s, CKM.{making}, {{**{template}, **TOKEN}}, TOKEN))"
    assert host.eval(made, s=session) == expected


@pytest.mark.parametrize(
    ("signing", "template", "parameter"),
    [
        ("EC_EDWARDS", curve("edwards448"), "b''"),
        ("ML_DSA", "{CKA.PARAMETER_SET: 1}", CONTEXT.format(2)),
        ("ML_DSA", "{CKA.PARAMETER_SET: 1}", "b'x'"),
    ],
)
def test_variants_that_the_library_has_not(
    host: Any, session: int, signing: str, template: str, parameter: str
) -> None:
    """Ed448 without a parameter, ML-DSA without randomness: not done as something else."""
    _, private = pair(host, session, f"{signing}_KEY_PAIR_GEN", template)
    mechanism = "EDDSA" if signing == "EC_EDWARDS" else signing
    begun = f"begun(m, 'C_SignInit', s, CKM.{mechanism}, {parameter}, k)"
    assert host.eval(begun, s=session, k=private) == CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize(
    ("making", "name", "length"),
    [("EC_MONTGOMERY_KEY_PAIR_GEN", "curve448", 56), ("EC_KEY_PAIR_GEN", "secp521r1", 66)],
)
def test_agreement(host: Any, session: int, making: str, name: str, length: int) -> None:
    """Both sides come to the same secret."""
    ours, theirs = (pair(host, session, making, curve(name)) for _ in range(2))
    secrets = [
        host.eval(
            "derived_value(m, s, CKM.ECDH1_DERIVE, struct(m, 'CK_ECDH1_DERIVE_PARAMS', kdf=1, pPublicData=p,"
            " ulPublicDataLen=len(p)), k)",
            s=session,
            k=mine[1],
            p=host.eval("m.attribute(s, k, CKA.EC_POINT)", s=session, k=other[0]),
        )
        for mine, other in ((ours, theirs), (theirs, ours))
    ]
    assert secrets[0] == secrets[1]
    assert len(secrets[0]) == length


@pytest.mark.parametrize("parameter_set", [2, 3])
def test_encapsulation(host: Any, session: int, parameter_set: int) -> None:
    """The same secret on both sides; asking how long it is makes no key, and a ciphertext of another length is none."""
    public, private = pair(host, session, "ML_KEM_KEY_PAIR_GEN", f"{{CKA.PARAMETER_SET: {parameter_set}}}")
    ciphertext, secret = host.eval("encapsulated(m, s, k)", s=session, k=public)
    assert len(ciphertext) == {2: 1088, 3: 1568}[parameter_set]
    assert len(secret) == 32
    assert host.eval("decapsulated(m, s, k, c)", s=session, k=private, c=ciphertext) == secret
    changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert host.eval("decapsulated(m, s, k, c)", s=session, k=private, c=changed) != secret
    assert host.eval("decapsulated(m, s, k, c)", s=session, k=private, c=b"x") == -CKR.WRAPPED_KEY_LEN_RANGE
    refused = host.eval("decapsulated(m, s, k, c)", s=session, k=public, c=ciphertext)
    assert refused == -CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT
    remade = host.eval("made_anew(m, s, k)", s=session, k=private)
    assert host.eval("decapsulated(m, s, k, c)", s=session, k=remade, c=ciphertext) == secret


def test_parameter_sets(host: Any, session: int) -> None:
    """One that the library has not, and none at all."""
    for template, expected in (
        ({CKA.PARAMETER_SET: 1}, CKR.PARAMETER_SET_NOT_SUPPORTED),
        ({}, CKR.TEMPLATE_INCOMPLETE),
    ):
        made = "rv(lambda: m.generate_pair(s, CKM.ML_KEM_KEY_PAIR_GEN, t, {}))"
        assert host.eval(made, s=session, t=template) == expected


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("C_EncapsulateKey", "encapsulated(m, s, k)"),
        ("C_DecapsulateKey", "decapsulated(m, s, k, bytes(1088))"),
    ],
)
def test_card_goes(host: Any, session: int, simulator: Simulator, function: str, call: str) -> None:
    """Nothing of it needs the card, and yet nothing of it outlives the session: the keys are gone with the card."""
    public, private = pair(host, session, "ML_KEM_KEY_PAIR_GEN", "{CKA.PARAMETER_SET: 2}")
    simulator.arm(Trigger("remove", {"reader": "front"}, call=function))
    key = private if function == "C_DecapsulateKey" else public
    assert host.eval(call, s=session, k=key) == -CKR.SESSION_HANDLE_INVALID
    simulator.insert("front")
    again = host.eval("user_session(m, read_write=True)")
    assert host.eval("rv(lambda: m.attribute(s, k, CKA.CLASS))", s=again, k=private) == CKR.OBJECT_HANDLE_INVALID

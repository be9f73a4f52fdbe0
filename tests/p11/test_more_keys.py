# SPDX-License-Identifier: MIT
"""Session keys of kinds that no card has: made, used, read and made anew from what was read; the card refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.p11.constants import CKA, CKM, CKR

from ..shared.host import key_probes, probes
from ..shared.host.host import Host

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


def nothing(_m: Module) -> bytes:
    """No parameter."""
    return b""


def no_context(m: Module) -> Any:
    """CK_EDDSA_PARAMS without prehash and context."""
    return probes.struct(m, "CK_EDDSA_PARAMS", phFlag=0, pContextData=b"", ulContextDataLen=0)


def context(hedge: int) -> Callable[[Module], Any]:
    """CK_SIGN_ADDITIONAL_CONTEXT with a hedge variant."""
    return lambda m: probes.struct(
        m, "CK_SIGN_ADDITIONAL_CONTEXT", hedgeVariant=hedge, pContext=b"purpose", ulContextLen=7
    )


def curve(name: str) -> dict[int, int | bytes]:
    """The public template."""
    return {CKA.EC_PARAMS: bytes.fromhex(OIDS[name])}


# What makes the pair, its public template, what signs with it, the parameter, and the length of a signature.
SIGNING: dict[str, tuple[str, dict[int, int | bytes], str, Callable[[Module], Any], int]] = {
    "secp192r1": ("EC_KEY_PAIR_GEN", curve("secp192r1"), "ECDSA_SHA256", nothing, 48),
    "secp224r1": ("EC_KEY_PAIR_GEN", curve("secp224r1"), "ECDSA_SHA512", nothing, 56),
    "secp521r1": ("EC_KEY_PAIR_GEN", curve("secp521r1"), "ECDSA_SHA512", nothing, 132),
    "secp521r1, short hash": ("EC_KEY_PAIR_GEN", curve("secp521r1"), "ECDSA_SHA1", nothing, 132),
    "secp256k1": ("EC_KEY_PAIR_GEN", curve("secp256k1"), "ECDSA", nothing, 64),
    "brainpoolP256r1": ("EC_KEY_PAIR_GEN", curve("brainpoolP256r1"), "ECDSA_SHA256", nothing, 64),
    "brainpoolP384r1": ("EC_KEY_PAIR_GEN", curve("brainpoolP384r1"), "ECDSA_SHA384", nothing, 96),
    "brainpoolP512r1": ("EC_KEY_PAIR_GEN", curve("brainpoolP512r1"), "ECDSA_SHA512", nothing, 128),
    "edwards448": ("EC_EDWARDS_KEY_PAIR_GEN", curve("edwards448"), "EDDSA", no_context, 114),
    "ML-DSA-44": ("ML_DSA_KEY_PAIR_GEN", {CKA.PARAMETER_SET: 1}, "ML_DSA", nothing, 2420),
    "ML-DSA-65": ("ML_DSA_KEY_PAIR_GEN", {CKA.PARAMETER_SET: 2}, "ML_DSA", context(0), 3309),
    "ML-DSA-87": ("ML_DSA_KEY_PAIR_GEN", {CKA.PARAMETER_SET: 3}, "ML_DSA", context(1), 4627),
}
DATA = b"twenty bytes of data"


@pytest.fixture
def session(host: Host) -> int:
    """A read/write session with the user logged in, on the standard card."""
    return int(host.call(probes.user_session, read_write=True))


def pair(host: Host, session: int, mechanism: str, public: dict[int, int | bytes]) -> tuple[int, int]:
    """A key pair of the session whose private key can be read."""
    readable: dict[int, int | bytes] = {CKA.SENSITIVE: b"\0", CKA.EXTRACTABLE: b"\1"}
    return host.call(Module.generate_pair, session, CKM[mechanism], public, readable)


@pytest.mark.parametrize("name", SIGNING)
def test_sign_and_verify(host: Host, session: int, name: str) -> None:
    """A signature of the right length, which holds for this data and key only; also of a key made from its numbers."""
    making, template, signing, parameter, length = SIGNING[name]
    public, private = pair(host, session, making, template)

    def sign(m: Module, key: int) -> Any:
        return probes.passed(m, session, "Sign", CKM[signing], parameter(m), key, DATA)

    def verify(m: Module, key: int, data: bytes, signature: bytes) -> int:
        return key_probes.verified(m, session, CKM[signing], parameter(m), key, data, signature)

    for key in (private, host.call(key_probes.made_anew, session, private)):
        signature = host.call(sign, key)
        assert len(signature) == length
        for key_of_it in (public, host.call(key_probes.made_anew, session, public)):
            assert host.call(verify, key_of_it, DATA, signature) == CKR.OK
        assert host.call(verify, public, DATA[::-1], signature) == CKR.SIGNATURE_INVALID
        assert host.call(verify, public, DATA, signature[1:]) == CKR.SIGNATURE_LEN_RANGE


@pytest.mark.parametrize(
    ("making", "template", "expected"),
    [
        ("EC_KEY_PAIR_GEN", curve("brainpoolP256r1"), CKR.CURVE_NOT_SUPPORTED),
        ("RSA_PKCS_KEY_PAIR_GEN", {CKA.MODULUS_BITS: 1032}, CKR.ATTRIBUTE_VALUE_INVALID),
        ("ML_DSA_KEY_PAIR_GEN", {CKA.PARAMETER_SET: 1}, CKR.TEMPLATE_INCONSISTENT),
    ],
)
def test_not_on_a_card(host: Host, session: int, making: str, template: dict[int, int | bytes], expected: CKR) -> None:
    """A key of the token has to be one that the card can hold."""
    made = host.rv(Module.generate_pair, session, CKM[making], {**template, **probes.TOKEN}, probes.TOKEN)
    assert made == expected


@pytest.mark.parametrize(
    ("signing", "template", "parameter"),
    [
        ("EC_EDWARDS", curve("edwards448"), nothing),
        ("ML_DSA", {CKA.PARAMETER_SET: 1}, context(2)),
        ("ML_DSA", {CKA.PARAMETER_SET: 1}, lambda _m: b"x"),
    ],
)
def test_variants_that_the_library_has_not(
    host: Host, session: int, signing: str, template: dict[int, int | bytes], parameter: Callable[[Module], Any]
) -> None:
    """Ed448 without a parameter, ML-DSA without randomness: not done as something else."""
    _, private = pair(host, session, f"{signing}_KEY_PAIR_GEN", template)
    mechanism = "EDDSA" if signing == "EC_EDWARDS" else signing

    def begun(m: Module) -> int:
        return probes.begun(m, "C_SignInit", session, CKM[mechanism], parameter(m), private)

    assert host.call(begun) == CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize(
    ("making", "name", "length"),
    [("EC_MONTGOMERY_KEY_PAIR_GEN", "curve448", 56), ("EC_KEY_PAIR_GEN", "secp521r1", 66)],
)
def test_agreement(host: Host, session: int, making: str, name: str, length: int) -> None:
    """Both sides come to the same secret."""
    ours, theirs = (pair(host, session, making, curve(name)) for _ in range(2))

    def agreed(m: Module, mine: int, other: int) -> bytes:
        point = m.attribute(session, other, CKA.EC_POINT)
        parameter = probes.struct(m, "CK_ECDH1_DERIVE_PARAMS", kdf=1, pPublicData=point, ulPublicDataLen=len(point))
        return probes.derived_value(m, session, CKM.ECDH1_DERIVE, parameter, mine)

    secrets = [host.call(agreed, mine[1], other[0]) for mine, other in ((ours, theirs), (theirs, ours))]
    assert secrets[0] == secrets[1]
    assert len(secrets[0]) == length


@pytest.mark.parametrize("parameter_set", [2, 3])
def test_encapsulation(host: Host, session: int, parameter_set: int) -> None:
    """The same secret on both sides; asking how long it is makes no key, and a ciphertext of another length is none."""
    public, private = pair(host, session, "ML_KEM_KEY_PAIR_GEN", {CKA.PARAMETER_SET: parameter_set})
    ciphertext, secret = host.call(key_probes.encapsulated, session, public)
    assert len(ciphertext) == {2: 1088, 3: 1568}[parameter_set]
    assert len(secret) == 32
    assert host.call(key_probes.decapsulated, session, private, ciphertext) == secret
    changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert host.call(key_probes.decapsulated, session, private, changed) != secret
    assert host.call(key_probes.decapsulated, session, private, b"x") == -CKR.WRAPPED_KEY_LEN_RANGE
    refused = host.call(key_probes.decapsulated, session, public, ciphertext)
    assert refused == -CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT
    remade = host.call(key_probes.made_anew, session, private)
    assert host.call(key_probes.decapsulated, session, remade, ciphertext) == secret


def test_parameter_sets(host: Host, session: int) -> None:
    """One that the library has not, and none at all."""
    for template, expected in (
        ({CKA.PARAMETER_SET: 1}, CKR.PARAMETER_SET_NOT_SUPPORTED),
        ({}, CKR.TEMPLATE_INCOMPLETE),
    ):

        def made(m: Module, s: int, t: Any) -> Any:
            return m.generate_pair(s, CKM.ML_KEM_KEY_PAIR_GEN, t, {})

        assert host.rv(made, s=session, t=template) == expected


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("C_EncapsulateKey", lambda m, s, k: key_probes.encapsulated(m, s, k)),
        ("C_DecapsulateKey", lambda m, s, k: key_probes.decapsulated(m, s, k, bytes(1088))),
    ],
)
def test_card_goes(
    host: Host, session: int, simulator: Simulator, function: str, call: Callable[[Module, int, int], Any]
) -> None:
    """Nothing of it needs the card, and yet nothing of it outlives the session: the keys are gone with the card."""
    public, private = pair(host, session, "ML_KEM_KEY_PAIR_GEN", {CKA.PARAMETER_SET: 2})
    simulator.arm(Trigger("remove", {"reader": "front"}, call=function))
    key = private if function == "C_DecapsulateKey" else public
    assert host.call(call, session, key) == -CKR.SESSION_HANDLE_INVALID
    simulator.insert("front")
    again = host.call(probes.user_session, read_write=True)
    assert host.rv(Module.attribute, again, private, CKA.CLASS) == CKR.OBJECT_HANDLE_INVALID
